"""Jobs over the control API: the real client and the real server around a fake peer."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import queue
import socket
import threading
import time
import weakref
from decimal import Decimal
from pathlib import Path

import numpy
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from meshwit import events
from meshwit.codec import Codec
from meshwit.lang.control import Failure
from meshwit.lang.diagnostics import Diagnostic, ScriptError
from meshwit.outcome import JobError, JobState, Outcome
from meshwit.peer.blobs.store import BlobStore
from meshwit.peer.control import job_client, job_messages
from meshwit.peer.control.api import PeerError
from meshwit.peer.control.client import NoAnswerError, OtherVersionError
from meshwit.peer.control.job_client import (
    ArgumentsRefusedError,
    PeerLostError,
    asked_of,
    plan_job,
    start_job,
)
from meshwit.peer.control.job_messages import Pause, Plan, Submit, encode
from meshwit.peer.control.job_outbox import Outbox, ReaderTooSlow
from meshwit.peer.control.server import ControlLimits
from tests.fake_jobs import EMPTY, FakeJob, FakeJobs, ServedJobs

FAILURE = Failure("broken", (3, 9), "A.B", 4, "four", "den", 1, "Traceback", "printed")
EVERY_EVENT: list[events.JobEvent] = [
    events.JobStarted(at=0.0, job="Main", workers=4),
    events.StatementReached(at=0.1, line=3, text="Trace(1);"),
    events.Traced(at=0.1, text="1", line=3),
    events.StepStarted(at=0.2, step=0, activity="A.B", line=4, total=9),
    events.Progressed(at=0.3, step=0, done=4, failed=1, total=9, rate=2.5, remaining_s=2.0),
    events.LanesChanged(at=0.3, lanes=(events.Lane(0, "running", "A.B", 4, 2, 1.5), events.Lane(1, "idle"))),
    events.Printed(at=0.4, activity="A.B", item=None, worker=1, text="hello"),
    events.ItemFailed(at=0.5, failure=FAILURE, retried=True),
    events.WorkerDied(at=0.6, worker=1, cause="killed"),
    events.Waited(at=0.7, duration_ms=10, text=""),
    events.Returned(at=0.8, values=("1", "x")),
    events.LeaderChanged(at=0.85, leader="otter"),
    events.Paused(at=0.9),
    events.Resumed(at=1.0),
    events.Cancelled(at=1.1),
    events.JobFailed(at=1.2, failure=FAILURE),
    events.JobHeld(at=1.25, failure=FAILURE),
    events.Completed(at=1.3),
]


@pytest.fixture
def jobs(tmp_path: Path) -> FakeJobs:
    return FakeJobs(tmp_path / "blobs")


def asked(jobs: FakeJobs, *arguments: object, kind: type[Submit] | type[Plan] = Submit, **more: object) -> Submit:
    fields = {"text": "Job:Main() {}", "filename": "job.wit", "job": "Main", "codec": jobs.codec, **more}
    return asked_of(kind, arguments=arguments, **fields)


def ends(outcome: Outcome):
    """Each new job ends at once, with that outcome."""
    return lambda job: job.end(outcome)


# --- what crosses ------------------------------------------------------------------------------------------------


def test_every_event_arrives_as_it_was_and_in_order(jobs, tmp_path):
    seen: list[events.JobEvent] = []

    def tell(job: FakeJob) -> None:
        for event in EVERY_EVENT:
            job.on_event(event)
        job.end(EMPTY)

    jobs.on_submit = tell
    with ServedJobs(tmp_path, jobs) as served, start_job(served.client, asked(jobs), jobs.codec, seen.append) as job:
        assert job.result() == EMPTY

    assert seen == EVERY_EVENT


def test_what_is_submitted_arrives(jobs, tmp_path):
    jobs.on_submit = ends(EMPTY)
    blob = BlobStore(tmp_path / "blobs").put(b"bytes", "text/plain")
    array = numpy.arange(100_000.0)
    with ServedJobs(tmp_path, jobs) as served:
        submission = asked(
            jobs, 1, (2, Decimal("0.1")), array, blob, roots=[tmp_path, Path("here")], time_limit_s=2.5,
            memory_max_bytes=10**9,
        )  # fmt: skip
        start_job(served.client, submission, jobs.codec).result()

    got = jobs.submitted[0]
    assert (got.text, got.filename, got.job) == ("Job:Main() {}", "job.wit", "Main")
    assert got.arguments[:2] == [1, (2, Decimal("0.1"))]
    assert numpy.array_equal(got.arguments[2], array)
    assert got.arguments[3].read() == b"bytes"
    assert got.roots == (tmp_path, Path.cwd() / "here")
    assert (got.time_limit_s, got.memory_max_bytes) == (2.5, 10**9)


def test_an_outcome_arrives_with_arrays_blobs_and_what_was_finished(jobs, tmp_path, monkeypatch):
    monkeypatch.setattr(job_messages, "PIECE_BYTES", 100_000)
    blob = BlobStore(tmp_path / "blobs").put(b"bytes", "text/plain")
    array = numpy.arange(60_000.0)  # four pieces and a bit
    error = JobError("broken", 4, FAILURE, "job.wit")
    outcome = Outcome(
        JobState.FAILED, {"array": array, "blob": blob, "none": None}, [(1, "x"), b"y" * 100_000], ["told"], error,
        {"images": {3: blob, 11: 7}},
    )  # fmt: skip
    jobs.on_submit = ends(outcome)
    with ServedJobs(tmp_path, jobs) as served:
        got = start_job(served.client, asked(jobs), jobs.codec).result()

    assert numpy.array_equal(got.variables["array"], array)
    assert got.variables["blob"] == blob and got.variables["blob"].read() == b"bytes"
    assert got.variables["none"] is None
    assert (got.returned, got.trace, got.error, got.partial) == (
        outcome.returned, ["told"], error, {"images": {3: blob, 11: 7}},
    )  # fmt: skip
    assert got.state is JobState.FAILED


def test_a_value_that_cannot_cross_is_told_as_its_text_and_the_others_as_they_are(jobs, tmp_path):
    jobs.on_submit = ends(Outcome(JobState.COMPLETED, {"odd": 1 + 2j, "n": 5}, [], []))
    with ServedJobs(tmp_path, jobs) as served:
        got = start_job(served.client, asked(jobs), jobs.codec).result()

    assert got.variables == {"odd": "(1+2j)", "n": 5}


def test_texts_that_are_no_unicode_stop_nothing(jobs, tmp_path):
    seen: list[events.JobEvent] = []

    def tell(job: FakeJob) -> None:
        job.on_event(events.Traced(at=1.0, text="a\udcffb", line=2))
        job.end(Outcome(JobState.COMPLETED, {"n": 1}, [], ["a\udcffb"]))

    jobs.on_submit = tell
    with ServedJobs(tmp_path, jobs) as served:
        got = start_job(served.client, asked(jobs), jobs.codec, seen.append).result()

    assert seen == [events.Traced(at=1.0, text="a?b", line=2)]
    assert (got.variables, got.trace) == ({"n": 1}, ["a?b"])


def test_a_plan_runs_nothing(jobs, tmp_path):
    with ServedJobs(tmp_path, jobs) as served:
        assert plan_job(served.client, asked(jobs, 5, kind=Plan)) == ["Main: den 60 %", "otter 40 %"]

    assert jobs.submitted[0].arguments == [5]
    assert jobs.led == []


def test_jobs_and_explanations(jobs, tmp_path):
    with ServedJobs(tmp_path, jobs) as served:
        assert served.client.jobs() == jobs.known
        assert served.client.explain("a1b2c3", 4)[0] == "a1b2c3 item 4"
        assert served.client.explain("a1b2c3")[0] == "a1b2c3 item None"
        with pytest.raises(PeerError, match="no job x"):
            served.client.explain("x")


# --- steering ----------------------------------------------------------------------------------------------------


def test_pause_resume_and_cancel_reach_the_job(jobs, tmp_path):
    with ServedJobs(tmp_path, jobs) as served, start_job(served.client, asked(jobs), jobs.codec) as job:
        assert job.id == "a1b2c3"
        assert job.wait(0) is None
        job.pause()
        job.resume()
        job.cancel()
        outcome = job.result()
        job.cancel()  # too late, and no error

    assert (outcome.state, outcome.variables) == (JobState.CANCELLED, {"before": 1})
    assert jobs.led[0].asked == ["pause", "resume", "cancel"]


def test_a_watcher_that_raises_is_told_nothing_more_and_the_job_goes_on(jobs, tmp_path, caplog):
    seen = []

    def watch(event: events.JobEvent) -> None:
        seen.append(event)
        raise ZeroDivisionError

    def tell(job: FakeJob) -> None:
        job.on_event(EVERY_EVENT[0])
        job.on_event(EVERY_EVENT[1])
        job.end(EMPTY)

    jobs.on_submit = tell
    with ServedJobs(tmp_path, jobs) as served:
        assert start_job(served.client, asked(jobs), jobs.codec, watch).result() == EMPTY

    assert seen == EVERY_EVENT[:1]


# --- refusals ----------------------------------------------------------------------------------------------------


def raises(reason: Exception):
    def refuse(job: FakeJob) -> None:
        raise reason

    return refuse


def test_a_script_with_errors_is_refused_with_its_diagnostics(jobs, tmp_path):
    found = [Diagnostic("WIT203", "unknown activity `A.B`", (0, 3), "did you mean `A.C`?", "write that")]
    jobs.on_submit = raises(ScriptError(found, "Job:Main() {}", "job.wit"))
    with ServedJobs(tmp_path, jobs) as served, pytest.raises(ScriptError) as told:
        start_job(served.client, asked(jobs), jobs.codec)

    assert told.value.diagnostics == found
    assert told.value.filename == "job.wit"


@pytest.mark.parametrize(
    ("reason", "kind", "told"),
    [
        (PeerError("it rests", "wake it"), PeerError, "it rests"),
        (ValueError("parameter `n` is missing"), ArgumentsRefusedError, "parameter `n` is missing"),
        (ZeroDivisionError("as a bug would"), PeerError, "bug in meshwit: ZeroDivisionError"),
    ],
)
def test_what_the_peer_refuses_is_told(jobs, tmp_path, reason, kind, told):
    jobs.on_submit = raises(reason)
    with ServedJobs(tmp_path, jobs) as served:
        with pytest.raises(kind, match=told):
            start_job(served.client, asked(jobs), jobs.codec)
        assert served.client.mesh()


def test_parameters_that_the_peer_cannot_read_are_refused(jobs, tmp_path):
    wrong = Submit(text="", filename="", job="", arguments=b"\xc1")
    no_list = Submit(text="", filename="", job="", arguments=jobs.codec.encode({"n": 1})[0])
    with ServedJobs(tmp_path, jobs) as served:
        for submission in (wrong, no_list):
            with pytest.raises(PeerError, match="cannot read the parameters"):
                start_job(served.client, submission, jobs.codec)
        relative = Submit(text="", filename="", job="", arguments=jobs.codec.encode([])[0], roots=["here"])
        with pytest.raises(PeerError, match="absolute"):
            start_job(served.client, relative, jobs.codec)

    assert jobs.submitted == []


def test_parameters_beyond_a_message_are_refused_before_they_are_sent(jobs, tmp_path, monkeypatch):
    monkeypatch.setattr(job_client, "MESSAGE_BYTES_MAX", 1000)
    with ServedJobs(tmp_path, jobs) as served, pytest.raises(ArgumentsRefusedError, match="at most 1,000"):
        start_job(served.client, asked(jobs, "x" * 2000), jobs.codec)

    assert jobs.submitted == []


def test_a_peer_that_leads_no_jobs_says_so(jobs, tmp_path):
    with ServedJobs(tmp_path, None) as served:
        with pytest.raises(OtherVersionError):
            start_job(served.client, asked(jobs), jobs.codec)
        with pytest.raises(OtherVersionError):
            served.client.jobs()
        with pytest.raises(OtherVersionError):
            served.client.explain("a")


def test_a_peer_that_is_gone_has_started_nothing(jobs, tmp_path):
    with ServedJobs(tmp_path, jobs) as served:
        client = served.client
    with pytest.raises(NoAnswerError):
        start_job(client, asked(jobs), jobs.codec)


# --- endings -----------------------------------------------------------------------------------------------------


def test_a_peer_that_stops_in_mid_job_is_lost_and_leaves_nothing_behind(jobs, tmp_path):
    with ServedJobs(tmp_path, jobs) as served, start_job(served.client, asked(jobs), jobs.codec) as job:
        served.stop()
        with pytest.raises(PeerLostError, match="the peer of this device has stopped"):
            job.wait(30)
        with pytest.raises(PeerLostError):
            job.result()
        job.cancel()  # nobody is there, and that is no error


def test_the_job_of_whoever_leaves_goes_on(jobs, tmp_path):
    with ServedJobs(tmp_path, jobs) as served:
        with start_job(served.client, asked(jobs), jobs.codec):
            pass
        assert jobs.led[0].left.wait(20)

    assert jobs.led[0].asked == []


def test_of_whoever_leaves_nothing_stays_that_only_a_search_for_cycles_would_find(jobs, tmp_path):
    with ServedJobs(tmp_path, jobs) as served:
        gc.disable()
        try:
            start_job(served.client, asked(jobs), jobs.codec).close()
            (job,) = jobs.led
            assert job.left.wait(30)
            outbox = weakref.ref(job.on_event.__self__)
            job.on_event = print
            until = time.monotonic() + 30
            while outbox() is not None and time.monotonic() < until:
                time.sleep(0.01)
            assert outbox() is None
        finally:
            gc.enable()


def test_the_jobs_of_a_peer_that_stops_are_not_cancelled(jobs, tmp_path):
    with ServedJobs(tmp_path, jobs) as served, start_job(served.client, asked(jobs), jobs.codec):
        served.stop()

    assert jobs.led[0].left.is_set()
    assert jobs.led[0].asked == []


def test_a_job_whose_outcome_is_a_bug_is_told_as_one(jobs, tmp_path):
    jobs.on_submit = lambda job: job.ending.set_exception(ZeroDivisionError("as a bug would"))
    with ServedJobs(tmp_path, jobs) as served, start_job(served.client, asked(jobs), jobs.codec) as job:
        ended = pytest.raises(PeerLostError, match="bug in meshwit: ZeroDivisionError")
        with ended:
            job.wait(30)


def test_values_of_types_that_are_unknown_here_are_told(jobs, tmp_path):
    jobs.on_submit = ends(Outcome(JobState.COMPLETED, {"b": BlobStore(tmp_path / "blobs").put(b"x")}, [], []))
    with ServedJobs(tmp_path, jobs) as served, start_job(served.client, asked(jobs), Codec()) as job:
        ended = pytest.raises(PeerLostError, match="cannot be read")
        with ended:
            job.wait(30)


# --- whoever is not the owner ------------------------------------------------------------------------------------


def opened(served: ServedJobs, path: str = "/v1/jobs/run", **more: object):
    runtime = served.client.runtime
    headers = more.pop("headers", {"Authorization": f"Bearer {runtime.token}"})
    uri = f"ws://{more.pop('host', '127.0.0.1')}:{runtime.port}{path}"
    opening = connect(
        uri,
        sock=socket.create_connection(("127.0.0.1", runtime.port)),
        additional_headers=headers,
        proxy=None,
        compression=None,
        close_timeout=1,
        max_queue=None,
        **more,
    )
    return opening.__enter__()


def closed_with(connection) -> int:
    """The code with which the peer closes."""
    with pytest.raises(ConnectionClosed) as ending:
        connection.recv(20)
    return ending.value.rcvd.code if ending.value.rcvd else 0


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"headers": {}}, 401),
        ({"headers": {"Authorization": "Bearer x"}}, 401),
        ({"headers": {"Authorization": "Basic {token}"}}, 401),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"headers": {"Authorization": "Bearer {token}", "Sec-Fetch-Site": "cross-site"}}, 403),
        ({"host": "evil.example"}, 403),
        ({"path": "/v1/mesh"}, 404),
        ({"path": "/v1/nothing"}, 404),
    ],
)
def test_a_websocket_opens_for_the_owner_alone(jobs, tmp_path, change, status):
    with ServedJobs(tmp_path, jobs) as served:
        token = served.client.runtime.token
        headers = change.get("headers")
        if headers:
            change = change | {"headers": {name: value.replace("{token}", token) for name, value in headers.items()}}
        with pytest.raises(InvalidStatus) as refused:
            opened(served, **change)

    assert refused.value.response.status_code == status
    assert b'"error"' in refused.value.response.body
    assert not [name for name in refused.value.response.headers if name.lower().startswith(("access", "server"))]
    assert jobs.submitted == []


NO_SUBMIT = b"\x81\xa4type\xa6submit"
UNKNOWN = b"\x81\xa4type\xa3odd"


@pytest.mark.parametrize("data", ["text", b"", b"\xc1", NO_SUBMIT, UNKNOWN, b"\x91" * 100_000, encode(Pause())])
def test_what_is_no_first_message_is_refused(jobs, tmp_path, data):
    with ServedJobs(tmp_path, jobs) as served:
        with contextlib.closing(opened(served)) as connection:
            connection.send(data)
            assert closed_with(connection) == 1007
        assert served.client.mesh()

    assert jobs.submitted == []


def test_a_message_that_is_too_large_is_refused(jobs, tmp_path):
    limits = ControlLimits(close_timeout_s=1, message_bytes_max=10_000)
    with ServedJobs(tmp_path, jobs, limits) as served:
        with contextlib.closing(opened(served)) as connection:
            connection.send(b"x" * 10_001)
            assert closed_with(connection) == 1009
        with contextlib.closing(opened(served)) as connection:
            connection.send([b"x" * 6_000, b"x" * 6_000])
            assert closed_with(connection) == 1009
        assert served.client.mesh()


def test_nonsense_in_mid_job_ends_the_telling_and_not_the_job(jobs, tmp_path):
    for data in (b"\xc1", encode(asked(jobs))):
        with ServedJobs(tmp_path, jobs) as served, contextlib.closing(opened(served)) as connection:
            connection.send(encode(asked(jobs)))
            connection.recv(20)
            connection.send(data)
            assert closed_with(connection) == 1007
        assert jobs.led[-1].left.is_set()
        assert jobs.led[-1].asked == []


def test_who_asks_for_nothing_is_cut_off(jobs, tmp_path):
    limits = ControlLimits(close_timeout_s=1, message_timeout_s=0.05)
    with ServedJobs(tmp_path, jobs, limits) as served, contextlib.closing(opened(served)) as connection:
        assert closed_with(connection) == 1008


def test_an_open_job_outlasts_the_time_for_a_request(jobs, tmp_path):
    limits = ControlLimits(close_timeout_s=1, request_timeout_s=0.05)
    with ServedJobs(tmp_path, jobs, limits) as served, start_job(served.client, asked(jobs), jobs.codec) as job:
        assert job.wait(0.3) is None
        served.call(lambda: jobs.led[0].end(EMPTY))
        assert job.result() == EMPTY


def test_open_jobs_count_as_connections(jobs, tmp_path):
    limits = ControlLimits(close_timeout_s=1, connections_max=2)
    with ServedJobs(tmp_path, jobs, limits) as served:
        first = start_job(served.client, asked(jobs), jobs.codec)
        second = start_job(served.client, asked(jobs), jobs.codec)
        with pytest.raises(NoAnswerError):
            start_job(served.client, asked(jobs), jobs.codec)
        first.close()
        second.close()


def test_a_client_that_takes_nothing_is_cut_off_and_its_job_goes_on(jobs, tmp_path):
    limits = ControlLimits(close_timeout_s=1, send_timeout_s=0.2)
    with ServedJobs(tmp_path, jobs, limits) as served:
        begun: queue.Queue[FakeJob] = queue.Queue()

        def flood(job: FakeJob) -> None:
            begun.put(job)
            for _ in range(400):
                job.on_event(events.Traced(at=0.0, text="x" * 100_000, line=1))

        jobs.on_submit = flood
        connection = opened(served)
        connection.recv_bufsize = 1
        connection.protocol.receive_data = lambda data: stalled.wait(30)  # its thread reads once, and no more
        stalled = threading.Event()
        connection.send(encode(asked(jobs)))
        job = begun.get(timeout=20)
        assert job.left.wait(20)
        assert job.asked == []
        stalled.set()
        connection.socket.close()


# --- what waits for a slow reader --------------------------------------------------------------------------------


def drained(outbox: Outbox) -> list[events.JobEvent | None]:
    async def drain() -> list[events.JobEvent | None]:
        found = []
        while (message := await outbox.next()) is not None:
            found.append(job_messages.event_of(job_messages.decode_to_client(message)))
        return found

    return asyncio.run(drain())


def progressed(done: int, step: int = 0) -> events.Progressed:
    return events.Progressed(at=float(done), step=step, done=done, failed=0, total=10**6, rate=1.0)


def test_of_progress_only_the_newest_waits_and_of_all_else_everything():
    outbox = Outbox(10**6)
    for n in range(1000):
        outbox.put(progressed(n))
        outbox.put(events.LanesChanged(at=float(n), lanes=()))
    outbox.put(progressed(7, step=1))
    traces = [events.Traced(at=0.0, text=str(n), line=1) for n in range(100)]
    for trace in traces:
        outbox.put(trace)
    outbox.end()

    assert drained(outbox) == [progressed(999), events.LanesChanged(at=999.0, lanes=()), progressed(7, step=1), *traces]


def test_too_much_that_may_not_be_dropped_ends_it_and_keeps_nothing():
    outbox = Outbox(1000)
    for _ in range(100):
        outbox.put(events.Traced(at=0.0, text="x" * 100, line=1))

    with pytest.raises(ReaderTooSlow):
        drained(outbox)
    assert outbox._waiting == {}


def test_an_event_of_a_newer_peer_is_passed_over():
    message = job_messages.decode_to_client(b"\x82\xa4type\xa8happened\xa5event\x82\xa5event\xa3odd\xa2at\x01")

    assert isinstance(message, job_messages.Happened)
    assert job_messages.event_of(message) is None
