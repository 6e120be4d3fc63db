"""The command as a whole: help, version, unknown commands, bugs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from cli_process import ROOT, environment

COMMANDS = ("run", "check", "fmt", "activities", "new", "version")


def test_help_lists_the_commands_and_exit_codes(cli):
    done = cli("--help")

    assert done.returncode == 0
    for command in COMMANDS:
        assert command in done.stdout
    assert "130  cancelled" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli, command):
    done = cli(command, "--help")

    assert done.returncode == 0
    assert "Usage: " in done.stdout


def test_help_imports_no_command_and_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "meshwit", "--help"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}

    assert "meshwit.cli.app" in imported
    assert not imported & {f"meshwit.cli.{command}" for command in COMMANDS}
    assert not imported & {"rich", "numpy", "msgspec", "anyio", "asyncio", "meshwit.lang", "meshwit.plugins"}


def test_version(cli):
    assert cli("version").stdout.startswith("meshwit ")
    assert cli("--version").stdout == cli("version").stdout
    assert json.loads(cli("version", "--json").stdout)["python"]


@pytest.mark.parametrize(("words", "hint"), [(("chek",), "check`"), (("job.wit",), "run job.wit`")])
def test_an_unknown_command_is_answered_with_what_was_meant(cli, words, hint):
    done = cli(*words)

    assert done.returncode == 2
    assert hint in done.stderr


def test_no_command_shows_the_help(cli):
    done = cli()

    assert "Usage: " in done.stdout + done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_commands(cli, shell):
    env = {
        "_MESHWIT_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "meshwit ",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": "meshwit ",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }

    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'meshwit'; from meshwit.cli import main; main()"],
        env=environment() | env,
        capture_output=True,
        text=True,
    )

    assert "activities" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("raise RuntimeError('no such device')", "no such device"),
        ("", "has no attribute"),
        ("Broken = int", "is no controller"),
        (
            "from meshwit.plugins import Controller, activity\n"
            "class Broken(Controller):\n    @activity\n    def F(self, x): ...",
            "has no annotation",
        ),
    ],
)
def test_a_broken_controller_is_named_and_is_no_bug_of_ours(cli, tmp_path, module, told):
    about = tmp_path / "site" / "broken-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[meshwit.controllers]\nbroken = broken_controller:Broken\n")
    (tmp_path / "site" / "broken_controller.py").write_text(module)
    path = f"{tmp_path / 'site'}{os.pathsep}{ROOT}"

    done = cli("activities", env={"PYTHONPATH": path})

    assert done.returncode == 2
    assert told in done.stderr
    assert "bug in meshwit" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such device, and no way to close a stream")
@pytest.mark.parametrize(("redirection", "code", "told"), [(">/dev/full", 1, "No space left"), (">&-", 0, "completed")])
def test_an_output_that_takes_nothing_is_no_bug(tmp_path, redirection, code, told):
    if "full" in redirection and not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    (tmp_path / "job.wit").write_text('Job:A() { String:text = "x"; Trace(text); }')
    command = f'"{sys.executable}" -m meshwit run job.wit {redirection}'

    done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)

    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert "bug" not in done.stderr
