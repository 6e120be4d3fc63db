"""What is believed of peers' speeds: the best source first, all in one unit, learnt and forgotten."""

from __future__ import annotations

import math

import pytest

from meshwit.ids import PeerId
from meshwit.peer.work.speeds import BENCHMARK_ERROR, SCORE_ERROR, SEEN_ERROR, SEEN_MAX, Seen, Speeds

A, B, C, D = (PeerId(name) for name in "abcd")
WORK = "Lab.Work"


def test_nothing_is_known_of_anybody():
    believed = Speeds().prior(A, WORK)
    assert believed.per_s == 1.0
    assert believed.error > SCORE_ERROR


def test_sources_in_their_order():
    speeds = Speeds()
    speeds.scores = {A: 100.0}
    assert (speeds.prior(A, WORK).per_s, speeds.prior(A, WORK).error) == (100.0, SCORE_ERROR)
    speeds.benchmarks = {A: {WORK: 7.0, "Lab.Other": 1.0}}
    assert (speeds.prior(A, WORK).per_s, speeds.prior(A, WORK).error) == (7.0, BENCHMARK_ERROR)
    speeds.learn(WORK, {A: (3.0, 10.0)})
    assert (speeds.prior(A, WORK).per_s, speeds.prior(A, WORK).error) == (3.0, SEEN_ERROR)
    assert speeds.prior(A, "Lab.Other").error == BENCHMARK_ERROR


def test_sources_in_different_units_are_compared_by_those_who_have_both():
    """A is known by scores and benchmarks, B by scores alone: twice the score is twice the speed."""
    speeds = Speeds()
    speeds.scores = {A: 50.0, B: 100.0}
    speeds.benchmarks = {A: {WORK: 3.0}}
    assert speeds.prior(B, WORK).per_s == pytest.approx(6.0)
    speeds.learn(WORK, {A: (0.3, 50.0)})
    assert speeds.prior(B, WORK).per_s == pytest.approx(0.6)
    speeds.benchmarks = {}
    assert speeds.prior(B, WORK).per_s == pytest.approx(0.6)


def test_who_has_a_benchmark_is_placed_among_those_that_were_seen():
    speeds = Speeds({f"{A} {WORK}": Seen(10.0, 5.0)})
    speeds.benchmarks = {A: {WORK: 2.0}, B: {WORK: 4.0}}
    assert speeds.prior(B, WORK).per_s == pytest.approx(20.0)


def test_somebody_of_whom_nothing_is_known_is_taken_for_the_mean():
    speeds = Speeds({f"{A} {WORK}": Seen(10.0, 5.0), f"{B} {WORK}": Seen(1000.0, 5.0)})
    assert speeds.prior(C, WORK).per_s == pytest.approx(100.0)
    speeds.scores = {C: 5.0, D: 20.0}
    assert speeds.prior(D, WORK).per_s == pytest.approx(4 * speeds.prior(C, WORK).per_s)


def test_a_name_that_ends_like_another_is_another():
    speeds = Speeds({f"{A} Lab.Work": Seen(10.0, 5.0)})
    assert speeds.prior(A, "Work").error > SCORE_ERROR


def test_what_is_seen_again_moves_what_was_believed_towards_it():
    speeds = Speeds()
    speeds.learn(WORK, {A: (1.0, 1000.0), B: (1.0, 1000.0)})
    speeds.learn(WORK, {A: (4.0, 1.0), B: (1.0, 1.0)})
    assert 1.2 < speeds.prior(A, WORK).per_s / speeds.prior(B, WORK).per_s < 4.0
    for _ in range(20):
        speeds.learn(WORK, {A: (4.0, 5.0), B: (1.0, 5.0)})
    assert speeds.prior(A, WORK).per_s / speeds.prior(B, WORK).per_s == pytest.approx(4.0, rel=0.01)


def test_steps_of_short_and_of_long_items_are_in_one_unit():
    """C, half as fast as B, had no part in a step of items a thousand times as short: it is still half as fast."""
    speeds = Speeds()
    speeds.learn(WORK, {A: (4.0, 100.0), B: (2.0, 100.0), C: (1.0, 100.0)})
    for _ in range(5):
        speeds.learn(WORK, {A: (4000.0, 100.0), B: (2000.0, 100.0)})
    assert speeds.prior(B, WORK).per_s / speeds.prior(C, WORK).per_s == pytest.approx(2.0)
    assert speeds.prior(A, WORK).per_s / speeds.prior(B, WORK).per_s == pytest.approx(2.0)


def test_who_is_seen_first_in_a_step_of_other_items_is_placed_by_those_that_were_seen():
    speeds = Speeds()
    speeds.learn(WORK, {A: (4.0, 100.0), B: (2.0, 100.0)})
    speeds.learn(WORK, {A: (4000.0, 1000.0), D: (1000.0, 1000.0)})
    assert speeds.prior(D, WORK).per_s == pytest.approx(1.0, rel=0.05)


def test_a_step_that_one_peer_ran_alone_says_nothing_of_others():
    speeds = Speeds()
    speeds.learn(WORK, {A: (4.0, 100.0), B: (2.0, 100.0)})
    speeds.learn(WORK, {A: (9000.0, 1.0)})
    speeds.learn(WORK, {C: (9000.0, 1.0)})
    assert speeds.prior(A, WORK).per_s == 4.0
    assert speeds.prior(C, WORK).error > SEEN_ERROR


@pytest.mark.parametrize("said", [(0.0, 5.0), (-1.0, 5.0), (math.inf, 5.0), (math.nan, 5.0), (3.0, 0.0)])
def test_what_is_no_speed_is_not_learnt(said):
    speeds = Speeds()
    speeds.learn(WORK, {A: said})
    assert not speeds.seen


def test_the_oldest_is_forgotten():
    speeds = Speeds()
    for number in range(SEEN_MAX):
        speeds.learn(f"Lab.A{number}", {A: (1.0, 1.0)})
    speeds.learn("Lab.A0", {A: (1.0, 1.0)})
    speeds.learn("Lab.New", {A: (1.0, 1.0)})
    assert len(speeds.seen) == SEEN_MAX
    assert f"{A} Lab.A0" in speeds.seen
    assert f"{A} Lab.A1" not in speeds.seen


def test_what_was_kept_does_not_replace_what_is_known_better():
    speeds = Speeds()
    speeds.learn(WORK, {A: (2.0, 1.0)})
    speeds.remember({f"{A} {WORK}": Seen(9.0, 9.0), f"{B} {WORK}": Seen(4.0, 9.0)})
    assert speeds.prior(A, WORK).per_s == 2.0
    assert speeds.prior(B, WORK).per_s == 4.0
