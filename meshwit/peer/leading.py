"""The jobs that this peer leads: performs what their leaders want done, and brings them what workers report. Shell.

All that a leader wants done is done in `_perform`.
"""

from __future__ import annotations

import array
import asyncio
import itertools
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, assert_never

from meshwit import events
from meshwit.codec import Buffer, Codec, CodecError
from meshwit.events import Lane
from meshwit.ids import PeerId
from meshwit.lang import program as ir
from meshwit.lang.arrows import pack
from meshwit.lang.evaluate import fail_with
from meshwit.outcome import JobError, JobState, Outcome
from meshwit.peer.guessing import AskedGuesses, fingerprints
from meshwit.peer.job.effects import (
    AskForItems,
    Assign,
    Deliver,
    DropItems,
    Effect,
    Emit,
    EndStep,
    JobEnded,
    PrepareStep,
    RunInline,
    StepOver,
)
from meshwit.peer.job.journal import Known
from meshwit.peer.job.leader import JobLeader
from meshwit.peer.job.steps import StepSettings, TaskFault
from meshwit.peer.job.stream import StreamLeader
from meshwit.peer.job.workers import Owner, Worker
from meshwit.peer.rates import controller_versions
from meshwit.peer.running_job import OnEvent, OnOutcomes, RunningJob
from meshwit.peer.work.lengths import Lengths
from meshwit.peer.work.messages import (
    AskBack,
    Assigned,
    Beat,
    Begun,
    BlobRef,
    Close,
    Died,
    Done,
    GivenBack,
    Granted,
    JobMessage,
    Open,
    Refused,
    ToLeader,
    Unwanted,
    span,
)
from meshwit.peer.work.speeds import Speeds
from meshwit.plugins.registry import Registry

Fetch = Callable[[Sequence[BlobRef], Sequence[PeerId]], Awaitable[str]]
"""Brings blobs here from those who have them; why that failed, empty if it did not."""
LANES_INTERVAL_S: Final = 0.1
SELF_EXPLAINING: Final = {
    "", "ValueError", "OSError", "PermissionError", "FileNotFoundError", "meshwit.lang.control.Failed",
}  # fmt: skip
"""Exceptions whose message is a sentence for people; others are told with their name."""
HOLDERS_MAX: Final = 4
ENDED_MAX: Final = 32
"""Jobs remembered after their end."""


class Say(Protocol):
    """Sends a message to a worker."""

    def __call__(self, peer: PeerId, message: JobMessage, buffers: Sequence[Buffer] = ()) -> None: ...


class Leading:
    """See the module.

    Args:
        me: this peer.
        name: what it is called.
        codec: knows all types of the registry.
        say: sends a message to a worker.
        fetch: brings blobs here.
        lanes: what the worker processes of this device do.

    Attributes:
        workers: the peers that may work, this one included; changed by `worker_changed` and `worker_left`.
        speeds: what is believed of their speeds; `lengths`, what of items' lengths.
        jobs: that run.
        ended: jobs that have ended lately.
        owners: the controller of each activity here.
    """

    def __init__(
        self,
        me: PeerId,
        name: str,
        registry: Registry,
        codec: Codec,
        say: Say,
        fetch: Fetch,
        lanes: Callable[[], Sequence[Lane]],
    ) -> None:
        self.me = me
        self.name = name
        self.workers: dict[PeerId, Worker] = {}
        self.speeds = Speeds()
        self.lengths = Lengths()
        self.jobs: list[RunningJob] = []
        self.ended: deque[RunningJob] = deque(maxlen=ENDED_MAX)
        self._registry = registry
        self._codec = codec
        self._say = say
        self._fetch = fetch
        self._lanes = lanes
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._steps: dict[int, RunningJob] = {}
        self._opened: dict[int, set[PeerId]] = {}
        self._holders: dict[str, PeerId] = {}
        self._unsendable: dict[int, str] = {}
        self._lanes_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        versions = controller_versions(registry)
        self.owners = {
            name: Owner(reference, versions.get(reference, "")) for name, reference in registry.owners.items()
        }

    def close(self) -> None:
        """End all jobs."""
        for job in list(self.jobs):
            self.cancel(job)
        if self._lanes_timer is not None:
            self._lanes_timer.cancel()
        for task in self._tasks:
            task.cancel()

    # --- jobs --------------------------------------------------------------------------------------------------

    def start(
        self,
        program: ir.Program,
        job: str,
        arguments: Sequence[Any],
        on_event: OnEvent | None,
        *,
        roots: tuple[Path, ...] = (),
        defaults: StepSettings,
    ) -> RunningJob:
        """Lead a job. Raises nothing that is the script's fault: that is in the outcome."""
        leader = JobLeader(
            program, job, arguments, workers=self.workers.values(), numbers=self._numbers, defaults=defaults,
            peer=self.name, guesses=AskedGuesses(self._registry, self._codec, self.lengths), owners=self.owners,
        )  # fmt: skip
        running = RunningJob(secrets.token_hex(4), leader, on_event, roots)
        running.name = job
        self.jobs.append(running)
        self._perform(running, leader.start(self._loop.time()))
        return running

    def open_stream(
        self,
        task: ir.Expression,
        on_outcomes: OnOutcomes,
        *,
        settings: StepSettings,
        roots: tuple[Path, ...] = (),
        any_function: bool = False,
    ) -> RunningJob:
        """Lead a stream of items that come by `append`; with `any_function`, this device runs it in any case."""
        leader = StreamLeader(
            task, self._registry.offer, settings, workers=self.workers.values(), numbers=self._numbers,
            peer=self.name, owners=self.owners, unconditional=any_function,
        )  # fmt: skip
        running = RunningJob(secrets.token_hex(4), leader, None, roots)
        running.name = leader.program.filename
        running.on_outcomes, running.any_function = on_outcomes, any_function
        self.jobs.append(running)
        self._perform(running, leader.start(self._loop.time()))
        return running

    def append(self, job: RunningJob, items: Sequence[Any], *, last: bool = False) -> None:
        """More items of a stream; `last`: no more will come."""
        assert isinstance(job.leader, StreamLeader)
        now = self._loop.time()
        self._perform(job, job.leader.append(items, now) + (job.leader.close(now) if last else []))

    def pause(self, job: RunningJob) -> None:
        """Start no new task of the job; what waits at peers is taken back, what runs ends."""
        self._perform(job, job.leader.pause(self._loop.time()))

    def resume(self, job: RunningJob) -> None:
        """Start tasks of the job again."""
        self._perform(job, job.leader.resume(self._loop.time()))

    def cancel(self, job: RunningJob) -> None:
        """End the job; its tasks are killed, wherever they run."""
        self._perform(job, job.leader.cancel(self._loop.time()))

    def outcome(self, job: RunningJob) -> Outcome:
        """What the job came to."""
        leader = job.leader
        error = None
        if leader.failure is not None:
            failure, program = leader.failure, leader.program
            line = program.line_of(failure.span) if failure.span != (0, 0) else 0
            error = JobError(failure.message, line, failure, program.filename)
        return Outcome(leader.state, leader.variables(), leader.returned, leader.trace, error, leader.partial())

    def explain(self, job: RunningJob, item: int | None) -> list[str]:
        """Why a job, or one item of its latest Grid steps, ran where it did: sentences for people."""
        lines: list[str] = []
        names = job.leader.names
        for shown, step in job.leader.explanations.items():
            lines.append(f"step {shown}, {step.activity}: {step.done} of {step.total} items done")
            if item is not None:
                told = step.scheduler.explain(item) if item < step.total else [f"it has no item {item}"]
                lines += [f"  {_named(line, names)}" for line in told]
                continue
            for peer, count in sorted(step.done_by.items(), key=lambda each: -each[1]):
                lines.append(f"  {names.get(peer, peer)}: {count} items")
            lines += [f"  without {name}: {why}" for name, why in step.left_out.items()]
        return lines or ["it has taken no Grid step"]

    # --- workers -----------------------------------------------------------------------------------------------

    def worker_changed(self, worker: Worker) -> None:
        """A peer offers to work, or other than before."""
        self.workers[worker.id] = worker
        for job in list(self.jobs):
            self._perform(job, job.leader.worker_joined(worker, self._loop.time()))

    def worker_left(self, peer: PeerId) -> None:
        """A peer works no more."""
        if self.workers.pop(peer, None) is not None:
            for job in list(self.jobs):
                self._perform(job, job.leader.worker_left(peer, self._loop.time()))

    def heard(self, peer: PeerId) -> None:
        """A sign of life."""
        for job in list(self.jobs):
            self._perform(job, job.leader.heard(peer, self._loop.time()))

    # --- what workers report -----------------------------------------------------------------------------------

    def reported(self, peer: PeerId, message: ToLeader, buffers: Sequence[Buffer]) -> None:
        """A worker said something."""
        now = self._loop.time()
        if isinstance(message, Beat):
            self.heard(peer)
            return
        job = self._steps.get(message.step)
        if job is None or peer not in self._opened[message.step]:
            return  # results of whoever was asked for none are worth nothing
        leader = job.leader
        match message:
            case Done():
                if message.blobs and peer != self.me:
                    self._spawn(self._done_with_blobs(peer, message, buffers))
                else:
                    self._done(peer, message, buffers)
            case Begun(step=step, batches=batches):
                self._perform(job, leader.begun(step, peer, batches, now))
            case Granted(step=step, slots=slots):
                self._perform(job, leader.granted(step, peer, max(0, slots), now))
            case GivenBack(step=step, items=items):
                if items.sane:
                    self._perform(job, leader.given_back(step, peer, items.numbers, now))
            case Refused(step=step, why=why):
                self._perform(job, leader.refused(step, peer, why[:400], now))
            case Died(worker=worker, cause=cause):
                self._perform(job, leader.worker_died(peer, worker, cause[:400], now))
            case _:
                assert_never(message)

    async def _done_with_blobs(self, peer: PeerId, done: Done, buffers: Sequence[Buffer]) -> None:
        """Results count when their blobs are here as well: so the peer that made them may leave."""
        why = await self._fetch(done.blobs, [peer])
        if why and peer not in self.workers:
            return  # it is gone, and its items run elsewhere
        if why:
            failures = {number: TaskFault("unencodable", why) for number in done.items.numbers}
            self._done(peer, done, buffers, failures)
            return
        for name, _ in done.blobs:
            self._holders[name] = peer
        self._done(peer, done, buffers)

    def _done(
        self, peer: PeerId, done: Done, buffers: Sequence[Buffer], faults: Mapping[int, TaskFault] | None = None
    ) -> None:
        job = self._steps.get(done.step)
        if job is None or not done.items.sane:
            return
        numbers = done.items.numbers
        seconds = array.array("f")
        found = dict(faults or {}) or {number: _fault(done, number) for number in done.failures}
        try:
            seconds.frombytes(done.seconds)
            values = self._codec.decode(done.header, buffers) if done.header else [None] * len(numbers)
            if len(values) != len(numbers) or len(seconds) != len(numbers):
                raise CodecError(f"{len(values)} values of {len(numbers)} items")
        except (CodecError, ValueError, TypeError) as reason:
            values = [None] * len(numbers)
            seconds = array.array("f", bytes(4 * len(numbers)))
            found = dict.fromkeys(numbers, TaskFault("unencodable", str(reason), worker=done.worker))
        effects = job.leader.results(
            done.step, peer, numbers, values, seconds, found, done.outputs, done.worker, self._loop.time()
        )
        self._perform(job, effects)

    # --- performing --------------------------------------------------------------------------------------------

    def _perform(self, job: RunningJob, effects: list[Effect]) -> None:
        """The one funnel: everything a leader wants done is done here."""
        pending = deque(effects)
        while pending:
            effect = pending.popleft()
            match effect:
                case Emit(event=event):
                    job.tell(event)
                case PrepareStep():
                    self._prepare(job, effect)
                case Assign():
                    self._assign(effect)
                case AskForItems(peer=peer, step=step, numbers=numbers):
                    self._say(peer, AskBack(step, span(numbers)))
                case DropItems(peer=peer, step=step, numbers=numbers):
                    self._say(peer, Unwanted(step, span(numbers)))
                case EndStep(peer=peer, step=step, cancel=cancel):
                    self._say(peer, Close(step, cancel))
                case StepOver(step=step, activity=activity, rates=rates, items=items, lengths=lengths):
                    self._steps.pop(step, None)
                    self._opened.pop(step, None)
                    self._unsendable.pop(step, None)
                    self.speeds.learn(activity, rates)
                    if lengths and (prints := fingerprints(self._codec, items)) is not None:
                        self.lengths.learn(activity, prints, lengths)
                case RunInline():
                    known = self._call_inline(effect)
                    pending += job.leader.inline_answered(effect.path, known, self._loop.time())
                case Deliver(outcomes=outcomes):
                    job.on_outcomes(outcomes)
                case JobEnded():
                    self.jobs.remove(job)
                    self.ended.append(job)
                    job.ended_at = time.time()
                    if job.timer is not None:
                        job.timer.cancel()
                    job.ended.set()
                case _:
                    assert_never(effect)
        self._arm(job)

    def _prepare(self, job: RunningJob, effect: PrepareStep) -> None:
        self._steps[effect.step] = job
        self._opened.setdefault(effect.step, set()).add(effect.peer)
        settings = effect.settings
        try:
            told = {"task": pack(effect.task), "captured": effect.captured}
            header, buffers, blobs = self._codec.encode_with_blobs(told)
        except (CodecError, OSError) as reason:
            self._unsendable[effect.step] = str(reason)
            return
        opened = Open(
            effect.step, job.id, header, settings.priority, settings.one_at_a_time, sorted(settings.exclusive),
            settings.once, settings.timeout_s, settings.memory_max_bytes, list(blobs), self._holding(blobs),
            [str(root) for root in job.roots] if effect.peer == self.me else [],
            job.any_function and effect.peer == self.me,
        )  # fmt: skip
        self._say(effect.peer, opened, buffers)

    def _assign(self, effect: Assign) -> None:
        unsendable = self._unsendable.get(effect.step)
        if unsendable is not None:
            self._loop.call_soon(self._unsent, effect, dict.fromkeys(effect.numbers, unsendable))
            return
        try:
            header, buffers, blobs = self._codec.encode_with_blobs(effect.items)
        except (CodecError, OSError):
            self._loop.call_soon(self._unsent, effect, self._uncrossable(effect))
            return
        message = Assigned(effect.step, effect.batch, span(effect.numbers), header, list(blobs), self._holding(blobs))
        self._say(effect.peer, message, buffers)

    def _uncrossable(self, effect: Assign) -> dict[int, str]:
        found = {}
        for number, item in zip(effect.numbers, effect.items, strict=True):
            try:
                self._codec.encode(item)
            except (CodecError, OSError) as reason:
                found[number] = str(reason)
        return found

    def _unsent(self, effect: Assign, reasons: dict[int, str]) -> None:
        """Items that cannot cross have failed; those that were to go with them wait again."""
        job = self._steps.get(effect.step)
        if job is None:
            return
        now = self._loop.time()
        rest = [number for number in effect.numbers if number not in reasons]
        if rest:
            self._perform(job, job.leader.given_back(effect.step, effect.peer, rest, now))
        faults = {number: TaskFault("unencodable", why) for number, why in reasons.items()}
        numbers, none = list(faults), [None] * len(faults)
        effects = job.leader.results(effect.step, effect.peer, numbers, none, [0.0] * len(faults), faults, {}, -1, now)
        self._perform(job, effects)

    def _holding(self, blobs: Sequence[BlobRef]) -> list[str]:
        holders = dict.fromkeys(self._holders[name] for name, _ in blobs if name in self._holders)
        return [str(each) for each in holders][:HOLDERS_MAX]

    def _call_inline(self, effect: RunInline) -> Known:
        function = self._registry.offer.implementation(effect.call.activity.name, effect.call.form)
        assert function is not None
        try:
            return Known(function(*effect.arguments))
        except (Exception, SystemExit) as reason:
            return Known(failure=fail_with(reason, effect.call.span, effect.call.activity.name).failure)

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- time --------------------------------------------------------------------------------------------------

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

    def _turn(self, job: RunningJob) -> None:
        job.turn_due = False
        self._perform(job, job.leader.turn(self._loop.time()))

    def _tell_lanes(self) -> None:
        self._lanes_timer = None
        watched = [job for job in self.jobs if job.on_event is not None]
        if not watched:
            return
        lanes = tuple(self._lanes())
        for job in watched:
            job.tell(events.LanesChanged(at=job.leader.elapsed(self._loop.time()), lanes=lanes))
        self._lanes_timer = self._loop.call_later(LANES_INTERVAL_S, self._tell_lanes)


def _named(text: str, names: Mapping[PeerId, str]) -> str:
    for peer, name in names.items():
        text = text.replace(peer, name)
    return text


def _fault(done: Done, number: int) -> TaskFault:
    failure = done.failures[number]
    plain = failure.type in SELF_EXPLAINING
    message = failure.message if plain else f"{failure.type}: {failure.message}"
    return TaskFault(failure.kind, message, failure.traceback, done.outputs.get(number, "")[-2000:], done.worker)
