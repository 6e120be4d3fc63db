"""Short plays of the directory's scenarios: they reach their targets, and the same seed is the same run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulations.directory import SCENARIOS
from simulations.engine import Simulation
from simulations.scenario import Run

ROOT = Path(__file__).parent.parent.parent
PLAY = """
import sys
from simulations.directory import SCENARIOS
from simulations.engine import Simulation
from simulations.scenario import Run
run = Run(Simulation(int(sys.argv[2])), 24, 0)
SCENARIOS[sys.argv[1]].play(run)
print(run.simulation.digest())
"""


def played(name: str, size: int, seed: int = 0) -> Run:
    run = Run(Simulation(seed), size, 0)
    SCENARIOS[name].play(run)
    return run


def elsewhere(name: str, hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PLAY, name, "7"], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


@pytest.mark.parametrize("seed", [0, 1])
def test_all_records_are_read_after_three_in_ten_died(seed):
    run = played("directory", 45, seed)
    assert run.faults == []
    assert run.samples["reads that succeeded"] == [1.0] * 45
    assert all(each.holds(run.samples) is not False for each in SCENARIOS["directory"].figures)


def test_capable_peers_are_found():
    run = played("directory-capable", 50)
    assert run.faults == []
    assert all(each.holds(run.samples) is not False for each in SCENARIOS["directory-capable"].figures)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_seed_is_a_run_whatever_the_hashes_of_texts_are(name):
    assert elsewhere(name, "1") == elsewhere(name, "2")


def test_other_seeds_are_other_runs():
    assert played("directory", 10, 1).simulation.digest() != played("directory", 10, 2).simulation.digest()
