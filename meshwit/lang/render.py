"""Diagnostics for people, as text with the source line underlined, and for programs, as plain dictionaries."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from typing import Any

from meshwit.lang.diagnostics import Diagnostic, Severity

_TAB_CELLS = 4
_LINE_CELLS = 100
"""How much of a source line is shown at most."""

_BEFORE_CELLS = 30
"""How much of a clipped line is shown before the span."""

_RESET, _BOLD, _BLUE = "\x1b[0m", "\x1b[1m", "\x1b[1;34m"
_COLORS = {Severity.ERROR: "\x1b[1;31m", Severity.WARNING: "\x1b[1;33m"}


class LineIndex:
    """Character offsets to lines and columns, both counted from 1."""

    __slots__ = ("_starts", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._starts = [0]
        at = text.find("\n")
        while at >= 0:
            self._starts.append(at + 1)
            at = text.find("\n", at + 1)

    def locate(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset; one past the end is a place too."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of a line without its line break."""
        start = self._starts[number - 1]
        end = self._starts[number] - 1 if number < len(self._starts) else len(self.text)
        return self.text[start:end].removesuffix("\r")


def render(
    diagnostic: Diagnostic, text: str, filename: str, color: bool = False, *, index: LineIndex | None = None
) -> str:
    """A diagnostic as it is shown on a terminal, without a line break at its end.

    Args:
        diagnostic: what to show; of a span over many lines only the first is shown, and `…`.
        text: the source its span points into.
        filename: how the source is named.
        color: whether to use ANSI colours; they repeat what the words say.
        index: the source's lines, if several diagnostics share them.
    """
    index = index or LineIndex(text)
    start, end = _clamped(diagnostic.span, text)
    number, column = index.locate(start)
    line = index.line(number)
    shown, offset, width = _clipped(line, column - 1, min(end - start, max(0, len(line) - column + 1)))
    more = " …" if index.locate(end)[0] > number and "\n" in text[start : max(start, end - 1)] else ""
    paint = _COLORS[diagnostic.severity] if color else ""
    bold, blue, reset = (_BOLD, _BLUE, _RESET) if color else ("", "", "")

    gutter = " " * max(2, len(str(number)))
    underline = "^" * max(1, width) + more
    label = f" {_one_line(diagnostic.label)}" if diagnostic.label else ""
    head = f"{paint}{diagnostic.severity.value}[{diagnostic.code}]{reset}{bold}: {_one_line(diagnostic.message)}{reset}"
    rows = [
        head,
        f"{gutter}{blue}-->{reset} {_one_line(filename)}:{number}:{column}",
        f"{gutter} {blue}|{reset}",
        f"{blue}{number:>{len(gutter)}} |{reset} {shown}".rstrip(),
        f"{gutter} {blue}|{reset} {' ' * offset}{paint}{underline}{label}{reset}",
    ]
    if diagnostic.help:
        rows.append(f"{gutter} {blue}={reset} {bold}help{reset}: {_one_line(diagnostic.help)}")
    return "\n".join(rows)


def to_json(diagnostic: Diagnostic, text: str, filename: str, *, index: LineIndex | None = None) -> dict[str, Any]:
    """A diagnostic for programs: lines and columns from 1, the end exclusive, columns in characters."""
    index = index or LineIndex(text)
    start, end = _clamped(diagnostic.span, text)
    line, column = index.locate(start)
    end_line, end_column = index.locate(end)
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity.value,
        "message": diagnostic.message,
        "file": filename,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
        "label": diagnostic.label,
        "help": diagnostic.help,
    }


def _clamped(span: tuple[int, int], text: str) -> tuple[int, int]:
    start = min(max(span[0], 0), len(text))
    return start, min(max(span[1], start), len(text))


def _clipped(line: str, start: int, length: int) -> tuple[str, int, int]:
    """What is shown of a line around a span: its text, the cells before the span, and the span's cells."""
    first = start
    room = _BEFORE_CELLS if len(line) > _LINE_CELLS else _LINE_CELLS
    while first and room > 0:
        first -= 1
        room -= _cells(line[first])
    if len(line) <= _LINE_CELLS:
        first = 0
    before, after = ("…" if first else ""), ""
    part = line[first:]
    if len(part) > _LINE_CELLS:
        part, after = part[:_LINE_CELLS], "…"
    inside = part[start - first : start - first + length]
    shown = before + "".join(map(_visible, part)) + after
    offset = len(before) + sum(map(_cells, part[: start - first]))
    return shown, offset, sum(map(_cells, inside))


def _visible(character: str) -> str:
    """A character as it may go to a terminal: tabs as blanks, nothing that moves the cursor or recolours."""
    if character == "\t":
        return " " * _TAB_CELLS
    if character.isprintable() or unicodedata.category(character) == "Mn":
        return character
    return "\ufffd"


def _cells(character: str) -> int:
    """How many columns of a terminal a character takes."""
    if character.isascii():
        return _TAB_CELLS if character == "\t" else 1
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _one_line(words: str) -> str:
    """Words quoted from a script, made safe for one line of a terminal."""
    return words if words.isprintable() else "".join(map(_visible, words.replace("\n", " ")))
