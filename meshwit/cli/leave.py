"""`meshwit leave`: take this device out of its mesh for good."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import typer

from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.peer_names import shown
from meshwit.cli.reach import AsJson, Home, On, Yes, confirmed, reach, stop, told
from meshwit.cli.up_waiting import waiting
from meshwit.peer.control.client import find_all
from meshwit.peer.control.runtime_file import home_folder, profile_folders

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def leave(yes: Yes = False, as_json: AsJson = False, on: On = "", home: Home = None) -> None:
    """Leave the mesh for good, and stop; `meshwit down` only stops."""
    with told(as_json):
        known_here = any((each / "key.pem").exists() for each in profile_folders(home_folder(home)))
        if known_here and not on and not any(find_all(home)) and not waiting(home_folder(home)):
            _leave_at_rest(home_folder(home), yes=yes, as_json=as_json)
            return
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


def _leave_at_rest(home: Path, *, yes: bool, as_json: bool) -> None:
    """While no peer runs: one that was expelled cannot run any more, and has no other way out."""
    store = importlib.import_module("meshwit.peer.trust.store").Home(home)
    fault = importlib.import_module("meshwit.peer.trust.errors").TrustError
    try:
        meshes = ", ".join(sorted({shown(each.mesh_name) for each in store.memberships()}))
        if not meshes:
            _become_new(store, yes=yes, as_json=as_json)
            return
        print(
            f"no peer runs here: its membership of {meshes} is deleted from the disk, without a goodbye; to come back\n"
            "it must be let in again. If it was expelled it becomes a new device, under a new key.",
            file=sys.stderr,
        )
        confirmed(f"leave {meshes}?", yes)
        store.leave()
    except fault as error:
        raise CommandError(error.message, error.hint, ExitCode.FAILED) from None
    if as_json:
        print(json.dumps({"left": meshes, "text": f"left {meshes}"}))
    else:
        print(f"left {meshes}", file=sys.stderr)


def _become_new(store: Any, *, yes: bool, as_json: bool) -> None:
    """One that was expelled after it had left is refused for its key."""
    print(
        "this device is in no mesh. It would only get a new key, and be a new device for all others: one that was\n"
        "expelled needs that to join again.",
        file=sys.stderr,
    )
    confirmed("become a new device?", yes)
    store.renew()
    text = "this is a new device now"
    if as_json:
        print(json.dumps({"left": "", "text": text}))
    else:
        print(text, file=sys.stderr)
