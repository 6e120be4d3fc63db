"""The peer of this device as far as one machine goes: leads jobs, runs their tasks in its worker processes.

A shell: it performs the effects of job leaders, all in `_perform`, and brings them results, answers and the time.
Runs on an asyncio loop; nothing here blocks.
"""

from __future__ import annotations

import asyncio
import itertools
import platform
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, assert_never

import msgspec
import platformdirs

from meshwit import events
from meshwit.bench.capabilities import capabilities
from meshwit.codec import Codec, CodecError
from meshwit.lang import program as ir
from meshwit.lang.arrows import activities_in, pack
from meshwit.lang.evaluate import fail_with
from meshwit.outcome import JobError, JobState, Outcome
from meshwit.peer.blobs.store import BlobStore
from meshwit.peer.exec.batches import Batch, BatchResults
from meshwit.peer.exec.directories import prefix, sweep
from meshwit.peer.exec.pool import WorkerPool
from meshwit.peer.job.effects import Assign, Effect, Emit, EndStep, JobEnded, PrepareStep, RunInline
from meshwit.peer.job.journal import Known
from meshwit.peer.job.leader import JobLeader
from meshwit.peer.job.steps import StepSettings, TaskFault
from meshwit.plugins.registry import Registry

OnEvent = Callable[[events.JobEvent], None]
LANES_INTERVAL_S = 0.1
SELF_EXPLAINING = {"", "ValueError", "OSError", "PermissionError", "FileNotFoundError", "meshwit.lang.control.Failed"}
"""Exceptions whose message is a sentence for people; others are told with their name."""
BLOBS_BYTES_MAX = 20 * 10**9


class PeerSettings(msgspec.Struct, frozen=True):
    """What the owner of the device decides.

    Attributes:
        workers: worker processes; None for one per usable core.
        roots: folders that activities may read and write.
        blobs: folder of the blob store; None for the user's cache.
        task_time_limit_s: limit for one task where neither script nor activity sets one.
        task_memory_max_bytes: the same for memory; None for nine tenths of the device's.
        idle_s: worker processes end after so long without work.
        properties: the owner's own capabilities, for scripts to require: `site` -> `berlin`.
    """

    workers: int | None = None
    roots: tuple[Path, ...] = ()
    blobs: Path | None = None
    task_time_limit_s: float | None = None
    task_memory_max_bytes: int | None = None
    idle_s: float = 60.0
    properties: dict[str, str] = {}


class RunningJob:
    """A job that this peer leads."""

    def __init__(self, leader: JobLeader, on_event: OnEvent | None) -> None:
        self.leader = leader
        self.on_event = on_event
        self.ended = asyncio.Event()
        self.timer: asyncio.TimerHandle | None = None
        self.turn_due = False

    def tell(self, event: events.JobEvent) -> None:
        """Hand an event to the watcher. One that raises is told nothing more: its fault is not the job's."""
        if self.on_event is None:
            return
        try:
            self.on_event(event)
        except Exception as reason:
            self.on_event = None
            context = {"message": "a watcher of a job failed and is told nothing more", "exception": reason}
            asyncio.get_running_loop().call_exception_handler(context)


class LocalPeer:
    """See the module; `async with` it."""

    def __init__(self, registry: Registry, settings: PeerSettings) -> None:
        self.registry = registry
        self.settings = settings
        self.name = platform.node()
        folder = settings.blobs or Path(platformdirs.user_cache_dir("meshwit", appauthor=False)) / "blobs"
        self.blobs = BlobStore(folder)
        self.codec = Codec([*registry.wire_types(), self.blobs.wire_type()])
        sweep(Path(tempfile.gettempdir()))
        self._scratch = tempfile.TemporaryDirectory(prefix=prefix(), ignore_cleanup_errors=True)
        self._pool = WorkerPool(
            settings.workers,
            codec=self.codec,
            codec_factory="meshwit.peer.exec.tasks:make_codec",
            codec_setup=self._worker_setup(),
            idle_s=settings.idle_s,
        )
        self._jobs: list[RunningJob] = []
        self._numbers = itertools.count(1)
        self._steps: dict[int, RunningJob] = {}
        self._taking_back: dict[int, asyncio.Task[None]] = {}
        self._exclusive: dict[int, tuple[int, frozenset[str]]] = {}
        """Batch -> its step and the exclusive activities that it runs."""
        self._pool.on_death = self._worker_died
        self._unpreparable: dict[int, str] = {}
        """Steps whose captured values cannot cross, and why."""
        self._lanes_timer: asyncio.TimerHandle | None = None
        self.capabilities: dict[str, object] = {}
        """Of this device, from when the peer is entered."""

    def _worker_setup(self) -> dict[str, Any]:
        kinds = self.registry.offer.types.values()
        tags = {kind.wire.tag: self.registry.owners.get(f"type {kind.name}", "") for kind in kinds if kind.wire}
        return {
            "blobs": str(self.blobs.folder),
            "roots": [str(root) for root in self.settings.roots],
            "scratch": self._scratch.name,
            "tags": {tag: owner for tag, owner in tags.items() if owner},
        }

    async def __aenter__(self) -> LocalPeer:
        self._loop = asyncio.get_running_loop()
        # A driver may take its time to answer.
        self.capabilities = await self._loop.run_in_executor(None, capabilities, self.settings.properties)
        await self._pool.__aenter__()
        self._loop.run_in_executor(None, self.blobs.evict, BLOBS_BYTES_MAX)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for job in list(self._jobs):
            self.cancel(job)
        if self._lanes_timer is not None:
            self._lanes_timer.cancel()
        await self._pool.__aexit__(kind, error, trace)
        self._scratch.cleanup()

    @property
    def workers(self) -> int:
        """How many worker processes there may be."""
        return self._pool.size

    def warm(self) -> None:
        """Start the worker processes now."""
        self._pool.warm()

    # --- jobs --------------------------------------------------------------------------------------------------

    def start(self, program: ir.Program, job: str, arguments: Sequence[Any], on_event: OnEvent | None) -> RunningJob:
        """Lead a job. Raises nothing that is the script's fault: that is in the outcome."""
        defaults = StepSettings(
            timeout_s=self.settings.task_time_limit_s, memory_max_bytes=self.settings.task_memory_max_bytes
        )
        leader = JobLeader(
            program, job, arguments, slots=self._pool.size, numbers=self._numbers, defaults=defaults,
            peer=self.name, work_of=self._work_of, capabilities=self.capabilities,
        )  # fmt: skip
        running = RunningJob(leader, on_event)
        self._jobs.append(running)
        self._perform(running, leader.start(self._loop.time()))
        self._feed()
        return running

    def pause(self, job: RunningJob) -> None:
        """Start no new task of the job; what waits in worker processes is taken back."""
        self._perform(job, job.leader.pause(self._loop.time()))
        for batch in job.leader.batches():
            if batch not in self._taking_back:
                self._taking_back[batch] = self._loop.create_task(self._take_back(job, batch))

    async def _take_back(self, job: RunningJob, batch: int) -> None:
        try:
            job.leader.put_back(batch, await self._pool.take_back(batch))
            self._exclusive.pop(batch, None)
        finally:
            del self._taking_back[batch]
        self._feed()

    def resume(self, job: RunningJob) -> None:
        """Start tasks of the job again."""
        self._perform(job, job.leader.resume(self._loop.time()))
        self._feed()

    def cancel(self, job: RunningJob) -> None:
        """End the job; its tasks are killed."""
        self._perform(job, job.leader.cancel(self._loop.time()))
        self._feed()

    def outcome(self, job: RunningJob) -> Outcome:
        """What the job came to."""
        leader = job.leader
        error = None
        if leader.failure is not None:
            failure, program = leader.failure, leader.program
            line = program.line_of(failure.span) if failure.span != (0, 0) else 0
            error = JobError(failure.message, line, failure, program.filename)
        return Outcome(leader.state, leader.variables(), leader.returned, leader.trace, error, leader.partial())

    # --- performing --------------------------------------------------------------------------------------------

    def _perform(self, job: RunningJob, effects: list[Effect]) -> None:
        """The one funnel: everything a leader wants done is done here."""
        pending = list(effects)
        while pending:
            effect = pending.pop(0)
            match effect:
                case Emit(event=event):
                    job.tell(event)
                case PrepareStep():
                    self._prepare(job, effect)
                case Assign():
                    self._assign(job, effect)
                case EndStep(step=step, cancel=cancel):
                    self._end_step(step, cancel=cancel)
                case RunInline():
                    pending += job.leader.inline_answered(effect.path, self._call_inline(effect), self._loop.time())
                case JobEnded():
                    self._jobs.remove(job)
                    if job.timer is not None:
                        job.timer.cancel()
                    job.ended.set()
                case _:
                    assert_never(effect)
        self._arm(job)

    def _arm(self, job: RunningJob) -> None:
        if job.timer is not None:
            job.timer.cancel()
            job.timer = None
        if job.leader.state is not JobState.RUNNING:
            return
        deadline = job.leader.next_deadline()
        if deadline is not None:
            job.timer = self._loop.call_at(deadline, self._tick, job)
        if job.leader.wants_turn and not job.turn_due:
            job.turn_due = True
            self._loop.call_soon(self._turn, job)
        if job.on_event is not None and self._lanes_timer is None:
            self._lanes_timer = self._loop.call_later(LANES_INTERVAL_S, self._tell_lanes)

    def _tick(self, job: RunningJob) -> None:
        job.timer = None
        self._perform(job, job.leader.tick(self._loop.time()))
        self._feed()

    def _turn(self, job: RunningJob) -> None:
        job.turn_due = False
        self._perform(job, job.leader.turn(self._loop.time()))
        self._feed()

    def _feed(self) -> None:
        """Fill the pool, one batch of each job in turn."""
        room = self._pool.wants_more()
        given = True
        while room > 0 and given:
            given = False
            for job in list(self._jobs):
                if room > 0 and job.leader.has_work:
                    taken = frozenset[str]().union(*(names for _, names in self._exclusive.values()))
                    effects = job.leader.assign(1, self._loop.time(), taken)
                    given = given or bool(effects)
                    self._perform(job, effects)
                    room = self._pool.wants_more()

    # --- steps -------------------------------------------------------------------------------------------------

    def _prepare(self, job: RunningJob, effect: PrepareStep) -> None:
        self._steps[effect.step] = job
        settings = effect.settings
        program = {
            "controllers": self._controllers(effect.task),
            "task": pack(effect.task),
            "captured": effect.captured,
        }
        try:
            self._pool.prepare(
                effect.step,
                program,
                timeout_s=settings.timeout_s,
                memory_max_bytes=settings.memory_max_bytes,
                once=settings.once,
            )
        except (CodecError, OSError) as reason:
            self._unpreparable[effect.step] = str(reason)

    def _controllers(self, task: ir.Expression) -> list[str]:
        """The controllers that a task needs: of its activities, and of the types that these take and give."""
        owners = self.registry.owners
        found = {owners["type Int"]: None}
        for call in activities_in(task):
            found[owners[call.activity.name]] = None
            form = call.activity.forms[call.form]
            for name in (*(parameter.type for parameter in form.parameters), form.returns or "Object"):
                owner = owners.get(f"type {name}") or owners.get(f"type {name.removesuffix('Collection')}")
                if owner is not None:
                    found[owner] = None
        return list(found)

    def _assign(self, job: RunningJob, effect: Assign) -> None:
        unprepared = self._unpreparable.get(effect.step)
        if unprepared is not None:
            fault = TaskFault("unencodable", unprepared)
            faults = dict.fromkeys(effect.numbers, fault)
            self._loop.call_soon(self._arrived, job, effect, faults)
            return
        if effect.exclusive:
            self._exclusive[effect.batch] = (effect.step, effect.exclusive)
        batch = Batch(effect.step, effect.batch, effect.items, effect.numbers)
        self._pool.submit(batch, partial(self._results, job))

    def _arrived(self, job: RunningJob, effect: Assign, faults: dict[int, TaskFault]) -> None:
        values: list[Any] = [None] * len(effect.numbers)
        now = self._loop.time()
        self._perform(job, job.leader.results(effect.batch, effect.numbers, values, [], faults, {}, -1, now))
        self._feed()

    def _worker_died(self, worker: int, cause: str, step: int) -> None:
        job = self._steps.get(step)
        if job is not None:
            self._perform(job, job.leader.worker_died(worker, cause, self._loop.time()))

    def _results(self, job: RunningJob, results: BatchResults) -> None:
        if results.finished:
            self._exclusive.pop(results.batch_id, None)
        faults = {
            number: TaskFault(
                failure.kind,
                failure.message if failure.type in SELF_EXPLAINING else f"{failure.type}: {failure.message}",
                failure.traceback,
                results.outputs.get(number, "")[-2000:],
                results.worker,
            )
            for number, failure in results.failures.items()
        }
        try:
            values = results.values
        except CodecError as reason:
            values = [None] * len(results.numbers)
            faults = dict.fromkeys(results.numbers, TaskFault("unencodable", str(reason)))
        effects = job.leader.results(
            results.batch_id, results.numbers, values, results.seconds, faults, results.outputs, results.worker,
            self._loop.time(),
        )  # fmt: skip
        self._perform(job, effects)
        self._feed()

    def _end_step(self, step: int, *, cancel: bool) -> None:
        self._steps.pop(step, None)
        if self._unpreparable.pop(step, None) is not None:
            return
        if cancel:
            self._pool.cancel(step)
            self._exclusive = {batch: held for batch, held in self._exclusive.items() if held[0] != step}
        else:
            # The pool closes the last batch only after it has delivered it.
            self._loop.call_soon(self._pool.release, step)

    def _call_inline(self, effect: RunInline) -> Known:
        function = self.registry.offer.implementation(effect.call.activity.name, effect.call.form)
        assert function is not None
        try:
            return Known(function(*effect.arguments))
        except (Exception, SystemExit) as reason:
            return Known(failure=fail_with(reason, effect.call.span, effect.call.activity.name).failure)

    def _work_of(self, call: ir.Invoke, item: Any) -> float | None:
        work = self.registry.implementations[call.activity.name, call.form].work
        if work is None:
            return None
        try:
            return float(work(item))
        except Exception:
            return None  # an estimate that fails costs order, never a job

    # --- lanes -------------------------------------------------------------------------------------------------

    def _tell_lanes(self) -> None:
        self._lanes_timer = None
        watched = [job for job in self._jobs if job.on_event is not None]
        if not watched:
            return
        lanes = tuple(self._pool.lanes(self._activity_of))
        for job in watched:
            job.tell(events.LanesChanged(at=job.leader.elapsed(self._loop.time()), lanes=lanes))
        self._lanes_timer = self._loop.call_later(LANES_INTERVAL_S, self._tell_lanes)

    def _activity_of(self, step: int) -> str:
        job = self._steps.get(step)
        return job.leader.activity_of(step) if job is not None else ""
