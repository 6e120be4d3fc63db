"""One step of a job while it runs: what came back, what is tried again, when it has ended.

A Grid step is a step of many items; a call of an activity is a step of one. Where its items run is decided by its
scheduler; the step tells that what happened and decides what an outcome means: a value, another try, an item set aside,
the end. The first outcome of an item counts, whoever sends it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from meshwit.bench.requirements import NOTHING, Requirement
from meshwit.ids import PeerId
from meshwit.lang import program as ir
from meshwit.lang.control import Failure
from meshwit.lang.text import short_text
from meshwit.lang.tree import Span
from meshwit.lang.wishes import Path
from meshwit.peer.job.estimate import Remaining
from meshwit.peer.sched.config import SchedulerConfig
from meshwit.peer.sched.effects import Effect, Lost
from meshwit.peer.sched.grid import GridScheduler
from meshwit.peer.sched.ledger import ItemState
from meshwit.peer.sched.nearness import Nearness

SAMPLES_PER_BATCH: Final = 64
LOSSES_MAX: Final = 3
"""A task that was running on so many peers when they were lost is believed to be why, and set aside."""
LENGTHS_ITEMS_MAX: Final = 5_000
"""Of steps with no more items, without estimates, it is noted how long each item took, for the next time."""
FINAL_KINDS: Final = frozenset({"killed", "unloadable", "unencodable"})
"""Failures that another try would only repeat."""
SCHEDULING: Final = SchedulerConfig(beats=True, silence_min_s=1.0)
"""Peers beat four times a second; a hiccup of a second costs less than a peer wrongly believed frozen."""


class TaskFault(msgspec.Struct, frozen=True):
    """Why one task has no value, as its worker tells it."""

    kind: str
    message: str
    traceback: str = ""
    output: str = ""
    worker: int = -1
    peer: str = ""


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
    peers_max: int = 0
    """No more peers than that; 0 for all."""


class StepRun:
    """A step that runs.

    Attributes:
        number: of the step within its peer: what its batches are filed under.
        since: how many answers its leader had recorded when it was wished for.
        single: it is a call: its answer is the one value, not a list.
        scheduler: who runs what.
        values: results by item, None where none yet.
        done: items with an outcome, `failed` of them without a value.
        fault: the item that ended the step, and why.
        workers: peers that may run it, with the slots that they grant; `away`, those of them that were lost.
        opened: peers that know of it; `given_to`, those that ever got items.
        done_by: items by the peer whose outcome counted.
        left_out: peers that may not run it, and why, by name.
        refused: those of them that said so themselves.
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
        single: bool,
        works: Sequence[float] | None = None,
        known: dict[int, Any] | None = None,
        batch_items_max: int | None = None,
        near: Nearness | None = None,
        complete: bool = True,
    ) -> None:
        self.number = number
        self.since = 0
        self.path = path
        self.task = task
        self.captured = captured
        self.items = items
        self.settings = settings
        self.activity = activity
        self.span = span
        self.single = single
        config = SCHEDULING
        if batch_items_max is not None:
            config = msgspec.structs.replace(config, batch_items_max=batch_items_max)
        self.scheduler = GridScheduler(
            settings.strategy, len(items), works,
            complete=complete, config=config, once=settings.once, known=known or (), near=near,
        )  # fmt: skip
        self.remaining = Remaining()
        self.values: list[Any] = [None] * len(items)
        self._total = 0
        self._settled = bytearray(len(items))
        self.failed = 0
        self.fault: tuple[int, TaskFault] | None = None
        self.workers: dict[PeerId, int] = {}
        self.away: set[PeerId] = set()
        self.opened: set[PeerId] = set()
        self.given_to: set[PeerId] = set()
        self.done_by: dict[PeerId, int] = {}
        self.left_out: dict[str, str] = {}
        self.refused: dict[PeerId, str] = {}
        noted = LENGTHS_ITEMS_MAX if works is None and complete and not single else 0
        self._took: list[tuple[PeerId, float] | None] = [None] * len(items) if len(items) <= noted else []
        self._attempts: dict[int, int] = {}
        self._losses: dict[int, set[PeerId]] = {}
        for item, value in (known or {}).items():
            self.values[item] = value
            self._settled[item] = 1
        self.done = len(known or {})

    def append(self, items: Sequence[Any], now: float) -> list[Effect]:
        """More items, for a step that is not complete; what the scheduler does about them."""
        self.items += items
        self.values += [None] * len(items)
        self._settled.extend(bytes(len(items)))
        return self.scheduler.append(len(items), None, now)

    def forget(self, numbers: Iterable[int]) -> None:
        """Drop items that are settled, and their values: somebody else has them now."""
        for number in numbers:
            self.items[number] = self.values[number] = None
            self._attempts.pop(number, None)
            self._losses.pop(number, None)

    def release(self) -> None:
        """It is over: of its items and values, and of what it captured, nothing is needed any more."""
        self._total = self.total
        self.items, self.values, self.captured, self._took = [], [], [], []
        self._attempts.clear()
        self._losses.clear()

    @property
    def total(self) -> int:
        """All items."""
        return self._total or len(self.items)

    @property
    def slots(self) -> int:
        """Slots of all its peers, at least 1."""
        return max(1, sum(self.workers.values()))

    @property
    def ended(self) -> bool:
        """Whether every item has its outcome, or one has failed for good."""
        return self.fault is not None or self.done == len(self.items)

    def slots_of(self, granted: int) -> int:
        """Slots of a peer that this step may use."""
        alone = self.settings.one_at_a_time or self.settings.exclusive
        return min(granted, 1) if alone else granted

    def record(
        self,
        peer: PeerId,
        numbers: Sequence[int],
        values: Sequence[Any],
        seconds: Sequence[float],
        faults: dict[int, TaskFault],
        now: float,
    ) -> Recorded:
        """Take the outcomes of some items from a peer: a value (None where it failed) and a time for each number."""
        every_second = seconds
        if not faults and self._take_range(numbers, values):
            fresh: Sequence[int] = numbers
        else:
            first = {number: place for place, number in reversed(list(enumerate(numbers)))}  # one may be named twice
            places = sorted(
                place for number, place in first.items() if 0 <= number < len(self.items) and not self._settled[number]
            )
            fresh = [numbers[place] for place in places]
            for place in places:
                if numbers[place] not in faults:
                    self.values[numbers[place]] = values[place]
                    self._settled[numbers[place]] = 1
            seconds = [seconds[place] for place in places]
        if not faults:
            self._done_on(peer, len(fresh))
            self.done += len(fresh)
            self._measure(peer, fresh, seconds)
            return Recorded(fresh, [], [], self.scheduler.finished(peer, numbers, every_second, now))
        return self._with_faults(peer, fresh, seconds, faults, now)

    def _done_on(self, peer: PeerId, count: int) -> None:
        self.done_by[peer] = self.done_by.get(peer, 0) + count

    def _take_range(self, numbers: Sequence[int], values: Sequence[Any]) -> bool:
        """Take a whole range at once, if nothing of it was taken before."""
        if not (isinstance(numbers, range) and numbers.step == 1 and len(values) == len(numbers)):
            return False
        first, stop = numbers.start, numbers.stop
        if not 0 <= first <= stop <= len(self.items) or self._settled.find(1, first, stop) >= 0:
            return False
        self.values[first:stop] = values
        self._settled[first:stop] = b"\1" * len(numbers)
        return True

    def _with_faults(
        self, peer: PeerId, fresh: Sequence[int], seconds: Sequence[float], faults: dict[int, TaskFault], now: float
    ) -> Recorded:
        good = [(number, took) for number, took in zip(fresh, seconds, strict=True) if number not in faults]
        retried: list[int] = []
        final: list[int] = []
        for number in fresh:
            if number not in faults:
                continue
            fault = faults[number]
            attempts = self._attempts[number] = self._attempts.get(number, 0) + 1
            again = attempts <= self.settings.retries and not self.settings.once
            (retried if again and fault.kind not in FINAL_KINDS else final).append(number)
        self._done_on(peer, len(good) + len(final))
        effects: list[Effect] = []
        if good:
            self.done += len(good)
            self._measure(peer, [number for number, _ in good], [took for _, took in good])
            effects += self.scheduler.finished(peer, [number for number, _ in good], [took for _, took in good], now)
        if retried:
            effects += self.scheduler.failed(peer, retried, True, now)
        if final:
            effects += self.scheduler.failed(peer, final, False, now)
            self._give_up(final, faults)
        return Recorded([number for number, _ in good], retried, final, effects)

    def _give_up(self, numbers: Iterable[int], faults: dict[int, TaskFault]) -> None:
        for number in numbers:
            self._settled[number] = 1
            self.done += 1
            self.failed += 1
            if not self.settings.skip_failed and self.fault is None:
                self.fault = (number, faults[number])

    def learned(self, numbers: Sequence[int], values: Sequence[Any], now: float) -> tuple[list[int], list[Effect]]:
        """Take results that came from elsewhere: the items that were not settled, and what follows for who has them."""
        fresh = []
        for number, value in zip(numbers, values, strict=False):
            if 0 <= number < len(self.items) and not self._settled[number]:
                self.values[number] = value
                self._settled[number] = 1
                fresh.append(number)
        self.done += len(fresh)
        return fresh, self.scheduler.set_aside(fresh, now) if fresh else []

    def fail(self, numbers: Sequence[int], fault: TaskFault, now: float) -> list[Effect]:
        """Items without a result count as failed, and are not run; what follows."""
        open_ones = [number for number in numbers if 0 <= number < len(self.items) and not self._settled[number]]
        effects = self.scheduler.set_aside(open_ones, now)
        self._give_up(open_ones, dict.fromkeys(open_ones, fault))
        return effects

    def settled(self, number: int) -> bool:
        """Whether an item has its outcome."""
        return bool(self._settled[number])

    def pending(self, number: int) -> bool:
        """Whether there is such an item, that no peer has and that has no outcome."""
        return 0 <= number < len(self.items) and self.scheduler.ledger.states[number] == ItemState.PENDING

    def lost(self, lost: Lost, name: str, now: float) -> tuple[dict[int, TaskFault], list[Effect]]:
        """Items were running on a peer that is gone; those that are given up therefore, and what follows."""
        faults: dict[int, TaskFault] = {}
        effects: list[Effect] = []
        for item in lost.items:
            if self._settled[item]:
                continue
            losses = self._losses.setdefault(item, set())
            losses.add(lost.peer)
            if lost.final:
                faults[item] = TaskFault(
                    "killed", f"{name} was lost while it ran this, and it must not run twice", peer=name
                )
            elif len(losses) >= LOSSES_MAX:
                faults[item] = TaskFault(
                    "killed", f"{len(losses)} peers were lost while they ran this, {name} the last", peer=name
                )
        if faults:
            if not lost.final:
                effects = self.scheduler.set_aside(list(faults), now)
            self._give_up(faults, faults)
        return faults, effects

    def lengths(self) -> list[float]:
        """How long each item took, in units of the median one, whoever ran it; 0 where unknown, empty if not noted."""
        rates = self.scheduler.rates()
        return [each[1] * rates[each[0]] if each is not None and each[0] in rates else 0.0 for each in self._took]

    def _measure(self, peer: PeerId, numbers: Sequence[int], seconds: Sequence[float]) -> None:
        if self._took:
            for number, took in zip(numbers, seconds, strict=True):
                self._took[number] = (peer, took)
        count = len(seconds)
        for one in seconds[:: max(1, count // SAMPLES_PER_BATCH)] if count else ():
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
            fault.peer or peer,
            fault.worker if fault.worker >= 0 else None,
            fault.traceback,
            fault.output,
        )

    def check(self) -> None:
        """Invariants: what is settled is settled once; the scheduler's books agree."""
        assert self.done == sum(self._settled), (self.done, sum(self._settled))
        assert self.failed <= self.done
        self.scheduler.check()


class Recorded(msgspec.Struct, frozen=True):
    """What outcomes came to.

    Attributes:
        fresh: items that got their value by them.
        retried: items that failed and are tried again.
        final: items that failed for good.
        effects: of the scheduler.
    """

    fresh: Sequence[int]
    retried: list[int]
    final: list[int]
    effects: list[Effect]
