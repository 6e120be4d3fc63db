"""Each scenario in a short version: played twice, compared, and its targets reached.

The full ones, over many seeds and hours, are played by `python -m simulations`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulations.__main__ import main
from simulations.directory import SCENARIOS as DIRECTORY
from simulations.engine import Simulation
from simulations.report import passed
from simulations.runner import Task, _play_elsewhere, play
from simulations.scenario import Run
from simulations.scenarios import SCENARIOS
from simulations.scenarios.job_costs import JOB_COSTS
from simulations.scenarios.jobs import TAKEOVER, TAKEOVER_ONCE, TAKEOVER_PEOPLE
from simulations.scenarios.scheduling import SCHEDULING

SHORT = {
    "killed": [Task("killed", seed, 8, 0.0) for seed in range(4)],
    "pulled": [Task("pulled", seed, 8, 0.0) for seed in range(20)],
    "pulled-wifi": [Task("pulled-wifi", seed, 8, 0.0) for seed in range(4)],
    "goodbye": [Task("goodbye", 1, 8, 0.0)],
    "frozen": [Task("frozen", 1, 5, 0.0)],
    "partition": [Task("partition", seed, 8, 300.0) for seed in range(2)],
    "cut-off": [Task("cut-off", 1, 6, 300.0)],
    "one-way": [Task("one-way", 1, 6, 120.0)],
    "join-storm": [Task("join-storm", seed, 1, 0.0) for seed in range(3)],
    "churn": [Task("churn", seed, 8, 90.0) for seed in range(2)],
    "busy": [Task("busy", 1, 10, 30.0)],
    "traffic": [Task("traffic", 1, 10, 60.0)],
    "convergence": [Task("convergence", 1, 120, 0.0)],
    "loss-5": [Task("loss-5", 1, 8, 300.0)],
    "loss-20": [Task("loss-20", 1, 8, 300.0)],
    "wide": [Task("wide", 1, 200, 0.0)],
}
"""By scenario; of those with several seeds the first is played twice."""


def test_each_scenario_has_a_short_version():
    jobs = {each.name for each in (TAKEOVER, TAKEOVER_ONCE, TAKEOVER_PEOPLE, *JOB_COSTS)}
    assert set(SHORT) | set(DIRECTORY) | {each.name for each in SCHEDULING} | jobs == set(SCENARIOS)


@pytest.mark.parametrize("name", SHORT)
def test_its_targets_are_reached_and_a_seed_is_one_run(name):
    tasks = SHORT[name]
    runs = [play(task) for task in tasks]
    assert [fault for played in runs for fault in played.faults] == []
    assert passed(SCENARIOS[name], runs), [each.samples for each in runs]
    assert play(tasks[0]).digest == runs[0].digest


def test_the_same_seed_is_the_same_run_in_processes_that_hash_differently(monkeypatch):
    """A core that walks through a set of strings would give another run. Both are fresh: only the seed is the same."""
    digests = []
    for hash_seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", hash_seed)
        digests.append(_play_elsewhere(Task("churn", 3, 6, 60.0)).digest)
    assert digests[0] == digests[1]
    assert play(Task("churn", 4, 6, 60.0)).digest not in digests


def test_a_run_that_is_not_the_same_twice_is_a_fault(monkeypatch):
    def differs(task: Task) -> object:
        return play(Task(task.scenario, task.seed + 1, task.size, task.duration_s))

    monkeypatch.setattr("simulations.runner._play_elsewhere", differs)
    assert "two runs" in play(Task("goodbye", 1, 4, 0.0, twice=True)).faults[0]


def test_the_command_line_gives_figures_a_trace_and_its_status(tmp_path: Path, capsys):
    trace = tmp_path / "trace.txt"
    arguments = ["killed", "--seed", "1", "--size", "4,5", "--json", "--trace", str(trace)]
    assert main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["size"] for each in told] == [4, 5]
    assert all(each["passed"] for each in told)
    assert " killed peer" in trace.read_text(encoding="utf-8")


def test_a_missed_target_ends_with_1(capsys):
    """A suspect that is given a minute is not known dead in time."""
    arguments = ["pulled", "--seed", "1", "--set", "suspicion_min_s=60", "--set", "suspicion_max_s=60"]
    assert main(arguments) == 1
    assert "MISSED" in capsys.readouterr().out


def test_every_scenario_names_figures_that_its_play_samples():
    run = Run(Simulation(1), 8, 60.0)
    SCENARIOS["killed"].play(run)
    assert {figure.name for figure in SCENARIOS["killed"].figures} <= set(run.samples)
