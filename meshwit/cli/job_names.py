"""Which job a person means: by its id, by how that begins, or by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol

import msgspec
import typer

from meshwit.cli.exit_codes import CommandError
from meshwit.cli.peer_names import shown
from meshwit.cli.terminal import one_line
from meshwit.lang.findings import did_you_mean
from meshwit.peer.control.api import JobView

JobName = Annotated[str, typer.Argument(metavar="JOB", help="Its id, or how that begins, or its name.")]

TEXT_CHARS = 400
RUNS = ("running", "paused")
UNFINISHED = (*RUNS, "interrupted", "held")


class Lists(Protocol):
    """A peer that lists jobs: its `control.client`."""

    def jobs(self) -> list[JobView]: ...
    def jobs_like(self, like: str) -> list[JobView]: ...


def find_job(name: str, client: Lists) -> JobView:
    """The job that is meant, of all that are known. Raises as `pick_job` does, and PeerError."""
    return pick_job(name, client.jobs_like(name) or client.jobs())


def pick_job(name: str, known: Sequence[JobView]) -> JobView:
    """The job that is meant: by its id, by its name where only one that runs, only one that has not ended or only one
    at all has it, or by its id's start. What peers say of it is fit for a line.

    Raises:
        CommandError: none is, or several may be.
    """
    wanted = name.strip().casefold()
    named = [one for one in known if one.name.casefold() == wanted]
    ways = (
        [one for one in known if one.id.casefold() == wanted],
        [one for one in named if one.state in RUNS],
        [one for one in named if one.state in UNFINISHED],
        named,
        [one for one in known if wanted and one.id.casefold().startswith(wanted)],
    )
    found = next((way for way in ways if way), [])
    if len(found) == 1:
        return _fit(found[0])
    if found:
        among = ", ".join(f"{shown(one.id)} ({shown(one.name)}, {shown(one.state)})" for one in found[:10])
        raise CommandError(f"`{shown(name)}` may be any of {len(found)} jobs", f"say which, by its id: {among}")
    hint = did_you_mean(name, sorted({one.name for one in known})) or "see which there are: meshwit jobs"
    raise CommandError(f"there is no job `{shown(name)}`", hint)


def _fit(job: JobView) -> JobView:
    return msgspec.structs.replace(
        job,
        id=one_line(job.id, TEXT_CHARS),
        name=shown(job.name),
        state=one_line(job.state, 20),
        file=one_line(job.file, TEXT_CHARS),
        leader=shown(job.leader),
        submitter=shown(job.submitter),
        standbys=[shown(each) for each in job.standbys],
        peers={shown(name): count for name, count in job.peers.items()},
        held_question=one_line(job.held_question, TEXT_CHARS),
    )


def ways_back(job: str) -> list[str]:
    """What to type for a job that goes on while nobody follows it."""
    return [
        f"come back to it: meshwit attach {job}",
        f"only its results: meshwit result {job} --wait",
        f"end it:          meshwit cancel {job}",
    ]
