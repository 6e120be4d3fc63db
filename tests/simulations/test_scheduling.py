"""Grid steps in virtual time, in a short version: each target is reached, and a seed is one run."""

from __future__ import annotations

import random

import numpy as np
import pytest

from simulations.report import passed, pooled
from simulations.runner import Task, play
from simulations.scenario import percentile
from simulations.scenarios import SCENARIOS
from simulations.scenarios.scheduling import CASES, OFFICE, best_of_equal, lower_bound, play_case

HARD = {"grid-few-lognormal", "grid-lognormal", "grid-large", "grid-slow-peer"}
"""Spread much from seed to seed, or long: their targets are for many seeds."""
EASY = sorted(name for name in SCENARIOS if name.startswith("grid-") and name not in HARD)


@pytest.mark.parametrize("name", EASY)
def test_targets_are_reached(name):
    runs = [play(Task(name, 1, 4, 0.0))]
    assert [fault for played in runs for fault in played.faults] == []
    assert passed(SCENARIOS[name], runs), runs[0].samples


def test_a_seed_is_one_run_in_a_process_that_hashes_differently():
    assert play(Task("grid-few-equal", 3, 4, 0.0, twice=True)).faults == []


def test_tasks_of_unknown_length_end_sooner_than_by_plain_pull():
    runs = [play(Task("grid-few-lognormal", seed, 4, 0.0)) for seed in range(12)]
    samples = pooled(runs)
    assert percentile(samples["Adaptive"], 0.95) < percentile(samples["pull"], 0.95)
    assert percentile(samples["Adaptive"], 0.95) < percentile(samples["prefetch"], 0.95)
    assert percentile(samples["wasted"], 0.95) <= 0.06
    assert sum(samples["finished tasks given again"]) == 0


def test_a_slow_peer_does_not_make_a_step_slower():
    samples = play(Task("grid-slow-peer", 1, 5, 0.0)).samples
    assert max(samples["equal slower"]) <= 1.01
    assert max(samples["few-equal slower"]) <= 1.01


def test_many_peers_end_together():
    played = play(Task("grid-large", 1, 20, 0.0))
    assert played.faults == []
    assert played.samples["Adaptive"][0] <= 1.01


@pytest.mark.parametrize("strategy", ["Balanced", "Queued", "Adaptive"])
@pytest.mark.parametrize("name", sorted(CASES))
def test_the_books_are_right_after_every_call(name, strategy):
    case = CASES[name](random.Random(f"books/{name}"))
    if len(case.sizes) > 100:
        keep = 100
        case.sizes = case.sizes[:keep] * (len(case.sizes) / keep)
    step, _ = play_case(case, strategy, 1, check_each=1)
    assert step.makespan_s < 1000


def test_more_slots_are_as_good_as_more_peers():
    case = CASES["equal"](random.Random("slots"))
    case.slots = (4, 4, 4, 4)
    case.sizes = case.sizes * 4
    case.reference_s *= 1
    step, _ = play_case(case, "Adaptive", 1)
    assert step.makespan_s <= 1.03 * case.reference_s


def test_the_references_are_what_brute_force_finds():
    sizes = np.array([5.0, 3.0, 2.0, 2.0])
    best = min(
        max(sizes[[bool(mask >> item & 1) for item in range(4)]].sum() / 2, sum(sizes) - 0.0
            - sizes[[bool(mask >> item & 1) for item in range(4)]].sum())
        for mask in range(16)
    )  # fmt: skip
    assert lower_bound(sizes, (2.0, 1.0)) <= best
    assert best_of_equal(3, 1.0, (2.0, 1.0)) == 1.0
    assert best_of_equal(40, 1005.0, OFFICE) == pytest.approx(20.1, abs=0.6)
