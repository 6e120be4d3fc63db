"""What the death of a worker process costs: which task it is charged to, and when the next process may start.

A worker that dies costs the task at fault one kill and a retry, alone; as many kills as its step allows set it aside.
Who exceeded a limit has failed at once. Tasks that had not run, or whose results had not been sent, go back to the
front of the queue without a charge. Where deaths follow one another without a result between them, or workers do not
start at all, the next one waits, longer each time.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from meshwit.peer.exec.messages import TaskFailure
from meshwit.peer.exec.pool_effects import Effect
from meshwit.peer.exec.pool_ledger import Ledger, RunRecord, Slot, Verdict

KILLS_MAX: Final = 2
"""A task that kills this many workers is set aside."""
LOAD_DEATHS_MAX: Final = 2
"""A step whose loading kills this many workers fails."""
START_FAILURES_MAX: Final = 3
"""Workers that end before they are ready, in a row, until all that waits fails with their stderr."""
BARREN_DEATHS_FREE: Final = 6
"""Deaths in a row without a single result between them, before new workers are delayed."""
BACKOFF_S: Final = 0.1
BACKOFF_MAX_S: Final = 5.0


class Death(NamedTuple):
    """How a worker process ended.

    Attributes:
        cause: in words, "killed by SIGSEGV".
        detail: the tail of what it printed.
        serial: of the run it was at, 0 for none; from the progress page, as are the next two.
        position: the one it was at.
        loading_step: whose program it was loading.
    """

    cause: str
    detail: str = ""
    serial: int = 0
    position: int = 0
    loading_step: int | None = None


class Deaths:
    """Judges deaths by what a pool's books say of them, and counts those in a row."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._start_failures = 0
        self._barren = 0

    def started(self) -> None:
        """A worker has become ready: they do start."""
        self._start_failures = 0

    def answered(self) -> None:
        """A result has come: they do not only die."""
        self._barren = 0

    def starting(self, slot: Slot, death: Death, now: float, effects: list[Effect]) -> None:
        """A worker ended before it was ready."""
        self._start_failures += 1
        slot.not_before = _retry_at(self._start_failures, now)
        if self._start_failures >= START_FAILURES_MAX:
            reason = f"worker processes do not start: {death.cause}"
            self._fail_pending(None, TaskFailure("unstartable", "", reason, death.detail), slot, effects)

    def over_limit(self, slot: Slot, run: RunRecord, verdict: Verdict, effects: list[Effect]) -> None:
        """A worker killed over a limit is gone; the task may have ended just before."""
        if verdict.serial == run.serial and run.done <= verdict.position < run.stop:
            culprit = run.positions[verdict.position]
            self._ledger.put_back(run, [p for p in run.rest() if p != culprit], effects)
            self._ledger.fail(run.batch_id, (culprit,), verdict.failure, slot.index, effects)
        else:
            self._ledger.put_back(run, run.rest(), effects)

    def running(self, slot: Slot, run: RunRecord, death: Death, now: float, effects: list[Effect]) -> None:
        """A worker that had a run died by itself."""
        self._barren += 1
        excess = self._barren - BARREN_DEATHS_FREE
        if excess > 0:
            slot.not_before = _retry_at(excess, now)
        if death.serial == run.serial:
            # It may have answered for the task it was at. Charging the next one then bounds what workers that die
            # between tasks can cost.
            self._charge(slot, run, max(death.position, run.done), death, effects)
        elif death.loading_step == run.step_id:
            self._loading(slot, run, death, effects)
        elif excess > 0:
            self._charge(slot, run, run.done, death, effects)
        else:  # the worker was dead before the run reached it
            self._ledger.put_back(run, run.rest(), effects)

    def _charge(self, slot: Slot, run: RunRecord, at_fault: int, death: Death, effects: list[Effect]) -> None:
        """A worker died of the task at that position of its run, as far as can be known."""
        ledger = self._ledger
        batch = ledger.batches.get(run.batch_id)
        if batch is None or not run.done <= at_fault < run.stop or run.positions[at_fault] in batch.dropped:
            ledger.put_back(run, run.rest(), effects)
            return
        culprit = run.positions[at_fault]
        kills = batch.kills[culprit] = batch.kills.get(culprit, 0) + 1
        ledger.put_back(run, [p for p in run.rest() if p != culprit], effects)
        step = ledger.steps.get(run.step_id)
        if kills >= (KILLS_MAX if step is None else step.kills_max):
            times = "" if kills == 1 else f" {kills} times"
            failure = TaskFailure("killed", "", f"its worker process ended{times}: {death.cause}", death.detail)
            ledger.fail(run.batch_id, (culprit,), failure, slot.index, effects)
        else:
            ledger.pending.appendleft(ledger.new_run(run.step_id, run.batch_id, (culprit,)))

    def _loading(self, slot: Slot, run: RunRecord, death: Death, effects: list[Effect]) -> None:
        step = self._ledger.steps.get(run.step_id)
        if step is None:
            return
        step.load_deaths += 1
        self._ledger.put_back(run, run.rest(), effects)
        if step.load_deaths >= LOAD_DEATHS_MAX:
            reason = f"loading it ends the worker process: {death.cause}"
            self._fail_pending(run.step_id, TaskFailure("unloadable", "", reason, death.detail), slot, effects)

    def _fail_pending(self, step_id: int | None, failure: TaskFailure, slot: Slot, effects: list[Effect]) -> None:
        ledger = self._ledger
        for run in [run for run in ledger.pending if step_id is None or run.step_id == step_id]:
            ledger.pending.remove(run)
            ledger.fail(run.batch_id, run.rest(), failure, slot.index, effects)


def _retry_at(failures: int, now: float) -> float:
    return now + min(BACKOFF_S * 2.0 ** min(failures, 10), BACKOFF_MAX_S)
