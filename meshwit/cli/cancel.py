"""`meshwit cancel`: end a job."""

from __future__ import annotations

import json
import sys

import typer

from meshwit.cli.exit_codes import CommandError
from meshwit.cli.job_names import UNFINISHED, JobName, find_job
from meshwit.cli.job_peer import peer_for_jobs
from meshwit.cli.reach import AsJson, Home, On, told

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def cancel(job: JobName, as_json: AsJson = False, on: On = "", home: Home = None) -> None:
    """End a job within a second, on all peers; what it has so far stays, see `meshwit result`."""
    with told(as_json), peer_for_jobs(home, on) as client:
        meant = find_job(job, client)
        if meant.state not in UNFINISHED:
            raise CommandError(f"{meant.name} has ended: it is {meant.state}", f"see: meshwit result {meant.id}")
        client.cancel_job(meant.id)
    if as_json:
        print(json.dumps({"cancelled": meant.name, "id": meant.id}))
    else:
        print(f"{meant.name} is cancelled; what it has so far: meshwit result {meant.id}", file=sys.stderr)
