"""What a peer knows of jobs by itself: those that it leads, those that it keeps. Shell."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Final

from meshwit.ids import PeerId
from meshwit.outcome import JobState, Outcome
from meshwit.peer.control.api import JobView, PeerError
from meshwit.peer.control.job_script import JobScript
from meshwit.peer.engine import Engine
from meshwit.peer.job.leader import JobLeader
from meshwit.peer.running_job import RunningJob
from meshwit.peer.succession.records import JobSpec

VIEWS_MAX: Final = 256
"""Jobs of one peer that have ended and are listed, the latest ones; all that have not are."""
INTERRUPTED: Final = "interrupted"
HELD: Final = "held"
UNFINISHED: Final = ("running", "paused", INTERRUPTED, HELD)


class KnownJobs:
    """See the module; it is what `watch.here.Here` asks for.

    Args:
        name_of: what a peer is called.
    """

    def __init__(self, engine: Engine, name_of: Callable[[PeerId], str]) -> None:
        self._engine = engine
        self._name_of = name_of

    def views(self, like: str = "") -> list[JobView]:
        """Those that it leads or has kept, the newest first; only those that a person may mean who says `like`: their
        id begins so, or they have that name."""
        like = like.strip().casefold()
        leading = self._engine.leading
        jobs = (*leading.ended, *leading.jobs)  # one that was led here twice is told as it is now
        led = list({job.id: self._view(job) for job in jobs if self._is_job(job)}.values())
        ids = {view.id for view in led}
        kept = self._engine.kept
        others = [] if kept is None else [self._kept_view(spec) for spec in kept.keeping.kept() if spec.id not in ids]
        views = sorted([*led, *others], key=lambda view: -view.started)
        if like:
            views = [view for view in views if view.id.startswith(like) or view.name.casefold() == like]
        ended = itertools.count()
        return [view for view in views if view.state in UNFINISHED or next(ended) < VIEWS_MAX]

    def running(self, job: str) -> RunningJob | None:
        """A job that it leads, or has led to its end and knows the values of."""
        found = self._led(job)
        return found if found is not None and not found.released else None

    def _led(self, job: str) -> RunningJob | None:
        leading = self._engine.leading
        found = (each for each in (*leading.jobs, *leading.ended) if each.id == job and not self._goes_on(each))
        return next(found, None)

    def leader(self, job: str) -> PeerId | None:
        """Who leads a job, as far as it knows."""
        kept = self._engine.kept
        term = kept.keeping.term(job) if kept is not None else None
        return None if term is None else term.leader

    def is_followed(self, job: str) -> bool:
        """Whether another peer could lead on a job that this one leads."""
        kept = self._engine.kept
        return kept is not None and kept.keeping.core.jobs.is_followed(job)

    @property
    def owed(self) -> int:
        """How many jobs have ended here whose standbys do not have all of them yet."""
        kept = self._engine.kept
        return kept.keeping.core.jobs.owed if kept is not None else 0

    async def kept(self, job: str) -> tuple[JobScript, Outcome]:
        """The outcome of a job that has ended. Raises PeerError."""
        if self._engine.kept is None:
            raise PeerError("this peer keeps no jobs")
        return await self._engine.kept.outcome(job)

    def outcome(self, job: RunningJob) -> Outcome:
        """Of a job that it has led to its end."""
        return self._engine.leading.outcome(job)

    def steer(self, job: str, what: str, by: PeerId) -> None:
        """Pause, resume or cancel a job that it leads. Raises PeerError."""
        running = self.running(job)
        if running is None:
            raise PeerError("this peer does not lead that job now", "try again in a moment")
        if by not in (self._engine.me, running.submitter):
            who = f"{self._engine.name}, which leads the job"
            if running.submitter not in (None, self._engine.me):
                who = f"{self._name_of(running.submitter)}, which submitted the job, or {who}"
            raise PeerError(f"only {who}, may {what} it")
        leading = self._engine.leading
        if running.leader.state is JobState.RUNNING:
            match what:
                case "pause":
                    leading.pause(running)
                case "resume":
                    leading.resume(running)
                case "cancel":
                    leading.cancel(running)
                case _:
                    raise PeerError(f"a job cannot be asked to {what[:40]}")

    def explain(self, job: str, item: int | None) -> list[str]:
        """Why a job that it leads, or one item of it, is where it is. Raises PeerError."""
        running = self._led(job)
        if running is None:
            raise PeerError("this peer has not led that job")
        return self._engine.leading.explain(running, item)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _is_job(self, job: RunningJob) -> bool:
        return isinstance(job.leader, JobLeader) and not self._goes_on(job)

    def _goes_on(self, job: RunningJob) -> bool:
        """Whether a job that was held here is led on, here or elsewhere."""
        kept = self._engine.kept
        known = kept.keeping.core.jobs.get(job.id) if kept is not None else None
        return job.leader.state is JobState.HELD and known is not None and known.over is not JobState.HELD

    def _view(self, job: RunningJob) -> JobView:
        state = job.leader.state
        shown = "paused" if job.leader.paused and state is JobState.RUNNING else state.value
        done = job.progress
        until = job.ended_at if job.ended_at is not None else time.time()
        kept = self._engine.kept
        known = kept.keeping.core.jobs.get(job.id) if kept is not None else None
        failure = job.leader.failure
        return JobView(
            id=job.id,
            name=job.name,
            state=shown,
            file=job.leader.program.filename,
            started=job.started,
            done=done.done if done is not None else 0,
            total=done.total if done is not None else 0,
            leader=self._engine.name,
            peers=dict(done.peers) if done is not None else {},
            elapsed_s=until - job.started,
            standbys=[] if known is None else [self._name_of(peer) for peer in known.standbys],
            submitter="" if job.submitter is None else self._name_of(job.submitter),
            held_question=failure.message if state is JobState.HELD and failure is not None else "",
            to_decide=isinstance(job.leader, JobLeader) and bool(job.leader.questions),
        )

    def _kept_view(self, spec: JobSpec) -> JobView:
        assert self._engine.kept is not None
        keeping = self._engine.kept.keeping
        known = keeping.core.jobs.get(spec.id)
        over = known.over if known is not None else None
        ended = keeping.ended_at(spec.id)
        state = over.value if over is not None else INTERRUPTED
        if over is None and keeping.core.jobs.is_led(spec.id):
            state = JobState.RUNNING.value
        return JobView(
            id=spec.id,
            name=spec.name,
            state=state,
            file=spec.filename,
            started=spec.started_at,
            leader=self._name_of(known.term.leader) if known is not None else "",
            elapsed_s=max(0.0, (ended or time.time()) - spec.started_at),
            standbys=[self._name_of(peer) for peer in known.standbys] if known is not None else [],
            submitter=spec.submitter_name,
        )


def merged(own: list[JobView], others: list[JobView]) -> list[JobView]:
    """One view of each job, the newest first: that of whoever leads it, else of whoever knows how it ended."""
    best: dict[str, JobView] = {}
    for view in (*own, *others):
        known = best.get(view.id)
        if known is None or _rank(view) > _rank(known):
            best[view.id] = view
    return sorted(best.values(), key=lambda view: -view.started)


def _rank(view: JobView) -> tuple[int, bool, int]:
    """Higher is better: what runs, what has ended, what is held, what nobody leads."""
    if view.state == "paused":  # only who leads it knows
        state = 4
    elif view.state == "running":
        state = 3
    else:
        state = 0 if view.state == INTERRUPTED else 1 if view.state == HELD else 2
    # Of two who say that it is held, the one who can say why; of two who say that it runs, who has numbers leads it.
    return state, bool(view.held_question), view.done + bool(view.peers)
