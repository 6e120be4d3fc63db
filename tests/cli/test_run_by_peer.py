"""`meshwit run` where a peer of this device runs: the peer leads, the command line watches and writes."""

from __future__ import annotations

import json
import signal
import threading

import pytest

from meshwit import events
from meshwit.cli import run_by_peer
from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.results import RETURNED
from meshwit.cli.run import run_script
from meshwit.cli.run_options import RunOptions, parse_duration
from meshwit.lang.control import Failure
from meshwit.lang.diagnostics import Diagnostic, ScriptError
from meshwit.outcome import JobError, JobState, Outcome
from meshwit.peer.blobs.store import BlobStore
from meshwit.peer.control import following, job_messages
from meshwit.peer.control.api import PeerError
from tests.fake_jobs import FakeJob, FakeJobs, ServedJobs

SCRIPT = "Job:Main(IntCollection:numbers, Blob:data = NULL) { Int:n = numbers.Count; Blob:picture = data; Return(n); }"


@pytest.fixture
def jobs(tmp_path, monkeypatch) -> FakeJobs:
    monkeypatch.setenv("MESHWIT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(run_by_peer, "user_folder", lambda: tmp_path / "blobs")
    made = FakeJobs(tmp_path / "blobs")
    made.on_submit = lambda job: job.end(Outcome(JobState.COMPLETED, {"n": 42}, [42], []))
    return made


@pytest.fixture
def options(tmp_path, jobs) -> RunOptions:
    (tmp_path / "job.wit").write_text(SCRIPT)
    return RunOptions(
        script=str(tmp_path / "job.wit"), job="", params=None, only=(), out=tmp_path / "out", as_json=False,
        watch=False, quiet=False, workers=None, roots=(tmp_path,), time_limit_s=2.5, memory_limit_bytes=10**9,
        arguments=("--numbers", "1:4"),
    )  # fmt: skip


def test_the_running_peer_leads_the_job(jobs, options, tmp_path, capsys):
    (tmp_path / "in.png").write_bytes(b"picture")
    with ServedJobs(tmp_path / "home", jobs):
        code = run_script(options._replace(arguments=(*options.arguments, "--data", str(tmp_path / "in.png"))))

    asked = jobs.submitted[0]
    assert code is ExitCode.COMPLETED
    assert capsys.readouterr().out == "n = 42\nreturned = 42\n"
    assert (asked.text, asked.filename, asked.job) == (SCRIPT, options.script, "Main")
    assert list(asked.arguments[0]) == [1, 2, 3, 4]
    assert asked.arguments[1].read() == b"picture"
    assert (asked.roots, asked.time_limit_s, asked.memory_max_bytes) == ((tmp_path,), 2.5, 10**9)


def test_its_events_are_shown_and_its_blobs_written(jobs, options, tmp_path, capsys):
    blob = BlobStore(tmp_path / "blobs").put(b"bytes", "image/png")

    def tell(job: FakeJob) -> None:
        job.on_event(events.Traced(at=0.1, text="on its way", line=1))
        job.end(Outcome(JobState.COMPLETED, {"n": 1, "picture": blob}, [], ["on its way"]))

    jobs.on_submit = tell
    with ServedJobs(tmp_path / "home", jobs):
        assert run_script(options) is ExitCode.COMPLETED

    assert "on its way" in capsys.readouterr().err
    assert (tmp_path / "out" / "picture.png").read_bytes() == b"bytes"


@pytest.mark.parametrize("change", [{"here": True}, {"workers": 1}])
def test_here_and_workers_keep_it_in_this_process(jobs, options, tmp_path, capsys, change):
    with ServedJobs(tmp_path / "home", jobs):
        assert run_script(options._replace(**change)) is ExitCode.COMPLETED

    assert jobs.submitted == []
    assert "n = 4\n" in capsys.readouterr().out


def test_a_peer_that_leads_no_jobs_is_passed_by_and_that_is_told(options, tmp_path, capsys):
    with ServedJobs(tmp_path / "home", None):
        assert run_script(options) is ExitCode.COMPLETED

    told = capsys.readouterr()
    assert "n = 4\n" in told.out
    assert "leads no jobs" in told.err


def test_without_a_peer_it_runs_here(options, capsys):
    assert run_script(options) is ExitCode.COMPLETED
    assert "n = 4\n" in capsys.readouterr().out


def test_what_only_a_peer_needs_is_not_imported_without_one(cli, script, tmp_path):
    env = {"MESHWIT_HOME": str(tmp_path / "home"), "PYTHONPROFILEIMPORTTIME": "1"}
    done = cli("run", script("Job:Main() { Return(1); }"), "--plan", env=env)

    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "this device alone" in done.stdout
    assert "meshwit.cli.run_by_peer" in imported
    names = ("client", "following", "job_client", "job_messages", "submitting")
    assert not imported & {"websockets", *(f"meshwit.peer.control.{name}" for name in names)}


def test_what_the_peer_refuses_ends_the_command(jobs, options, tmp_path):
    def refuse(reason: Exception):
        def on_submit(job: FakeJob) -> None:
            raise reason

        return on_submit

    with ServedJobs(tmp_path / "home", jobs):
        jobs.on_submit = refuse(PeerError("it rests", "wake it"))
        with pytest.raises(CommandError, match="it rests") as told:
            run_script(options)
        assert (told.value.code, told.value.hint) == (ExitCode.FAILED, "wake it")
        jobs.on_submit = refuse(ValueError("parameter `n` is wrong"))
        with pytest.raises(CommandError, match="parameter `n` is wrong") as told:
            run_script(options)
        assert told.value.code is ExitCode.USAGE
        assert "--numbers" in told.value.hint


def test_errors_that_only_the_peer_finds_are_shown(jobs, options, tmp_path, capsys):
    def refuse(job: FakeJob) -> None:
        raise ScriptError([Diagnostic("WIT203", "unknown activity `A.B`", (4, 8))], SCRIPT, options.script)

    jobs.on_submit = refuse
    with ServedJobs(tmp_path / "home", jobs):
        assert run_script(options) is ExitCode.SCRIPT_ERRORS

    told = capsys.readouterr().err
    assert "error[WIT203]: unknown activity `A.B`" in told
    assert "other controllers" in told


def test_a_peer_that_stops_ends_the_command_with_an_error_if_no_other_is_found(jobs, options, tmp_path, monkeypatch):
    monkeypatch.setattr(following, "WATCH_AGAIN_S", 0.2)
    begun = threading.Event()
    jobs.on_submit = lambda job: begun.set()
    with ServedJobs(tmp_path / "home", jobs) as served:
        stopping = threading.Thread(target=lambda: begun.wait(20) and served.stop())
        stopping.start()
        with pytest.raises(CommandError, match="the peer of this device has stopped") as told:
            run_script(options)
        stopping.join()

    assert told.value.code is ExitCode.FAILED
    assert "meshwit attach a1b2c3" in told.value.hint


def test_a_job_is_followed_on_by_another_peer_of_the_device(jobs, options, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(following, "LOOK_EVERY_S", 0.01)
    elsewhere = FakeJobs(tmp_path / "blobs")

    def end(job: FakeJob) -> None:
        job.on_event(events.LeaderChanged(at=2.0, leader="otter"))
        job.end(Outcome(JobState.COMPLETED, {"n": 5}, [5], []))

    elsewhere.on_attach = end
    home = tmp_path / "home"
    begun = threading.Event()
    jobs.on_submit = lambda job: begun.set()
    with ServedJobs(home, jobs) as served, ServedJobs(home, elsewhere, profile="2"):
        stopping = threading.Thread(target=lambda: begun.wait(20) and served.stop())
        stopping.start()
        assert run_script(options) is ExitCode.COMPLETED
        stopping.join()

    told = capsys.readouterr()
    assert told.out == "n = 5\nreturned = 5\n"
    for line in ("looking for the job elsewhere", "found the job again", "otter leads the job now"):
        assert told.err.count(line) == 1
    assert jobs.led[0].asked == []


def test_only_what_is_asked_for_is_asked_for(jobs, options, tmp_path, capsys):
    jobs.on_submit = lambda job: job.end(Outcome(JobState.COMPLETED, {"n": 42, "picture": 1 + 2j}, [42], []))
    with ServedJobs(tmp_path / "home", jobs):
        assert run_script(options._replace(only=("n",))) is ExitCode.COMPLETED

    assert capsys.readouterr().out == "n = 42\n"
    assert job_messages.RETURNED == RETURNED


def test_a_held_job_has_failed_and_says_how_to_decide(jobs, options, tmp_path, capsys):
    failure = Failure("did item 4 of Mail.Send run?")
    held = Outcome(JobState.HELD, {}, [], [], JobError(failure.message, 0, failure))
    jobs.on_submit = lambda job: job.end(held)
    with ServedJobs(tmp_path / "home", jobs):
        assert run_script(options) is ExitCode.FAILED

    told = capsys.readouterr().err
    assert "did item 4 of Mail.Send run?" in told
    assert "meshwit resume a1b2c3 --again" in told and "meshwit resume a1b2c3 --skip" in told
    assert "held after" in told


# --- left to the mesh --------------------------------------------------------------------------------------------


def test_a_detached_job_is_left_with_its_id_on_stdout(jobs, options, tmp_path, capsys):
    jobs.on_submit = lambda job: None
    detached = options._replace(detach=True, keep_s=7200.0, standbys=3)
    with ServedJobs(tmp_path / "home", jobs):
        assert run_script(detached) is ExitCode.COMPLETED
        told = capsys.readouterr()
        assert run_script(detached._replace(as_json=True, quiet=True)) is ExitCode.COMPLETED
        assert jobs.led[0].left.wait(20)

    assert told.out == "a1b2c3\n"
    for command in ("attach", "result", "cancel"):
        assert f"meshwit {command} a1b2c3" in told.err
    as_json = capsys.readouterr()
    assert (json.loads(as_json.out), as_json.err) == ({"state": "running", "id": "a1b2c3"}, "")
    assert jobs.led[0].asked == []
    assert (jobs.submitted[0].keep_s, jobs.submitted[0].standbys) == (7200.0, 3)


def test_a_job_can_be_left_to_a_peer_only(options):
    with pytest.raises(CommandError, match="no peer runs"):
        run_script(options._replace(detach=True))
    for alone in ({"here": True}, {"workers": 2}):
        with pytest.raises(CommandError, match="--detach needs a peer"):
            run_script(options._replace(detach=True, **alone))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1.5 h", 5400), ("30min", 1800), ("12h", 43200), ("7d", 604_800), ("2W", 1209600)],
)
def test_durations(text, seconds):
    assert parse_duration(text, "--keep") == seconds


@pytest.mark.parametrize("text", ["", "7", "-1h", "d", "1e3s", "nan d", "7 days", "400d"])
def test_what_is_no_duration(text):
    with pytest.raises(CommandError, match="--keep"):
        parse_duration(text, "--keep")


def test_a_signal_cancels_the_job_of_the_peer(jobs, options, tmp_path, capsys):
    jobs.on_submit = lambda job: signal.raise_signal(signal.SIGINT)  # Python runs its handler in the main thread
    with ServedJobs(tmp_path / "home", jobs):
        assert run_script(options) is ExitCode.CANCELLED

    assert jobs.led[0].asked == ["cancel"]
    assert "cancelled after" in capsys.readouterr().err


# --- the plan ----------------------------------------------------------------------------------------------------


def test_a_plan_is_shown_and_nothing_is_run(jobs, options, tmp_path, capsys):
    with ServedJobs(tmp_path / "home", jobs):
        assert run_script(options._replace(plan=True)) is ExitCode.COMPLETED
        assert capsys.readouterr().out == "Main: den 60 %\notter 40 %\n"
        run_script(options._replace(plan=True, as_json=True))
        assert json.loads(capsys.readouterr().out) == {"plan": ["Main: den 60 %", "otter 40 %"]}

    assert jobs.led == []


@pytest.mark.parametrize("here", [True, False])
def test_alone_a_plan_says_so(options, capsys, here):
    run_script(options._replace(plan=True, here=here))

    assert "this device alone" in capsys.readouterr().out


def test_a_plan_needs_its_parameters_too(options):
    with pytest.raises(CommandError, match="numbers"):
        run_script(options._replace(plan=True, arguments=()))
