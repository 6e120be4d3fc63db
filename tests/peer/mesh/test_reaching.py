"""A member that has what is needed is dialled once, few at a time are kept, and nobody unknown is dialled."""

from __future__ import annotations

from meshwit.ids import peer_id
from meshwit.peer.mesh import reaching
from meshwit.peer.mesh.reaching import Reaching
from tests.peer.wire.wire_mesh import peers, run


def test_a_known_member_is_linked_and_stays(tmp_path):
    async def main():
        async with peers(tmp_path, "ada", "bob") as (ada, bob):
            seeks = Reaching(ada.links, lambda peer: [bob.address] if peer == bob.id else [])
            await seeks.reach(bob.id)
            assert set(ada.links.links) == {bob.id}
            await seeks.reach(bob.id)
            await ada.until(lambda: ada.ups() == 1)

    run(main)


def test_who_is_not_known_or_does_not_answer_is_no_error(tmp_path):
    async def main():
        async with peers(tmp_path, "ada", "bob") as (ada, bob):
            stranger = peer_id(b"stranger")
            seeks = Reaching(ada.links, lambda peer: [bob.address] if peer == stranger else [])
            await seeks.reach(peer_id(b"unknown"))
            await seeks.reach(stranger)  # another one listens there
            assert stranger not in ada.links.links

    run(main)


def test_only_so_many_links_are_made_so(tmp_path, monkeypatch):
    monkeypatch.setattr(reaching, "REACHED_MAX", 1)

    async def main():
        async with peers(tmp_path, "ada", "bob", "eve") as (ada, bob, eve):
            where = {bob.id: [bob.address], eve.id: [eve.address]}
            seeks = Reaching(ada.links, where.__getitem__)
            await seeks.reach(bob.id)
            await seeks.reach(eve.id)
            assert set(ada.links.links) == {bob.id}
            ada.links.links[bob.id].close("done")
            await ada.until(lambda: not ada.links.links)
            await seeks.reach(eve.id)
            assert set(ada.links.links) == {eve.id}

    run(main)
