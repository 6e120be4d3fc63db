"""Jobs whose leaders, standbys and workers fail in every way: they end, and right. In virtual time."""

from __future__ import annotations

import pytest

from simulations.known_seeds import KNOWN_SEEDS
from simulations.report import passed
from simulations.runner import Task, play
from simulations.scenarios import SCENARIOS

RANGES = 40
SEEDS_EACH = 50
"""Two thousand seeds of the scenario that draws its faults by chance, in parts that workers share."""


@pytest.mark.parametrize(("scenario", "seed", "what"), KNOWN_SEEDS)
def test_what_once_went_wrong_is_right(scenario, seed, what):
    assert play(Task(scenario, seed, 6, 0.0)).faults == [], what


@pytest.mark.parametrize("first", range(0, RANGES * SEEDS_EACH, SEEDS_EACH))
def test_jobs_end_whatever_happens(first):
    wrong = {seed: faults for seed in range(first, first + SEEDS_EACH) if (faults := _faults(seed))}
    assert wrong == {}


@pytest.mark.parametrize("first", range(0, 100, SEEDS_EACH))
def test_what_must_not_run_twice_begins_once(first):
    wrong = {seed: found for seed in range(first, first + SEEDS_EACH) if (found := _faults(seed, "takeover-once"))}
    assert wrong == {}


@pytest.mark.parametrize("first", range(0, 200, SEEDS_EACH))
def test_jobs_keep_to_the_versions_that_they_began_with(first):
    wrong = {seed: found for seed in range(first, first + SEEDS_EACH) if (found := _faults(seed, "takeover-people"))}
    assert wrong == {}


def _faults(seed, scenario="takeover"):
    try:
        return play(Task(scenario, seed, 6, 0.0)).faults
    except Exception as reason:  # the seed is to be told
        return [f"{type(reason).__name__}: {reason}"]


@pytest.mark.parametrize("seed", [2, 71])
def test_a_seed_is_one_run_in_a_process_that_hashes_differently(seed):
    assert play(Task("takeover", seed, 6, 0.0, twice=True)).faults == []


@pytest.mark.parametrize(
    ("scenario", "size", "seeds", "duration_s"),
    [
        ("leader-dies", 8, 4, 0.0),
        ("cable-pulled", 8, 4, 0.0),
        ("half-die", 8, 2, 0.0),
        ("partition-jobs", 6, 1, 90.0),
        ("churn-jobs", 12, 1, 50.0),
    ],
)
def test_what_changes_of_leaders_cost(scenario, size, seeds, duration_s):
    runs = [play(Task(scenario, seed, size, duration_s)) for seed in range(seeds)]
    assert [fault for played in runs for fault in played.faults] == []
    assert passed(SCENARIOS[scenario], runs), [played.samples for played in runs]
