"""`meshwit explain`: why a job goes as it goes, or why one item of it is where it is."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from meshwit.cli.job_names import JobName, find_job
from meshwit.cli.job_peer import peer_for_jobs
from meshwit.cli.reach import AsJson, Home, On, told
from meshwit.cli.terminal import harmless

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def explain(
    job: JobName,
    item: Annotated[int | None, typer.Argument(metavar="[ITEM]", min=0, help="The item's number in its step.")] = None,
    as_json: AsJson = False,
    on: On = "",
    home: Home = None,
) -> None:
    """Show why a job, or one item of its Grid step, is where it is: who could have done it, and who was chosen."""
    with told(as_json), peer_for_jobs(home, on) as client:
        meant = find_job(job, client)
        lines = client.explain(meant.id, item)
    if as_json:
        print(msgspec.json.encode({"job": meant.id, "item": item, "lines": lines}).decode())
    else:
        print("\n".join(harmless(line) for line in lines))
