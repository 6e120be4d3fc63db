"""What the command line and Python ask of a running peer about jobs, over the real control API."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import meshwit
from meshwit import events
from meshwit.codec import Codec
from meshwit.lang.program import Program
from meshwit.outcome import JobState, Outcome
from meshwit.peer.blobs.store import BlobStore
from meshwit.peer.control import following, submitting
from meshwit.peer.control.job_client import ArgumentsRefusedError
from meshwit.peer.control.job_messages import Submit
from meshwit.plugins.discovery import installed
from tests.fake_jobs import FakeJob, FakeJobs, ServedJobs

PATIENCE_S = 20.0
DONE = Outcome(JobState.COMPLETED, {"n": 3, "m": 4}, [3], [])


@pytest.fixture
def jobs(tmp_path: Path) -> FakeJobs:
    return FakeJobs(tmp_path / "blobs", lambda job: job.end(DONE))


@pytest.fixture
def codec(tmp_path: Path) -> Codec:
    return installed().codec(BlobStore(tmp_path / "blobs").wire_type())


@pytest.fixture(scope="module")
def program() -> Program:
    return meshwit.compile("Job:Main(Int:n) { Int:m = n + 1; Return(n); }", "job.wit")


@pytest.fixture
def asked(program, codec, tmp_path) -> Submit:
    return submitting.submission(
        program, "Main", [3], codec, roots=[tmp_path], time_limit_s=2.5, memory_max_bytes=10**9, standbys=1,
        only=["n"],
    )  # fmt: skip


class Watched:
    """What is told of a job, and where else it is looked for."""

    def __init__(self, home: Path) -> None:
        self.said: list[str] = []
        self.seen: list[events.JobEvent] = []
        self.onlooker = submitting.Onlooker(following.RunningPeers(home), self.said.append, self.seen.append)


def test_a_job_is_asked_for_with_all_that_it_needs_and_its_watcher_is_told(jobs, asked, codec, program, tmp_path):
    def tell(job: FakeJob) -> None:
        job.on_event(events.Traced(at=0.1, text="on its way", line=1))
        job.end(DONE)

    jobs.on_submit = tell
    watched = Watched(tmp_path)
    with ServedJobs(tmp_path, jobs) as served:
        job = submitting.start(served.client, asked, codec, watched.onlooker)
        assert job.wait(PATIENCE_S).variables == {"n": 3}
        job.close()

    got = jobs.submitted[0]
    assert (got.text, got.filename, got.job, list(got.arguments)) == (program.text, "job.wit", "Main", [3])
    assert (got.roots, got.time_limit_s, got.memory_max_bytes, got.standbys) == ((tmp_path,), 2.5, 10**9, 1)
    assert [event.text for event in watched.seen] == ["on its way"]
    assert watched.said == []


def test_one_that_is_left_goes_on_without_a_watcher(jobs, asked, codec, tmp_path):
    jobs.on_submit = lambda job: None
    with ServedJobs(tmp_path, jobs) as served:
        assert submitting.leave(served.client, asked, codec) == "a1b2c3"
        assert jobs.led[0].left.wait(PATIENCE_S)

    assert jobs.led[0].asked == []


def test_a_plan_is_of_the_same_job_and_nothing_is_led(jobs, asked, tmp_path):
    with ServedJobs(tmp_path, jobs) as served:
        assert submitting.plan(served.client, asked) == ["Main: den 60 %", "otter 40 %"]

    got = jobs.submitted[0]
    assert (got.roots, got.time_limit_s, list(got.arguments)) == ((tmp_path,), 2.5, [3])
    assert jobs.led == []


@pytest.mark.parametrize("first", ["start", "attach"])
def test_another_peer_is_asked_for_the_same_results_of_the_same_job(jobs, asked, codec, tmp_path, monkeypatch, first):
    monkeypatch.setattr(following, "LOOK_EVERY_S", 0.01)
    begun = threading.Event()
    jobs.on_submit = jobs.on_attach = lambda job: begun.set()
    elsewhere = FakeJobs(tmp_path / "blobs")
    elsewhere.on_attach = lambda job: job.end(DONE)
    watched = Watched(tmp_path)
    with ServedJobs(tmp_path, jobs) as served, ServedJobs(tmp_path, elsewhere, profile="2"):
        if first == "start":
            job = submitting.start(served.client, asked, codec, watched.onlooker)
        else:
            job = submitting.attach(served.client, "a1b2c3", codec, watched.onlooker, ["n"])
        assert begun.wait(PATIENCE_S)
        served.stop()
        assert job.wait(PATIENCE_S).variables == {"n": 3}
        job.close()

    assert [one.id for one in elsewhere.attached] == ["a1b2c3"]
    assert watched.said == ["the peer of this device is gone; looking for the job elsewhere", "found the job again"]


def test_an_argument_that_cannot_cross_is_refused_before_anybody_is_asked(program, codec):
    with pytest.raises(ArgumentsRefusedError, match="object"):
        submitting.submission(program, "Main", [object()], codec)
