"""How commands reach the peer of this device, and how they tell that it refused."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.peer_names import pick, shown
from meshwit.cli.terminal import harmless
from meshwit.cli.up_waiting import waiting
from meshwit.peer.control.api import PeerError
from meshwit.peer.control.client import ControlClient, NoAnswerError, Running, find_all
from meshwit.peer.control.runtime_file import home_folder

Home = Annotated[
    Path | None, typer.Option("--home", metavar="FOLDER", help="The folder of the configuration, or MESHWIT_HOME.")
]
On = Annotated[str, typer.Option("--on", metavar="NAME", help="Which peer of this device, if several run.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

GONE_WITHIN_S: Final = 15.0
PROCESS_GONE_WITHIN_S: Final = 3.0
"""A peer may live in a process that goes on: one that runs a job."""


def reach(home: Path | None = None, on: str = "", or_else: str = "") -> Running:
    """The running peer. Raises CommandError if there is none, or several and none of them is named.

    Args:
        home: the folder of the configuration.
        on: which peer.
        or_else: what may be said instead of a name.
    """
    running, silent = find_all(home)
    if on:
        names = [one.mesh.me for one in running]
        me = pick(on, names, "peer runs on this device")
        return next(one for one in running if one.mesh.me is me)
    if len(running) == 1:
        return running[0]
    if running:
        names_text = ", ".join(sorted(shown(one.mesh.me.name) for one in running))
        hint = f"say which one: --on {shlex.quote(running[0].mesh.me.name)}{or_else}"
        raise CommandError(f"several peers run on this device: {names_text}", hint)
    if silent:
        hint = f"if it stays so, end its process: {silent[0].pid}"
        raise CommandError(silent[0].reason, hint, ExitCode.FAILED)
    if waiting(home_folder(home)):
        hint = "on a member: meshwit approve; or here, to type a code instead: meshwit up"
        raise CommandError("the peer of this device still waits to be let into a mesh", hint, ExitCode.FAILED)
    raise CommandError("no peer is running on this device", "start one: meshwit up", ExitCode.FAILED)


@contextlib.contextmanager
def told(as_json: bool) -> Iterator[None]:
    """Makes what the peer refuses an error of the command; with `--json` errors stand on stdout too."""
    try:
        try:
            yield
        except PeerError as error:
            raise CommandError(harmless(error.message), harmless(error.hint), ExitCode.FAILED) from None
    except CommandError as error:
        if as_json:
            print(json.dumps({"error": {"message": error.message, "hint": error.hint}}))
        raise


def confirmed(question: str, yes: bool) -> None:
    """Ask, on stderr. Raises CommandError if the answer is no, or nobody is there to give one."""
    if yes:
        return
    try:
        sure = typer.confirm(question, err=True)
    except typer.Abort:  # Ctrl-C, or the end of what can be read
        print(file=sys.stderr)
        if sys.stdin.isatty():
            raise CommandError("nothing was done", code=ExitCode.CANCELLED) from None
        raise CommandError("nobody answered, so nothing was done", "say so beforehand: --yes") from None
    if not sure:
        raise CommandError("nothing was done", code=ExitCode.CANCELLED)


def stop(client: ControlClient, ask: Callable[[], object]) -> object:
    """Ask a peer something that stops it, and wait until it is gone; what it answered. Raises CommandError."""
    answer: object = None
    with contextlib.suppress(NoAnswerError):  # it may stop before it has answered
        answer = ask()
    if not _gone(lambda: client.stopped_serving(), GONE_WITHIN_S):
        hint = f"end its process: {client.runtime.pid}"
        raise CommandError(f"the peer has not stopped within {GONE_WITHIN_S:g} s", hint, ExitCode.FAILED)
    _gone(lambda: not client.process_lives(), PROCESS_GONE_WITHIN_S)
    return answer


def _gone(is_gone: Callable[[], bool], within_s: float) -> bool:
    until = time.monotonic() + within_s
    while not is_gone():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
