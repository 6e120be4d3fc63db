"""A Grid step told as a story: peers join, run what they are given, and the reader sees who has what."""

from __future__ import annotations

from collections.abc import Sequence

from meshwit.ids import PeerId
from meshwit.peer.sched.effects import Drop, Effect, Give, StepDone, TakeBack
from meshwit.peer.sched.estimates import RatePrior
from meshwit.peer.sched.grid import GridScheduler


class Story:
    """Drives a scheduler by hand; `check` after each step."""

    def __init__(self, count: int, *, strategy: str = "Adaptive", works: Sequence[float] | None = None, **more) -> None:
        self.scheduler = GridScheduler(strategy, count, works, **more)
        self.now = 0.0
        self.gives: dict[str, list[Give]] = {}
        self.asked: dict[str, list[int]] = {}
        self.dropped: dict[str, list[int]] = {}
        self.done = False
        self.effects: list[Effect] = []

    def join(self, **speeds: float) -> Story:
        for name, speed in speeds.items():
            self.perform(self.scheduler.peer_joined(PeerId(name), 1, RatePrior(speed, 0.1), self.now))
        return self

    def start(self) -> Story:
        return self.perform(self.scheduler.start(self.now))

    def at(self, now: float) -> Story:
        self.now = now
        return self

    def perform(self, effects: list[Effect]) -> Story:
        self.effects = effects
        for effect in effects:
            match effect:
                case Give():
                    self.gives.setdefault(effect.peer, []).append(effect)
                case TakeBack():
                    self.asked.setdefault(effect.peer, []).extend(effect.items)
                case Drop():
                    self.dropped.setdefault(effect.peer, []).extend(effect.items)
                case StepDone():
                    assert not self.done
                    self.done = True
        self.scheduler.check()
        return self

    def begins(self, name: str) -> Story:
        """The first batch that the peer has not begun."""
        give = next(each for each in self.gives[name] if each.batch in self.waiting(name))
        return self.perform(self.scheduler.batch_started(PeerId(name), give.batch, self.now))

    def ends(self, name: str, seconds: float, items: Sequence[int] | None = None) -> Story:
        """All items of what it runs, and it begins with the next batch."""
        batch = next(iter(self.scheduler._holders[PeerId(name)].running.values()), None)
        if items is None:
            assert batch is not None
            items = self.scheduler.ledger.left_of(batch)
        self.perform(self.scheduler.finished(PeerId(name), items, [seconds] * len(items), self.now))
        if name in self.scheduler._holders and self.waiting(name):
            self.begins(name)
        return self

    def tick(self) -> Story:
        return self.perform(self.scheduler.tick(self.now))

    def waiting(self, name: str) -> set[int]:
        return set(self.scheduler._holders[PeerId(name)].queue)

    def items(self, name: str) -> list[int]:
        """All ever given to a peer."""
        return [item for give in self.gives.get(name, ()) for item in give.items]
