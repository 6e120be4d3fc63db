"""Rows of texts laid out in columns, as wide as they must be and as narrow as the terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

GAP = "  "
LAST_CELLS_MIN = 20
"""The last column is cut to that many cells before another is dropped."""


def text_width(text: str) -> int:
    """How many cells of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )


def cut(text: str, width: int) -> str:
    """The text in at most `width` cells, with `…` for what is left out."""
    if text_width(text) <= width:
        return text
    kept = ""
    for one in text:
        if text_width(kept + one) > width - 1:
            break
        kept += one
    return f"{kept}…" if width > 0 else ""


def laid_out(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    width: int | None = None,
    droppable: Sequence[str] = (),
) -> list[str]:
    """The header's line and one per row.

    Args:
        headers: of the columns; a column in which no row has a text is left out.
        rows: a text per column.
        right: columns aligned to the right: numbers.
        width: cells that there are; None for as many as needed.
        droppable: columns that may go if there are too few, in that order.
    """
    lines = [list(headers), *(list(row) for row in rows)]
    shown = [at for at in range(len(headers)) if any(row[at] for row in rows) or not rows]
    widths = [max(text_width(line[at]) for line in lines) for at in range(len(headers))]
    for name in droppable:
        if width is None or _needed(shown, widths, len(headers) - 1) <= width:
            break
        shown = [at for at in shown if headers[at] != name]
    return [_line(line, shown, widths, {headers.index(name) for name in right}, width) for line in lines]


def _needed(shown: Sequence[int], widths: Sequence[int], last: int) -> int:
    cells = (min(widths[at], LAST_CELLS_MIN) if at == last else widths[at] for at in shown)
    return sum(cells) + len(GAP) * (len(shown) - 1)


def _line(texts: Sequence[str], shown: Sequence[int], widths: Sequence[int], right: set[int], width: int | None) -> str:
    cells = []
    for at in shown:
        room = " " * (widths[at] - text_width(texts[at]))
        cells.append(room + texts[at] if at in right else texts[at] + room)
    line = GAP.join(cells).rstrip()
    return line if width is None else cut(line, width)
