"""The text form of values: what `Trace` shows and what `+` joins to a string.

An array may hold itself in effect (`a = [a, a]`, sixty times), small in memory and endless in text: texts are made
piece by piece and have a limit.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

TEXT_CHARS_MAX = 4 * 1024 * 1024
NESTING_MAX = 100
INT_BITS_MAX = 13_000
"""Python neither writes nor reads much longer numbers."""


_NO_MORE = object()


class TellsText(Protocol):
    """A script type, as far as texts go."""

    def text(self, value: Any) -> str:
        """The text of one of its values."""
        ...


TextOf: TypeAlias = Callable[[Any], str]
"""How values are told that the language does not know by their Python class."""


def text_of(value: object, other: TextOf = str) -> str:
    """The text of any value whose script type is not known: by its Python class, or as `other` tells it.

    Raises:
        ValueError: it is longer than `TEXT_CHARS_MAX`, or nested deeper than `NESTING_MAX`.
    """
    if isinstance(value, (list, tuple)):
        return _limited(value, other)
    return _plain_text(value, other)


def short_text(value: object, chars_max: int = 200) -> str:
    """The beginning of a value's text, for messages; never raises."""
    if isinstance(value, (list, tuple)):
        shown = ""
        for piece in _pieces(value, str, chars_max):
            shown += piece
            if len(shown) > chars_max:
                break
    else:
        shown = _plain_text(value)
    return shown if len(shown) <= chars_max else shown[: chars_max - 1] + "…"


def quote_text(value: object, kind: TellsText | None = None) -> str:
    """The text of a value inside a collection or tuple: strings stand in quotes there. Raises ValueError."""
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
        return f'"{escaped}"'
    if value is None or kind is None:
        return text_of(value)
    return kind.text(value)


def float_text(value: float) -> str:
    """The shortest digits that read back as the same number, `2.0` and not `2`."""
    return repr(value)


def timespan_text(value: datetime.timedelta) -> str:
    """`[-][d.]hh:mm:ss[.ffffff]`, as the language writes time spans."""
    sign, magnitude = ("-", -value) if value < datetime.timedelta(0) else ("", value)
    hours, rest = divmod(magnitude.seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    days = f"{magnitude.days}." if magnitude.days else ""
    fraction = f".{magnitude.microseconds:06d}".rstrip("0") if magnitude.microseconds else ""
    return f"{sign}{days}{hours:02d}:{minutes:02d}:{seconds:02d}{fraction}"


def _plain_text(value: object, other: TextOf = str) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case int() if value.bit_length() > INT_BITS_MAX:
            return f"a number of about {int(value.bit_length() * 0.30103) + 1} digits"
        case float():
            return float_text(value)
        case str():
            return value
        case datetime.datetime():
            return value.isoformat(sep=" ")
        case datetime.timedelta():
            return timespan_text(value)
        case decimal.Decimal():
            return format(value, "f")
    return other(value)


def _limited(value: object, other: TextOf) -> str:
    pieces = []
    length = 0
    for piece in _pieces(value, other):
        pieces.append(piece)
        length += len(piece)
        if length > TEXT_CHARS_MAX:
            raise ValueError(f"the text of this value is too long: at most {TEXT_CHARS_MAX:,} characters are allowed")
    return "".join(pieces)


def _pieces(value: object, other: TextOf = str, depth_enough: int | None = None) -> Iterator[str]:
    """The text in pieces. Not by recursion: a piece would cost as much as it is deep."""
    around: list[tuple[Iterator[object], str]] = []
    follows = False
    while True:
        if follows:
            yield ", "
        follows = True
        if not isinstance(value, (list, tuple)):
            yield quote_text(value) if isinstance(value, str) else _plain_text(value, other)
        elif len(around) != depth_enough:
            if depth_enough is None and len(around) > NESTING_MAX:
                raise ValueError(f"this value is nested too deeply: at most {NESTING_MAX} levels are allowed")
            opening, closing = ("[", "]") if isinstance(value, list) else ("(", ")")
            yield opening
            around.append((iter(value), closing))
            follows = False
        while around:
            value = next(around[-1][0], _NO_MORE)
            if value is not _NO_MORE:
                break
            yield around.pop()[1]
            follows = True
        else:
            return
