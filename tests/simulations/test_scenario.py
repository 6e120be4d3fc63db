"""Figures and targets: what counts as reached, and that nothing measured is not success."""

from __future__ import annotations

import io

import pytest

from simulations.__main__ import main
from simulations.engine import Simulation
from simulations.report import as_table, passed
from simulations.runner import Played, Task
from simulations.scenario import FAULTS_MAX, Figure, Run, Scenario, percentile


def played(samples: dict[str, list[float]], faults: tuple[str, ...] = (), seed: int = 0) -> Played:
    return Played(Task("any", seed, 8, 60.0), "digest", samples, list(faults), len(faults), 10, 60.0, 0.1)


def scenario(*figures: Figure) -> Scenario:
    return Scenario("any", "a scenario", lambda run: None, figures)


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1.0), (0.01, 1.0), (0.5, 50.0), (0.99, 99.0), (0.995, 100.0), (1.0, 100.0)]
)
def test_percentiles_are_samples(share, value):
    assert percentile([float(each) for each in range(100, 0, -1)], share) == value


def test_targets_are_judged_over_all_seeds_together():
    slow = Figure("known", "median", limit=2.0)
    runs = [played({"known": [1.0]}), played({"known": [1.5]}), played({"known": [9.0]})]
    assert passed(scenario(slow), runs)
    assert not passed(scenario(Figure("known", "max", limit=2.0)), runs)
    assert not passed(scenario(Figure("known", "count", "", limit=4, at_least=True)), runs)


def test_without_samples_a_target_is_missed_and_a_count_is_zero():
    assert not passed(scenario(Figure("known", "max", limit=2.0)), [played({})])
    assert passed(scenario(Figure("false deaths", "sum", "", limit=0)), [played({})])
    assert passed(scenario(Figure("known", "max")), [played({})])


def test_a_broken_invariant_is_a_miss():
    assert not passed(scenario(), [played({}), played({}, faults=("1.0 s: broken",))])


def test_the_table_tells_value_target_and_verdict():
    figures = (Figure("known by all", "median", limit=2.0), Figure("sent", "mean", "B/s", limit=10.0))
    runs = [played({"known by all": [1.25], "sent": [1234.5]}, faults=("1.0 s: broken",), seed=4)]
    table = as_table(scenario(*figures), 8, runs)
    lines = [line.split() for line in table.splitlines()]
    assert lines[1] == ["known", "by", "all,", "median", "1.25", "s", "<=", "2", "s", "ok"]
    assert lines[2] == ["sent,", "mean", "1,234.5", "B/s", "<=", "10", "B/s", "MISSED"]
    assert "seed 4: 1.0 s: broken" in table


def test_faults_are_told_up_to_a_limit_and_all_counted():
    run = Run(Simulation(1), 8, 60.0)
    for each in range(FAULTS_MAX + 50):
        run.expect(False, str(each))
    assert (len(run.faults), run.faults_count) == (FAULTS_MAX, FAULTS_MAX + 50)


def test_the_list_names_each_scenario(capsys):
    assert main(["--list"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"killed", "pulled", "loss-5", "partition", "convergence", "wide"} <= set(names)
    assert len(names) == len(set(names))


def test_an_unknown_scenario_is_an_error_of_the_caller(capsys):
    assert main(["thunder"]) == 2
    assert "there is no scenario 'thunder'" in capsys.readouterr().err


def test_a_trace_file_holds_what_the_hash_stands_for():
    written = io.StringIO()
    simulation = Simulation(3, written)
    Run(simulation, 8, 60.0).fault("something")
    again = Simulation(3)
    for line in (simulation.digest(), written.getvalue()):
        assert line
    again.note(written.getvalue().split(" ", 1)[1].rstrip("\n"))
    assert again.digest() == simulation.digest()
