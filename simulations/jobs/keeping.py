"""How a simulated peer keeps jobs: `Succession`, `LogWriter` and `History` bound to a simulated disk, as
`peer.succession.keeping`, `recording` and `arriving` bind them to a real one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar, cast

from meshwit.codec import Buffer
from meshwit.ids import PeerId
from meshwit.lang.control import Failure
from meshwit.lang.diagnostics import ScriptError
from meshwit.outcome import JobState
from meshwit.peer.job.effects import Keep, KeepIntent
from meshwit.peer.succession import effects as do
from meshwit.peer.succession.carrying import append_messages, records_of
from meshwit.peer.succession.durability import Receipts
from meshwit.peer.succession.messages import Append, CannotStandBy, StandBy, SuccessionMessage
from meshwit.peer.succession.records import (
    Began,
    Body,
    Decided,
    JobSpec,
    Over,
    Record,
    Term,
    decode_spec,
    encode_spec,
)
from meshwit.peer.succession.replaying import Replay, replay_of
from meshwit.peer.succession.settings import APPEND_BYTES_MAX
from meshwit.peer.succession.store import JobStore, StoreError
from meshwit.peer.succession.succession import Succession
from meshwit.peer.succession.writing import LogWriter, Report
from meshwit.peer.work.messages import Durable, Held, Ready, Redone
from simulations.jobs.clock import Alarm, Clock
from simulations.jobs.disk import SimulatedDisk
from simulations.jobs.lab import CODEC, compiled
from simulations.jobs.surroundings import Say, Watching

FLUSH_S: Final = 0.05
RETRY_S: Final = 1.0
READY_S: Final = 0.5
GATHER_S: Final = 0.6
OVERSLEPT_S: Final = 0.5
"""As in the shells."""
DISK_S: Final = (0.001, 0.006)
"""One access takes so long."""


T = TypeVar("T")


class Taken:
    """A job that was taken over: what workers say that they hold until it is led on."""

    def __init__(self, effect: do.TakeOver, waits_for: set[PeerId]) -> None:
        self.effect = effect
        self.waits_for = waits_for
        self.reports: list[tuple[PeerId, Held | Redone]] = []
        self.replay: Replay | None = None
        self.late = False


class LedLog:
    """The log of a job that is led here."""

    def __init__(self, spec: JobSpec, writer: LogWriter, timer: Alarm) -> None:
        self.spec = spec
        self.writer = writer
        self.receipts = Receipts()
        self.timer = timer
        self.told = self.stored = 0
        self.retries = False


class Leads(Protocol):
    """Leads jobs."""

    def lead_on(
        self, spec: JobSpec, replay: Replay, term: Term, elapsed: float, reports: list[tuple[PeerId, Held | Redone]]
    ) -> None:
        """Lead a job on."""

    def learn(self, job: str, replay: Replay) -> None:
        """Others' records of a job that runs here."""

    def redone(self, job: str, peer: PeerId, message: Held | Redone) -> None:
        """A worker says what it holds."""

    def intended(self, job: str, intent: KeepIntent) -> None:
        """An intent is durable."""

    def step_down(self, job: str, term: Term) -> None:
        """Another peer leads a job."""

    def led_by(self, job: str, term: Term, took_over: bool) -> None:
        """A new term of a job is known."""


class Keeping:
    """See the module.

    Attributes:
        willing: it stands by when it is asked to.
    """

    def __init__(
        self,
        me: PeerId,
        clock: Clock,
        disk: SimulatedDisk,
        say: Say,
        linked: Callable[[], Iterable[PeerId]],
        leads: Leads,
        watch: Watching,
        rng: random.Random,
        *,
        lab: bool,
    ) -> None:
        self.me = me
        self.core = Succession(me)
        self.willing = True
        self.logs: dict[str, LedLog] = {}
        self.specs: dict[str, JobSpec] = {}
        self.taking: dict[str, Taken] = {}
        self._clock = clock
        self._disk = disk
        self._say = say
        self._linked = linked
        self._leads = leads
        self._watch = watch
        self._rng = rng
        self._lab = lab
        self._alarm = clock.alarm(self._tick)
        for job, (spec, _) in disk.specs.items():
            history = disk.history(job)
            if history.head is not None:
                self.specs[job] = spec
                self.core.restore(job, history.versions, history.term(history.head), disk.over(job), clock.now)

    # --- for who leads -----------------------------------------------------------------------------------------------

    def begin(self, spec: JobSpec) -> Term:
        """A job begins, that this peer leads."""
        term = Term(1, 0, self.me)
        writer = LogWriter(term.log, CODEC)
        writer.add(Began())
        self.specs[spec.id] = spec
        self._run(lambda: self._disk.put(spec, []), lambda _: None)
        self._begin_log(spec.id, spec, writer)
        self._perform(self.core.lead(spec.id, spec.standbys, self._clock.now))
        return term

    def keep(self, job: str, effect: Keep, report: Report | None) -> None:
        """Something to be recorded."""
        log = self.logs.get(job)
        if log is None:
            return
        log.writer.keep(effect, report)
        if isinstance(effect, KeepIntent):
            self._flush(job)
        elif log.timer.due is None:
            log.timer.set(self._clock.now + FLUSH_S)

    def nothing_new(self, job: str, step: int, peer: PeerId, number: int) -> None:
        """A report brought nothing to be recorded."""
        log = self.logs.get(job)
        if log is not None:
            upto = log.receipts.add(step, peer, number)
            if upto:
                self._say(peer, Durable(step, upto))

    def ended(self, job: str, state: JobState, failure: Failure | None) -> None:
        """A job has its outcome, or has stopped with a question."""
        if job not in self.logs:
            return
        if state is JobState.HELD:
            self._flush(job)
        else:
            self._add(job, [Over(state, self._clock.now, failure)])
        self._perform(self.core.ended(job, state, self._clock.now))
        if state is JobState.HELD:
            self._leave(job)

    def resume(self, job: str, decisions: Callable[[Replay], Sequence[Decided]] | None = None) -> None:
        """Lead a job on that nobody leads."""
        self._perform(self.core.gather(job))
        self._clock.later(GATHER_S, self._resume, job, decisions)

    def _resume(self, job: str, decisions: Callable[[Replay], Sequence[Decided]] | None) -> None:
        if job in self.logs or job not in self.specs or self.core.is_led(job):
            return

        def go_on(replay: Replay) -> None:
            decided = list(decisions(replay)) if decisions is not None else []
            self._perform(self.core.resume(job, replay.elapsed, self.specs[job].standbys, self._clock.now))
            self._add(job, decided)

        self._run(lambda: self.replay(job), go_on)

    def replay(self, job: str) -> Replay:
        """All that lies here of a job."""
        return replay_of(cast(JobStore, self._disk), job, CODEC)

    # --- for the mesh ------------------------------------------------------------------------------------------------

    def linked(self, peer: PeerId) -> None:
        """There is a connection to a peer."""
        self._perform(self.core.linked(peer, self._clock.now))

    def unlinked(self, peer: PeerId) -> None:
        """It has ended."""
        self._perform(self.core.unlinked(peer, self._clock.now))
        for job in list(self.taking):
            self._ready(job, peer)

    def rank(self, candidates: Iterable[PeerId]) -> None:
        """Who may stand by, the best first."""
        self._perform(self.core.rank(candidates, self._clock.now))

    def received(self, peer: PeerId, message: SuccessionMessage, buffers: Sequence[Buffer]) -> None:
        """A peer said something about who leads, or what is recorded."""
        now = self._clock.now
        match message:
            case StandBy():
                welcome, effects = self.core.may_stand_by(peer, message.job, message.term, now)
                self._perform(effects)
                if welcome:
                    self._stand_by(peer, message)
            case Append():
                self._append(peer, message, buffers)
            case _:
                self._perform(self.core.receive(peer, message, now))

    def told(self, peer: PeerId, message: Held | Redone | Ready) -> None:
        """A worker says what it holds of a job that this peer took over."""
        taking = self.taking.get(message.job)
        if isinstance(message, Ready):
            self._ready(message.job, peer)
        elif taking is not None:
            taking.reports.append((peer, message))
        else:
            self._leads.redone(message.job, peer, message)

    # --- the disk ----------------------------------------------------------------------------------------------------

    def _run(
        self, work: Callable[[], T], then: Callable[[T], None], failed: Callable[[str], None] | None = None
    ) -> None:
        """One access after the other; `failed` is told why it came to nothing."""

        def done() -> None:
            try:
                result = work()
            except (StoreError, ValueError, LookupError) as reason:
                if failed is not None:
                    failed(str(reason))
                return
            then(result)

        now = self._clock.simulation.now
        self._disk.busy_until = max(now, self._disk.busy_until) + self._rng.uniform(*DISK_S)
        self._clock.later(self._disk.busy_until - now, done)

    # --- logs --------------------------------------------------------------------------------------------------------

    def _begin_log(self, job: str, spec: JobSpec, writer: LogWriter) -> None:
        self._leave(job)
        log = self.logs[job] = LedLog(spec, writer, self._clock.alarm(lambda _: self._flush(job)))
        self._write(job, log, 0, writer.close())

    def _leave(self, job: str) -> None:
        log = self.logs.pop(job, None)
        if log is not None:
            self._clock.forget(log.timer)

    def _add(self, job: str, bodies: Sequence[Body]) -> None:
        log = self.logs.get(job)
        if log is not None:
            for body in bodies:
                log.writer.add(body)
            self._flush(job)

    def _flush(self, job: str) -> None:
        log = self.logs.get(job)
        if log is None:
            return
        log.timer.set(None)
        first = log.writer.count
        records = log.writer.close()
        if records:
            self._perform(self.core.written(job, log.writer.count, self._clock.now))
            self._write(job, log, first, records)

    def _write(self, job: str, log: LedLog, first: int, records: Sequence[Record]) -> None:
        upto = first + len(records)

        def stored(_: object) -> None:
            if self.logs.get(job) is log:
                log.stored = max(log.stored, upto)
                log.writer.stored(upto)
                self._perform(self.core.stored(job, log.writer.log, upto, None, self._clock.now))

        def unwritable(_: str) -> None:
            if self.logs.get(job) is log:
                self._perform(self.core.unwritable(job))
                if not log.retries:
                    log.retries = True
                    self._clock.later(RETRY_S, self._write_again, job, log)

        self._run(lambda: self._disk.append(job, log.writer.log, first, records), stored, unwritable)

    def _write_again(self, job: str, log: LedLog) -> None:
        log.retries = False
        records = log.writer.recent_records(log.stored, log.writer.count)
        if records and self.logs.get(job) is log:
            self._run(lambda: self._disk.put(log.spec, []), lambda _: None)
            self._write(job, log, log.stored, records)

    def _durable(self, job: str, upto: int) -> None:
        log = self.logs.get(job)
        if log is None:
            return
        self._watch.durable(self.me, job, log.writer.recent_records(log.told, upto) or [])
        log.told = upto
        reports, intents = log.writer.durable(upto)
        told: dict[tuple[int, PeerId], int] = {}
        for step, peer, number in reports:
            told[step, peer] = log.receipts.add(step, peer, number) or told.get((step, peer), 0)
        for (step, peer), number in told.items():
            if number:
                self._say(peer, Durable(step, number))
        for intent in intents:
            self._leads.intended(job, intent)

    # --- performing --------------------------------------------------------------------------------------------------

    def _perform(self, effects: Sequence[do.Effect]) -> None:
        for effect in effects:
            match effect:
                case do.Send(peer=peer, message=message):
                    self._say(peer, message)
                case do.SendSpec(peer=peer, job=job, term=term):
                    log = self.logs.get(job)
                    if log is not None:
                        self._say(peer, StandBy(job, term, encode_spec(log.spec)))
                case do.SendRecords():
                    self._send_records(effect)
                case do.TakeOver():
                    self._take_over(effect)
                case do.StepDown(job=job, term=term):
                    self._leave(job)
                    self.taking.pop(job, None)
                    self._leads.step_down(job, term)
                case do.Durable(job=job, upto=upto):
                    self._durable(job, upto)
                case do.Learned(job=job):
                    self._run(partial(self.replay, job), partial(self._learned, job))
                case do.Led(job=job, term=term, took_over=took_over):
                    self._leads.led_by(job, term, took_over)
        self._watch.sound(self.me, self.core.check)
        self._alarm.set(self.core.next_deadline())

    def _send_records(self, effect: do.SendRecords) -> None:
        log = self.logs.get(effect.job)
        records = None
        if log is not None and log.writer.log == effect.log:
            records = log.writer.recent_records(effect.first, effect.stop)
        if records is not None:
            self._say_records(effect, records)
            return
        self._run(
            lambda: self._disk.read(effect.job, effect.log, effect.first, effect.stop, APPEND_BYTES_MAX),
            lambda found: self._say_records(effect, found),
        )

    def _say_records(self, effect: do.SendRecords, records: Sequence[Record]) -> None:
        for message, buffers in append_messages(effect.job, effect.log, effect.first, records):
            self._say(effect.peer, message, buffers)

    def _learned(self, job: str, replay: Replay) -> None:
        if job in self.logs and job not in self.taking:
            self._leads.learn(job, replay)

    # --- taking over -------------------------------------------------------------------------------------------------

    def _take_over(self, effect: do.TakeOver) -> None:
        job, term = effect.job, effect.term
        versions = self.core.jobs[job].versions
        basis = [(epoch, leader, count) for (epoch, leader), count in versions.items() if (epoch, leader) != term.log]
        writer = LogWriter(term.log, CODEC)
        writer.add(Began(sorted(basis), term.rank))
        self._begin_log(job, self.specs[job], writer)
        taking = self.taking[job] = Taken(effect, {*self._linked(), self.me})

        def read(replay: Replay) -> None:
            taking.replay = replay
            self._lead_on(taking)

        def late() -> None:
            taking.late = True
            self._lead_on(taking)

        def failed(_: str) -> None:
            if self.taking.get(job) is taking:
                self._give_up(job)

        self._clock.soon(self._run, partial(self.replay, job), read, failed)  # after what is written at once
        self._clock.later(READY_S, late)

    def _ready(self, job: str, peer: PeerId) -> None:
        taking = self.taking.get(job)
        if taking is not None:
            taking.waits_for.discard(peer)
            self._lead_on(taking)

    def _lead_on(self, taking: Taken) -> None:
        effect, job = taking.effect, taking.effect.job
        ready = taking.late or not taking.waits_for
        if taking.replay is None or not ready or self.taking.get(job) is not taking:
            return
        del self.taking[job]
        self._leads.lead_on(self.specs[job], taking.replay, effect.term, effect.elapsed, taking.reports)

    def _give_up(self, job: str) -> None:
        self._leave(job)
        self.taking.pop(job, None)
        self.core.jobs.pop(job, None)
        self.specs.pop(job, None)

    # --- standing by -------------------------------------------------------------------------------------------------

    def _stand_by(self, peer: PeerId, message: StandBy) -> None:
        def refused(why: str) -> None:
            self._say(peer, CannotStandBy(message.job, why))

        try:
            spec = decode_spec(message.header)
            if spec.id != message.job or not self.willing or not self._lab:
                raise ValueError("it does not want to")
            compiled(spec.text)
        except (ValueError, ScriptError) as reason:
            refused(str(reason))
            return

        def put() -> None:
            self._disk.put(spec, [])

        def standing(_: object) -> None:
            self.specs[spec.id] = spec
            versions = self._disk.history(spec.id).versions
            self._perform(self.core.standing_by(message.job, message.term, versions, self._clock.now))

        self._run(put, standing, refused)

    def _append(self, peer: PeerId, message: Append, buffers: Sequence[Buffer]) -> None:
        job, log = message.job, (message.epoch, message.leader)
        try:
            records = records_of(message, buffers)
        except ValueError:
            return
        welcome, effects = self.core.may_append(peer, job, log, message.first, len(records))
        self._perform(effects)
        if not (welcome and records):
            return
        over = next((each.body for each in records if isinstance(each.body, Over)), None)

        def stored(_: object) -> None:
            state = over.state if over is not None else None
            count = message.first + len(records)
            self._perform(self.core.stored(job, log, count, state, self._clock.now))

        def refused(why: str) -> None:
            self._perform(self.core.not_stored(job, why))

        self._run(lambda: self._disk.append(job, log, message.first, records), stored, refused)

    # --- time --------------------------------------------------------------------------------------------------------

    def _tick(self, late_s: float) -> None:
        if late_s > OVERSLEPT_S:
            self.core.overslept(self._clock.now)
        self._perform(self.core.tick(self._clock.now))
