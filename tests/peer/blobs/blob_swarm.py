"""Peers that exchange blobs in virtual time: the cores, links with latency, an uplink of its own for each peer."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable

from meshwit.ids import PeerId, peer_id
from meshwit.peer.blobs.effects import (
    CheckWhole,
    DropPart,
    Effect,
    Fetched,
    FetchFailed,
    GiveChunk,
    Given,
    KeepChunk,
    KeepManifest,
    Kept,
    LookUp,
    Misbehaved,
    Send,
)
from meshwit.peer.blobs.exchange import TICK_S, Exchange
from meshwit.peer.blobs.manifest import Manifest, content_hash
from meshwit.peer.blobs.messages import Chunk, Message, encode
from meshwit.peer.blobs.settings import BlobSettings

CHUNK_BYTES = 1024
SETTINGS = BlobSettings(chunk_bytes=CHUNK_BYTES, small_bytes=256)
LATENCY_S = 0.005


def peer(number: int) -> PeerId:
    """The id of the peer of that number."""
    return peer_id(number.to_bytes(32, "big"))


def blob_bytes(chunks: int, seed: int = 0) -> bytes:
    """So many chunks, the last one short."""
    return random.Random(seed).randbytes(chunks * CHUNK_BYTES - 100)


def manifest_of(data: bytes) -> Manifest:
    """The true manifest."""
    pieces = [data[at : at + CHUNK_BYTES] for at in range(0, max(len(data), 1), CHUNK_BYTES)]
    return Manifest(len(data), b"".join(map(content_hash, pieces)), CHUNK_BYTES)


class SwarmPeer:
    """One peer: its core, its bytes, and what became of its fetches."""

    def __init__(self, swarm: Swarm, number: int, chunks_per_s: float) -> None:
        self.swarm = swarm
        self.id = peer(number)
        self.chunk_s = 1 / chunks_per_s
        self.up_free_at = 0.0
        self.core = Exchange(random.Random(number), lambda other: swarm.linked(self.id, other), SETTINGS)
        self.blobs: dict[bytes, bytes] = {}
        self.manifests: dict[bytes, Manifest] = {}
        self.parts: dict[bytes, tuple[Manifest, dict[int, bytes]]] = {}
        self.fetched: dict[bytes, float] = {}
        self.failed: dict[bytes, str] = {}
        self.accused: list[tuple[PeerId, str]] = []
        self.uploaded: Counter[bytes] = Counter()
        self.spoil: Callable[[Chunk], Chunk] = lambda chunk: chunk
        self.alive = True

    def hold(self, data: bytes, manifest: Manifest | None = None) -> bytes:
        """Has a blob; a `manifest` of its own makes it a liar."""
        hash = content_hash(data)
        self.blobs[hash] = data
        self.manifests[hash] = manifest or manifest_of(data)
        return hash

    def fetch(self, hash: bytes, size: int, *sources: SwarmPeer) -> None:
        """Begins, from what it has of an earlier time."""
        part = self.parts.get(hash)
        known = None if part is None else (part[0], list(part[1]))
        self.perform(self.core.fetch(hash, size, [each.id for each in sources], self.swarm.now, known))

    def perform(self, effects: list[Effect]) -> None:
        """Does what the core wants, at once but for what goes over links."""
        pending = list(effects)
        now = self.swarm.now
        while pending:
            match pending.pop(0):
                case Send(to, message):
                    self.swarm.deliver(self, to, message, max(now, 0.0) + LATENCY_S)
                case GiveChunk(to, hash, index):
                    self.give(to, hash, index)
                    pending += self.core.chunk_given(to, hash, index, Given.GIVEN, now)
                case LookUp(hash):
                    pending += self.core.looked_up(hash, self.manifests.get(hash), now)
                case KeepManifest(hash, size, hashes):
                    self.parts[hash] = (Manifest(size, hashes, CHUNK_BYTES), {})
                case KeepChunk(hash, index, data, digest):
                    right = content_hash(data) == digest
                    if right:
                        self.parts[hash][1][index] = data
                    pending += self.core.chunk_kept(hash, index, Kept.KEPT if right else Kept.CORRUPT, now)
                case CheckWhole(hash):
                    data = b"".join(chunk for _, chunk in sorted(self.parts[hash][1].items()))
                    right = content_hash(data) == hash
                    if right:
                        self.blobs[hash] = data
                    pending += self.core.whole_checked(hash, right, now)
                case DropPart(hash):
                    self.parts.pop(hash, None)
                case Fetched(hash):
                    self.fetched[hash] = now
                    self.manifests[hash] = self.parts.pop(hash)[0]
                case FetchFailed(hash, why):
                    self.failed[hash] = why
                case Misbehaved(who, why):
                    self.accused.append((who, why))

    def give(self, to: PeerId, hash: bytes, index: int) -> None:
        """One chunk over the uplink, after what is before it there."""
        data = self.blobs.get(hash)
        piece = self.parts[hash][1][index] if data is None else data[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]
        self.up_free_at = max(self.up_free_at, self.swarm.now) + self.chunk_s
        self.uploaded[hash] += 1
        self.swarm.deliver(self, to, self.spoil(Chunk(hash, index, piece)), self.up_free_at + LATENCY_S)


class Swarm:
    """Peers, links between all of them that are alive, and the time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.peers: dict[PeerId, SwarmPeer] = {}
        self.cut: set[frozenset[PeerId]] = set()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.messages: Counter[type[Message]] = Counter()
        self._in_order: defaultdict[tuple[PeerId, PeerId], float] = defaultdict(float)

    def add(self, number: int, chunks_per_s: float = 40.0) -> SwarmPeer:
        """One peer more; at 40 chunks of 256 KiB a second, it has an uplink of 80 Mbit/s."""
        one = SwarmPeer(self, number, chunks_per_s)
        self.peers[one.id] = one
        self.at(self.now + TICK_S * (1 + number / 100), lambda: self._tick(one))
        return one

    def linked(self, one: PeerId, other: PeerId) -> bool:
        """Whether two peers can talk."""
        ends = [self.peers.get(one), self.peers.get(other)]
        return all(end is not None and end.alive for end in ends) and frozenset((one, other)) not in self.cut

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Does something later."""
        heapq.heappush(self._events, (when, next(self._numbers), what))

    def deliver(self, sender: SwarmPeer, to: PeerId, message: Message, when: float) -> None:
        """A message on its way; those between the same two stay in order."""
        self.messages[type(message)] += 1
        payload = encode(message)
        when = self._in_order[sender.id, to] = max(when, self._in_order[sender.id, to])

        def arrive() -> None:
            if self.linked(sender.id, to):
                self.peers[to].perform(self.peers[to].core.receive(sender.id, payload, self.now))

        self.at(when, arrive)

    def die(self, one: SwarmPeer, noticed: bool = False) -> None:
        """A peer says nothing any more."""
        one.alive = False
        if noticed:
            for other in self.peers.values():
                other.perform(other.core.link_down(one.id, self.now))

    def run(self, until: Callable[[], bool], limit_s: float = 600.0) -> None:
        """Time passes."""
        while not until():
            assert self._events and self._events[0][0] < limit_s, f"not in {limit_s} s"
            self.now, _, what = heapq.heappop(self._events)
            what()

    def _tick(self, one: SwarmPeer) -> None:
        if one.alive:
            one.perform(one.core.tick(self.now))
        self.at(self.now + TICK_S, lambda: self._tick(one))


def have_all(hash: bytes, peers: list[SwarmPeer]) -> Callable[[], bool]:
    """Whether all of them have it."""
    return lambda: all(hash in each.blobs for each in peers)


def copies(hash: bytes, one: SwarmPeer) -> float:
    """How often a peer gave the whole blob, in sum."""
    return one.uploaded[hash] / max(1, manifest_of(one.blobs[hash]).count)
