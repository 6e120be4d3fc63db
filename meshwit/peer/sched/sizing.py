"""How many items make a batch, for each strategy.

A batch costs one message, so it should hold some 50 ms of work; it is what cannot be corrected any more, so it must
shrink toward the end. Adaptive and Queued start small to learn the tasks' length. Adaptive then gives each slot half
of its share of what is left (factoring: Hummel, Schonberg and Flynn 1992); Queued gives batches of equal length;
Balanced gives each slot its whole share at once, in batches no longer than the message limit allows.
"""

from __future__ import annotations

import math

TARGET_S = 0.05
FIRST_BATCH = 1
BATCH_ITEMS_MAX = 4096
GROWTH = 32
"""While the length of tasks is not known well, a batch is at most so many times the number of tasks measured."""


class BatchSizer:
    """Sizes the batches of one Grid step.

    Args:
        strategy: `Adaptive`, `Queued` or `Balanced`.
        slots: worker processes that the step may use, at least 1.
        total: items of the step.
    """

    def __init__(self, strategy: str, slots: int, total: int) -> None:
        self.strategy = strategy
        self.slots = slots
        self.total = total
        self.measured = 0
        self.mean_s = 0.0

    def observe(self, seconds: float, count: int) -> None:
        """Note that `count` tasks took `seconds` together; recent tasks weigh more than old ones."""
        if count <= 0:
            return
        weight = max(count / (self.measured + count), 0.1)
        self.mean_s += weight * (seconds / count - self.mean_s)
        self.measured += count

    def size(self, left: int) -> int:
        """How many of the `left` items the next batch takes, at least 1."""
        share = left / self.slots
        if self.strategy == "Balanced":
            return max(1, min(BATCH_ITEMS_MAX, math.ceil(self.total / self.slots), left))
        if not self.measured:
            return FIRST_BATCH
        by_time = TARGET_S / max(self.mean_s, 1e-9)
        by_share = share / 2 if self.strategy == "Adaptive" else by_time
        size = min(by_time, by_share, share, self.measured * GROWTH, BATCH_ITEMS_MAX)
        return max(1, math.floor(size))
