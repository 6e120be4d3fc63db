"""A mesh on the table: some cores, a heap of events between them, cables that can be pulled.

Links are as TCP makes them: what is lost comes later (0.2 s, 0.4 s, ...), in order; a killed process closes its links,
a pulled cable says nothing.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import Counter
from collections.abc import Callable

from meshwit.gossip import Connect, Effect, Evidence, Gossip, GossipConfig, MemberDied, Send, State
from meshwit.ids import PeerId, peer_id

DATAGRAM_OVERHEAD = 14 + 20 + 8 + 37 + 16
FRAME_OVERHEAD = 14 + 20 + 32 + 22 + 5 + (14 + 20 + 32)
EPOCH_MS = 1_700_000_000_000


class FakeSigner:
    """Signs with a keyed hash: fast, and good enough for those who do not attack it."""

    def __init__(self, name: str) -> None:
        self.public_key = hashlib.blake2b(name.encode(), digest_size=32).digest()

    def sign(self, message: bytes) -> bytes:
        return hashlib.blake2b(message, key=self.public_key, digest_size=64).digest()


def fake_verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    return hashlib.blake2b(message, key=public_key, digest_size=64).digest() == signature


def admits_all_but_outsiders(owner: PeerId, payload: bytes) -> str:
    return "an outsider" if payload.startswith(b"outsider") else ""


def core(name: str, seed: int = 0, config: GossipConfig | None = None, epoch_ms: int = EPOCH_MS) -> Gossip:
    signer = FakeSigner(name)
    me = peer_id(signer.public_key)
    rng = random.Random(f"{seed} {name}")
    return Gossip(me, config or GossipConfig(), rng, signer, fake_verify, admits_all_but_outsiders, epoch_ms)


class Mesh:
    """Peers `p0`, `p1`, ... on one switch."""

    def __init__(self, seed: int = 0, loss: float = 0.0, delay_s: float = 0.001, config: GossipConfig | None = None):
        self.rng = random.Random(seed)
        self.seed = seed
        self.loss = loss
        self.delay_s = delay_s
        self.config = config or GossipConfig()
        self.now = 0.0
        self.cores: dict[PeerId, Gossip] = {}
        self.names: dict[str, PeerId] = {}
        self.links: set[frozenset[PeerId]] = set()
        self.running: set[PeerId] = set()
        self.frozen: dict[PeerId, list[Callable[[], None]]] = {}
        self.cut: Callable[[PeerId, PeerId], bool] = lambda a, b: False
        self.no_datagrams: Callable[[PeerId, PeerId], bool] = lambda a, b: False
        self.told: list[tuple[float, PeerId, Effect]] = []
        self.bytes: Counter[PeerId] = Counter()
        self.messages: Counter[str] = Counter()
        self.arrival: dict[tuple[PeerId, PeerId], float] = {}
        self.lives: Counter[PeerId] = Counter()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._wake: dict[PeerId, float] = {}

    # --- the peers -------------------------------------------------------------------------------------------------

    def add(self, name: str, contact: str | None = None) -> PeerId:
        """Start a peer; it gets to know the mesh through its contact."""
        lives = self.lives[self.names[name]] if name in self.names else 0
        gossip = core(name, self.seed + 1000 * lives, self.config, EPOCH_MS + int(self.now * 1000))
        me = gossip.me
        self.names[name] = me
        self.lives[me] += 1
        self.cores[me] = gossip
        self.running.add(me)
        self.perform(me, gossip.start(self.now, f"member {name}".encode()))
        if contact is not None:
            self.dial(me, self.names[contact], lambda: self.perform(me, gossip.join(self.names[contact], self.now)))
        return me

    def settled(self, count: int, linked: bool = True) -> Mesh:
        """So many peers that know each other, linked with each other."""
        for number in range(count):
            self.add(f"p{number}", "p0" if number else None)
        self.run(1.0)
        if linked:
            for one in list(self.cores):
                for other in list(self.cores):
                    if one < other:
                        self.dial(one, other)
        self.run(15.0)
        for me, gossip in self.cores.items():
            assert len(gossip.alive()) == min(count - 1, self.config.view_max), (me, len(gossip.alive()))
        self.told.clear()
        self.bytes.clear()
        return self

    def kill(self, name: str) -> PeerId:
        """End the process: its links close, its host refuses new ones."""
        me = self.names[name]
        self.running.discard(me)
        for link in [each for each in self.links if me in each]:
            self.links.discard(link)
            (other,) = link - {me}
            self.after(self.delay_s, lambda other=other: self.end_link(other, me, Evidence.CLOSED))
        return me

    def pull(self, name: str) -> PeerId:
        """Pull its cable."""
        me = self.names[name]
        before = self.cut
        self.cut = lambda a, b: me in (a, b) or before(a, b)
        return me

    def freeze(self, name: str) -> PeerId:
        """Stop the process; what comes in waits."""
        self.frozen[self.names[name]] = []
        return self.names[name]

    def thaw(self, name: str) -> None:
        me = self.names[name]
        for each in self.frozen.pop(me):
            each()
        self.schedule(me)

    def state(self, of: PeerId, at: PeerId) -> State | None:
        member = self.cores[at].members.get(of)
        return None if member is None else member.state

    def deaths(self, of: PeerId | None = None) -> list[tuple[float, PeerId]]:
        """When who held that peer, or anybody, for dead."""
        return [
            (when, who)
            for when, who, effect in self.told
            if isinstance(effect, MemberDied) and of in (None, effect.peer)
        ]

    # --- the wire --------------------------------------------------------------------------------------------------

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._heap, (self.now + delay_s, self._order, act))

    def delay(self) -> float:
        return self.delay_s * (0.5 + self.rng.random())

    def perform(self, me: PeerId, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(peer, raw, reliable=False):
                    assert len(raw) <= 1147, len(raw)
                    self.datagram(me, peer, raw)
                case Send(peer, raw):
                    if frozenset((me, peer)) in self.links:
                        self.frame(me, peer, raw)
                    else:
                        self.dial(me, peer, lambda peer=peer, raw=raw: self.frame(me, peer, raw))
                case Connect(peer):
                    self.dial(me, peer)
                case _:
                    self.told.append((self.now, me, effect))
        self.schedule(me)

    def datagram(self, me: PeerId, peer: PeerId, raw: bytes) -> None:
        self.bytes[me] += len(raw) + DATAGRAM_OVERHEAD
        self.messages["datagram"] += 1
        if self.cut(me, peer) or self.no_datagrams(me, peer) or self.rng.random() < self.loss:
            return
        self.bytes[peer] += len(raw) + DATAGRAM_OVERHEAD
        self.after(self.delay(), lambda: self.arrive(me, peer, raw, False))

    def frame(self, me: PeerId, peer: PeerId, raw: bytes, tries: int = 0) -> None:
        self.bytes[me] += len(raw) + FRAME_OVERHEAD
        self.messages["frame"] += 1
        self.bytes[peer] += len(raw) + FRAME_OVERHEAD
        late = 0.0
        while self.rng.random() < self.loss:
            late += 0.2 * 2**tries
            tries += 1
        when = max(self.now + self.delay() + late, self.arrival.get((me, peer), 0.0))
        self.arrival[me, peer] = when
        self.after(when - self.now, lambda: self.frame_arrives(me, peer, raw))

    def frame_arrives(self, me: PeerId, peer: PeerId, raw: bytes) -> None:
        if self.cut(me, peer):
            self.after(0.5, lambda: self.frame_arrives(me, peer, raw))
        elif frozenset((me, peer)) in self.links:
            self.arrive(me, peer, raw, True)

    def arrive(self, me: PeerId, peer: PeerId, raw: bytes, reliable: bool) -> None:
        if peer in self.frozen:
            self.frozen[peer].append(lambda: self.arrive(me, peer, raw, reliable))
        elif peer in self.running:
            self.perform(peer, self.cores[peer].receive(raw, me, self.now, reliable))

    def dial(self, me: PeerId, peer: PeerId, then: Callable[[], None] = lambda: None) -> None:
        def answer() -> None:
            if me not in self.running or me in self.frozen:
                return
            link = frozenset((me, peer))
            if self.cut(me, peer) or self.cut(peer, me) or peer in self.frozen:
                self.after(3.0, lambda: self.end_link(me, peer, Evidence.UNREACHABLE))
            elif peer not in self.running:
                self.end_link(me, peer, Evidence.REFUSED)
            elif link not in self.links:
                self.links.add(link)
                self.bytes[me] += 3000
                self.bytes[peer] += 3000
                self.perform(me, self.cores[me].link_up(peer, self.now))
                self.perform(peer, self.cores[peer].link_up(me, self.now))
                then()
            else:
                then()

        self.after(self.delay() * 2, answer)

    def end_link(self, me: PeerId, peer: PeerId, evidence: Evidence) -> None:
        if me in self.running:
            self.perform(me, self.cores[me].link_down(peer, self.now, evidence))

    # --- time ------------------------------------------------------------------------------------------------------

    def schedule(self, me: PeerId) -> None:
        due = self.cores[me].next_deadline()
        if due is not None and self._wake.get(me) != due and me not in self.frozen:
            self._wake[me] = due
            gossip = self.cores[me]
            self._order += 1
            heapq.heappush(self._heap, (max(due, self.now), self._order, lambda: self.tick(me, gossip, due)))

    def tick(self, me: PeerId, gossip: Gossip, due: float) -> None:
        if me not in self.running or self.cores[me] is not gossip or me in self.frozen or self._wake.get(me) != due:
            return
        self._wake.pop(me)
        self.perform(me, gossip.tick(self.now))

    def run(self, for_s: float) -> None:
        until = self.now + for_s
        while self._heap and self._heap[0][0] <= until:
            self.now, _, act = heapq.heappop(self._heap)
            act()
        self.now = until
        for me in self.running:
            self.cores[me].check()
