"""One simulated peer: a gossip core, and around it what the real shell does for it.

Effects are performed as over real sockets. An unreliable send is one sealed datagram. A reliable one goes over the
link to that peer, which is dialled if there is none. Two peers keep one link. A link to a member that is held for dead
is closed, so that a later dial is not taken for a second one, and nothing waits behind a stalled connection.
"""

from __future__ import annotations

from typing import Final, Protocol, assert_never

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
from simulations.engine import Simulation
from simulations.hosts import DialFailure, End, Host
from simulations.invariants import Watch
from simulations.keys import SimulatedKey, verify
from simulations.network import Network

SEAL_BYTES: Final = 70
"""Header, kind and tag of a sealed datagram."""
FRAME_BYTES: Final = 27
"""Header of a frame, and of the TLS record that it rides in."""
JOIN_RETRY_S: Final = 1.0
"""A contact that cannot be reached is tried again."""
WAITING_MAX: Final = 64
"""Messages that wait for one dial."""
TIMER_RESOLUTION_S: Final = 0.001
NEVER: Final = float("inf")


def admits(peer: PeerId, payload: bytes) -> str:
    """Why somebody with that `member` payload is no member; empty if he is one."""
    return "" if payload.startswith(b"member ") else "no member of this mesh"


class Surroundings(Protocol):
    """What a peer is among."""

    simulation: Simulation
    network: Network
    config: GossipConfig
    watch: Watch
    epoch_ms: int
    profile_bytes: int

    def id_of(self, host: Host) -> PeerId:
        """The peer on that host."""

    def host_of(self, peer: PeerId) -> Host:
        """The host of that peer."""


class GossipPeer:
    """One peer's process on its host; a killed one is done, a restart makes another.

    Attributes:
        name: of the host and of its key.
        core: what is examined.
        links: the open link to each peer that there is one to.
    """

    def __init__(self, mesh: Surroundings, host: Host, incarnation: int) -> None:
        self.mesh = mesh
        self.host = host
        self.name = host.name
        key = SimulatedKey(host.name)
        self.id = key.id
        epoch_ms = mesh.epoch_ms + round(mesh.simulation.now * 1000)
        rng = mesh.simulation.rng(f"peer {host.name} {incarnation}")
        self.core = Gossip(self.id, mesh.config, rng, key, verify, admits, epoch_ms)
        self.links: dict[PeerId, End] = {}
        self._waiting: dict[PeerId, list[bytes]] = {}
        """What is sent when the dial comes through; there is a dial for each key."""
        self._to_join: dict[PeerId, None] = {}
        self._armed = NEVER
        host.process = self

    @property
    def running(self) -> bool:
        """Whether this process still runs."""
        return self.host.process is self

    # --- what one does with a peer -------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins, alone."""
        profile = b"member " + self.name.encode()
        payload = profile.ljust(self.mesh.profile_bytes, b".")
        self._perform(self.core.start(self.mesh.simulation.now, payload))

    def join(self, contact: PeerId) -> None:
        """Gets to know the mesh of a peer whose address it has."""
        if contact in self.links:
            self._perform(self.core.join(contact, self.mesh.simulation.now))
        else:
            self._to_join[contact] = None
            self._dial(contact)

    def publish(self, topic: str, payload: bytes) -> None:
        """Says something new."""
        self._perform(self.core.publish(topic, payload, self.mesh.simulation.now))

    def leave(self) -> None:
        """Says goodbye, closes its links, and ends."""
        self._perform(self.core.leave(self.mesh.simulation.now))
        for end in list(self.host.ends):
            end.close("goodbye")
        self.host.process = None

    # --- what the network tells ----------------------------------------------------------------------------------

    def datagram_received(self, source: Host, payload: bytes) -> None:
        """A sealed datagram: its sender is proven."""
        self._receive(payload, self.mesh.id_of(source), reliable=False)

    def stream_received(self, end: End, payload: bytes) -> None:
        """A message on the link."""
        self._receive(payload, self.mesh.id_of(end.other.host), reliable=True)

    def stream_accepted(self, end: End) -> None:
        """Somebody's link stands."""
        if end.open:
            self._link_up(self.mesh.id_of(end.other.host), end)

    def stream_closed(self, end: End, reason: str) -> None:
        """The link ended, which is evidence."""
        peer = self.mesh.id_of(end.other.host)
        if self.links.get(peer) is not end:
            return
        del self.links[peer]
        match reason:
            case "goodbye":
                evidence = Evidence.GOODBYE
            case "timeout":
                evidence = Evidence.UNREACHABLE
            case _:
                evidence = Evidence.CLOSED
        self._perform(self.core.link_down(peer, self.mesh.simulation.now, evidence))

    # --- effects -------------------------------------------------------------------------------------------------

    def _receive(self, payload: bytes, sender: PeerId, reliable: bool) -> None:
        self._perform(self.core.receive(payload, sender, self.mesh.simulation.now, reliable))

    def _perform(self, effects: list[Effect]) -> None:
        mesh = self.mesh
        for effect in effects:
            match effect:
                case Send(peer, raw, reliable):
                    mesh.watch.sent(self, effect)
                    if reliable:
                        self._send_reliably(peer, raw)
                    else:
                        mesh.network.send(self.host, mesh.host_of(peer), raw, len(raw) + SEAL_BYTES)
                case Connect(peer):
                    self._dial(peer)
                case MemberDied(peer) | MemberLeft(peer):
                    mesh.watch.told(self, effect)
                    link = self.links.pop(peer, None)
                    if link is not None:
                        link.close()
                case (
                    MemberJoined()
                    | MemberSuspected()
                    | MemberRecovered()
                    | MemberForgotten()
                    | RecordChanged()
                    | Misbehaved()
                ):
                    mesh.watch.told(self, effect)
                case _:
                    assert_never(effect)
        mesh.watch.stepped(self)
        self._arm(mesh.simulation.now)

    def _send_reliably(self, peer: PeerId, raw: bytes) -> None:
        link = self.links.get(peer)
        if link is not None:
            link.send(raw, len(raw) + FRAME_BYTES)
            return
        waiting = self._waiting.get(peer)
        if waiting is None:
            self._dial(peer)
            waiting = self._waiting[peer]
        if len(waiting) < WAITING_MAX:
            waiting.append(raw)

    def _dial(self, peer: PeerId) -> None:
        if peer in self._waiting:
            return
        self._waiting[peer] = []
        self.mesh.network.dial(self.host, self.mesh.host_of(peer), lambda answer: self._dialed(peer, answer))

    def _dialed(self, peer: PeerId, answer: End | DialFailure) -> None:
        now = self.mesh.simulation.now
        waiting = self._waiting.pop(peer)
        if not isinstance(answer, DialFailure):
            link = self.links.get(peer)
            if link is not None and link.open and link.other.open:
                # There is a link already, dialled by the other or before: it stays, on both sides.
                answer.drop()
                answer.other.drop()
                answer = link
            for raw in waiting:
                answer.send(raw, len(raw) + FRAME_BYTES)
            self._link_up(peer, answer)
            if self._to_join.pop(peer, "") is None:
                self._perform(self.core.join(peer, now))
            return
        if peer in self._to_join:
            self.mesh.simulation.after(JOIN_RETRY_S, self._join_again, peer)
        refused = answer is DialFailure.REFUSED
        self._perform(self.core.link_down(peer, now, Evidence.REFUSED if refused else Evidence.UNREACHABLE))

    def _join_again(self, peer: PeerId) -> None:
        if self.running and peer in self._to_join:
            if peer in self.links:
                del self._to_join[peer]
                self.join(peer)
            else:
                self._dial(peer)

    def _link_up(self, peer: PeerId, end: End) -> None:
        old = self.links.get(peer)
        if old is not None and old is not end:
            old.drop()
        self.links[peer] = end
        self._perform(self.core.link_up(peer, self.mesh.simulation.now))

    # --- time ----------------------------------------------------------------------------------------------------

    def _arm(self, earliest: float) -> None:
        """Sees to it that the core is called when its deadline comes; a planned call that comes too early is kept."""
        deadline = self.core.next_deadline()
        if deadline is not None and deadline < self._armed:
            self._armed = max(deadline, earliest)
            self.mesh.simulation.at(self._armed, self._wake, self._armed)

    def _wake(self, planned: float) -> None:
        if not self.running or planned != self._armed:
            return
        simulation = self.mesh.simulation
        if self.host.frozen_until > simulation.now:
            self._armed = self.host.frozen_until
            simulation.at(self._armed, self._wake, self._armed)
            return
        now = simulation.now
        deadline = self.core.next_deadline()
        if deadline is not None and deadline <= now:
            self._armed = now  # _perform arms nothing: only a later time than the next tick's may follow
            self._perform(self.core.tick(now))
        self._armed = NEVER
        self._arm(now + TIMER_RESOLUTION_S)
