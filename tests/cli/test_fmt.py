"""`meshwit fmt`."""

from __future__ import annotations

from pathlib import Path

import pytest

UGLY = "Job:Sum(){Int:n=1+2 ;\n\n\n  Trace(n);}"
NEAT = "Job:Sum()\n{\n    Int:n = 1 + 2;\n\n    Trace(n);\n}\n"


def test_files_are_rewritten(cli, script, tmp_path: Path):
    script(UGLY, "a.wit")
    script(NEAT, "b.wit")

    done = cli("fmt", "a.wit", "b.wit")

    assert done.returncode == 0
    assert done.stdout == ""
    assert "1 file of 2 changed" in done.stderr
    assert (tmp_path / "a.wit").read_text() == NEAT
    assert (tmp_path / "b.wit").read_text() == NEAT


def test_a_folder_is_searched(cli, script, tmp_path: Path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    script(UGLY, "deep/er/a.wit")

    assert cli("fmt", "deep").returncode == 0
    assert (tmp_path / "deep/er/a.wit").read_text() == NEAT


def test_stdin_goes_to_stdout(cli):
    done = cli("fmt", "-", input=UGLY)

    assert (done.returncode, done.stdout) == (0, NEAT)


def test_check_changes_nothing_and_ends_with_one(cli, script, tmp_path: Path):
    script(UGLY, "a.wit")
    script(NEAT, "b.wit")

    done = cli("fmt", "--check", "a.wit", "b.wit")

    assert (done.returncode, done.stdout) == (1, "a.wit\n")
    assert (tmp_path / "a.wit").read_text() == UGLY
    assert cli("fmt", "--check", "b.wit").returncode == 0


def test_diff_changes_nothing_and_shows_what_would(cli, script, tmp_path: Path):
    script(UGLY)

    done = cli("fmt", "--diff", "job.wit")

    assert done.returncode == 0
    assert "-Job:Sum(){Int:n=1+2 ;" in done.stdout
    assert "+    Int:n = 1 + 2;" in done.stdout
    assert (tmp_path / "job.wit").read_text() == UGLY


def test_a_script_with_errors_is_left_and_the_others_are_done(cli, script, tmp_path: Path):
    script("Job:Broken( { Int:n = ; }", "a.wit")
    script(UGLY, "b.wit")

    done = cli("fmt", "a.wit", "b.wit")

    assert done.returncode == 3
    assert "error[WIT" in done.stderr
    assert "a.wit:1:" in done.stderr
    assert (tmp_path / "a.wit").read_text() == "Job:Broken( { Int:n = ; }"
    assert (tmp_path / "b.wit").read_text() == NEAT


def test_a_missing_file_is_named_with_what_was_meant(cli, script):
    script(NEAT, "animation.wit")

    done = cli("fmt", "anmiation.wit")

    assert done.returncode == 2
    assert "there is no file anmiation.wit" in done.stderr


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"Job:\x80"])
def test_what_is_no_text_is_an_error(cli, tmp_path: Path, data):
    (tmp_path / "a.wit").write_bytes(data)

    done = cli("fmt", "a.wit")

    assert done.returncode == 2
    assert "no UTF-8 text" in done.stderr
    assert (tmp_path / "a.wit").read_bytes() == data


def test_windows_line_ends_and_a_byte_order_mark_are_understood(cli, tmp_path: Path):
    (tmp_path / "a.wit").write_bytes(b"\xef\xbb\xbf" + UGLY.replace("\n", "\r\n").encode())

    assert cli("fmt", "a.wit").returncode == 0
    assert (tmp_path / "a.wit").read_bytes() == NEAT.encode()
