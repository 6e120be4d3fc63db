"""`meshwit forget NAME`: drop a peer that is gone from the table."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from meshwit.cli.exit_codes import CommandError
from meshwit.cli.peer_names import pick, shown
from meshwit.cli.reach import AsJson, Home, On, reach, told

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def forget(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name or an id, or its start.")],
    as_json: AsJson = False,
    on: On = "",
    home: Home = None,
) -> None:
    """Drop a peer that is gone from the table and the address book; it stays a member."""
    with told(as_json):
        found = reach(home, on)
        one = pick(name, found.client.peers())
        if one.me:
            raise CommandError(f"{shown(one.name)} is this peer itself", "to take it out of the mesh: meshwit leave")
        answer = found.client.forget(one.id)
        if as_json:
            print(json.dumps({"forgotten": one.name, "id": one.id, "text": answer}))
        else:
            print(answer, file=sys.stderr)
