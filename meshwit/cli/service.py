"""`meshwit service`: the peer starts whenever its owner logs in (systemd, launchd, Task Scheduler)."""

from __future__ import annotations

import getpass
import importlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from typer.main import get_command

from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.reach import AsJson, told
from meshwit.cli.service_plans import Account, Plan, System, plan

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

COMMAND_TIMEOUT_S: Final = 60
_SYSTEMS: Final[dict[str, System]] = {"linux": "linux", "darwin": "macos", "win32": "windows"}

Options = Annotated[list[str] | None, typer.Argument(metavar="[-- OPTIONS]", help="Of `meshwit up`: -- --slots 4.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")]


@app.callback()
def service() -> None:
    """Start the peer whenever you log in: systemd, launchd or the Task Scheduler of Windows."""


@app.command("install")
def install(options: Options = None, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Install the service for this user, and start it; again with other options to change them."""
    with told(as_json):
        made = this_plan(options or [])
        if not dry_run:
            _write(made)
        done = _performed(made.prepare, dry_run=dry_run, must=False)
        done += _performed(made.install, dry_run=dry_run, must=True, hint=made.hint)
        _report("installed", made, done, dry_run=dry_run, as_json=as_json)


@app.command("remove")
def remove(dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Stop the service, and remove it; the membership stays."""
    with told(as_json):
        made = this_plan([])
        if not dry_run and not Path(made.path).exists():
            raise CommandError("the service is not installed", f"there is no {made.path}", ExitCode.FAILED)
        done = _performed(made.stop, dry_run=dry_run, must=False)
        if not dry_run:
            Path(made.path).unlink(missing_ok=True)
        done += _performed(made.after_removal, dry_run=dry_run, must=False)
        _report("removed", made, done, dry_run=dry_run, as_json=as_json)


@app.command("status")
def status(as_json: AsJson = False) -> None:
    """Show whether the service is installed and runs."""
    with told(as_json):
        made = this_plan([])
        installed = Path(made.path).exists()
        output, code = _output(made.status) if installed else ("", 1)
    if as_json:
        print(json.dumps({"installed": installed, "running": code == 0, "file": str(made.path), "output": output}))
    elif installed:
        print(output.rstrip())
    else:
        print("the service is not installed; install it: meshwit service install", file=sys.stderr)
    if code:
        raise typer.Exit(ExitCode.FAILED)


@app.command("print")
def print_file(options: Options = None, as_json: AsJson = False) -> None:
    """Print the file that `install` would write."""
    with told(as_json):
        made = this_plan(options or [])
        text = made.content.decode("utf-16" if made.content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8")
        if as_json:
            print(json.dumps({"file": str(made.path), "content": text}))
        else:
            print(text.rstrip("\n"))
            print(f"would stand in {made.path}", file=sys.stderr)


def this_plan(options: Sequence[str]) -> Plan:
    """The plan for this system and user, with options that `meshwit up` takes. Raises CommandError."""
    system = _SYSTEMS.get(sys.platform)
    if system is None:
        raise CommandError(f"there is no service for {sys.platform}", "start it yourself: meshwit up --log")
    return plan(system, [sys.executable, "-m", "meshwit", "up", *checked_options(options)], _account())


def checked_options(options: Sequence[str]) -> list[str]:
    """The options, with the home that this process has. Raises CommandError, or the error that `up` would."""
    up = get_command(importlib.import_module("meshwit.cli.up").app)
    given = up.make_context("meshwit up", list(options)).params
    for name, why in {
        "invite": "a token expires: join with it once, the service needs none",
        "background": "the service is in the background already",
        "child": "it is for background processes",
        "as_json": "nobody would read it",
    }.items():
        if given[name] and not (name == "invite" and "--invite" not in " ".join(options)):
            raise CommandError(f"--{name.removeprefix('as_')} is not for a service", why)
    kept = [option for option in options if option not in ("--plain", "--log")]
    home = os.environ.get("MESHWIT_HOME", "").strip()
    if home and given["home"] is None:
        kept += ["--home", str(Path(home).expanduser().absolute())]
    return kept


def _account() -> Account:
    user = getpass.getuser()
    if sys.platform == "win32":
        user = f"{os.environ.get('USERDOMAIN', '.')}\\{user}"
        return Account(str(Path.home()), 0, user)
    return Account(str(Path.home()), os.getuid(), user, os.environ.get("XDG_CONFIG_HOME", ""))


def _write(made: Plan) -> None:
    path = Path(made.path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made.content)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror or error}", code=ExitCode.FAILED) from None


def _performed(commands: Sequence[Sequence[str]], *, dry_run: bool, must: bool, hint: str = "") -> list[Sequence[str]]:
    """Run commands one after another. Raises CommandError if one fails that must not."""
    for command in () if dry_run else commands:
        output, code = _output(command)
        if code and must:
            said = "\n".join(filter(None, (output.strip(), hint)))
            raise CommandError(f"`{shlex.join(command)}` failed with exit code {code}", said, ExitCode.FAILED)
    return list(commands)


def _output(command: Sequence[str]) -> tuple[str, int]:
    """What a command says, and its exit code. Raises CommandError if it does not exist."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        hint = "start the peer by whatever this system has instead; the command is: meshwit up --log"
        raise CommandError(f"there is no `{command[0]}` here", hint, ExitCode.FAILED) from None
    except subprocess.TimeoutExpired:
        return f"it did not end within {COMMAND_TIMEOUT_S} s", 1
    return done.stdout, done.returncode


def _report(state: str, made: Plan, done: Sequence[Sequence[str]], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        answer = {
            "state": "planned" if dry_run else state,
            "file": str(made.path),
            "commands": [list(each) for each in done],
        }
        print(json.dumps(answer))
        return
    if not dry_run:
        print(f"{state}: {made.path}", file=sys.stderr)
        if state == "installed" and made.hint and _SYSTEMS[sys.platform] == "linux":
            print(made.hint, file=sys.stderr)
        return
    print(f"{'write' if state == 'installed' else 'remove'} {made.path}")
    for command in done:
        print(f"run {shlex.join(command)}")
