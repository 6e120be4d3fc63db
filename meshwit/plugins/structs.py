"""Script types made of frozen msgspec structs: a controller's own records, with nothing to write but the fields.

    class FrameValue(msgspec.Struct, frozen=True):
        number: Int
        samples: Int = 16

    FRAME = StructType("Frame", FrameValue)
    Frame = Annotated[FrameValue, Script("Frame")]

gives scripts the type `Frame` with the members `Number` and `Samples`. Fields are annotated as activities are; an
optional one ends in `| None`. Values cross between processes as a list of their fields, and are checked on arrival.
"""

from __future__ import annotations

import operator
from typing import Any, get_type_hints

import msgspec

from meshwit.codec import WireType
from meshwit.lang.text import quote_text
from meshwit.lang.types import Member, ScriptType
from meshwit.plugins.annotations import Script, read_annotation

_BY_CLASS: dict[type, StructType] = {}
"""For the text of a struct inside another."""


class StructType(ScriptType):
    """The script type whose values are the instances of one frozen struct.

    Args:
        name: as scripts write it.
        python_type: the struct; its fields become members, `number_of_rows` as `NumberOfRows`.
        literal_forms: how a value is written, for error messages.

    Raises:
        TypeError: a field's annotation means nothing to the language.
    """

    def __init__(self, name: str, python_type: type[msgspec.Struct], literal_forms: str = "") -> None:
        self.name = name
        self.python_type = python_type
        self.literal_forms = literal_forms or f"{name}(...)"
        hints = get_type_hints(python_type, include_extras=True)
        self._fields = tuple(field.name for field in msgspec.structs.fields(python_type))
        self.members = {
            member_name(field): Member(_type_name(name, field, hints[field]), operator.attrgetter(field))
            for field in self._fields
        }
        _BY_CLASS[python_type] = self
        self.wire = WireType(name, python_type, self._encode, self._decode)

    def holds(self, value: object) -> bool:
        """Whether it is an instance of the struct."""
        return isinstance(value, self.python_type)

    def text(self, value: Any) -> str:
        """The value with its members, as a script could name them."""
        values = ((field, getattr(value, field)) for field in self._fields)
        shown = (f"{member_name(field)}: {quote_text(held, _BY_CLASS.get(type(held)))}" for field, held in values)
        return f"{self.name}({', '.join(shown)})"

    def _encode(self, value: Any) -> object:
        return [getattr(value, field) for field in self._fields]

    def _decode(self, data: Any) -> object:
        # Fields that a newer peer added are cut off, those that an older one lacks take their defaults.
        return msgspec.convert(dict(zip(self._fields, data, strict=False)), self.python_type)


def member_name(field: str) -> str:
    """The member that shows a field: `number_of_rows` is `NumberOfRows`."""
    return "".join(part.capitalize() for part in field.split("_"))


def _type_name(owner: str, field: str, annotation: Any) -> str:
    mark = read_annotation(annotation, result=True)
    if not isinstance(mark, Script):
        raise TypeError(f"{owner}.{field}: {annotation!r} is no script type")
    return mark.name
