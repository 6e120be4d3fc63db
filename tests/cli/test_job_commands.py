"""`meshwit status`, `attach`, `result`, `cancel`, `pause` and `resume`: a job of the mesh, whoever started it."""

from __future__ import annotations

import json
import signal

import pytest
import typer

from meshwit import events
from meshwit.cli import run_by_peer
from meshwit.cli.attach import attach
from meshwit.cli.cancel import cancel
from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.job_names import pick_job
from meshwit.cli.pause import pause
from meshwit.cli.result import result
from meshwit.cli.resume import resume
from meshwit.cli.status import status, status_lines
from meshwit.lang.control import Failure
from meshwit.outcome import JobError, JobState, Outcome
from meshwit.peer.blobs.store import BlobStore
from meshwit.peer.control.api import JobView, PeerError
from meshwit.peer.control.job_script import JobScript
from tests.fake_jobs import FakeJob, FakeJobs, ServedJobs

DONE = Outcome(JobState.COMPLETED, {"limit": 3, "n": 21, "before": 1}, [21], [])
HELD = JobView(
    id="dd44", name="Letters", state="held", held_question="did item 4 of Mail.Send run?", to_decide=True
)  # fmt: skip


@pytest.fixture
def jobs(tmp_path, monkeypatch) -> FakeJobs:
    monkeypatch.setenv("MESHWIT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(run_by_peer, "user_folder", lambda: tmp_path / "blobs")
    made = FakeJobs(tmp_path / "blobs")
    made.known.append(JobView(id="cc33", name="Lost", state="interrupted", leader="otter"))
    made.known.append(HELD)
    made.on_attach = lambda job: job.end(DONE)
    return made


@pytest.fixture
def served(tmp_path, jobs):
    with ServedJobs(tmp_path / "home", jobs) as peer:
        yield peer


def code_of(command, *arguments: object, **options: object) -> ExitCode:
    with pytest.raises(typer.Exit) as ended:
        command(*arguments, **options)
    return ExitCode(ended.value.exit_code)


# --- status ------------------------------------------------------------------------------------------------------


def test_one_job_in_a_few_lines(served, capsys):
    status("main")
    told = capsys.readouterr().out

    for text in ("Main of job.wit", "a1b2c3", "running, 4.5 s", "3 of 8", "den 2, otter 1"):
        assert text in told
    assert "standbys" not in told


def test_what_is_not_as_it_should_be_says_what_to_do():
    held = "\n".join(status_lines(HELD))
    assert HELD.held_question in held
    assert "meshwit resume dd44 --again" in held and "meshwit resume dd44 --skip" in held

    lost = "\n".join(status_lines(JobView(id="cc33", name="Lost", state="interrupted", leader="otter")))
    assert "nobody" in lost and "meshwit resume cc33" in lost

    led = status_lines(JobView(id="a1", name="Main", leader="den", standbys=["otter", "vm"], submitter="laptop"))
    told = {name.strip(): text.strip() for name, text in (line.split("  ", 1) for line in led)}
    assert (told["leader"], told["standbys"]) == ("den", "otter, vm")
    assert any("laptop" in line for line in led)


def test_a_status_cannot_steer_the_terminal():
    bad = "\x1b[2J\nx"
    known = JobView(id=bad, name=bad, state="held", file=bad, leader=bad, standbys=[bad], peers={bad: 1},
                    submitter=bad, held_question=bad)  # fmt: skip
    lines = status_lines(pick_job(bad, [known]))

    assert not any("\x1b" in line or "\n" in line for line in lines)


def test_a_status_as_json(served, capsys):
    status("letters", as_json=True)

    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["held_question"]) == ("held", HELD.held_question)


# --- attach ------------------------------------------------------------------------------------------------------


def test_an_attached_job_is_shown_and_its_results_stand_as_those_of_run(jobs, served, tmp_path, capsys):
    blob = BlobStore(tmp_path / "blobs").put(b"bytes", "image/png")

    def tell(job: FakeJob) -> None:
        job.script = JobScript("Job:Main(Int:limit = 3) { Int:n = 1; Blob:picture = NULL; }", "job.wit", "Main")
        job.on_event(events.JobStarted(at=9.0, job="Main", workers=2))
        job.on_event(events.Traced(at=9.1, text="on its way", line=1))
        job.end(Outcome(JobState.COMPLETED, {"limit": 3, "n": 21, "picture": blob}, [21], []))

    jobs.on_attach = tell
    assert code_of(attach, "a1b", out=tmp_path / "out") is ExitCode.COMPLETED

    told = capsys.readouterr()
    assert told.out.startswith("n = 21\npicture = ")
    assert told.out.endswith("returned = 21\n")
    assert "on its way" in told.err and "completed in" in told.err
    assert (tmp_path / "out" / "picture.png").read_bytes() == b"bytes"


def test_a_job_that_failed_shows_the_statement_and_fails(jobs, served, capsys):
    failure = Failure("broken", (26, 44), "A.B")
    failed = Outcome(JobState.FAILED, {}, [], [], JobError("broken", 1, failure, "job.wit"))
    jobs.on_attach = lambda job: job.end(failed)
    assert code_of(attach, "Main") is ExitCode.FAILED

    told = capsys.readouterr().err
    assert "error[WIT500]: broken" in told and "job.wit:1:" in told


def test_ctrl_c_leaves_an_attached_job_running_and_says_how_to_come_back(jobs, served, capsys):
    jobs.on_attach = lambda job: signal.raise_signal(signal.SIGINT)  # Python runs its handler in the main thread
    assert code_of(attach, "Main") is ExitCode.CANCELLED

    assert jobs.attached[0].left.wait(20)
    assert jobs.attached[0].asked == []
    told = capsys.readouterr()
    assert told.out == ""
    for command in ("attach", "result", "cancel"):
        assert f"meshwit {command} a1b2c3" in told.err


def test_watching_as_json_gives_every_event_and_then_the_outcome(jobs, served, capsys):
    def tell(job: FakeJob) -> None:
        job.on_event(events.LeaderChanged(at=1.0, leader="otter"))
        job.end(DONE)

    jobs.on_attach = tell
    assert code_of(attach, "Main", as_json=True, watch=True) is ExitCode.COMPLETED

    first, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["event"], first["leader"]) == ("leader", "otter")
    assert (last["event"], last["state"], last["id"], last["variables"]["n"]) == ("outcome", "completed", "a1b2c3", 21)


@pytest.mark.parametrize(("name", "told"), [("Lost", "nobody leads it"), ("Letters", "did item 4 of Mail.Send run")])
@pytest.mark.parametrize("command", [attach, result])
def test_what_nobody_leads_cannot_be_followed(served, jobs, command, name, told):
    with pytest.raises(CommandError, match=told) as error:
        command(name)

    assert "meshwit resume" in error.value.hint
    assert jobs.attached == []


def test_a_peer_that_refuses_is_told(jobs, served, capsys):
    def refuse(job: FakeJob) -> None:
        raise PeerError("nobody answers for it", "later")

    jobs.on_attach = refuse
    with pytest.raises(CommandError, match="nobody answers for it"):
        attach("Main", as_json=True)

    assert json.loads(capsys.readouterr().out)["error"]["hint"] == "later"


def test_attack_names_of_results_are_no_paths(jobs, served, tmp_path, capsys):
    """A script that cannot be read here names nothing: the leader says what its results are called."""
    blob = BlobStore(tmp_path / "blobs").put(b"bytes", "image/png")
    evil = {"../../evil": blob, "/evil": blob, "a\nb": blob, "..": blob, "fine": blob}

    def tell(job: FakeJob) -> None:
        job.script = JobScript("Job:Main() { Nothing.Here(); }", "\x1b[2Jjob.wit", "Main")
        error = JobError("\x1b[2Jbroken", 1, Failure("\x1b[2Jbroken", (13, 27), "\x1b[2J"), "\x1b[2Jjob.wit")
        job.end(Outcome(JobState.FAILED, evil, [], [], error, {"../../evil": {0: blob}}))

    jobs.on_attach = tell
    assert code_of(attach, "Main", out=tmp_path / "a" / "b" / "out") is ExitCode.FAILED

    written = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file() and "evil" in path.name]
    assert written == []
    assert (tmp_path / "a" / "b" / "out" / "fine.png").read_bytes() == b"bytes"
    assert not list((tmp_path / "a").glob("*evil*"))
    told = capsys.readouterr()
    assert "evil" not in told.out and "\x1b" not in told.out + told.err


# --- result ------------------------------------------------------------------------------------------------------


def test_the_result_of_a_job_that_has_ended(served, jobs, capsys):
    assert code_of(result, "Other") is ExitCode.COMPLETED

    told = capsys.readouterr()
    assert told.out == "n = 21\nbefore = 1\nreturned = 21\n"
    assert "completed in 1 min 10 s" in told.err
    assert jobs.attached[0].id == "a1ff00"


def test_one_result_of_many(served, capsys):
    assert code_of(result, "Other", only=["n"], as_json=True) is ExitCode.COMPLETED

    told = json.loads(capsys.readouterr().out)
    assert (told["variables"], told["returned"]) == ({"n": 21}, [])


def test_a_result_that_is_none_of_the_job(served):
    with pytest.raises(CommandError, match="no result `m`") as error:
        result("Other", only=["m"])

    assert "n, before, returned" in error.value.hint


def test_the_result_of_a_job_that_runs_is_waited_for_only_where_asked(served, jobs, capsys):
    with pytest.raises(CommandError, match="Main has not ended: 3 of 8 items") as error:
        result("Main")
    assert "meshwit result a1b2c3 --wait" in error.value.hint
    assert error.value.code is ExitCode.FAILED
    assert jobs.attached == []

    assert code_of(result, "Main", wait=True) is ExitCode.COMPLETED
    assert "n = 21" in capsys.readouterr().out


def test_a_result_that_is_not_kept_any_more(jobs, served):
    jobs.on_attach = lambda job: job.ending.set_exception(PeerError("its results were kept until yesterday"))
    with pytest.raises(CommandError, match="until yesterday") as error:
        result("Other")

    assert error.value.code is ExitCode.FAILED


# --- pause, resume, cancel ---------------------------------------------------------------------------------------


def test_pause_and_cancel_reach_the_job(served, jobs, capsys):
    pause("Main")
    cancel("Main", as_json=True)

    told = capsys.readouterr()
    assert "meshwit resume a1b2c3" in told.err
    assert json.loads(told.out) == {"cancelled": "Main", "id": "a1b2c3"}
    assert [one.asked for one in jobs.attached] == [["pause"], ["cancel"]]


@pytest.mark.parametrize("state", ["interrupted", "held"])
def test_a_job_that_nobody_leads_can_be_cancelled(served, jobs, state):
    jobs.known = [JobView(id="a1b2c3", name="Main", state=state)]
    cancel("Main")

    assert (jobs.abandoned, jobs.attached) == (["a1b2c3"], [])


def test_what_has_ended_cannot_be_paused_resumed_or_cancelled(served, jobs):
    for command in (pause, cancel, resume):
        with pytest.raises(CommandError, match="completed"):
            command("Other")

    assert jobs.attached == []


def test_whoever_may_not_cancel_is_told(jobs, served):
    def forbid(job: FakeJob) -> None:
        job.forbids = True

    jobs.on_attach = forbid
    with pytest.raises(CommandError, match="only otter may cancel") as error:
        cancel("Main")

    assert error.value.code is ExitCode.FAILED


def test_a_paused_job_goes_on(served, jobs, capsys):
    jobs.known = [JobView(id="a1b2c3", name="Main", state="paused")]
    assert code_of(resume, "Main") is ExitCode.COMPLETED

    assert jobs.attached[0].asked == ["resume"]
    assert "meshwit attach a1b2c3" in capsys.readouterr().err
    with pytest.raises(CommandError, match="nothing to decide"):
        resume("Main", again=True)
    with pytest.raises(CommandError, match="paused already"):
        pause("Main")


def test_an_interrupted_job_is_led_on_and_followed(served, jobs, capsys):
    assert code_of(resume, "Lost") is ExitCode.COMPLETED

    assert jobs.resumed == [("cc33", None)]
    assert "n = 21" in capsys.readouterr().out


@pytest.mark.parametrize(("option", "again"), [("again", True), ("skip", False)])
def test_a_held_job_needs_a_decision(served, jobs, option, again):
    with pytest.raises(CommandError, match=r"did item 4 of Mail\.Send run") as error:
        resume("Letters")
    assert "--again" in error.value.hint and "--skip" in error.value.hint
    with pytest.raises(CommandError, match="exclude each other"):
        resume("Letters", again=True, skip=True)
    assert jobs.resumed == []

    assert code_of(resume, "Letters", **{option: True}) is ExitCode.COMPLETED
    assert jobs.resumed == [("dd44", again)]


def test_a_job_that_runs_is_not_resumed(served):
    with pytest.raises(CommandError, match="runs already"):
        resume("Main")
