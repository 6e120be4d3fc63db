"""`meshwit leave`: take this device out of its mesh for good."""

from __future__ import annotations

import json
import sys

import typer

from meshwit.cli.peer_names import shown
from meshwit.cli.reach import AsJson, Home, On, Yes, confirmed, reach, stop, told

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def leave(yes: Yes = False, as_json: AsJson = False, on: On = "", home: Home = None) -> None:
    """Leave the mesh for good, and stop; `meshwit down` only stops."""
    with told(as_json):
        found = reach(home, on)
        mesh = shown(found.mesh.name)
        alone = found.mesh.peers_known <= 1
        print(
            f"{shown(found.mesh.me.name)} says goodbye and deletes its membership of {mesh}; to come back it must be\n"
            f"let in again.{' Nobody else is in that mesh: it ends.' if alone else ''}",
            file=sys.stderr,
        )
        confirmed(f"leave {mesh}?", yes)
        answer = stop(found.client, found.client.leave) or f"left {mesh}"
        if as_json:
            print(json.dumps({"left": found.mesh.name, "text": answer}))
        else:
            print(answer, file=sys.stderr)
