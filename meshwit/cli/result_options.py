"""How a job is shown while it is followed, and what becomes of its results: the options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple, Protocol

import typer

from meshwit.cli.exit_codes import CommandError

Out = Annotated[Path, typer.Option(metavar="FOLDER", help="Where results that are files go.")]
Only = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this result; may be given several times.")]
AsJsonEvents = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; with --watch, events.")]
Watch = Annotated[bool, typer.Option("--watch", help="Tell all that happens, also where no terminal is.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no messages; errors are still told.")]


class ShownOptions(Protocol):
    """How it is shown."""

    @property
    def as_json(self) -> bool:
        """One JSON object on stdout."""

    @property
    def watch(self) -> bool:
        """All that happens."""

    @property
    def quiet(self) -> bool:
        """Nothing but errors."""


class ResultOptions(NamedTuple):
    """The options of a command that follows a job somebody else submitted, and prints its results."""

    only: tuple[str, ...] = ()
    out: Path = Path()
    as_json: bool = False
    watch: bool = False
    quiet: bool = False


def checked(options: ResultOptions) -> ResultOptions:
    """The options. Raises CommandError where they exclude each other."""
    if options.watch and options.quiet:
        raise CommandError("--watch and --quiet exclude each other")
    return options
