"""`meshwit attach`: follow a job that runs, whoever started it."""

from __future__ import annotations

from pathlib import Path

import typer

from meshwit.cli.attached import follow_attached, of_no_leader
from meshwit.cli.job_names import JobName, find_job
from meshwit.cli.job_peer import peer_for_jobs
from meshwit.cli.reach import Home, On, told
from meshwit.cli.result_options import AsJsonEvents, Only, Out, Quiet, ResultOptions, Watch, checked

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def attach(
    job: JobName,
    out: Out = Path(),
    only: Only = None,
    as_json: AsJsonEvents = False,
    watch: Watch = False,
    quiet: Quiet = False,
    on: On = "",
    home: Home = None,
) -> None:
    """Follow a job as `meshwit run` does, and write its results here; Ctrl-C leaves it running."""
    options = checked(ResultOptions(tuple(only or ()), out, as_json, watch, quiet))
    with told(as_json), peer_for_jobs(home, on) as client:
        meant = find_job(job, client)
        if meant.state in ("interrupted", "held"):
            raise of_no_leader(meant)
        code = follow_attached(client, meant, options, home)
    raise typer.Exit(code)
