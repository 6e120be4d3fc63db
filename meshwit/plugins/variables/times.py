"""DateTime, DateTimeOffset and TimeSpan.

A DateTimeOffset written without an offset is UTC: local time would make the same script mean different things on
different devices.
"""

from __future__ import annotations

import datetime
import operator
import re
from collections.abc import Iterator
from typing import Any

from meshwit.lang.offer import Operator
from meshwit.lang.text import timespan_text
from meshwit.lang.types import Member, ScriptType
from meshwit.plugins.variables.numbers import comparisons

_DATE = re.compile(
    r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})"
    r"(?:[ T](\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,7}))?)?\s*(Z|[+-]\d{2}:?\d{2})?)?\s*"
)
_SPAN = re.compile(r"(-)?(?:(\d+)\.)?(\d+):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,7}))?)?")


def parse_date(text: str, *, offset: bool) -> datetime.datetime:
    """A date as scripts write it: `2025/07/18`, `2025/07/18 15:43`, ISO 8601. Raises ValueError with the reason."""
    found = _DATE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f'"{text}" is no date: write "2025/07/18", "2025/07/18 15:43" or ISO 8601')
    year, month, day, hour, minute, second = (int(part or 0) for part in found.group(1, 2, 3, 4, 5, 6))
    micros = int((found[7] or "").ljust(6, "0")[:6])
    zone = found[8]
    if zone and not offset:
        raise ValueError(f'"{text}" has an offset: use DateTimeOffset')
    try:
        moment = datetime.datetime(year, month, day, hour, minute, second, micros)
        return moment.replace(tzinfo=_zone(zone)) if offset else moment
    except ValueError as reason:
        raise ValueError(f'"{text}" is no date: {reason}') from None


def _zone(text: str | None) -> datetime.tzinfo:
    if text in (None, "Z"):
        return datetime.UTC
    assert text is not None
    digits = text[1:].replace(":", "")
    delta = datetime.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return datetime.timezone(-delta if text[0] == "-" else delta)


def parse_span(text: str) -> datetime.timedelta:
    """A time span as scripts write it: `6:12:14`, `1.06:12:14`. Raises ValueError with the reason."""
    found = _SPAN.fullmatch(text.strip())
    if found is None or int(found[4]) > 59 or int(found[5] or 0) > 59:
        raise ValueError(f'"{text}" is no time span: write "6:12:14" or "1.06:12:14" (days.hours:minutes:seconds)')
    days, hours, minutes, seconds = (int(part or 0) for part in found.group(2, 3, 4, 5))
    micros = int((found[6] or "").ljust(6, "0")[:6])
    try:
        span = datetime.timedelta(days, seconds, micros, minutes=minutes, hours=hours)
    except OverflowError:
        raise ValueError(f'"{text}" is too long a time span') from None
    return -span if found[1] else span


_PARTS = {
    name: Member("Int", operator.attrgetter(name.lower()))
    for name in ("Year", "Month", "Day", "Hour", "Minute", "Second")
}


class DateTimeType(ScriptType):
    """A moment without (DateTime) or with (DateTimeOffset) its offset from UTC."""

    members = _PARTS

    def __init__(self, name: str, *, offset: bool) -> None:
        self.name = name
        self.offset = offset
        self.literal_forms = '"2025/07/18", "2025/07/18 15:43" or ISO 8601'

    def holds(self, value: object) -> bool:
        return isinstance(value, datetime.datetime) and (value.tzinfo is not None) == self.offset

    def literal(self, value: object) -> object:
        return parse_date(value, offset=self.offset) if isinstance(value, str) else self.coerce(value)

    def text(self, value: Any) -> str:
        return str(value.isoformat(sep=" "))


class TimeSpanType(ScriptType):
    """A length of time, to the microsecond."""

    name = "TimeSpan"
    literal_forms = '"6:12:14" or "1.06:12:14"'
    members = {
        "TotalDays": Member("Double", lambda value: value.total_seconds() / 86400),
        "TotalHours": Member("Double", lambda value: value.total_seconds() / 3600),
        "TotalMinutes": Member("Double", lambda value: value.total_seconds() / 60),
        "TotalSeconds": Member("Double", lambda value: value.total_seconds()),
        "TotalMilliseconds": Member("Double", lambda value: value.total_seconds() * 1000),
    }

    def holds(self, value: object) -> bool:
        return isinstance(value, datetime.timedelta)

    def literal(self, value: object) -> object:
        return parse_span(value) if isinstance(value, str) else self.coerce(value)

    def text(self, value: Any) -> str:
        return timespan_text(value)


DATE_TIME = DateTimeType("DateTime", offset=False)
DATE_TIME_OFFSET = DateTimeType("DateTimeOffset", offset=True)
TIME_SPAN = TimeSpanType()


def _bounded(compute: Any) -> Any:
    def apply(left: Any, right: Any) -> Any:
        try:
            return compute(left, right)
        except OverflowError:
            raise ValueError("the result is beyond the years 1 to 9999") from None

    return apply


def time_operators() -> Iterator[Operator]:
    """Order of moments and spans; moment - moment, moment ± span, span ± span, -span, span * number."""
    for name in ("DateTime", "DateTimeOffset", "TimeSpan"):
        yield from comparisons(name)
    for name in ("DateTime", "DateTimeOffset"):
        yield Operator("-", name, name, "TimeSpan", _bounded(lambda left, right: left - right))
    for name in ("DateTime", "DateTimeOffset", "TimeSpan"):
        yield Operator("+", name, "TimeSpan", name, _bounded(lambda left, right: left + right))
        yield Operator("-", name, "TimeSpan", name, _bounded(lambda left, right: left - right))
    yield Operator("-", "", "TimeSpan", "TimeSpan", lambda _, right: -right)
    for number in ("Int", "Double"):
        yield Operator("*", "TimeSpan", number, "TimeSpan", _bounded(lambda left, right: left * right))
        yield Operator("*", number, "TimeSpan", "TimeSpan", _bounded(lambda left, right: left * right))
