"""News of the membership: it reaches everybody over links, secrets reach members only, and garbage reaches nobody."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from meshwit.peer.mesh import news
from meshwit.peer.mesh.news import Approve, MembershipNews, Standing
from meshwit.peer.trust.certificates import CertificateKind, issue
from meshwit.peer.wire.frames import Channel
from tests.peer.mesh.small_peers import Wired, in_a_mesh, until
from tests.peer.trust.small_mesh import device


class Told:
    """The news of one member, and what came of it."""

    def __init__(self, member: Wired) -> None:
        self.approved: list[tuple] = []
        self.complaints: list[tuple] = []
        self.news = MembershipNews(
            member.keeper, member.links, lambda waiting, by: self.approved.append((waiting, by)),
            lambda peer, why: self.complaints.append((peer, why)),
        )  # fmt: skip
        member.links.on_up = self.news.greet
        member.to_close.append(self.news.close)


async def line(*members: Wired) -> list[Told]:
    """Each linked to the next one only."""
    told = [Told(each) for each in members]
    for one, other in pairwise(members):
        await one.links.connect(other.id, [other.address])
        await until(lambda one=one, other=other: one.id in other.links.links)
    return told


def chains(*members: Wired) -> dict:
    return {each.id: each.keeper.membership.chain for each in members}


def secret(member: Wired):
    return member.keeper.membership.secrets[0]


def test_an_expulsion_and_its_new_secret_reach_everybody_over_others(tmp_path):
    async def test(ada, bob, cid):
        told = await line(ada, bob, cid)
        before = secret(ada)
        ada.keeper.expel(device("eve").id, chains(ada, bob, cid))
        await until(lambda: cid.keeper.is_expelled(device("eve").id) and secret(cid) == secret(ada))
        assert secret(ada) != before and not cid.keeper.secret_is_stale
        assert not any(each.complaints for each in told)

    in_a_mesh(tmp_path, "ada bob cid", test)


def test_who_was_away_learns_it_on_return_whoever_dials(tmp_path):
    async def test(ada, bob, cid):
        ada.keeper.expel(device("eve").id, chains(ada, bob, cid))
        await line(cid, bob, ada)
        await until(lambda: cid.keeper.is_expelled(device("eve").id) and secret(cid) == secret(ada))

    in_a_mesh(tmp_path, "ada bob cid", test)


def test_many_expulsions_arrive_in_one_change(tmp_path):
    async def test(ada, bob):
        for number in range(20):
            ada.keeper.expel(device(f"eve{number}").id, chains(ada, bob))
        changes = []
        bob.keeper.on_change.append(changes.append)
        await line(ada, bob)
        await until(lambda: len(bob.keeper.membership.expelled) == 20 and secret(bob) == secret(ada))
        assert len(changes) <= 2

    in_a_mesh(tmp_path, "ada bob", test)


@pytest.mark.parametrize("kind", [CertificateKind.MEMBER, CertificateKind.SAME_DEVICE])
def test_neither_the_expelled_nor_who_came_through_it_gets_the_new_secret(tmp_path, kind):
    async def test(ada, bob):
        eve = Wired(tmp_path, "eve", bob)
        other = bob.keeper.membership
        certificate = issue(bob.key, other.mesh, eve.key.public_key, "eve", other.chain[0].issued_at, kind=kind)
        eve.keeper.adopt(msgspec.structs.replace(other, chain=(*other.chain, certificate)))
        await eve.start()
        try:
            await line(ada, bob)
            Told(eve)
            await ada.links.connect(eve.id, [eve.address])
            before = secret(eve)
            ada.keeper.expel(bob.id, chains(ada, bob))
            await until(lambda: eve.keeper.is_expelled(bob.id) and bob.keeper.is_expelled(bob.id))
            assert secret(eve) == secret(bob) == before != secret(ada)
        finally:
            await eve.close()

    in_a_mesh(tmp_path, "ada bob", test)


def test_secrets_and_wishes_of_the_expelled_are_passed_over(tmp_path):
    async def test(ada, bob):
        told, _ = await line(ada, bob)
        ada.keeper.expel(bob.id, chains(ada, bob))
        mine = secret(ada)
        bob.keeper.renew_secret()
        bob.keeper.renew_secret()
        link = bob.links.links[ada.id]
        link.send(Channel.MEMBERSHIP, msgspec.msgpack.encode(Standing(bob.keeper.secrets_for_members())))
        link.send(Channel.MEMBERSHIP, msgspec.msgpack.encode(Approve("somebody")))
        link.send(Channel.MEMBERSHIP, b"last")
        await until(lambda: told.complaints)
        assert secret(ada) == mine and not told.approved

    in_a_mesh(tmp_path, "ada bob", test)


def test_a_wish_to_approve_reaches_the_member_where_somebody_waits(tmp_path):
    async def test(ada, bob):
        told, other = await line(ada, bob)
        assert other.news.ask_to_approve(ada.id, "waiting")
        await until(lambda: told.approved)
        assert told.approved == [("waiting", bob.id)]
        assert not other.news.ask_to_approve(device("nobody").id, "waiting")

    in_a_mesh(tmp_path, "ada bob", test)


@pytest.mark.parametrize(
    "raw",
    [b"", b"\xc1", b"garbage", msgspec.msgpack.encode({"type": "coup"}), msgspec.msgpack.encode([1]),
     msgspec.msgpack.encode({"type": "standing", "secrets": "text"}), b"\x81" * 2000,
     msgspec.msgpack.encode({"type": "standing", "secrets": b"none"})],
    ids=["empty", "invalid", "text", "unknown", "list", "wrong kind", "nested", "no secrets"],
)  # fmt: skip
def test_what_cannot_be_read_is_a_complaint_and_nothing_else(tmp_path, raw):
    async def test(ada, bob):
        told, _ = await line(ada, bob)
        before = ada.keeper.membership
        bob.links.links[ada.id].send(Channel.MEMBERSHIP, raw)
        await until(lambda: told.complaints)
        assert told.complaints[0][0] == bob.id
        assert ada.keeper.membership == before and bob.id in ada.links.links

    in_a_mesh(tmp_path, "ada bob", test)


def test_a_secret_that_an_expelled_peer_may_know_is_replaced_by_somebody(tmp_path, monkeypatch):
    """Two expel two others at the same time: each made a secret that one of the expelled was sent."""
    monkeypatch.setattr(news, "RENEW_AFTER_S", (0.01, 0.05))

    async def test(ada, bob):
        ada.keeper.expel(device("eve").id, chains(ada, bob))
        bob.keeper.expel(device("mal").id, chains(ada, bob))
        await line(ada, bob)
        await until(lambda: not ada.keeper.secret_is_stale and secret(ada) == secret(bob))
        assert set(ada.keeper.membership.expelled) == {device("eve").id, device("mal").id}

    in_a_mesh(tmp_path, "ada bob", test)


def test_after_it_is_closed_nothing_is_renewed(tmp_path):
    async def test(ada, bob):
        told = Told(ada)
        told.news.close()
        record = bob.keeper.expel(device("eve").id, chains(ada, bob))
        ada.keeper.add_expulsions([record])
        assert ada.keeper.secret_is_stale  # and no timer is left, which is looked at in the end

    in_a_mesh(tmp_path, "ada bob", test)
