"""`meshwit explain`: why a job goes as it goes, or why one item of it is where it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer

from meshwit.cli.exit_codes import CommandError
from meshwit.cli.peer_names import shown
from meshwit.cli.reach import AsJson, Home, On, reach, told
from meshwit.cli.terminal import harmless
from meshwit.lang.findings import did_you_mean
from meshwit.peer.control.api import JobView

app = typer.Typer(add_completion=False, rich_markup_mode=None)

RUNS = ("running", "paused")


@app.command()
def explain(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Its id, or how that begins, or its name.")],
    item: Annotated[int | None, typer.Argument(metavar="[ITEM]", min=0, help="The item's number in its step.")] = None,
    as_json: AsJson = False,
    on: On = "",
    home: Home = None,
) -> None:
    """Show why a job, or one item of its Grid step, is where it is: who could have done it, and who was chosen."""
    with told(as_json):
        client = reach(home, on).client
        meant = pick_job(job, client.jobs())
        lines = client.explain(meant.id, item)
    if as_json:
        print(msgspec.json.encode({"job": meant.id, "item": item, "lines": lines}).decode())
    else:
        print("\n".join(harmless(line) for line in lines))


def pick_job(name: str, known: Sequence[JobView]) -> JobView:
    """The job that is meant: by its id, its name where only one that runs or only one at all has it, or its id's start.

    Raises:
        CommandError: none is, or several may be.
    """
    wanted = name.strip().casefold()
    named = [one for one in known if one.name.casefold() == wanted]
    ways = (
        [one for one in known if one.id.casefold() == wanted],
        [one for one in named if one.state in RUNS],
        named,
        [one for one in known if wanted and one.id.casefold().startswith(wanted)],
    )
    found = next((way for way in ways if way), [])
    if len(found) == 1:
        return found[0]
    if found:
        among = ", ".join(f"{one.id} ({shown(one.name)}, {shown(one.state)})" for one in found[:10])
        raise CommandError(f"`{shown(name)}` may be any of {len(found)} jobs", f"say which, by its id: {among}")
    hint = did_you_mean(name, sorted({one.name for one in known})) or "see which there are: meshwit jobs"
    raise CommandError(f"there is no job `{shown(name)}`", hint)
