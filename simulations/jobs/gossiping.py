"""The gossip of a simulated peer: the product's `Gossip` over sealed datagrams and links, as `peer.mesh.gossiping`
binds it to real ones.

The datagrams are sealed and opened by the product's `Sealer`, so that what comes twice or was damaged is not heard;
who sends what cannot be opened has a `Budget`, as in `peer.wire.datagrams`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, assert_never

import msgspec

from meshwit.gossip.config import GossipConfig
from meshwit.gossip.effects import (
    Connect,
    Effect,
    Evidence,
    MemberDied,
    MemberForgotten,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    Misbehaved,
    RecordChanged,
    Send,
)
from meshwit.gossip.swim import Gossip
from meshwit.ids import PeerId
from meshwit.peer.mesh import profile
from meshwit.peer.mesh.gossiping import DIALS_MAX, WAITING_MAX, MemberEvent
from meshwit.peer.mesh.profile import MemberProfile
from meshwit.peer.wire.budget import Budget
from meshwit.peer.wire.datagrams import FORGED_PER_HOST_S, DatagramKind
from meshwit.peer.wire.endings import EndKind, LinkEnd, LinkError
from meshwit.peer.wire.frames import Channel
from meshwit.peer.wire.link import Link
from meshwit.peer.wire.sealing import SALT_BYTES, Opened, Sealer
from simulations.hosts import Host
from simulations.jobs.clock import Clock
from simulations.jobs.links import MESH, Links, Membership
from simulations.keys import SimulatedKey, verify
from simulations.network import Network

EPOCH_MS: Final = 1_800_000_000_000
"""What a clock that never leapt shows when a run begins."""
_EVIDENCE_OF_END: Final[Mapping[EndKind, Evidence]] = {
    "goodbye": Evidence.GOODBYE,
    "refused": Evidence.REFUSED,
    "timeout": Evidence.UNREACHABLE,
}


class Secret(msgspec.Struct, frozen=True):
    """What seals the datagrams of the mesh."""

    id: bytes
    key: bytes


SECRETS: Final = (Secret(MESH[:8], MESH.ljust(32, b".")),)


@lru_cache(maxsize=256)
def admits(peer: PeerId, payload: bytes) -> str:
    """Why somebody with that `member` payload is no member; empty if he is one."""
    told = profile.decode(payload, MemberProfile)
    return "" if told is not None and told.chain.startswith(Membership.chain) else "no member of this mesh"


class Gossiping:
    """See the module.

    Args:
        knows: whether this peer has an address of another.
        on_event: told what happens to members, in order.
        seen: sees all effects.

    Attributes:
        core: the gossip itself.
        rejected: datagrams that were dropped, by reason.
    """

    def __init__(
        self,
        host: Host,
        clock: Clock,
        network: Network,
        rng: random.Random,
        links: Links,
        sealer: Sealer,
        knows: Callable[[PeerId], bool],
        host_of: Callable[[PeerId], Host],
        on_event: Callable[[MemberEvent], None],
        seen: Callable[[Effect], None],
    ) -> None:
        key = SimulatedKey(host.name)
        self.core = Gossip(key.id, GossipConfig(), rng, key, verify, admits, wall_ms(clock))
        self.rejected: Counter[str] = Counter()
        self._host = host
        self._clock = clock
        self._network = network
        self._links = links
        self._sealer = sealer
        self._knows = knows
        self._host_of = host_of
        self._on_event = on_event
        self._seen = seen
        self._alarm = clock.alarm(lambda _late: self._perform(self.core.tick(clock.now)))
        self._budget = Budget(FORGED_PER_HOST_S, 4 * FORGED_PER_HOST_S)
        self._dials: dict[PeerId, None] = {}
        self._waiting: dict[PeerId, list[bytes]] = {}
        self._heard: dict[PeerId, None] = {}

    def start(self, member_payload: bytes) -> None:
        """Begins."""
        self._links.on_message(Channel.GOSSIP, self._from_link)
        self._perform(self.core.start(self._clock.now, member_payload))

    def publish(self, topic: str, payload: bytes) -> None:
        """Tells the mesh something new of this peer."""
        self._perform(self.core.publish(topic, payload, self._clock.now))

    # --- what comes in -----------------------------------------------------------------------------------------------

    def link_up(self, link: Link) -> None:
        """A link is there."""
        self._heard[link.peer] = None
        waiting = self._waiting.pop(link.peer, ())
        self._perform(self.core.link_up(link.peer, self._clock.now))
        for raw in waiting:
            link.send(Channel.GOSSIP, raw)

    def link_down(self, peer: PeerId, end: LinkEnd) -> None:
        """A link has ended."""
        evidence = _EVIDENCE_OF_END.get(end.kind, Evidence.CLOSED)
        self._perform(self.core.link_down(peer, self._clock.now, evidence))

    def dial_failed(self, peer: PeerId, error: LinkError) -> None:
        """A peer could not be connected to, whoever tried."""
        self._waiting.pop(peer, None)
        evidence = Evidence.REFUSED if error.kind == "refused" else Evidence.UNREACHABLE
        self._perform(self.core.link_down(peer, self._clock.now, evidence))

    def _from_link(self, link: Link, raw: bytes) -> None:
        self._perform(self.core.receive(raw, link.peer, self._clock.now, reliable=True))

    def datagram_received(self, source: Host, datagram: bytes) -> None:
        """What a socket brought."""
        now = self._clock.now
        if self._budget.left(source.name, now) < 1:
            self.rejected["flood"] += 1
            return
        opened = self._sealer.open(datagram)
        if not isinstance(opened, Opened):
            self.rejected[opened.why] += 1
            self._budget.spend(source.name, now)
        elif opened.kind == DatagramKind.GOSSIP:
            self._heard[opened.sender] = None
            self._perform(self.core.receive(opened.payload, opened.sender, now, reliable=False))

    # --- what goes out -----------------------------------------------------------------------------------------------

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            self._seen(effect)
            match effect:
                case Send(peer=peer, raw=raw, reliable=reliable):
                    self._send(peer, raw, reliable=reliable)
                case Connect(peer=peer):
                    self._connect(peer)
                case Misbehaved():
                    pass
                case MemberForgotten(peer=peer):
                    self._heard.pop(peer, None)
                    self._on_event(effect)
                case (
                    MemberJoined()
                    | MemberSuspected()
                    | MemberRecovered()
                    | MemberDied()
                    | MemberLeft()
                    | RecordChanged()
                ):
                    self._on_event(effect)
                case _:
                    assert_never(effect)
        deadline = self.core.next_deadline()
        if deadline != self._alarm.due:
            self._alarm.set(deadline)

    def _send(self, peer: PeerId, raw: bytes, *, reliable: bool) -> None:
        link = self._links.links.get(peer)
        if not reliable and (peer in self._heard or link is not None or self._knows(peer)):
            self._network.send(self._host, self._host_of(peer), self._sealer.seal(DatagramKind.GOSSIP, raw))
        elif link is not None:
            link.send(Channel.GOSSIP, raw)
        elif reliable:
            waiting = self._waiting.setdefault(peer, [])
            if len(waiting) < WAITING_MAX:
                waiting.append(raw)
            self._connect(peer)

    def _connect(self, peer: PeerId) -> None:
        if peer in self._dials:
            return
        if len(self._dials) >= DIALS_MAX:
            self._waiting.pop(peer, None)
            return
        self._dials[peer] = None
        self._links.connect(peer, lambda result: self._dialed(peer, result))

    def _dialed(self, peer: PeerId, result: Link | LinkError) -> None:
        if isinstance(result, LinkError):
            self.dial_failed(peer, result)
        else:
            self._clock.soon(self._answer, result)
        del self._dials[peer]

    def _answer(self, link: Link) -> None:
        if self._links.links.get(link.peer) is link:
            self.link_up(link)


def wall_ms(clock: Clock) -> int:
    """What a device's clock shows, milliseconds since 1970."""
    return EPOCH_MS + round(clock.now * 1000)


def sealer_of(peer: PeerId, clock: Clock, rng: random.Random) -> Sealer:
    """What seals the datagrams of one process."""
    return Sealer(peer, lambda: SECRETS, wall_ms(clock) * 1000, rng.randbytes(SALT_BYTES))
