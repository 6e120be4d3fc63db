"""What a node keeps, and what it lets go first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwit.dht.keys import key_of
from meshwit.dht.settings import DirectorySettings
from meshwit.dht.storage import Keeping, RecordStorage
from meshwit.dht.validity import Validity
from meshwit.ids import id_bytes
from meshwit.records import Record, signed_record
from simulations.keys import SimulatedKey, verify

NOW = 1_800_000_000.0
ME = id_bytes(SimulatedKey("me").id)
CAPABILITY = key_of("capability:c")


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def storage(clock: Clock | None = None, me: bytes = ME, **settings: int) -> RecordStorage:
    validity = Validity(verify, lambda peer: True, clock or Clock())
    return RecordStorage(me, validity, DirectorySettings(**settings))


def record(owner: str, topic: str = "capability:c", version: int = 1, ttl_s: int = 600, payload=b"x") -> Record:
    return signed_record(SimulatedKey(owner), topic, version, payload, int(NOW + ttl_s))


def test_under_a_crowded_key_each_node_keeps_its_own_choice_whatever_came_first():
    owners = [f"owner {number}" for number in range(100)]
    forth, back = storage(owners_max=10), storage(owners_max=10)
    other = storage(me=id_bytes(SimulatedKey("other").id), owners_max=10)
    for each in owners:
        forth.keep(CAPABILITY, record(each), 0)
        other.keep(CAPABILITY, record(each), 0)
    for each in reversed(owners):
        back.keep(CAPABILITY, record(each), 0)

    def held(by: RecordStorage) -> set[str]:
        return {each.record.owner for each in by.entries(CAPABILITY)}

    assert held(forth) == held(back)
    assert len(held(forth)) == 10
    assert held(forth) != held(other)
    forth.check()


def test_pages_are_chosen_anew_for_each_salt_and_alike_for_the_same():
    kept = storage()
    for number in range(30):
        kept.keep(CAPABILITY, record(f"owner {number}"), 0)
    first = [[each.record.owner for each in kept.chosen(CAPABILITY, salt)][:5] for salt in (1, 1, 2)]
    assert first[0] == first[1] != first[2]
    assert {each.record.owner for salt in range(60) for each in kept.chosen(CAPABILITY, salt)[:3]} == {
        each.record.owner for each in kept.entries(CAPABILITY)
    }


def test_a_full_node_lets_go_of_the_keys_farthest_from_it():
    kept = storage(records_max=20)
    topics = [f"job:{number}" for number in range(100)]
    for each in topics:
        kept.keep(key_of(each), record("owner", each), 0)
        kept.check()
    closest = sorted((int.from_bytes(key_of(each)) ^ int.from_bytes(ME)) for each in topics)[:20]
    assert sorted(int.from_bytes(each) ^ int.from_bytes(ME) for each, _ in kept) == closest
    assert kept.records == 20


def test_bytes_are_bounded():
    kept = storage(record_bytes_max=5_000)
    results = {kept.keep(key_of(f"job:{n}"), record("owner", f"job:{n}", payload=b"x" * 700), 0) for n in range(50)}
    assert results == {Keeping.KEPT, Keeping.FULL}
    assert 4_000 < kept.bytes <= 5_000
    assert storage(record_bytes_max=10).keep(CAPABILITY, record("owner"), 0) == Keeping.FULL


def test_one_owner_cannot_fill_a_node():
    kept = storage(owner_records_max=5)
    results = [kept.keep(key_of(f"job:{number}"), record("greedy", f"job:{number}"), 0) for number in range(7)]
    assert results == [Keeping.KEPT] * 5 + [Keeping.FULL] * 2
    assert kept.keep(key_of("job:x"), record("modest", "job:x"), 0) == Keeping.KEPT
    assert kept.keep(key_of("job:0"), record("greedy", "job:0", 2), 0) == Keeping.KEPT


def test_what_expired_is_not_told_and_soon_gone():
    clock = Clock()
    kept = storage(clock)
    kept.keep(CAPABILITY, record("short", ttl_s=60), 0)
    kept.keep(CAPABILITY, record("long", ttl_s=6000), 0)
    clock.now += 60 + 599
    assert len(kept.chosen(CAPABILITY, 0)) == 2
    clock.now += 2
    assert [each.record.owner for each in kept.chosen(CAPABILITY, 0)] == [SimulatedKey("long").id]
    assert kept.expire() == 1
    clock.now += 10_000
    assert kept.expire() == 1
    kept.check()
    assert kept.keys() == []


def test_it_is_a_storage_of_the_package():
    kept = storage()
    key = key_of("job:j")
    kept[key] = record("owner", "job:j")
    assert [each.record.topic for each in kept[key]] == ["job:j"]
    assert kept.get(key_of("job:k"), "none") == "none"
    assert [each for each, _ in kept] == [key]
    assert list(kept.iter_older_than(0)) == []
    with pytest.raises(KeyError):
        kept[key_of("job:k")]


@given(st.permutations([("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2)]))
def test_the_order_in_which_versions_come_does_not_matter(arrivals):
    kept = storage()
    for owner, version in arrivals:
        kept.keep(CAPABILITY, record(owner, version=version), 0)
    assert {(each.record.owner, each.record.version) for each in kept.entries(CAPABILITY)} == {
        (SimulatedKey("a").id, 3),
        (SimulatedKey("b").id, 2),
    }
