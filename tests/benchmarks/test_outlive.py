"""The benchmark of lost leaders: what is read from notes, what a table says, and one small loss with real peers."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from benchmarks.outlive import losses, soak
from benchmarks.outlive.__main__ import options_of
from benchmarks.outlive.figures import figure, percentile, seconds, table
from benchmarks.outlive.notes import Run, begun_after, longest_pause, repeats, runs_of
from meshwit.bench.cache import FILE, History
from meshwit.bench.fingerprint import hardware
from meshwit.bench.scores import Measured

LOST_AT = 10.0


def test_runs_are_read_from_notes_and_one_that_was_killed_has_no_end(tmp_path: Path):
    file = tmp_path / "notes"
    file.write_text("began 1 m0 7 10.0\nbegan 2 m1 8 9.5\nended 2 m1 8 9.75\nbegan 2 m0 7 11.0\n")
    assert runs_of(file) == [Run(2, "m1", 9.5, 9.75), Run(1, "m0", 10.0), Run(2, "m0", 11.0)]


def test_no_notes_are_no_runs(tmp_path: Path):
    assert runs_of(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("first", "again_at", "expected"),
    [
        (Run(1, "lost", 1.0, 2.0), 11.0, (1, 0, 0)),  # reported long before
        (Run(1, "lost", 9.0, 9.9), 11.0, (0, 1, 0)),  # just done: perhaps nobody else had it
        (Run(1, "lost", 9.0), 11.0, (0, 1, 0)),  # it ran there
        (Run(1, "left", 9.0, 10.1), 11.0, (1, 0, 0)),  # whoever is left still has it
        (Run(1, "left", 9.0, 12.0), 11.0, (0, 0, 1)),  # run beside
        (Run(1, "left", 1.0, 2.0), 3.0, (0, 0, 1)),  # before anything was lost
    ],
)
def test_an_item_that_runs_again_is_needless_lost_or_neither(first: Run, again_at: float, expected: tuple[int, ...]):
    found = repeats([first, Run(1, "left", again_at, again_at + 1)], LOST_AT, ["lost"])
    assert (found.needless, found.lost, found.other) == expected


def test_the_age_of_a_result_that_was_lost_is_told():
    assert repeats([Run(1, "lost", 9.0, 9.75), Run(1, "left", 11.0)], LOST_AT, ["lost"]).oldest_s == 0.25


def test_what_began_later_and_the_longest_pause_are_those_of_whoever_is_left():
    runs = [Run(item, peer, at) for item, (peer, at) in enumerate([("left", 9.0), ("lost", 10.5), ("left", 12.0)])]
    assert begun_after(runs, LOST_AT) == 10.5
    assert begun_after(runs, LOST_AT, ["lost"]) == 12.0
    assert begun_after(runs, 12.0) is None
    assert longest_pause(runs, LOST_AT, ["lost"]) == 2.0


def test_a_percentile_is_a_value_that_was_measured():
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 0.99) == 99.0
    assert percentile([3.0, 1.0], 0.99) == 3.0


def test_a_table_has_what_was_measured_beside_its_target():
    lines = table([*seconds("killed", "next leader", [1.0, 2.0, 6.0], "2 s", "5 s"), figure("killed", "x", "y")])
    assert lines.splitlines()[1].split() == ["killed", "next", "leader,", "median", "2.000", "s", "2", "s"]
    assert lines.splitlines()[2].split() == ["killed", "next", "leader,", "highest", "6.000", "s", "5", "s"]


def test_growth_is_that_of_the_peer_that_grew_most():
    def sample(number: int) -> dict[str, object]:
        peer = dict.fromkeys((*soak.MEMORY, *soak.COUNTS), 1.0)
        grown = {"files": 10.0 + number, "uss": 50.0 + number % 2 + number / 100}
        return {"jobs": 2 * number, "peers": {"m0": peer, "m1": peer | grown}}

    found = {each["what"]: each["measured"] for each in soak.growth([sample(number) for number in range(41)])}
    assert found["growth of files"] == "+33.0, to 50.0"  # of medians at both ends
    assert found["growth of memory of its own in 1,000 jobs"] == "+5.0 MB (m0 +0.0, m1 +5.0), to 50.4 MB"


def test_a_run_that_went_wrong_is_told():
    told = losses.figures(losses.LOSSES["half"], [{"failed": "TimeoutError: it hangs"}])
    assert told[0]["measured"] == "0 of 1"
    assert "it hangs" in told[1]["what"]


def test_a_killed_leader_costs_the_job_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cache = tmp_path / "cache" / "meshwit" / "bench"
    cache.mkdir(parents=True)
    history: History = {hardware().fingerprint: [Measured(350.0, 700.0, 20.0, 1000.0, 0.0, 2, time.time(), 1.0)]}
    (cache / FILE).write_bytes(msgspec.json.encode(history))  # as if measured: probes would keep the machine busy
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    options = options_of(["--runs", "1", "--peers", "3", "--items", "45", "--item-ms", "30"])
    figures, (run,) = losses.measure(losses.LOSSES["killed"], options)
    assert "failed" not in run, run
    assert figures[0]["measured"] == "1 of 1"
    assert run["needless"] == 0
