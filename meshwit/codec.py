"""Values to bytes and back: MessagePack that describes itself, with large buffers beside it.

A value becomes a header (MessagePack, small) and a list of buffers (array data and long ``bytes``, not copied). What
comes back is of the type that went in: a tuple is a tuple, a ``Decimal`` a ``Decimal``, an array has its dtype, shape
and order. A type that is neither native nor registered is refused by name; nothing is ever pickled.

Native: ``None``, ``bool``, ``int``, ``float``, ``str``, ``bytes``, ``list``, ``dict`` with ``str`` keys, ``tuple``,
``Decimal``, ``datetime``, ``timedelta``, ``UUID``, numpy arrays and scalars. Other classes cross by a `WireType`.

Subclasses of native types (an ``IntEnum``, a ``Counter``, a masked array) are refused rather than silently flattened.
Decoded arrays are read-only views of the buffers: no copy is made, and nobody writes into memory that others read.
An aware ``datetime`` keeps its offset from UTC, not the name of its zone.
"""

from __future__ import annotations

import datetime
import importlib
import math
import re
import sys
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import Any, Final, TypeAlias

import msgspec
from msgspec.msgpack import Ext

Buffer: TypeAlias = bytes | bytearray | memoryview

INLINE_BYTES_MAX: Final = 64 * 1024 - 1
"""Buffers longer than this travel beside the header."""
DEPTH_MAX: Final = 100
"""Containers within containers; deeper values are refused on encoding."""
ITEMS_MAX: Final = 5_000_000
"""Values that are no plain ones: a list may hold itself twice, sixty times over, small in memory and endless here."""

_TUPLE, _INT, _BYTES, _DECIMAL, _DATETIME, _TIMEDELTA, _UUID, _ARRAY, _SCALAR, _REGISTERED, _TUPLES = range(1, 12)

_PLAIN: Final = frozenset({type(None), bool, int, float, str})
_ONLY_TUPLES: Final = {tuple}
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
_INT_BYTES_MAX: Final = 1 << 20
_DTYPE: Final = re.compile(r"[<>|=][biufcSUV]\d{1,9}|[<>][mM]8(\[\d{0,9}[A-Za-zμ]{1,7}\])?")


class CodecError(ValueError):
    """A value that cannot cross (its type is named), or bytes that are no value."""


@dataclass(frozen=True, slots=True)
class WireType:
    """How the instances of one Python class (and of its subclasses) cross.

    ``encode`` returns anything that can be encoded, arrays and other registered instances included; ``decode`` gets
    it back, with arrays read-only. ``blob`` tells which blob an instance refers to by itself, as hash and size, so that
    who hands an encoded value on can hand its bytes on too.
    """

    tag: str
    python_type: type
    encode: Callable[[Any], object]
    decode: Callable[[Any], object]
    blob: Callable[[Any], tuple[str, int] | None] | None = None


class Codec:
    """Encodes and decodes; holds the registered types and nothing else, so one serves any number of tasks."""

    def __init__(self, types: Iterable[WireType] = ()) -> None:
        self._by_type: dict[type, WireType] = {}
        self._by_tag: dict[str, WireType] = {}
        self._found: dict[type, WireType | None] = {}
        for wire_type in types:
            self.register(wire_type)

    def register(self, wire_type: WireType) -> None:
        """Make a type known; the same one twice is no error. Raises ValueError if its tag is taken by another."""
        other = self._by_tag.setdefault(wire_type.tag, wire_type)
        if other.python_type is not wire_type.python_type:
            raise ValueError(
                f"two types claim the wire tag {wire_type.tag!r}: {other.python_type} and {wire_type.python_type}"
            )
        self._by_type[wire_type.python_type] = wire_type
        self._found.clear()

    def encode(self, value: object) -> tuple[bytes, list[memoryview]]:
        """Return the header and the buffers that must arrive with it, in order; the buffers are views, not copies.

        Raises:
            CodecError: a type that cannot cross, nesting beyond `DEPTH_MAX`, a string that is no Unicode.
        """
        header, buffers, _ = self.encode_with_blobs(value)
        return header, buffers

    def encode_with_blobs(self, value: object) -> tuple[bytes, list[memoryview], list[tuple[str, int]]]:
        """As `encode`, and hash and size of the blobs that the value refers to: each once, in order."""
        encoding = _Encoding(self)
        try:
            try:
                header = _ENCODER.encode(encoding.tree(value, 0))
            except OverflowError:
                encoding = _Encoding(self, wide=True)
                header = _ENCODER.encode(encoding.tree(value, 0))
        except UnicodeEncodeError as error:
            raise CodecError(f"a str cannot cross: {error}") from None
        except RecursionError:
            raise CodecError(f"the value is nested deeper than {DEPTH_MAX}") from None
        return header, encoding.buffers, list(encoding.blobs.items())

    def decode(self, header: Buffer, buffers: Sequence[Buffer] = ()) -> Any:
        """Return the value; arrays are read-only views of ``buffers``.

        Raises:
            CodecError: anything else than what `encode` gives, whatever is wrong with it.
        """
        try:
            return msgspec.msgpack.decode(header, ext_hook=_Decoding(self, buffers, 0).extension)
        except CodecError:
            raise
        except Exception as error:
            raise CodecError(f"not an encoded value: {type(error).__name__}: {error}") from error

    def registered(self, python_type: type) -> WireType | None:
        """Return how instances of ``python_type`` cross, looking through its base classes too."""
        try:
            return self._found[python_type]
        except KeyError:
            found = next((self._by_type[t] for t in python_type.__mro__ if t in self._by_type), None)
            self._found[python_type] = found
            return found

    def tagged(self, tag: str) -> WireType:
        """Return the type of that wire tag."""
        try:
            return self._by_tag[tag]
        except KeyError:
            raise CodecError(f"no type is registered for the wire tag {tag!r}") from None


def _refuse(value: object) -> object:
    raise CodecError(f"a value of type {_type_name(type(value))} cannot cross")


_ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=_refuse)


def _type_name(python_type: type) -> str:
    module = python_type.__module__
    return python_type.__qualname__ if module == "builtins" else f"{module}.{python_type.__qualname__}"


def _numpy() -> Any:
    return sys.modules.get("numpy") or importlib.import_module("numpy")


class _Encoding:
    """One value on its way out: the tree that msgspec can write, the buffers set aside and the blobs that it met."""

    __slots__ = ("blobs", "buffers", "codec", "count", "wide")

    def __init__(self, codec: Codec, wide: bool = False) -> None:
        self.codec = codec
        self.count = 0
        self.wide = wide  # look at every int: the first try met one beyond 64 bits
        self.buffers: list[memoryview] = []
        self.blobs: dict[str, int] = {}

    def tree(self, value: Any, depth: int) -> object:
        kind = type(value)
        if kind in _PLAIN:
            if self.wide and kind is int and not _INT_MIN <= value <= _INT_MAX:
                return Ext(_INT, value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))
            return value
        if depth > DEPTH_MAX:
            raise CodecError(f"the value is nested deeper than {DEPTH_MAX}")
        self.count += 1
        if self.count > ITEMS_MAX:
            raise CodecError(f"the value holds more than {ITEMS_MAX:,} values that are no plain ones")
        if kind is list:
            return self._list(value, depth)
        if kind is tuple:
            flat = not self.wide and set(map(type, value)) <= _PLAIN
            return Ext(_TUPLE, _ENCODER.encode(value if flat else [self.tree(each, depth + 1) for each in value]))
        if kind is dict:
            return self._mapping(value, depth)
        simple = _SIMPLE.get(kind)
        if simple is not None:
            code, write = simple
            return Ext(code, write(value))
        if kind is bytes or kind is bytearray or kind is memoryview:
            return self._bytes(value)
        numpy = sys.modules.get("numpy")
        if numpy is not None:
            if kind is numpy.ndarray or kind is numpy.memmap:
                return self._array(numpy, value)
            if isinstance(value, numpy.generic):
                return self._scalar(value)
        wire_type = self.codec.registered(kind)
        if wire_type is None:
            raise CodecError(f"a value of type {_type_name(kind)} cannot cross; return a native type or register it")
        blob = None if wire_type.blob is None else wire_type.blob(value)
        if blob is not None:
            self.blobs[blob[0]] = blob[1]
        return Ext(_REGISTERED, _ENCODER.encode([wire_type.tag, self.tree(wire_type.encode(value), depth + 1)]))

    def _list(self, values: list[Any], depth: int) -> object:
        kinds = set(map(type, values))
        if not self.wide:
            if kinds <= _PLAIN:
                return values
            if kinds == _ONLY_TUPLES and _PLAIN.issuperset(map(type, chain.from_iterable(values))):
                return Ext(_TUPLES, _ENCODER.encode(values))
        return [self.tree(value, depth + 1) for value in values]

    def _mapping(self, mapping: dict[Any, Any], depth: int) -> object:
        for key in mapping:
            if type(key) is not str:
                raise CodecError(f"a dict with a key of type {_type_name(type(key))} cannot cross; keys must be str")
        if not self.wide and set(map(type, mapping.values())) <= _PLAIN:
            return mapping
        return {key: self.tree(value, depth + 1) for key, value in mapping.items()}

    def _bytes(self, value: bytes | bytearray | memoryview) -> object:
        view = memoryview(value)
        if view.nbytes <= INLINE_BYTES_MAX:
            return bytes(view)
        if not view.c_contiguous:
            view = memoryview(bytes(view))
        return Ext(_BYTES, _ENCODER.encode(self._aside(view.cast("B"))))

    def _array(self, numpy: Any, array: Any) -> object:
        dtype = array.dtype
        if _DTYPE.fullmatch(dtype.str) is None or dtype.itemsize == 0 or dtype.fields is not None:
            raise CodecError(f"a numpy array of dtype {dtype} cannot cross; use a plain numeric, string or time dtype")
        order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        flat = numpy.ascontiguousarray(array.T if order == "F" else array).reshape(-1).view(numpy.uint8)
        view = memoryview(flat)
        data = bytes(view) if view.nbytes <= INLINE_BYTES_MAX else self._aside(view)
        return Ext(_ARRAY, _ENCODER.encode([dtype.str, array.shape, order, data]))

    def _scalar(self, value: Any) -> object:
        if _DTYPE.fullmatch(value.dtype.str) is None or value.dtype.itemsize == 0 or value.dtype.fields is not None:
            raise CodecError(f"a numpy scalar of dtype {value.dtype} cannot cross")
        return Ext(_SCALAR, _ENCODER.encode([value.dtype.str, value.tobytes()]))

    def _aside(self, view: memoryview) -> int:
        self.buffers.append(view)
        return len(self.buffers) - 1


def _datetime_bytes(value: datetime.datetime) -> bytes:
    return value.isoformat().encode()


def _timedelta_bytes(value: datetime.timedelta) -> bytes:
    return _ENCODER.encode((value.days, value.seconds, value.microseconds))


_SIMPLE: Final[dict[type, tuple[int, Callable[[Any], bytes]]]] = {
    Decimal: (_DECIMAL, lambda value: str(value).encode()),
    datetime.datetime: (_DATETIME, _datetime_bytes),
    datetime.timedelta: (_TIMEDELTA, _timedelta_bytes),
    uuid.UUID: (_UUID, lambda value: value.bytes),
}


class _Nested(Exception):  # noqa: N818 - a signal: this tuple holds more than plain scalars
    pass


def _nested(code: int, data: memoryview) -> object:
    raise _Nested


_FLAT_TUPLE: Final = msgspec.msgpack.Decoder(tuple[Any, ...], ext_hook=_nested)
_FLAT_TUPLES: Final = msgspec.msgpack.Decoder(list[tuple[Any, ...]], ext_hook=_nested)


class _Decoding:
    """One value on its way in. Extensions hold MessagePack of their own; ``depth`` counts them."""

    __slots__ = ("buffers", "codec", "depth")

    def __init__(self, codec: Codec, buffers: Sequence[Buffer], depth: int) -> None:
        self.codec = codec
        self.buffers = buffers
        self.depth = depth

    def extension(self, code: int, data: memoryview) -> object:
        match code:
            case 1:  # _TUPLE
                try:
                    return _FLAT_TUPLE.decode(data)
                except _Nested:
                    return self._inner(data, tuple[Any, ...])
            case 2:  # _INT
                if len(data) > _INT_BYTES_MAX:
                    raise CodecError("an integer of more than a million bytes")
                return int.from_bytes(data, "little", signed=True)
            case 3:  # _BYTES
                return bytes(self._buffer(self._inner(data, int)))
            case 4:  # _DECIMAL
                return Decimal(str(data, "ascii"))
            case 5:  # _DATETIME
                return datetime.datetime.fromisoformat(str(data, "ascii"))
            case 6:  # _TIMEDELTA
                return datetime.timedelta(*self._inner(data, tuple[int, int, int]))
            case 7:  # _UUID
                return uuid.UUID(bytes=bytes(data))
            case 8:  # _ARRAY
                return self._array(*self._inner(data, tuple[str, tuple[int, ...], str, int | bytes]))
            case 9:  # _SCALAR
                dtype, raw = self._inner(data, tuple[str, bytes])
                return self._array(dtype, (), "C", raw)[()]
            case 10:  # _REGISTERED
                tag, inner = self._inner(data, tuple[str, Any])
                return self.codec.tagged(tag).decode(inner)
            case 11:  # _TUPLES
                return _FLAT_TUPLES.decode(data)
        raise CodecError(f"unknown extension {code}")

    def _inner(self, data: memoryview, shape: Any) -> Any:
        if self.depth > DEPTH_MAX:
            raise CodecError(f"nested deeper than {DEPTH_MAX}")
        deeper = _Decoding(self.codec, self.buffers, self.depth + 1)
        return msgspec.msgpack.decode(data, type=shape, ext_hook=deeper.extension)

    def _buffer(self, index: int) -> Buffer:
        if not 0 <= index < len(self.buffers):
            raise CodecError(f"buffer {index} of {len(self.buffers)} did not arrive")
        return self.buffers[index]

    def _array(self, dtype: str, shape: tuple[int, ...], order: str, data: int | bytes) -> Any:
        numpy = _numpy()
        if _DTYPE.fullmatch(dtype) is None or order not in ("C", "F"):
            raise CodecError(f"no array has dtype {dtype!r} and order {order!r}")
        kind = numpy.dtype(dtype)
        raw = memoryview(self._buffer(data) if isinstance(data, int) else data)
        if min(shape, default=0) < 0 or not kind.itemsize or math.prod(shape) * kind.itemsize != raw.nbytes:
            raise CodecError(f"{raw.nbytes} bytes are no array of shape {shape} and dtype {dtype}")
        array = numpy.frombuffer(raw.toreadonly(), kind) if raw.nbytes else numpy.empty(0, kind)
        array = array.reshape(shape, order=order)
        array.flags.writeable = False
        return array
