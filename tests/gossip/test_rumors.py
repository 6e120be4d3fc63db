"""News: the latest only, those sent least first, each a limited number of times, never back to who told it."""

from __future__ import annotations

from meshwit.gossip.messages import Claim
from meshwit.gossip.rumors import ITEMS_MAX, Rumors


def claim(number: int, incarnation: int = 1) -> Claim:
    return Claim(number.to_bytes(20, "big"), 1, incarnation)


def pick(
    rumors: Rumors, peer: str = "ben", room: int = 1000, transmits: int = 3, quiet: int = 3, **more
) -> list[Claim]:
    picked = rumors.pick(peer, room, transmits, quiet, 10, **more)
    return [] if picked is None else picked.claims


def test_each_is_sent_a_limited_number_of_times():
    rumors = Rumors()
    rumors.add(("", "a"), claim(1), True)
    assert [len(pick(rumors)) for _ in range(5)] == [1, 1, 1, 0, 0]
    assert len(rumors) == rumors.pushed == 0


def test_only_the_latest_counts():
    rumors = Rumors()
    rumors.add(("", "a"), claim(1, 1), True)
    rumors.add(("", "a"), claim(1, 2), True)
    assert pick(rumors) == [claim(1, 2)]
    assert len(rumors) == 1


def test_those_sent_least_go_first():
    rumors = Rumors()
    rumors.add(("", "a"), claim(1), True)
    pick(rumors)
    rumors.add(("", "b"), claim(2), True)
    assert pick(rumors, room=40) == [claim(2)]


def test_of_those_sent_equally_often_the_newest_goes_first():
    """News must not wait behind a crowd that joins."""
    rumors = Rumors()
    for number in range(50):
        rumors.add(("", str(number)), claim(number), True)
    rumors.add(("", "news"), claim(99), True)
    assert pick(rumors, room=40) == [claim(99)]


def test_never_back_to_who_told_it():
    rumors = Rumors()
    rumors.add(("", "a"), claim(1), True, told_by="ben")
    assert pick(rumors, "ben") == []
    assert pick(rumors, "cleo") == [claim(1)]


def test_what_waits_for_probes_is_not_pushed():
    rumors = Rumors()
    rumors.add(("a", "load"), claim(1), False)
    assert rumors.pushed == 0
    assert pick(rumors, only_pushed=True) == []
    assert pick(rumors) == [claim(1)]


def test_what_waits_for_probes_and_is_heard_again_needs_fewer_transmissions():
    rumors = Rumors()
    rumors.add(("a", "load"), claim(1), False)
    for peer in ("cleo", "dora"):
        rumors.heard_again(("a", "load"), peer)
    assert [len(pick(rumors)) for _ in range(2)] == [1, 0]


def test_what_all_know_is_dropped():
    rumors = Rumors()
    rumors.add(("", "a"), claim(1), True)
    for number in range(10):
        rumors.heard_again(("", "a"), f"p{number}")
    assert pick(rumors, "p1") == []
    assert len(rumors) == 0


def test_no_more_than_a_queue_may_hold():
    rumors = Rumors()
    for number in range(ITEMS_MAX + 5):
        rumors.add(("", str(number)), claim(number), True)
    assert len(rumors) == rumors.pushed == ITEMS_MAX
