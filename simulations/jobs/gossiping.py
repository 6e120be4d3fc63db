"""The gossip of a simulated peer: `peer.mesh.gossiping` as it is, over the datagrams of a simulated network, seen from
outside.

The datagrams are sealed and opened by the product's `Sealer`, so that what comes twice or was damaged is not heard;
who sends what cannot be opened has a `Budget`, as in `peer.wire.datagrams`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import msgspec

from meshwit.gossip.config import GossipConfig
from meshwit.gossip.effects import Effect
from meshwit.gossip.swim import Gossip
from meshwit.ids import PeerId
from meshwit.peer.mesh import profile
from meshwit.peer.mesh.gossiping import GossipShell, MemberEvent
from meshwit.peer.mesh.profile import MemberProfile
from meshwit.peer.wire.addresses import Address
from meshwit.peer.wire.budget import Budget
from meshwit.peer.wire.datagrams import FORGED_PER_HOST_S, Handler
from meshwit.peer.wire.sealing import SALT_BYTES, Opened, Sealer
from simulations.hosts import Host
from simulations.jobs.clock import Clock
from simulations.jobs.links import MESH, Membership, SimulatedLinks
from simulations.jobs.wire import address_of, host_at
from simulations.keys import SimulatedKey, verify
from simulations.network import Network

EPOCH_MS: Final = 1_800_000_000_000
"""What a clock that never leapt shows when a run begins."""


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


class SimulatedDatagrams:
    """What `peer.wire.datagrams` is for a real peer.

    Attributes:
        rejected: datagrams that were dropped, by reason.
    """

    def __init__(self, host: Host, clock: Clock, network: Network, sealer: Sealer) -> None:
        self.rejected: Counter[str] = Counter()
        self._host = host
        self._clock = clock
        self._network = network
        self._sealer = sealer
        self._handlers: dict[int, Handler] = {}
        self._budget = Budget(FORGED_PER_HOST_S, 4 * FORGED_PER_HOST_S)

    def on_datagram(self, kind: int, handler: Handler) -> None:
        """Sets who reads a kind."""
        self._handlers[kind] = handler

    def send(self, address: Address, kind: int, payload: bytes) -> bool:
        """Sends one datagram."""
        self._network.send(self._host, host_at(self._network, address), self._sealer.seal(kind, payload))
        return True

    def received(self, source: Host, datagram: bytes) -> None:
        """What a socket brought."""
        now = self._clock.now
        if self._budget.left(source.name, now) < 1:
            self.rejected["flood"] += 1
            return
        opened = self._sealer.open(datagram)
        if not isinstance(opened, Opened):
            self.rejected[opened.why] += 1
            self._budget.spend(source.name, now)
        elif opened.kind in self._handlers:
            self._handlers[opened.kind](opened.sender, address_of(source), opened.payload)


class WatchedGossip(GossipShell):
    """See the module. To be made on the running loop of the device.

    Args:
        knows: whether this peer has an address of another.
        on_event: told what happens to members, in order. What it raises ends the run.
        seen: sees all effects.
    """

    def __init__(
        self,
        host: Host,
        clock: Clock,
        rng: random.Random,
        links: SimulatedLinks,
        datagrams: SimulatedDatagrams,
        addresses: Callable[[PeerId], list[Address]],
        on_event: Callable[[MemberEvent], None],
        seen: Callable[[Effect], None],
    ) -> None:
        key = SimulatedKey(host.name)
        core = Gossip(key.id, GossipConfig(), rng, key, verify, admits, wall_ms(clock))
        super().__init__(core, links, datagrams, addresses, links.guarded(on_event), lambda _peer, _why: None)
        self._seen = seen

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            self._seen(effect)
        super()._perform(effects)


def wall_ms(clock: Clock) -> int:
    """What a device's clock shows, milliseconds since 1970."""
    return EPOCH_MS + round(clock.wall * 1000)


def sealer_of(peer: PeerId, clock: Clock, rng: random.Random) -> Sealer:
    """What seals the datagrams of one process."""
    return Sealer(peer, lambda: SECRETS, wall_ms(clock) * 1000, rng.randbytes(SALT_BYTES))
