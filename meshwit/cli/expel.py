"""`meshwit expel NAME`: shut a device out of the mesh for good."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from meshwit.cli.exit_codes import CommandError
from meshwit.cli.peer_names import pick, shown
from meshwit.cli.reach import AsJson, Home, On, Yes, confirmed, reach, told
from meshwit.ids import short

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def expel(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name or an id, or its start.")],
    yes: Yes = False,
    as_json: AsJson = False,
    on: On = "",
    home: Home = None,
) -> None:
    """Shut a device out of the mesh: all peers refuse it from now on."""
    with told(as_json):
        found = reach(home, on)
        one = pick(name, found.client.peers())
        if one.me:
            raise CommandError(f"{shown(one.name)} is this peer itself", "to take it out of the mesh: meshwit leave")
        print(
            f"{shown(one.name)} ({short(one.id)}) is refused by every peer as soon as that hears of it, at once by\n"
            "those that are reachable. Its tasks run elsewhere. What it knows it keeps, but it reads nothing new.\n"
            "It cannot come back as what it was: it would have to join anew, as a new device.",
            file=sys.stderr,
        )
        confirmed(f"expel {shown(one.name)}?", yes)
        answer = found.client.expel(one.id)
        if as_json:
            print(json.dumps({"expelled": one.name, "id": one.id, "text": answer}))
        else:
            print(answer, file=sys.stderr)
