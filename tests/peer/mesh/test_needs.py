"""The queue of what is to be measured, and the record by which peers tell what jobs need."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwit.peer.mesh.needs import (
    ACTIVITIES_MAX,
    KEPT_S,
    RETRY_AFTER_S,
    Needs,
    ToldNeeds,
    decode_need,
    encode_need,
)

MANY = [f"A{number}" for number in range(10 * ACTIVITIES_MAX)]


def drained(needs, now=0.0):
    """All that is waiting, in order."""
    found = []
    while (activity := needs.first()) is not None:
        found.append(activity)
        needs.tried(activity, now)
    return found


def test_each_is_measured_once_in_the_order_asked_for():
    needs = Needs()
    needs.ask(["B", "A", "B"], 0.0)
    needs.ask(["A", "C"], 1.0)

    assert drained(needs) == ["B", "A", "C"]


def test_what_failed_is_tried_again_after_an_hour_and_not_before():
    """Whoever asks over and over cannot keep a device busy."""
    needs = Needs()
    needs.ask(["A"], 0.0)
    needs.tried("A", 10.0)

    needs.ask(["A"], 9.0 + RETRY_AFTER_S)
    assert needs.first() is None
    needs.ask(["A"], 10.0 + RETRY_AFTER_S)
    assert needs.first() == "A"


def test_the_queue_has_an_end():
    needs = Needs()
    needs.ask(MANY, 0.0)

    assert drained(needs) == MANY[:ACTIVITIES_MAX]


def test_what_was_tried_is_not_remembered_without_end():
    needs = Needs()
    for number in range(5000):
        needs.tried(f"A{number}", 0.0)

    needs.ask(["A0", "A4999"], 1.0)
    assert drained(needs) == ["A0"]


def test_a_need_is_told_once_and_again_when_half_its_time_is_over():
    """A script that is run every second is no traffic."""
    told = ToldNeeds()

    assert told.add(["A", "B"], 0.0) == ["A", "B"]
    assert told.add(["B", "A"], 1.0) == []
    assert told.add(["A"], KEPT_S / 2) == ["B", "A"]


def test_needs_of_several_jobs_are_told_together_while_they_are_fresh():
    """A record replaces the one before it."""
    told = ToldNeeds()
    told.add(["A"], 0.0)

    assert told.add(["B"], 1.0) == ["A", "B"]
    assert told.add(["C"], 0.5 + KEPT_S) == ["B", "C"]
    assert told.add([], 1.0) == []


def test_no_more_is_told_than_fits():
    told = ToldNeeds()

    assert told.add(MANY, 0.0) == MANY[:ACTIVITIES_MAX]
    assert len(told.add(["new"], 1.0)) == ACTIVITIES_MAX
    assert len(encode_need(["n" * 128] * 1000)) < 16 * 1024


def test_a_need_reads_back():
    assert decode_need(encode_need(["A.B", "C"])) == ["A.B", "C"]


@pytest.mark.parametrize(
    "said",
    [b"", b"\xc1", msgspec.msgpack.encode([1]), msgspec.msgpack.encode({"activities": 3}), msgspec.msgpack.encode({})],
    ids=["withdrawn", "no MessagePack", "a list", "a number", "nothing"],
)
def test_what_cannot_be_read_needs_nothing(said):
    assert decode_need(said) == []


def test_names_that_are_none_are_left_out_and_the_rest_is_cut():
    said = msgspec.msgpack.encode({"activities": ["", "x" * 129, *MANY], "more": ["newer"]})

    assert decode_need(said) == MANY[:ACTIVITIES_MAX]


@given(st.binary())
def test_no_bytes_make_it_raise(said):
    assert isinstance(decode_need(said), list)
