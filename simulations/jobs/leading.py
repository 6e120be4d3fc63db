"""The jobs that a simulated peer leads: `JobLeader` bound to virtual time, as `peer.leading`, `openings` and
`kept_jobs` bind it to a loop."""

from __future__ import annotations

import array
import datetime
import itertools
import random
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, assert_never

from meshwit.codec import Buffer, CodecError
from meshwit.ids import PeerId
from meshwit.lang.arrows import pack
from meshwit.lang.evaluate import fail_with
from meshwit.lang.wishes import Path
from meshwit.outcome import JobState
from meshwit.peer.job.effects import (
    AskForItems,
    Assign,
    Deliver,
    DropItems,
    Effect,
    Emit,
    EndStep,
    JobEnded,
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
from meshwit.peer.job.steps import TaskFault
from meshwit.peer.job.workers import Worker
from meshwit.peer.succession.handing_over import TakenOver
from meshwit.peer.succession.keeping import Keeping
from meshwit.peer.succession.records import JobSpec, LogId, Term
from meshwit.peer.succession.replaying import Replay
from meshwit.peer.succession.writing import Report
from meshwit.peer.work.messages import (
    AskBack,
    Assigned,
    Beat,
    Begun,
    Close,
    Died,
    Done,
    GivenBack,
    Granted,
    Held,
    Open,
    Redone,
    Refused,
    ToLeader,
    Unwanted,
    span,
)
from simulations.jobs.clock import Clock
from simulations.jobs.lab import CODEC, OFFER, OWNERS, compiled
from simulations.jobs.surroundings import Say, Watching

CALLS_PER_CHECK: Final = 16
"""A leader's check costs as much as its steps have items."""


class Led:
    """A job that this peer leads."""

    def __init__(self, spec: JobSpec, leader: JobLeader, term: Term) -> None:
        self.spec = spec
        self.leader = leader
        self.term = term
        self.turn_due = False
        self.headers: dict[int, bytes] = {}
        self.paths: dict[int, Path] = {}
        self.calls = 0
        self.limits: dict[LogId, int] = {}


class Leading:
    """See the module.

    Attributes:
        jobs: that run, by id.
        keeping: keeps them; set by whoever makes both.
    """

    keeping: Keeping

    def __init__(
        self, me: PeerId, clock: Clock, say: Say, led_by: Callable[[str, Term, bool], None], watch: Watching,
        rng: random.Random,
    ) -> None:  # fmt: skip
        self.me = me
        self.workers: dict[PeerId, Worker] = {}
        self.jobs: dict[str, Led] = {}
        self._clock = clock
        self._say = say
        self._led_by = led_by
        self._watch = watch
        self._rng = rng
        self._numbers = itertools.count(1)
        self._steps: dict[int, Led] = {}
        self._alarms = clock.alarm(self._tick)
        self._report: Report | None = None
        self._recorded = False

    # --- jobs --------------------------------------------------------------------------------------------------------

    def start(self, spec: JobSpec) -> None:
        """Lead a job."""
        leader = self._leader_of(spec, None)
        self._lead(Led(spec, leader, self.keeping.begin(spec, [], [])), 0.0)

    def _leader_of(self, spec: JobSpec, journal: Journal | None) -> JobLeader:
        return JobLeader(
            compiled(spec.text), spec.name, [], workers=self.workers.values(), numbers=self._numbers, peer=self.me,
            journal=journal, owners=OWNERS, kept=True, id=spec.id,
        )  # fmt: skip

    def _lead(self, led: Led, elapsed: float) -> None:
        self.jobs[led.spec.id] = led
        self._watch.leads(self.me, led.spec, led.term, led.leader)
        self.perform(led, led.leader.start(self._clock.now, elapsed))
        self._watch.at_work(self.me, led.spec.id)

    def outcome_of(self, spec: JobSpec, replay: Replay) -> JobLeader:
        """A job as its history tells it."""
        leader = self._leader_of(spec, replay.journal)
        leader.replay(self._clock.now)
        return leader

    def worker_changed(self, worker: Worker) -> None:
        """A peer offers to work, or other than before."""
        self.workers[worker.id] = worker
        for led in list(self.jobs.values()):
            self.perform(led, led.leader.worker_joined(worker, self._clock.now))

    def worker_left(self, peer: PeerId) -> None:
        """A peer works no more."""
        if self.workers.pop(peer, None) is not None:
            for led in list(self.jobs.values()):
                self.perform(led, led.leader.worker_left(peer, self._clock.now))

    def heard(self, peer: PeerId) -> None:
        """A sign of life."""
        for led in list(self.jobs.values()):
            self.perform(led, led.leader.heard(peer, self._clock.now))

    # --- what `Keeping` wants ----------------------------------------------------------------------------------------

    def lead_on(self, taken: TakenOver) -> None:
        """Lead a job on."""
        spec = taken.spec
        leader = self._leader_of(spec, taken.replay.journal)
        led = self.jobs[spec.id] = Led(spec, leader, taken.term)
        self._learn(led, taken.replay)
        for peer, message, buffers in taken.reports:
            self.redone(spec.id, peer, message, buffers)
        self._lead(led, taken.elapsed)

    def learn(self, job: str, replay: Replay) -> None:
        """Others' records of a job that runs here."""
        led = self.jobs.get(job)
        if led is not None:
            self._learn(led, replay)

    def _learn(self, led: Led, replay: Replay) -> None:
        now = self._clock.now
        led.limits = replay.limits
        for path, numbers, values in replay.results:
            self.perform(led, led.leader.learned(path, numbers, values, now))
        for path, known in replay.answers:
            self.perform(led, led.leader.answer_learned(path, known, now))

    def redone(self, job: str, peer: PeerId, message: Held | Redone, buffers: Sequence[Buffer]) -> None:
        """A worker says what it holds of a job that runs here."""
        led = self.jobs.get(job)
        if led is None:
            return
        now = self._clock.now
        log = (message.epoch, PeerId(message.leader))
        if log != led.term.log and not 0 <= message.since <= led.limits.get(log, -1):
            return  # it rests on answers that were lost
        if isinstance(message, Held):
            sane = [batch for batch in message.batches if batch.items.sane]
            self.perform(led, led.leader.held(peer, message.path, sane, now))
        elif message.items.sane:
            numbers = message.items.numbers
            try:
                values = CODEC.decode(message.header)
            except CodecError:
                return
            if isinstance(values, list) and len(values) == len(numbers):
                self.perform(led, led.leader.learned(message.path, numbers, values, now))

    def intended(self, job: str, intent: KeepIntent) -> None:
        """An intent is durable."""
        led = self.jobs.get(job)
        if led is not None:
            self.perform(led, led.leader.intended(intent.step, intent.peer, intent.numbers, self._clock.now))

    def step_down(self, job: str, term: Term) -> None:
        """Another peer leads a job."""
        led = self.jobs.get(job)
        if led is not None:
            led.leader.step_down(self._clock.now)
            self._gone(led)

    def kept(self, job: str) -> None:
        """A job has ended, and all of it is kept."""

    def led_by(self, job: str, term: Term, took_over: bool) -> None:
        """A new term of a job is known."""
        self._led_by(job, term, took_over)

    # --- what workers report -----------------------------------------------------------------------------------------

    def reported(self, peer: PeerId, message: ToLeader, buffers: Sequence[Buffer]) -> None:
        """A worker said something."""
        if isinstance(message, Beat):
            self.heard(peer)
            return
        led = self._steps.get(message.step)
        if led is None:
            return
        leader, now = led.leader, self._clock.now
        match message:
            case Done():
                self._done(led, peer, message, buffers)
            case Begun(step=step, batches=batches):
                self.perform(led, leader.begun(step, peer, batches, now))
            case Granted(step=step, slots=slots):
                self.perform(led, leader.granted(step, peer, max(0, slots), now))
            case GivenBack(step=step, items=items):
                if items.sane:
                    self.perform(led, leader.given_back(step, peer, items.numbers, now))
            case Refused(step=step, why=why):
                self.perform(led, leader.refused(step, peer, why[:400], now))
            case Died(step=step, worker=worker, cause=cause):
                self.perform(led, leader.worker_died(step, peer, worker, cause, now))
            case _:
                assert_never(message)

    def _done(self, led: Led, peer: PeerId, done: Done, buffers: Sequence[Buffer]) -> None:
        if not done.items.sane:
            return
        numbers = done.items.numbers
        seconds = array.array("f")
        found = {
            number: TaskFault(failure.kind, failure.message, "", "", done.worker)
            for number, failure in done.failures.items()
        }
        try:
            seconds.frombytes(done.seconds)
            values = CODEC.decode(done.header) if done.header else [None] * len(numbers)
            if len(values) != len(numbers) or len(seconds) != len(numbers):
                raise CodecError("values of other items")
        except (CodecError, ValueError, TypeError) as reason:
            values = [None] * len(numbers)
            seconds = array.array("f", bytes(4 * len(numbers)))
            found = dict.fromkeys(numbers, TaskFault("unencodable", str(reason), worker=done.worker))
        effects = led.leader.results(
            done.step, peer, numbers, values, seconds, found, done.outputs, done.worker, self._clock.now
        )
        self._report, self._recorded = Report(peer, done, buffers), False
        self.perform(led, effects)
        if done.number and not self._recorded:
            self.keeping.nothing_new(led.spec.id, done.step, peer, done.number)
        self._report = None

    # --- performing --------------------------------------------------------------------------------------------------

    def _gone(self, led: Led) -> None:
        del self.jobs[led.spec.id]
        for step in [step for step, of in self._steps.items() if of is led]:
            del self._steps[step]

    def perform(self, led: Led, effects: list[Effect]) -> None:
        """The one funnel."""
        job = led.spec.id
        pending = deque(effects)
        while pending:
            effect = pending.popleft()
            match effect:
                case Emit() | Deliver():
                    pass
                case PrepareStep():
                    self._steps[effect.step] = led
                    self._open(led, effect)
                case Assign(peer=peer, step=step, numbers=numbers):
                    self._watch.assigned(self.me, job, led.paths[step], effect)
                    header, _, _ = CODEC.encode_with_blobs(effect.items)
                    self._say(peer, Assigned(step, effect.batch, span(numbers), header))
                case AskForItems(peer=peer, step=step, numbers=numbers):
                    self._say(peer, AskBack(step, span(numbers)))
                case DropItems(peer=peer, step=step, numbers=numbers):
                    self._say(peer, Unwanted(step, span(numbers)))
                case EndStep(peer=peer, step=step, cancel=cancel):
                    self._say(peer, Close(step, cancel))
                case StepOver(step=step):
                    self._steps.pop(step, None)
                    led.headers.pop(step, None)
                case RunInline():
                    pending += led.leader.inline_answered(effect.path, self._inline(led, effect), self._clock.now)
                case KeepAnswer() | KeepResults() | KeepConcluded() | KeepIntent() | KeepSleep():
                    self._recorded |= isinstance(effect, KeepResults)
                    self.keeping.keep(job, effect, self._report)
                case JobEnded():
                    self._gone(led)
                    self._watch.ended(self.me, job, led.term, led.leader)
                    self.keeping.ended(job, led.leader.state, self._clock.now, led.leader.failure)
                case _:
                    assert_never(effect)
        led.calls += 1
        if led.calls % CALLS_PER_CHECK == 0:
            self._watch.sound(self.me, led.leader.check)
        self._arm(led)

    def _open(self, led: Led, effect: PrepareStep) -> None:
        header = led.headers.get(effect.step)
        if header is None:
            told: dict[str, Any] = {"task": pack(effect.task), "captured": effect.captured}
            header = led.headers[effect.step] = CODEC.encode_with_blobs(told)[0]
            led.paths[effect.step] = effect.path
        settings, term = effect.settings, led.term
        self._say(
            effect.peer,
            Open(
                effect.step, led.spec.id, header, settings.priority, settings.one_at_a_time,
                sorted(settings.exclusive), settings.once, path=effect.path, epoch=term.epoch, rank=term.rank,
                since=effect.since, adopted=effect.adopted,
            ),
        )  # fmt: skip

    def _inline(self, led: Led, effect: RunInline) -> Known:
        """Time and chance are those of the simulation."""
        match effect.call.activity.name:
            case "Lab.Stamp":
                return Known(self._watch.stamp(self.me, led.spec.id))
            case "NewGuid":
                return Known(uuid.UUID(int=self._rng.getrandbits(128)))
            case "DateTime.Now":
                stamp = self._watch.stamp(self.me, led.spec.id)
                return Known(datetime.datetime(2026, 1, 1) + datetime.timedelta(seconds=stamp))
        function = OFFER.implementation(effect.call.activity.name, effect.call.form)
        assert function is not None
        try:
            return Known(function(*effect.arguments))
        except Exception as reason:
            return Known(failure=fail_with(reason, effect.call.span, effect.call.activity.name).failure)

    # --- time --------------------------------------------------------------------------------------------------------

    def _arm(self, led: Led) -> None:
        if led.leader.state is not JobState.RUNNING or led.leader.stepped_down:
            return
        deadline = led.leader.next_deadline()
        if deadline is not None and (self._alarms.due is None or deadline < self._alarms.due):
            self._alarms.set(deadline)
        if led.leader.wants_turn and not led.turn_due:
            led.turn_due = True
            self._clock.soon(self._turn, led)

    def _tick(self, _late: float) -> None:
        now = self._clock.now
        for led in list(self.jobs.values()):
            deadline = led.leader.next_deadline()
            if deadline is not None and deadline <= now:
                self.perform(led, led.leader.tick(now))
            else:
                self._arm(led)

    def _turn(self, led: Led) -> None:
        led.turn_due = False
        if self.jobs.get(led.spec.id) is led:
            self.perform(led, led.leader.turn(self._clock.now))
