"""`meshwit up` as a process: the peer behind it has no mesh, all else is real."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from cli_process import environment

from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.log_file import LogFile
from meshwit.cli.up_background import start_in_background
from meshwit.cli.up_options import as_arguments, host_text, read_host, read_properties
from meshwit.cli.up_waiting import waiting
from meshwit.peer.control.client import find_all
from meshwit.peer.control.options import UpOptions

FAKE_UP = [sys.executable, str(Path(__file__).with_name("fake_up.py"))]
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs signals for other processes, or a pty")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Iterator[Path]:
    """A home for peers; whoever still runs in it at the end is stopped."""
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "home"
    yield home
    for one in find_all(home)[0]:
        process = psutil.Process(one.client.runtime.pid)
        process.terminate()
        process.wait(20)


def background(home: Path, name: str) -> list[str]:
    return [*FAKE_UP, *as_arguments(UpOptions(home=home, name=name))]


@contextlib.contextmanager
def foreground(home: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """It has ended when the block ends."""
    process = subprocess.Popen(
        [*FAKE_UP, "--home", str(home), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()  # nothing, where it has ended


def until(condition: Callable[[], object]) -> None:
    """Within the time that a very slow machine needs."""
    for _ in range(4000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


# --- options -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("den", ("den", 0)),
        ("den.local:7946", ("den.local", 7946)),
        ("192.168.1.5:1", ("192.168.1.5", 1)),
        ("fe80::1%eth0", ("fe80::1%eth0", 0)),
        ("[fe80::1]", ("fe80::1", 0)),
        ("[fe80::1]:7946", ("fe80::1", 7946)),
    ],
)
def test_hosts(text, host):
    assert read_host(text) == host
    assert read_host(host_text(*host)) == host


@pytest.mark.parametrize(
    "text", ["", ":1", "den:", "den:x", "den:0", "den:65536", "[::1", "[::1]x", "[]:1", "http://den", "a b", "den:²"]
)
def test_what_is_no_host(text):
    with pytest.raises(CommandError, match="is no host"):
        read_host(text)


def test_properties():
    assert read_properties(["site=berlin", "rack = 3 = b"]) == {"site": "berlin", "rack": "3 = b"}
    for wrong in ("site", "=x", "os.name=mine", "a b=c"):
        with pytest.raises(CommandError, match="--property"):
            read_properties([wrong])


def test_a_background_process_gets_the_same_options_but_for_the_token(cli):
    options = UpOptions(
        home=Path("/x y").absolute(),
        name="den",
        slots=2,
        properties={"site": "berlin"},
        peers=(("fe80::1", 7946), ("den", 0)),
        when="idle",
        invite="secret",
        open=True,
        new=True,
        port=7946,
    )
    arguments = as_arguments(options)

    assert "secret" not in arguments
    assert arguments == [
        "--home", str(options.home), "--name", "den", "--slots", "2", "--property", "site=berlin",
        "--peer", "[fe80::1]:7946", "--peer", "den", "--when", "idle", "--port", "7946", "--open", "--new",
    ]  # fmt: skip
    assert as_arguments(UpOptions()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("--slots", "x"),
        ("--slots", "0"),
        ("--slots", "-1"),
        ("--slots", "10001"),
        ("--when", "never"),
        ("--peer", "a b"),
        ("--port", "99999"),
        ("--port", "-1"),
        ("--background", "--plain"),
    ],
)
def test_wrong_options_are_usage_errors(cli, words):
    done = cli("up", *words)

    assert done.returncode == 2
    assert words[0] in done.stderr


# --- in the foreground -------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_stops_the_peer_cleanly(home, number):
    sent = getattr(signal, number)
    with foreground(home, "--plain") as process:
        until(lambda: find_all(home)[0])
        process.send_signal(sent)
        out, err = process.communicate(timeout=30)

    assert process.returncode == 0, err
    assert out == ""
    assert "den: 1 of 1 peer alive, this is den, reached at port 7946" in err
    assert err.splitlines()[-1].endswith("stopped")
    assert not (home / "peers" / "1" / "control.json").exists()


def test_down_stops_it_from_elsewhere(home, cli):
    with foreground(home) as process:
        until(lambda: find_all(home)[0])
        assert cli("down", "--home", str(home)).returncode == 0
        assert process.wait(30) == 0
        process.communicate()


def test_json_lines_begin_with_the_mesh(home, cli):
    with foreground(home, "--json") as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert cli("down", "--home", str(home)).returncode == 0
        process.communicate(timeout=30)

    assert first["kind"] == "ready"
    assert first["mesh"]["name"] == "anna@den"


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("fails", 1, "error: the port 7946 is taken\n  take another: --port 7947"),
        ("breaks", 70, "bug in meshwit: ZeroDivisionError"),
    ],
)
def test_a_peer_that_cannot_start_says_why(home, name, code, said):
    with foreground(home, "--name", name) as process:
        _, err = process.communicate(timeout=60)

    assert process.returncode == code
    assert said in err


@posix
def test_a_second_peer_is_not_started_unawares(home):
    with foreground(home) as first:
        until(lambda: find_all(home)[0])
        with foreground(home, "--name", "fails") as second:
            _, err = second.communicate(timeout=60)
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=30)

    assert "den runs on this device already" in err


@posix
def test_nobody_is_asked_for_a_code_where_nobody_types(home):
    with foreground(home, "--name", "waits") as process:
        assert process.stderr is not None
        lines = [process.stderr.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)

    assert "found the mesh anna@den" in lines[0]
    assert "otter violin" in lines[1]
    assert "meshwit approve" in lines[2]
    assert process.returncode == 0


@posix
def test_the_code_is_typed_on_a_terminal_and_the_table_appears(home):
    """A wrong code first; then the right one, the table, Ctrl-C."""
    import pty  # noqa: PLC0415  there is none on Windows

    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [*FAKE_UP, "--home", str(home), "--name", "asks"])
    seen = b""

    def reads(text: bytes) -> None:
        nonlocal seen
        while text not in seen:
            assert select.select([terminal], [], [], 40)[0], seen
            seen += os.read(terminal, 65536)
        seen = seen.partition(text)[2]

    try:
        reads(b"found the mesh anna@den")
        reads(b"code: ")
        os.write(terminal, b"1-no-way\n")
        reads(b"wrong code")
        reads(b"code: ")
        os.write(terminal, b"41-otter-violin\n")
        reads(b"joined anna@den")
        reads(b"1 of 1 peer alive")
        reads(b"Ctrl-C stops this peer")
        os.write(terminal, b"\x03")
        reads(b"stopping")
        with contextlib.suppress(OSError):  # until the process has closed its end
            while select.select([terminal], [], [], 40)[0] and os.read(terminal, 65536):
                pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


# --- in the background -------------------------------------------------------------------------------------------


def test_in_the_background_it_lives_on_and_writes_a_log(home):
    started = start_in_background(UpOptions(home=home, name="den"), background(home, "den"))

    assert started.folder == home / "peers" / "1"
    found = find_all(home)[0]
    assert [one.client.folder for one in found] == [started.folder]
    until(lambda: Path(started.log).exists())
    found[0].client.down()
    until(lambda: "stopped" in Path(started.log).read_text())
    assert started.log == str(home / "peers" / "1" / "peer.log")


def test_an_error_of_the_background_process_is_ours(home):
    with pytest.raises(CommandError) as told:
        start_in_background(UpOptions(home=home), background(home, "fails"))

    assert (told.value.message, told.value.hint) == ("the port 7946 is taken", "take another: --port 7947")
    assert told.value.code == ExitCode.FAILED


def test_a_bug_in_the_background_process_is_shown(home):
    with pytest.raises(CommandError, match="bug in meshwit") as told:
        start_in_background(UpOptions(home=home), background(home, "breaks"))

    assert told.value.code == ExitCode.BUG


def test_in_the_background_nobody_waits_for_a_person(home, capsys):
    started = start_in_background(UpOptions(home=home), background(home, "waits"))
    process = psutil.Process(started.pid)

    assert started.folder is None
    assert process.is_running()
    said = capsys.readouterr().err
    assert "this device shows: otter violin" in said
    assert "meshwit approve" in said
    assert "without --background, to type a code" in said
    process.terminate()
    process.wait(30)


def test_who_waits_in_the_background_is_told_of_and_can_be_ended(home, cli):
    """It answers nobody yet: without that it would wait for ever, unseen."""
    started = start_in_background(UpOptions(home=home), background(home, "waits"))
    process = psutil.Process(started.pid)

    assert "still waits to be let into a mesh" in cli("peers", "--home", str(home)).stderr
    done = cli("down", "--home", str(home))
    assert done.returncode == 0
    assert "ended" in done.stderr
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert "no peer is running" in cli("down", "--home", str(home)).stderr


def test_a_number_that_is_another_process_now_is_left_alone(home):
    home.mkdir()
    for name, content in (("1", b"torn"), ("2", b'{"pid": %d, "started_at": 1.0}' % os.getpid())):
        (home / f"waiting-{name}.json").write_bytes(content)

    assert waiting(home) == []
    assert list(home.iterdir()) == []


@posix
def test_the_next_peer_takes_the_place_of_one_that_waits(home):
    started = start_in_background(UpOptions(home=home), background(home, "waits"))
    with foreground(home, "--name", "fails") as process:
        _, err = process.communicate(timeout=60)

    assert "takes its place" in err
    assert psutil.Process(started.pid).status() == psutil.STATUS_ZOMBIE


# --- the log -----------------------------------------------------------------------------------------------------


def test_a_log_never_grows_beyond_its_limit(tmp_path):
    log = LogFile(tmp_path / "new" / "peer.log", bytes_max=100)
    for number in range(100):
        print(f"line {number}", file=log)
    print("\ud800 é", file=log)

    assert log.path.stat().st_size <= 120
    assert log.path.with_name("peer.log.1").stat().st_size <= 120
    assert "line 99" in log.path.read_text()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["peer.log", "peer.log.1"]


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path):
    (tmp_path / "file").write_text("")
    print("lost", file=LogFile(tmp_path / "file" / "peer.log"))
