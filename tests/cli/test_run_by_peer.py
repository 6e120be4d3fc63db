"""`meshwit run` where a peer of this device runs: the peer leads, the command line watches and writes."""

from __future__ import annotations

import json
import signal
import threading

import pytest

from meshwit import events
from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.run import run_script
from meshwit.cli.run_options import RunOptions
from meshwit.lang.diagnostics import Diagnostic, ScriptError
from meshwit.outcome import JobState, Outcome
from meshwit.peer.blobs.store import BlobStore
from meshwit.peer.control import job_client
from meshwit.peer.control.api import PeerError
from tests.fake_jobs import FakeJob, FakeJobs, ServedJobs

SCRIPT = "Job:Main(IntCollection:numbers, Blob:data = NULL) { Int:n = numbers.Count; Blob:picture = data; Return(n); }"


@pytest.fixture
def jobs(tmp_path, monkeypatch) -> FakeJobs:
    monkeypatch.setenv("MESHWIT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(job_client, "shared_blobs_folder", lambda: tmp_path / "blobs")
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


def test_a_peer_that_stops_ends_the_command_with_an_error(jobs, options, tmp_path):
    begun = threading.Event()
    jobs.on_submit = lambda job: begun.set()
    with ServedJobs(tmp_path / "home", jobs) as served:
        stopping = threading.Thread(target=lambda: begun.wait(20) and served.stop())
        stopping.start()
        with pytest.raises(CommandError, match="the peer that led the job has stopped") as told:
            run_script(options)
        stopping.join()

    assert told.value.code is ExitCode.FAILED


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
