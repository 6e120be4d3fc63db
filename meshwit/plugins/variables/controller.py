"""The controller of the primitive types: their constructors, ranges, clocks and identifiers."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Iterator
from typing import Annotated, Any

from meshwit.lang.types import COLLECTION_ITEMS_MAX
from meshwit.plugins.annotations import (
    Array,
    Blob,
    Bool,
    DateTime,
    DateTimeOffset,
    Guid,
    Int,
    Object,
    Script,
    String,
    TimeSpan,
    Tuple,
    TupleCollection,
)
from meshwit.plugins.context import Context
from meshwit.plugins.controller import Controller, Declared, activity
from meshwit.plugins.variables.numbers import (
    NUMBERS,
    DecimalType,
    FloatingType,
    IntegerType,
    number_range,
    numeric_operators,
)
from meshwit.plugins.variables.options import ProcessingOptions, ProcessingOptionsType, make_options
from meshwit.plugins.variables.simple import SIMPLE, Color, ColorType, GuidType, simple_operators, text_argument
from meshwit.plugins.variables.times import (
    DATE_TIME,
    DATE_TIME_OFFSET,
    TIME_SPAN,
    parse_date,
    parse_span,
    time_operators,
)

ColorValue = Annotated[Color, Script("Color")]
Options = Annotated[ProcessingOptions, Script("ProcessingOptions")]


class Variables(Controller):
    """Primitive types."""

    prefix = ""
    types = (*NUMBERS, *SIMPLE, DATE_TIME, DATE_TIME_OFFSET, TIME_SPAN, ProcessingOptionsType())
    operators = (*numeric_operators(), *simple_operators(), *time_operators())

    def declared(self) -> Iterator[tuple[Callable[..., Any], Declared]]:
        yield from super().declared()
        for kind in NUMBERS:
            yield _constructor(kind), Declared(kind.name, properties={"inline": True})
            yield _range(kind), Declared(f"{kind.name}.Range", (f"{kind.name}Range",), {"inline": True})

    @activity(inline=True, name="Bool")
    def truth(self, value: Object) -> Bool:
        """A truth value, from a Bool or the texts "true" and "false"."""
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if isinstance(value, bool):
            return value
        raise ValueError('Bool can be made of a Bool, "true" or "false"')

    @activity(inline=True, name="Boolean")
    def boolean(self, value: Object) -> Bool:
        """The same as Bool."""
        return self.truth(value)

    @activity(inline=True, name="String")
    def text(self, value: Object) -> String:
        """The text of any value."""
        return text_argument(value)

    @activity(inline=True, name="Object")
    def anything(self, value: Object) -> Object:
        """Any value, its type no longer checked before the job runs."""
        return value

    @activity(inline=True, name="Tuple")
    def tuple_of(self, *values: Object) -> Tuple:
        """A tuple of the given values; they are `t.Item1`, `t.Item2` and so on."""
        return values

    @activity(inline=True, name="Array")
    def array_of(self, values: Array) -> Array:
        """An array, from an array or any collection."""
        return values

    @activity(local=True, name="Blob")
    def text_blob(self, context: Context, text: String, mediaType: String = "text/plain") -> Blob:
        """A blob that holds a text, as UTF-8."""
        return context.blobs.put(text.encode(), mediaType)

    @activity(inline=True, name="Guid")
    def guid(self, text: String) -> Guid:
        """An identifier from its text, with or without braces."""
        return GuidType().literal(text)  # type: ignore[return-value]

    @activity(inline=True, volatile=True)
    def NewGuid(self) -> Guid:
        """A new random identifier."""
        return uuid.uuid4()

    @activity(inline=True, name="Color")
    def color(self, red: Int, green: Int, blue: Int, alpha: Int = 255) -> ColorValue:
        """A colour from red, green, blue and alpha, 0 to 255 each."""
        for name, part in (("red", red), ("green", green), ("blue", blue), ("alpha", alpha)):
            if not 0 <= part <= 255:
                raise ValueError(f"{name} is {part}, a part of a colour is 0 to 255")
        return Color(red, green, blue, alpha)

    @activity(inline=True, name="Color")
    def color_from_text(self, text: String) -> ColorValue:
        """A colour from `"#RRGGBB"` or `"#AARRGGBB"`."""
        return ColorType().literal(text)  # type: ignore[return-value]

    @activity(inline=True, name="DateTime")
    def date(self, year: Int, month: Int, day: Int) -> DateTime:
        """A moment, without an offset from UTC."""
        return datetime.datetime(year, month, day)

    @activity(inline=True, name="DateTime")
    def date_and_time(self, year: Int, month: Int, day: Int, hour: Int, minute: Int, second: Int) -> DateTime:
        """A moment with its time of day."""
        return datetime.datetime(year, month, day, hour, minute, second)

    @activity(inline=True, name="DateTime")
    def date_from_text(self, text: String) -> DateTime:
        """A moment from its text."""
        return parse_date(text, offset=False)

    @activity(inline=True, name="DateTimeOffset")
    def date_offset(self, year: Int, month: Int, day: Int) -> DateTimeOffset:
        """A moment, in UTC."""
        return datetime.datetime(year, month, day, tzinfo=datetime.UTC)

    @activity(inline=True, name="DateTimeOffset")
    def date_offset_and_time(
        self,
        year: Int,
        month: Int,
        day: Int,
        hour: Int,
        minute: Int,
        second: Int,
        offset: TimeSpan = datetime.timedelta(),
    ) -> DateTimeOffset:
        """A moment with its offset from UTC."""
        if abs(offset) >= datetime.timedelta(days=1):
            raise ValueError("an offset from UTC is shorter than a day")
        return datetime.datetime(year, month, day, hour, minute, second, tzinfo=datetime.timezone(offset))

    @activity(inline=True, name="DateTimeOffset")
    def date_offset_from_text(self, text: String) -> DateTimeOffset:
        """A moment from its text."""
        return parse_date(text, offset=True)

    @activity(inline=True, volatile=True, name="DateTime.Now", aliases=("DateTimeNow",))
    def now(self) -> DateTime:
        """The leader's local time."""
        return datetime.datetime.now()

    @activity(inline=True, volatile=True, name="DateTimeOffset.Now", aliases=("DateTimeOffsetNow",))
    def now_offset(self) -> DateTimeOffset:
        """The leader's time, with its offset from UTC."""
        return datetime.datetime.now().astimezone()

    @activity(inline=True, name="TimeSpan")
    def span(self, hours: Int, minutes: Int, seconds: Int) -> TimeSpan:
        """A length of time; no part may be negative."""
        return _span(hours=hours, minutes=minutes, seconds=seconds)

    @activity(inline=True, name="TimeSpan")
    def span_days(self, days: Int, hours: Int, minutes: Int, seconds: Int) -> TimeSpan:
        """A length of time with days."""
        return _span(days=days, hours=hours, minutes=minutes, seconds=seconds)

    @activity(inline=True, name="TimeSpan")
    def span_millis(self, days: Int, hours: Int, minutes: Int, seconds: Int, milliseconds: Int) -> TimeSpan:
        """A length of time with days and milliseconds."""
        return _span(days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds)

    @activity(inline=True, name="TimeSpan")
    def span_from_text(self, text: String) -> TimeSpan:
        """A length of time from its text."""
        return parse_span(text)

    @activity(inline=True, name="ProcessingOptions", aliases=("ProcessingOptions.Create",))
    def options(
        self,
        Strategy: String | None = None,
        MaxClients: Int | None = None,
        CanRunInParallelOnClient: Bool | None = None,
        Retries: Int | None = None,
        Requires: String | None = None,
        OnError: String | None = None,
        Priority: Int | None = None,
        TimeLimit: Object = None,
        MemoryLimit: Object = None,
    ) -> Options:
        """How a Grid step is to be spread."""
        return make_options(
            Strategy=Strategy,
            MaxClients=MaxClients,
            CanRunInParallelOnClient=CanRunInParallelOnClient,
            Retries=Retries,
            Requires=Requires,
            OnError=OnError,
            Priority=Priority,
            TimeLimit=TimeLimit,
            MemoryLimit=MemoryLimit,
        )

    @activity(inline=True)
    def Zip(self, first: Array, second: Array, *more: Array) -> TupleCollection:
        """Tuples of the first items, the second items and so on, as many as the shortest collection has."""
        return list(zip(first, second, *more, strict=False))


def _span(**parts: int) -> datetime.timedelta:
    for name, value in parts.items():
        if value < 0:
            raise ValueError(f"{name} is {value}: no part of a TimeSpan may be negative")
    try:
        return datetime.timedelta(**parts)
    except OverflowError:
        raise ValueError("the time span is too long") from None


def _constructor(kind: IntegerType | FloatingType | DecimalType) -> Callable[..., Any]:
    def construct(value: Any) -> Any:
        return kind.explicit(value)

    construct.__doc__ = f"A value of type {kind.name}: {kind.literal_forms}. Converts numbers and texts explicitly."
    construct.__annotations__ = {"value": Object, "return": Annotated[Any, Script(kind.name)]}
    return construct


def _range(kind: IntegerType | FloatingType | DecimalType) -> Callable[..., Any]:
    def numbers(start: Any, stop: Any, step: Any = 1) -> Any:
        return number_range(kind, start, stop, step, COLLECTION_ITEMS_MAX)

    element = Annotated[Any, Script(kind.name)]
    numbers.__doc__ = "The numbers from `start`, by `step`, up to but without `stop`."
    numbers.__annotations__ = {
        "start": element,
        "stop": element,
        # A range of unsigned numbers may run downwards.
        "step": Annotated[Any, Script("Long")] if isinstance(kind, IntegerType) else element,
        "return": Annotated[list[Any], Script(f"{kind.name}Collection")],
    }
    return numbers
