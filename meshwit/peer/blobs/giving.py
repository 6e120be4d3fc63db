"""What a peer gives others of blobs, and to whom: slots, queues, and who asked lately. Core.

So that fetchers that start together do not all take the same from one holder, a chunk that was given to another who
still fetches is not given again for a while: the holder says who has it. Whoever could not get it there insists.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Final

from meshwit.ids import PeerId, id_bytes
from meshwit.peer.blobs.effects import Effect, GiveChunk, Send
from meshwit.peer.blobs.manifest import Chance, Manifest
from meshwit.peer.blobs.messages import FETCHERS_MAX, Refuse, Why
from meshwit.peer.blobs.settings import BlobSettings

BUSY_MS: Final = 500
FEW_CHUNKS: Final = 16
"""Of a blob of fewer chunks each is given twice: the second copy doubles how fast it spreads."""


class _Slot:
    """A peer that is served: since when, and when it last wanted something."""

    def __init__(self, now: float) -> None:
        self.since = now
        self.used_at = now


class Giver:
    """Decides what is given to whom."""

    def __init__(self, chance: Chance, settings: BlobSettings, linked: Callable[[PeerId], bool]) -> None:
        self._chance = chance
        self._settings = settings
        self._linked = linked
        self._slots: dict[PeerId, _Slot] = {}
        self._turned_away_at = -1e9
        self._queues: OrderedDict[PeerId, deque[tuple[bytes, int]]] = OrderedDict()
        self._active: dict[tuple[PeerId, bytes, int], None] = {}
        self._followers: OrderedDict[bytes, dict[PeerId, float]] = OrderedDict()
        self._given: dict[bytes, dict[int, list[PeerId]]] = {}

    # --- who asked -------------------------------------------------------------------------------------------------

    def asked(self, peer: PeerId, hash: bytes, now: float) -> None:
        """A peer fetches that blob."""
        followers = self._followers.setdefault(hash, {})
        self._followers.move_to_end(hash)
        followers.pop(peer, None)
        followers[peer] = now
        if len(followers) > self._settings.followers_max:
            del followers[next(iter(followers))]
        if len(self._followers) > self._settings.blobs_max:
            gone, _ = self._followers.popitem(last=False)
            self._given.pop(gone, None)

    def followers(self, hash: bytes) -> list[PeerId]:
        """Who asked for it lately, the latest last."""
        return list(self._followers.get(hash, ()))

    def fetchers(self, hash: bytes, but: PeerId) -> list[bytes]:
        """Some of them, as the answer to `but` names them."""
        others = [str(peer) for peer in self.followers(hash) if peer != but]
        if len(others) > FETCHERS_MAX:
            others = self._chance.sample(others, FETCHERS_MAX)
        return [id_bytes(peer) for peer in others]

    # --- what is wanted --------------------------------------------------------------------------------------------

    def want(
        self,
        peer: PeerId,
        hash: bytes,
        manifest: Manifest,
        indexes: Sequence[int],
        insist: bool,
        redirect: bool,
        now: float,
        out: list[Effect],
    ) -> None:
        """A peer wants chunks that are here; those that others were given may be had there, if `redirect`."""
        small = manifest.size <= self._settings.small_bytes
        if not small and not self._slot(peer, now):
            out.append(Send(peer, Refuse(hash, list(indexes), Why.BUSY, retry_ms=BUSY_MS)))
            return
        elsewhere: dict[PeerId, list[int]] = {}
        busy: list[int] = []
        given = self._given.setdefault(hash, {})
        copies = 1 if manifest.count >= FEW_CHUNKS else 2
        queue = self._queues.get(peer)
        waiting = sum(len(each) for each in self._queues.values())
        for index in dict.fromkeys(indexes):
            others = self._others(peer, hash, given.get(index, ()))
            if redirect and not small and not insist and len(others) >= copies:
                elsewhere.setdefault(others[int(self._chance.random() * len(others))], []).append(index)
                continue
            if queue is not None and len(queue) >= self._settings.queue_peer_max:
                busy.append(index)
                continue
            if waiting >= self._settings.queue_all_max:
                busy.append(index)
                continue
            if queue is None:
                queue = self._queues[peer] = deque()
            queue.append((hash, index))
            waiting += 1
            takers = given.setdefault(index, [])
            if peer not in takers and hash in self._followers:
                takers[:] = [*others[-1:], peer]
        if busy:
            out.append(Send(peer, Refuse(hash, busy, Why.BUSY, retry_ms=BUSY_MS)))
        for other, some in elsewhere.items():
            out.append(Send(peer, Refuse(hash, some, Why.ELSEWHERE, id_bytes(other))))
        self.serve(out)

    def _others(self, peer: PeerId, hash: bytes, takers: Sequence[PeerId]) -> list[PeerId]:
        followers = self._followers.get(hash, {})
        if peer in takers:
            return []
        return [each for each in takers if each in followers and self._linked(each)]

    def _slot(self, peer: PeerId, now: float) -> bool:
        slot = self._slots.get(peer)
        if slot is not None:
            wanted_by_others = now - self._turned_away_at < self._settings.slot_tenure_s
            if not wanted_by_others or now - slot.since < self._settings.slot_tenure_s:
                slot.used_at = now
                return True
            del self._slots[peer]
            self._turned_away_at = -1e9
            return False
        if len(self._slots) >= self._settings.slots:
            self._turned_away_at = now
            return False
        self._slots[peer] = _Slot(now)
        return True

    # --- serving ---------------------------------------------------------------------------------------------------

    def serve(self, out: list[Effect]) -> None:
        """Begin reading as many chunks as may be read at once, one peer after another."""
        while self._queues and len(self._active) < self._settings.gives_max:
            peer, queue = next(iter(self._queues.items()))
            hash, index = queue.popleft()
            self._queues.move_to_end(peer)
            if not queue:
                del self._queues[peer]
            if (peer, hash, index) not in self._active:
                self._active[peer, hash, index] = None
                out.append(GiveChunk(peer, hash, index))

    def done(self, peer: PeerId, hash: bytes, index: int, now: float, out: list[Effect]) -> None:
        """A chunk was given, or could not be."""
        self._active.pop((peer, hash, index), None)
        slot = self._slots.get(peer)
        if slot is not None:
            slot.used_at = now
        self.serve(out)

    def link_down(self, peer: PeerId) -> None:
        """Nothing is given to it any more, and nobody is sent to it."""
        self._queues.pop(peer, None)
        self._slots.pop(peer, None)
        for followers in self._followers.values():
            followers.pop(peer, None)

    def tick(self, now: float, out: list[Effect]) -> None:
        """Slots that are not used become free; who has not asked for long is forgotten."""
        for peer, slot in list(self._slots.items()):
            if now - slot.used_at > self._settings.slot_idle_s and peer not in self._queues:
                del self._slots[peer]
        for hash, followers in list(self._followers.items()):
            for peer, asked_at in list(followers.items()):
                if now - asked_at > self._settings.follower_s:
                    del followers[peer]
            if not followers:
                del self._followers[hash]
                self._given.pop(hash, None)
        for hash in [each for each in self._given if each not in self._followers]:
            del self._given[hash]
        self.serve(out)

    @property
    def idle(self) -> bool:
        """Whether nothing changes with time."""
        return not self._slots and not self._queues and not self._followers and not self._active
