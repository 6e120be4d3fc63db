"""Many simulated peers on one network: made, started, killed, and asked what they hold of each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from meshwit.gossip.config import GossipConfig
from meshwit.gossip.members import State
from meshwit.ids import PeerId
from simulations.gossip_peer import GossipPeer
from simulations.hosts import LAN, Conditions, Host
from simulations.invariants import Watch
from simulations.keys import SimulatedKey
from simulations.network import Network
from simulations.placing import place
from simulations.scenario import Run

EPOCH_MS = 1_800_000_000_000
"""What the peers' clocks show when a run begins."""

STEPS_PER_CHECK_DIVISOR = 8
"""A check costs as much as there are members; up to so many peers each step is checked, above it a share of them."""


def configured(config: GossipConfig, settings: Mapping[str, float]) -> GossipConfig:
    """The configuration with other numbers; whole ones stay whole. Raises KeyError for a name that there is not."""
    names = {each.name: each.type for each in msgspec.structs.fields(config)}
    changes = {name: int(value) if names[name] is int else value for name, value in settings.items()}
    return msgspec.structs.replace(config, **changes)


class GossipMesh:
    """The peers of one run, in the order of their names.

    Attributes:
        peers: by id; a restarted one replaces its forerunner.
        profile_bytes: how long a `member` record is: names, addresses, a chain of certificates.
        watch: sees all effects, and tells what is wrong.
    """

    def __init__(
        self,
        run: Run,
        conditions: Conditions = LAN,
        config: GossipConfig | None = None,
        profile_bytes: int = 600,
        steps_per_check: int = 0,
    ) -> None:
        self.run = run
        self.simulation = run.simulation
        self.network = Network(run.simulation, conditions)
        self.config = configured(config or GossipConfig(), run.settings)
        self.profile_bytes = profile_bytes
        self.epoch_ms = EPOCH_MS
        self.watch = Watch(run, steps_per_check or max(1, run.size // STEPS_PER_CHECK_DIVISOR))
        self.peers: dict[PeerId, GossipPeer] = {}
        self._hosts: dict[PeerId, Host] = {}
        self._ids: list[PeerId] = []
        self._starts = 0

    # --- who there is --------------------------------------------------------------------------------------------

    def id_of(self, host: Host) -> PeerId:
        """The peer on that host."""
        return self._ids[host.index]

    def host_of(self, peer: PeerId) -> Host:
        """The host of that peer."""
        return self._hosts[peer]

    def running(self) -> list[GossipPeer]:
        """Those whose process runs, plugged in or not."""
        return [each for each in self.peers.values() if each.running]

    def add(self, count: int) -> list[GossipPeer]:
        """So many more peers, each started and still alone."""
        added = []
        for _ in range(count):
            host = self.network.add_host(f"peer{len(self._ids)}")
            peer = SimulatedKey(host.name).id
            self._ids.append(peer)
            self._hosts[peer] = host
            self.watch.named(peer, host.name)
            added.append(self.start(host))
        return added

    def start(self, host: Host) -> GossipPeer:
        """A new process on a host, alone."""
        self._starts += 1
        peer = GossipPeer(self, host, self._starts)
        self.peers[peer.id] = peer
        peer.start()
        return peer

    def gather(self, count: int, spread_s: float = 2.0, contacts: int = 1, settle_s: float = 30.0) -> list[GossipPeer]:
        """So many peers that know each other: each joins through some before it, then there is time to settle.

        For tests of what happens afterwards; how fast a mesh forms is a scenario of its own.
        """
        rng = self.simulation.rng("gather")
        added = self.add(count)
        for number, peer in enumerate(added[1:], 1):
            for _ in range(min(contacts, number)):
                contact = added[rng.randrange(number)]
                self.simulation.after(spread_s * number / count, peer.join, contact.id)
        self.simulation.run(self.simulation.now + spread_s + settle_s)
        return added

    def formed(self, count: int, settle_s: float = 10.0) -> list[GossipPeer]:
        """So many peers whose mesh has been formed before the run begins, and time to find their rhythm."""
        added = self.add(count)
        place(added, self.simulation.now)
        self.simulation.run(self.simulation.now + settle_s)
        return added

    def kill(self, peer: GossipPeer) -> None:
        """Ends its process at once."""
        self.watch.gone(peer)
        self.network.kill(peer.host)

    def unplug(self, peer: GossipPeer) -> None:
        """Pulls its cable."""
        self.watch.disturbed([peer.id])
        self.network.unplug(peer.host)

    # --- what they hold of each other ----------------------------------------------------------------------------

    @staticmethod
    def state(observer: GossipPeer, subject: PeerId) -> State | None:
        """What one peer holds of another; None if it does not know it."""
        member = observer.core.members.get(subject)
        return None if member is None else member.state

    def holds_alive(self, observer: GossipPeer, subject: PeerId) -> bool:
        """Whether it knows it as alive or only suspected."""
        state = self.state(observer, subject)
        return state is not None and state <= State.SUSPECT

    def all_know(self, observers: Iterable[GossipPeer], subjects: Iterable[GossipPeer]) -> bool:
        """Whether each of the one holds each of the other for present."""
        wanted = list(subjects)
        return all(
            self.holds_alive(observer, subject.id)
            for observer in observers
            for subject in wanted
            if observer is not subject
        )

    def bytes_out(self) -> int:
        """All bytes sent so far."""
        return sum(host.traffic.bytes_out for host in self.network.hosts)
