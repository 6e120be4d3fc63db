"""`meshwit check`."""

from __future__ import annotations

import json

GOOD = "Job:Sum(Int:n)\n{\n    Int:m = n + 1;\n    Trace(m);\n}\n"
FAULTY = "Job:Sum(Int:n)\n{\n    Int:m = k + n;\n    Trac(m);\n}\n"
WARNED = "Job:Sum()\n{\n    Return(1);\n    Trace(2);\n}\n"


def test_a_good_script_has_no_faults(cli, script):
    done = cli("check", script(GOOD))

    assert (done.returncode, done.stdout) == (0, "")
    assert "1 file: no faults" in done.stderr


def test_all_faults_are_shown_with_their_places(cli, script):
    done = cli("check", script(FAULTY))

    assert done.returncode == 3
    assert "job.wit:3:13" in done.stdout
    assert "job.wit:4:5" in done.stdout
    assert "^^^^" in done.stdout
    assert "`Trace`" in done.stdout
    assert "1 file: 2 errors, 0 warnings" in done.stderr
    assert "\x1b" not in done.stdout


def test_color_is_for_terminals_and_for_who_asks(cli, script):
    name = script(FAULTY)

    assert "\x1b[" in cli("check", name, env={"FORCE_COLOR": "1"}).stdout
    assert "\x1b[" not in cli("check", name, env={"FORCE_COLOR": "1", "NO_COLOR": "1"}).stdout


def test_warnings_stop_nothing(cli, script):
    done = cli("check", script(WARNED))

    assert done.returncode == 0
    assert "warning[WIT9" in done.stdout


def test_json_has_everything(cli, script):
    script(GOOD, "good.wit")
    script(FAULTY, "faulty.wit")

    done = cli("check", "--json", "good.wit", "faulty.wit")
    record = json.loads(done.stdout)

    assert done.returncode == 3
    assert record["errors"] == 2
    assert [(one["file"], one["line"], one["column"]) for one in record["diagnostics"]] == [
        ("faulty.wit", 3, 13),
        ("faulty.wit", 4, 5),
    ]
    assert {"code", "severity", "message", "help", "label"} <= record["diagnostics"][0].keys()


def test_stdin_and_a_missing_file(cli):
    done = cli("check", "-", "nothing.wit", input=FAULTY)

    assert done.returncode == 2
    assert "<stdin>:3:13" in done.stdout
    assert "there is no file nothing.wit" in done.stderr


def test_an_empty_file_is_a_fault_and_no_bug(cli, script):
    done = cli("check", script(""))

    assert done.returncode == 3
    assert "bug" not in done.stderr
