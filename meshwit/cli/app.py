"""The table of commands, the group that loads a command when it is called, and how errors end the process."""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import signal
import sys
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command

from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.terminal import painted


class CommandEntry(NamedTuple):
    """Where a command is, as the module whose `app` has it, and what the list of commands says about it."""

    module: str
    summary: str


COMMANDS = {
    "run": CommandEntry("meshwit.cli.run", "Run a script and write its results to files."),
    "jobs": CommandEntry("meshwit.cli.jobs", "Show the jobs of the mesh."),
    "status": CommandEntry("meshwit.cli.status", "Show how one job is."),
    "attach": CommandEntry("meshwit.cli.attach", "Follow a job, whoever started it."),
    "result": CommandEntry("meshwit.cli.result", "Print and write the results of a job that has ended."),
    "cancel": CommandEntry("meshwit.cli.cancel", "End a job."),
    "pause": CommandEntry("meshwit.cli.pause", "Start nothing new of a job."),
    "resume": CommandEntry("meshwit.cli.resume", "Let a job go on that is paused, interrupted or held."),
    "explain": CommandEntry("meshwit.cli.explain", "Show why a job, or an item of it, is where it is."),
    "check": CommandEntry("meshwit.cli.check", "Find the faults of scripts without running them."),
    "fmt": CommandEntry("meshwit.cli.fmt", "Lay scripts out in the one canonical way."),
    "activities": CommandEntry("meshwit.cli.activities", "Show which activities and types scripts can use."),
    "new": CommandEntry("meshwit.cli.new", "Start a package with a controller of your own."),
    "up": CommandEntry("meshwit.cli.up", "Make this device a peer: join the mesh, or start one."),
    "down": CommandEntry("meshwit.cli.down", "Stop the peer of this device."),
    "peers": CommandEntry("meshwit.cli.peers", "Show who is in the mesh."),
    "peer": CommandEntry("meshwit.cli.peer", "Show everything known about one peer."),
    "invite": CommandEntry("meshwit.cli.invite", "Show the code by which another device joins."),
    "approve": CommandEntry("meshwit.cli.approve", "Let a waiting device in."),
    "expel": CommandEntry("meshwit.cli.expel", "Shut a device out of the mesh."),
    "leave": CommandEntry("meshwit.cli.leave", "Leave the mesh for good."),
    "forget": CommandEntry("meshwit.cli.forget", "Drop a peer that is gone from the table."),
    "bench": CommandEntry("meshwit.cli.bench", "Measure how fast this device is."),
    "doctor": CommandEntry("meshwit.cli.doctor", "Find out why devices do not see each other."),
    "service": CommandEntry("meshwit.cli.service", "Start the peer whenever you log in."),
    "version": CommandEntry("meshwit.cli.version", "Show the version."),
}

EPILOG = """\b
Exit codes:
  0    completed, nothing to complain about
  1    the job failed or is held, a result could not be written, or no peer did what was asked
  2    wrong usage, wrong parameters, file not found
  3    the script has errors
  70   a bug in meshwit
  130  cancelled
"""


def load(name: str) -> Any:
    """The command of that name, its module imported now."""
    command = get_command(importlib.import_module(COMMANDS[name].module).app)
    command.name = name
    return command


class LazyCommands(TyperGroup):
    """A group that knows its commands by the table, and imports one when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, or None."""
        return load(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list of commands, for which none is imported."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the arguments name; an unknown one is answered with what was probably meant."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            meant = f"run {name}" if name.endswith(".wit") else near[0] if near else ""
            hint = f" Did you mean `{ctx.command_path} {meant}`?" if meant else ""
            ctx.fail(f"There is no command `{name}`.{hint}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="meshwit",
    cls=LazyCommands,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        importlib.import_module(COMMANDS["version"].module).version()
        raise typer.Exit


@app.callback(epilog=EPILOG, no_args_is_help=True)
def meshwit(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Whatever devices there are, one computer: run readable .wit scripts on them."""


def main() -> None:
    """Run the command line on `sys.argv` and leave the process with its exit code."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        get_command(app)()
    except CommandError as error:
        report(error)
        sys.exit(error.code)
    except Exception as bug:
        if isinstance(bug, OSError) and bug.errno in (errno.ENOSPC, errno.EDQUOT) and bug.filename is None:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115  what waits to be written there cannot be
            report(CommandError(f"cannot write the output: {bug.strerror}"))
            sys.exit(ExitCode.FAILED)
        if os.environ.get("MESHWIT_DEBUG"):
            raise
        print(f"{painted('bug in meshwit', 'red', sys.stderr)}: {type(bug).__name__}: {bug}", file=sys.stderr)
        hint = "run it again with MESHWIT_DEBUG=1 for the traceback, and report that together with the command"
        print(f"  {hint}", file=sys.stderr)
        sys.exit(ExitCode.BUG)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said: a late Ctrl-C must not change the exit code


def _open_closed_streams() -> None:
    """Whoever closed stdout or stderr wants nothing there; Python leaves None."""
    for name in ("stdin", "stdout", "stderr"):  # in the order of their numbers, which the files take
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115


def report(error: CommandError) -> None:
    """Say on stderr what ended the command."""
    print(f"{painted('error', 'red', sys.stderr)}: {error.message}", file=sys.stderr)
    for line in error.hint.splitlines():
        print(f"  {line}", file=sys.stderr)
