"""One step of a job while it runs: which items are waiting, where the others are, what came back.

A Grid step is a step of many items; a call of an activity is a step of one. The step decides which item is tried
again and when it has ended; what to do about that is the leader's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from meshwit.bench.requirements import NOTHING, Requirement
from meshwit.lang import program as ir
from meshwit.lang.control import Failure
from meshwit.lang.text import short_text
from meshwit.lang.tree import Span
from meshwit.lang.wishes import Path
from meshwit.peer.job.estimate import Remaining
from meshwit.peer.sched.sizing import BatchSizer

SAMPLES_PER_BATCH = 64


class TaskFault(msgspec.Struct, frozen=True):
    """Why one task has no value, as its worker tells it."""

    kind: str
    message: str
    traceback: str = ""
    output: str = ""
    worker: int = -1


class StepSettings(msgspec.Struct, frozen=True):
    """How a step is to be run; `options` of the script and limits of the activity joined."""

    strategy: str = "Adaptive"
    retries: int = 0
    skip_failed: bool = False
    priority: int = 0
    one_at_a_time: bool = False
    exclusive: frozenset[str] = frozenset()
    """Activities of which a device runs no two at a time."""
    once: bool = False
    """No task is ever tried again, whatever became of it."""
    timeout_s: float | None = None
    memory_max_bytes: int | None = None
    requires: Requirement = NOTHING


class StepRun:
    """A step that runs.

    Attributes:
        number: of the step within its peer: what its batches are filed under.
        single: it is a call: its answer is the one value, not a list.
        values: results by item, None where none yet.
        pending: ranges of items that wait.
        running: items given out and not back.
    """

    def __init__(
        self,
        number: int,
        path: Path,
        task: ir.Expression,
        captured: list[Any],
        items: list[Any],
        settings: StepSettings,
        *,
        activity: str,
        span: Span,
        slots: int,
        single: bool,
        order: Sequence[int] | None = None,
        known: dict[int, Any] | None = None,
    ) -> None:
        self.number = number
        self.path = path
        self.task = task
        self.captured = captured
        self.items = items
        self.settings = settings
        self.activity = activity
        self.span = span
        self.single = single
        self.slots = slots
        self.sizer = BatchSizer(settings.strategy, slots, len(items))
        self.remaining = Remaining()
        self.values: list[Any] = [None] * len(items)
        self.done = 0
        self.failed = 0
        self.running: dict[int, int] = {}
        """Batch -> items of it that are not back."""
        self.attempts: dict[int, int] = {}
        self.fault: tuple[int, TaskFault] | None = None
        for number_known, value in (known or {}).items():
            self.values[number_known] = value
        self.done = len(known or {})
        waiting = [i for i in (order if order is not None else range(len(items))) if not known or i not in known]
        self.pending: deque[Sequence[int]] = deque([waiting] if waiting else [])
        if not known and order is None and items:
            self.pending = deque([range(len(items))])

    @property
    def left(self) -> int:
        """Items that wait to be given out."""
        return sum(len(part) for part in self.pending)

    @property
    def total(self) -> int:
        """All items."""
        return len(self.items)

    @property
    def ended(self) -> bool:
        """Whether every item has its outcome, or one has failed for good."""
        return self.fault is not None or self.done == len(self.items)

    def take(self, batch: int) -> Sequence[int]:
        """The item numbers of the next batch; empty if nothing may be given out."""
        if self.fault is not None or not self.pending or (self.settings.one_at_a_time and self.running):
            return ()
        size = self.sizer.size(self.left)
        if self.settings.once:
            size = 1
        part = self.pending.popleft()
        if len(part) > size:
            self.pending.appendleft(part[size:])
            part = part[:size]
        self.running[batch] = len(part)
        return part

    def put_back(self, batch: int, numbers: Sequence[int]) -> None:
        """Items of a batch that were not started wait again, first."""
        if numbers:
            self.pending.appendleft(list(numbers))
        self._returned(batch, len(numbers))

    def _returned(self, batch: int, count: int) -> None:
        left = self.running.get(batch, 0) - count
        if left > 0:
            self.running[batch] = left
        else:
            self.running.pop(batch, None)

    def record(
        self,
        batch: int,
        numbers: Sequence[int],
        values: Sequence[Any],
        seconds: Sequence[float],
        faults: dict[int, TaskFault],
    ) -> tuple[list[int], list[int]]:
        """Take the outcomes of some items of a batch.

        Returns:
            items that failed and are tried again; items that failed for good.
        """
        if batch not in self.running:
            return [], []  # taken back or cancelled meanwhile
        self._returned(batch, len(numbers))
        self._measure(seconds)
        if isinstance(numbers, range) and numbers.step == 1:
            self.values[numbers.start : numbers.stop] = values
        else:
            for number, value in zip(numbers, values, strict=True):
                self.values[number] = value
        self.done += len(numbers)
        retried: list[int] = []
        final: list[int] = []
        for number, fault in faults.items():
            attempts = self.attempts[number] = self.attempts.get(number, 0) + 1
            again = attempts <= self.settings.retries and not self.settings.once
            if again and fault.kind not in ("killed", "unloadable", "unencodable"):
                retried.append(number)
                self.done -= 1
            else:
                final.append(number)
                self.failed += 1
                if not self.settings.skip_failed and self.fault is None:
                    self.fault = (number, fault)
        if retried:
            self.pending.append(retried)
        return retried, final

    def _measure(self, seconds: Sequence[float]) -> None:
        count = len(seconds)
        if count:
            self.sizer.observe(float(sum(seconds)), count)
            for one in seconds[:: max(1, count // SAMPLES_PER_BATCH)]:
                self.remaining.add(float(one))

    def item_text(self, number: int) -> str:
        """An item, shortened, for messages."""
        return short_text(self.items[number], 60)

    def failure(self, number: int, fault: TaskFault, peer: str) -> Failure:
        """Why an item failed, with all that is known."""
        return Failure(
            fault.message,
            self.span,
            self.activity,
            None if self.single else number,
            "" if self.single else self.item_text(number),
            peer,
            fault.worker if fault.worker >= 0 else None,
            fault.traceback,
            fault.output,
        )

    def check(self) -> None:
        """Invariants: every item waits, runs, or has its outcome."""
        assert self.left + sum(self.running.values()) + self.done == len(self.items)
        assert self.failed <= self.done
