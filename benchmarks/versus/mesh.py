"""meshwit as a contestant: four peers of one slot on this device, and the command line.

The slowest peer starts first and so leads: as with the schedulers of others, what is lost is a worker. Time is that of
the Grid step, from its event to the last progress, as others are measured without the start of their client.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from benchmarks.versus import machines
from benchmarks.versus.cases import SPEEDS
from benchmarks.versus.system import System

ROOT = Path(__file__).parents[2]
CONTROLLER = '''"""The work of a comparison."""

from benchmarks.versus import machines
from meshwit.plugins import Controller, Double, Int, activity


class Versus(Controller):
    """The work of a comparison."""

    @activity
    def Compute(self, work: Double) -> Int:
        """Sleeps as long as this machine would compute."""
        return machines.compute(work)
'''
SCRIPT = """Job:Main(DoubleCollection:works)
{{
    IntCollection:done = Grid.ForEach(work in works{options}) => Versus.Compute(work);
}}
"""
LOOP = """Job:Main(Int:count)
{
    Loop(count) { IntCollection:done = Grid.ForEach(work in [0.0]) => Versus.Compute(work); }
}
"""


def loopback() -> str:
    """The name of the interface that leads nowhere else; systems name it differently."""
    return next(
        name
        for name, addresses in psutil.net_if_addrs().items()
        if any(each.address == "127.0.0.1" for each in addresses)
    )


class Mesh(System):
    """meshwit; its variants are the strategies."""

    def start(self, stack: ExitStack) -> None:
        self.folder = Path(os.environ[machines.FOLDER])
        plugin = self.folder / "plugin"
        info = plugin / "versus_work-1.0.dist-info"
        info.mkdir(parents=True)
        (plugin / "versus_work.py").write_text(CONTROLLER)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: versus-work\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[meshwit.controllers]\nversus = versus_work:Versus\n")
        home = self.folder / "home"
        home.mkdir()
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MESHWIT_")}
        self.environment = kept | {
            "MESHWIT_HOME": str(home),
            "MESHWIT_MULTICAST": "off",
            "MESHWIT_INTERFACES": loopback(),
            "PYTHONPATH": os.pathsep.join((str(plugin), str(ROOT))),
        }
        stack.callback(self._command, "down", "--all")
        for index in reversed(range(len(SPEEDS))):
            told = self._command(
                "up", "--background", "--json", "--name", f"m{index}", "--slots", "1",
                **{machines.INDEX: str(index)},
            )  # fmt: skip
            machines.claim(index, json.loads(told.splitlines()[-1])["pid"])

    def _command(self, *words: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "meshwit", *words], env=self.environment | environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"meshwit {words[0]} ended with {done.returncode}: {done.stdout[-200:]}")
        return done.stdout

    def _events(self, script: str, parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
        file, given = self.folder / "work.wit", self.folder / "works.json"
        file.write_text(script)
        given.write_text(json.dumps(parameters))
        command = [
            sys.executable, "-m", "meshwit", "run", str(file), "--params", str(given), "--json", "--watch", "--out",
            str(self.folder),
        ]  # fmt: skip
        with subprocess.Popen(
            command, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                event = json.loads(line)
                if event.get("event") == "failed":
                    raise RuntimeError(str(event["failure"])[:200])
                yield event
        if process.returncode:
            raise RuntimeError(f"meshwit run ended with {process.returncode}")

    def run(self, works: Sequence[float], variant: str, started: Callable[[], None]) -> float:
        options = f', "{variant}"' if variant else ""
        begun = ended = 0.0
        for event in self._events(SCRIPT.format(options=options), {"works": list(works)}):
            if event.get("event") == "step":
                begun = event["at"]
                started()
            elif event.get("event") == "progress":
                ended = event["at"]
        return ended - begun

    def one_by_one(self, count: int) -> list[float]:
        begun: dict[int, float] = {}
        ended: dict[int, float] = {}
        for event in self._events(LOOP, {"count": count}):
            if event.get("event") == "step":
                begun[event["step"]] = event["at"]
            elif event.get("event") == "progress":
                ended[event["step"]] = event["at"]
        return [ended[step] - at for step, at in begun.items() if step in ended]
