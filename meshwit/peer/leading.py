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
from typing import Any, Final, assert_never

from meshwit import events
from meshwit.codec import Buffer, Codec, CodecError
from meshwit.events import Lane
from meshwit.ids import PeerId
from meshwit.lang import program as ir
from meshwit.lang.evaluate import fail_with
from meshwit.outcome import JobState, Outcome
from meshwit.peer.ended_jobs import EndedJobs
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
    Keep,
    KeepAnswer,
    KeepConcluded,
    KeepIntent,
    KeepResults,
    KeepSleep,
    PrepareStep,
    RunInline,
    StepOver,
)
from meshwit.peer.job.journal import Journal, Known
from meshwit.peer.job.leader import JobLeader
from meshwit.peer.job.software import Owner
from meshwit.peer.job.steps import StepSettings, TaskFault
from meshwit.peer.job.stream import StreamLeader
from meshwit.peer.job.workers import Worker
from meshwit.peer.makers import Makers
from meshwit.peer.openings import HOLDERS_MAX, Openings, Store
from meshwit.peer.running_job import OnEvent, OnOutcomes, RunningJob
from meshwit.peer.saying import Say
from meshwit.peer.succession.writing import Report
from meshwit.peer.telling import explained, fault_of, outcome_of
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
OnKeep = Callable[[RunningJob, Keep, Report | None], None]


class Leading:
    """See the module.

    Args:
        me: this peer.
        name: what it is called.
        codec: knows all types of the registry.
        say: sends a message to a worker.
        fetch: brings blobs here.
        lanes: what the worker processes of this device do.
        store: where large values are put, for peers to fetch; `stored` is told so.
        owners: the controller of each activity here.
        wall: seconds since 1970.

    Attributes:
        workers: the peers that may work, this one included; changed by `worker_changed` and `worker_left`.
        speeds: what is believed of their speeds; `lengths`, what of items' lengths.
        jobs: that run.
        ended: jobs that have ended lately.
        on_keep: gets what is to be recorded of a job that is kept, with the report that brought it.
        on_nothing_new: told of reports that brought nothing to be recorded.
        on_end: told of jobs that have their outcome; `on_pause`, of those that are paused or go on.
    """

    def __init__(
        self,
        me: PeerId,
        name: str,
        registry: Registry,
        codec: Codec,
        say: Say[JobMessage],
        fetch: Fetch,
        lanes: Callable[[], Sequence[Lane]],
        store: Store,
        stored: Callable[[], None],
        owners: Mapping[str, Owner],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.me = me
        self.name = name
        self.workers: dict[PeerId, Worker] = {}
        self.speeds = Speeds()
        self.lengths = Lengths()
        self.jobs: list[RunningJob] = []
        self.ended = EndedJobs()
        self.owners = owners
        self._registry = registry
        self._wall = wall
        self._codec = codec
        self._fetch = fetch
        self._lanes = lanes
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._steps: dict[int, RunningJob] = {}
        self._makers = Makers()
        self._openings = Openings(me, codec, store, say, self._makers.of_all, self.heard, stored, owners)
        self._lanes_timer: asyncio.TimerHandle | None = None
        self.on_keep: OnKeep = lambda _job, _effect, _report: None
        self.on_nothing_new: Callable[[RunningJob, Report], None] = lambda _job, _report: None
        self.on_end: Callable[[RunningJob], None] = lambda _job: None
        self.on_pause: Callable[[RunningJob, bool], None] = lambda _job, _paused: None
        self._report: Report | None = None
        self._recorded = False
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """End all jobs."""
        for job in list(self.jobs):
            self.cancel(job)
        self._openings.close()
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
        running = RunningJob(new_id(), self.leader_of(program, job, arguments, defaults), on_event, roots)
        running.name = job
        self.run(running)
        return running

    def leader_of(
        self,
        program: ir.Program,
        job: str,
        arguments: Sequence[Any],
        defaults: StepSettings,
        *,
        journal: Journal | None = None,
        kept: str = "",
        away: str = "",
    ) -> JobLeader:
        """The leader of a job that does not run yet; `kept` is its id, where the job is to outlive it, and `away` the
        device that it came from, if that is another."""
        return JobLeader(
            program, job, arguments, workers=self.workers.values(), numbers=self._numbers, defaults=defaults,
            peer=self.name, owners=self.owners,
            guesses=AskedGuesses(self._registry, self._codec, self.lengths, self._located),
            journal=journal, kept=bool(kept), id=kept, away=away,
        )  # fmt: skip

    def run(self, running: RunningJob, elapsed: float = 0.0) -> None:
        """Begin with a job, that has gone on for so many seconds under other leaders."""
        assert isinstance(running.leader, JobLeader)
        self.jobs.append(running)
        self.perform(running, running.leader.start(self._loop.time(), elapsed))

    def step_down(self, running: RunningJob) -> None:
        """Lead a job no more, that another peer leads now: it has no outcome here."""
        if running in self.jobs:
            assert isinstance(running.leader, JobLeader)
            running.leader.step_down(self._loop.time())
            self._gone(running)

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
        running = RunningJob(new_id(), leader, None, roots)
        running.name = leader.program.filename
        running.on_outcomes, running.any_function = on_outcomes, any_function
        self.jobs.append(running)
        self.perform(running, leader.start(self._loop.time()))
        return running

    def append(self, job: RunningJob, items: Sequence[Any], *, last: bool = False) -> None:
        """More items of a stream; `last`: no more will come."""
        assert isinstance(job.leader, StreamLeader)
        now = self._loop.time()
        self.perform(job, job.leader.append(items, now) + (job.leader.close(now) if last else []))

    def pause(self, job: RunningJob) -> None:
        """Start no new task of the job; what waits at peers is taken back, what runs ends."""
        self.on_pause(job, True)
        self.perform(job, job.leader.pause(self._loop.time()))

    def resume(self, job: RunningJob) -> None:
        """Start tasks of the job again."""
        self.on_pause(job, False)
        self.perform(job, job.leader.resume(self._loop.time()))

    def cancel(self, job: RunningJob) -> None:
        """End the job; its tasks are killed, wherever they run."""
        self.perform(job, job.leader.cancel(self._loop.time()))

    def outcome(self, job: RunningJob) -> Outcome:
        """What the job came to."""
        return outcome_of(job.leader)

    def explain(self, job: RunningJob, item: int | None) -> list[str]:
        """Why a job, or one item of its latest Grid steps, ran where it did: sentences for people."""
        return explained(job.leader, item)

    # --- workers -----------------------------------------------------------------------------------------------

    def worker_changed(self, worker: Worker) -> None:
        """A peer offers to work, or other than before."""
        self.workers[worker.id] = worker
        for job in list(self.jobs):
            self.perform(job, job.leader.worker_joined(worker, self._loop.time()))

    def worker_left(self, peer: PeerId) -> None:
        """A peer works no more."""
        if self.workers.pop(peer, None) is not None:
            for job in list(self.jobs):
                self.perform(job, job.leader.worker_left(peer, self._loop.time()))

    def heard(self, peer: PeerId) -> None:
        """A sign of life."""
        for job in list(self.jobs):
            self.perform(job, job.leader.heard(peer, self._loop.time()))

    # --- what workers report -----------------------------------------------------------------------------------

    def reported(self, peer: PeerId, message: ToLeader, buffers: Sequence[Buffer]) -> None:
        """A worker said something."""
        now = self._loop.time()
        if isinstance(message, Beat):
            self.heard(peer)
            return
        job = self._steps.get(message.step)
        if job is None:
            return
        leader = job.leader
        match message:
            case Done():
                if message.blobs and peer != self.me:
                    self._spawn(self._done_with_blobs(peer, message, buffers))
                else:
                    self._done(peer, message, buffers)
            case Begun(step=step, batches=batches):
                self.perform(job, leader.begun(step, peer, batches, now))
            case Granted(step=step, slots=slots):
                self.perform(job, leader.granted(step, peer, max(0, slots), now))
            case GivenBack(step=step, items=items):
                if items.sane:
                    self.perform(job, leader.given_back(step, peer, items.numbers, now))
            case Refused(step=step, why=why):
                self.perform(job, leader.refused(step, peer, why[:400], now))
            case Died(step=step, worker=worker, cause=cause):
                self.perform(job, leader.worker_died(step, peer, worker, cause[:400], now))
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
        self._makers.made(done.blobs, peer)
        self._done(peer, done, buffers)

    def _done(
        self, peer: PeerId, done: Done, buffers: Sequence[Buffer], faults: Mapping[int, TaskFault] | None = None
    ) -> None:
        job = self._steps.get(done.step)
        if job is None or not done.items.sane:
            return
        numbers = done.items.numbers
        unfit = bool(faults)
        seconds = array.array("f")
        found = dict(faults or {}) or {number: fault_of(done, number) for number in done.failures}
        try:
            seconds.frombytes(done.seconds)
            values = self._codec.decode(done.header, buffers) if done.header else [None] * len(numbers)
            if len(values) != len(numbers) or len(seconds) != len(numbers):
                raise CodecError(f"{len(values)} values of {len(numbers)} items")
        except (CodecError, ValueError, TypeError) as reason:
            unfit = True
            values = [None] * len(numbers)
            seconds = array.array("f", bytes(4 * len(numbers)))
            found = dict.fromkeys(numbers, TaskFault("unencodable", str(reason), worker=done.worker))
        effects = job.leader.results(
            done.step, peer, numbers, values, seconds, found, done.outputs, done.worker, self._loop.time()
        )
        self._report, self._recorded = Report(peer, done, buffers, unfit), False
        self.perform(job, effects)
        if done.number and not self._recorded:
            self.on_nothing_new(job, self._report)
        self._report = None

    # --- performing --------------------------------------------------------------------------------------------

    def _gone(self, job: RunningJob) -> None:
        self.jobs.remove(job)
        if job.timer is not None:
            job.timer.cancel()
        for step in [step for step, of in self._steps.items() if of is job]:
            del self._steps[step]
            self._openings.over(step)
        job.ended.set()

    def perform(self, job: RunningJob, effects: list[Effect]) -> None:
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
                    self._openings.say(peer, AskBack(step, span(numbers)))
                case DropItems(peer=peer, step=step, numbers=numbers):
                    self._openings.say(peer, Unwanted(step, span(numbers)))
                case EndStep(peer=peer, step=step, cancel=cancel):
                    self._openings.say(peer, Close(step, cancel))
                case StepOver(step=step, activity=activity, seen=seen, items=items, lengths=lengths):
                    self._steps.pop(step, None)
                    self._openings.over(step)
                    self.speeds.learn(activity, seen)
                    if lengths and (prints := fingerprints(self._codec, items)) is not None:
                        self.lengths.learn(activity, prints, lengths)
                case RunInline():
                    known = self._call_inline(effect)
                    pending += job.leader.inline_answered(effect.path, known, self._loop.time())
                case Deliver(outcomes=outcomes):
                    job.on_outcomes(outcomes)
                case KeepAnswer() | KeepResults() | KeepConcluded() | KeepIntent() | KeepSleep():
                    self._recorded |= isinstance(effect, KeepResults)
                    self.on_keep(job, effect, self._report)
                case JobEnded():
                    self.ended.add(job)
                    job.ended_at = self._wall()
                    self._gone(job)
                    self.on_end(job)
                case _:
                    assert_never(effect)
        self._arm(job)

    def _prepare(self, job: RunningJob, effect: PrepareStep) -> None:
        self._steps[effect.step] = job
        self._openings.open(job, effect)

    def _assign(self, effect: Assign) -> None:
        unsendable = self._openings.unsendable(effect.step)
        if unsendable:
            self._loop.call_soon(self._unsent, effect, dict.fromkeys(effect.numbers, unsendable))
            return
        try:
            header, buffers, blobs = self._codec.encode_with_blobs(effect.items)
        except (CodecError, OSError):
            self._loop.call_soon(self._unsent, effect, self._uncrossable(effect))
            return
        holders = [str(each) for each in self._makers.of_all(blobs)][:HOLDERS_MAX]
        message = Assigned(effect.step, effect.batch, span(effect.numbers), header, list(blobs), holders)
        self._openings.say(effect.peer, message, buffers)

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
            self.perform(job, job.leader.given_back(effect.step, effect.peer, rest, now))
        faults = {number: TaskFault("unencodable", why) for number, why in reasons.items()}
        numbers, none = list(faults), [None] * len(faults)
        effects = job.leader.results(effect.step, effect.peer, numbers, none, [0.0] * len(faults), faults, {}, -1, now)
        self.perform(job, effects)

    def _located(self, name: str) -> frozenset[PeerId]:
        """Who has a blob of an item: this peer in any case, since results count when their blobs are here."""
        return frozenset((self.me, self._makers.of(name) or self.me))

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
        if job.watched and self._lanes_timer is None:
            self._lanes_timer = self._loop.call_later(LANES_INTERVAL_S, self._tell_lanes)

    def _tick(self, job: RunningJob) -> None:
        job.timer = None
        self.perform(job, job.leader.tick(self._loop.time()))

    def _turn(self, job: RunningJob) -> None:
        job.turn_due = False
        self.perform(job, job.leader.turn(self._loop.time()))

    def _tell_lanes(self) -> None:
        self._lanes_timer = None
        watched = [job for job in self.jobs if job.watched]
        if not watched:
            return
        lanes = tuple(self._lanes())
        for job in watched:
            job.tell(events.LanesChanged(at=job.leader.elapsed(self._loop.time()), lanes=lanes))
        self._lanes_timer = self._loop.call_later(LANES_INTERVAL_S, self._tell_lanes)


def new_id() -> str:
    """An id for a job: told apart from all others by chance."""
    return secrets.token_hex(5)
