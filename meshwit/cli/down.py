"""`meshwit down`: stop the peer of this device."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from meshwit.cli.peer_names import shown
from meshwit.cli.reach import AsJson, Home, On, reach, stop, told
from meshwit.cli.up_waiting import end_waiting
from meshwit.peer.control.client import find_all
from meshwit.peer.control.runtime_file import home_folder

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
        running = find_all(home)[0]
        if (every or not running) and not on and end_waiting(home_folder(home)):
            print("the peer that waited to be let into a mesh is ended", file=sys.stderr)
            if not running:
                if as_json:
                    print(json.dumps({"stopped": []}))
                return
        found = running if every and running else [reach(home, on, " or all of them: --all")]
        for one in found:
            stop(one.client, one.client.down)
            print(f"{shown(one.mesh.me.name)} has stopped", file=sys.stderr)
        if as_json:
            print(json.dumps({"stopped": [one.mesh.me.name for one in found]}))
