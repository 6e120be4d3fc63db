"""How a simulated peer is in its mesh: links, gossip, seeking, and what peers tell of themselves, put together as
`peer.mesh.parts` does it.

Who is believed alive, dead or back, how others are found, to whom there is to be a link, who works and how fast he is:
all of it comes from the product's `GossipShell`, `Seeker`, `Neighbourhood`, `AddressBook` and `Roster`, over the
simulated network.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from meshwit.gossip.effects import (
    Effect,
    MemberDied,
    MemberForgotten,
    MemberLeft,
    RecordChanged,
)
from meshwit.ids import PeerId
from meshwit.peer.mesh import profile
from meshwit.peer.mesh.gossiping import MemberEvent
from meshwit.peer.mesh.neighbourhood import Neighbourhood
from meshwit.peer.mesh.parts import LOOK_EVERY_S
from meshwit.peer.mesh.profile import LoadProfile, MemberProfile
from meshwit.peer.mesh.reports import ToldLoad
from meshwit.peer.mesh.roster import Roster
from meshwit.peer.mesh.seeking import Seeker
from meshwit.peer.wire.addresses import Address
from meshwit.peer.wire.endings import LinkEnd, LinkError
from meshwit.peer.wire.link import Link
from simulations.hosts import End, Host
from simulations.jobs.clock import Clock
from simulations.jobs.device import Device
from simulations.jobs.gossiping import SimulatedDatagrams, WatchedGossip, sealer_of, wall_ms
from simulations.jobs.links import SimulatedLinks
from simulations.jobs.nearby import MESH_HASH, SimulatedNearby
from simulations.jobs.wire import PORT
from simulations.network import Network

NOBODY_IS_TOLD: Final = lambda *_: None  # noqa: E731


class Jobs(Protocol):
    """What a peer does in its mesh."""

    def link_up(self, link: Link) -> None:
        """There is a way to a peer."""

    def link_down(self, peer: PeerId) -> None:
        """It has ended."""

    def record_changed(self, owner: PeerId, topic: str) -> None:
        """A peer told something of itself."""

    def load(self) -> LoadProfile:
        """How busy this peer is."""


class Parts:
    """See the module.

    To be made on the running loop of the device.

    Args:
        seen: sees all effects of gossip.
    """

    def __init__(
        self,
        device: Device,
        clock: Clock,
        network: Network,
        rng: random.Random,
        jobs: Jobs,
        seen: Callable[[Effect], None],
    ) -> None:
        self.me = device.id
        self.roster = Roster()
        self._book = device.book
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._jobs = jobs
        self._sealer = sealer_of(device.id, clock, rng)
        self.links = SimulatedLinks(device.host, clock, network, rng, lambda: self._sealer.counter)
        self.links.on_up = self.links.guarded(self._link_up)
        self.links.on_down = self.links.guarded(self._link_down)
        self.links.on_dial_failed = self.links.guarded(self._dial_failed)
        self.datagrams = SimulatedDatagrams(device.host, clock, network, self._sealer)
        self.gossiping = WatchedGossip(
            device.host, clock, rng, self.links, self.datagrams,
            self._addresses, self._member_event, seen,
        )  # fmt: skip
        self._nearby = SimulatedNearby(device.host, network, rng, lambda sighting: self._seeker.sighted(sighting))
        self._seeker = Seeker(
            MESH_HASH, self.links, self._book, self._nearby, spawn=self._spawn, addresses_of=self._addresses,
            tell=NOBODY_IS_TOLD, noted=NOBODY_IS_TOLD, stranger=NOBODY_IS_TOLD,
        )  # fmt: skip
        alive = self.gossiping.gossip.alive
        self._neighbourhood = Neighbourhood(
            self.me, self.links, lambda: (member.id for member in alive()), self._addresses
        )  # fmt: skip
        self._told_load = ToldLoad()

    def start(self, member: MemberProfile, told: dict[str, bytes]) -> None:
        """Begins to talk; `told` is what else this peer says of itself, by topic."""
        payload = profile.encode(member)
        self.gossiping.start(payload)
        self._learn(self.me, profile.MEMBER, payload)
        for topic, said in told.items():
            self.publish(topic, said)
        self._spawn(self._seeker.start(PORT, ()))
        self._loop.call_soon(self._look_at_load)

    def publish(self, topic: str, payload: bytes) -> None:
        """Tells it to all peers, this one included."""
        self._learn(self.me, topic, payload)
        self.gossiping.publish(topic, payload)

    def datagram_received(self, source: Host, payload: bytes) -> None:
        """A datagram, or what was multicast."""
        if not self._nearby.heard(source, payload):
            self.datagrams.received(source, payload)

    def stream_accepted(self, end: End) -> None:
        """Somebody dialled."""
        self.links.carried.accepted(end)

    def stream_received(self, end: End, payload: bytes) -> None:
        """A connection brought something."""
        self.links.carried.received(end, payload)

    def stream_closed(self, end: End, reason: str) -> None:
        """A connection has ended."""
        self.links.carried.broken(end)

    def _addresses(self, peer: PeerId) -> list[Address]:
        return self._book.candidates(peer, self._wall)

    @property
    def _wall(self) -> float:
        return wall_ms(self._clock) / 1000

    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        # What it raises ends the run, at once.
        self._loop.create_task(work).add_done_callback(lambda task: task.cancelled() or task.result())

    # --- links and members -------------------------------------------------------------------------------------------

    def _link_up(self, link: Link) -> None:
        self._sealer.expect(link.peer, link.info.datagram_counter)
        self._book.reached(link.peer, (link.address[0], link.info.addresses[0][1]), self._wall, link.info.name)
        self.gossiping.link_up(link)
        self._jobs.link_up(link)

    def _link_down(self, peer: PeerId, end: LinkEnd) -> None:
        self.gossiping.link_down(peer, end)
        self._jobs.link_down(peer)

    def _dial_failed(self, peer: PeerId, error: LinkError) -> None:
        self.gossiping.dial_failed(peer, error)

    def _member_event(self, event: MemberEvent) -> None:
        match event:
            case RecordChanged(record=record):
                self._learn(record.owner, record.topic, record.payload)
                member = self.roster.member(record.owner)
                if record.topic == profile.MEMBER and member is not None:
                    listening = [(host, member.port) for host in member.addresses]
                    self._book.told(record.owner, listening, self._wall, member.name)
                    self._neighbourhood.moved(record.owner)
                return
            case MemberForgotten(peer=peer):
                self.roster.forget(peer)
            case MemberDied(peer=peer):
                self._neighbourhood.died(peer)
            case MemberLeft():
                pass
        self._neighbourhood.changed()

    def _learn(self, owner: PeerId, topic: str, payload: bytes) -> None:
        self.roster.learn(owner, topic, payload)
        self._jobs.record_changed(owner, topic)

    # --- this device -------------------------------------------------------------------------------------------------

    def _look_at_load(self) -> None:
        self._loop.call_later(LOOK_EVERY_S, self._look_at_load)
        found = self._jobs.load()
        payload = profile.encode(found)
        self._learn(self.me, profile.LOAD, payload)
        if self._told_load.is_due(found, self._loop.time()):
            self.gossiping.publish(profile.LOAD, payload)
