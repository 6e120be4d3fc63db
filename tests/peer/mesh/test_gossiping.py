"""The shell of gossip: brings the core what comes in, does what it wants, and survives what others send."""

from __future__ import annotations

import os
import random
import time

import pytest

from meshwit.gossip.config import GossipConfig
from meshwit.gossip.effects import MemberJoined, RecordChanged, Send
from meshwit.gossip.swim import Gossip
from meshwit.peer.mesh import gossiping
from meshwit.peer.mesh.gossiping import GossipShell, datagram_address
from meshwit.peer.mesh.profile import MemberProfile, encode
from meshwit.peer.trust.keys import verify
from meshwit.peer.wire.datagrams import DatagramKind, Datagrams
from meshwit.peer.wire.frames import Channel
from meshwit.peer.wire.sealing import Sealer
from tests.peer.mesh.small_peers import Wired, in_a_mesh, until
from tests.peer.trust.small_mesh import device


class Gossiping:
    """One member that gossips, and what it was told."""

    def __init__(self, member: Wired) -> None:
        self.member = member
        self.known: dict = {}
        self.events: list = []
        self.complaints: list = []
        self.fails = False
        self.sealer = Sealer(member.id, member.keeper.secrets, time.time_ns() // 1000, os.urandom(4))
        self.datagrams = Datagrams(self.sealer, member.keeper.is_expelled)
        core = Gossip(
            member.id, GossipConfig(), random.Random(member.name), member.key, verify, member.keeper.admits_profile,
            time.time_ns() // 1_000_000,
        )  # fmt: skip
        self.shell = GossipShell(
            core, member.links, self.datagrams, lambda peer: self.known.get(peer, []), self._event,
            lambda peer, why: self.complaints.append((peer, why)),
        )  # fmt: skip

    def _event(self, event) -> None:
        self.events.append(event)
        if self.fails:
            raise ZeroDivisionError

    async def start(self) -> None:
        member = self.member
        await self.datagrams.start(["127.0.0.1"], member.port)
        member.to_close += [self.shell.close, self.datagrams.close]
        member.links.on_up = self._up
        member.links.on_down = self.shell.link_down
        member.links.on_dial_failed = self.shell.dial_failed
        profile = MemberProfile(name=member.name, chain=member.keeper.chain, addresses=("127.0.0.1",), port=member.port)
        self.shell.start(encode(profile))

    def _up(self, link) -> None:
        self.sealer.expect(link.peer, link.info.datagram_counter)
        self.shell.link_up(link)

    def alive(self) -> set:
        return {each.id for each in self.shell.gossip.alive()}

    def heard(self, topic: str) -> list[bytes]:
        return [
            event.record.payload for event in self.events
            if isinstance(event, RecordChanged) and event.record.topic == topic
        ]  # fmt: skip


def gossiping_mesh(tmp_path, names: str, test) -> None:
    """Runs `test(*gossiping)`: nobody is linked."""

    async def main(*members) -> None:
        made = [Gossiping(each) for each in members]
        for each in made:
            await each.start()
        await test(*made)

    in_a_mesh(tmp_path, names, main)


async def link(one: Gossiping, other: Gossiping) -> None:
    await one.member.links.connect(other.member.id, [other.member.address])


def test_members_learn_of_each_other_and_of_what_they_say(tmp_path):
    async def test(ada, bob, cid):
        for one, other in ((ada, bob), (bob, cid)):
            one.known[other.member.id] = [other.member.address]
            await link(one, other)
        ids = {each.member.id for each in (ada, bob, cid)}
        for each in (ada, bob, cid):
            await until(lambda each=each: each.alive() | {each.member.id} == ids)
        ada.shell.publish("mood", b"good")
        await until(lambda: cid.heard("mood") == [b"good"])
        assert not ada.complaints + bob.complaints + cid.complaints

    gossiping_mesh(tmp_path, "ada bob cid", test)


def test_what_must_arrive_is_kept_while_its_peer_is_dialled(tmp_path):
    async def test(ada, bob):
        ada.known[bob.member.id] = [bob.member.address]
        ada.shell.greet(bob.member.id)
        assert bob.member.id in ada.shell._dials
        await until(lambda: ada.alive() == {bob.member.id} and bob.alive() == {ada.member.id})
        assert not ada.shell._waiting and not ada.shell._dials

    gossiping_mesh(tmp_path, "ada bob", test)


def test_a_peer_that_cannot_be_dialled_costs_nothing_for_long(tmp_path):
    async def test(ada, bob):
        ada.known[bob.member.id] = [("127.0.0.1", 9)]
        for peer in (bob.member.id, device("nobody").id):
            ada.shell.greet(peer)
        await until(lambda: not ada.shell._dials)
        assert not ada.shell._waiting

    gossiping_mesh(tmp_path, "ada bob", test)


def test_messages_and_dials_that_wait_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(gossiping, "DIALS_MAX", 3)

    async def test(ada):
        peers = [device(f"d{number}").id for number in range(10)]
        for peer in peers:
            ada.shell._perform([Send(peer, b"x", True)] * 99)
        assert len(ada.shell._dials) == 3 and set(ada.shell._waiting) == set(peers[:3])
        assert {len(each) for each in ada.shell._waiting.values()} == {gossiping.WAITING_MAX}
        await until(lambda: not ada.shell._dials)

    gossiping_mesh(tmp_path, "ada", test)


@pytest.mark.parametrize(
    "raw",
    [b"", b"\xc1", b"garbage", b"\x92\x01" * 50, random.Random("noise").randbytes(200)],
    ids=["empty", "invalid", "text", "nested", "noise"],
)
def test_garbage_over_a_link_and_in_datagrams_is_a_complaint(tmp_path, raw):
    async def test(ada, bob):
        ada.known[bob.member.id] = [bob.member.address]
        await link(ada, bob)
        await until(lambda: bob.alive() and ada.alive())
        bob.member.links.links[ada.member.id].send(Channel.GOSSIP, raw)
        bob.datagrams.send(ada.member.address, DatagramKind.GOSSIP, raw)
        await until(lambda: len(ada.complaints) >= 2)
        assert {peer for peer, _ in ada.complaints} == {bob.member.id}
        ada.shell.publish("mood", b"good")
        await until(lambda: bob.heard("mood") == [b"good"])

    gossiping_mesh(tmp_path, "ada bob", test)


def test_what_fails_in_the_parts_above_does_not_stop_the_gossip(tmp_path):
    async def test(ada, bob):
        ada.fails = True
        ada.known[bob.member.id] = [bob.member.address]
        await link(ada, bob)
        await until(lambda: any(isinstance(event, MemberJoined) for event in ada.events))
        await until(lambda: ada.alive() == {bob.member.id})
        bob.shell.publish("mood", b"good")
        await until(lambda: ada.heard("mood") == [b"good"])
        assert ada.shell._timer is not None

    gossiping_mesh(tmp_path, "ada bob", test)


def test_senders_that_are_invented_fill_no_memory(tmp_path, monkeypatch):
    """Whoever has the secret can seal under any id."""
    monkeypatch.setattr(gossiping, "HEARD_MAX", 50)

    async def test(ada):
        for number in range(120):
            ada.shell._from_datagram(device(f"d{number}").id, ("127.0.0.1", 9), b"garbage")
        assert len(ada.shell._heard_at) == 50

    gossiping_mesh(tmp_path, "ada", test)


def test_a_goodbye_is_heard_and_after_the_end_nothing_is_sent(tmp_path):
    async def test(ada, bob):
        ada.known[bob.member.id] = [bob.member.address]
        await link(ada, bob)
        await until(lambda: bob.alive() and ada.alive())
        bob.shell.leave()
        await until(lambda: not ada.alive())
        bob.shell.close()
        before = bob.datagrams.stats().messages_out
        bob.shell.publish("mood", b"good")
        bob.shell.greet(ada.member.id)
        assert bob.datagrams.stats().messages_out == before and not bob.shell._dials

    gossiping_mesh(tmp_path, "ada bob", test)


def test_datagrams_go_to_the_host_of_the_link_at_the_port_that_it_told(tmp_path):
    async def test(ada, bob):
        await link(ada, bob)
        await until(lambda: ada.member.id in bob.member.links.links)
        assert datagram_address(ada.member.links.links[bob.member.id]) == bob.member.address
        assert datagram_address(bob.member.links.links[ada.member.id]) == ada.member.address

    gossiping_mesh(tmp_path, "ada bob", test)
