"""`meshwit run`, as whole processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_process import environment

SUM = """
Job:Sum(IntCollection:numbers, Int:start = 0)
{
    Int:sum = start;
    ForEach(number in numbers) { sum = sum + number; }
    String:text = "sum is " + sum;
    Trace(text);
    Return(sum, text);
}
"""
BLOBS = """
Job:Blobs(IntCollection:numbers)
{
    Blob:result = Blob("hello");
    BlobCollection:parts = ForEach(number in numbers) => Blob("part " + number);
    Int:count = parts.Count;
}
"""
FAILS = """
Job:Fails()
{
    Int:before = 1;
    Trace("on its way");
    Trace("it is broken", true);
    Int:after = 2;
}
"""
ENDLESS = """
Job:Endless()
{
    Int:before = 1;
    Trace("begun");
    While(true) { Pause(10); }
}
"""


def test_variables_are_printed_and_talk_goes_to_stderr(cli, script):
    done = cli("run", script(SUM), "--numbers", "1:4")

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["sum = 10", 'text = "sum is 10"', 'returned = [10, "sum is 10"]']
    assert "sum is 10" in done.stderr
    assert "completed in" in done.stderr


def test_quiet_says_nothing(cli, script):
    done = cli("run", script(SUM), "--numbers", "1,2", "--start=-5", "--quiet")

    assert done.returncode == 0
    assert done.stdout.startswith("sum = -2\n")
    assert done.stderr == ""


def test_json_is_one_object(cli, script):
    done = cli("run", script(SUM), "--json", "--numbers", "1", "2", "--start", "-5")
    record = json.loads(done.stdout)

    assert done.returncode == 0
    assert record["state"] == "completed"
    assert record["variables"] == {"sum": -2, "text": "sum is -2"}
    assert record["returned"] == [-2, "sum is -2"]
    assert record["trace"] == ["sum is -2"]
    assert record["error"] is None


def test_json_lines_end_with_the_outcome(cli, script):
    done = cli("run", script(SUM), "--json", "--watch", "--numbers", "1:3")
    events = [json.loads(line) for line in done.stdout.splitlines()]

    assert events[0]["event"] == "started"
    assert {"event": "trace", "text": "sum is 6"}.items() <= next(e for e in events if e["event"] == "trace").items()
    assert events[-2]["event"] == "completed"
    assert events[-1]["event"] == "outcome"
    assert events[-1]["variables"]["sum"] == 6


def test_a_reader_that_leaves_ends_the_job(script, tmp_path: Path):
    script(ENDLESS)
    command = [sys.executable, "-m", "meshwit", "run", "job.wit", "--json", "--watch"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    process.stdout.close()

    with process.stderr:
        process.stderr.read()
    assert process.wait(60) != 0


def test_parameters_from_a_file_and_over_it(cli, script, tmp_path: Path):
    (tmp_path / "params.json").write_text('{"numbers": "1:3", "start": 100}')

    done = cli("run", script(SUM), "--params", "params.json", "--start", "1", "--quiet")

    assert done.stdout.startswith("sum = 7\n")


def test_parameters_named_like_options(cli, script):
    name = script("Job:J(Int:json, String:out) { Return(json, out); }")

    assert cli("run", name, "--param.json", "5", "--param.out=x", "--quiet").stdout == 'returned = [5, "x"]\n'
    assert cli("run", name, "--quiet", "--", "--json", "5", "--out", "x").stdout == 'returned = [5, "x"]\n'


def test_another_job_of_the_file(cli, script):
    name = script("Job:A() { Return(1); } Job:B() { Return(2); }")

    assert cli("run", name, "--job", "B", "--quiet").stdout == "returned = 2\n"
    wrong = cli("run", name, "--job", "C")
    assert wrong.returncode == 2
    assert "job.wit has no job `C`" in wrong.stderr and "there is A, B" in wrong.stderr
    assert "did you mean `Sum`?" in cli("run", script(SUM), "--job", "Som").stderr


def test_stdin_is_a_script(cli):
    assert cli("run", "-", "--quiet", input="Job:A() { Return(1); }").stdout == "returned = 1\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["job.wit"], "numbers"),
        (["job.wit", "--numbers", "many"], "numbers"),
        (["job.wit", "--number", "1"], "did you mean --numbers?"),
        (["job.wit", "1"], "given by name"),
        (["nothing.wit"], "there is no file nothing.wit"),
        (["."], "is a folder"),
        ([], "a script is needed"),
        (["--numbers", "1", "job.wit"], "a script is needed, before"),
        (["job.wit", "--params", "nothing.json"], "cannot read"),
        (["job.wit", "--numbers", "1", "--memory-limit", "much"], "is no size"),
        (["job.wit", "--numbers", "1", "--root", "nothing"], "there is no folder nothing"),
        (["job.wit", "--numbers", "1", "--workers", "0"], "--workers"),
        (["job.wit", "--numbers", "1", "--only", "nothing"], "no result `nothing`"),
        (["job.wit", "--numbers", "1", "--watch", "--quiet"], "exclude each other"),
    ],
)
def test_wrong_usage_is_told_without_a_traceback(cli, script, arguments, told):
    script(SUM)

    done = cli("run", *arguments)

    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_wrong_usage_as_json(cli, script):
    done = cli("run", script(SUM), "--json", "--number", "1")

    assert done.returncode == 2
    assert "no parameter" in json.loads(done.stdout)["error"]["message"]


def test_help_of_a_script_lists_its_parameters(cli, script):
    done = cli("run", script(SUM), "--help")

    assert done.returncode == 0
    assert "--memory-limit" in done.stdout
    assert "--numbers  IntCollection  1:240 or 1,2,3" in done.stdout
    assert "--start    Int            = 0" in done.stdout


def test_a_script_with_errors_is_not_run(cli, script):
    name = script("Job:A() { Int:n = k; Trace(m); }")

    done = cli("run", name)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.count("error[WIT") == 2

    done = cli("run", name, "--json")
    assert done.returncode == 3
    assert len(json.loads(done.stdout)["diagnostics"]) == 2


def test_warnings_are_shown_and_stop_nothing(cli, script):
    done = cli("run", script("Job:A() { Return(1); Trace(2); }"))

    assert done.returncode == 0
    assert "warning[WIT9" in done.stderr


def test_a_failed_job_says_why_and_keeps_what_it_had(cli, script):
    name = script(FAILS)

    done = cli("run", name)
    assert done.returncode == 1
    assert "before = 1" in done.stdout
    assert "error[WIT500]: it is broken" in done.stderr
    assert "job.wit:6:5" in done.stderr
    assert "failed after" in done.stderr

    record = json.loads(cli("run", name, "--json").stdout)
    assert record["state"] == "failed"
    assert record["error"]["line"] == 6
    assert "it is broken" in record["error"]["message"]


# --- files -----------------------------------------------------------------------------------------------------


def test_blobs_become_files(cli, script, tmp_path: Path):
    done = cli("run", script(BLOBS), "--numbers", "1:3", "--out", "results/here")

    assert done.returncode == 0, done.stderr
    out = tmp_path / "results" / "here"
    assert (out / "result.txt").read_text() == "hello"
    assert [(out / "parts" / f"000{n}.txt").read_text() for n in range(3)] == ["part 1", "part 2", "part 3"]
    assert f"result = {Path('results/here/result.txt')} (text/plain, 5 B)" in done.stdout
    assert f"parts = {Path('results/here/parts')}/ (3 files)" in done.stdout


def test_only_what_is_wanted(cli, script, tmp_path: Path):
    done = cli("run", script(BLOBS), "--numbers", "1:3", "--only", "result", "--quiet")

    assert done.stdout == "result = result.txt (text/plain, 5 B)\n"
    assert not (tmp_path / "parts").exists()


def test_blobs_in_json_name_their_files(cli, script, tmp_path: Path):
    record = json.loads(cli("run", script(BLOBS), "--numbers", "1:2", "--json").stdout)

    result = record["variables"]["result"]
    assert (result["file"], result["media_type"], result["size"]) == ("result.txt", "text/plain", 5)
    assert len(result["hash"]) == 64
    assert [Path(part["file"]).name for part in record["variables"]["parts"]] == ["0000.txt", "0001.txt"]


def test_a_file_parameter_is_no_result(cli, script, tmp_path: Path):
    (tmp_path / "in.txt").write_text("data")

    done = cli("run", script("Job:A(Blob:data) { Blob:copy = data; }"), "--data", "in.txt", "--quiet")

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "copy.txt").read_text() == "data"
    assert "data =" not in done.stdout


def test_a_result_that_cannot_be_written_stops_no_other(cli, script, tmp_path: Path):
    (tmp_path / "result.txt").mkdir()
    (tmp_path / "result.txt" / "keep").touch()

    done = cli("run", script(BLOBS), "--numbers", "1:2")

    assert done.returncode == 1
    assert "cannot write result.txt" in done.stderr
    assert (tmp_path / "parts" / "0001.txt").is_file()


# --- Ctrl-C ----------------------------------------------------------------------------------------------------


def started(tmp_path: Path, *options: str) -> subprocess.Popen[str]:
    """A process whose job has begun, in a process group of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "meshwit", "run", "job.wit", *options],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while "begun" not in (line := process.stderr.readline()):
        assert line, "the job never began"
    return process


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_cleanly(script, tmp_path: Path, number):
    script(ENDLESS)
    process = started(tmp_path)

    os.killpg(process.pid, number)
    stdout, stderr = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "before = 1" in stdout
    assert "cancelled after" in stderr
    assert "Traceback" not in stderr


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_a_second_signal_kills(script, tmp_path: Path):
    script(ENDLESS)
    process = started(tmp_path)

    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.2)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "Traceback" not in stderr
