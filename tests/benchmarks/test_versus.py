"""The pure parts of the comparison: what is computed, what the ideal is, what a table says of losses."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.versus import machines
from benchmarks.versus.cases import CASES, LOST_AT, SPEEDS, ideal, lower_bound, works
from benchmarks.versus.system import System
from benchmarks.versus.systems import SYSTEMS
from benchmarks.versus.table import draw, row_of, table


@pytest.mark.parametrize("name", ["equal", "lognormal", "few", "skewed"])
def test_work_is_what_the_machines_do_in_that_time_and_the_same_each_time(name: str):
    case = CASES[name]
    tasks = works(case, 5.0)
    assert len(tasks) == case.tasks
    assert sum(tasks) == pytest.approx(5.0 * sum(SPEEDS))
    assert tasks == works(case, 5.0)


def test_equal_tasks_are_equal_and_no_ops_have_no_work():
    assert len(set(works(CASES["equal"], 5.0))) == 1
    assert set(works(CASES["noop"], 5.0)) == {0.0}


def test_many_equal_tasks_are_bounded_by_the_sum_of_speeds():
    assert lower_bound(works(CASES["equal"], 5.0)) == pytest.approx(5.0)


def test_one_large_task_is_bounded_by_the_fastest_machine():
    assert lower_bound([1700.0, 1.0, 1.0]) == pytest.approx(1700.0 / 850.0)


def test_no_assignment_of_a_few_tasks_beats_the_bound():
    tasks, speeds = [7.0, 5.0, 4.0, 2.0, 1.0], [3.0, 2.0, 1.0]
    best = min(
        max(
            sum(t for t, m in zip(tasks, chosen, strict=True) if m == machine) / speeds[machine] for machine in range(3)
        )
        for chosen in itertools.product(range(3), repeat=len(tasks))
    )
    assert lower_bound(tasks, speeds) <= best


def test_the_ideal_of_a_loss_has_the_rest_done_by_the_others():
    case = CASES["killed"]
    rest = (1 - LOST_AT) * 5.0 * sum(SPEEDS) / sum(SPEEDS[1:])
    assert ideal(case, works(case, 5.0)) == pytest.approx(LOST_AT * 5.0 + rest)


def test_the_ideal_of_a_slower_machine_has_all_go_on_at_what_they_can():
    left = SPEEDS[0] / 4 + sum(SPEEDS[1:])
    slowed, wrong = CASES["slowed"], CASES["wrong"]
    assert ideal(slowed, works(slowed, 5.0)) == pytest.approx(2.5 + 2.5 * sum(SPEEDS) / left)
    assert ideal(wrong, works(wrong, 5.0)) == pytest.approx(5.0 * sum(SPEEDS) / left)


def test_a_row_is_the_median_of_what_ended_and_tells_what_was_lost():
    row = row_of(
        CASES["killed"], "pool", 2.0, [{"seconds": 3.0}, {"stopped": True}, {"seconds": 4.0}, {"seconds": 2.0}]
    )
    assert row["value"] == 1.5
    assert row["lost"] == ["stopped at 3 times the ideal"]


def test_work_that_was_lost_each_time_stands_last_in_the_table_and_says_why():
    case = CASES["killed"]
    rows = [row_of(case, "one", 1.0, [{"failed": "BrokenPool: gone"}]), row_of(case, "two", 1.0, [{"seconds": 1.25}])]
    lines = table(rows).splitlines()
    assert lines[1].split() == ["two", "1.250"]
    assert lines[2].split()[:3] == ["one", "not", "done"]
    assert "BrokenPool: gone" in lines[2]


def test_rates_are_ranked_from_the_highest_and_latencies_from_the_lowest():
    rates = [
        row_of(CASES["noop"], name, 1.0, [{"seconds": s, "tasks": 100}]) for name, s in (("slow", 2.0), ("fast", 1.0))
    ]
    waits = [row_of(CASES["latency"], name, 1.0, [{"latencies": [s]}]) for name, s in (("slow", 0.2), ("fast", 0.1))]
    for rows in (rates, waits):
        lines = table(rows).splitlines()
        assert lines[1].split()[0] == "fast" and lines[2].split()[0] == "slow"


def test_bytes_are_told_as_a_rate_there_and_back_beside_that_of_the_best_other():
    case = CASES["arrays"]
    rows = [
        row_of(case, name, 1.0, [{"seconds": seconds, "tasks": case.tasks}])
        for name, seconds in (("pool", 4.0), ("meshwit", 1.0), ("meshwit-by-links", 2.0), ("dask", 8.0))
    ]
    assert rows[1]["value"] == pytest.approx(1.073741824)
    lines = table(rows).splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["meshwit", "meshwit-by-links", "pool", "dask"]
    assert lines[1].split()[1:] == ["1.074", "GB/s", "4.00", "of", "the", "best", "other"]
    assert lines[2].split()[3] == "2.00"


def test_arrays_come_back_doubled_or_the_case_has_failed():
    class Halves(System):
        def double(self, arrays: Sequence[Any]) -> Sequence[Any]:
            return [array / 2 for array in arrays]

    assert SYSTEMS["executor"].double is not System.double
    with pytest.raises(RuntimeError, match="array 1 came back wrong"):
        Halves().doubled(2)
    with pytest.raises(RuntimeError, match="passes no arrays"):
        System().doubled(1)


def test_nothing_measured_makes_no_picture(tmp_path: Path):
    assert not draw([], tmp_path / "versus.png")


def test_workers_take_machines_from_the_fastest_on_and_a_dead_one_s_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(machines.FOLDER, str(tmp_path))
    monkeypatch.delenv(machines.INDEX, raising=False)

    def fresh() -> int:
        monkeypatch.setattr(machines, "_taken", [])
        return machines.index()

    assert [fresh() for _ in SPEEDS] == [0, 1, 2, 3]
    assert (tmp_path / "machine.0").read_text() == str(os.getpid())
    machines.claim(2, 2**22 + 1)
    assert fresh() == 2


def test_a_worker_that_is_told_its_machine_is_that(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(machines.INDEX, "3")
    monkeypatch.setattr(machines, "_taken", [])
    assert machines.index() == 3


def test_meshwit_needs_nothing_else():
    assert not SYSTEMS["meshwit"].needs and not SYSTEMS["meshwit"].program
