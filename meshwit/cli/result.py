"""`meshwit result`: what a job left, printed and written as `meshwit run` does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meshwit.cli.attached import follow_attached, of_no_leader
from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.job_names import RUNS, JobName, find_job
from meshwit.cli.job_peer import peer_for_jobs
from meshwit.cli.reach import AsJson, Home, On, told
from meshwit.cli.result_options import Only, Out, Quiet, ResultOptions

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def result(
    job: JobName,
    out: Out = Path(),
    only: Only = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until the job has ended.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    on: On = "",
    home: Home = None,
) -> None:
    """Print the results of a job that has ended, and write those that are files."""
    with told(as_json), peer_for_jobs(home, on) as client:
        meant = find_job(job, client)
        if meant.state in ("interrupted", "held"):
            raise of_no_leader(meant)
        if meant.state in RUNS and not wait:
            far = f": {meant.done:,} of {meant.total:,} items" if meant.total else ""
            hint = f"wait for it: meshwit result {meant.id} --wait\nor follow it: meshwit attach {meant.id}"
            raise CommandError(f"{meant.name} has not ended{far}", hint, ExitCode.FAILED)
        code = follow_attached(client, meant, ResultOptions(tuple(only or ()), out, as_json, quiet=quiet), home)
    raise typer.Exit(code)
