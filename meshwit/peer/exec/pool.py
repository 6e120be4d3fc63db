"""A pool of worker processes on an asyncio loop: performs what `PoolCore` decides, and moves the values.

All calls are made, and all callbacks come, on the loop that entered the pool; nothing blocks and no thread is involved.
A job layer keeps it fed: while ``wants_more()``, ``submit`` a batch; ``on_results`` brings the outcomes part by part.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, assert_never

import msgspec

from meshwit.bench.cores import usable_cores
from meshwit.bench.memory import usable_memory_bytes
from meshwit.codec import Buffer, Codec, CodecError
from meshwit.events import Lane
from meshwit.peer.exec import pool_effects as do
from meshwit.peer.exec.batches import Batch, BatchResults, OnResults, OnStarted, OpenBatch
from meshwit.peer.exec.crew import Crew
from meshwit.peer.exec.directories import make_directory, memory_root
from meshwit.peer.exec.exit_causes import exit_cause
from meshwit.peer.exec.frames import FrameError
from meshwit.peer.exec.lanes import lane
from meshwit.peer.exec.messages import (
    Flush,
    Freed,
    Ready,
    Recall,
    Recalled,
    Release,
    Results,
    Stop,
    TaskFailure,
    read_from_worker,
)
from meshwit.peer.exec.outbox import Outbox
from meshwit.peer.exec.pool_core import PoolCore
from meshwit.peer.exec.pool_deaths import KILLS_MAX, Death
from meshwit.peer.exec.progress import Progress
from meshwit.peer.exec.segments import SegmentError, Segments, segments_max
from meshwit.peer.exec.shielded import shielded
from meshwit.peer.exec.worker_process import GRACE_S, WorkerProcess

MEMORY_SHARE_MAX: Final = 0.9
"""Of the usable memory, for a task without a limit of its own: it should fail before the system kills at random."""
SEGMENT_SHARE: Final = 0.25
"""Of the usable memory, for segments of the pool, and again of its workers; beyond, buffers go through the pipes."""


class WorkerPool:
    """See the module. ``async with`` it: leaving ends every worker process and all that they started."""

    def __init__(
        self,
        size: int | None = None,
        *,
        loader: str = "meshwit.peer.exec.tasks:load",
        codec: Codec | None = None,
        codec_factory: str = "",
        codec_setup: dict[str, Any] | None = None,
        directory: Path | None = None,
        idle_s: float = 60.0,
        memory_max_bytes: int | None = None,
        segments_bytes_max: int | None = None,
        pipe_threads: bool | None = None,
    ) -> None:
        """Make a pool; starts nothing.

        Args:
            size: worker processes at most; by default one per usable core.
            loader: ``module:function``, called in a worker with each step's program; returns what is called per item.
            codec: for the values on this side.
            codec_factory: ``module:function`` that returns the same codec in a worker; empty for native types.
            codec_setup: plain values, the argument of that function.
            directory: where shared files go; by default memory (``/dev/shm``), else the temporary directory.
            idle_s: a worker without work ends after that time.
            memory_max_bytes: limit of a task without its own; by default nine tenths of what is usable.
            segments_bytes_max: memory for large buffers on their way, each direction.
            pipe_threads: serve pipes by threads, as where the loop cannot.
        """
        self.size: Final = usable_cores() if size is None else size
        self._core = PoolCore(self.size, idle_s=idle_s)
        self._codec = codec or Codec()
        usable = usable_memory_bytes()
        self._memory_max_bytes = memory_max_bytes or int(usable * MEMORY_SHARE_MAX)
        self._segments_bytes_max = segments_bytes_max or int(usable * SEGMENT_SHARE)
        self._root = directory or memory_root()
        self._config: dict[str, Any] = {"loader": loader, "codec": codec_factory, "codec_setup": codec_setup}
        self._crew = Crew(self.size, self._frame, self._exited, pipe_threads=pipe_threads)
        self._worked: list[tuple[int, float]] = [(0, 0.0)] * self.size
        self._open: dict[int, OpenBatch] = {}
        self._settling: dict[int, asyncio.Future[None]] = {}
        self._effects: deque[do.Effect] = deque()
        self._performing = False
        self._poll_timer: asyncio.TimerHandle | None = None
        self._tick_timer: asyncio.TimerHandle | None = None
        self._closing = False
        self.on_death: Callable[[int, str, int], None] | None = None
        """Called with slot, cause in words and step when a worker died that had something to do."""

    async def __aenter__(self) -> WorkerPool:
        """Make the shared directory. Raises OSError."""
        self._loop = asyncio.get_running_loop()
        self._directory = make_directory(self._root)
        # Also where the program ends without leaving the pool.
        self._remove_directory = weakref.finalize(self, shutil.rmtree, self._directory, ignore_errors=True)
        count_max = segments_max()
        self._segments = Segments(self._directory, "pool", self._segments_bytes_max, count_max)
        self._outbox = Outbox(self._crew.workers, self._segments)
        config = self._config | {
            "path": [path or os.getcwd() for path in sys.path],
            "python_path": os.environ.get("PYTHONPATH"),
            "segments": str(self._directory),
            "segments_bytes_max": self._segments_bytes_max // self.size,
            "segments_count_max": max(4, count_max // self.size),
        }
        self._crew.open(self._directory, config)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all workers; open batches are dropped."""
        self._closing = True
        for timer in (self._poll_timer, self._tick_timer):
            if timer is not None:
                timer.cancel()
        for slot, worker in enumerate(self._crew.workers):
            if worker is not None:
                busy = not self._core.is_idle(slot)
                if not busy:
                    self._outbox.send(slot, Stop())
                worker.kill_later(0.0 if busy else GRACE_S)
        await shielded(self._all_ended())

    async def _all_ended(self) -> None:
        await self._crew.all_ended()
        for batch_id in list(self._settling):
            self._settle(batch_id)
        self._segments.close()
        self._remove_directory()

    # What the job layer calls

    def prepare(
        self,
        step_id: int,
        program: object,
        *,
        timeout_s: float | None = None,
        memory_max_bytes: int | None = None,
        once: bool = False,
    ) -> None:
        """Make a step known.

        Args:
            step_id: unlike that of any step not released.
            program: what the loader gets; large buffers in it are shared by all workers. Must stay as it is.
            timeout_s: limit of wall time per task.
            memory_max_bytes: limit per task, of its worker's processes together.
            once: a task whose worker died may have run and is not tried again.

        Raises:
            CodecError: the program cannot cross.
        """
        header, buffers = self._codec.encode(program)
        self.prepare_encoded(
            step_id, header, buffers, timeout_s=timeout_s, memory_max_bytes=memory_max_bytes, once=once
        )

    def prepare_encoded(
        self,
        step_id: int,
        header: bytes,
        buffers: Sequence[Buffer],
        *,
        timeout_s: float | None = None,
        memory_max_bytes: int | None = None,
        once: bool = False,
    ) -> None:
        """As `prepare`, with a program that the same codec has encoded, here or elsewhere."""
        kills_max = 1 if once else KILLS_MAX
        self._core.prepare(step_id, timeout_s, memory_max_bytes or self._memory_max_bytes, kills_max)
        self._outbox.keep(step_id, header, buffers)

    def release(self, step_id: int) -> None:
        """Forget a step whose batches have all finished. Raises ValueError if one has not."""
        effects = self._core.release(step_id)
        self._perform(effects)
        self._outbox.forget(step_id)

    def submit(self, batch: Batch, on_results: OnResults, on_started: OnStarted | None = None) -> None:
        """Run a batch. ``on_results`` is called on the loop, in order of arrival, until it is finished.

        An item that cannot cross fails; the others run. ``on_started`` is called once with the batch's id when a worker
        process begins with it, before the first result, maybe before this returns; never, if none begins.

        Raises:
            PoolFullError: more batches than ``wants_more`` asked for and the queue holds.
            ValueError: the step is not prepared, or a batch of that id is open.
        """
        if batch.batch_id in self._open:
            raise ValueError(f"batch {batch.batch_id} is open already")
        record = OpenBatch(batch, on_results, on_started, self._codec)
        effects: list[do.Effect] = []
        if record.positions:
            effects = self._core.submit(batch.step_id, batch.batch_id, record.positions, self._loop.time())
            self._open[batch.batch_id] = record
        if record.uncrossable or not record.positions:
            failures = record.uncrossable
            self._report(record, record.fail(list(failures), failures.values(), -1, not record.positions))
        self._perform(effects)

    def wants_more(self) -> int:
        """How many more batches would run or be prefetched at once."""
        return self._core.wants_more()

    @property
    def free_slots(self) -> int:
        """How many slots have nothing to do."""
        return self._core.free_slots()

    @property
    def running_count(self) -> int:
        """How many slots run something."""
        return self._core.running_count()

    def lanes(self, activity_of: Callable[[int], str]) -> list[Lane]:
        """Return what each worker process does; ``activity_of`` names what a step applies."""
        lanes = []
        for slot, worker in enumerate(self._crew.workers):
            run = None if worker is None else self._core.running(slot)
            record = None if run is None else self._open.get(run.batch_id)
            at = None if worker is None else worker.progress()
            activity = "" if run is None else activity_of(run.step_id)
            lanes.append(lane(slot, self._worked[slot], run, at, activity, () if record is None else record.numbers))
        return lanes

    def warm(self) -> None:
        """Start all workers now."""
        self._perform(self._core.warm(self._loop.time()))

    async def take_back(self, batch_id: int, numbers: Iterable[int] | None = None) -> list[int]:
        """Return the numbers of the items that had not started, and now never will here.

        With ``numbers`` only of those; what workers give back with them is queued in front, and runs here. Takes about
        a millisecond, also while tasks run. Tasks that have killed a worker stay.
        """
        record = self._open.get(batch_id)
        if record is None:
            return []
        if batch_id in self._settling:
            raise RuntimeError(f"batch {batch_id} is being taken back already")
        settled = self._settling[batch_id] = self._loop.create_future()
        self._perform(self._core.take_back(batch_id, None if numbers is None else record.positions_of(numbers)))
        try:
            await settled
        finally:
            self._settling.pop(batch_id, None)
        back, record.back = record.back, []
        return back

    def drop(self, batch_id: int, numbers: Iterable[int]) -> None:
        """Let items of a batch go that nobody wants any more; the others go on.

        Those not started never run, and nothing is reported for them. One that runs is killed with its worker process,
        without a report, as soon as it has run for more than `KILL_AFTER_S`; one that ends before is reported as ever.
        When nothing is left, ``on_results`` gets an empty part that is finished, maybe before this returns.
        """
        record = self._open.get(batch_id)
        if record is not None:
            self._perform(self._core.drop(batch_id, record.positions_of(numbers)))

    def cancel(self, step_id: int) -> None:
        """Drop a step and its batches: nothing more is delivered, tasks that run are killed with all they started."""
        unbegun = [slot for slot in range(self.size) if not self._has_begun(slot)]
        for batch_id in [key for key, record in self._open.items() if record.batch.step_id == step_id]:
            del self._open[batch_id]
            self._settle(batch_id)
        self._perform(self._core.cancel(step_id, self._loop.time(), unbegun))
        self._outbox.forget(step_id)

    def _has_begun(self, slot: int) -> bool:
        run, worker = self._core.running(slot), self._crew.workers[slot]
        return run is not None and worker is not None and worker.progress().serial == run.serial

    # What workers say

    def _frame(self, slot: int, worker: WorkerProcess, message: bytes, inline: memoryview) -> None:
        try:
            said = read_from_worker(message)
            buffers = self._outbox.arrived(said.values, inline, worker.name) if isinstance(said, Results) else []
        except (msgspec.MsgspecError, FrameError, SegmentError):
            worker.kill(0.0)  # nothing that it says can be relied on
            return
        now = self._loop.time()
        match said:
            case Results():
                effects = self._core.results(slot, said.serial, said.first, said.count, said.finished, now)
                self._perform(effects, (said, buffers))
            case Recalled():
                self._perform(self._core.recalled(slot, said.serial, said.first, now))
            case Ready():
                self._perform(self._core.ready(slot, now))
            case Freed():
                self._segments.freed(said.names, worker.name)
            case _:
                assert_never(said)

    def _exited(self, slot: int, worker: WorkerProcess, at: Progress) -> None:
        self._segments.gone(worker.name)
        if self._closing:
            return
        cause, run = exit_cause(worker.returncode), self._core.running(slot)
        if run is not None and self.on_death is not None:
            self.on_death(slot, cause, run.step_id)
        death = Death(cause, worker.printed(), at.serial, at.position, at.loading_step)
        effects = self._core.exited(slot, death, self._loop.time())
        self._perform(effects)

    # Performing

    def _perform(self, effects: list[do.Effect], arrived: tuple[Results, list[Buffer]] | None = None) -> None:
        """Perform effects in order. A callback that submits adds to the end, so that order holds."""
        self._effects.extend(effects)
        if self._performing:
            return
        self._performing = True
        try:
            while self._effects:
                self._perform_one(self._effects.popleft(), arrived)
        finally:
            self._performing = False
            self._outbox.flush()
        self._arm()

    def _perform_one(self, effect: do.Effect, arrived: tuple[Results, list[Buffer]] | None) -> None:
        match effect:
            case do.SendRun():
                self._send_run(effect)
            case do.Deliver(batch_id, positions, slot, finished):
                record = self._open.get(batch_id)
                if record is not None and arrived is not None:
                    results = record.arrived(positions, slot, finished, *arrived)
                    done, busy_s = self._worked[slot]
                    self._worked[slot] = (done + len(results.seconds), busy_s + sum(results.seconds))
                    self._report(record, results)
            case do.Fail(batch_id, positions, failure, slot, finished):
                record = self._open.get(batch_id)
                if record is not None:
                    failures = itertools.repeat(failure, len(positions))
                    self._report(record, record.fail(positions, failures, slot, finished))
            case do.Started(batch_id):
                record = self._open.get(batch_id)
                if record is not None and record.on_started is not None:
                    self._call(record.on_started, batch_id)
            case do.Finished(batch_id):
                record = self._open.get(batch_id)
                if record is not None:
                    self._report(record, record.nothing_left())
            case do.TakenBack(batch_id, positions, settled, finished):
                record = self._open.get(batch_id)
                if record is not None:
                    record.back += [record.numbers[position] for position in positions]
                    if finished:
                        del self._open[batch_id]
                if settled:
                    self._settle(batch_id)
            case do.SendPrepare(slot, step_id):
                self._send_prepare(slot, step_id)
            case do.SendRecall(slot, serial):
                self._outbox.send(slot, Recall(serial))
            case do.SendFlush(slot):
                self._outbox.send(slot, Flush())
            case do.SendRelease(slot, step_id):
                self._outbox.send(slot, Release(step_id))
            case do.Spawn(slot):
                self._spawn(slot)
            case do.Kill(slot):
                worker = self._crew.workers[slot]
                if worker is not None:
                    worker.kill()
            case do.StopWorker(slot):
                self._outbox.send(slot, Stop())
            case _:
                assert_never(effect)

    def _report(self, record: OpenBatch, results: BatchResults) -> None:
        if results.finished:
            self._open.pop(results.batch_id, None)
            self._settle(results.batch_id)
        self._call(record.on_results, results)

    def _call(self, callback: Callable[[Any], None], said: object) -> None:
        try:
            callback(said)
        except Exception as error:
            self._loop.call_exception_handler({"message": f"a pool's {callback!r} raised", "exception": error})

    def _settle(self, batch_id: int) -> None:
        settled = self._settling.get(batch_id)
        if settled is not None and not settled.done():
            settled.set_result(None)

    def _spawn(self, slot: int) -> None:
        try:
            self._crew.spawn(slot)
        except OSError as error:
            self._effects.extend(self._core.exited(slot, Death(str(error)), self._loop.time()))

    def _send_prepare(self, slot: int, step_id: int) -> None:
        try:
            self._outbox.send_program(slot, step_id)
        except FrameError as error:
            # The worker will answer its runs with "never prepared"; nobody can do better with such a program.
            self._loop.call_exception_handler({"message": "a step's program is too large", "exception": error})

    def _send_run(self, effect: do.SendRun) -> None:
        record = self._open.get(effect.batch_id)
        if record is None:
            return
        try:
            self._outbox.send_run(effect, *record.encoded(effect.positions))
        except (CodecError, FrameError) as error:
            failure = TaskFailure("unencodable", type(error).__qualname__, str(error))
            self._effects.extend(self._core.unsendable(effect.slot, effect.serial, failure, self._loop.time()))

    # Time

    def _arm(self) -> None:
        if self._closing:
            return
        if self._poll_timer is None:
            interval_s = self._core.poll_interval_s()
            if interval_s is not None:
                self._poll_timer = self._loop.call_later(interval_s, self._poll)
        due = self._core.next_deadline()
        if due is not None and (self._tick_timer is None or due < self._tick_timer.when()):
            if self._tick_timer is not None:
                self._tick_timer.cancel()
            self._tick_timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._tick_timer = None
        self._perform(self._core.tick(self._loop.time()))

    def _poll(self) -> None:
        self._poll_timer = None
        effects: list[do.Effect] = []
        for seen in self._crew.look():
            effects += self._core.observed(*seen, self._loop.time())
        self._perform(effects)
