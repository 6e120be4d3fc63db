"""Devices for tests of a whole mesh: network namespaces, in each the real command line with a home of its own."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from meshwit.bench.cache import History
from meshwit.bench.fingerprint import hardware
from meshwit.bench.scores import Measured
from meshwit.peer.device.passing import VARIABLE
from tests.netlab import Host, Netlab

ROOT = Path(__file__).parents[2]
PATIENCE_S = 40.0
"""For what takes a second on a free machine."""


class Device:
    """One device: its namespace, its home, its peer while one runs."""

    def __init__(self, host: Host, folder: Path, name: str) -> None:
        self.host = host
        self.name = name
        self.folder = folder
        self.home = folder / "home"
        self.log = folder / "log.txt"
        self.peer: subprocess.Popen[Any] | None = None
        self._keyboard: int | None = None
        self._screen: threading.Thread | None = None
        folder.mkdir()
        self.remember_scores()

    def remember_scores(self) -> None:
        """As if it had been measured before: probes would keep the machine that runs the tests busy."""
        cache = self.folder / "cache" / "meshwit" / "bench"
        cache.mkdir(parents=True)
        measured = Measured(350.0, 700.0, 20.0, 1000.0, 0.0, 2, time.time(), 1.0)
        history: History = {hardware().fingerprint: [measured]}
        (cache / "scores.json").write_bytes(msgspec.json.encode(history))

    @property
    def environment(self) -> dict[str, str]:
        """What its commands see."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MESHWIT_")}
        return kept | {
            "MESHWIT_HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            VARIABLE: "off",  # the hosts of the lab share memory, devices do not
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }

    def up(self, *options: str, typed: bool = False) -> None:
        """Starts its peer; with `typed` there is somebody who can type."""
        arguments = [sys.executable, "-m", "meshwit", "up", "--name", self.name, *options]
        if not typed:
            with self.log.open("ab") as log:
                self.peer = self.host.popen(
                    [*arguments, "--plain"], env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            return
        self._keyboard, terminal = pty.openpty()
        self.peer = self.host.popen(
            arguments, env=self.environment, stdin=terminal, stdout=terminal, stderr=terminal
        )  # fmt: skip
        os.close(terminal)
        self._screen = threading.Thread(target=self._copy_screen, args=(self._keyboard,), daemon=True)
        self._screen.start()

    def _copy_screen(self, terminal: int) -> None:
        """What a terminal shows, into the log."""
        with self.log.open("ab") as log, contextlib.suppress(OSError):
            while piece := os.read(terminal, 65536):
                log.write(piece)
                log.flush()

    def type(self, line: str) -> None:
        """Somebody types a line at its `meshwit up`."""
        assert self._keyboard is not None
        os.write(self._keyboard, f"{line}\n".encode())

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One command of the command line on this device."""
        process = self.host.popen(
            [sys.executable, "-m", "meshwit", *arguments], env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def tell(self, *arguments: str) -> str:
        """The output of a command that must succeed."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}{self.said()}"
        return done.stdout

    def peers(self) -> dict[str, dict[str, Any]]:
        """What `meshwit peers` tells, by name; empty while no peer runs."""
        done = self.run("peers", "--json")
        if done.returncode:
            return {}
        return {each["name"]: each for each in json.loads(done.stdout)["peers"]}

    def alive(self) -> set[str]:
        """The names of the peers that it holds for alive."""
        return {name for name, each in self.peers().items() if each["state"] == "alive"}

    def said(self) -> str:
        """What its `meshwit up` has printed."""
        return self.log.read_text() if self.log.exists() else ""

    def wait_until_up(self) -> None:
        """Until its peer answers."""

        def answers() -> bool:
            assert self.peer is not None and self.peer.poll() is None, f"{self.name} has ended:\n{self.said()}"
            return re.search("peers? alive", self.said()) is not None

        wait_for(answers, f"{self.name} is up", self)

    def stop(self) -> None:
        """Ends its peer if it runs."""
        if self.peer is not None:
            if self.peer.poll() is None:
                self.peer.terminate()
            try:
                self.peer.wait(20)
            except subprocess.TimeoutExpired:
                self.peer.kill()
                self.peer.wait()
            self.peer = None
        if self._keyboard is not None and self._screen is not None:
            self._screen.join(20)
            os.close(self._keyboard)
            self._keyboard = None

    def kill(self) -> None:
        """Ends its peer with no chance to say a word."""
        assert self.peer is not None
        self.peer.kill()
        self.peer.wait()
        self.peer = None


def wait_for(true: Callable[[], Any], what: str, *watched: Device, patience_s: float = PATIENCE_S) -> Any:
    """Waits until something is so; fails if it never is, and shows what the devices printed."""
    limit = time.monotonic() + patience_s
    while not (found := true()):
        if time.monotonic() >= limit:
            said = "".join(f"\n--- {each.name} ---\n{each.said()}" for each in watched)
            raise AssertionError(f"it never came to this: {what}{said}")
        time.sleep(0.1)
    return found


def wait_until_all_know(devices: list[Device]) -> None:
    """Until each of them holds all of them, and nobody else, for alive."""
    names = {each.name for each in devices}
    for each in devices:
        wait_for(lambda each=each: each.alive() == names, f"{each.name} knows {names}", *devices)


@contextmanager
def devices(count: int, folder: Path) -> Iterator[tuple[Netlab, list[Device]]]:
    """So many devices on one network."""
    with Netlab(count) as lab:
        made = [Device(lab.host(index), folder / f"d{index}", f"d{index}") for index in range(count)]
        try:
            yield lab, made
        finally:
            for each in made:
                if each.peer is not None and each.peer.poll() is None:
                    each.peer.terminate()
            for each in made:
                each.stop()


def open_mesh(made: list[Device]) -> None:
    """Makes one mesh of them, the first first."""
    made[0].up("--open")
    made[0].wait_until_up()
    for each in made[1:]:
        each.up("--open")
    wait_until_all_know(made)
