"""From Python annotations to script types: what a controller's author writes, and what the language reads.

`Int`, `Image`, `FrameCollection` and so on are `Annotated` aliases: a type checker sees the Python type of the
values, the registry sees the script type's name. Plain Python types work too: `int`, `float`, `str`, `list[int]`.
A controller that brings a type of its own writes `Frame = Annotated[FrameValue, Script("Frame")]`.
"""

from __future__ import annotations

import datetime
import decimal
import types
import uuid
from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin

import msgspec

from meshwit.blob import Blob as BlobHandle
from meshwit.lang import control
from meshwit.lang.offer import Role


class Script(msgspec.Struct, frozen=True):
    """Marks an `Annotated` alias as the script type of that name."""

    name: str


class Takes(msgspec.Struct, frozen=True):
    """Marks a parameter of a control activity with its role; `type` is the script type where one is asked for."""

    role: Role
    type: str = "Object"


Bool = Annotated[bool, Script("Bool")]
Byte = Annotated[int, Script("Byte")]
SByte = Annotated[int, Script("SByte")]
Short = Annotated[int, Script("Short")]
UShort = Annotated[int, Script("UShort")]
Int = Annotated[int, Script("Int")]
UInt = Annotated[int, Script("UInt")]
Long = Annotated[int, Script("Long")]
ULong = Annotated[int, Script("ULong")]
Float = Annotated[float, Script("Float")]
Double = Annotated[float, Script("Double")]
Decimal = Annotated[decimal.Decimal, Script("Decimal")]
String = Annotated[str, Script("String")]
DateTime = Annotated[datetime.datetime, Script("DateTime")]
DateTimeOffset = Annotated[datetime.datetime, Script("DateTimeOffset")]
TimeSpan = Annotated[datetime.timedelta, Script("TimeSpan")]
Guid = Annotated[uuid.UUID, Script("Guid")]
Object = Annotated[Any, Script("Object")]
Tuple = Annotated[tuple[Any, ...], Script("Tuple")]
Array = Annotated[list[Any], Script("Array")]
Blob = Annotated[BlobHandle, Script("Blob")]
IntCollection = Annotated[list[int], Script("IntCollection")]
LongCollection = Annotated[list[int], Script("LongCollection")]
DoubleCollection = Annotated[list[float], Script("DoubleCollection")]
StringCollection = Annotated[list[str], Script("StringCollection")]
BlobCollection = Annotated[list[BlobHandle], Script("BlobCollection")]
TupleCollection = Annotated[list[tuple[Any, ...]], Script("TupleCollection")]

Condition = Annotated[control.Lazy, Takes(Role.LAZY, "Bool")]
LazyValue = Annotated[control.Lazy, Takes(Role.LAZY)]
Each = Annotated[Sequence[Any], Takes(Role.EACH)]
DeclaresString = Annotated[None, Takes(Role.DECLARES, "String")]
Body = Annotated[control.Body, Takes(Role.BODY)]
Arrow = Annotated[control.Arrow, Takes(Role.ARROW)]

_PARAMETERS: dict[object, str] = {
    bool: "Bool",
    int: "Long",
    float: "Double",
    str: "String",
    list: "Array",
    tuple: "Tuple",
    object: "Object",
    Any: "Object",
    decimal.Decimal: "Decimal",
    datetime.datetime: "DateTime",
    datetime.timedelta: "TimeSpan",
    uuid.UUID: "Guid",
    BlobHandle: "Blob",
}
# A result of `int` is an Int, so that `Int:n = F();` works; a parameter of `int` is a Long, so that it takes any.
_RESULTS = _PARAMETERS | {int: "Int", bytes: "Blob"}

Annotation: TypeAlias = Any


def read_annotation(annotation: Annotation, *, result: bool = False) -> Script | Takes | None:
    """What an annotation means to the language; None for a result annotated as None.

    Raises:
        TypeError: it means nothing to the language.
    """
    if annotation is None or annotation is type(None):
        return None
    origin: Any = get_origin(annotation)
    arguments = get_args(annotation)
    if origin is Annotated:
        for mark in annotation.__metadata__:
            if isinstance(mark, (Script, Takes)):
                return mark
        return read_annotation(annotation.__origin__, result=result)
    if origin in (Union, types.UnionType):
        given = [argument for argument in arguments if argument is not type(None)]
        if len(given) == 1:
            return read_annotation(given[0], result=result)
        raise TypeError(f"{annotation} is more than one type: use one of them, or Object")
    if origin in (list, Sequence) and arguments:
        element = read_annotation(arguments[0], result=True)
        if isinstance(element, Script):
            return Script("Array" if element.name == "Object" else f"{element.name}Collection")
    name = (_RESULTS if result else _PARAMETERS).get(origin or annotation)
    if name is None:
        raise TypeError(
            f"{annotation!r} is no script type: annotate with one of meshwit.plugins, such as Int or String"
        )
    return Script(name)
