"""Real peers of one mesh on loopback alone: `meshwit up` in processes and homes of their own, one slot each.

They die, freeze and start again as they are told.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil

from meshwit.bench.cache import History
from meshwit.bench.fingerprint import hardware
from meshwit.bench.scores import Measured
from meshwit.peer.control import runtime_file
from meshwit.peer.control.api import PeerError
from meshwit.peer.control.client import ControlClient

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
"""For what takes a second on a free machine."""
WORKER_S = 10.0
"""Between two deaths of worker processes of one peer: of three that die one after another while they start a peer
says that they do not start, and its tasks fail."""
METADATA = "Metadata-Version: 2.1\nName: meshwit-exam\nVersion: 1.0\n"


class ExamPeer:
    """One peer; `frozen` and dead ones are asked nothing. `died_at` is when it was killed last."""

    def __init__(self, number: int, mesh: Peers) -> None:
        self.name = f"exam{number}"
        self.folder = mesh.folder / self.name
        self.home = self.folder / "home"
        self.log = mesh.folder / f"{self.name}.txt"
        self.frozen = False
        self.died_at = 0.0
        self._worker_from = 0.0
        self.mesh = mesh
        self.process: subprocess.Popen[Any] | None = None
        _remember_scores(self.folder)

    def up(self) -> None:
        """Start it; it is told where the others were last."""
        arguments = [sys.executable, "-m", "meshwit", "up", "--open", "--slots", "1", "--name", self.name, "--plain"]
        for each in self.mesh.all:
            if each is not self and (port := each.port):
                arguments += ["--peer", f"127.0.0.1:{port}"]
        environment = self.mesh.environment | {
            "MESHWIT_HOME": str(self.home), "XDG_CACHE_HOME": str(self.folder / "cache")
        }  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                arguments, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def port(self) -> str:
        """Where it is reached, or was last; empty if it never ran."""
        told = re.findall(r"reached at port (\d+)", self.said())
        return told[-1] if told else ""

    @property
    def client(self) -> ControlClient | None:
        """How it is asked; None while it does not run, or nobody can tell where it answers."""
        if self.process is None or self.frozen:
            return None
        for folder in runtime_file.profile_folders(self.home):
            found = runtime_file.read(folder)
            if found is not None and found.pid == self.process.pid:
                return ControlClient(folder, found)
        return None

    def kill(self) -> None:
        """End it with no chance to say a word."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None
        self.frozen = False
        self.died_at = time.monotonic()

    def kill_worker(self) -> bool:
        """End one of its worker processes; whether it had one, and it was not too soon."""
        workers = self._children() if time.monotonic() >= self._worker_from else []
        if workers:
            self._worker_from = time.monotonic() + WORKER_S
            with contextlib.suppress(psutil.Error):
                self.mesh.rng.choice(workers).kill()
        return bool(workers)

    def freeze(self) -> None:
        """Stop it and its worker processes where they stand."""
        self.frozen = True
        for each in [*self._self(), *self._children()]:
            with contextlib.suppress(psutil.Error):
                each.suspend()

    def thaw(self) -> None:
        """Let it go on."""
        for each in [*self._self(), *self._children()]:
            with contextlib.suppress(psutil.Error):
                each.resume()
        self.frozen = False

    def said(self) -> str:
        """What it printed."""
        return self.log.read_text() if self.log.exists() else ""

    def _self(self) -> list[psutil.Process]:
        try:
            return [psutil.Process(self.process.pid)] if self.process is not None else []
        except psutil.Error:
            return []

    def _children(self) -> list[psutil.Process]:
        found = self._self()
        try:
            return found[0].children(recursive=True) if found else []
        except psutil.Error:
            return []


class Peers:
    """So many peers while the context lasts.

    Args:
        folder: an empty one, for all that they write.
    """

    def __init__(self, count: int, folder: Path, rng: random.Random) -> None:
        self.folder = folder
        self.rng = rng
        installed = self._install()
        loopback = [
            each for each, found in psutil.net_if_addrs().items() if any(one.address == "127.0.0.1" for one in found)
        ]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MESHWIT_")}
        self.environment = kept | {
            "MESHWIT_MULTICAST": "off",
            "MESHWIT_INTERFACES": ",".join(loopback),
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(installed))),
            "PYTHONUNBUFFERED": "1",
            "EXAM_FOLDER": str(folder),
        }
        self.notes = folder / "notes"
        self.notes.touch()
        self.all = [ExamPeer(number, self) for number in range(1, count + 1)]

    def __enter__(self) -> Peers:
        self.all[0].up()
        self._wait(lambda: self._members(self.all[0]) == 1, "the first peer is up")
        for each in self.all[1:]:
            each.up()
        self.wait_until_whole()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.all:
            if each.process is not None:
                each.thaw()
                each.process.terminate()
        for each in self.all:
            if each.process is not None:
                try:
                    each.process.wait(20)
                except subprocess.TimeoutExpired:
                    each.kill()

    def wait_until_whole(self) -> None:
        """Until all know all."""
        for each in self.all:
            self._wait(lambda each=each: self._members(each) == len(self.all), f"{each.name} knows all")

    def somebody(self) -> ControlClient:
        """A peer that runs, at random; waits for one."""

        def found() -> ControlClient | None:
            clients = self.clients()
            return random.choice(clients) if clients else None

        client: ControlClient = self._wait(found, "a peer runs")
        return client

    def clients(self) -> list[ControlClient]:
        """All that run."""
        return [client for each in self.all if (client := each.client) is not None]

    def said(self) -> str:
        """What all printed last."""
        return "".join(f"\n--- {each.name} ---\n{each.said()[-2000:]}" for each in self.all)

    def _members(self, peer: ExamPeer) -> int:
        assert peer.process is None or peer.process.poll() is None, f"{peer.name} has ended:\n{peer.said()}"
        client = peer.client
        if client is None:
            return 0
        try:
            return sum(each.state == "alive" for each in client.peers())
        except PeerError:
            return 0

    def _wait(self, true: Callable[[], Any], what: str) -> Any:
        limit = time.monotonic() + PATIENCE_S
        while not (found := true()):
            assert time.monotonic() < limit, f"it never came to this: {what}{self.said()}"
            time.sleep(0.05)
        return found

    def _install(self) -> Path:
        """The controller, installed for them."""
        installed = self.folder / "installed"
        about = installed / "meshwit_exam-1.0.dist-info"
        about.mkdir(parents=True)
        (installed / "meshwit_exam.py").write_text((Path(__file__).parent / "exam_controller.py").read_text())
        (about / "METADATA").write_text(METADATA)
        (about / "entry_points.txt").write_text("[meshwit.controllers]\nexam = meshwit_exam:Exam\n")
        return installed


def _remember_scores(folder: Path) -> None:
    """As if the device had been measured before: probes keep a machine busy."""
    scores = folder / "cache" / "meshwit" / "bench" / "scores.json"
    scores.parent.mkdir(parents=True, exist_ok=True)
    history: History = {hardware().fingerprint: [Measured(350.0, 700.0, 20.0, 1000.0, 0.0, 2, time.time(), 1.0)]}
    scores.write_bytes(msgspec.json.encode(history))


class Disturber:
    """What befalls the peers, one thing after another, until it is stopped: then all are whole again.

    Args:
        peers: of whom at least two are always spared.
        pause_s: between two events, on average.
    """

    KINDS = ("kill", "kill", "freeze", "worker", "worker")

    def __init__(self, peers: Peers, rng: random.Random, pause_s: float) -> None:
        self.done = {"kill": 0, "freeze": 0, "worker": 0}
        self.story: list[str] = []
        self._peers = peers
        self._rng = rng
        self._pause_s = pause_s
        self._began = time.monotonic()
        self._until: dict[str, tuple[float, ExamPeer, Callable[[], None]]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._disturb, daemon=True)

    def __enter__(self) -> Disturber:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        for _, peer, repair in self._until.values():
            self._told("repaired", peer)
            repair()

    def _disturb(self) -> None:
        due = time.monotonic() + self._pause_s
        while not self._stopping.wait(0.05):
            now = time.monotonic()
            for name, (until, peer, repair) in list(self._until.items()):
                if now >= until:
                    self._told("repaired", peer)
                    repair()
                    del self._until[name]
            if now >= due:
                due = now + self._rng.expovariate(1 / self._pause_s)
                self._one()

    def _one(self) -> None:
        whole = [each for each in self._peers.all if each.name not in self._until and each.client is not None]
        if len(whole) <= 2:
            return
        peer, kind = self._rng.choice(whole), self._rng.choice(self.KINDS)
        now = time.monotonic()
        if kind == "worker":
            if not peer.kill_worker():
                return
        elif kind == "kill":
            peer.kill()
            self._until[peer.name] = (now + self._rng.uniform(0.1, 2.0), peer, peer.up)
        else:
            peer.freeze()
            self._until[peer.name] = (now + self._rng.choice([0.3, 1.5, 3.5, 5.0]), peer, peer.thaw)
        self.done[kind] += 1
        self._told(kind, peer)

    def _told(self, what: str, peer: ExamPeer) -> None:
        self.story.append(f"{time.monotonic() - self._began:7.2f} {what} {peer.name}")
