"""What one request does with a job that nobody needs to follow: pause it, let it go on, cancel it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from meshwit.events import JobEvent
from meshwit.peer.control.api import JobRun, JobsApi

LED: Final = ("running", "paused")
"""The states of a job that has a leader."""
UNLED: Final = ("interrupted", "held")


async def pause_job(jobs: JobsApi, job: str) -> None:
    """Start no new task of it. Raises PeerError, as all here do."""
    async with _at_hand(jobs, job) as run:
        await run.pause()


async def cancel_job(jobs: JobsApi, job: str) -> None:
    """End it; also where nobody leads it."""
    if await _state(jobs, job) in UNLED and await jobs.abandon(job):
        return
    async with _at_hand(jobs, job) as run:
        await run.cancel()


async def resume_job(jobs: JobsApi, job: str, again: bool | None) -> str:
    """Let a paused job go on, or lead one on here that is interrupted or held; gives its id."""
    if await _state(jobs, job) not in LED:
        return await jobs.resume(job, again)
    async with _at_hand(jobs, job) as run:
        await run.resume()
    return job


async def _state(jobs: JobsApi, job: str) -> str:
    """Empty where nobody knows the job."""
    return next((one.state for one in await jobs.jobs(job) if one.id == job), "")


@contextlib.asynccontextmanager
async def _at_hand(jobs: JobsApi, job: str) -> AsyncIterator[JobRun]:
    run = await jobs.attach(job, _unheard)
    try:
        yield run
    finally:
        run.detach()


def _unheard(event: JobEvent) -> None:
    """Nobody follows."""
