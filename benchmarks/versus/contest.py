"""Runs one contestant through cases, harms its fastest machine, and ends every process of it.

All that a contestant starts inherits its folder in an environment variable, so that even what it left behind (daemons,
orphans of a killed node) is found and ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.versus import machines
from benchmarks.versus.cases import HARMED_AT, LEFT, PATIENCE, Case, ideal, lower_bound, works
from benchmarks.versus.systems import ROOT, SYSTEMS

START_S = 120.0
PLAIN_S = 120.0
"""For cases without an ideal."""
WARM_UP = [20.0] * 40


class Contestant:
    """One system, started, with its processes."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        with (folder / "log.txt").open("ab") as log:
            self.host = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.versus.host", name], cwd=folder,
                env=os.environ | {machines.FOLDER: str(folder), "PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
            )  # fmt: skip
        self.answers: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.host.stdout is not None
        for line in self.host.stdout:
            self.answers.put(json.loads(line))
        self.answers.put({"failed": "its process ended"})

    def next(self, patience_s: float) -> dict[str, Any]:
        """What it tells next; `stopped` when it does not."""
        try:
            return self.answers.get(timeout=max(patience_s, 0.0))
        except queue.Empty:
            return {"stopped": True}

    def ask(self, tasks: Sequence[float], variant: str = "", measures: str = "makespan") -> None:
        assert self.host.stdin is not None
        self.host.stdin.write(json.dumps({"works": list(tasks), "variant": variant, "measures": measures}) + "\n")
        self.host.stdin.flush()

    def warm_up(self) -> None:
        """Once with little work, which starts all workers. Raises RuntimeError."""
        for patience_s in (START_S, START_S):
            while not {"ready", "seconds"} & (told := self.next(patience_s)).keys():
                if "started" not in told:
                    said = (self.folder / "log.txt").read_text(errors="replace")[-600:]
                    raise RuntimeError(f"{self.name} does not start: {told}\n{said}")
            if "ready" in told:
                self.ask(WARM_UP)

    def harm(self, how: str) -> None:
        """Kills or freezes the process that is the fastest machine, with all that it started; or slows it down."""
        if LEFT[how]:
            (self.folder / machines.SLOWED).touch()
            return
        file = self.folder / "machine.0"
        with contextlib.suppress(psutil.Error, FileNotFoundError, ValueError):
            victim = psutil.Process(int(file.read_text()))
            for process in [victim, *victim.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    process.suspend() if how == "freeze" else process.kill()

    def close(self) -> None:
        """Asks it to end, then ends all of it."""
        assert self.host.stdin is not None
        with contextlib.suppress(OSError):
            self.host.stdin.close()
        end_all(self.folder, self.host)


def end_all(folder: Path, host: subprocess.Popen[str], patience_s: float = 3.0) -> None:
    """Ends every process that was started under this folder, its host last of all where it ends by itself."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        host.wait(patience_s)
    for _ in range(20):
        if not (left := list(_marked(folder))):
            break
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=1)
    host.wait()


def _marked(folder: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(machines.FOLDER) == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                yield process


@contextlib.contextmanager
def contestant(name: str) -> Iterator[Contestant]:
    """A warm one."""
    with tempfile.TemporaryDirectory(prefix="versus-", ignore_cleanup_errors=True) as folder:
        made = Contestant(name, Path(folder))
        try:
            made.warm_up()
            yield made
        finally:
            made.close()


def play(made: Contestant, case: Case, seconds: float, variant: str = "") -> dict[str, Any]:
    """One case once: `seconds`, `latencies`, `failed` with a reason, or `stopped`."""
    system = SYSTEMS[made.name]
    tasks = works(case, seconds)
    if case.measures != "makespan":
        count = (system.noops if case.measures == "rate" else system.latencies) or len(tasks)
        made.ask(tasks[:count], variant, case.measures)
        while "started" in (told := made.next(PLAIN_S)):
            pass
        return told | {"tasks": count}
    limit_s = PATIENCE * ideal(case, tasks)
    made.ask(tasks, variant)
    told = made.next(START_S)
    if "started" not in told:
        return told
    until = time.monotonic() + limit_s
    if case.harm:
        told = made.next(HARMED_AT[case.harm] * lower_bound(tasks))
        if "stopped" not in told:
            return told
        made.harm(case.harm)
    return made.next(until - time.monotonic())
