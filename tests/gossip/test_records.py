"""Records: the newest version wins in whatever order they come, and only what is its owner's and a member's is kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwit.gossip import Gossip, Misbehaved, RecordChanged
from meshwit.gossip.messages import Claim, News, encode, to_wire
from meshwit.ids import id_bytes
from meshwit.records import Record, signed_record

from .small_mesh import EPOCH_MS, FakeSigner, core

BEN = core("ben").me
CLEO = FakeSigner("cleo")


def introduced() -> Gossip:
    anna = core("anna")
    anna.start(0.0, b"member anna")
    for name in ("ben", "cleo"):
        tell(anna, signed_record(FakeSigner(name), "member", EPOCH_MS, b"member"))
    return anna


def tell(anna: Gossip, record: Record) -> list:
    claim = Claim(id_bytes(record.owner), 1, EPOCH_MS)
    return anna.receive(encode(News([claim], [to_wire(record)])), BEN, 0.0, True)


def holds(anna: Gossip) -> dict:
    held = {(each.id, topic): record for each in anna.members.values() for topic, record in each.records.items()}
    return held | dict(anna.shared_records)


versions = st.tuples(st.sampled_from(["score", "load", "mesh:name"]), st.integers(1, 5))
said = st.lists(versions, max_size=12).map(
    lambda each: [signed_record(CLEO, topic, version, f"{version}".encode()) for topic, version in each]
)


@settings(deadline=None)
@given(said, st.randoms(use_true_random=False))
def test_the_order_in_which_records_come_does_not_matter(records, chance):
    one, other = introduced(), introduced()
    for record in records:
        tell(one, record)
    shuffled = records + records[:3]
    chance.shuffle(shuffled)
    for record in shuffled:
        tell(other, record)
    assert holds(one) == holds(other)


@settings(deadline=None)
@given(said)
def test_the_same_again_changes_nothing(records):
    anna = introduced()
    for record in records:
        tell(anna, record)
    before = holds(anna)
    for record in records:
        assert not [each for each in tell(anna, record) if isinstance(each, RecordChanged)]
    assert holds(anna) == before


def test_an_outsider_is_no_member():
    anna = introduced()
    effects = tell(anna, signed_record(FakeSigner("eve"), "member", EPOCH_MS, b"outsider eve"))
    assert [type(each) for each in effects if isinstance(each, Misbehaved)] == [Misbehaved]
    assert core("eve").me not in anna.members


def test_a_record_for_all_by_an_outsider_is_refused():
    anna = introduced()
    eve = FakeSigner("eve")
    tell(anna, signed_record(eve, "expel:x", EPOCH_MS, b"by eve"))
    tell(anna, signed_record(eve, "member", EPOCH_MS, b"outsider eve"))
    tell(anna, signed_record(eve, "expel:x", EPOCH_MS, b"by eve"))
    assert not anna.shared_records


def test_what_has_expired_is_not_taken():
    anna = introduced()
    old = EPOCH_MS // 1000 - 3600
    assert not [
        each for each in tell(anna, signed_record(CLEO, "score", 1, b"x", old)) if isinstance(each, RecordChanged)
    ]


def test_what_expires_is_dropped():
    anna = introduced()
    soon = EPOCH_MS // 1000 + 60
    tell(anna, signed_record(CLEO, "mesh:name", 1, b"x", soon))
    assert anna.shared_records
    now = 0.0
    while now < 60 + 600 + 120:
        now = anna.next_deadline()
        anna.tick(now)
    assert not anna.shared_records


def test_whoever_is_expelled_is_dropped():
    expelled = set()
    anna = introduced()
    anna._admits = lambda owner, payload: "expelled" if owner in expelled else ""
    assert anna.recheck(0.0) == []
    expelled.add(BEN)
    anna.recheck(0.0)
    assert set(anna.members) == {core("cleo").me}


def test_own_limits_are_told_to_the_caller():
    anna = introduced()
    with pytest.raises(ValueError, match="allowed"):
        anna.publish("score", b"x" * 20_000, 0.0)
    for number in range(31):
        anna.publish(f"topic {number}", b"x", 0.0)
    with pytest.raises(ValueError, match="one more topic"):
        anna.publish("one more", b"x", 0.0)


def test_versions_only_rise_even_when_time_stands_still():
    anna = introduced()
    seen = []
    for _ in range(5):
        anna.publish("load", b"x", 0.0)
        seen.append(anna.own_records["load"].version)
    assert seen == sorted(set(seen))
