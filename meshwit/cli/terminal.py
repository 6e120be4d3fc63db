"""What the terminal may be given: whether it takes colour, and text that cannot move its cursor."""

from __future__ import annotations

import os
from typing import TextIO

_CODES = {"red": "\x1b[1;31m", "yellow": "\x1b[1;33m", "green": "\x1b[1;32m", "bold": "\x1b[1m", "dim": "\x1b[2m"}
_RESET = "\x1b[0m"


def is_terminal(stream: TextIO) -> bool:
    """Whether somebody looks at the stream, on a terminal that can redraw lines."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def wants_color(stream: TextIO) -> bool:
    """Whether colour may be used: a terminal, or FORCE_COLOR; never with NO_COLOR (no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or is_terminal(stream)


def painted(text: str, color: str, stream: TextIO) -> str:
    """The text in a colour, where the stream takes one. Colour only repeats what the words say."""
    return f"{_CODES[color]}{text}{_RESET}" if wants_color(stream) else text


def harmless(text: str) -> str:
    """Text from a script or an activity, without what would steer the terminal. Line breaks and tabs stay."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in "\n\t" else "\ufffd" for one in text)


def one_line(text: str, chars_max: int) -> str:
    """The text on one line, cut with `…` where it is longer than `chars_max`."""
    joined = " ".join(harmless(text[: 4 * chars_max]).split())
    cut = len(text) > 4 * chars_max or len(joined) > chars_max
    return f"{joined[: chars_max - 1]}…" if cut else joined


def duration_text(seconds: float) -> str:
    """A duration for people: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def count_text(count: int, noun: str, nouns: str = "") -> str:
    """`1 error`, `2 errors`."""
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"
