"""The routing table against brute force."""

from __future__ import annotations

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from meshwit.dht.routing import Contact, ExactRoutingTable

IDS = st.binary(min_size=20, max_size=20)


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def table(me: bytes, k: int = 4, probed: list[Contact] | None = None, time: Time | None = None) -> ExactRoutingTable:
    return ExactRoutingTable(k, Contact(me), time or Time(), [].append if probed is None else probed.append, 3600)


@given(st.lists(IDS, max_size=80, unique=True), IDS, IDS, st.integers(1, 10))
def test_neighbours_are_the_closest_of_all_that_are_known(ids, me, target, k):
    known = table(me)
    for each in ids:
        known.add_contact(Contact(each))
    wanted = sorted((each for each in known if each.id != target), key=Contact(target).distance_to)[:k]
    assert [each.id for each in known.find_neighbors(Contact(target), k)] == [each.id for each in wanted]
    if wanted:
        without = known.find_neighbors(Contact(target), k, exclude=wanted[0])
        assert wanted[0].id not in {each.id for each in without}


@given(st.lists(IDS, max_size=80, unique=True), IDS)
def test_every_contact_lies_in_the_bucket_of_its_range_and_ranges_cover_all(ids, me):
    known = table(me)
    for each in ids:
        known.add_contact(Contact(each))
    ranges = [bucket.range for bucket in known.buckets]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == 2**160 - 1
    assert all(one[1] + 1 == two[0] for one, two in itertools.pairwise(ranges))
    assert all(bucket.has_in_range(each) for bucket in known.buckets for each in bucket.get_nodes())
    assert all(known.get(each.id) is each for each in known)
    assert len(known) == len(list(known))
    assert me not in {each.id for each in known}


def test_the_closest_to_oneself_are_never_turned_away():
    """k nodes next to oneself are known whatever else is: lookups rest on it."""
    rng = random.Random(3)
    me = rng.randbytes(20)
    ids = [rng.randbytes(20) for _ in range(500)]
    known = table(me, 20)
    for each in ids:
        known.add_contact(Contact(each))
    closest = sorted(ids, key=lambda each: Contact(me).distance_to(Contact(each)))[:20]
    assert [each.id for each in known.find_neighbors(Contact(me))] == closest


def test_a_full_bucket_probes_its_oldest_once_and_keeps_it_if_it_is_fresh():
    """The package probes at every message of a newcomer."""
    time, probed = Time(), []
    known = table(bytes(20), 2, probed, time)
    far = [Contact(bytes([255, 255, number]) + bytes(17), ("h", 1), time.now) for number in range(1, 9)]
    for each in far:
        known.add_contact(each)
    assert probed == []
    time.now += 100
    for _ in range(5):
        known.add_contact(far[7])
    assert len(probed) == 1


def test_a_newcomer_takes_the_place_of_one_that_is_gone():
    known = table(bytes(20), 2)
    far = [Contact(bytes([255, 255, number]) + bytes(17)) for number in range(1, 9)]
    for each in far:
        known.add_contact(each)
    held = list(known)
    known.remove_contact(held[0])
    assert len(known) == len(held)
    assert known.get(held[0].id) is None


def test_buckets_without_lookups_are_told():
    time = Time()
    known = table(bytes(20), 2, time=time)
    for number in range(64):
        known.add_contact(Contact(bytes([number * 4]) + bytes(19)))
    time.now += 3601
    assert len(known.lonely_buckets()) == len(known.buckets) > 2
    known.touch(Contact(b"\xff" * 20))
    assert len(known.lonely_buckets()) == len(known.buckets) - 1
