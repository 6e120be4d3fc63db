"""`meshwit up`: make this device a peer. The first one makes the mesh, the next ones join it."""

from __future__ import annotations

import contextlib
import importlib
import shlex
import sys
import time
from typing import Annotated, Final, Literal

import msgspec
import typer

from meshwit.cli.exit_codes import CommandError
from meshwit.cli.peer_names import shown
from meshwit.cli.peers import print_table
from meshwit.cli.reach import Home, told
from meshwit.cli.terminal import is_terminal
from meshwit.cli.up_background import Started, start_in_background
from meshwit.cli.up_child import Child, ChildPrompt
from meshwit.cli.up_join import PlainPrompt, TerminalPrompt
from meshwit.cli.up_options import PORT_MAX, read_functions, read_host, read_properties
from meshwit.cli.up_run import run_peer
from meshwit.cli.up_screens import JsonScreen, LiveScreen, PlainScreen, Screen
from meshwit.cli.up_waiting import end_waiting
from meshwit.peer.control.api import PeerError
from meshwit.peer.control.client import Running, find_all
from meshwit.peer.control.options import JoinPrompt, MakePeer, UpOptions
from meshwit.peer.control.runtime_file import home_folder

app = typer.Typer(add_completion=False, rich_markup_mode=None)

MEET_WITHIN_S: Final = 1.5
"""A background peer is shown after so long, even if it is alone."""

EPILOG = """\b
The first device on a network makes the mesh. On the next one the same command finds
it, and asks for the code that `meshwit invite` shows on a member; or a member lets it
in with `meshwit approve`. A device that was let in once never asks again.

\b
Ctrl-C stops the peer cleanly; `meshwit down` does from elsewhere.
"""


@app.command(epilog=EPILOG)
def up(
    background: Annotated[
        bool, typer.Option("--background", help="In a process of its own; this command ends when it is up.")
    ] = False,
    name: Annotated[str, typer.Option(metavar="NAME", help="What this peer is called; by default as the host.")] = "",
    slots: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, metavar="N", help="How many tasks at the same time; by default one per core."),
    ] = None,
    property: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="What requirements of jobs can ask for: site=berlin.")
    ] = None,
    functions: Annotated[
        str,
        typer.Option(
            metavar="PACKAGES", help="Whose functions all members may call by name, whatever they do: numpy,mypackage."
        ),
    ] = "",
    allow_pickle: Annotated[
        bool,
        typer.Option(
            "--allow-pickle",
            help="Take pickled Python objects of members. Off by default: a pickle runs any code on this device.",
        ),
    ] = False,
    peer: Annotated[
        list[str] | None, typer.Option(metavar="HOST[:PORT]", help="Where a member is, if it is not found by itself.")
    ] = None,
    when: Annotated[
        Literal["always", "idle", "plugged-in"], typer.Option(help="When this device works for others.")
    ] = "always",
    invite: Annotated[
        str, typer.Option(metavar="TOKEN", envvar="MESHWIT_INVITE", help="To join by: of `meshwit invite --token`.")
    ] = "",
    open: Annotated[bool, typer.Option("--open", help="Let everybody in who asks: for a lab only.")] = False,
    new: Annotated[bool, typer.Option("--new", help="Make a mesh of its own, even if there is another.")] = False,
    port: Annotated[
        int,
        typer.Option(
            min=0,
            max=PORT_MAX,
            metavar="N",
            show_default=False,
            help="Where others reach this peer; by default as before.",
        ),
    ] = 0,
    plain: Annotated[bool, typer.Option("--plain", help="Lines with their time instead of the live table.")] = False,
    log: Annotated[bool, typer.Option("--log", help="Those lines into the file peer.log; asks nothing.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Events as JSON lines on stdout; with --background one object.")
    ] = False,
    home: Home = None,
    child: Annotated[bool, typer.Option("--child", hidden=True)] = False,
) -> None:
    """Make this device a peer: join the mesh that is here, or start one."""
    with told(as_json):
        options = UpOptions(
            home=home,
            name=name.strip(),
            slots=slots,
            properties=read_properties(property or []),
            functions=read_functions(functions),
            allow_pickle=allow_pickle,
            peers=tuple(read_host(each) for each in peer or ()),
            when=when,
            invite=invite.strip(),
            open=open,
            new=new,
            port=port,
        )
        if background:
            if plain or log:
                raise CommandError("--background shows no lines and always writes its log: without --plain, --log")
            _tell_of_others(options)
            _show_started(start_in_background(options), options, as_json=as_json)
            return
        if child or log:
            inside = Child(home_folder(home), told=child)
            run_peer(_make(), options, ChildPrompt(inside), PlainScreen(), inside.ready)
            return
        _tell_of_others(options)
        run_peer(_make(), options, _prompt(as_json=as_json), _screen(plain=plain, as_json=as_json))


def _make() -> MakePeer:
    """Loaded late: it brings cryptography, the network and all else a peer is made of."""
    make: MakePeer = importlib.import_module("meshwit.peer.mesh.node").MeshPeer
    return make


def _prompt(*, as_json: bool) -> JoinPrompt:
    asks = not as_json and sys.stdin.isatty() and sys.stderr.isatty()
    return TerminalPrompt() if asks else PlainPrompt()


def _screen(*, plain: bool, as_json: bool) -> Screen:
    if as_json:
        return JsonScreen()
    return PlainScreen() if plain or not is_terminal(sys.stderr) else LiveScreen()


def _tell_of_others(options: UpOptions) -> None:
    """A second peer is allowed, but perhaps not meant. One that only waits makes room for this one."""
    if end_waiting(home_folder(options.home)):
        print("the peer that waited in the background is ended: this one takes its place", file=sys.stderr)
    running = find_all(options.home)[0]
    if running:
        names = ", ".join(shown(one.mesh.me.name) for one in running)
        verb = "run" if len(running) > 1 else "runs"
        print(f"{names} {verb} on this device already: see `meshwit peers`, `meshwit down`", file=sys.stderr)
        print("this starts another peer beside it", file=sys.stderr)


def _show_started(started: Started, options: UpOptions, *, as_json: bool) -> None:
    found = next((one for one in find_all(options.home)[0] if one.client.folder == started.folder), None)
    if found is not None:
        found = _settled(found)
    if as_json:
        print(msgspec.json.encode(_as_json(started, found)).decode())
        return
    elsewhere = f" --home {shlex.quote(str(options.home))}" if options.home else ""
    if found is None:
        print(f"it waits in the background, and joins by itself then; its log: {started.log}", file=sys.stderr)
        print(f"when it is in, `meshwit peers{elsewhere}` shows it; stop it: meshwit down{elsewhere}", file=sys.stderr)
        return
    print_table(found.mesh, found.client.peers())
    print(f"runs in the background; its log: {started.log}; stop it: meshwit down{elsewhere}", file=sys.stderr)


def _settled(found: Running) -> Running:
    """As it is once the peer has met the others, or has had the time to."""
    until = time.monotonic() + MEET_WITHIN_S
    with contextlib.suppress(PeerError):
        while found.mesh.peers_alive <= 1 and time.monotonic() < until:
            time.sleep(MEET_WITHIN_S / 10)
            found = Running(found.client, found.client.mesh())
    return found


def _as_json(started: Started, found: Running | None) -> dict[str, object]:
    answer: dict[str, object] = {
        "state": "waiting" if found is None else "ready",
        "pid": started.pid,
        "log": started.log,
    }
    return answer if found is None else {**answer, "mesh": found.mesh, "peers": found.client.peers()}
