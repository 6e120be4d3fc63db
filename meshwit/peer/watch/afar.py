"""Jobs of other peers for this one's owner. Shell.

Whoever follows a job from afar is told its events by whoever leads it, and looks for that peer anew when it is lost: a
job that another one took over is followed on. A peer that has kept a job that ended tells its outcome to any member.
What others want to hear of the jobs here is told by `serving`; whatever comes from a peer comes through here.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import weakref
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from meshwit import events
from meshwit.codec import Buffer, Codec, CodecError
from meshwit.ids import PeerId
from meshwit.outcome import JobState, Outcome
from meshwit.peer.control.api import JobView, PeerError
from meshwit.peer.control.job_messages import decode_event
from meshwit.peer.control.job_script import JobScript
from meshwit.peer.running_job import RunningJob
from meshwit.peer.saying import Say
from meshwit.peer.watch.here import Here
from meshwit.peer.watch.messages import (
    EVENTS_MAX,
    LINES_MAX,
    Answered,
    AskJobs,
    AskWhy,
    JobsTold,
    OutcomeTold,
    Steer,
    Told,
    Unwatch,
    Watch,
    Watched,
    WatchMessage,
)
from meshwit.peer.watch.outcomes import blobs_of, outcome_of
from meshwit.peer.watch.serving import Serving

ANSWER_S: Final = 5.0
ALL_ANSWER_S: Final = 0.7
"""For all peers to say which jobs they have: people wait for it."""
LOST_S: Final = 60.0
"""A job that nobody is found to lead for so long is given up by who follows it."""
LOOK_AGAIN_S: Final = 0.4
FIND_AGAIN_S: Final = 3.0
FETCH_TRIES: Final = 3
"""Peers that are asked for the files of an outcome."""
LOST_LATELY_S: Final = 5.0
"""Who was lost so lately may be back, and may be who knows a job that nobody else has heard of."""
_views: Final = msgspec.msgpack.Decoder(list[JobView])


class Afar:
    """See the module. To be made on the running loop.

    Args:
        me: this peer.
        linked: the peers that there is a connection to.
        fetch: brings blobs here; says why not.
    """

    def __init__(
        self,
        me: PeerId,
        codec: Codec,
        say: Say[WatchMessage],
        linked: Callable[[], Iterable[PeerId]],
        fetch: Any,
        here: Here,
    ) -> None:
        """`find`, to be set later, seeks a link to whoever leads a job, where not all are linked."""
        self.me = me
        self.codec = codec
        self.say = say
        self.linked = linked
        self.fetch = fetch
        self.here = here
        self.loop = asyncio.get_running_loop()
        self.began = self.loop.time()
        self.keys = itertools.count(1)
        self.runs: dict[int, FollowedJob] = {}
        self.find: Callable[[str], Awaitable[None]] = _nowhere
        self._lost_at: float | None = None
        self._questions: dict[int, tuple[PeerId, asyncio.Future[Any]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._followed: weakref.WeakSet[FollowedJob] = weakref.WeakSet()
        self._serving = Serving(codec, say, here, self.spawn)

    def close(self) -> None:
        """Follow nothing any more."""
        for run in list(self.runs.values()):
            run.detach()
        self._serving.close()
        for task in self._tasks:
            task.cancel()

    # --- asking ------------------------------------------------------------------------------------------------------

    async def jobs(self, like: str = "") -> list[tuple[PeerId, JobView]]:
        """What all linked peers lead or keep, and who says so; those that do not answer in time are left out. All that
        they list, or what somebody may mean who says `like`."""
        return (await self.asked(like))[0]

    async def asked(self, like: str = "") -> tuple[list[tuple[PeerId, JobView]], bool]:
        """The same, and whether that is all there is: everybody answered, and nobody was lost a moment ago."""
        others = [peer for peer in self.linked() if peer != self.me]
        asked = [
            asyncio.ensure_future(self._ask(peer, AskJobs(next(self.keys), like), ALL_ANSWER_S)) for peer in others
        ]
        found: list[tuple[PeerId, JobView]] = []
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for peer, told in zip(others, answers, strict=True):
            if isinstance(told, JobsTold):
                with contextlib.suppress(msgspec.MsgspecError, ValueError):
                    found += [(peer, view) for view in _views.decode(told.header)]
        lost_lately = self._lost_at is not None and self.loop.time() < self._lost_at + LOST_LATELY_S
        return found, not lost_lately and all(isinstance(told, JobsTold) for told in answers)

    async def steer(self, peer: PeerId, job: str, what: str) -> None:
        """Have a leader do something with a job. Raises PeerError."""
        await self._answer(peer, Steer(next(self.keys), job, what))

    async def explain(self, peer: PeerId, job: str, item: int | None) -> list[str]:
        """Have a leader say why a job is where it is. Raises PeerError."""
        return await self._answer(peer, AskWhy(next(self.keys), job, -1 if item is None else item))

    async def _answer(self, peer: PeerId, message: Steer | AskWhy) -> list[str]:
        try:
            told = await self._ask(peer, message, ANSWER_S)
        except TimeoutError:
            raise PeerError("the peer that leads the job does not answer", "try again in a moment") from None
        if not isinstance(told, Answered):
            raise PeerError("the peer that leads the job answers something else", "it may be of another version")
        if told.why:
            raise PeerError(told.why[:1000], told.hint[:1000])
        return told.lines[:LINES_MAX]

    async def _ask(self, peer: PeerId, message: AskJobs | Steer | AskWhy, timeout_s: float) -> Any:
        future: asyncio.Future[Any] = self.loop.create_future()
        self._questions[message.key] = (peer, future)
        try:
            self.say(peer, message)
            async with asyncio.timeout(timeout_s):
                return await future
        finally:
            del self._questions[message.key]

    def follow(
        self, job: str, on_event: Callable[[events.JobEvent], None], running: RunningJob | None = None
    ) -> FollowedJob:
        """Follow a job of the mesh; `running`, where it runs here and `on_event` is told of it already."""
        run = FollowedJob(self, job, on_event, running)
        self._followed.add(run)
        return run

    @property
    def untold(self) -> int:
        """How many are followed that have ended, and whoever follows them may not have heard all of it."""
        return sum(run.is_untold for run in self._followed)

    # --- what happens ------------------------------------------------------------------------------------------------

    def unlinked(self, peer: PeerId) -> None:
        """A connection has ended."""
        self._lost_at = self.loop.time()
        for asked, future in list(self._questions.values()):
            if asked == peer and not future.done():
                future.set_exception(TimeoutError())
        for run in list(self.runs.values()):
            run.unlinked(peer)
        self._serving.unlinked(peer)

    def led_by(self, job: str, leader: PeerId) -> None:
        """Another peer leads a job."""
        for run in list(self.runs.values()):
            if run.id == job:
                run.led_by(leader)

    def received(self, peer: PeerId, message: WatchMessage, buffers: Sequence[Buffer]) -> None:
        """A peer asks, or answers."""
        match message:
            case AskJobs() | Watch() | Unwatch() | Steer() | AskWhy():
                self._serving.asked(peer, message)
            case JobsTold(key=key) | Answered(key=key):
                asked, future = self._questions.get(key, (None, None))
                if asked == peer and future is not None and not future.done():
                    future.set_result(message)
            case Watched(key=key) | Told(key=key) | OutcomeTold(key=key):
                run = self.runs.get(key)
                if run is not None:
                    run.received(peer, message, buffers)

    def spawn(self, work: Any) -> None:
        """Do something beside."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _nowhere(_job: str) -> None:
    """Where all are linked to all there is nowhere to look."""


class FollowedJob:
    """A job for this peer's owner, whoever leads it now or later; see `control.api.JobRun`."""

    def __init__(
        self, afar: Afar, job: str, on_event: Callable[[events.JobEvent], None], running: RunningJob | None
    ) -> None:
        self.id = job
        self.script = running.script if running is not None else JobScript("", "", "")
        self._running = running
        self._afar = afar
        self._on_event: Callable[[events.JobEvent], None] | None = on_event
        self._key = 0
        self._peer: PeerId | None = None
        self._look = asyncio.Event()
        self._found: asyncio.Future[None] = afar.loop.create_future()
        self._outcome: asyncio.Future[Outcome] = afar.loop.create_future()
        self._refused: set[PeerId] = set()
        self._unfetched = 0
        self._is_told = False
        self._following: asyncio.Task[None] | None = afar.loop.create_task(self._follow())

    async def found(self) -> None:
        """Wait until somebody tells of the job. Raises PeerError."""
        await asyncio.shield(self._found)

    def known(self, script: JobScript, outcome: Outcome) -> None:
        """What it came to is kept here."""
        if not self._outcome.done():
            self.script = script
            self._outcome.set_result(outcome)
            self._is_found()
            self._follow_no_more()
            self._unwatch()

    async def pause(self) -> None:
        """Start no new task."""
        await self._steer("pause")

    async def resume(self) -> None:
        """Start tasks again."""
        await self._steer("resume")

    async def cancel(self) -> None:
        """End it."""
        await self._steer("cancel")

    def detach(self) -> None:
        """Be told nothing more; the job goes on."""
        if self._running is not None and self._on_event is not None:
            self._running.unwatch(self._on_event)
        self._on_event = None
        self._follow_no_more()
        self._unwatch()
        for future in (self._found, self._outcome):
            if not future.done():
                future.set_exception(PeerError("the job is followed no more"))
            future.exception()

    @property
    def is_untold(self) -> bool:
        """Whether what it came to is known, or will be in a moment, and it is followed still."""
        here = self._running
        ended = self._outcome.done() or (here is not None and here.leader.state is not JobState.RUNNING)
        return ended and self._on_event is not None

    async def outcome(self) -> Outcome:
        """What it came to. Raises PeerError."""
        return await asyncio.shield(self._outcome)

    async def _steer(self, what: str) -> None:
        if self._outcome.done():
            return
        if self._running is not None:
            self._afar.here.steer(self.id, what, self._afar.me)
            return
        leader = self._afar.here.leader(self.id) or self._peer
        if leader is None or leader not in set(self._afar.linked()):
            raise PeerError("nobody is known to lead the job now", "try again in a moment")
        await self._afar.steer(leader, self.id, what)

    # --- following ---------------------------------------------------------------------------------------------------

    def unlinked(self, peer: PeerId) -> None:
        """A connection has ended."""
        self._refused.discard(peer)
        if peer == self._peer:
            self._peer = None
            self._look.set()

    def led_by(self, leader: PeerId) -> None:
        """Another peer leads it now."""
        self._refused.discard(leader)
        if leader != self._peer:
            self._look.set()

    def received(self, peer: PeerId, message: Watched | Told | OutcomeTold, buffers: Sequence[Buffer]) -> None:
        """Something about it."""
        if peer != self._peer:
            return
        match message:
            case Watched(text=text, filename=filename, name=name):
                self.script = JobScript(text, filename, name)
                self._is_told = True
                self._is_found()
            case Told(events=told):
                for each in told[:EVENTS_MAX]:
                    event = decode_event(each)
                    if event is not None and self._on_event is not None:
                        self._on_event(event)
            case OutcomeTold(why=""):
                self.script = JobScript(message.text, message.filename, message.name)
                self._afar.spawn(self._end(peer, message, buffers))
            case OutcomeTold():
                self._refused.add(peer)
                self._peer = None
                self._look.set()

    async def _end(self, peer: PeerId, told: OutcomeTold, buffers: Sequence[Buffer]) -> None:
        try:
            blobs = blobs_of(buffers)
            why = await self._afar.fetch(blobs, [peer]) if blobs else ""
            if self._outcome.done():
                return
            if why:
                self._unfetched += 1
                if self._unfetched < FETCH_TRIES:  # another one may have them
                    self._refused.add(peer)
                    self._peer = None
                    self._look.set()
                    return
                raise PeerError(f"the results are not to be had: {why}")
            self._outcome.set_result(outcome_of(told, buffers, self._afar.codec))
        except (CodecError, PeerError) as reason:
            self._outcome.set_exception(reason if isinstance(reason, PeerError) else PeerError(str(reason)))
            self._outcome.exception()
        self._is_found()
        self._follow_no_more()
        self._afar.runs.pop(self._key, None)

    async def _follow(self) -> None:
        """Look for whoever tells of it, again and again."""
        lost_at = sought_at = self._afar.loop.time()
        while self._afar.loop.time() < lost_at + LOST_S:
            self._look.clear()  # what happens from here on may tell more than what is found now
            if self._running is None:
                self._running = self._afar.here.running(self.id)
                if self._running is not None and self._on_event is not None:
                    self._running.watch(self._on_event)
            if self._running is not None:
                await self._follow_here(self._running)
                if self._outcome.done():
                    return
                lost_at = self._afar.loop.time()
            elif await self._is_kept_here():
                return
            peer = await self._teller()
            if peer is None or peer not in set(self._afar.linked()):  # it may have gone while others were asked
                await asyncio.sleep(LOOK_AGAIN_S)
                if self._afar.loop.time() > sought_at + FIND_AGAIN_S:
                    await self._afar.find(self.id)
                    sought_at = self._afar.loop.time()
                self._refused.clear()
                continue
            self._unwatch()
            self._peer = peer
            self._is_told = False
            self._key = next(self._afar.keys)
            self._afar.runs[self._key] = self
            self._afar.say(peer, Watch(self._key, self.id))
            await self._look.wait()
            if self._is_told:
                lost_at = self._afar.loop.time()
        self._give_up()

    async def _is_kept_here(self) -> bool:
        """Whether this peer led it last, though only to end it, and has what it came to."""
        here = self._afar.here
        if here.leader(self.id) != self._afar.me:
            return False
        try:
            script, outcome = await here.kept(self.id)
        except PeerError:
            return False
        self.known(script, outcome)
        return True

    async def _follow_here(self, running: RunningJob) -> None:
        """While this peer leads it."""
        self.script = running.script
        self._is_found()
        await running.ended.wait()
        self._running = None
        if self._on_event is not None:
            running.unwatch(self._on_event)
        if running.leader.state is not JobState.RUNNING and not self._outcome.done():
            self._outcome.set_result(self._afar.here.outcome(running))

    async def _teller(self) -> PeerId | None:
        linked = set(self._afar.linked())
        leader = self._afar.here.leader(self.id)
        if leader in linked and leader != self._afar.me and leader not in self._refused:
            return leader
        all_told, is_all = await self._afar.asked(self.id)
        told = [(peer, view) for peer, view in all_told if view.id == self.id]
        unknown = not told and not self._refused and leader is None
        views = [view for _, view in told]
        if self._afar.loop.time() > self._afar.began + LOST_LATELY_S:  # else its leader may be linked in a moment
            views += self._afar.here.views(self.id)
        led_by_nobody = bool(views) and all(view.state in ("interrupted", "held") for view in views)
        if is_all and not self._found.done() and (unknown or led_by_nobody):
            self._give_up()
            raise asyncio.CancelledError
        told.sort(key=lambda each: each[1].state not in ("running", "paused"))
        return next((peer for peer, _ in told if peer not in self._refused), None)

    def _follow_no_more(self) -> None:
        """What a task was called off with leads back to this job: it must not lead on to the task, nor keep the outcome
        until cycles are looked for."""
        if self._following is not None:
            self._following.cancel()
            self._following = None

    def _unwatch(self) -> None:
        if self._afar.runs.pop(self._key, None) is not None and self._peer is not None:
            self._afar.say(self._peer, Unwatch(self._key))

    def _is_found(self) -> None:
        if not self._found.done():
            self._found.set_result(None)

    def _give_up(self) -> None:
        lost = PeerError(
            "nobody in the mesh leads this job any more, or has its outcome",
            "a device that was switched off may have it: meshwit jobs, meshwit resume",
        )
        for future in (self._found, self._outcome):
            if not future.done():
                future.set_exception(lost)
                future.exception()
