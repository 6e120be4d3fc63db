"""`meshwit jobs` and `meshwit explain`."""

from __future__ import annotations

import json

import pytest

from meshwit.cli.exit_codes import CommandError
from meshwit.cli.explain import explain
from meshwit.cli.job_names import pick_job
from meshwit.cli.jobs import jobs as jobs_command
from meshwit.cli.jobs import peers_text
from meshwit.peer.control.api import JobView
from tests.fake_jobs import FakeJobs, ServedJobs


@pytest.fixture
def served(tmp_path, monkeypatch):
    monkeypatch.setenv("MESHWIT_HOME", str(tmp_path / "home"))
    with ServedJobs(tmp_path / "home", FakeJobs(tmp_path / "blobs")) as peer:
        yield peer


def test_the_table_tells_how_far_each_job_is(served, capsys):
    jobs_command()
    header, first, second = capsys.readouterr().out.splitlines()

    assert header.split() == ["id", "job", "state", "done", "time", "started", "leader", "peers", "file"]
    for text in ("a1b2c3", "Main", "running", "3/8", "4.5 s", "den 2, otter 1", "job.wit"):
        assert text in first
    assert "completed" in second and "1 min 10 s" in second


def test_no_jobs_are_told_as_such(served, capsys):
    served.jobs.known = []
    jobs_command()

    assert "no job has run" in capsys.readouterr().err


def test_jobs_as_json(served, capsys):
    jobs_command(as_json=True)

    first, second = json.loads(capsys.readouterr().out)["jobs"]
    assert (first["id"], first["peers"], second["state"]) == ("a1b2c3", {"den": 2, "otter": 1}, "completed")


def test_an_explanation_is_found_by_name_or_by_the_start_of_an_id(served, capsys):
    explain("main", 4)
    explain("a1f", as_json=True)

    *text, record = capsys.readouterr().out.splitlines()
    assert text == ["a1b2c3 item 4", "on den, the fastest that is free"]
    assert json.loads(record)["job"] == "a1ff00"


def test_a_job_that_is_not_there_is_told_as_json_too(served, capsys):
    with pytest.raises(CommandError, match="there is no job `Mein`"):
        explain("Mein", as_json=True)

    assert "Main" in json.loads(capsys.readouterr().out)["error"]["hint"]


def test_which_job_is_meant():
    known = [
        JobView(id="aa11", name="Main", state="running"),
        JobView(id="aa22", name="Main", state="completed"),
        JobView(id="bb33", name="Other", state="completed"),
        JobView(id="bb44", name="Other", state="failed"),
    ]
    assert pick_job("Main", known).id == "aa11"  # the one that runs
    assert pick_job("bb3", known).id == "bb33"
    assert pick_job("AA22", known).id == "aa22"
    for ambiguous in ("Other", "aa"):
        with pytest.raises(CommandError, match="may be any of 2 jobs"):
            pick_job(ambiguous, known)
    with pytest.raises(CommandError, match="no job"):
        pick_job("", known)


def test_who_did_how_much():
    assert peers_text({"den": 80, "otter": 1200}) == "otter 1,200, den 80"
    assert peers_text(dict.fromkeys("abcdef", 1)) == "a 1, b 1, c 1, d 1, 2 more"
