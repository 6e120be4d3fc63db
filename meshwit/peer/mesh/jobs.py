"""Jobs in the mesh: an `Engine` among the parts of a peer, and what the owner asks of it. Shell.

A peer works for this one's jobs while there is a link to it, it has told who it is and how fast, and its owner lets it
work. What it tells anew (slots, capabilities, controllers, that it rests) reaches the jobs at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
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
from meshwit.peer.control.api import JobView, PeerError, Submission
from meshwit.peer.control.job_messages import OpenStream
from meshwit.peer.control.options import UpOptions
from meshwit.peer.engine import Engine, PeerSettings
from meshwit.peer.job.stream import StreamLeader
from meshwit.peer.job.workers import Worker
from meshwit.peer.mesh import profile
from meshwit.peer.mesh.profile import MemberProfile
from meshwit.peer.mesh.roster import Roster
from meshwit.peer.running_job import OnOutcomes, RunningJob
from meshwit.peer.wire.frames import Channel
from meshwit.peer.wire.links import Link, Links
from meshwit.peer.work.lengths import Known
from meshwit.peer.work.planning import intended_shares, plan_lines
from meshwit.peer.work.speeds import Seen
from meshwit.plugins.registry import Registry

KEPT_FILE: Final = "seen_of_jobs.msgpack"
_FILE_BYTES_MAX: Final = 16 * 1024 * 1024


class Experience(msgspec.Struct, frozen=True):
    """What jobs have taught: how fast peers are at activities, and how long items take."""

    speeds: dict[str, Seen] = {}
    lengths: dict[str, Known] = {}


class LedJob:
    """A job for whoever submitted it."""

    def __init__(self, engine: Engine, job: RunningJob) -> None:
        self.id = job.id
        self._engine = engine
        self._job = job

    def pause(self) -> None:
        """Start no new task."""
        self._engine.pause(self._job)

    def resume(self) -> None:
        """Start tasks again."""
        self._engine.resume(self._job)

    def cancel(self) -> None:
        """End it."""
        self._engine.cancel(self._job)

    async def outcome(self) -> Outcome:
        """What it came to, once it has ended."""
        await self._job.ended.wait()
        return self._engine.outcome(self._job)


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
        self._engine.cancel(self._job)

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
        self._kept = b""
        kept = _read(self._file)
        engine.leading.speeds.remember(kept.speeds)
        engine.leading.lengths.remember(kept.lengths)

    @property
    def codec(self) -> Codec:
        """Knows the types of all installed controllers."""
        return self.engine.codec

    # --- the mesh ----------------------------------------------------------------------------------------------

    def listen(self, links: Links) -> None:
        """Read the channels of jobs and blobs."""
        self._links = links
        links.on_message(Channel.JOB, lambda link, payload: self.engine.job_frame(link.peer, payload))
        links.on_message(Channel.BLOB, lambda link, payload: self.engine.blob_frame(link.peer, payload))

    def belong(
        self, roster: Roster, misbehaved: Callable[[PeerId, str], None], need: Callable[[list[str]], None]
    ) -> None:
        """Know who is who, whom to complain to, and who has peers measured for a job's activities."""
        self._roster = roster
        self._need = need
        self.engine.misbehaved = misbehaved

    def link_up(self, link: Link) -> None:
        """There is a way to a peer."""
        self.engine.linked(link.peer, link)
        self._offer(link.peer)

    def link_down(self, peer: PeerId) -> None:
        """It has ended."""
        self.engine.unlinked(peer)

    def record_changed(self, owner: PeerId, topic: str) -> None:
        """A peer told something of itself."""
        if topic in (profile.MEMBER, profile.LOAD, profile.SCORE, profile.RATES):
            self._offer(owner)

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
        speeds.scores[peer] = per_slot
        speeds.benchmarks[peer] = {activity: per_s for activity, (per_s, _) in known.rates.items()}
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

    # --- the owner ---------------------------------------------------------------------------------------------

    def submit(self, asked: Submission, on_event: Callable[[JobEvent], None]) -> LedJob:
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
        )  # fmt: skip
        return LedJob(self.engine, job)

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

    def jobs(self) -> list[JobView]:
        """Those that run and the last that ended, the newest first."""
        leading = self.engine.leading
        return [self._view(job) for job in (*reversed(leading.jobs), *reversed(leading.ended))]

    def explain(self, job: str, item: int | None) -> list[str]:
        """Why a job, or one item of its Grid steps, ran where it did."""
        leading = self.engine.leading
        found = [each for each in (*leading.jobs, *leading.ended) if job in (each.id, each.name)]
        found = found or [each for each in (*leading.jobs, *leading.ended) if each.id.startswith(job)]
        if not found:
            known = ", ".join(f"{each.id} ({each.name})" for each in (*leading.jobs, *leading.ended))
            raise PeerError(f"no job is known as {job}", f"known: {known or 'none'}")
        return leading.explain(found[-1], item)

    def _view(self, job: RunningJob) -> JobView:
        state = job.leader.state
        shown = "paused" if job.leader.paused and state is JobState.RUNNING else state.value
        done = job.progress
        until = job.ended_at if job.ended_at is not None else time.time()
        return JobView(
            id=job.id,
            name=job.name,
            state=shown,
            file=job.leader.program.filename,
            started=job.started,
            done=done.done if done is not None else 0,
            total=done.total if done is not None else 0,
            leader=self.engine.name,
            peers=dict(done.peers) if done is not None else {},
            elapsed_s=until - job.started,
        )

    # --- what is kept ------------------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Keep what jobs have taught; called now and then, and at the end."""
        leading = self.engine.leading
        told = msgspec.msgpack.encode(Experience(dict(leading.speeds.seen), leading.lengths.known))
        if told != self._kept and len(told) <= _FILE_BYTES_MAX:
            self._kept = told
            await asyncio.to_thread(write_whole, self._file, told)


def settings_of(slots: int, options: UpOptions) -> PeerSettings:
    """An engine's settings for a peer of a mesh: folders come with each job."""
    return PeerSettings(
        workers=slots,
        properties=dict(options.properties),
        functions=options.functions,
        allow_pickle=options.allow_pickle,
    )


def _read(file: Path) -> Experience:
    """What was kept; nothing where it cannot be read: it is only experience."""
    try:
        if file.stat().st_size <= _FILE_BYTES_MAX:
            return msgspec.msgpack.decode(file.read_bytes(), type=Experience)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    return Experience()
