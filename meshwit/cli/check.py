"""`meshwit check`: the diagnostics of scripts, as text or JSON. They are the data here, so they stand on stdout."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from meshwit.cli.compiling import diagnose
from meshwit.cli.diagnosed import printed
from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.sources import expand_folders, read_source
from meshwit.cli.terminal import count_text, painted, wants_color
from meshwit.lang.diagnostics import Severity
from meshwit.lang.render import LineIndex, to_json

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def check(
    files: Annotated[list[str], typer.Argument(metavar="FILES", help="Scripts; folders are searched; `-` is stdin.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object with all diagnostics.")] = False,
) -> None:
    """Find the faults of scripts without running them.

    Ends with 3 if a script has errors, with 2 if a file cannot be read, else with 0. Warnings stop nothing.
    """
    counts = dict.fromkeys(Severity, 0)
    records: list[dict[str, Any]] = []
    unreadable: list[CommandError] = []
    names = expand_folders(files)
    for name in names:
        try:
            source = read_source(name)
        except CommandError as error:
            unreadable.append(error)
            continue
        index = LineIndex(source.text)
        for diagnostic in diagnose(source):
            counts[diagnostic.severity] += 1
            if as_json:
                records.append(to_json(diagnostic, source.text, source.name, index=index))
            else:
                print(printed(diagnostic, source, wants_color(sys.stdout), index), end="\n\n")
    errors, warnings = counts[Severity.ERROR], counts[Severity.WARNING]
    if as_json:
        lost = [{"message": one.message} for one in unreadable]
        print(json.dumps({"diagnostics": records, "errors": errors, "warnings": warnings, "unreadable": lost}))
    for one in unreadable:
        print(f"{painted('error', 'red', sys.stderr)}: {one.message}", file=sys.stderr)
    checked = count_text(len(names) - len(unreadable), "file")
    found = f"{count_text(errors, 'error')}, {count_text(warnings, 'warning')}" if errors or warnings else "no faults"
    print(f"{checked}: {found}", file=sys.stderr)
    if unreadable:
        raise typer.Exit(ExitCode.USAGE)
    raise typer.Exit(ExitCode.SCRIPT_ERRORS if errors else ExitCode.COMPLETED)
