"""What the service is, on every system, as text; and that `meshwit service` plans it with the options it was given."""

from __future__ import annotations

import json
import plistlib
import re
import shlex
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from meshwit.cli.exit_codes import CommandError
from meshwit.cli.service import checked_options
from meshwit.cli.service_plans import Account, plan, systemd_quoted, systemd_unit, windows_quoted

COMMAND = ["/opt/my python/bin/python", "-m", "meshwit", "up", "--slots", "4", "--property", "site=50% $HOME"]
WINDOWS = [r"C:\Program Files\Python\python.exe", "-m", "meshwit", "up", "--name", "anna & otto", "--home", r"D:\my\\"]
ACCOUNT = Account("/home/anna", 1000, "anna")


def test_systemd():
    made = plan("linux", COMMAND, ACCOUNT)
    text = made.content.decode()

    assert str(made.path) == "/home/anna/.config/systemd/user/meshwit.service"
    assert (
        'ExecStart="/opt/my python/bin/python" -m meshwit up --slots 4 --property "site=50%% $$HOME" --plain\n' in text
    )
    assert "Restart=on-failure\n" in text
    assert "RestartPreventExitStatus=2\n" in text
    assert "WantedBy=default.target\n" in text
    assert made.install[-1] == ("systemctl", "--user", "restart", "meshwit.service")
    assert made.stop == (("systemctl", "--user", "disable", "--now", "meshwit.service"),)
    assert "enable-linger" in made.hint


def test_systemd_follows_the_folder_for_configurations():
    made = plan("linux", COMMAND, Account("/home/anna", 1000, "anna", "/etc/anna"))

    assert str(made.path) == "/etc/anna/systemd/user/meshwit.service"


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("plain-1.2=/x:y,z@", "plain-1.2=/x:y,z@"),
        ("", '""'),
        ("a b", '"a b"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("100%", '"100%%"'),
        ("$HOME", '"$$HOME"'),
        (";", '";"'),
        ("a\nb", '"a\\x0ab"'),
    ],
)
def test_nothing_in_an_option_means_something_to_systemd(word, quoted):
    assert systemd_quoted(word) == quoted
    assert "\n" not in re.search(r"ExecStart=(.*)", systemd_unit(["x", word]))[1]


def test_launchd():
    made = plan("macos", COMMAND, Account("/Users/anna", 501, "anna"))
    agent = plistlib.loads(made.content)

    assert str(made.path) == "/Users/anna/Library/LaunchAgents/meshwit.peer.plist"
    assert agent["Label"] == "meshwit.peer"
    assert agent["ProgramArguments"] == [*COMMAND, "--log"]
    assert agent["RunAtLoad"] is True
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert made.install[-1] == ("launchctl", "bootstrap", "gui/501", str(made.path))
    assert made.stop == (("launchctl", "bootout", "gui/501/meshwit.peer"),)


def test_windows():
    made = plan("windows", WINDOWS, Account(r"C:\Users\anna", 0, r"DEN\anna"))
    text = made.content.decode("utf-16")
    task = ElementTree.fromstring(text)
    space = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"

    assert str(made.path) == r"C:\Users\anna\AppData\Local\meshwit\service.xml"
    assert made.content[:2] in (b"\xff\xfe", b"\xfe\xff")
    assert task.findtext(f".//{space}LogonTrigger/{space}UserId") == r"DEN\anna"
    assert task.findtext(f".//{space}Command") == r"C:\Program Files\Python\pythonw.exe"
    assert task.findtext(f".//{space}Arguments") == r'-m meshwit up --name "anna & otto" --home D:\my\\ --log'
    assert task.findtext(f".//{space}RunLevel") == "LeastPrivilege"
    assert task.findtext(f".//{space}ExecutionTimeLimit") == "PT0S"
    assert made.install[0][:4] == ("schtasks", "/Create", "/TN", "meshwit")
    assert made.stop[0][1:] == ("-m", "meshwit", "down", "--home", "D:\\my\\\\")


@pytest.mark.parametrize(
    ("word", "quoted"),
    [("a", "a"), ("", '""'), ("a b", '"a b"'), ('a"b', r'"a\"b"'), ("a b\\", '"a b\\\\"'), ('a\\"b', r'"a\\\"b"')],
)
def test_words_on_windows_arrive_whole(word, quoted):
    assert windows_quoted(word) == quoted


def test_options_that_are_wrong_are_refused_now_and_not_at_the_next_login(cli):
    done = cli("service", "install", "--dry-run", "--", "--slots", "many")
    assert done.returncode == 2
    assert "--slots" in done.stderr

    done = cli("service", "install", "--dry-run", "--", "--invite", "x")
    assert done.returncode == 2
    assert "join with it once" in done.stderr


def test_the_service_keeps_its_options_and_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("MESHWIT_HOME", str(tmp_path))
    assert checked_options(["--slots", "4", "--plain"]) == ["--slots", "4", "--home", str(tmp_path)]
    assert checked_options(["--home", "/x"]) == ["--home", "/x"]

    monkeypatch.setenv("MESHWIT_INVITE", "token")
    assert checked_options([]) == ["--home", str(tmp_path)]
    with pytest.raises(CommandError, match="--background"):
        checked_options(["--background"])


@pytest.mark.skipif(sys.platform not in ("linux", "darwin", "win32"), reason="no service is known for this system")
def test_a_dry_run_shows_everything_and_does_nothing(cli, tmp_path):
    places = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "XDG_CONFIG_HOME": "", "MESHWIT_HOME": ""}
    done = cli("service", "install", "--dry-run", "--", "--slots", "4", env=places)

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"write {tmp_path}")
    assert all(line.startswith("run ") and shlex.split(line) for line in lines[1:])
    assert list(Path(tmp_path).iterdir()) == []
    assert json.loads(cli("service", "remove", "--dry-run", "--json", env=places).stdout)["state"] == "planned"
    assert "--slots" in cli("service", "print", "--", "--slots", "4", env=places).stdout

    done = cli("service", "status", env=places)
    assert done.returncode == 1
    assert "meshwit service install" in done.stderr
    assert cli("service", "remove", env=places).returncode == 1
