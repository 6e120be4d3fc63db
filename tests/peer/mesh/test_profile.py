"""What peers tell of themselves: whatever arrives can be shown on a terminal and told on, or is not believed."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwit.peer.mesh.profile import (
    ADDRESSES_MAX,
    CAPABILITIES_MAX,
    CONTROLLERS_MAX,
    PENDING_MAX,
    TEXT_LENGTH_MAX,
    LoadProfile,
    MemberProfile,
    PendingProfile,
    decode,
    encode,
    plain,
)
from meshwit.peer.trust.certificates import name_fault

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=300) | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=12,
)
VALUES = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=300)
MEMBERS = st.builds(
    MemberProfile,
    name=st.text(max_size=100),
    chain=st.binary(max_size=50),
    device=st.text(max_size=100),
    addresses=st.lists(st.text(max_size=100), max_size=20).map(tuple),
    port=st.integers(-1, 70_000),
    meshwit=st.text(max_size=100),
    system=st.text(max_size=300),
    capabilities=st.dictionaries(st.text(max_size=300), VALUES, max_size=10),
    controllers=st.dictionaries(st.text(max_size=300), st.text(max_size=100), max_size=10),
    slots=st.integers(-1, 200_000),
    when=st.text(max_size=50),
    open=st.booleans(),
)

LOADS = st.builds(
    LoadProfile,
    free_slots=st.integers(-5, 2**63 - 1),
    busy_cores=st.floats(),
    memory_free=st.integers(-5, 2**63 - 1),
    battery=st.none() | st.floats(),
    temperature_c=st.none() | st.floats(),
    jobs=st.integers(-5, 99),
    resting=st.text(max_size=300),
)


def is_fit_for_a_terminal(text: str, length_max: int = TEXT_LENGTH_MAX) -> bool:
    return text.isprintable() and len(text) <= length_max


def assert_is_sane(member: MemberProfile) -> None:
    texts = (member.device, member.meshwit, member.system, member.when, *member.addresses)
    assert all(map(is_fit_for_a_terminal, texts))
    assert not name_fault(member.name)
    assert 0 <= member.port < 65536 and 0 <= member.slots < 100_000
    assert len(member.capabilities) <= CAPABILITIES_MAX and len(member.controllers) <= CONTROLLERS_MAX
    assert len(member.addresses) <= ADDRESSES_MAX
    for name, value in member.capabilities.items():
        assert is_fit_for_a_terminal(name)
        assert not isinstance(value, str) or is_fit_for_a_terminal(value)
        assert not isinstance(value, float) or math.isfinite(value)
    assert all(map(is_fit_for_a_terminal, (*member.controllers, *member.controllers.values())))


@given(st.binary(max_size=400))
def test_no_bytes_raise(raw):
    for form in (MemberProfile, LoadProfile, PendingProfile):
        decode(raw, form)


@given(ANYTHING)
def test_nothing_that_messagepack_can_say_raises(value):
    raw = msgspec.msgpack.encode(value)
    for form in (MemberProfile, LoadProfile, PendingProfile):
        decode(raw, form)


@given(st.dictionaries(st.sampled_from(list(MemberProfile.__struct_fields__)), ANYTHING))
def test_fields_of_other_kinds_do_not_raise(fields):
    found = decode(msgspec.msgpack.encode(fields), MemberProfile)
    if found is not None:
        assert_is_sane(found)


@given(MEMBERS)
def test_whatever_a_member_says_is_cut_to_what_is_sane(member):
    found = decode(encode(member), MemberProfile)
    if found is None:
        assert not member.name or not 0 <= member.port < 65536 or not 0 <= member.slots < 100_000
        return
    assert_is_sane(found)
    # What is shown leaves this device as JSON, in which there is no infinity.
    assert msgspec.json.decode(msgspec.json.encode(found.capabilities)) == found.capabilities


def test_what_is_sane_arrives_as_it_was_said():
    said = MemberProfile(
        name="den", chain=b"chain", device="abc", addresses=("192.168.1.7", "fd00::7"), port=7723, meshwit="0.2.0",
        system="Linux 6.1, x86_64", capabilities={"memory": 2**33, "gpu": False, "site": "Köln", "load": 0.5},
        controllers={"meshwit.plugins.grid:Grid": "0.2.0"}, slots=8, when="idle", open=True,
    )  # fmt: skip
    assert decode(encode(said), MemberProfile) == said


def test_unknown_fields_of_newer_peers_are_passed_over_and_missing_ones_have_defaults():
    raw = msgspec.msgpack.encode({"name": "den", "chain": b"", "colour": "red", "weights": [1, 2]})
    assert decode(raw, MemberProfile) == MemberProfile(name="den", chain=b"")
    assert decode(msgspec.msgpack.encode({"new": 1}), LoadProfile) == LoadProfile()


def test_too_many_of_anything_are_cut():
    said = MemberProfile(
        name="den", chain=b"", addresses=("::1",) * 99, capabilities={f"c{n}": n for n in range(999)},
        controllers={f"c{n}": "1" for n in range(999)},
    )  # fmt: skip
    found = decode(encode(said), MemberProfile)
    assert len(found.addresses) == ADDRESSES_MAX
    assert len(found.capabilities) == CAPABILITIES_MAX and len(found.controllers) == CONTROLLERS_MAX


@pytest.mark.parametrize("name", ["--yes", "a b", "\x1b[31mred", "x\u202e", " den ", "ü" * 90])
def test_names_that_would_mislead_a_terminal_or_a_command_are_made_plain(name):
    found = decode(encode(MemberProfile(name=name, chain=b"")), MemberProfile)
    assert not name_fault(found.name)


@given(LOADS)
def test_loads_are_numbers_that_can_be(said):
    found = decode(encode(said), LoadProfile)
    if found is None:
        numbers = (said.free_slots, said.busy_cores, said.memory_free, said.jobs)
        assert not all(0 <= value < 2**62 for value in numbers)
        return
    assert math.isfinite(found.busy_cores) and found.free_slots >= 0 <= found.jobs
    assert found.battery is None or 0 <= found.battery <= 1
    assert found.temperature_c is None or math.isfinite(found.temperature_c)
    assert is_fit_for_a_terminal(found.resting)


def test_who_waits_is_bounded_and_printable():
    said = PendingProfile(tuple((f"id{n}\n", "n\x00me" * 99, "two\x1bwords" * 9) for n in range(99)))
    found = decode(encode(said), PendingProfile)
    assert len(found.waiting) == PENDING_MAX
    assert all(is_fit_for_a_terminal(text) for each in found.waiting for text in each)


@given(st.text(max_size=400), st.integers(1, 300))
def test_plain_texts_are_printable_and_no_longer_than_asked(text, length_max):
    shown = plain(text, length_max)
    assert is_fit_for_a_terminal(shown, length_max)
    assert shown == text or not is_fit_for_a_terminal(text, length_max)
