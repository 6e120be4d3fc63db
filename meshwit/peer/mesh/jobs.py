"""Jobs in the mesh: an `Engine` among the parts of a peer, and what the owner asks of it. Shell.

A peer works for this one's jobs while there is a link to it, it has told who it is and how fast, and its owner lets it
work. What it tells anew (slots, capabilities, controllers, that it rests) reaches the jobs at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from meshwit.bench.cache import default_folder, write_whole
from meshwit.codec import Codec
from meshwit.events import JobEvent
from meshwit.ids import PeerId, short
from meshwit.lang.arrows import activities_in
from meshwit.lang.checker import compile_script
from meshwit.lang.item_calls import item_call
from meshwit.lang.uses import activities_used, grid_tasks
from meshwit.outcome import JobState, Outcome
from meshwit.peer import heap
from meshwit.peer.control.api import JobView, PeerError, Submission
from meshwit.peer.control.job_messages import OpenStream
from meshwit.peer.control.job_script import JobScript
from meshwit.peer.control.options import UpOptions
from meshwit.peer.engine import Engine, PeerSettings
from meshwit.peer.job.leader import JobLeader
from meshwit.peer.job.stream import StreamLeader
from meshwit.peer.job.workers import Worker
from meshwit.peer.kept_jobs import Safety
from meshwit.peer.mesh import profile
from meshwit.peer.mesh.job_directory import JobDirectory
from meshwit.peer.mesh.known_jobs import HELD, INTERRUPTED, KnownJobs, merged
from meshwit.peer.mesh.profile import MemberProfile
from meshwit.peer.mesh.roster import Roster
from meshwit.peer.running_job import OnOutcomes, RunningJob
from meshwit.peer.sched.estimates import Seen
from meshwit.peer.watch.afar import Afar, FollowedJob
from meshwit.peer.wire.frames import Channel
from meshwit.peer.wire.links import Link, Links
from meshwit.peer.work.lengths import Known
from meshwit.peer.work.planning import intended_shares, plan_lines
from meshwit.plugins.registry import Registry

KEPT_FILE: Final = "seen_of_jobs.msgpack"
TRIM_S: Final = 5.0
TRIMS: Final = 6
"""Memory that is free is given back every `TRIM_S` while jobs begin, and so often after the last one, since what jobs
took is freed a while after their ends, on a busy device a long while: each time takes some milliseconds."""
_FILE_BYTES_MAX: Final = 16 * 1024 * 1024


class Experience(msgspec.Struct, frozen=True):
    """What jobs have taught: how fast peers are at activities, and how long items take."""

    speeds: dict[str, Seen] = {}
    lengths: dict[str, Known] = {}


class LedStream:
    """A stream for whoever opened it."""

    def __init__(self, engine: Engine, job: RunningJob, leader: StreamLeader) -> None:
        self.id = job.id
        self._engine = engine
        self._job = job
        self._leader = leader

    @property
    def slots(self) -> int:
        """Of all its peers."""
        return self._leader.slots

    def append(self, items: list[Any]) -> None:
        """More items."""
        self._engine.leading.append(self._job, items)

    def close(self) -> None:
        """No more will come."""
        self._engine.leading.append(self._job, [], last=True)

    def cancel(self) -> None:
        """End it."""
        self._engine.leading.cancel(self._job)

    async def ended(self) -> str:
        """Wait for its end, and say why it was no good one."""
        await self._job.ended.wait()
        if self._leader.state is JobState.COMPLETED:
            return ""
        return self._leader.failure.message if self._leader.failure is not None else "the stream was cancelled"


class MeshJobs:
    """See the module.

    Args:
        engine: entered and left by its owner.
        registry: the controllers that scripts may use.
        folder: where seen speeds are kept; None for the user's cache.
    """

    def __init__(self, engine: Engine, registry: Registry, folder: Path | None = None) -> None:
        self.engine = engine
        self._registry = registry
        self._file = (folder or default_folder()) / KEPT_FILE
        self._roster: Roster | None = None
        self._links: Links | None = None
        self._need: Callable[[list[str]], None] = lambda _activities: None
        self.known = KnownJobs(engine, self._name_of)
        self._afar = Afar(engine.me, engine.codec, engine.say, engine.linked_peers, engine.fetch, self.known)
        engine.letters.on_watch = self._afar.received
        engine.letters.on_led = self._led_by
        self._directory: JobDirectory | None = None
        self._kept = b""
        self._trimming: asyncio.TimerHandle | None = None
        self._collecting_s = 0.0
        self._trims_left = 0
        kept = _read(self._file)
        engine.leading.speeds.remember(kept.speeds)
        engine.leading.lengths.remember(kept.lengths)

    @property
    def codec(self) -> Codec:
        """Knows the types of all installed controllers."""
        return self.engine.codec

    @property
    def untold(self) -> int:
        """How many jobs have ended that its clients are still being told of."""
        return self._afar.untold

    # --- the mesh ----------------------------------------------------------------------------------------------

    def listen(self, links: Links) -> None:
        """Read the channels of jobs, of blobs, and of what passes within a device."""
        self._links = links
        links.on_message(Channel.JOB, lambda link, payload: self.engine.job_frame(link.peer, payload))
        links.on_message(Channel.BLOB, lambda link, payload: self.engine.blob_frame(link.peer, payload))
        links.on_message(Channel.DEVICE, lambda link, payload: self.engine.device_frame(link.peer, payload))

    def belong(
        self,
        roster: Roster,
        misbehaved: Callable[[PeerId, str], None],
        need: Callable[[list[str]], None],
        dial: Callable[[PeerId], Awaitable[None]],
        directory: JobDirectory,
    ) -> None:
        """Know who is who, whom to complain to, who has peers measured for a job's activities, who dials peers, and
        where those look who are not linked."""
        self._directory = directory
        self._afar.find = directory.find
        self._roster = roster
        self._need = need
        self.engine.misbehaved = misbehaved
        self.engine.dial = dial

    def _led_by(self, job: str, leader: PeerId, epoch: int) -> None:
        self._trims_left = TRIMS
        if self._trimming is None:
            self._trim_soon()
        self._afar.led_by(job, leader)
        if self._directory is not None:
            self._directory.led_by(job, leader, epoch)

    def link_up(self, link: Link) -> None:
        """There is a way to a peer."""
        self.engine.linked(link.peer, link)
        self._offer(link.peer)
        self._rank()

    def link_down(self, peer: PeerId) -> None:
        """It has ended."""
        self.engine.unlinked(peer)
        self._afar.unlinked(peer)
        self._rank()

    def record_changed(self, owner: PeerId, topic: str) -> None:
        """A peer told something of itself."""
        if topic in (profile.MEMBER, profile.LOAD, profile.SCORE, profile.RATES):
            self._offer(owner)
            if topic != profile.RATES:
                self._rank()

    def _offer(self, peer: PeerId) -> None:
        """Let jobs know what a peer can do now."""
        roster = self._roster
        member = roster.member(peer) if roster is not None else None
        if roster is None or member is None:
            return
        known = roster.known(peer)
        speeds = self.engine.leading.speeds
        cores = member.capabilities.get("cpu.cores")
        per_slot = known.scores.get("score", 0.0) / cores if isinstance(cores, int) and cores > 0 else 0.0
        speeds.told(peer, score=per_slot, benchmarks={activity: per_s for activity, (per_s, _) in known.rates.items()})
        if peer == self.engine.me:
            return
        # One that rests begins nothing more; what it has begun for us it may end.
        resting = known.load is not None and bool(known.load.resting)
        self.engine.worker_changed(self._worker(peer, member, 0 if resting else member.slots))

    def _worker(self, peer: PeerId, member: MemberProfile, slots: int) -> Worker:
        speeds = self.engine.leading.speeds
        return Worker(
            peer,
            member.name or short(peer),
            slots,
            member.capabilities,
            member.controllers,
            lambda activity: speeds.prior(peer, activity),
        )

    def _rank(self) -> None:
        """Who may stand by for jobs led here: other devices first, then those on mains that work for others, then the
        strongest."""
        roster, kept = self._roster, self.engine.kept
        if roster is None or kept is None:
            return
        own = roster.member(self.engine.me)
        found: list[tuple[bool, bool, float, PeerId]] = []
        for peer in self.engine.linked_peers():
            member = roster.member(peer)
            if member is not None and member.meshwit:
                known = roster.known(peer)
                load = known.load
                steady = load is None or (not load.resting and load.plugged_in is not False)
                apart = own is None or member.device != own.device
                found.append((not apart, not steady, -known.scores.get("score", 0.0), peer))
        kept.keeping.rank([peer for *_, peer in sorted(found)])

    def _name_of(self, peer: PeerId) -> str:
        if peer == self.engine.me:
            return self.engine.name
        member = self._roster.member(peer) if self._roster is not None else None
        return member.name if member is not None else short(peer)

    # --- the owner ---------------------------------------------------------------------------------------------

    def submit(self, asked: Submission, on_event: Callable[[JobEvent], None]) -> FollowedJob:
        """Lead a job."""
        program = compile_script(asked.text, self._registry.offer, asked.filename)
        name = asked.job or next(iter(program.jobs))
        if name not in program.jobs:
            raise PeerError(f"there is no job `{name}` in {asked.filename}")
        if len(asked.arguments) != len(program.jobs[name].parameters):
            raise PeerError(f"`{name}` takes {len(program.jobs[name].parameters)} values, not {len(asked.arguments)}")
        self._need(activities_used(program, name))
        job = self.engine.start(
            program, name, asked.arguments, on_event,
            roots=asked.roots, time_limit_s=asked.time_limit_s, memory_max_bytes=asked.memory_max_bytes,
            safety=Safety(asked.keep_s, asked.standbys),
        )  # fmt: skip
        return self._afar.follow(job.id, on_event, job)

    def open_stream(self, asked: OpenStream, on_outcomes: OnOutcomes) -> LedStream:
        """Lead a stream."""
        task = item_call(self._registry.offer, asked.activity, asked.arguments)
        self._need([task.activity.name])
        job = self.engine.open_stream(
            task, on_outcomes, requires=asked.requires, retries=max(0, asked.retries), roots=()
        )  # fmt: skip
        assert isinstance(job.leader, StreamLeader)
        return LedStream(self.engine, job, job.leader)

    def plan(self, asked: Submission) -> list[str]:
        """How each Grid step would be shared out."""
        program = compile_script(asked.text, self._registry.offer, asked.filename)
        leading = self.engine.leading
        lines: list[str] = []
        for task, span in grid_tasks(program, asked.job or next(iter(program.jobs))):
            activities = [call.activity for call in activities_in(task)]
            shares, left_out = intended_shares(leading.workers.values(), activities, leading.owners)
            lines += plan_lines(program.line_of(span), activities, shares, left_out)
        return lines or ["this job has no Grid step: it runs on this device"]

    async def jobs(self, like: str = "") -> list[JobView]:
        """Those of the whole mesh, the newest first."""
        told = await self._afar.jobs(like)
        return merged(self.known.views(like), [view for _, view in told])

    async def attach(self, job: str, on_event: Callable[[JobEvent], None]) -> FollowedJob:
        """Follow a job of the mesh."""
        ended = await self._ended_here(job)
        leader = self.known.leader(job)
        near = {*self.engine.linked_peers(), self.engine.me}
        if ended is None and self._directory is not None and leader not in near:
            await self._directory.find(job)
        followed = self._afar.follow(job, on_event)
        if ended is not None:
            followed.known(*ended)
        try:
            await followed.found()
        except BaseException:
            followed.detach()
            raise
        return followed

    async def _ended_here(self, job: str) -> tuple[JobScript, Outcome] | None:
        if self.known.running(job) is not None:
            return None
        try:
            return await self.known.kept(job)
        except PeerError:
            return None

    async def resume(self, job: str, again: bool | None) -> str:
        """Lead a job on that nobody leads."""
        kept = self.engine.kept
        if kept is None:
            raise PeerError("this peer keeps no jobs")
        await kept.resume(job, again)
        return job

    async def abandon(self, job: str) -> bool:
        """End a job that nobody leads."""
        if self.engine.kept is None:
            raise PeerError("this peer keeps no jobs")
        return await self.engine.kept.abandon(job)

    async def explain(self, job: str, item: int | None) -> list[str]:
        """Why a job, or one item of its Grid steps, ran where it did."""
        with contextlib.suppress(PeerError):
            return self.known.explain(job, item)
        leader = self.known.leader(job)
        if leader is None or leader not in set(self.engine.linked_peers()):
            tellers = [peer for peer, view in await self._afar.jobs(job) if view.id == job and view.done]
            leader = tellers[0] if tellers else None
        if leader is None:
            raise PeerError(f"nobody who is there has led the job {job}", "see which there are: meshwit jobs")
        return await self._afar.explain(leader, job, item)

    def interrupted(self) -> list[JobView]:
        """Jobs kept here that have not ended and that nobody is known to lead."""
        return [view for view in self.known.views() if view.state in (INTERRUPTED, HELD)]

    @property
    def leads_any(self) -> bool:
        """Whether it leads a job: streams do not count, which may go on for ever."""
        return any(isinstance(job.leader, JobLeader) for job in self.engine.leading.jobs)

    def lay_down(self) -> None:
        """Before its links end, which look like the death of all others: take nothing over any more."""
        if self.engine.kept is not None:
            self.engine.kept.keeping.lay_down()

    def close(self) -> None:
        """Follow nothing any more."""
        if self._trimming is not None:
            self._trimming.cancel()
        self._afar.close()

    def _trim_soon(self) -> None:
        self._trimming = asyncio.get_running_loop().call_later(TRIM_S, self._trim)

    def _trim(self) -> None:
        self._trimming = None
        if self._collecting_s < heap.PAUSE_S or not self.engine.busy_jobs:
            self._collecting_s = heap.collect()
        asyncio.get_running_loop().run_in_executor(None, heap.trim)
        self._trims_left -= 1
        if self._trims_left > 0:
            self._trim_soon()

    # --- what is kept ------------------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Keep what jobs have taught; called now and then, and at the end."""
        leading = self.engine.leading
        told = msgspec.msgpack.encode(Experience(dict(leading.speeds.seen), leading.lengths.known))
        if told != self._kept and len(told) <= _FILE_BYTES_MAX:
            self._kept = told
            await asyncio.to_thread(write_whole, self._file, told)


def settings_of(slots: int, options: UpOptions, journal: Path | None = None) -> PeerSettings:
    """An engine's settings for a peer of a mesh: folders come with each job."""
    return PeerSettings(
        workers=slots,
        properties=dict(options.properties),
        functions=options.functions,
        allow_pickle=options.allow_pickle,
        journal=journal,
    )


def _read(file: Path) -> Experience:
    """What was kept; nothing where it cannot be read: it is only experience."""
    try:
        if file.stat().st_size <= _FILE_BYTES_MAX:
            return msgspec.msgpack.decode(file.read_bytes(), type=Experience)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    return Experience()
