"""Jobs on a whole mesh, as people run them: `meshwit run` on one of five devices, of which four do a part.

Devices die, freeze and lack controllers; whatever befalls them, results are right, and what was finished is not done
again.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.mesh.devices import open_mesh, wait_for
from tests.mesh.working_together import WAIT, WORK, Notes, Site, ended, install
from tests.netlab import Netlab, require_netlab

NAMES = ["ash", "birch", "cedar", "dogwood"]
BARE = "elm"
"""It lacks the controller."""


class Forest:
    """Four devices that have the controller and one that does not, and scripts on the first."""

    def __init__(self, sites: list[Site], folder: Path) -> None:
        self.sites = sites
        self.first = sites[0]
        self.work = folder / "work.wit"
        self.work.write_text(WORK)
        self.wait = folder / "wait.wit"
        self.wait.write_text(WAIT)

    def site(self, name: str) -> Site:
        return next(each for each in self.sites if each.name == name)

    def newest(self) -> str:
        """The id of the job that ran last."""
        return json.loads(self.first.tell("jobs", "--json"))["jobs"][0]["id"]

    def whole(self) -> None:
        """All are there and offer themselves to the first."""
        wait_for(lambda: self.first.alive() == {*NAMES, BARE}, "all are there", *self.sites)


@pytest.fixture(scope="module")
def one_forest(tmp_path_factory) -> Iterator[Forest]:
    require_netlab()
    folder = tmp_path_factory.mktemp("forest")
    installed = install(folder / "installed")
    with Netlab(len(NAMES) + 1) as lab:
        sites = [
            Site(lab.host(index), folder / name, name, None if name == BARE else installed)
            for index, name in enumerate([*NAMES, BARE])
        ]
        try:
            open_mesh(sites)
            yield Forest(sites, folder)
        finally:
            for each in sites:
                if each.peer is not None and each.peer.poll() is None:
                    each.peer.terminate()
            for each in sites:
                each.stop()


@pytest.fixture
def forest(one_forest) -> Forest:
    one_forest.whole()
    return one_forest


@pytest.fixture
def notes(tmp_path) -> Notes:
    return Notes(tmp_path / "notes")


def result(out: str) -> dict:
    found = json.loads(out)
    assert found["state"] == "completed", found
    return found


def items_of(places: list[str]) -> list[int]:
    return [int(place.split(":")[1]) for place in places]


def start(forest: Forest, notes: Notes, count: int, seconds: float, *more: str):
    return forest.first.start(
        str(forest.work), "--notes", str(notes), "--count", str(count), "--seconds", str(seconds), *more
    )


def test_a_run_uses_every_peer_and_its_results_are_in_order(forest, notes):
    with notes.held_until_all_began(NAMES, *forest.sites):
        run = start(forest, notes, 120, 0.03, "--json")
    code, out, err = ended(run, *forest.sites)
    assert code == 0, err
    places = result(out)["variables"]["places"]
    assert items_of(places) == list(range(120))
    assert {place.split(":")[0] for place in places} == set(NAMES)
    assert set(notes.began()) == set(range(120))

    told = forest.first.tell("jobs")
    assert "completed" in told and "120/120" in told and "birch" in told
    assert "birch: " in forest.first.tell("explain", forest.newest())
    assert forest.first.tell("explain", forest.newest(), "7").count("\n") >= 2


def test_a_plan_names_the_peers_and_runs_nothing(forest, notes):
    code, out, err = ended(start(forest, notes, 10, 0.01, "--plan"))
    assert code == 0, err
    assert "Site.Work" in out
    assert all(name in out for name in NAMES)
    assert f"without {BARE}: " in out
    assert notes.lines() == []


def test_when_the_busiest_peer_is_killed_results_are_right_and_nothing_finished_runs_again(forest, notes):
    with notes.held_until_all_began(NAMES, *forest.sites):
        run = start(forest, notes, 160, 0.03, "--json")
    notes.wait_until(NAMES, 5, *forest.sites)
    victim = forest.site(max(NAMES[1:], key=notes.places().__getitem__))
    victim.kill()
    before = [item for item, name, _ in notes.lines() if name == victim.name]
    try:
        code, out, err = ended(run, *forest.sites)
    finally:
        victim.up()
    assert code == 0, err
    assert items_of(result(out)["variables"]["places"]) == list(range(160))
    twice = {item for item, times in notes.began().items() if times > 1}
    assert twice & set(before) <= set(before[-2:]), "what it had begun last it had not told yet, all else it had"
    assert len(twice - set(before)) <= len(NAMES), "at the end whoever is free helps those that are not"


def test_when_a_peer_freezes_the_job_completes_without_it(forest, notes):
    frozen = forest.site("cedar")
    with notes.held_until_all_began(NAMES, *forest.sites):
        run = start(forest, notes, 120, 0.03, "--json")
    notes.wait_until(NAMES, 3, *forest.sites)
    frozen.freeze()
    try:
        code, out, err = ended(run, *forest.sites)
    finally:
        frozen.thaw()
    assert code == 0, err
    assert items_of(result(out)["variables"]["places"]) == list(range(120))


def test_interrupting_a_run_leaves_no_task_on_any_peer(forest, notes):
    run = forest.first.start(str(forest.wait), "--notes", str(notes), "--count", "40")
    notes.wait_until(NAMES, 1, *forest.sites)
    processes = [psutil.Process(number) for _, _, number in notes.lines()]
    told = forest.first.tell("jobs")
    assert "running" in told
    run.send_signal(signal.SIGINT)
    code, _, err = ended(run, *forest.sites)
    assert code == 130, err
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert alive == []
    wait_for(lambda: "running" not in forest.first.tell("jobs"), "the job is over", *forest.sites)


def test_a_peer_without_the_controller_is_named_with_the_reason(forest, notes):
    """The others go on as if it were not there."""
    code, out, err = ended(start(forest, notes, 40, 0.02, "--json", "--watch"), *forest.sites)
    assert code == 0, err
    told = [json.loads(line) for line in out.splitlines()]
    left_out = [each["peers"] for each in told if each["event"] == "left-out"]
    assert left_out and "controller" in left_out[-1][BARE]
    assert set(notes.places()) <= set(NAMES)
    assert f"without {BARE}: " in forest.first.tell("explain", forest.newest())
