"""`meshwit resume`: let a job go on that is paused, that nobody leads any more, or that waits for a decision."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from meshwit.cli.attached import decide_hint, follow_attached, question
from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.job_names import UNFINISHED, JobName, find_job
from meshwit.cli.job_peer import peer_for_jobs
from meshwit.cli.reach import Home, On, told
from meshwit.cli.result_options import AsJsonEvents, Only, Out, Quiet, ResultOptions, Watch, checked
from meshwit.peer.control.api import JobView
from meshwit.peer.control.client import ControlClient

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def resume(
    job: JobName,
    again: Annotated[bool, typer.Option("--again", help="What may have run already is run again.")] = False,
    skip: Annotated[bool, typer.Option("--skip", help="What may have run already has failed.")] = False,
    out: Out = Path(),
    only: Only = None,
    as_json: AsJsonEvents = False,
    watch: Watch = False,
    quiet: Quiet = False,
    on: On = "",
    home: Home = None,
) -> None:
    """Let a paused job go on; lead one on from this device that is interrupted or held, and follow it."""
    options = checked(ResultOptions(tuple(only or ()), out, as_json, watch, quiet))
    if again and skip:
        raise CommandError("--again and --skip exclude each other")
    with told(as_json), peer_for_jobs(home, on) as client:
        meant = find_job(job, client)
        decision = True if again else False if skip else None
        _check(meant, decision)
        if meant.state == "paused":
            code = _go_on(client, meant, as_json)
        else:
            client.resume_job(meant.id, decision)
            code = follow_attached(client, meant, options, home)
    raise typer.Exit(code)


def _go_on(client: ControlClient, job: JobView, as_json: bool) -> ExitCode:
    client.resume_job(job.id)
    if as_json:
        print(json.dumps({"resumed": job.name, "id": job.id}))
    else:
        print(f"{job.name} goes on; follow it: meshwit attach {job.id}", file=sys.stderr)
    return ExitCode.COMPLETED


def _check(job: JobView, decision: bool | None) -> None:
    """Raises CommandError unless the job can go on so."""
    if job.state == "running":
        raise CommandError(f"{job.name} runs already", f"follow it: meshwit attach {job.id}")
    if job.state not in UNFINISHED:
        raise CommandError(f"{job.name} has ended: it is {job.state}", f"see: meshwit result {job.id}")
    if job.to_decide and decision is None:
        raise CommandError(f"{job.name} waits for a decision: {question(job)}", decide_hint(job))
    if job.state == "paused" and decision is not None:
        raise CommandError(f"{job.name} is only paused: there is nothing to decide", f"meshwit resume {job.id}")
