"""How far a Grid step is, as its watchers are told: done, rate, and what is left with its range."""

from __future__ import annotations

from collections import deque

from meshwit.events import Progressed
from meshwit.peer.job.steps import StepRun

RATE_WINDOW_S = 10.0
"""The rate is that of the last ten seconds: shorter and it jumps, longer and it hides that a step slowed down."""


class StepProgress:
    """The progress of one Grid step.

    Args:
        number: of the step within its job, counted from 1.
        started: when it began.
        known: items whose results were known before.
    """

    def __init__(self, number: int, started: float, known: int) -> None:
        self.number = number
        self._seen: deque[tuple[float, int]] = deque([(started, known)])

    def event(self, step: StepRun, peers: dict[str, int], at: float, now: float) -> Progressed:
        """What to tell now; `peers` is items done by peer name, `at` seconds since the job started."""
        while len(self._seen) > 1 and self._seen[1][0] <= now - RATE_WINDOW_S:
            self._seen.popleft()
        since, done = self._seen[0]
        rate = (step.done - done) / (now - since) if now > since else 0.0
        self._seen.append((now, step.done))
        estimate = step.remaining.estimate(step.total - step.done, step.slots)
        likely, low, high = estimate if estimate is not None else (None, None, None)
        return Progressed(
            at=at,
            step=self.number,
            done=step.done,
            failed=step.failed,
            total=step.total,
            rate=rate,
            remaining_s=likely,
            remaining_low_s=low,
            remaining_high_s=high,
            peers=peers,
        )
