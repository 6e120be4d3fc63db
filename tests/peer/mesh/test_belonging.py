"""How a device gets into a mesh, or founds one, and that it asks nobody for what it was not told to ask."""

from __future__ import annotations

import asyncio
import os
import time

import msgspec
import pytest

from meshwit.peer.control.options import UpError, UpOptions
from meshwit.peer.mesh import belonging
from meshwit.peer.mesh.belonging import Search, enter_open_mesh
from meshwit.peer.trust.certificates import name_fault
from tests.peer.mesh.small_peers import Owner, Wired, alone_on_this_device, in_a_mesh, until
from tests.peer.mesh.test_admitting import Door


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    alone_on_this_device(monkeypatch, tmp_path)
    monkeypatch.setattr(belonging, "ASK_AGAIN_S", 0.05)


class Newcomer:
    """A device on its way, and its owner."""

    def __init__(self, wired: Wired, *doors: Door, **options) -> None:
        self.wired = wired
        self.owner = Owner()
        peers = tuple(each.member.address for each in doors)
        self.search = Search(
            wired.home, wired.profile, UpOptions(peers=peers, **options), self.owner, wired.links.open_join, wired.name
        )

    async def belong(self):
        return await self.search.belong()


def near_doors(tmp_path, test, meshes: str = "ada") -> None:
    """Runs `test(bob, *doors)`: a device in no mesh, and a member of each of some meshes."""

    async def main(ada) -> None:
        others = [Wired(tmp_path, each, founds=True) for each in meshes.split()[1:]]
        bob = Wired(tmp_path, "bob")
        doors = [Door(each) for each in (ada, *others)]
        try:
            for each in others:
                await each.start()
            await test(bob, *doors)
        finally:
            for each in doors:
                each.admissions.close()
            for each in (bob, *others):
                await each.close()

    in_a_mesh(tmp_path, meshes.split()[0], main)


def opened(door: Door) -> None:
    """It takes everybody from now on."""
    door.member.keeper.adopt(msgspec.structs.replace(door.member.keeper.membership, open=True))


def test_where_nobody_is_a_mesh_is_founded_and_kept(tmp_path):
    async def test(bob, door):
        found = await Newcomer(bob).belong()
        membership = found.membership
        assert bob.profile.load_membership() == membership and not membership.open
        assert membership.name == "bob" and not name_fault(membership.mesh_name) and "@" in membership.mesh_name
        assert membership.mesh_name in found.told and found.contacts == ()
        assert door.events == []

    near_doors(tmp_path, test)


def test_a_mesh_of_its_own_is_made_though_others_are_near(tmp_path):
    async def test(bob, door):
        found = await Newcomer(bob, door, new=True, open=True).belong()
        assert found.membership.mesh != door.member.keeper.mesh and found.membership.open
        assert door.events == []

    near_doors(tmp_path, test)


def test_an_open_mesh_is_entered_if_that_was_asked_for(tmp_path):
    async def test(bob, door):
        opened(door)
        found = await Newcomer(bob, door, open=True).belong()
        assert found.membership.mesh == door.member.keeper.mesh and found.contacts == (door.member.address,)
        assert bob.profile.load_membership() == found.membership

    near_doors(tmp_path, test)


def test_an_open_mesh_that_was_not_asked_for_is_told_and_not_asked_again_and_again(tmp_path):
    async def test(bob, door):
        opened(door)
        newcomer = Newcomer(bob, door)
        searching = asyncio.create_task(newcomer.belong())
        await until(lambda: newcomer.owner.said)
        await asyncio.sleep(0.3)
        assert "--open" in newcomer.owner.said[0] and len(newcomer.owner.said) == 1
        assert door.kinds().count("admitted") == 1
        code, _ = door.admissions.new_code()
        newcomer.owner.typed.put_nowait(code)
        assert (await searching).membership.mesh == door.member.keeper.mesh

    near_doors(tmp_path, test)


def test_an_approval_is_taken_if_the_person_here_agrees(tmp_path):
    async def test(bob, door):
        newcomer = Newcomer(bob, door)
        newcomer.owner.agrees = False
        searching = asyncio.create_task(newcomer.belong())
        await until(door.admissions.pending)
        words = door.admissions.pending()[0].words
        door.admissions.approve(bob.id)
        await until(lambda: newcomer.owner.confirmed)
        assert newcomer.owner.confirmed == [(words, "home")] and bob.profile.load_membership() is None
        newcomer.owner.agrees = True
        await until(lambda: door.admissions.pending() or searching.done())
        door.admissions.approve(bob.id)
        assert (await searching).membership.mesh == door.member.keeper.mesh

    near_doors(tmp_path, test)


def test_a_mistyped_code_does_not_cost_the_place_at_the_door(tmp_path):
    async def test(bob, door):
        newcomer = Newcomer(bob, door)
        searching = asyncio.create_task(newcomer.belong())
        await until(door.admissions.pending)
        words = door.admissions.pending()[0].words
        newcomer.owner.typed.put_nowait("what?")
        await until(lambda: newcomer.owner.wrong)
        assert door.admissions.pending()[0].words == words
        door.admissions.approve(bob.id)
        await searching

    near_doors(tmp_path, test)


def test_a_code_reaches_the_member_that_shows_it_whoever_else_is_near(tmp_path):
    """Another mesh may be nearer, and may show a code of the same number."""

    async def test(bob, strangers, door):
        code, _ = door.admissions.new_code()
        number = code.partition("-")[0]
        for _ in range(8):
            other, _ = strangers.admissions.new_code()
            if other.startswith(f"{number}-"):
                break
        newcomer = Newcomer(bob, strangers, door)
        newcomer.owner.typed.put_nowait(code)
        found = await newcomer.belong()
        assert found.membership.mesh == door.member.keeper.mesh
        assert not newcomer.owner.wrong

    near_doors(tmp_path, test, "ada den")


def test_a_member_that_goes_while_one_waits_there_is_asked_again_when_it_is_back(tmp_path):
    async def test(bob, door):
        newcomer = Newcomer(bob, door)
        searching = asyncio.create_task(newcomer.belong())
        await until(door.admissions.pending)
        for each in door.admissions._waiting.values():
            each.conversation.close()
        await until(lambda: not door.admissions.pending())
        await until(door.admissions.pending)
        door.admissions.approve(bob.id)
        await searching

    near_doors(tmp_path, test)


def test_an_invite_is_good_for_its_mesh_only_and_needs_nobody(tmp_path):
    async def test(bob, strangers, door):
        opened(strangers)
        token = door.admissions.new_token(1.0, [strangers.member.address, door.member.address])
        newcomer = Newcomer(bob, invite=token)
        found = await newcomer.belong()
        assert found.membership.mesh == door.member.keeper.mesh
        assert not newcomer.owner.asked and "admitted" not in strangers.kinds()

    near_doors(tmp_path, test, "ada den")


@pytest.mark.parametrize("text", ["nonsense", "meshwit1", "meshwit1AAAA", " "])
def test_an_invite_that_is_none_is_told_at_once(tmp_path, text):
    async def test(bob, door):
        with pytest.raises(UpError) as told:
            await Newcomer(bob, door, invite=text).belong()
        assert "meshwit invite --token" in told.value.hint

    near_doors(tmp_path, test)


def test_an_invite_of_a_mesh_that_nobody_answers_for_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(belonging, "INVITE_TRIES_S", 0.2)

    async def test(bob, door):
        token = door.admissions.new_token(1.0, [])
        with pytest.raises(UpError, match="home") as told:
            await Newcomer(bob, invite=token).belong()
        assert "meshwit doctor" in told.value.hint

    near_doors(tmp_path, test)


def test_an_expelled_device_is_told_so_and_stops_asking(tmp_path):
    async def test(bob, door):
        door.member.keeper.expel(bob.id, {})
        with pytest.raises(UpError, match="expelled") as told:
            await Newcomer(bob, door).belong()
        assert "meshwit leave" in told.value.hint

    near_doors(tmp_path, test)


def test_a_search_that_is_called_off_leaves_the_door(tmp_path):
    async def test(bob, door):
        newcomer = Newcomer(bob, door)
        searching = asyncio.create_task(newcomer.belong())
        await until(door.admissions.pending)
        searching.cancel()
        await asyncio.gather(searching, return_exceptions=True)
        await until(lambda: not door.admissions.pending())
        assert bob.profile.load_membership() is None and searching.cancelled()

    near_doors(tmp_path, test)


def test_a_search_that_is_called_off_while_a_code_is_tried_ends_too(tmp_path):
    """At any moment of it."""

    async def test(bob, door):
        for turns in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55):
            newcomer = Newcomer(bob, door)
            searching = asyncio.create_task(newcomer.belong())
            await until(door.admissions.pending)
            newcomer.owner.typed.put_nowait("99-otter-violin")
            for _ in range(turns):
                await asyncio.sleep(0)
            searching.cancel()
            async with asyncio.timeout(5):
                await asyncio.gather(searching, return_exceptions=True)
            assert searching.cancelled()
            await until(lambda: not door.admissions._waiting)

    near_doors(tmp_path, test)


def test_a_host_whose_name_nobody_knows_is_told(tmp_path):
    async def test(bob, door):
        newcomer = Newcomer(bob)
        newcomer.search._options = UpOptions(peers=(("no-such-host.invalid", 0),))
        with pytest.raises(UpError, match="no-such-host"):
            await newcomer.belong()
        assert any("no-such-host" in text for text in newcomer.owner.said)

    near_doors(tmp_path, test)


def test_an_open_mesh_found_later_is_entered_and_a_closed_one_is_not(tmp_path):
    async def test(bob, door):
        entered = await enter_open_mesh(bob.links.open_join, bob.key, "bob", [door.member.address])
        assert entered is None
        await until(lambda: not door.admissions._waiting)
        opened(door)
        nobody = ("127.0.0.1", 9)
        entered = await enter_open_mesh(bob.links.open_join, bob.key, "bob", [nobody, door.member.address])
        assert entered.membership.mesh == door.member.keeper.mesh
        assert await enter_open_mesh(bob.links.open_join, bob.key, "bob", [nobody]) is None
        assert await enter_open_mesh(bob.links.open_join, bob.key, "bob", []) is None

    near_doors(tmp_path, test)


def test_a_second_profile_of_the_home_joins_without_a_question(tmp_path):
    async def test(bob, door):
        membership = (await Newcomer(bob, new=True).belong()).membership
        with bob.home.profile() as second:
            search = Search(bob.home, second, UpOptions(), Owner(), bob.links.open_join, "bob-too")
            found = await search.belong()
        assert found.membership.mesh == membership.mesh and found.membership.name == "bob-too"
        assert found.membership.chain[:-1] == membership.chain and found.membership.id != membership.id
        assert time.time() - found.membership.chain[-1].issued_at < 60 and os.listdir(bob.home.folder / "peers")

    near_doors(tmp_path, test)
