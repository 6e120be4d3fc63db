"""Where every position of every batch is: waiting, in a slot, or ended. Moves them and proves that none is lost.

`PoolCore` decides; the ledger keeps the books. A position ends exactly once: with an outcome, or given back, or
dropped, or with its batch when the step is cancelled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from meshwit.peer.exec.messages import TaskFailure
from meshwit.peer.exec.pool_effects import Deliver, Effect, Fail, Finished, Started, TakenBack


class SlotState(Enum):
    """Of the worker process of a slot."""

    EMPTY = auto()
    STARTING = auto()
    READY = auto()
    ENDING = auto()


class Recalling(Enum):
    """Whether a run that a worker holds has been asked for again."""

    NO = auto()
    ASKED = auto()
    ANSWERED = auto()


@dataclass(slots=True, eq=False)
class RunRecord:
    """Some positions of a batch, given to a worker at once; outcomes come in order, so ``done`` is a prefix."""

    serial: int
    batch_id: int
    step_id: int
    positions: Sequence[int]
    done: int = 0
    stop: int = 0
    recalling: Recalling = Recalling.NO

    def __post_init__(self) -> None:
        self.stop = len(self.positions)

    def rest(self) -> Sequence[int]:
        """Positions whose outcome is open."""
        return self.positions[self.done : self.stop]


@dataclass(slots=True)
class Step:
    """What is known of a step."""

    timeout_s: float | None
    memory_max_bytes: int | None
    kills_max: int
    load_deaths: int = 0


@dataclass(slots=True)
class BatchRecord:
    """A submitted batch.

    Attributes:
        step_id: of its step.
        open: how many positions have not ended.
        kills: how many workers each position has killed.
        started: a worker has begun with it.
        taking_back: what workers give back leaves the pool: all, or the positions of ``wanted_back``.
        dropped: positions that a worker holds and nobody wants any more.
        thinned: some were dropped, so that its owner cannot count when it ends and is told.
    """

    step_id: int
    open: int
    kills: dict[int, int] = field(default_factory=dict)
    started: bool = False
    taking_back: bool = False
    wanted_back: Collection[int] | None = None
    dropped: set[int] = field(default_factory=set)
    thinned: bool = False


@dataclass(slots=True)
class Verdict:
    """Why a worker is being killed: the failure of that position of that run."""

    serial: int
    position: int
    failure: TaskFailure


@dataclass(slots=True)
class Slot:
    """A place for one worker process, and what that process holds.

    Attributes:
        since: when it came into its state or, ready, became idle; monotonic seconds.
        not_before: no new worker before then.
        prepared: steps whose program the worker has.
        blameless: the worker is being killed, and no task is at fault.
        flushed: serial and position of the task for which a flush was asked last.
    """

    index: int
    state: SlotState = SlotState.EMPTY
    since: float = 0.0
    not_before: float = 0.0
    prepared: set[int] = field(default_factory=set)
    running: RunRecord | None = None
    queued: RunRecord | None = None
    verdict: Verdict | None = None
    blameless: bool = False
    flushed: tuple[int, int] = (0, 0)

    def held(self) -> list[RunRecord]:
        """The runs its worker has."""
        return [run for run in (self.running, self.queued) if run is not None]


class Ledger:
    """The slots, steps, batches and waiting runs of a pool."""

    def __init__(self, size: int) -> None:
        self.slots = [Slot(index) for index in range(size)]
        self.steps: dict[int, Step] = {}
        self.batches: dict[int, BatchRecord] = {}
        self.pending: deque[RunRecord] = deque()
        self._serial = 0

    def new_run(self, step_id: int, batch_id: int, positions: Sequence[int]) -> RunRecord:
        """Return a run, which must then be put somewhere."""
        self._serial += 1
        return RunRecord(self._serial, batch_id, step_id, positions)

    def began(self, run: RunRecord, effects: list[Effect]) -> None:
        """A worker has come to a run; if that may still be recalled whole, the first result or the answer tells."""
        batch = self.batches.get(run.batch_id)
        if batch is not None and not batch.started and run.rest() and run.recalling is not Recalling.ASKED:
            batch.started = True
            effects.append(Started(run.batch_id))

    def delivered(self, run: RunRecord, count: int, slot: int, effects: list[Effect]) -> None:
        """The next ``count`` positions of a run ended, with results; also those that were dropped while they ran."""
        first, run.done = run.done, run.done + count
        batch = self.batches.get(run.batch_id)
        if batch is not None and count:
            positions = run.positions[first : run.done]
            batch.dropped.difference_update(positions)
            if not batch.started:
                batch.started = True
                effects.append(Started(run.batch_id))
            effects.append(Deliver(run.batch_id, positions, slot, self._end(run.batch_id, batch, count)))

    def fail(
        self, batch_id: int, positions: Sequence[int], failure: TaskFailure, slot: int, effects: list[Effect]
    ) -> None:
        """Positions that nobody holds any more end with that failure; of those dropped nothing is said."""
        batch = self.batches.get(batch_id)
        if batch is None:
            return
        wanted = self._without_dropped(batch, positions)
        if wanted:
            finished = self._end(batch_id, batch, len(wanted))
            effects.append(Fail(batch_id, wanted, failure, slot, finished))
        else:
            self._end_dropped(batch_id, batch, effects)

    def put_back(self, run: RunRecord, positions: Sequence[int], effects: list[Effect]) -> None:
        """Positions that no worker holds any more go to the front of the queue, or to whoever takes the batch back."""
        batch = self.batches.get(run.batch_id)
        if batch is None:
            return
        positions = self._without_dropped(batch, positions)
        if batch.taking_back:
            self.settle(run.batch_id, batch, self.give_back(batch, run, positions), effects)
        elif positions:
            self.pending.appendleft(self.new_run(run.step_id, run.batch_id, positions))
        else:
            self._end_dropped(run.batch_id, batch, effects)

    def withdraw(self, batch_id: int, unwanted: Collection[int]) -> list[int]:
        """Take positions of a batch out of the queue, where the others keep their place; returns those found."""
        found: list[int] = []
        kept: list[RunRecord] = []
        for run in self.pending:
            if run.batch_id == batch_id:
                rest = run.rest()
                mine = [position for position in rest if position in unwanted]
                if mine:
                    found += mine
                    left = [position for position in rest if position not in unwanted]
                    if left:
                        kept.append(self.new_run(run.step_id, batch_id, left))
                    continue
            kept.append(run)
        self.pending = deque(kept)
        return found

    def take_pending(self, batch_id: int, batch: BatchRecord) -> list[int]:
        """Take what waits of a batch out of the queue; returns the positions given back."""
        if batch.wanted_back is not None:
            back = self.withdraw(batch_id, [position for position in batch.wanted_back if position not in batch.kills])
            batch.open -= len(back)
            return back
        back = []
        for run in [run for run in self.pending if run.batch_id == batch_id]:
            self.pending.remove(run)
            back += self.give_back(batch, run, run.rest())
        return back

    def give_back(self, batch: BatchRecord, run: RunRecord, positions: Sequence[int]) -> list[int]:
        """Return those of the positions that leave the pool.

        The others wait in front: one that killed a worker to be judged here, those not asked for to be run.
        """
        back: list[int] = []
        stays: list[int] = []
        for position in positions:
            if position in batch.kills:
                self.pending.appendleft(self.new_run(run.step_id, run.batch_id, (position,)))
            elif batch.wanted_back is not None and position not in batch.wanted_back:
                stays.append(position)
            else:
                back.append(position)
        if stays:
            self.pending.appendleft(self.new_run(run.step_id, run.batch_id, stays))
        batch.open -= len(back)
        return back

    def settle(self, batch_id: int, batch: BatchRecord, back: Sequence[int], effects: list[Effect]) -> None:
        """Report positions given back; the request stands while a recall of that batch is not answered."""
        batch.taking_back = any(
            run.batch_id == batch_id and run.recalling is Recalling.ASKED for slot in self.slots for run in slot.held()
        )
        ends = not batch.open
        finished = ends and not batch.thinned
        if finished:
            del self.batches[batch_id]
        if back or ends or not batch.taking_back:
            effects.append(TakenBack(batch_id, back, ends or not batch.taking_back, finished))
        self._end_dropped(batch_id, batch, effects)

    def drop(self, batch_id: int, batch: BatchRecord, unwanted: Collection[int], effects: list[Effect]) -> None:
        """End what waits of those positions, and note those that a worker holds."""
        gone = len(self.withdraw(batch_id, unwanted))
        for slot in self.slots:
            for run in slot.held():
                if run.batch_id == batch_id:
                    batch.dropped.update(position for position in run.rest() if position in unwanted)
        batch.thinned = batch.thinned or gone > 0 or bool(batch.dropped)
        batch.open -= gone
        self._end_dropped(batch_id, batch, effects)

    def is_dropped(self, run: RunRecord, at: int) -> bool:
        """Whether nobody wants that position of a run any more."""
        batch = self.batches.get(run.batch_id)
        return batch is not None and run.done <= at < run.stop and run.positions[at] in batch.dropped

    def drop_step(self, step_id: int) -> None:
        """Forget a step with its batches and all that waits of it."""
        self.steps.pop(step_id, None)
        for batch_id in [key for key, batch in self.batches.items() if batch.step_id == step_id]:
            del self.batches[batch_id]
        self.pending = deque(run for run in self.pending if run.step_id != step_id)

    def check(self) -> None:
        """Invariants; raises AssertionError."""
        runs = list(self.pending)
        for slot in self.slots:
            assert slot.queued is None or slot.running is not None, f"slot {slot.index} prefetched without running"
            if slot.state in (SlotState.EMPTY, SlotState.STARTING):
                assert slot.running is None, f"slot {slot.index} runs without a worker"
                assert not slot.prepared, f"slot {slot.index} is prepared without a worker"
            runs += slot.held()
        assert len({run.serial for run in runs}) == len(runs), "one run in two places"
        held: dict[int, int] = {}
        seen: set[tuple[int, int]] = set()
        for run in runs:
            assert 0 <= run.done <= run.stop <= len(run.positions), f"run {run.serial}: {run.done} of {run.stop}"
            held[run.batch_id] = held.get(run.batch_id, 0) + len(run.rest())
            for position in run.rest():
                assert (run.batch_id, position) not in seen, f"position {position} of batch {run.batch_id} twice"
                seen.add((run.batch_id, position))
        for batch_id, batch in self.batches.items():
            assert batch.step_id in self.steps, f"batch {batch_id} of an unknown step"
            assert batch.open > 0, f"batch {batch_id} is finished but open"
            for position in batch.dropped:
                assert (batch_id, position) in seen, f"position {position} of batch {batch_id} is dropped and nowhere"
                assert all(run.batch_id != batch_id or position not in run.rest() for run in self.pending)
            assert held.get(batch_id, 0) == batch.open, (
                f"batch {batch_id}: {batch.open} open, {held.get(batch_id)} held"
            )

    def _end(self, batch_id: int, batch: BatchRecord, count: int) -> bool:
        batch.open -= count
        if not batch.open:
            del self.batches[batch_id]
        return not batch.open

    def _end_dropped(self, batch_id: int, batch: BatchRecord, effects: list[Effect]) -> None:
        """If the last positions of a batch ended without a word, say that it is finished."""
        if not batch.open and self.batches.pop(batch_id, None) is not None:
            effects.append(Finished(batch_id))

    def _without_dropped(self, batch: BatchRecord, positions: Sequence[int]) -> Sequence[int]:
        """End those of the positions that were dropped; returns the others."""
        if not batch.dropped:
            return positions
        wanted = [position for position in positions if position not in batch.dropped]
        batch.dropped.difference_update(positions)
        batch.open -= len(positions) - len(wanted)
        return wanted
