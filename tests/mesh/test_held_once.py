"""An activity that must not run twice: its leader dies while it runs, and the job waits for somebody to decide."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh.devices import wait_for
from tests.mesh.filming import Studio, install, studio_of
from tests.mesh.working_together import Notes
from tests.netlab import require_netlab

NAMES = ["eve", "fay", "gus"]
SEND = """
Job:SendIt(String:notes, String:gate)
{
    Int:ready = Studio.Prepare(20, notes);
    Int:sent = 0;
    Try
    {
        sent = Studio.Send(ready, notes, gate);
    }
    Catch(String:reason)
    {
        sent = -1;
    }
    Int:after = Studio.Prepare(sent, notes);
}
"""
PREPARED, SENT = 20, 40
"""What is noted of the first step, and of the one that must not run twice."""


@pytest.fixture(scope="module")
def one_studio(tmp_path_factory) -> Iterator[Studio]:
    require_netlab()
    folder = tmp_path_factory.mktemp("once")
    with studio_of(NAMES, folder, install(folder / "installed")) as studio:
        studio.script.write_text(SEND)
        yield studio


@pytest.fixture
def studio(one_studio) -> Studio:
    one_studio.whole()
    return one_studio


def held(studio: Studio, notes: Notes, gate: Path) -> str:
    """The id of a job that was sending when its leader died, and is held."""
    leader, *others = studio.sites
    job = leader.tell("run", "--detach", str(studio.script), "--notes", str(notes), "--gate", str(gate)).split()[-1]
    wait_for(lambda: notes.began()[SENT] == 1, "it is being sent", *studio.sites)
    wait_for(lambda: studio.jobs(leader)[job]["standbys"], "somebody stands by", *studio.sites)
    leader.kill()
    wait_for(lambda: studio.jobs(others[0])[job]["state"] == "held", "it is held", *studio.sites)
    status = others[0].tell("status", job)
    assert "--again" in status and "--skip" in status
    gate.touch()
    done = others[0].run("resume", job)
    assert done.returncode != 0 and "--again" in done.stderr, "without a decision nothing is done"
    assert notes.began()[SENT] == 1, "nobody sends it again by himself"
    return job


def decided(studio: Studio, job: str, how: str) -> dict:
    """What the job comes to, decided on a device that has it."""
    others = [each for each in studio.sites if each.peer is not None]
    done = others[0].run("resume", job, how, "--json")
    assert done.returncode == 0, "\n".join([done.stdout, done.stderr, *(each.said() for each in others)])
    found: dict = json.loads(done.stdout)["variables"]
    return found


@pytest.mark.parametrize(
    ("how", "times", "variables"),
    [("--again", 2, {"ready": 40, "sent": 41, "after": 82}), ("--skip", 1, {"ready": 40, "sent": -1, "after": -2})],
)
def test_a_leader_dies_while_something_is_sent(studio, tmp_path, how, times, variables):
    notes = Notes(tmp_path / "notes")
    job = held(studio, notes, tmp_path / "gate")
    assert decided(studio, job, how) == variables
    assert notes.began()[SENT] == times
    assert notes.began()[PREPARED] == 1, "what was recorded is not run again"
