"""`meshwit pause`: let what runs of a job end, and start nothing new."""

from __future__ import annotations

import json
import sys

import typer

from meshwit.cli.exit_codes import CommandError
from meshwit.cli.job_names import JobName, find_job
from meshwit.cli.job_peer import peer_for_jobs
from meshwit.cli.reach import AsJson, Home, On, told

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def pause(job: JobName, as_json: AsJson = False, on: On = "", home: Home = None) -> None:
    """Let what runs of a job end, and start nothing new until `meshwit resume`."""
    with told(as_json), peer_for_jobs(home, on) as client:
        meant = find_job(job, client)
        if meant.state == "paused":
            raise CommandError(f"{meant.name} is paused already", f"let it go on: meshwit resume {meant.id}")
        if meant.state != "running":
            raise CommandError(f"{meant.name} does not run: it is {meant.state}")
        client.pause_job(meant.id)
    if as_json:
        print(json.dumps({"paused": meant.name, "id": meant.id}))
    else:
        print(f"{meant.name} is paused; let it go on: meshwit resume {meant.id}", file=sys.stderr)
