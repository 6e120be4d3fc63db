from __future__ import annotations

import contextlib
import datetime
import enum
import subprocess
import sys
import uuid
import zoneinfo
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meshwit.codec import DEPTH_MAX, INLINE_BYTES_MAX, Codec, CodecError, WireType
from meshwit.peer.blobs.store import BlobStore

codec = Codec()

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.timedeltas()
    | st.uuids()
)
keys = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner),
    max_leaves=30,
)


def there_and_back(value):
    return codec.decode(*codec.encode(value))


def same(left, right):
    if type(left) is not type(right):
        return False
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, datetime.datetime):
        return left.isoformat() == right.isoformat()  # `==` is False for the hour that a zone's clock shows twice
    return left == right


@given(values)
@example(datetime.datetime(1945, 10, 14, 23, 0, tzinfo=zoneinfo.ZoneInfo("Asia/Kolkata")))
def test_what_goes_in_comes_out(value):
    assert same(there_and_back(value), value)


@given(st.lists(st.integers(-(2**80), 2**80)))
def test_columns_of_integers_of_any_size(column):
    assert there_and_back(column) == column


@pytest.mark.parametrize(
    "value",
    [
        [(1, 2.0), (3, None)],
        [(1, (2,)), ()],
        [(2**90,)],
        ((1,), [2, (3,)]),
        [[(1,)], {"a": (2, [3])}],
        Decimal("1.50"),
        Decimal("-Infinity"),
        datetime.datetime(2020, 2, 29, 23, 59, 59, 999999, datetime.timezone(datetime.timedelta(hours=-3, seconds=7))),
        datetime.timedelta(-1, 5, 7),
        uuid.UUID(int=5),
        2**64,
        -(2**63) - 1,
        bytes(INLINE_BYTES_MAX + 1),
    ],
)
def test_types_are_kept(value):
    assert same(there_and_back(value), value)


def test_tuples_in_columns_are_tuples():
    assert repr(there_and_back([(1, 2), (3, 4)])) == "[(1, 2), (3, 4)]"
    assert repr(there_and_back([(1, (2, [3])), (4,)])) == "[(1, (2, [3])), (4,)]"


@pytest.mark.parametrize(
    "array",
    [
        np.arange(10),
        np.zeros((3, 4), order="F"),
        np.arange(12.0).reshape(3, 4)[:, ::2],
        np.arange(60).reshape(3, 4, 5).transpose(1, 0, 2),
        np.array(3.5),
        np.zeros((0, 3)),
        np.array(["ab", "c"]),
        np.array([b"ab", b"c"]),
        np.array(["2020-01-01", "NaT"], "M8[D]"),
        np.array([1, 2], "m8[ns]"),
        np.array([1 + 2j]),
        np.array([1, 2], ">i4"),
        np.array([True, False]),
        np.array([1.5], "f2"),
        np.random.default_rng(1).standard_normal((300, 400)),
        np.asfortranarray(np.random.default_rng(1).standard_normal((300, 400))),
    ],
    ids=lambda array: f"{array.dtype.str}{array.shape}",
)
def test_arrays(array):
    header, buffers = codec.encode({"here": [array]})
    assert len(buffers) == (array.nbytes > INLINE_BYTES_MAX)
    back = codec.decode(header, buffers)["here"][0]
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()
    assert not back.flags.writeable
    if array.flags.f_contiguous and array.ndim > 1:
        assert back.flags.f_contiguous


def test_large_arrays_are_not_copied():
    array = np.arange(100_000)
    header, buffers = codec.encode(array)
    assert np.shares_memory(np.frombuffer(buffers[0], array.dtype), array)
    assert np.shares_memory(codec.decode(header, buffers), array)
    assert len(header) < 100


def test_numpy_scalars():
    for value in (np.float64(1.5), np.int32(-3), np.bool_(True), np.datetime64("2020-01-01"), np.str_("a")):
        assert same(there_and_back(value), value)


@dataclass
class Point:
    x: float
    y: object


class Point3(Point):
    pass


point_type = WireType("Point", Point, lambda point: (point.x, point.y), lambda pair: Point(*pair))


def test_registered_types_may_hold_anything_and_each_other():
    both = Codec([point_type])
    array = np.arange(50_000.0)
    back = both.decode(*both.encode([Point(1.0, Point3(2.0, array))]))
    assert type(back[0]) is Point
    assert np.array_equal(back[0].y.y, array)


def test_blobs_are_named_once_in_order_wherever_they_are():
    @dataclass
    class Page:
        text: object
        hash: str = ""

    page_type = WireType(
        "Page", Page, lambda page: page.text, Page, blob=lambda page: (page.hash, 3) if page.hash else None
    )
    both = Codec([point_type, page_type])
    value = [Page("b", "two"), {"inner": (Point(1.0, Page("a", "one")), Page(2**70, "two"))}, Page("no blob")]
    header, buffers, blobs = both.encode_with_blobs(value)
    assert blobs == [("two", 3), ("one", 3)]
    assert (header, buffers) == both.encode(value)
    assert both.encode_with_blobs([1, 2])[2] == []


def test_handles_of_a_store_name_their_blobs(tmp_path):
    store = BlobStore(tmp_path)
    blob = store.put(b"abc")
    assert Codec([store.wire_type()]).encode_with_blobs([blob, blob])[2] == [(blob.hash, 3)]


def test_two_types_of_one_tag():
    with pytest.raises(ValueError, match="two types claim"):
        Codec([point_type, WireType("Point", int, int, int)])


def test_tag_that_is_not_registered_here():
    header, buffers = Codec([point_type]).encode(Point(1.0, 2.0))
    with pytest.raises(CodecError, match="'Point'"):
        codec.decode(header, buffers)


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "type object"),
        ([1, {"a": {1, 2}}], "type set"),
        ({1: 2}, "key of type int"),
        (Colour.RED, "Colour"),
        (Counter("a"), "collections.Counter"),
        (np.array([object()]), "dtype object"),
        (np.zeros(2, [("a", "i4")]), "dtype"),
        (np.ma.masked_array([1, 2], [0, 1]), "MaskedArray"),
        (Point(1.0, 2.0), "Point"),
        ("\ud800", "surrogates"),
        ({"\ud800": 1}, "surrogates"),
        (lambda: 1, "function"),
    ],
)
def test_what_cannot_cross_is_named(value, message):
    with pytest.raises(CodecError, match=message):
        codec.encode(value)


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x,), lambda x: {"a": x}], ids=["list", "tuple", "dict"])
def test_depth_is_limited(wrap):
    value = 1
    for _ in range(DEPTH_MAX):
        value = wrap(value)
    assert same(there_and_back(value), value)
    for _ in range(5000):
        value = wrap(value)
    with pytest.raises(CodecError, match="nested"):
        codec.encode(value)


def test_deep_bytes_are_refused():
    for data in (b"\x91" * 100_000, b"\x91" * 50_000 + b"\x01"):
        with pytest.raises(CodecError):
            codec.decode(data)
    data = b"\x01"
    for _ in range(300):
        data = msgspec.msgpack.encode([msgspec.msgpack.Ext(1, b"\x91" + data)])[1:]
    with pytest.raises(CodecError):
        codec.decode(data)


@pytest.mark.parametrize(
    "inner",
    [
        ["<f8", [2], "C", b"1234567"],
        ["<f8", [-1, -1], "C", b"12345678"],
        ["<f8", [2**62, 2**62, 0], "C", b""],
        ["|O", [1], "C", b"12345678"],
        ["<U0", [10**15], "C", b""],
        ["<f8", [1], "X", b"12345678"],
        ["<f8", [1], "C", 7],
        ["<f8", [1], "C", -1],
        ["<f8", [1] * 100, "C", b"12345678"],
        ["nonsense", [1], "C", b""],
        [],
    ],
)
def test_arrays_that_are_none(inner):
    data = msgspec.msgpack.encode(msgspec.msgpack.Ext(8, msgspec.msgpack.encode(inner)))
    with pytest.raises(CodecError):
        codec.decode(data, [b"12345678"])


def decode_anything(data, buffers=()):
    with contextlib.suppress(CodecError):
        codec.decode(data, buffers)


@given(st.binary(max_size=200))
def test_random_bytes(data):
    decode_anything(data)


@given(st.integers(-128, 127), st.binary(max_size=60) | values.map(lambda value: codec.encode(value)[0]))
@settings(max_examples=300)
def test_random_extensions(code, data):
    decode_anything(msgspec.msgpack.encode(msgspec.msgpack.Ext(code, data)), [b"abc"])


@given(values, st.data())
@settings(max_examples=200)
def test_damaged_values(value, data):
    header = bytearray(codec.encode([value, np.arange(3)])[0])
    for _ in range(data.draw(st.integers(1, 3))):
        header[data.draw(st.integers(0, len(header) - 1))] = data.draw(st.integers(0, 255))
    decode_anything(bytes(header[: data.draw(st.integers(0, len(header)))]))
    decode_anything(bytes(header))


def test_numpy_is_not_imported_for_those_without_arrays():
    code = (
        "import sys; from meshwit.codec import Codec; c = Codec();"
        "c.decode(*c.encode([1, (2, b'x')])); assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
