"""`meshwit peers`: everybody in the mesh, as the peer of this device knows them."""

from __future__ import annotations

import shutil
import sys
import time
from typing import Annotated, Final

import msgspec
import typer

from meshwit.cli.exit_codes import CommandError
from meshwit.cli.peer_requirements import Capable, requirement_of
from meshwit.cli.peer_texts import mesh_text, peer_lines
from meshwit.cli.reach import AsJson, Home, On, reach, told
from meshwit.cli.terminal import harmless, is_terminal, painted
from meshwit.cli.up_table import OPEN, LiveTable, other_meshes_text, pending_texts
from meshwit.peer.control.api import MeshView, PeerView
from meshwit.peer.control.client import ControlClient

app = typer.Typer(add_completion=False, rich_markup_mode=None)

WATCH_EVERY_S: Final = 1.0


@app.command()
def peers(
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it; with --json, an event per line.")] = False,
    requires: Annotated[
        str,
        typer.Option(
            metavar="EXPRESSION", help='Tell who meets it, and what others lack: "gpu.cuda and memory >= 8GiB".'
        ),
    ] = "",
    on: On = "",
    home: Home = None,
) -> None:
    """Show who is in the mesh: how fast, how loaded, how near."""
    with told(as_json):
        if watch and requires:
            raise CommandError("--watch and --requires exclude each other")
        requirement = requirement_of(requires) if requires else None
        found = reach(home, on)
        if watch:
            _watch(found.client, as_json=as_json)
            return
        known = found.client.peers()
        capable = Capable(requirement, known) if requirement is not None else None
        if as_json:
            fields = known if capable is None else [capable.as_json(one) for one in known]
            print(msgspec.json.encode({"mesh": found.client.mesh(), "peers": fields}).decode())
        else:
            print_table(found.mesh, known, capable)


def print_table(mesh: MeshView, known: list[PeerView], capable: Capable | None = None) -> None:
    """The table on stdout, all else on stderr."""
    width = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None
    if capable is not None:
        known = [capable.noted(one) for one in known]
    print("\n".join(peer_lines(known, width, keep="note" if capable is not None else "")))
    sys.stdout.flush()
    print(mesh_text(mesh), file=sys.stderr)
    if capable is not None:
        print(capable.summary(), file=sys.stderr)
    if mesh.open:
        print(painted(OPEN, "red", sys.stderr), file=sys.stderr)
    for text in pending_texts(mesh.pending):
        print(text, file=sys.stderr)
    if mesh.other_meshes:
        print(other_meshes_text(mesh), file=sys.stderr)


def _watch(client: ControlClient, *, as_json: bool) -> None:
    """Until Ctrl-C, or until the peer stops, which is told as an error."""
    try:
        if as_json or not is_terminal(sys.stdout):
            for event in client.events():
                if event is not None:
                    text = msgspec.json.encode(event).decode() if as_json else harmless(event.text)
                    print(text, flush=True)
            return
        with LiveTable(sys.stdout, "Ctrl-C ends this view") as table:
            while True:
                table.show(client.mesh(), client.peers())
                time.sleep(WATCH_EVERY_S)
    except KeyboardInterrupt:
        return
