"""Jobs that somebody else submitted, over the control API: followed, steered, found again when their peer is gone."""

from __future__ import annotations

import pytest

from meshwit import events
from meshwit.outcome import JobState, Outcome
from meshwit.peer.control import following, job_messages
from meshwit.peer.control.api import JobView, PeerError
from meshwit.peer.control.client import ControlClient
from meshwit.peer.control.following import RunningPeers, WatchedJob
from meshwit.peer.control.job_client import PeerGoneError, RemoteJob, asked_of, attach_job, start_job
from meshwit.peer.control.job_messages import Attach, Submit
from tests.fake_jobs import EMPTY, SCRIPT, FakeJob, FakeJobs, ServedJobs

MANY = Outcome(JobState.FAILED, {"a": 1, "b": 2}, [3], ["told"], None, {"a": {0: 5}, "line 7": {1: 6}})


@pytest.fixture
def jobs(tmp_path) -> FakeJobs:
    return FakeJobs(tmp_path / "blobs")


def submission(jobs: FakeJobs, **more: object) -> Submit:
    return asked_of(Submit, text="", filename="job.wit", job="Main", arguments=(), codec=jobs.codec, **more)


def attached(served: ServedJobs, jobs: FakeJobs, on_event=None) -> RemoteJob:
    return attach_job(served.client, Attach(job="a1b2c3"), jobs.codec, on_event)


# --- one peer ----------------------------------------------------------------------------------------------------


def test_an_attached_job_tells_what_it_runs_and_then_all_that_happens(jobs, tmp_path):
    started = events.JobStarted(at=4.0, job="Main", workers=2)
    seen: list[events.JobEvent] = []

    def tell(job: FakeJob) -> None:
        job.on_event(started)
        job.end(EMPTY)

    jobs.on_attach = tell
    with ServedJobs(tmp_path, jobs) as served, attached(served, jobs, seen.append) as job:
        assert job.result() == EMPTY

    assert (job.id, job.script, seen) == ("a1b2c3", SCRIPT, [started])
    assert jobs.attached[0].left.is_set()


def test_a_job_that_is_not_known_cannot_be_attached_to(jobs, tmp_path):
    with ServedJobs(tmp_path, jobs) as served, pytest.raises(PeerError, match="no job ffff"):
        attach_job(served.client, Attach(job="ffff"), jobs.codec)


def test_an_outcome_that_nobody_has_any_more_is_told_after_the_events(jobs, tmp_path):
    seen: list[events.JobEvent] = []

    def lose(job: FakeJob) -> None:
        job.on_event(events.Completed(at=1.0))
        job.ending.set_exception(PeerError("its results were kept until yesterday", "keep them longer: --keep"))

    jobs.on_attach = lose
    with ServedJobs(tmp_path, jobs) as served, attached(served, jobs, seen.append) as job:
        lost = pytest.raises(PeerError, match="until yesterday")
        with lost as told:
            job.wait(30)

    assert not isinstance(told.value, PeerGoneError)
    assert (told.value.hint, seen) == ("keep them longer: --keep", [events.Completed(at=1.0)])


def test_what_may_not_be_done_is_told_and_the_job_goes_on(jobs, tmp_path):
    refused: list[tuple[str, str]] = []

    def forbid(job: FakeJob) -> None:
        job.forbids = True

    jobs.on_attach = forbid
    with ServedJobs(tmp_path, jobs) as served:
        attach = Attach(job="a1b2c3")
        with attach_job(served.client, attach, jobs.codec, on_not_done=lambda *why: refused.append(why)) as job:
            job.pause()
            job.cancel()
            assert job.wait(0.2) is None
            served.call(lambda: jobs.attached[0].end(EMPTY))
            assert job.result() == EMPTY

    assert refused == [("only otter may pause this job", "ask there"), ("only otter may cancel this job", "ask there")]


@pytest.mark.parametrize(
    ("only", "kept"),
    [
        (None, ({"a": 1, "b": 2}, [3], {"a": {0: 5}, "line 7": {1: 6}})),
        (["a"], ({"a": 1}, [], {"a": {0: 5}})),
        (["b", "returned"], ({"b": 2}, [3], {})),
        ([], ({}, [], {})),
    ],
)
def test_results_that_nobody_asked_for_do_not_cross(jobs, tmp_path, only, kept):
    jobs.on_submit = jobs.on_attach = lambda job: job.end(MANY)
    with ServedJobs(tmp_path, jobs) as served:
        submitted = start_job(served.client, submission(jobs, only=only), jobs.codec).result()
        attached = attach_job(served.client, Attach(job="a1b2c3", only=only), jobs.codec).result()

    for outcome in (submitted, attached):
        assert (outcome.variables, outcome.returned, outcome.partial) == kept
        assert (outcome.state, outcome.trace) == (JobState.FAILED, ["told"])


def test_values_left_out_are_never_encoded(jobs):
    outcome = Outcome(JobState.COMPLETED, {"n": 1, "large": b"x" * 10_000_000}, [], [])
    messages = list(job_messages.outcome_messages(job_messages.wanted(outcome, ["n"]), jobs.codec))

    assert sum(map(len, messages)) < 1000


def test_how_long_results_are_kept_and_how_many_stand_by_arrives_within_limits(jobs, tmp_path):
    jobs.on_submit = lambda job: job.end(EMPTY)
    with ServedJobs(tmp_path, jobs) as served:
        for keep_s, standbys in ((7200.0, 3), (float("nan"), -4), (1e300, 10**9)):
            start_job(served.client, submission(jobs, keep_s=keep_s, standbys=standbys), jobs.codec).result()

    assert [(one.keep_s, one.standbys) for one in jobs.submitted] == [(7200.0, 3), (0.0, 0), (366 * 86400.0, 16)]


# --- one request -------------------------------------------------------------------------------------------------


def test_one_request_pauses_resumes_and_cancels(jobs, tmp_path):
    with ServedJobs(tmp_path, jobs) as served:
        served.client.pause_job("a1b2c3")
        assert served.client.resume_job("a1b2c3") == "a1b2c3"
        served.client.cancel_job("a1b2c3")

    assert [one.asked for one in jobs.attached] == [["pause"], ["resume"], ["cancel"]]
    assert all(one.left.is_set() for one in jobs.attached)
    assert jobs.resumed == []


@pytest.mark.parametrize("state", ["interrupted", "held"])
def test_what_nobody_leads_is_led_on(jobs, tmp_path, state):
    jobs.known = [JobView(id="a1b2c3", name="Main", state=state)]
    with ServedJobs(tmp_path, jobs) as served:
        assert served.client.resume_job("a1b2c3", False) == "a1b2c3"

    assert jobs.resumed == [("a1b2c3", False)]


def test_what_somebody_leads_again_before_it_is_ended_is_cancelled_there(jobs, tmp_path):
    jobs.known = [JobView(id="a1b2c3", name="Main", state="interrupted")]
    jobs.is_led_again = True
    with ServedJobs(tmp_path, jobs) as served:
        served.client.cancel_job("a1b2c3")

    assert jobs.abandoned == ["a1b2c3"]
    assert [one.asked for one in jobs.attached] == [["cancel"]]


def test_a_request_that_is_refused_says_why(jobs, tmp_path):
    def forbid(job: FakeJob) -> None:
        job.forbids = True

    jobs.on_attach = forbid
    with ServedJobs(tmp_path, jobs) as served:
        with pytest.raises(PeerError, match="only otter may cancel"):
            served.client.cancel_job("a1b2c3")
        for ask in (served.client.cancel_job, served.client.pause_job, served.client.resume_job):
            with pytest.raises(PeerError, match="there is no job é b"):
                ask("é b")

    assert jobs.attached[0].left.is_set()


# --- a peer that goes --------------------------------------------------------------------------------------------


class Watching:
    """A job followed first by one peer, then by whichever runs; what the person was told of that."""

    def __init__(self, jobs: FakeJobs, job: RemoteJob, find_client=None, within_s: float = 20.0) -> None:
        self.seen: list[events.JobEvent] = []
        self.said: list[str] = []
        self.job = WatchedJob(
            job,
            lambda client: attach_job(client, Attach(job=job.id), jobs.codec, self.seen.append),
            find_client or (lambda: None),
            self.said.append,
            within_s,
        )


@pytest.fixture
def quick(monkeypatch) -> None:
    monkeypatch.setattr(following, "LOOK_EVERY_S", 0.01)


def test_a_job_is_found_again_at_another_peer(jobs, tmp_path, quick):
    elsewhere = FakeJobs(tmp_path / "blobs")
    change = events.LeaderChanged(at=9.0, leader="otter")

    def tell(job: FakeJob) -> None:
        job.on_event(change)
        job.end(MANY)

    elsewhere.on_attach = tell
    home = tmp_path / "home"
    with ServedJobs(home, jobs) as first, ServedJobs(home, elsewhere, profile="2"):
        started = start_job(first.client, submission(jobs), jobs.codec)
        watching = Watching(jobs, started, RunningPeers(home))
        assert watching.job.wait(0) is None
        first.stop()
        assert watching.job.wait() == MANY

    assert watching.seen == [change]
    assert watching.said == ["the peer of this device is gone; looking for the job elsewhere", "found the job again"]
    assert (jobs.led[0].asked, elsewhere.attached[0].id) == ([], "a1b2c3")


def test_a_peer_that_does_not_know_the_job_yet_is_asked_again(jobs, tmp_path, quick):
    elsewhere = FakeJobs(tmp_path / "blobs")
    attempts: list[FakeJob] = []

    def at_last(job: FakeJob) -> None:
        attempts.append(job)
        if len(attempts) < 4:
            raise PeerError("nobody leads it")
        job.end(EMPTY)

    elsewhere.on_attach = at_last
    with ServedJobs(tmp_path, jobs) as first:
        started = start_job(first.client, submission(jobs), jobs.codec)
    with ServedJobs(tmp_path, elsewhere) as second:
        watching = Watching(jobs, started, lambda: second.client)
        assert watching.job.wait() == EMPTY

    assert len(attempts) == 4
    assert len(watching.said) == 2


def test_a_job_cancelled_while_it_is_looked_for_is_cancelled_when_it_is_found(jobs, tmp_path, quick):
    found: list[ControlClient] = []
    with ServedJobs(tmp_path, jobs) as first:
        started = start_job(first.client, submission(jobs), jobs.codec)
    with ServedJobs(tmp_path, jobs) as second:
        watching = Watching(jobs, started, lambda: found[0] if found else None)
        assert watching.job.wait(0.02) is None
        watching.job.cancel()
        found.append(second.client)
        outcome = watching.job.wait()

    assert outcome is not None and outcome.state is JobState.CANCELLED
    assert jobs.attached[0].asked == ["cancel"]


def test_a_job_that_is_not_found_is_given_up_with_the_reason(jobs, tmp_path, quick):
    with ServedJobs(tmp_path, jobs) as first:
        started = start_job(first.client, submission(jobs), jobs.codec)
    jobs.known = []
    with ServedJobs(tmp_path, jobs) as second:
        watching = Watching(jobs, started, lambda: second.client, within_s=0.1)
        with pytest.raises(PeerGoneError, match="not found again: there is no job a1b2c3") as told:
            watching.job.wait()

    assert "meshwit attach a1b2c3" in told.value.hint


def test_who_is_told_to_kill_a_lost_job_looks_no_longer(jobs, tmp_path, quick):
    with ServedJobs(tmp_path, jobs) as first:
        started = start_job(first.client, submission(jobs), jobs.codec)
    watching = Watching(jobs, started)
    assert watching.job.wait(0.02) is None
    watching.job.kill()
    with pytest.raises(PeerGoneError, match="the peer of this device has stopped"):
        watching.job.wait()


def test_running_peers_are_given_in_turn(jobs, tmp_path):
    find = RunningPeers(tmp_path)
    assert find() is None
    with ServedJobs(tmp_path, jobs), ServedJobs(tmp_path, jobs, profile="2"):
        folders = [client.folder.name for client in (find(), find(), find(), find()) if client is not None]

    assert sorted(folders[:2]) == ["1", "2"]
    assert folders[:2] == folders[2:]
