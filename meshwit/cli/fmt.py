"""`meshwit fmt`: scripts in canonical layout, rewritten in place."""

from __future__ import annotations

import difflib
import sys
from typing import Annotated

import typer

from meshwit.cli.diagnosed import show
from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.sources import STDIN, Source, expand_folders, read_source, write_whole
from meshwit.cli.terminal import count_text, painted
from meshwit.lang.diagnostics import ScriptError
from meshwit.lang.format import format_source

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def fmt(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILES", help="Scripts; folders are searched; `-` formats stdin to stdout."),
    ],
    check: Annotated[bool, typer.Option("--check", help="Change nothing; end with 1 if a file would change.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Change nothing; print what would change as a diff.")] = False,
) -> None:
    """Lay scripts out in the one canonical way: white space changes, nothing else.

    A script that does not parse is left as it is, with its faults shown, and the exit code is 3.
    """
    changed = 0
    worst = ExitCode.COMPLETED
    names = expand_folders(files)
    for name in names:
        try:
            source = read_source(name)
            formatted = format_source(source.text, source.name)
            changed += _finish(source, formatted, check=check, diff=diff)
        except ScriptError as error:
            show(error.diagnostics, Source(error.text, name, None))
            worst = max(worst, ExitCode.SCRIPT_ERRORS)
        except CommandError as error:
            print(f"{painted('error', 'red', sys.stderr)}: {error.message}", file=sys.stderr)
            worst = max(worst, error.code)
    if names == [STDIN] and not (check or diff):
        raise typer.Exit(worst)
    verb = "would change" if check or diff else "changed"
    print(f"{count_text(changed, 'file')} of {len(names)} {verb}", file=sys.stderr)
    if check and changed and worst is ExitCode.COMPLETED:
        worst = ExitCode.FAILED
    raise typer.Exit(worst)


def _finish(source: Source, formatted: str, *, check: bool, diff: bool) -> bool:
    """Write, compare or print; whether the layout differs from what was there."""
    differs = formatted != source.text
    if diff:
        lines = difflib.unified_diff(
            source.text.splitlines(), formatted.splitlines(), source.name, f"{source.name} (formatted)", lineterm=""
        )
        sys.stdout.writelines(f"{line}\n" for line in lines)
    elif check:
        if differs:
            print(source.name)
    elif source.path is None:
        sys.stdout.write(formatted)
    elif differs:
        try:
            write_whole(source.path, [formatted.encode()])
        except OSError as reason:
            raise CommandError(f"cannot write {source.name}: {reason.strerror}", code=ExitCode.FAILED) from None
    return differs
