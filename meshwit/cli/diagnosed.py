"""Diagnostics on the terminal."""

from __future__ import annotations

import sys

from meshwit.cli.sources import Source
from meshwit.cli.terminal import wants_color
from meshwit.lang.diagnostics import Diagnostic
from meshwit.lang.render import LineIndex, render


def printed(diagnostic: Diagnostic, source: Source, color: bool, index: LineIndex | None = None) -> str:
    """A diagnostic as text, its source line underlined."""
    return render(diagnostic, source.text, source.name, color, index=index)


def show(diagnostics: list[Diagnostic], source: Source) -> None:
    """Print diagnostics to stderr."""
    index = LineIndex(source.text)
    for diagnostic in diagnostics:
        print(printed(diagnostic, source, wants_color(sys.stderr), index), end="\n\n", file=sys.stderr)
