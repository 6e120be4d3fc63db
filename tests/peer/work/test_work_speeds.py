"""What is believed of peers' speeds: the best source first, all in one unit, learnt and forgotten."""

from __future__ import annotations

import math

import pytest

from meshwit.ids import PeerId
from meshwit.peer.sched.estimates import Seen
from meshwit.peer.work.speeds import BENCHMARK_ERROR, NOTHING_ERROR, SCORE_ERROR, SEEN_ERROR, SEEN_MAX, Speeds

A, B, C, D = (PeerId(name) for name in "abcd")
WORK = "Lab.Work"
EXACT = 1e9
"""A precision beside which nothing else counts."""


def learn(speeds: Speeds, precision: float, **per_s: float) -> None:
    """A step has ended in which these peers were so fast, as far as can be told."""
    speeds.learn(WORK, {PeerId(name): Seen(each, precision) for name, each in per_s.items()})


def ratio(speeds: Speeds, one: PeerId, other: PeerId) -> float:
    return speeds.prior(one, WORK).per_s / speeds.prior(other, WORK).per_s


def test_nothing_is_known_of_anybody():
    believed = Speeds().prior(A, WORK)
    assert believed.per_s == 1.0
    assert believed.error > SCORE_ERROR


def test_sources_in_their_order():
    speeds = Speeds()
    speeds.told(A, score=100.0)
    assert (speeds.prior(A, WORK).per_s, speeds.prior(A, WORK).error) == (100.0, SCORE_ERROR)
    speeds.told(A, score=100.0, benchmarks={WORK: 7.0, "Lab.Other": 1.0})
    assert (speeds.prior(A, WORK).per_s, speeds.prior(A, WORK).error) == (7.0, BENCHMARK_ERROR)
    learn(speeds, EXACT, a=3.0)
    assert speeds.prior(A, WORK).per_s == pytest.approx(3.0)
    assert speeds.prior(A, WORK).error == pytest.approx(SEEN_ERROR, rel=0.15)
    assert speeds.prior(A, "Lab.Other").error == BENCHMARK_ERROR


def test_sources_in_different_units_are_compared_by_those_who_have_both():
    """A is known by scores and benchmarks, B by scores alone: twice the score is twice the speed."""
    speeds = Speeds()
    speeds.told(A, score=50.0, benchmarks={WORK: 3.0})
    speeds.told(B, score=100.0)
    assert speeds.prior(B, WORK).per_s == pytest.approx(6.0)
    learn(speeds, EXACT, a=0.3)
    assert speeds.prior(B, WORK).per_s == pytest.approx(0.6)
    speeds.told(A, score=50.0)
    assert speeds.prior(B, WORK).per_s == pytest.approx(0.6)


def test_who_has_a_benchmark_is_placed_among_those_that_were_seen():
    speeds = Speeds({f"{A} {WORK}": Seen(10.0, EXACT)})
    speeds.told(A, benchmarks={WORK: 2.0})
    speeds.told(B, benchmarks={WORK: 4.0})
    assert speeds.prior(B, WORK).per_s == pytest.approx(20.0)


def test_somebody_of_whom_nothing_is_known_is_taken_for_the_mean():
    speeds = Speeds({f"{A} {WORK}": Seen(10.0, 5.0), f"{B} {WORK}": Seen(1000.0, 5.0)})
    assert speeds.prior(C, WORK).per_s == pytest.approx(100.0)
    assert speeds.prior(C, WORK).error == NOTHING_ERROR
    speeds.told(C, score=5.0)
    speeds.told(D, score=20.0)
    assert ratio(speeds, D, C) == pytest.approx(4.0)


def test_a_name_that_ends_like_another_is_another():
    speeds = Speeds({f"{A} Lab.Work": Seen(10.0, EXACT)})
    assert speeds.prior(A, "Work").error > SCORE_ERROR


def test_what_says_little_moves_little():
    """In a step of six items that differ ten-thousandfold two devices of one kind are still that."""
    speeds = Speeds()
    for peer in (A, B):
        speeds.told(peer, score=35.0)
    speeds.learn(WORK, {A: Seen(0.5, 2 / 16), B: Seen(5000.0, 4 / 16)})
    assert 1.0 < ratio(speeds, B, A) < 2.0
    assert SCORE_ERROR * 0.9 < speeds.prior(A, WORK).error < SCORE_ERROR


def test_what_is_seen_time_and_again_is_believed_however_little_it_says():
    speeds = Speeds()
    for peer in (A, B):
        speeds.told(peer, score=35.0)
    for _ in range(100):
        learn(speeds, 2.0, a=1.0, b=10.0)
    assert 5.0 < ratio(speeds, B, A) < 10.0


def test_one_that_was_hardly_seen_does_not_move_the_others():
    """C is known by its score alone, which A and B have too: what was seen of B is worth nothing, so A's tells."""
    speeds = Speeds()
    for peer in (A, B, C):
        speeds.told(peer, score=35.0)
    speeds.learn(WORK, {A: Seen(2.0, EXACT), B: Seen(20_000.0, 0.01)})
    assert ratio(speeds, C, A) == pytest.approx(1.0, rel=0.05)


def test_what_is_seen_again_moves_what_was_believed_towards_it():
    speeds = Speeds()
    learn(speeds, EXACT, a=1.0, b=1.0)
    learn(speeds, 500.0, a=4.0, b=1.0)
    assert 1.2 < ratio(speeds, A, B) < 4.0
    for _ in range(20):
        learn(speeds, 500.0, a=4.0, b=1.0)
    assert ratio(speeds, A, B) == pytest.approx(4.0, rel=0.02)


def test_a_device_that_has_changed_is_found_out_though_its_items_say_little_each():
    speeds = Speeds()
    learn(speeds, EXACT, a=1.0, b=1.0)
    for _ in range(25):
        learn(speeds, 10.0, a=4.0, b=1.0)
    assert ratio(speeds, A, B) > 3.0


def test_steps_of_short_and_of_long_items_are_in_one_unit():
    """C, half as fast as B, had no part in a step of items a thousand times as short: it is still half as fast."""
    speeds = Speeds()
    learn(speeds, EXACT, a=4.0, b=2.0, c=1.0)
    for _ in range(5):
        learn(speeds, EXACT, a=4000.0, b=2000.0)
    assert ratio(speeds, B, C) == pytest.approx(2.0, rel=0.02)
    assert ratio(speeds, A, B) == pytest.approx(2.0, rel=0.02)


def test_who_is_seen_first_in_a_step_of_other_items_is_placed_by_those_that_were_seen():
    speeds = Speeds()
    learn(speeds, EXACT, a=4.0, b=2.0)
    learn(speeds, EXACT, a=4000.0, d=1000.0)
    assert ratio(speeds, A, D) == pytest.approx(4.0, rel=0.05)


def test_a_step_that_one_peer_ran_alone_says_nothing_of_others():
    speeds = Speeds()
    learn(speeds, EXACT, a=4.0, b=2.0)
    before = dict(speeds.seen)
    learn(speeds, EXACT, a=9000.0)
    learn(speeds, EXACT, c=9000.0)
    assert speeds.seen == before
    assert speeds.prior(C, WORK).error > SEEN_ERROR


IMPOSSIBLE = [(0.0, 5.0), (-1.0, 5.0), (math.inf, 5.0), (math.nan, 5.0), (3.0, 0.0), (3.0, -1.0), (3.0, math.nan),
              (3.0, math.inf), (1e-300, 5.0), (1e300, 5.0), (3.0, 1e-320)]  # fmt: skip


@pytest.mark.parametrize("said", IMPOSSIBLE)
def test_what_cannot_be_is_neither_learnt_nor_remembered(said):
    speeds = Speeds({f"{B} {WORK}": Seen(*said)})
    speeds.learn(WORK, {A: Seen(*said)})
    assert not speeds.seen


def test_the_oldest_is_forgotten():
    speeds = Speeds()
    for number in range(SEEN_MAX):
        speeds.learn(f"Lab.A{number}", {A: Seen(1.0, 1.0)})
    speeds.learn("Lab.A0", {A: Seen(1.0, 1.0)})
    speeds.learn("Lab.New", {A: Seen(1.0, 1.0)})
    assert len(speeds.seen) == SEEN_MAX
    assert f"{A} Lab.A0" in speeds.seen
    assert f"{A} Lab.A1" not in speeds.seen


def test_what_was_kept_does_not_replace_what_is_known_better():
    speeds = Speeds()
    learn(speeds, EXACT, a=2.0)
    speeds.remember({f"{A} {WORK}": Seen(9.0, 9.0), f"{B} {WORK}": Seen(4.0, 9.0)})
    assert speeds.seen[f"{A} {WORK}"].per_s == pytest.approx(2.0)
    assert speeds.seen[f"{B} {WORK}"] == Seen(4.0, 9.0)
