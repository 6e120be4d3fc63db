"""What a peer does so that jobs outlive their leader: its own and others'. Shell around `Succession`.

One funnel, `_perform`. What is to be recorded of jobs led here goes through `recording`; what standbys are sent comes
from memory or from disk. What comes for one job is taken in the order in which it came.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

from meshwit.codec import Buffer, Codec, CodecError
from meshwit.ids import PeerId
from meshwit.lang.control import Failure
from meshwit.outcome import JobState
from meshwit.peer.job.effects import Keep, KeepIntent
from meshwit.peer.saying import Say
from meshwit.peer.succession import effects as do
from meshwit.peer.succession.arriving import Arrivals, Fetch, RefusedError
from meshwit.peer.succession.carrying import records_of
from meshwit.peer.succession.disk import Disk
from meshwit.peer.succession.handing_over import Leads, TakenOver, Taking
from meshwit.peer.succession.messages import Append, CannotStandBy, Have, StandBy, SuccessionMessage, counts_of
from meshwit.peer.succession.pinning import Pins, Shelf
from meshwit.peer.succession.recording import LedLog, Recorder
from meshwit.peer.succession.records import (
    Began,
    Decided,
    JobSpec,
    LogId,
    Over,
    Paused,
    Record,
    Term,
    Versions,
)
from meshwit.peer.succession.replaying import Replay, replay_of
from meshwit.peer.succession.sending import Sender
from meshwit.peer.succession.store import Kept, Store, StoreError
from meshwit.peer.succession.succession import Succession
from meshwit.peer.succession.ticking import Ticker
from meshwit.peer.succession.writing import LogWriter, Report
from meshwit.peer.work.messages import Durable, Held, JobMessage, Ready, Redone

READY_S: Final = 0.5
"""For peers to say what they hold for a job that was taken over; what one says later is learned later."""
GATHER_S: Final = 0.6
"""Before a job that nobody leads is led on: for others to say that they have more of it."""
EXPIRE_EVERY_S: Final = 600.0
_log = logging.getLogger(__name__)


class Keeping:
    """See the module. To be made on the running loop.

    Args:
        me: this peer.
        opened: opens what jobs are kept in; raises StoreError.
        say: sends a message to a peer.
        fetch: brings blobs here; says why not.
        linked: the peers that there is a connection to.
        leads: leads jobs.
        shelf: where blobs are.
        wall: seconds since 1970.

    Attributes:
        core: who leads what.
    """

    def __init__(
        self,
        me: PeerId,
        opened: Callable[[], Store],
        codec: Codec,
        say: Say[JobMessage | SuccessionMessage],
        fetch: Fetch,
        linked: Callable[[], Iterable[PeerId]],
        leads: Leads,
        shelf: Shelf,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.me = me
        self.core = Succession(me)
        self._codec = codec
        self._say = say
        self._linked = linked
        self._leads = leads
        self._wall = wall
        self._loop = asyncio.get_running_loop()
        self._disk = Disk(opened)
        self._recorder = Recorder(self._disk, self)
        self._sender = Sender(self._disk, self._recorder, say, self._spawn)
        self._pins = Pins(shelf)
        self._specs: dict[str, JobSpec] = {}
        self._ended_at: dict[str, float] = {}
        self._taking: dict[str, Taking] = {}
        self._arrivals = Arrivals(self._disk, leads.leadable, fetch, self._spawn)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ticker = Ticker(self.core, self._perform, wall)
        self._expire_timer: asyncio.TimerHandle | None = None

    @property
    def notice(self) -> str:
        """What people should know about what is kept, empty if nothing."""
        return self._disk.notice

    async def open(self) -> None:
        """Read what is kept: closely only what has not ended, since a peer that starts is waited for."""
        await self._disk.open()
        with contextlib.suppress(StoreError):
            store = self._disk.store
            for kept in await self._disk.run(store.jobs):
                job, over = kept.spec.id, kept.over
                if over is not None and [epoch for epoch, _ in kept.versions] == [1]:  # as most: nobody took it over
                    ((_, leader),) = kept.versions
                    self._restore(kept, kept.versions, Term(1, 0, leader), over)
                    continue
                history = await self._disk.run(store.history, job)
                if history.head is not None:
                    # The end that a leader recorded counts only if whoever leads now knows of it.
                    term = history.term(history.head)
                    self._restore(kept, history.versions, term, over if history.over else None)
        self._spawn(self._pin_all(list(self._specs)))
        self._expire()

    def _restore(self, kept: Kept, versions: Versions, term: Term, over: JobState | None) -> None:
        self._specs[kept.spec.id] = kept.spec if over is None else kept.spec.listed
        if kept.ended_at is not None and over is not None:
            self._ended_at[kept.spec.id] = kept.ended_at
        self.core.restore(kept.spec.id, versions, term, over, self._loop.time())

    async def _pin_all(self, jobs: Sequence[str]) -> None:
        for job in jobs:
            with contextlib.suppress(StoreError):
                blobs = await self._disk.run(self._disk.store.blobs, job)
                spec = self._specs.get(job)
                if spec is not None:
                    self._pins.add(job, blobs | {name for name, _ in spec.arguments.blobs})
        self._pins.complete()

    def lay_down(self) -> None:
        """Lead nothing on any more, and have standbys sent what there is."""
        self._ticker.close()
        for job in list(self._recorder.logs):
            self._recorder.flush(job)

    async def close(self) -> None:
        """Write what is to be written, and stop. Jobs that run here are left for others to take over."""
        self._recorder.close()
        self._sender.close()
        self._ticker.close()
        if self._expire_timer is not None:
            self._expire_timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._disk.close()

    # --- for who leads -----------------------------------------------------------------------------------------------

    def kept(self) -> list[JobSpec]:
        """All jobs that are kept here; those that are over as far as they are listed (`JobSpec.listed`)."""
        return list(self._specs.values())

    def ended_at(self, job: str) -> float | None:
        """When a job that is kept here ended, in seconds since 1970."""
        return self._ended_at.get(job)

    def is_over(self, job: str) -> bool:
        """Whether a job has ended, as far as this peer knows: one that is held has not."""
        known = self.core.jobs.get(job)
        return known is not None and known.is_over

    def term(self, job: str) -> Term | None:
        """The highest known term of a job."""
        known = self.core.jobs.get(job)
        return known.term if known is not None else None

    def begin(self, spec: JobSpec, arguments: Sequence[Buffer], roots: Sequence[str]) -> Term:
        """A job begins, that this peer leads."""
        term = Term(1, 0, self.me)
        writer = LogWriter(term.log, self._codec)
        writer.add(Began())
        self._specs[spec.id] = spec
        self._pins.add(spec.id, (name for name, _ in spec.arguments.blobs))
        self._put(spec, arguments, roots)
        self._recorder.begin(spec.id, LedLog(spec, arguments, writer, roots))
        self._perform(self.core.lead(spec.id, spec.standbys, self._loop.time()))
        return term

    def keep(self, job: str, effect: Keep, report: Report | None = None) -> None:
        """Something to be recorded."""
        self._recorder.keep(job, effect, report)

    def nothing_new(self, job: str, step: int, peer: PeerId, number: int) -> None:
        """A report brought nothing to be recorded: its peer need not keep it."""
        self._recorder.nothing_new(job, step, peer, number)

    def ended(self, job: str, state: JobState, ended_at: float, failure: Failure | None) -> None:
        """A job has its outcome, or has stopped with a question."""
        if job not in self._recorder.logs:
            return
        if state is JobState.HELD:
            self._recorder.flush(job)
        else:
            self._over(job, ended_at)
            self._recorder.add(job, [Over(state, ended_at, failure)])
        self._perform(self.core.ended(job, state, self._loop.time()))
        if state is JobState.HELD:
            self._recorder.leave(job)

    def paused(self, job: str, paused: bool) -> None:
        """A job was paused, or goes on."""
        self._recorder.add(job, [Paused(paused)])

    async def resume(
        self, job: str, decisions: Callable[[Replay], Sequence[Decided]] | None = None, *, to_end: bool = False
    ) -> bool:
        """Lead a job on that nobody leads, or end it; whether it did: not where somebody leads it.

        Raises StoreError, CannotLeadError, and LookupError where this peer has nothing of it, or it has ended.
        """
        self._spec(job)
        spec, _ = await self._disk.run(self._disk.store.specification, job)
        if not to_end:
            self._leads.leadable(spec)
        others = [peer for peer in self._linked() if peer != self.me]
        self._perform(self.core.gather(job))
        if others:
            await asyncio.sleep(GATHER_S)
        if job in self._recorder.logs or self.core.jobs.is_led(job):
            return False
        if self.is_over(job):
            raise LookupError("it has ended")
        if to_end:  # without a look at what is kept: this device may not be able to read it
            self._perform(self.core.resume(job, 0.0, spec.standbys, self._loop.time(), to_end=True))
            await asyncio.sleep(0)  # `_end_cancelled`
            return self.is_over(job)
        replay = await self._replay(job)
        decided = list(decisions(replay)) if decisions is not None else []
        self._perform(self.core.resume(job, replay.elapsed, spec.standbys, self._loop.time()))
        self._recorder.add(job, [Paused(False), *decided])  # whoever has it led on wants it to go on
        return True

    async def replay(self, job: str) -> tuple[JobSpec, Sequence[Buffer], Replay]:
        """All that is kept of a job. Raises LookupError and StoreError."""
        self._spec(job)
        spec, arguments = await self._disk.run(self._disk.store.specification, job)
        return spec, arguments, await self._replay(job)

    def _spec(self, job: str) -> JobSpec:
        spec = self._specs.get(job)
        if spec is None:
            raise LookupError(f"nothing of the job {job} is kept on this device")
        return spec

    async def _replay(self, job: str) -> Replay:
        return await self._disk.run(replay_of, self._disk.store, job, self._codec)

    # --- for the mesh ------------------------------------------------------------------------------------------------

    def linked(self, peer: PeerId) -> None:
        """There is a connection to a peer."""
        self._perform(self.core.linked(peer, self._loop.time()))

    def unlinked(self, peer: PeerId) -> None:
        """It has ended, or the peer is known to be dead."""
        self._sender.unlinked(peer)
        self._perform(self.core.unlinked(peer, self._loop.time()))
        for taking in self._taking.values():
            taking.ready(peer)

    def spoke(self, peer: PeerId) -> None:
        """Something came from a peer, be it a piece of what takes long."""
        self.core.signs.spoke(peer, self._loop.time())

    def rank(self, candidates: Iterable[PeerId]) -> None:
        """Who may stand by, the best first."""
        self._perform(self.core.rank(candidates, self._loop.time()))

    def received(self, peer: PeerId, message: SuccessionMessage, buffers: Sequence[Buffer]) -> None:
        """A peer said something about who leads, or what is recorded."""
        now = self._loop.time()
        match message:
            case StandBy():
                welcome, effects = self.core.may_stand_by(peer, message.job, message.term, now)
                self._perform(effects)
                if welcome:
                    self._arrivals.in_order(message.job, self._stand_by(peer, message, buffers))
            case Append():
                self._append(peer, message, buffers)
            case _:
                if isinstance(message, Have):
                    self._sender.has(peer, message)
                self._perform(self.core.receive(peer, message, now))

    def told(self, peer: PeerId, message: Held | Redone | Ready, buffers: Sequence[Buffer]) -> None:
        """A worker says what it holds of a job that this peer took over."""
        taking = self._taking.get(message.job)
        if isinstance(message, Ready):
            if taking is not None:
                taking.ready(peer)
        elif taking is not None:
            taking.reports.append((peer, message, buffers))
        else:
            self._leads.redone(message.job, peer, message, buffers)

    # --- what the recorder tells -------------------------------------------------------------------------------------

    def written(self, job: str, count: int) -> None:
        """The own log of a job has so many records."""
        self._perform(self.core.written(job, count, self._loop.time()))

    def refers_to(self, job: str, hashes: Iterable[str]) -> None:
        """What was recorded of a job refers to these blobs."""
        self._pins.add(job, hashes)

    def stored(self, job: str, log: LogId, count: int) -> None:
        """So many lie on disk."""
        self._perform(self.core.stored(job, log, count, None, self._loop.time()))

    def unwritable(self, job: str) -> None:
        """The disk does not take them."""
        self._perform(self.core.unwritable(job))

    def tell_durable(self, peer: PeerId, step: int, upto: int) -> None:
        """So many reports of a peer on a step are durable."""
        self._say(peer, Durable(step, upto))

    def intended(self, job: str, intent: KeepIntent) -> None:
        """An intent is durable."""
        self._leads.intended(job, intent)

    # --- performing --------------------------------------------------------------------------------------------------

    def _perform(self, effects: Sequence[do.Effect]) -> None:
        """The one funnel."""
        for effect in effects:
            match effect:
                case do.Send(peer=peer, message=message):
                    self._say(peer, message)
                case do.SendSpec(peer=peer, job=job, term=term):
                    self._sender.specification(peer, job, term)
                case do.SendRecords():
                    self._sender.records(effect)
                case do.TakeOver():
                    self._take_over(effect)
                case do.StepDown(job=job, term=term):
                    self._recorder.leave(job)
                    self._taking.pop(job, None)
                    self._leads.step_down(job, term)
                case do.Durable(job=job, upto=upto):
                    self._recorder.durable(job, upto)
                case do.Finished(job=job):
                    self._recorder.leave(job)
                    self._leads.kept(job)
                case do.Learned(job=job):
                    self._spawn(self._learn(job))
                case do.Led(job=job, term=term, took_over=took_over):
                    self._leads.led_by(job, term, took_over)
        self._ticker.arm()

    # --- taking over -------------------------------------------------------------------------------------------------

    def _take_over(self, effect: do.TakeOver) -> None:
        job, term = effect.job, effect.term
        versions = self.core.jobs[job].versions
        basis = [(epoch, leader, count) for (epoch, leader), count in versions.items() if (epoch, leader) != term.log]
        writer = LogWriter(term.log, self._codec)
        writer.add(Began(sorted(basis), term.rank))
        log = LedLog(self._specs[job], [], writer)
        self._recorder.begin(job, log)
        if effect.cancelled:
            self._loop.call_soon(self._end_cancelled, job, term)
            return
        taking = self._taking[job] = Taking({*self._linked(), self.me})
        self._spawn(self._lead_on(taking, log, effect))

    async def _lead_on(self, taking: Taking, log: LedLog, effect: do.TakeOver) -> None:
        job = effect.job
        try:
            roots = await self._disk.run(self._disk.store.roots, job)
            log.spec, log.arguments, replay = await self.replay(job)
        except (StoreError, LookupError, CodecError) as reason:
            self._disk.problem(reason)
            if self._taking.get(job) is taking:
                self.give_up(job)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_S):
                await taking.all_ready.wait()
        if self._taking.get(job) is not taking:
            return  # another peer leads it meanwhile
        del self._taking[job]
        self._leads.lead_on(
            TakenOver(log.spec, log.arguments, roots, replay, effect.term, effect.elapsed, taking.reports)
        )  # fmt: skip

    def _end_cancelled(self, job: str, term: Term) -> None:
        """Nobody needs to know more of it than that."""
        if self.term(job) == term:
            self.ended(job, JobState.CANCELLED, self._wall(), None)

    def give_up(self, job: str) -> None:
        """This peer cannot lead a job that it took over: it beats no more, so that another one does."""
        self._recorder.leave(job)
        self._taking.pop(job, None)
        self.core.give_up(job)
        self._specs.pop(job, None)

    async def _learn(self, job: str) -> None:
        """What others recorded of a job that runs here, and this peer has not."""
        with contextlib.suppress(StoreError, CodecError, LookupError):
            replay = await self._replay(job)
            if job in self._recorder.logs and job not in self._taking:
                self._leads.learn(job, replay)

    # --- standing by -------------------------------------------------------------------------------------------------

    async def _stand_by(self, peer: PeerId, message: StandBy, buffers: Sequence[Buffer]) -> None:
        try:
            spec, versions = await self._arrivals.specification(peer, message, buffers)
        except RefusedError as reason:
            self._say(peer, CannotStandBy(message.job, str(reason)[:400]))
            return
        self._specs[spec.id] = spec
        self._pins.add(spec.id, (name for name, _ in spec.arguments.blobs))
        self._perform(self.core.standing_by(message.job, message.term, versions, self._loop.time()))

    def _append(self, peer: PeerId, message: Append, buffers: Sequence[Buffer]) -> None:
        log = (message.epoch, message.leader)
        try:
            records = records_of(message, buffers)
        except ValueError as reason:
            _log.warning("records of %s cannot be read: %s", message.job, reason)
            return
        welcome, effects = self.core.may_append(peer, message.job, log, message.first, len(records), self._loop.time())
        self._perform(effects)
        if welcome and records:
            storing = self._store_records(peer, message.job, log, message.first, records)
            self._arrivals.in_order(message.job, storing)

    async def _store_records(self, peer: PeerId, job: str, log: LogId, first: int, records: Sequence[Record]) -> None:
        self._pins.add(job, (name for record in records for name, _ in record.blobs))
        try:
            over = await self._arrivals.records(peer, job, log, first, records)
        except RefusedError as reason:
            self._perform(self.core.not_stored(job, str(reason)))
            return
        term = self.term(job)
        if over is not None and term is not None and term.log == log:  # others' are overruled
            self._over(job, over.ended_at)
        state = over.state if over is not None else None
        self._perform(self.core.stored(job, log, first + len(records), state, self._loop.time()))
        known = self.core.jobs.get(job)
        if known is not None and known.term.leader != peer:  # whoever sends more hears of it, as the leader does
            self._say(peer, Have(job, counts_of(known.versions)))

    # --- inside ------------------------------------------------------------------------------------------------------

    def _over(self, job: str, ended_at: float) -> None:
        """From now on it is read from disk, and listed."""
        if job in self._specs:
            self._ended_at[job] = ended_at
            self._specs[job] = self._specs[job].listed

    def _put(self, spec: JobSpec, arguments: Sequence[Buffer], roots: Sequence[str]) -> None:
        with contextlib.suppress(StoreError):
            putting = self._disk.start(self._disk.store.put, spec, arguments, roots)
            putting.add_done_callback(self._put_done)

    def _put_done(self, putting: asyncio.Future[None]) -> None:
        if not putting.cancelled() and (problem := putting.exception()) is not None:
            self._disk.problem(problem)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _expire(self) -> None:
        self._expire_timer = self._loop.call_later(EXPIRE_EVERY_S, self._expire)
        self._spawn(self._expired())

    async def _expired(self) -> None:
        with contextlib.suppress(StoreError):
            goes_on = {job for job in self._specs if not self.is_over(job)}  # whatever one of its logs says
            for job in await self._disk.run(self._disk.store.expire, self._wall(), goes_on):
                self._recorder.leave(job)
                self._specs.pop(job, None)
                self._ended_at.pop(job, None)
                self._pins.drop(job)
                self.core.forget(job)
