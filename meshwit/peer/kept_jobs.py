"""The jobs of a peer that outlive it: begun, taken over, stepped down from. Shell between `Leading` and `Keeping`.

What a leader learns goes to `Keeping`, which records it; what `Keeping` finds (a job to be led on, results that others
have) goes to the leader. Whoever watches a job here is passed on to whoever leads it next.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

import meshwit
from meshwit import events
from meshwit.codec import Buffer, Codec, CodecError
from meshwit.ids import PeerId
from meshwit.lang import program as ir
from meshwit.lang.diagnostics import ScriptError
from meshwit.lang.uses import names_used
from meshwit.outcome import JobState, Outcome
from meshwit.peer.control.api import PeerError
from meshwit.peer.control.job_script import JobScript
from meshwit.peer.job.effects import Keep, KeepIntent
from meshwit.peer.job.leader import JobLeader
from meshwit.peer.job.software import installed, unlike, wanted_for
from meshwit.peer.job.steps import StepSettings
from meshwit.peer.leading import Leading, new_id
from meshwit.peer.running_job import OnEvent, RunningJob
from meshwit.peer.succession.arriving import Fetch
from meshwit.peer.succession.handing_over import CannotLeadError, Leads, TakenOver
from meshwit.peer.succession.keeping import Keeping
from meshwit.peer.succession.records import Decided, JobSpec, Term
from meshwit.peer.succession.replaying import Replay
from meshwit.peer.succession.store import StoreError
from meshwit.peer.succession.writing import Report, content_of
from meshwit.peer.telling import outcome_of
from meshwit.peer.work.messages import Held, Redone, span

RELEASE_S: Final = 2.0
"""After a job's end, until its values are forgotten here. Whoever followed it has them by then, and whoever comes later
waits for the disk; what ends within this time lies in memory all at once."""
FETCH_S: Final = 3.0
"""For the images and files that workers kept for a leader before; what takes longer comes while the job runs."""
_log = logging.getLogger(__name__)


class Safety(msgspec.Struct, frozen=True):
    """How long and how safely a job is kept.

    Attributes:
        keep_s: its results, after its end.
        standbys: peers that would lead it on.
    """

    keep_s: float = 86_400.0
    standbys: int = 2


class KeptJobs:
    """See the module. To be made on the running loop.

    Args:
        me: this peer; `name`, what it is called.
        compiled: a script and its file's name, checked. Raises ScriptError.
        fetch: brings blobs here; says why not.
        defaults: settings of steps for a job's own limits.
        led_by: told of every new term of a job: who leads it, and whether workers are to say what they hold.
        over: told of jobs that ended here: nobody needs anything of them from this peer as a worker.
        keeping: makes what keeps them.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        me: PeerId,
        name: str,
        leading: Leading,
        codec: Codec,
        compiled: Callable[[str, str], ir.Program],
        fetch: Fetch,
        defaults: Callable[[float | None, int | None], StepSettings],
        led_by: Callable[[str, Term, bool], None],
        over: Callable[[str], None],
        keeping: Callable[[Leads], Keeping],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.keeping = keeping(self)
        self._me = me
        self._name = name
        self._leading = leading
        self._software = installed(leading.owners)
        self._codec = codec
        self._compiled = compiled
        self._wall = wall
        self._fetch = fetch
        self._defaults = defaults
        self._led_by = led_by
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._jobs: dict[str, RunningJob] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        leading.on_keep = self._keep
        leading.on_nothing_new = self._nothing_new
        leading.on_end = self._ended
        leading.on_pause = lambda running, paused: self.keeping.paused(running.id, paused)

    async def close(self) -> None:
        """Lead nothing any more: others go on with what runs."""
        for task in self._tasks:
            task.cancel()
        await self.keeping.close()
        for running in list(self._jobs.values()):
            self._leading.step_down(running)

    # --- jobs --------------------------------------------------------------------------------------------------------

    def start(
        self,
        program: ir.Program,
        job: str,
        arguments: Sequence[Any],
        on_event: OnEvent | None,
        *,
        roots: tuple[Path, ...] = (),
        time_limit_s: float | None = None,
        memory_max_bytes: int | None = None,
        safety: Safety = Safety(),  # noqa: B008 - frozen
    ) -> RunningJob:
        """Lead a job that outlives this peer. Raises CodecError where its arguments cannot cross."""
        content, buffers = content_of(self._codec, list(arguments))
        spec = JobSpec(
            id=new_id(), text=program.text, filename=program.filename, name=job, arguments=content, submitter=self._me,
            submitter_name=self._name, started_at=self._wall(), time_limit_s=time_limit_s,
            memory_max_bytes=memory_max_bytes, keep_s=safety.keep_s, standbys=safety.standbys,
            software=wanted_for(names_used(program, job), self._leading.owners) | {"meshwit": meshwit.__version__},
        )  # fmt: skip
        return self.begin(spec, program, arguments, buffers, on_event, roots)

    def begin(
        self,
        spec: JobSpec,
        program: ir.Program,
        arguments: Sequence[Any],
        buffers: Sequence[Buffer],
        on_event: OnEvent | None = None,
        roots: tuple[Path, ...] = (),
    ) -> RunningJob:
        """The same, for a job that is specified; `buffers` are those of the specification's arguments."""
        defaults = self._defaults(spec.time_limit_s, spec.memory_max_bytes)
        leader = self._leading.leader_of(program, spec.name, arguments, defaults, kept=spec.id)
        running = self._made(spec, leader, roots, self.keeping.begin(spec, buffers, [str(root) for root in roots]))
        if on_event is not None:
            running.watch(on_event)
        self._leading.run(running)
        return running

    def _made(self, spec: JobSpec, leader: JobLeader, roots: tuple[Path, ...], term: Term) -> RunningJob:
        running = self._jobs[spec.id] = RunningJob(spec.id, leader, None, roots)
        running.name = spec.name
        running.started = spec.started_at
        running.submitter = spec.submitter
        running.epoch, running.rank = term.epoch, term.rank
        return running

    async def resume(self, job: str, again: bool | None) -> None:
        """Lead a job on that nobody leads. Raises PeerError."""
        try:
            await self.keeping.resume(job, None if again is None else lambda replay: _decisions(replay, again))
        except CannotLeadError as reason:
            raise PeerError(
                f"this device cannot lead the job {job} on: it {reason}",
                f"resume it on one that can, or end it: meshwit cancel {job}",
            ) from None
        except (StoreError, LookupError, CodecError) as reason:
            raise PeerError(str(reason)) from None

    async def abandon(self, job: str) -> bool:
        """End a job that nobody leads: it is recorded as cancelled. Whether it did: not where somebody leads it. Raises
        PeerError."""
        try:
            return await self.keeping.resume(job, to_end=True)
        except (StoreError, LookupError) as reason:
            raise PeerError(str(reason)) from None

    async def outcome(self, job: str) -> tuple[JobScript, Outcome]:
        """What a job came to that is kept here and has ended. Raises PeerError."""
        try:
            if not self.keeping.is_over(job):
                raise LookupError("it has not ended, as far as this device knows")
            spec, buffers, replay = await self.keeping.replay(job)
            if replay.over is None:
                raise LookupError("it has not ended, as far as this device knows")
            if not replay.whole:
                raise LookupError("some of what was recorded of it is missing here")
            program = self._compiled(spec.text, spec.filename)
            arguments = self._codec.decode(spec.arguments.header, buffers)
        except (StoreError, LookupError, CodecError, ScriptError) as reason:
            raise PeerError(f"the outcome of the job {job} is not to be had here: {reason}") from None
        script = JobScript(spec.text, spec.filename, spec.name)
        leader = self._leading.leader_of(
            program, spec.name, arguments, self._defaults(None, None), journal=replay.journal, kept=spec.id
        )  # fmt: skip
        leader.replay(self._loop.time())
        outcome = outcome_of(leader)
        over = replay.over
        if over.state is JobState.COMPLETED and leader.state is not JobState.COMPLETED:
            raise PeerError(
                f"the outcome of the job {job} is not to be had here: with what is installed its script comes to "
                f"another end; this device {unlike(self._software, spec.software or {}) or 'differs'}"
            )
        if over.state is not leader.state:  # cancelled, or it failed by what a replay does not repeat
            outcome = outcome_of(leader, over.state, over.failure)
        return script, outcome

    # --- what `Keeping` wants ----------------------------------------------------------------------------------------

    def leadable(self, spec: JobSpec) -> ir.Program:
        """The script of a job, checked. Raises CannotLeadError where it cannot be led on here."""
        if why := unlike(self._software, spec.software or {}):
            raise CannotLeadError(why)
        try:
            return self._compiled(spec.text, spec.filename)
        except ScriptError as reason:
            raise CannotLeadError(f"cannot read its script: {reason}") from None

    def lead_on(self, taken: TakenOver) -> None:
        """Lead a job on."""
        spec = taken.spec
        try:
            program = self.leadable(spec)
            arguments = self._codec.decode(spec.arguments.header, taken.arguments)
        except (CannotLeadError, CodecError) as reason:
            _log.error("the job %s cannot be led on: %s", spec.id, reason)
            self.keeping.give_up(spec.id)
            return
        leader = self._leading.leader_of(
            program, spec.name, arguments, self._defaults(spec.time_limit_s, spec.memory_max_bytes),
            journal=taken.replay.journal, kept=spec.id,
            away="" if spec.submitter == self._me else spec.submitter_name,
        )  # fmt: skip
        roots = tuple(Path(root) for root in taken.roots)
        running = self._made(spec, leader, roots, taken.term)
        self._learn(running, leader, taken.replay)
        self._spawn(self._run(running, taken))

    async def _run(self, running: RunningJob, taken: TakenOver) -> None:
        """Begin once what workers kept is here: it must not be computed again while it is fetched."""
        began = self._loop.time()
        taking = [self._redone(running, *report) for report in taken.reports]
        fetching = [task for task in taking if task is not None]
        if fetching:
            await asyncio.wait(fetching, timeout=FETCH_S)
        if self._jobs.get(running.id) is not running:
            return  # meanwhile another peer leads it
        self._meet_workers(running)
        if taken.replay.paused:
            running.leader.begin_paused(self._loop.time())
        self._leading.run(running, taken.elapsed + self._loop.time() - began)
        if taken.replay.paused:
            self._leading.pause(running)
        at = running.leader.elapsed(self._loop.time())
        running.tell(events.LeaderChanged(at=at, leader=self._name))

    def _meet_workers(self, running: RunningJob) -> None:
        """Peers may have come and gone since its leader was made."""
        assert isinstance(running.leader, JobLeader)
        now, workers = self._loop.time(), self._leading.workers
        for worker in workers.values():
            self._leading.perform(running, running.leader.worker_joined(worker, now))
        for peer in [peer for peer in running.leader.names if peer not in workers]:
            self._leading.perform(running, running.leader.worker_left(peer, now))

    def learn(self, job: str, replay: Replay) -> None:
        """Others' records of a job that runs here."""
        running = self._jobs.get(job)
        if running is not None and isinstance(running.leader, JobLeader):
            self._learn(running, running.leader, replay)

    def _learn(self, running: RunningJob, leader: JobLeader, replay: Replay) -> None:
        now = self._loop.time()
        running.limits = replay.limits
        for path, numbers, values in replay.results:
            self._leading.perform(running, leader.learned(path, numbers, values, now))
        for path, known in replay.answers:
            self._leading.perform(running, leader.answer_learned(path, known, now))

    def redone(self, job: str, peer: PeerId, message: Held | Redone, buffers: Sequence[Buffer]) -> None:
        """A worker says what it holds of a job that runs here."""
        running = self._jobs.get(job)
        if running is not None:
            self._redone(running, peer, message, buffers)

    def _redone(
        self, running: RunningJob, peer: PeerId, message: Held | Redone, buffers: Sequence[Buffer]
    ) -> asyncio.Task[None] | None:
        """Hand it to the leader; what takes it there later, where its blobs are fetched first."""
        assert isinstance(running.leader, JobLeader)
        if not self._counts(running, peer, message):
            return None
        if isinstance(message, Held):
            sane = [batch for batch in message.batches if batch.items.sane]
            self._leading.perform(running, running.leader.held(peer, message.path, sane, self._loop.time()))
        elif message.blobs and peer != self._me:
            return self._spawn(self._redone_with_blobs(running, peer, message, buffers))
        else:
            self._take(running, message, buffers)
        return None

    def _counts(self, running: RunningJob, peer: PeerId, message: Held | Redone) -> bool:
        """Whether it belongs to a wish that this leader makes too, and was asked for."""
        if isinstance(message, Redone) and not message.items.sane:
            return False
        log = (message.epoch, PeerId(message.leader))
        if log == (running.epoch, self._me):
            return running.leader.given(message.path, peer)
        # Else it rests on answers that were lost: this leader may have come to others.
        return 0 <= message.since <= running.limits.get(log, -1)

    async def _redone_with_blobs(
        self, running: RunningJob, peer: PeerId, message: Redone, buffers: Sequence[Buffer]
    ) -> None:
        if not await self._fetch(message.blobs, [peer]):
            self._take(running, message, buffers)

    def _take(self, running: RunningJob, message: Redone, buffers: Sequence[Buffer]) -> None:
        assert isinstance(running.leader, JobLeader)
        numbers = message.items.numbers
        try:
            values = self._codec.decode(message.header, buffers)
        except CodecError:
            return
        if isinstance(values, list) and len(values) == len(numbers):
            self._leading.perform(
                running, running.leader.learned(message.path, numbers, values, self._loop.time())
            )  # fmt: skip

    def intended(self, job: str, intent: KeepIntent) -> None:
        """An intent is durable."""
        running = self._jobs.get(job)
        if running is not None and isinstance(running.leader, JobLeader):
            now = self._loop.time()
            effects = running.leader.intended(intent.step, intent.peer, intent.numbers, now)
            self._leading.perform(running, effects)

    def step_down(self, job: str, term: Term) -> None:
        """Another peer leads a job."""
        running = self._jobs.pop(job, None)
        if running is not None:
            self._leading.step_down(running)

    def kept(self, job: str) -> None:
        """A job has ended, and all of it is kept."""
        self._over(job)
        self._loop.call_later(RELEASE_S, self._release, job)

    def _release(self, job: str) -> None:
        for running in self._leading.ended:
            if running.id == job and isinstance(running.leader, JobLeader):
                running.released = True
                running.leader.release()

    def led_by(self, job: str, term: Term, took_over: bool) -> None:
        """A new term of a job is known."""
        self._led_by(job, term, took_over)

    # --- what leaders want -------------------------------------------------------------------------------------------

    def _keep(self, running: RunningJob, effect: Keep, report: Report | None) -> None:
        self.keeping.keep(running.id, effect, report)

    def _nothing_new(self, running: RunningJob, report: Report) -> None:
        self.keeping.nothing_new(running.id, report.done.step, report.peer, report.done.number)

    def _ended(self, running: RunningJob) -> None:
        if self._jobs.pop(running.id, None) is not None:
            leader = running.leader
            self.keeping.ended(running.id, leader.state, running.ended_at or self._wall(), leader.failure)
            self._loop.call_soon(self._over, running.id)  # after what was said to this peer's own workers

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _decisions(replay: Replay, again: bool) -> list[Decided]:
    """What a person said, about all that the job stopped with."""
    open_intents = replay.journal.undecided()
    return [Decided(path, span(items), again) for path, items, _ in open_intents]
