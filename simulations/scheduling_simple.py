"""Two simple schedulers to compare with: a static split by score, and a plain pull of one task at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from meshwit.ids import PeerId
from meshwit.peer.sched.effects import Effect, Give, StepDone
from meshwit.peer.sched.estimates import RatePrior


class _Simple:
    """Books that both need; work of a peer that leaves goes to the others."""

    def __init__(self, count: int) -> None:
        self.slots: dict[PeerId, int] = {}
        self.rates: dict[PeerId, float] = {}
        self.held: dict[PeerId, set[int]] = {}
        self.free: deque[int] = deque(range(count))
        self.left = set(range(count))
        self.batches = 0

    def peer_joined(self, peer: PeerId, slots: int, prior: RatePrior, now: float) -> list[Effect]:
        self.slots[peer], self.rates[peer], self.held[peer] = slots, prior.per_s * slots, set()
        return []

    def batch_started(self, peer: PeerId, batch: int, now: float) -> list[Effect]:
        return []

    def taken_back(self, peer: PeerId, items: Sequence[int], now: float) -> list[Effect]:
        return []

    def heard(self, peer: PeerId, now: float) -> list[Effect]:
        return []

    def tick(self, now: float) -> list[Effect]:
        return []

    def next_deadline(self) -> float | None:
        return None

    def check(self) -> None:
        return

    def _give(self, peer: PeerId) -> Give:
        item = self.free.popleft()
        self.held[peer].add(item)
        self.batches += 1
        return Give(peer, self.batches, (item,))

    def _settle(self, peer: PeerId, items: Sequence[int]) -> list[Effect]:
        self.left.difference_update(items)
        self.held[peer].difference_update(items)
        return [] if self.left else [StepDone()]


class StaticSplit(_Simple):
    """Each peer gets its share by score at the start, and that is that."""

    def start(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        count, total, passed, given = len(self.free), sum(self.rates.values()), 0.0, 0
        for peer, rate in self.rates.items():
            passed += rate
            until = round(count * passed / total)
            effects += [self._give(peer) for _ in range(until - given)]
            given = until
        return effects

    def finished(self, peer: PeerId, items: Sequence[int], seconds: Sequence[float], now: float) -> list[Effect]:
        return self._settle(peer, items)

    def peer_left(self, peer: PeerId, now: float) -> list[Effect]:
        self.free.extend(sorted(self.held.pop(peer)))
        del self.rates[peer]
        return self.start(now)


class PlainPull(_Simple):
    """Each slot gets the next task when it has ended one; one ahead if `prefetch`."""

    def __init__(self, count: int, *, prefetch: bool = False) -> None:
        super().__init__(count)
        self._ahead = 2 if prefetch else 1

    def start(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for ahead in range(1, self._ahead + 1):
            for peer, slots in self.slots.items():
                while self.free and len(self.held[peer]) < ahead * slots:
                    effects.append(self._give(peer))
        return effects

    def finished(self, peer: PeerId, items: Sequence[int], seconds: Sequence[float], now: float) -> list[Effect]:
        return self._settle(peer, items) or self.start(now)

    def peer_left(self, peer: PeerId, now: float) -> list[Effect]:
        self.free.extendleft(sorted(self.held.pop(peer), reverse=True))
        del self.slots[peer]
        return self.start(now)
