"""The worker processes of a simulated peer: so many slots that run batches item by item, at a speed that may change."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from simulations.engine import Simulation

REPORT_S: Final = 0.1
"""Results of a batch that runs for longer are reported so often."""


class VirtualBatch:
    """What is to be run; `left` counts its items of which nothing has come yet."""

    __slots__ = ("done", "items", "number", "numbers", "place", "reported_at", "run", "step", "unwanted", "works")

    def __init__(
        self, step: int, number: int, numbers: Sequence[int], works: Sequence[float], run: Callable[[int], Any]
    ) -> None:
        self.step = step
        self.number = number
        self.numbers = list(numbers)
        self.works = works
        self.run = run
        self.place = 0
        self.unwanted: set[int] = set()
        self.done: list[tuple[int, Any, float]] = []
        self.reported_at = 0.0

    def waiting(self, begun: bool) -> list[int]:
        """Items that have not begun."""
        return [each for each in self.numbers[self.place + begun :] if each not in self.unwanted]


class Slot:
    """One worker process."""

    __slots__ = ("batch", "begun_at", "first_begun_at", "version", "work_left")

    def __init__(self) -> None:
        self.batch: VirtualBatch | None = None
        self.version = 0
        self.work_left = 0.0
        self.begun_at = 0.0
        self.first_begun_at = 0.0


Begun = Callable[[VirtualBatch, int], None]
"""An item of a batch has begun."""
Results = Callable[[VirtualBatch, list[tuple[int, Any, float]], bool], None]
"""Items with their values and seconds, and whether that is all of the batch."""


class VirtualPool:
    """See the module.

    Args:
        started: told of batches that begin; `begun`, of items; `results`, what came of items.
    """

    def __init__(
        self,
        simulation: Simulation,
        slots: int,
        speed: float,
        started: Callable[[int], None],
        begun: Begun,
        results: Results,
    ) -> None:
        self.size = slots
        self.speed = speed
        self._simulation = simulation
        self._slots = [Slot() for _ in range(slots)]
        self._queue: deque[VirtualBatch] = deque()
        self._started = started
        self._begun = begun
        self._results = results
        self._frozen = self._over = False

    def wants_more(self) -> int:
        """How many more batches would be running or prefetched at once."""
        return max(0, 2 * self.size - len(self._queue) - sum(slot.batch is not None for slot in self._slots))

    def submit(self, batch: VirtualBatch) -> None:
        """Run a batch."""
        self._queue.append(batch)
        self._simulation.at(self._simulation.now, self._pump)

    def take_back(self, number: int, wanted: Iterable[int]) -> list[int]:
        """Items of a batch that have not begun."""
        batch, running = self._find(number)
        if batch is None:
            return []
        asked = set(wanted)
        taken = [each for each in batch.waiting(running) if each in asked]
        batch.unwanted.update(taken)
        self._settle(batch, running)
        return taken

    def drop(self, number: int, items: Iterable[int]) -> None:
        """Items of a batch are wanted no more; one that runs is killed."""
        batch, running = self._find(number)
        if batch is None:
            return
        batch.unwanted.update(items)
        if running and batch.numbers[batch.place] in batch.unwanted:
            slot = next(each for each in self._slots if each.batch is batch)
            slot.version += 1
            self._next(slot)
        self._settle(batch, running)

    def cancel(self, step: int) -> None:
        """Kill what runs of a step."""
        self._queue = deque(each for each in self._queue if each.step != step)
        for slot in self._slots:
            if slot.batch is not None and slot.batch.step == step:
                slot.batch = None
                slot.version += 1
        self._simulation.at(self._simulation.now, self._pump)

    def kill(self) -> None:
        """The process has ended."""
        self._over = True

    def change_speed(self, speed: float) -> None:
        """From now on."""
        self._pause()
        self.speed = speed
        self._go_on()

    def freeze(self) -> None:
        """Nothing moves."""
        self._pause()
        self._frozen = True

    def thaw(self) -> None:
        """It goes on where it was."""
        self._frozen = False
        self._go_on()
        self._pump()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _find(self, number: int) -> tuple[VirtualBatch | None, bool]:
        for slot in self._slots:
            if slot.batch is not None and slot.batch.number == number:
                return slot.batch, True
        return next((each for each in self._queue if each.number == number), None), False

    def _settle(self, batch: VirtualBatch, running: bool) -> None:
        """A batch that waited and of which nothing is wanted is over."""
        if not running and not batch.waiting(False):
            self._queue = deque(each for each in self._queue if each is not batch)
            self._simulation.at(self._simulation.now, self._report, batch, True)

    def _pump(self) -> None:
        if self._frozen or self._over:
            return
        for slot in self._slots:
            if slot.batch is None and self._queue:
                batch = slot.batch = self._queue.popleft()
                batch.reported_at = self._simulation.now
                self._started(batch.number)
                batch.place = -1
                self._next(slot)

    def _next(self, slot: Slot) -> None:
        """The next item of the slot's batch begins, or the batch is over."""
        batch = slot.batch
        if batch is None:
            return
        batch.place += 1
        while batch.place < len(batch.numbers) and batch.numbers[batch.place] in batch.unwanted:
            batch.place += 1
        if batch.place >= len(batch.numbers):
            slot.batch = None
            self._report(batch, True)
            self._pump()
            return
        slot.work_left = batch.works[batch.place]
        slot.first_begun_at = self._simulation.now
        self._begun(batch, batch.numbers[batch.place])
        self._plan(slot)

    def _plan(self, slot: Slot) -> None:
        slot.begun_at = self._simulation.now
        slot.version += 1
        self._simulation.after(slot.work_left / self.speed, self._end, slot, slot.version)

    def _end(self, slot: Slot, version: int) -> None:
        batch = slot.batch
        if version != slot.version or batch is None or self._frozen or self._over:
            return
        now = self._simulation.now
        number = batch.numbers[batch.place]
        batch.done.append((number, batch.run(number), now - slot.first_begun_at))
        if now - batch.reported_at >= REPORT_S and batch.place + 1 < len(batch.numbers):
            self._report(batch, False)
            if slot.batch is not batch:
                return
        self._next(slot)

    def _report(self, batch: VirtualBatch, over: bool) -> None:
        done, batch.done = batch.done, []
        batch.reported_at = self._simulation.now
        if not self._over:
            self._results(batch, done, over)

    def _pause(self) -> None:
        now = self._simulation.now
        if self._frozen:
            return
        for slot in self._slots:
            if slot.batch is not None:
                slot.work_left = max(0.0, slot.work_left - (now - slot.begun_at) * self.speed)
                slot.version += 1

    def _go_on(self) -> None:
        for slot in self._slots:
            if slot.batch is not None and not self._frozen:
                self._plan(slot)
