"""Where every position of every batch is: waiting, in a slot, or ended. Moves them and proves that none is lost.

`PoolCore` decides; the ledger keeps the books. A position ends exactly once: with an outcome, or given back, or with
its batch when the step is cancelled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from meshwit.peer.exec.messages import TaskFailure
from meshwit.peer.exec.pool_effects import Deliver, Effect, Fail, TakenBack


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
    """A submitted batch; ``open`` counts the positions not ended."""

    step_id: int
    open: int
    kills: dict[int, int] = field(default_factory=dict)
    taking_back: bool = False


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

    def delivered(self, run: RunRecord, count: int, slot: int, effects: list[Effect]) -> None:
        """The next ``count`` positions of a run ended, with results."""
        first, run.done = run.done, run.done + count
        batch = self.batches.get(run.batch_id)
        if batch is not None and count:
            finished = self._end(run.batch_id, batch, count)
            effects.append(Deliver(run.batch_id, run.positions[first : run.done], slot, finished))

    def fail(
        self, batch_id: int, positions: Sequence[int], failure: TaskFailure, slot: int, effects: list[Effect]
    ) -> None:
        """Positions that nobody holds any more end with that failure."""
        batch = self.batches.get(batch_id)
        if batch is not None and positions:
            finished = self._end(batch_id, batch, len(positions))
            effects.append(Fail(batch_id, positions, failure, slot, finished))

    def put_back(self, run: RunRecord, positions: Sequence[int], effects: list[Effect]) -> None:
        """Positions that no worker holds any more go to the front of the queue, or to whoever takes the batch back."""
        batch = self.batches.get(run.batch_id)
        if batch is None:
            return
        if batch.taking_back:
            self.settle(run.batch_id, batch, self.give_back(batch, run, positions), effects)
        elif positions:
            self.pending.appendleft(self.new_run(run.step_id, run.batch_id, positions))

    def take_pending(self, batch_id: int, batch: BatchRecord) -> list[int]:
        """Take what waits of a batch out of the queue; returns the positions given back."""
        back: list[int] = []
        for run in [run for run in self.pending if run.batch_id == batch_id]:
            self.pending.remove(run)
            back += self.give_back(batch, run, run.rest())
        return back

    def give_back(self, batch: BatchRecord, run: RunRecord, positions: Sequence[int]) -> list[int]:
        """Return those of the positions that leave the pool; one that killed a worker waits here to be judged."""
        back: list[int] = []
        for position in positions:
            if position in batch.kills:
                self.pending.appendleft(self.new_run(run.step_id, run.batch_id, (position,)))
            else:
                back.append(position)
        batch.open -= len(back)
        return back

    def settle(self, batch_id: int, batch: BatchRecord, back: Sequence[int], effects: list[Effect]) -> None:
        """Report positions given back; the request stands while a recall of that batch is not answered."""
        batch.taking_back = any(
            run.batch_id == batch_id and run.recalling is Recalling.ASKED for slot in self.slots for run in slot.held()
        )
        finished = not batch.open
        if finished:
            del self.batches[batch_id]
        if back or finished or not batch.taking_back:
            effects.append(TakenBack(batch_id, back, finished or not batch.taking_back, finished))

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
            assert held.get(batch_id, 0) == batch.open, (
                f"batch {batch_id}: {batch.open} open, {held.get(batch_id)} held"
            )

    def _end(self, batch_id: int, batch: BatchRecord, count: int) -> bool:
        batch.open -= count
        if not batch.open:
            del self.batches[batch_id]
        return not batch.open
