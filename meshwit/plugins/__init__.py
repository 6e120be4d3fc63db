"""The controller SDK, and the controllers that ship with meshwit.

A controller is a subclass of `Controller` whose `@activity` methods become activities of the language.
"""

from meshwit.blob import Blob as BlobHandle
from meshwit.codec import WireType
from meshwit.lang.offer import Operator
from meshwit.lang.types import Member, ScriptType
from meshwit.plugins.annotations import (
    Array,
    Blob,
    BlobCollection,
    Bool,
    Byte,
    DateTime,
    DateTimeOffset,
    Decimal,
    Double,
    DoubleCollection,
    Float,
    Guid,
    Int,
    IntCollection,
    Long,
    LongCollection,
    Object,
    SByte,
    Script,
    Short,
    String,
    StringCollection,
    TimeSpan,
    Tuple,
    TupleCollection,
    UInt,
    ULong,
    UShort,
)
from meshwit.plugins.context import Context
from meshwit.plugins.controller import Controller, activity, clause, composite
from meshwit.plugins.requires import requires, requires_cpu, requires_gpu, requires_memory, requires_os

__all__ = [
    "Array",
    "Blob",
    "BlobCollection",
    "BlobHandle",
    "Bool",
    "Byte",
    "Context",
    "Controller",
    "DateTime",
    "DateTimeOffset",
    "Decimal",
    "Double",
    "DoubleCollection",
    "Float",
    "Guid",
    "Int",
    "IntCollection",
    "Long",
    "LongCollection",
    "Member",
    "Object",
    "Operator",
    "SByte",
    "Script",
    "ScriptType",
    "Short",
    "String",
    "StringCollection",
    "TimeSpan",
    "Tuple",
    "TupleCollection",
    "UInt",
    "ULong",
    "UShort",
    "WireType",
    "activity",
    "clause",
    "composite",
    "requires",
    "requires_cpu",
    "requires_gpu",
    "requires_memory",
    "requires_os",
]
