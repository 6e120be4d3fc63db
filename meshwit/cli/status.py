"""`meshwit status`: one job in a few lines."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
import typer

from meshwit.cli.attached import decide_hint, question
from meshwit.cli.job_names import JobName, find_job
from meshwit.cli.job_peer import peer_for_jobs
from meshwit.cli.jobs import peers_text
from meshwit.cli.reach import AsJson, Home, On, told
from meshwit.cli.terminal import duration_text
from meshwit.peer.control.api import JobView

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def status(job: JobName, as_json: AsJson = False, on: On = "", home: Home = None) -> None:
    """Show how one job is: how far, who leads it, who stands by, who did its items, and what it asks."""
    with told(as_json), peer_for_jobs(home, on) as client:
        meant = find_job(job, client)
    if as_json:
        print(msgspec.json.encode(meant).decode())
    else:
        print("\n".join(status_lines(meant)))


def status_lines(job: JobView) -> list[str]:
    """What is known of a job that was picked; what is not known has no line."""
    named = list(_facts(job))
    width = max(len(name) for name, _ in named)
    return [f"{name:<{width}}  {text}" for name, text in named if text]


def _facts(job: JobView) -> Iterator[tuple[str, str]]:
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(job.started))
    yield "job", f"{job.name} of {job.file}"
    yield "id", job.id
    yield "state", f"{job.state}, {duration_text(job.elapsed_s)}, started {started}"
    yield "items", f"{job.done:,} of {job.total:,} of the step that it is in" if job.total else ""
    yield "done by", peers_text(job.peers)
    yield "submitted on", job.submitter
    yield "leader", "nobody" if job.state == "interrupted" else job.leader
    yield "standbys", ", ".join(job.standbys)
    if job.state == "interrupted":
        yield "to do", f"lead it on from this device: meshwit resume {job.id}"
    if job.state == "held":
        yield "question", question(job)
        for line in decide_hint(job).splitlines() if job.to_decide else [f"lead it on: meshwit resume {job.id}"]:
            yield "to do", line
