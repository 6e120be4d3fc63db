"""Bool, String, Guid, Color, Object, Tuple, Array and Blob."""

from __future__ import annotations

import operator
import re
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from meshwit.blob import Blob, size_text
from meshwit.codec import WireType
from meshwit.lang.offer import Operator
from meshwit.lang.text import text_of
from meshwit.lang.types import COLLECTION_ITEMS_MAX, STRING_CHARS_MAX, Member, ScriptType, describe
from meshwit.plugins.variables.numbers import comparisons, plain_number


class BoolType(ScriptType):
    """`true` or `false`."""

    name = "Bool"
    aliases = ("Boolean",)
    literal_forms = "true or false"

    def holds(self, value: object) -> bool:
        return isinstance(value, bool)

    def adopt(self, value: object, blobs: Any) -> object:
        return self.coerce(plain_number(value))

    def text(self, value: Any) -> str:
        return text_of(value)


class StringType(ScriptType):
    """Text."""

    name = "String"
    element = "String"
    literal_forms = 'text in double quotes, "..."'
    members = {"Length": Member("Int", len)}

    def holds(self, value: object) -> bool:
        return isinstance(value, str)


class GuidType(ScriptType):
    """A 128-bit identifier."""

    name = "Guid"
    literal_forms = 'a text such as "0f8fad5b-d9cb-469f-a165-70867728950e"'

    def holds(self, value: object) -> bool:
        return isinstance(value, uuid.UUID)

    def literal(self, value: object) -> object:
        if not isinstance(value, str):
            return self.coerce(value)
        try:
            return uuid.UUID(value.strip())
        except ValueError:
            raise ValueError(f'"{value}" is no Guid: write 32 hex digits, with or without hyphens and braces') from None


class Color(msgspec.Struct, frozen=True, order=True):
    """A colour: red, green, blue and alpha, 0 to 255 each."""

    r: int
    g: int
    b: int
    a: int = 255

    def __str__(self) -> str:
        alpha = "" if self.a == 255 else f"{self.a:02X}"
        return f"#{alpha}{self.r:02X}{self.g:02X}{self.b:02X}"


class ColorType(ScriptType):
    """A colour with transparency."""

    name = "Color"
    literal_forms = '"#RRGGBB" or "#AARRGGBB"'
    members = {letter: Member("Int", operator.attrgetter(letter.lower())) for letter in "RGBA"}
    wire = WireType("Color", Color, lambda value: [value.r, value.g, value.b, value.a], lambda data: Color(*data))

    def holds(self, value: object) -> bool:
        return isinstance(value, Color)

    def literal(self, value: object) -> object:
        if not isinstance(value, str):
            return self.coerce(value)
        if not re.fullmatch(r"#(?:[0-9A-Fa-f]{2}){3,4}", value):
            raise ValueError(f'"{value}" is no colour: write "#RRGGBB" or "#AARRGGBB"')
        parts = [int(value[at : at + 2], 16) for at in range(1, len(value), 2)]
        alpha = parts.pop(0) if len(parts) == 4 else 255
        red, green, blue = parts
        return Color(red, green, blue, alpha)


class ObjectType(ScriptType):
    """Any value; what may be done with it is checked when it happens."""

    name = "Object"
    element = "Object"
    literal_forms = "any value"

    def holds(self, value: object) -> bool:
        return True

    def adopt(self, value: object, blobs: Any) -> object:
        return plain_number(value)

    def text(self, value: Any) -> str:
        return text_of(value)


_ITEM = re.compile(r"Item([1-9]\d{0,3})")


class TupleType(ScriptType):
    """A few values of any types, `t.Item1`, `t.Item2` and so on."""

    name = "Tuple"
    element = "Object"
    literal_forms = "Tuple(...)"
    members = {"Count": Member("Int", len)}

    def holds(self, value: object) -> bool:
        return isinstance(value, tuple)

    def literal(self, value: object) -> object:
        return tuple(value) if isinstance(value, list) else self.coerce(value)

    def adopt(self, value: object, blobs: Any) -> object:
        return tuple(plain_number(item) for item in value) if isinstance(value, (tuple, list)) else self.coerce(value)

    def member(self, name: str) -> Member | None:
        found = _ITEM.fullmatch(name)
        if found is None:
            return self.members.get(name)
        position = int(found[1]) - 1

        def get(value: tuple[Any, ...]) -> object:
            if position >= len(value):
                raise ValueError(f"a tuple of {len(value)} has no {name}")
            return value[position]

        return Member("Object", get)

    def text(self, value: Any) -> str:
        return text_of(value)


class ArrayType(ScriptType):
    """Any number of values of any types."""

    name = "Array"
    collection = False
    element = "Object"
    literal_forms = '[1, "a", [2.0]]'
    members = {"Count": Member("Int", len)}

    def holds(self, value: object) -> bool:
        return type(value) is list

    def literal(self, value: object) -> object:
        return self.adopt(value, None)

    def adopt(self, value: object, blobs: Any) -> object:
        if isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable):
            return self.coerce(value)
        result = [plain_number(item) for item in value]
        if len(result) > COLLECTION_ITEMS_MAX:
            raise ValueError(f"an array holds at most {COLLECTION_ITEMS_MAX:,} items")
        return result

    def text(self, value: Any) -> str:
        return text_of(value)


class BlobType(ScriptType):
    """Bytes held by the mesh; `media_prefix` narrows it to one kind, such as images."""

    name = "Blob"
    literal_forms = "a file's path on the command line"
    media = True
    media_prefix = ""
    members = {
        "Size": Member("Long", lambda value: value.size),
        "Hash": Member("String", lambda value: value.hash),
        "MediaType": Member("String", lambda value: value.media_type),
    }
    natural_media_type = "application/octet-stream"

    def holds(self, value: object) -> bool:
        return isinstance(value, Blob) and value.media_type.startswith(self.media_prefix)

    def coerce(self, value: object) -> object:
        if isinstance(value, Blob) and not self.holds(value):
            raise ValueError(f"a blob of type {value.media_type} is no {self.name}")
        return super().coerce(value)

    def adopt(self, value: object, blobs: Any) -> object:
        if isinstance(value, (bytes, bytearray, memoryview)):
            return blobs.put(value, self.natural_media_type)
        return self.coerce(value)

    def text(self, value: Any) -> str:
        return f"{self.name} {value.hash[:10]} ({value.media_type}, {size_text(value.size)})"


SIMPLE: tuple[ScriptType, ...] = (
    BoolType(),
    StringType(),
    GuidType(),
    ColorType(),
    TupleType(),
    ArrayType(),
    BlobType(),
    ObjectType(),
)


def _joined(left: str, right: str) -> str:
    if len(left) + len(right) > STRING_CHARS_MAX:
        raise ValueError(
            f"a text of {len(left) + len(right):,} characters is too long: at most {STRING_CHARS_MAX:,} are allowed"
        )
    return left + right


def simple_operators() -> Iterator[Operator]:
    """Order and joining of texts, `!`, and whatever has an order of its own."""
    yield from comparisons("String")
    yield Operator("+", "String", "String", "String", _joined)
    yield Operator("+", "String", "Object", "String", lambda left, right: _joined(left, text_of(right)))
    yield Operator("+", "Object", "String", "String", lambda left, right: _joined(text_of(left), right))
    yield Operator("!", "", "Bool", "Bool", lambda _, right: _negated(right))


def _negated(value: bool | None) -> bool:
    if value is None:
        raise ValueError("NULL is neither true nor false")
    return not value


def text_argument(value: object) -> str:
    """`String(x)`: the text of any value."""
    if value is None:
        raise ValueError(f"{describe(value)} has no text")
    return text_of(value)
