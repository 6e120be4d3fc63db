"""`meshwit run` on a member of a mesh where no peer runs: the command is a peer itself, and others help.

Real processes over loopback; an item waits until its gate is there, so that nothing depends on how fast they are.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from cli_process import environment

from meshwit.bench.cache import History
from meshwit.bench.fingerprint import hardware
from meshwit.bench.scores import Measured
from meshwit.cli import own_peer
from meshwit.cli.exit_codes import ExitCode
from meshwit.cli.own_peer import NobodyAsks, ensure_peer, member_folder
from meshwit.peer.control import runtime_file
from meshwit.peer.control.options import UpError, UpOptions
from meshwit.peer.control.runtime_file import RuntimeFile
from meshwit.peer.mesh.node import MeshPeer
from meshwit.peer.trust.locks import FileLock

PATIENCE_S = 120.0
"""For what takes two seconds on a free machine."""
TAKES_PART = "no peer runs here: this command takes part in"
CONTROLLER = '''
"""Activities that wait."""

import os
import time
from pathlib import Path

from meshwit.plugins import Controller, Int, String, activity


class Gate(Controller):
    """Waits."""

    @activity
    def Pass(self, item: Int, notes: String, gate: String) -> Int:
        """Notes where it is, and waits for the gate, a file."""
        with open(notes, "ab") as file:
            file.write(f"{os.environ['GATE_DEVICE']}\\n".encode())
        while not Path(gate).exists():
            time.sleep(0.02)
        return item
'''
SCRIPT = """
Job:Main(String:notes, String:gate, Int:count = 6)
{
    IntCollection:passed = Grid.ForEach(x in Int.Range(0, count)) => Gate.Pass(x, notes, gate);
}
"""


def until(true: Callable[[], Any], what: str, instead: Callable[[], object] = str) -> Any:
    """Waits until something is so. `instead`: what there is where it never comes to it."""
    limit = time.monotonic() + PATIENCE_S
    while not (found := true()):
        assert time.monotonic() < limit, f"it never came to this: {what}; {instead()}"
        time.sleep(0.05)
    return found


class Device:
    """A home and a name, the controller installed, and no network but loopback."""

    def __init__(self, folder: Path, name: str, installed: Path) -> None:
        self.name = name
        self.folder = folder
        self.begun: list[subprocess.Popen[str]] = []
        self.profile = folder / "home" / "peers" / "1"
        loopback = [
            each for each, found in psutil.net_if_addrs().items() if any(one.address == "127.0.0.1" for one in found)
        ]
        kept = environment()
        self.environment = kept | {
            "PYTHONPATH": os.pathsep.join((str(installed), kept["PYTHONPATH"])),
            "MESHWIT_HOME": str(folder / "home"),
            "MESHWIT_MULTICAST": "off",
            "MESHWIT_INTERFACES": ",".join(loopback),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "GATE_DEVICE": name,
        }
        scores = folder / "cache" / "meshwit" / "bench" / "scores.json"
        scores.parent.mkdir(parents=True)
        # As if it had been measured before: probes keep a machine busy.
        history: History = {hardware().fingerprint: [Measured(350.0, 700.0, 20.0, 1000.0, 0.0, 2, time.time(), 1.0)]}
        scores.write_bytes(msgspec.json.encode(history))

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """One command, while it runs."""
        began = subprocess.Popen(
            [sys.executable, "-m", "meshwit", *arguments], cwd=self.folder, env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.begun.append(began)
        return began

    def end(self) -> None:
        """Ends its peer, and what a test that failed left; tells the peer's log."""
        for left in self.begun:
            if left.poll() is None:
                left.kill()
                print(self.name, left.args, *left.communicate(), sep="\n")
        for log in self.profile.glob("*.log"):
            print(log, log.read_text(), sep="\n")
        ended(self.begin("down"))

    def tell(self, *arguments: str) -> tuple[str, str]:
        """What a command that must succeed prints."""
        code, out, err = ended(self.begin(*arguments))
        assert code == 0, f"{arguments}: {out}{err}"
        return out, err

    def up(self, *options: str) -> None:
        """Starts a peer in the background."""
        self.tell("up", "--background", "--name", self.name, *options)

    def states(self) -> dict[str, str]:
        """What it thinks of its peers, by name."""
        return {each["name"]: each["state"] for each in json.loads(self.tell("peers", "--json")[0])["peers"]}

    def jobs(self) -> list[str]:
        """The states of the jobs that its peer knows, in alphabetical order."""
        return sorted(each["state"] for each in json.loads(self.tell("jobs", "--json")[0])["jobs"])


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """The exit code, and what was printed."""
    try:
        out, err = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"it never ended:\n{out}\n{err}") from None
    return process.returncode, out, err


class Work:
    """One run of the script: its gate, and where its items are."""

    def __init__(self, folder: Path, name: str = "work") -> None:
        self.script = folder / f"{name}.wit"
        self.script.write_text(SCRIPT)
        self.notes = folder / f"{name}.notes"
        self.notes.touch()
        self.gate = folder / f"{name}.gate"

    @property
    def arguments(self) -> list[str]:
        return ["run", str(self.script), "--notes", str(self.notes), "--gate", str(self.gate)]

    def places(self) -> set[str]:
        """Where items have begun."""
        return set(self.notes.read_text().split())

    def wait_for(self, *names: str) -> None:
        """Until items have begun on each of these."""
        until(lambda: self.places() >= set(names), f"items began on {names}", self.places)


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    about = folder / "meshwit_test_gate-1.0.dist-info"
    about.mkdir()
    (folder / "meshwit_test_gate.py").write_text(CONTROLLER)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: meshwit-test-gate\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[meshwit.controllers]\ngate = meshwit_test_gate:Gate\n")
    return folder


@pytest.fixture(scope="module")
def pair(tmp_path_factory, installed) -> Iterator[tuple[Device, Device]]:
    """A device whose peer runs, and a member of its mesh where none does."""
    folder = tmp_path_factory.mktemp("pair")
    ash, birch = (Device(folder / name, name, installed) for name in ("ash", "birch"))
    try:
        ash.up("--new", "--slots", "1")
        token = ash.tell("invite", "--token")[0].splitlines()[-1]
        birch.up("--invite", token)
        birch.tell("down")
        yield ash, birch
    finally:
        ash.end()
        birch.end()


@pytest.fixture
def work(tmp_path) -> Work:
    return Work(tmp_path)


def test_the_other_devices_help_and_it_leaves_when_the_job_is_done(pair, work):
    ash, birch = pair
    running = birch.begin(*work.arguments)
    work.wait_for("ash", "birch")
    work.gate.touch()
    code, out, err = ended(running)

    assert code == 0, err
    assert out == "passed = [0, 1, 2, 3, 4, 5]\n"
    assert err.count(TAKES_PART) == 1
    assert until(lambda: ash.states()["birch"] == "left", "it has said goodbye")
    assert runtime_file.read(birch.profile) is None
    assert len(list(birch.profile.parent.iterdir())) == 1


def test_quietly_a_plan_names_the_others(pair, work):
    _, birch = pair
    out, err = birch.tell(*work.arguments, "--plan", "--quiet")

    assert "ash" in out
    assert "birch" in out
    assert err == ""


def test_here_is_here(pair, work):
    _, birch = pair
    work.gate.touch()
    _, err = birch.tell(*work.arguments, "--here")

    assert work.places() == {"birch"}
    assert TAKES_PART not in err


def test_what_a_killed_command_left_behind_is_no_hindrance(pair, work):
    """Its runtime file is there, and its number may be another process's by now."""
    _, birch = pair
    killed = birch.begin(*work.arguments)
    work.wait_for("birch")
    left = runtime_file.read(birch.profile)
    assert left is not None
    assert left.pid == killed.pid
    killed.kill()
    ended(killed)
    runtime_file.write(birch.profile, RuntimeFile(left.port, left.token, os.getpid()))
    work.gate.touch()

    _, err = birch.tell(*work.arguments)

    assert TAKES_PART in err
    assert runtime_file.read(birch.profile) is None


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals for other processes")
def test_ctrl_c_leaves_no_process_and_nothing_held(pair, work):
    _, birch = pair
    running = birch.begin(*work.arguments)
    work.wait_for("ash", "birch")
    processes = psutil.Process(running.pid).children(recursive=True)
    assert processes
    running.send_signal(signal.SIGINT)
    code, _, err = ended(running)

    assert code == ExitCode.CANCELLED, err
    assert psutil.wait_procs(processes, timeout=PATIENCE_S)[1] == []
    assert runtime_file.read(birch.profile) is None
    lock = FileLock.take(birch.profile / "lock")
    assert lock is not None
    lock.release()


def test_what_others_have_it_lead_is_waited_for(tmp_path, installed):
    """A second command asks the peer of the first one, which must not end before both jobs have."""
    alone = Device(tmp_path / "alone", "alone", installed)
    alone.up("--new")
    alone.tell("down")
    first, second = Work(tmp_path, "first"), Work(tmp_path, "second")
    leading = alone.begin(*first.arguments, "--count", "1")
    first.wait_for("alone")
    asking = alone.begin(*second.arguments, "--count", "1")
    until(lambda: alone.jobs() == ["running", "running"], "both are led by one peer")
    first.gate.touch()
    until(lambda: alone.jobs() == ["completed", "running"], "one has ended")
    second.gate.touch()

    code, out, err = ended(asking)
    assert (code, out) == (0, "passed = [0]\n"), err
    assert TAKES_PART not in err
    assert ended(leading)[0] == 0


def test_a_device_in_no_mesh_is_unaffected(tmp_path, installed, work):
    stranger = Device(tmp_path / "stranger", "stranger", installed)
    work.gate.touch()
    _, err = stranger.tell(*work.arguments)

    assert work.places() == {"stranger"}
    assert TAKES_PART not in err
    assert not (tmp_path / "stranger" / "home").exists()


# --- parts -------------------------------------------------------------------------------------------------------


def test_outside_a_block_and_without_a_mesh_there_is_no_peer(tmp_path, monkeypatch):
    monkeypatch.setenv("MESHWIT_HOME", str(tmp_path))
    (tmp_path / "peers" / "1").mkdir(parents=True)

    assert ensure_peer() is None
    with own_peer.own_peer():
        assert member_folder() is None
        assert ensure_peer() is None


def test_what_cannot_start_is_told_and_the_command_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("MESHWIT_HOME", str(tmp_path))
    profile = tmp_path / "peers" / "1"
    profile.mkdir(parents=True)
    (profile / "membership.msgpack").write_bytes(b"damaged")
    said: list[str] = []
    with own_peer.own_peer():
        assert ensure_peer(said.append) is None

    assert len(said) == 1
    assert said[0].startswith("this command cannot take part in the mesh: ")


def test_a_profile_that_is_named_must_be_a_members(tmp_path):
    """Or a membership that ends at the wrong moment would make this device join, or found, another mesh."""
    peer = MeshPeer(UpOptions(home=tmp_path), NobodyAsks(), profile="1")
    with pytest.raises(UpError, match="in no mesh"):
        asyncio.run(peer.run(lambda _: None))
