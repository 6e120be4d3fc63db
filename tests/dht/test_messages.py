"""The wire form: the package's MessagePack, and what passes between nodes of different age."""

from __future__ import annotations

import msgspec
import pytest
import umsgpack
from hypothesis import given
from hypothesis import strategies as st

from meshwit.dht.keys import key_of, topic_fault, topic_of
from meshwit.dht.messages import (
    FindNode,
    FindValue,
    MalformedError,
    Ping,
    Store,
    Told,
    decode_answer,
    decode_record,
    decode_request,
    encode_answer,
    encode_record,
    encode_request,
    host_text,
    packed_host,
)
from meshwit.records import signed_record
from simulations.keys import SimulatedKey

OWNER = SimulatedKey("owner")


def test_a_request_is_what_the_package_would_send():
    node, key = b"n" * 20, b"k" * 20
    datagram = encode_request(b"i" * 20, FindNode(node, key))
    assert datagram == b"\x00" + b"i" * 20 + umsgpack.packb(["find_node", [node, key]])
    answer = encode_answer(b"i" * 20, [Told(node, bytes(4), 7)])
    assert umsgpack.unpackb(answer[21:]) == [[node, bytes(4), 7]]


@pytest.mark.parametrize(
    "request_", [Ping(b"n" * 20), Store(b"n" * 20, []), FindNode(b"n" * 20, b"k"), FindValue(b"n" * 20, b"k", 3, 4)]
)
def test_what_is_written_is_read(request_):
    assert decode_request(encode_request(bytes(20), request_)[21:]) == request_


def test_newer_nodes_may_say_more_and_older_ones_less():
    longer = msgspec.msgpack.encode(["find_value", [b"n" * 20, b"k" * 20, 1, 2, "new", {}]])
    assert decode_request(longer) == FindValue(b"n" * 20, b"k" * 20, 1, 2)
    shorter = msgspec.msgpack.encode(["find_value", [b"n" * 20, b"k" * 20]])
    assert decode_request(shorter) == FindValue(b"n" * 20, b"k" * 20, 0, 0)
    assert decode_request(msgspec.msgpack.encode(["teleport", [1]])) is None


@given(st.binary(max_size=300))
def test_bytes_are_a_message_or_malformed(body):
    for read in (decode_request, decode_record, lambda raw: decode_answer(FindValue, raw)):
        try:
            read(body)
        except MalformedError:
            continue


def test_a_record_travels_without_its_owner_and_arrives_with_it():
    record = signed_record(OWNER, "job:j", 3, b"payload", 1_800_000_000)
    assert decode_record(encode_record(record)) == record
    assert OWNER.id.encode() not in encode_record(record)


def test_only_addresses_that_all_understand_are_told():
    assert host_text(packed_host("10.0.0.1")) == "10.0.0.1"
    assert host_text(packed_host("2001:db8::1")) == "2001:db8::1"
    assert packed_host("fe80::1%eth0") == b"" == packed_host("den.local")
    assert host_text(b"") == host_text(bytes(4)) == host_text(b"\xe0\0\0\1") == host_text(bytes(16)) == ""


def test_keys_differ_by_kind_name_and_level():
    keys = {key_of(topic_of(kind, "x"), prefix) for kind in ("peer", "job", "capability") for prefix in ("", "a", "ab")}
    assert len(keys) == 9
    assert all(len(each) == 20 for each in keys)


def test_where_a_peer_is_only_that_peer_says():
    other = SimulatedKey("other").id
    assert topic_fault(f"peer:{OWNER.id}", OWNER.id, 0) == ""
    assert topic_fault(f"peer:{OWNER.id}", other, 0) != ""
    assert topic_fault("peer:den", "den", 0) != ""
