"""How a simulated peer is in its mesh: links, gossip, seeking, and what peers tell of themselves, put together as
`peer.mesh.parts` and `peer.mesh.seeking` do it.

Who is believed alive, dead or back, to whom there is to be a link, who works and how fast he is: all of it comes from
the gossip core, from `wanted_links`, from `Roster` and `is_worth_telling`, over the simulated network. Multicast is
bound thinly: who starts announces itself three times to all that can hear it, and is answered by each.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Final, Protocol

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
from meshwit.peer.mesh.neighbours import wanted_links
from meshwit.peer.mesh.parts import LOOK_EVERY_S, SECOND_DIAL_S, SETTLE_S
from meshwit.peer.mesh.profile import LoadProfile, MemberProfile
from meshwit.peer.mesh.reports import is_worth_telling
from meshwit.peer.mesh.roster import Roster
from meshwit.peer.mesh.seeking import LOOK_EVERY_S as LOOK_LINKED_EVERY_S
from meshwit.peer.mesh.seeking import SEEK_EVERY_S, TRIES_MAX
from meshwit.peer.wire.addresses import Address
from meshwit.peer.wire.endings import LinkEnd, LinkError
from meshwit.peer.wire.link import Link
from simulations.hosts import End, Host
from simulations.jobs.clock import Clock
from simulations.jobs.device import Device
from simulations.jobs.gossiping import SimulatedDatagrams, WatchedGossip, sealer_of
from simulations.jobs.links import SimulatedLinks
from simulations.jobs.wire import address_of
from simulations.network import Network

ANNOUNCED: Final = b"\0 announced"
ANSWERED: Final = b"\0 answered"
"""What is multicast; no sealed datagram begins so."""
ANNOUNCEMENTS: Final = 3
ANNOUNCE_EVERY_S: Final = 0.225
ANSWER_S: Final = (0.02, 0.12)
"""RFC 6762, section 6."""


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
        device_of: the device on a host; `host_of`, the host of a peer.
        seen: sees all effects of gossip.
    """

    def __init__(
        self,
        device: Device,
        clock: Clock,
        network: Network,
        rng: random.Random,
        jobs: Jobs,
        device_of: Callable[[Host], Device],
        host_of: Callable[[PeerId], Host],
        seen: Callable[[Effect], None],
    ) -> None:
        self.me = device.id
        self.roster = Roster()
        self._device = device
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._network = network
        self._rng = rng
        self._jobs = jobs
        self._device_of = device_of
        self._sealer = sealer_of(device.id, clock, rng)
        self._host_of = host_of
        self.links = SimulatedLinks(device.host, clock, network, rng, lambda: self._sealer.counter)
        self.links.on_up = self.links.guarded(self._link_up)
        self.links.on_down = self.links.guarded(self._link_down)
        self.links.on_dial_failed = self.links.guarded(self._dial_failed)
        self.datagrams = SimulatedDatagrams(device.host, clock, network, self._sealer)
        self.gossiping = WatchedGossip(
            device.host, clock, rng, self.links, self.datagrams,
            self._addresses, self._member_event, seen,
        )  # fmt: skip
        self._kept: frozenset[PeerId] = frozenset()
        self._late_dials: dict[PeerId, object] = {}
        self._settling = False
        self._told_load: LoadProfile | None = None
        self._told_load_at = 0.0
        self._seek_pause_s = SEEK_EVERY_S[0]
        self._seek_due = clock.now
        self._trying = 0
        self._sighted: dict[int, Host] = {}

    def start(self, member: MemberProfile, told: dict[str, bytes]) -> None:
        """Begins to talk; `told` is what else this peer says of itself, by topic."""
        payload = profile.encode(member)
        self.gossiping.start(payload)
        self._learn(self.me, profile.MEMBER, payload)
        for topic, said in told.items():
            self.publish(topic, said)
        for number in range(ANNOUNCEMENTS):
            self._loop.call_later(number * ANNOUNCE_EVERY_S, self._announce)
        self._loop.call_soon(self._seek_for_ever)
        self._loop.call_soon(self._look_at_load)

    def publish(self, topic: str, payload: bytes) -> None:
        """Tells it to all peers, this one included."""
        self._learn(self.me, topic, payload)
        self.gossiping.publish(topic, payload)

    def datagram_received(self, source: Host, payload: bytes) -> None:
        """A datagram, or what was multicast."""
        if payload in (ANNOUNCED, ANSWERED):
            if payload == ANNOUNCED:
                self._loop.call_later(self._rng.uniform(*ANSWER_S), self._answer, source)
            self._saw(source)
        else:
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
        return [address_of(self._host_of(peer))] if peer in self._device.book else []

    # --- links and members -------------------------------------------------------------------------------------------

    def _link_up(self, link: Link) -> None:
        self._sealer.expect(link.peer, link.info.datagram_counter)
        self._device.heard(link.peer)
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
                if record.topic == profile.MEMBER:
                    self._device.heard(record.owner)
                    if record.owner in self._kept and record.owner not in self._late_dials:
                        self.links.keep(record.owner, self._addresses(record.owner))
                return
            case MemberForgotten(peer=peer):
                self.roster.forget(peer)
            case MemberDied(peer=peer):
                link = self.links.links.get(peer)
                if link is not None:
                    link.close("it does not answer", goodbye=False)
            case MemberLeft():
                pass
        if not self._settling:
            self._settling = True
            self._loop.call_later(SETTLE_S, self._settle_links)

    def _learn(self, owner: PeerId, topic: str, payload: bytes) -> None:
        self.roster.learn(owner, topic, payload)
        self._jobs.record_changed(owner, topic)

    def _settle_links(self) -> None:
        """Chooses to whom to be linked, now that the members have changed."""
        self._settling = False
        wanted = wanted_links(self.me, (member.id for member in self.gossiping.gossip.alive()))
        for peer in sorted(self._kept - wanted):
            self.links.unkeep(peer)
            self._late_dials.pop(peer, None)
        for peer in sorted(wanted - self._kept):
            if self.me < peer:
                self.links.keep(peer, self._addresses(peer))
            else:
                mark = self._late_dials[peer] = object()
                self._loop.call_later(SECOND_DIAL_S, self._keep_late, peer, mark)
        self._kept = wanted

    def _keep_late(self, peer: PeerId, mark: object) -> None:
        if self._late_dials.get(peer) is mark:
            del self._late_dials[peer]
            self.links.keep(peer, self._addresses(peer))

    # --- finding others ----------------------------------------------------------------------------------------------

    def _announce(self) -> None:
        for host in self._network.hosts:
            if host is not self._device.host:
                self._network.send(self._device.host, host, ANNOUNCED)

    def _answer(self, host: Host) -> None:
        self._network.send(self._device.host, host, ANSWERED)

    def _saw(self, host: Host) -> None:
        self._sighted[host.index] = host
        if self._device_of(host).id not in self.links.links or len(self.links.links) < 2:
            self._try_host(host)

    def _seek_for_ever(self) -> None:
        now = self._clock.now
        if self.links.links:
            self._seek_pause_s = SEEK_EVERY_S[0]
        elif now >= self._seek_due:
            for host in list(self._sighted.values()):
                self._try_host(host)
            for peer in reversed(list(self._device.book)):
                if self._trying < TRIES_MAX:
                    self._trying += 1
                    self._try(peer, self._addresses(peer))
            self._seek_due = now + self._seek_pause_s
            self._seek_pause_s = min(2 * self._seek_pause_s, SEEK_EVERY_S[1])
        pause_s = LOOK_LINKED_EVERY_S if self.links.links else min(self._seek_pause_s, LOOK_LINKED_EVERY_S)
        self._loop.call_later(pause_s, self._seek_for_ever)

    def _try_host(self, host: Host) -> None:
        if self._trying < TRIES_MAX:
            self._trying += 1
            self._try(None, [address_of(host)])

    def _try(self, peer: PeerId | None, addresses: list[Address]) -> None:
        async def dial() -> None:
            with contextlib.suppress(LinkError):
                await self.links.connect(peer, addresses)
            self._trying -= 1

        self._loop.create_task(dial())

    # --- this device -------------------------------------------------------------------------------------------------

    def _look_at_load(self) -> None:
        self._loop.call_later(LOOK_EVERY_S, self._look_at_load)
        found, now = self._jobs.load(), self._clock.now
        payload = profile.encode(found)
        self._learn(self.me, profile.LOAD, payload)
        if is_worth_telling(self._told_load, found, now - self._told_load_at):
            self._told_load, self._told_load_at = found, now
            self.gossiping.publish(profile.LOAD, payload)
