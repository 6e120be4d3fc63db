"""Decides what the worker processes of a peer do: pure, no I/O, no clock.

A pool has a fixed number of **slots**; a slot has at most one worker process, and that has at most two **runs**: one
running, one prefetched, so that it never waits for the pool. A run is some positions of a submitted **batch**.

    EMPTY --Spawn--> STARTING --ready--> READY --Kill, StopWorker--> ENDING --exited--> EMPTY
                         |                  |                                             ^
                         +------------------+-------------------- exited -----------------+

Where everything is stands in `pool_ledger`, what the death of a worker costs in `pool_deaths`. A slot that has nothing
to do takes the prefetched run of another.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from meshwit.peer.exec.messages import TaskFailure
from meshwit.peer.exec.pool_deaths import KILLS_MAX, Death, Deaths
from meshwit.peer.exec.pool_effects import (
    Effect,
    Kill,
    SendFlush,
    SendPrepare,
    SendRecall,
    SendRelease,
    SendRun,
    Spawn,
    StopWorker,
    TakenBack,
)
from meshwit.peer.exec.pool_ledger import BatchRecord, Ledger, Recalling, RunRecord, Slot, SlotState, Step, Verdict

QUEUE_MAX_PER_SLOT: Final = 4
"""Batches that may wait, for each slot: twice what `PoolCore.wants_more` asks for."""
START_TIMEOUT_S: Final = 60.0
"""A worker that is not ready by then is killed."""
FLUSH_AFTER_S: Final = 0.05
"""A task that runs longer has the results before it sent ahead."""
KILL_AFTER_S: Final = 1.0
"""A dropped task that has run for longer is killed: it may go on as long again, and a new worker process costs about
that. What ends sooner is cheaper to wait for."""
POLL_S: Final = 0.1
"""How often running workers are looked at; at most a tenth of the shortest time limit, at least 10 ms."""


class PoolFullError(RuntimeError):
    """More batches were submitted than `PoolCore.wants_more` asked for and the queue holds."""


class PoolCore:
    """The state of a pool; every method takes what happened and returns what is to be done, in order."""

    def __init__(self, size: int, *, idle_s: float = 60.0) -> None:
        if size < 1:
            raise ValueError(f"a pool needs at least one slot, not {size}")
        self.size: Final = size
        self._idle_s = idle_s
        self._ledger = Ledger(size)
        self._slots = self._ledger.slots
        self._deaths = Deaths(self._ledger)

    # What the job layer wants

    def prepare(
        self,
        step_id: int,
        timeout_s: float | None = None,
        memory_max_bytes: int | None = None,
        kills_max: int = KILLS_MAX,
    ) -> None:
        """Make a step known; its program goes to a worker with the first run there."""
        if step_id in self._ledger.steps:
            raise ValueError(f"step {step_id} is prepared already")
        self._ledger.steps[step_id] = Step(timeout_s, memory_max_bytes, kills_max)

    def release(self, step_id: int) -> list[Effect]:
        """Forget a step that has no open batch. Raises ValueError if it has."""
        if any(batch.step_id == step_id for batch in self._ledger.batches.values()):
            raise ValueError(f"step {step_id} still has open batches; cancel it instead")
        self._ledger.steps.pop(step_id, None)
        return self._forget(step_id)

    def submit(self, step_id: int, batch_id: int, positions: Sequence[int], now: float) -> list[Effect]:
        """Take a batch of at least one position. Raises PoolFullError where it would wait beyond the queue."""
        ledger = self._ledger
        if step_id not in ledger.steps:
            raise ValueError(f"step {step_id} is not prepared")
        if batch_id in ledger.batches:
            raise ValueError(f"batch {batch_id} is open already")
        if not positions:
            raise ValueError(f"batch {batch_id} is empty")
        if len(ledger.pending) >= QUEUE_MAX_PER_SLOT * self.size:
            raise PoolFullError(f"{len(ledger.pending)} batches wait already; submit when wants_more() says so")
        ledger.batches[batch_id] = BatchRecord(step_id, len(positions))
        ledger.pending.append(ledger.new_run(step_id, batch_id, positions))
        effects: list[Effect] = []
        self._dispatch(now, effects)
        return effects

    def wants_more(self) -> int:
        """How many more batches would be running or prefetched at once."""
        held = sum(len(slot.held()) for slot in self._slots)
        return max(0, 2 * self.size - held - len(self._ledger.pending))

    def free_slots(self) -> int:
        """How many slots have nothing to do, not even a batch on its way to them."""
        idle = sum(slot.running is None for slot in self._slots)
        return max(0, idle - len(self._ledger.pending))

    def running(self, slot_index: int) -> RunRecord | None:
        """The run that a slot's worker is at."""
        return self._slots[slot_index].running

    def is_idle(self, slot_index: int) -> bool:
        """Whether a slot's worker has nothing to do."""
        slot = self._slots[slot_index]
        return slot.state is SlotState.READY and slot.running is None

    def warm(self, now: float) -> list[Effect]:
        """Start a worker in every empty slot."""
        empty = [slot for slot in self._slots if slot.state is SlotState.EMPTY and slot.not_before <= now]
        return [self._spawn(slot, now) for slot in empty]

    def running_count(self) -> int:
        """How many slots run something."""
        return sum(slot.running is not None for slot in self._slots)

    def take_back(self, batch_id: int, positions: Collection[int] | None = None) -> list[Effect]:
        """Hand back what is not started, but for tasks that killed a worker: those stay to be judged here.

        With ``positions`` only those; what is recalled with them waits in front and runs here. Comes in one or more
        `TakenBack`; the last is settled, or the batch finishes.
        """
        batch = self._ledger.batches.get(batch_id)
        if batch is None:
            return [TakenBack(batch_id, (), True, True)]
        batch.taking_back, batch.wanted_back = True, positions
        back = self._ledger.take_pending(batch_id, batch)
        effects: list[Effect] = []
        self._recall_all(batch_id, positions, effects)
        self._ledger.settle(batch_id, batch, back, effects)
        return effects

    def drop(self, batch_id: int, positions: Collection[int]) -> list[Effect]:
        """Let positions go that nobody wants any more; the rest of the batch goes on.

        Those not started never run, and nothing is said of them. One that runs ends, and its result is delivered,
        unless it takes longer than `KILL_AFTER_S` in all: then its worker is killed, and nothing is said of it either.
        """
        effects: list[Effect] = []
        batch = self._ledger.batches.get(batch_id)
        if batch is not None:
            self._ledger.drop(batch_id, batch, positions, effects)
            self._recall_all(batch_id, positions, effects)
        return effects

    def cancel(self, step_id: int, now: float, unbegun: Collection[int] = ()) -> list[Effect]:
        """Drop a step with all its batches, delivering nothing more; workers busy with it are killed.

        Those in the slots ``unbegun`` have not come to their run: they still import what steps need. They go on with
        that. Where steps are short and imports long, a worker would else be killed at each, and never be of use.
        """
        self._ledger.drop_step(step_id)
        effects: list[Effect] = []
        for slot in self._slots:
            mine = [run for run in slot.held() if run.step_id == step_id]
            if slot.running in mine and slot.index not in unbegun:
                self._kill(slot, now, effects, blameless=True)
                continue
            if slot.running in mine:
                slot.since = now
            for run in mine:
                self._recall(slot, run, effects)
        effects += self._forget(step_id)
        self._dispatch(now, effects)
        return effects

    # What happened

    def ready(self, slot_index: int, now: float) -> list[Effect]:
        """A worker has started."""
        slot = self._slots[slot_index]
        effects: list[Effect] = []
        if slot.state is SlotState.STARTING:
            slot.state, slot.since = SlotState.READY, now
            self._deaths.started()
            self._dispatch(now, effects)
            if slot.running is None:
                self._steal(effects)
        return effects

    def results(self, slot_index: int, serial: int, first: int, count: int, finished: bool, now: float) -> list[Effect]:
        """Outcomes of ``count`` positions of a run, from ``first`` on; ``finished``: no more of this run."""
        slot = self._slots[slot_index]
        run = slot.running
        effects: list[Effect] = []
        if run is None or run.serial != serial or first != run.done or first + count > run.stop:
            return effects
        if count:
            self._deaths.answered()
            self._ledger.delivered(run, count, slot_index, effects)
        if finished:
            self._next(slot, effects)
            slot.since = now
            self._ledger.put_back(run, run.rest(), effects)
            if slot.running is not None and slot.running.rest() and slot.running.step_id not in self._ledger.steps:
                self._kill(slot, now, effects, blameless=True)  # cancelled, and started before the recall came
            self._dispatch(now, effects)
            if slot.running is None and slot.state is SlotState.READY:
                self._steal(effects)
        return effects

    def recalled(self, slot_index: int, serial: int, first: int, now: float) -> list[Effect]:
        """Positions of a run from ``first`` on were not started and will not be."""
        slot = self._slots[slot_index]
        effects: list[Effect] = []
        for run in slot.held():
            if run.serial == serial and run.done <= first <= run.stop:
                back = run.positions[first : run.stop]
                run.stop = first
                run.recalling = Recalling.ANSWERED
                if run is slot.running:
                    self._ledger.began(run, effects)
                self._ledger.put_back(run, back, effects)
                if run is slot.running and run.rest() and run.step_id not in self._ledger.steps:
                    self._kill(slot, now, effects, blameless=True)  # cancelled, and begun just before
                self._dispatch(now, effects)
        return effects

    def unsendable(self, slot_index: int, serial: int, failure: TaskFailure, now: float) -> list[Effect]:
        """A run could not be sent to its worker, which never saw it: all its positions fail."""
        slot = self._slots[slot_index]
        effects: list[Effect] = []
        run = next((run for run in slot.held() if run.serial == serial), None)
        if run is not None:
            if run is slot.queued:
                slot.queued = None
            else:
                self._next(slot, effects)
            self._ledger.fail(run.batch_id, run.rest(), failure, slot_index, effects)
            self._dispatch(now, effects)
        return effects

    def observed(
        self, slot_index: int, serial: int, position: int, ran_s: float, memory_bytes: int, now: float
    ) -> list[Effect]:
        """A worker is running that position of that run, since ``ran_s`` seconds, and holds that much memory."""
        slot = self._slots[slot_index]
        run = slot.running
        effects: list[Effect] = []
        if slot.state is not SlotState.READY or run is None or run.serial != serial or position < run.done:
            return effects
        step = self._ledger.steps.get(run.step_id)
        if step is None:
            return effects
        if position == run.done and ran_s > KILL_AFTER_S and self._ledger.is_dropped(run, position):
            self._kill(slot, now, effects, blameless=True)
            return effects
        if step.timeout_s is not None and ran_s > step.timeout_s:
            failure = TaskFailure("timeout", "", f"ran longer than {step.timeout_s} s")
        elif step.memory_max_bytes is not None and memory_bytes > step.memory_max_bytes:
            failure = TaskFailure("memory", "", f"used more than {step.memory_max_bytes / 2**20:,.0f} MiB of memory")
        else:
            if position > run.done and ran_s > FLUSH_AFTER_S and slot.flushed != (serial, position):
                slot.flushed = (serial, position)
                effects.append(SendFlush(slot_index))
            return effects
        slot.verdict = Verdict(serial, position, failure)
        self._kill(slot, now, effects)
        return effects

    def exited(self, slot_index: int, death: Death, now: float) -> list[Effect]:
        """A worker process is gone, all that it sent having been handed in before."""
        slot = self._slots[slot_index]
        state, running, queued, verdict, blameless = slot.state, slot.running, slot.queued, slot.verdict, slot.blameless
        slot.state, slot.since = SlotState.EMPTY, now
        slot.running = slot.queued = slot.verdict = None
        slot.blameless = False
        slot.prepared.clear()
        effects: list[Effect] = []
        if queued is not None:
            self._ledger.put_back(queued, queued.rest(), effects)
        if state is SlotState.STARTING:
            self._deaths.starting(slot, death, now, effects)
        elif running is not None and blameless:
            self._ledger.put_back(running, running.rest(), effects)
        elif running is not None and verdict is not None:
            self._deaths.over_limit(slot, running, verdict, effects)
        elif running is not None:
            self._deaths.running(slot, running, death, now, effects)
        self._dispatch(now, effects)
        return effects

    def tick(self, now: float) -> list[Effect]:
        """Time has passed: idle workers end, slow starters are killed, delayed ones start."""
        effects: list[Effect] = []
        for slot in self._slots:
            if slot.state is SlotState.STARTING and now >= slot.since + START_TIMEOUT_S:
                slot.since = now
                effects.append(Kill(slot.index))
            elif self._is_spared(slot) and now >= slot.since + START_TIMEOUT_S:
                self._kill(slot, now, effects, blameless=True)
            elif slot.state is SlotState.READY and slot.running is None and now >= slot.since + self._idle_s:
                slot.state, slot.since = SlotState.ENDING, now
                effects.append(StopWorker(slot.index))
        self._dispatch(now, effects)
        return effects

    def next_deadline(self) -> float | None:
        """When `tick` is due at the latest."""
        times: list[float] = []
        starting = sum(slot.state is SlotState.STARTING for slot in self._slots)
        for slot in self._slots:
            if slot.state is SlotState.EMPTY and len(self._ledger.pending) > starting:
                times.append(slot.not_before)
            elif slot.state is SlotState.STARTING or self._is_spared(slot):
                times.append(slot.since + START_TIMEOUT_S)
            elif slot.state is SlotState.READY and slot.running is None:
                times.append(slot.since + self._idle_s)
        return min(times, default=None)

    def poll_interval_s(self) -> float | None:
        """How often `observed` is wanted; None while nothing runs."""
        limits = [
            POLL_S if step is None or step.timeout_s is None else step.timeout_s
            for slot in self._slots
            if slot.running is not None and slot.state is SlotState.READY
            for step in [self._ledger.steps.get(slot.running.step_id)]
        ]
        return max(0.01, min(POLL_S, min(limits) / 10)) if limits else None

    def check(self) -> None:
        """Invariants; raises AssertionError."""
        self._ledger.check()

    # How

    def _dispatch(self, now: float, effects: list[Effect]) -> None:
        pending = self._ledger.pending
        if not pending:
            return
        while pending:
            idle = [slot for slot in self._slots if slot.state is SlotState.READY and slot.running is None]
            if not idle:
                break
            step_id = pending[0].step_id
            slot = next((slot for slot in idle if step_id in slot.prepared), idle[0])
            slot.running = self._send(slot, effects)
            self._ledger.began(slot.running, effects)
        starting = sum(slot.state is SlotState.STARTING for slot in self._slots)
        for slot in self._slots:
            if len(pending) > starting and slot.state is SlotState.EMPTY and slot.not_before <= now:
                effects.append(self._spawn(slot, now))
                starting += 1
        for slot in self._slots:
            if len(pending) <= starting:
                break
            if slot.state is SlotState.READY and slot.running is not None and slot.queued is None:
                slot.queued = self._send(slot, effects)

    def _spawn(self, slot: Slot, now: float) -> Spawn:
        slot.state, slot.since = SlotState.STARTING, now
        return Spawn(slot.index)

    def _send(self, slot: Slot, effects: list[Effect]) -> RunRecord:
        run = self._ledger.pending.popleft()
        if run.step_id not in slot.prepared:
            slot.prepared.add(run.step_id)
            effects.append(SendPrepare(slot.index, run.step_id))
        effects.append(SendRun(slot.index, run.serial, run.batch_id, run.step_id, run.positions))
        return run

    def _next(self, slot: Slot, effects: list[Effect]) -> None:
        slot.running, slot.queued = slot.queued, None
        if slot.running is not None:
            self._ledger.began(slot.running, effects)

    def _recall_all(self, batch_id: int, positions: Collection[int] | None, effects: list[Effect]) -> None:
        """Ask for the runs of a batch that hold any of these positions."""
        for slot in self._slots:
            for run in slot.held():
                if run.batch_id == batch_id and (positions is None or any(p in positions for p in run.rest())):
                    self._recall(slot, run, effects)

    def _recall(self, slot: Slot, run: RunRecord, effects: list[Effect]) -> None:
        if slot.state is SlotState.READY and run.recalling is Recalling.NO:
            run.recalling = Recalling.ASKED
            effects.append(SendRecall(slot.index, run.serial))

    def _steal(self, effects: list[Effect]) -> None:
        for slot in self._slots:
            if slot.queued is not None and slot.queued.recalling is Recalling.NO:
                self._recall(slot, slot.queued, effects)
                return

    def _kill(self, slot: Slot, now: float, effects: list[Effect], *, blameless: bool = False) -> None:
        if slot.state is SlotState.READY:
            slot.state, slot.since = SlotState.ENDING, now
            slot.blameless = blameless
            effects.append(Kill(slot.index))

    def _is_spared(self, slot: Slot) -> bool:
        """Whether it has not come to its run, which is cancelled."""
        run = slot.running
        return slot.state is SlotState.READY and run is not None and run.step_id not in self._ledger.steps

    def _forget(self, step_id: int) -> list[Effect]:
        effects: list[Effect] = []
        for slot in self._slots:
            if step_id in slot.prepared and slot.state is SlotState.READY:
                slot.prepared.discard(step_id)
                effects.append(SendRelease(slot.index, step_id))
        return effects
