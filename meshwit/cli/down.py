"""`meshwit down`: stop the peer of this device."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from meshwit.cli.peer_names import shown
from meshwit.cli.reach import AsJson, Home, On, reach, stop, told
from meshwit.peer.control.client import find_all

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def down(
    every: Annotated[bool, typer.Option("--all", help="All peers of this device.")] = False,
    as_json: AsJson = False,
    on: On = "",
    home: Home = None,
) -> None:
    """Stop the peer of this device; it stays a member and comes back with `meshwit up`."""
    with told(as_json):
        found = find_all(home)[0] if every else []
        found = found or [reach(home, on, " or all of them: --all")]
        for one in found:
            stop(one.client, one.client.down)
            print(f"{shown(one.mesh.me.name)} has stopped", file=sys.stderr)
        if as_json:
            print(json.dumps({"stopped": [one.mesh.me.name for one in found]}))
