"""How long the rest of a step takes: an estimate with a range that holds nine times in ten.

Two things are uncertain: the mean length of a task, known from those that ended, and the sum of those still to run.
Both shrink with the number of tasks (ours, from the variance of a sum and of a sample mean). At the end, while slots
run out of work, up to the longest task adds to that (Graham 1969), likely half of one.
"""

from __future__ import annotations

import math

TWO_SIDED_90 = 1.645


class Remaining:
    """Lengths of tasks seen so far (Welford's running mean and variance), in seconds."""

    def __init__(self) -> None:
        self.count = 0
        self.mean_s = 0.0
        self.longest_s = 0.0
        self._squares = 0.0

    def add(self, seconds: float) -> None:
        """Note the length of one task."""
        self.count += 1
        self.longest_s = max(self.longest_s, seconds)
        delta = seconds - self.mean_s
        self.mean_s += delta / self.count
        self._squares += delta * (seconds - self.mean_s)

    def estimate(self, left: int, slots: int) -> tuple[float, float, float] | None:
        """Seconds until `left` tasks have run on `slots` slots: likely, low and high. None until two tasks ended."""
        if self.count < 2:
            return None
        deviation = math.sqrt(self._squares / (self.count - 1))
        work = left * self.mean_s
        spread = TWO_SIDED_90 * deviation * math.sqrt(left + left * left / self.count)
        waits = (slots - 1) / slots if left else 0.0
        likely = work / slots + waits * self.mean_s / 2
        return likely, max(0.0, (work - spread) / slots), (work + spread) / slots + waits * self.longest_s
