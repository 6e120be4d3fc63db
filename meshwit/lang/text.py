"""The text form of values: what `Trace` shows and what `+` joins to a string."""

from __future__ import annotations

import datetime
import decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshwit.lang.types import ScriptType


def text_of(value: object) -> str:
    """The text of any value whose script type is not known: by its Python class."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case float():
            return float_text(value)
        case str():
            return value
        case list():
            return "[" + ", ".join(quote_text(item) for item in value) + "]"
        case tuple():
            return "(" + ", ".join(quote_text(item) for item in value) + ")"
        case datetime.datetime():
            return value.isoformat(sep=" ")
        case datetime.timedelta():
            return timespan_text(value)
        case decimal.Decimal():
            return format(value, "f")
    return str(value)


def quote_text(value: object, kind: ScriptType | None = None) -> str:
    """The text of a value inside a collection or tuple: strings stand in quotes there."""
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
