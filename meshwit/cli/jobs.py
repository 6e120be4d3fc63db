"""`meshwit jobs`: what runs on the mesh and what has ended."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence

import msgspec
import typer

from meshwit.cli.columns import laid_out
from meshwit.cli.job_peer import peer_for_jobs
from meshwit.cli.peer_names import shown
from meshwit.cli.reach import AsJson, Home, On, told
from meshwit.cli.terminal import duration_text, is_terminal, one_line
from meshwit.peer.control.api import JobView

app = typer.Typer(add_completion=False, rich_markup_mode=None)

HEADERS = ("id", "job", "state", "done", "time", "started", "leader", "peers", "file")
RIGHT = ("done", "time")
DROPPABLE = ("started", "leader", "peers", "time")
FILE_CHARS_MAX = 60
PEERS_SHOWN = 4


@app.command()
def jobs(as_json: AsJson = False, on: On = "", home: Home = None) -> None:
    """Show the jobs of the mesh, and the last that ended: how far each is, who leads it and who does its items."""
    with told(as_json), peer_for_jobs(home, on) as client:
        known = client.jobs()
    if as_json:
        print(msgspec.json.encode({"jobs": known}).decode())
        return
    if not known:
        print("no job has run yet: meshwit run SCRIPT", file=sys.stderr)
        return
    width = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None
    print("\n".join(job_lines(known, width)))


def job_lines(known: Sequence[JobView], width: int | None = None) -> list[str]:
    """The table: a line of headers, then one line each, in the order given; `width` is the cells of a line."""
    rows = [_cells(one) for one in known]
    return laid_out(HEADERS, rows, right=RIGHT, width=width, droppable=DROPPABLE)


def _cells(job: JobView) -> tuple[str, ...]:
    return (
        one_line(job.id, FILE_CHARS_MAX),
        shown(job.name),
        one_line(job.state, 20),
        f"{job.done:,}/{job.total:,}" if job.total else "",
        duration_text(job.elapsed_s),
        time.strftime("%Y-%m-%d %H:%M", time.localtime(job.started)),
        shown(job.leader),
        peers_text(job.peers),
        one_line(job.file, FILE_CHARS_MAX),
    )


def peers_text(peers: dict[str, int]) -> str:
    """Who did how many items, most first: `den 120, otter 80`."""
    ordered = sorted(peers.items(), key=lambda each: (-each[1], each[0]))
    texts = [f"{shown(name)} {count:,}" for name, count in ordered[:PEERS_SHOWN]]
    return ", ".join(texts + ([f"{len(ordered) - PEERS_SHOWN} more"] if len(ordered) > PEERS_SHOWN else []))
