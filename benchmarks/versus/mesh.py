"""meshwit as a contestant: four peers of one slot on this device, and the command line.

The slowest peer starts first and so leads: as with the schedulers of others, what is lost is a worker. Time is that of
the Grid step, from its event to the last progress, as others are measured without the start of their client.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from benchmarks.loopback import Peers
from benchmarks.versus import machines
from benchmarks.versus.cases import SPEEDS
from benchmarks.versus.system import System
from meshwit.peer.device.passing import VARIABLE

if TYPE_CHECKING:
    from benchmarks.versus.leading import LeadingPeer

CONTROLLER = '''"""The work of a comparison."""

from typing import Annotated, Any

from benchmarks.versus import machines
from meshwit.plugins import Controller, Double, Int, Script, activity


class Versus(Controller):
    """The work of a comparison."""

    @activity
    def Compute(self, work: Double) -> Int:
        """Sleeps as long as this machine would compute."""
        return machines.compute(work)

    @activity
    def Double(self, vector: Annotated[Any, Script("Vector")]) -> Annotated[Any, Script("Vector")]:
        """Twice the vector."""
        return machines.double(vector)
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


class Mesh(System):
    """meshwit; its variants are the strategies."""

    more: ClassVar[dict[str, str]] = {}
    """In the environment of its peers."""

    def start(self, stack: ExitStack) -> None:
        self.folder = Path(os.environ[machines.FOLDER])
        peers = Peers(self.folder, "Versus", CONTROLLER)
        self._stack = stack
        self._leading: LeadingPeer | None = None
        peers.environment |= self.more
        self.environment = peers.environment
        stack.callback(peers.command, "down", "--all")
        for index in reversed(range(len(SPEEDS))):
            machines.claim(index, peers.up(f"m{index}", **{machines.INDEX: str(index)})["pid"])

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

    def double(self, arrays: Sequence[Any]) -> Sequence[Any]:
        if self._leading is None:
            # Loaded here, so that no other system's process holds all of meshwit.
            leading: Any = importlib.import_module("benchmarks.versus.leading")
            self._leading = leading.LeadingPeer(self.environment, len(SPEEDS))
            self._stack.callback(self._leading.close)
        return self._leading.map("Versus.Double", arrays)

    def one_by_one(self, count: int) -> list[float]:
        begun: dict[int, float] = {}
        ended: dict[int, float] = {}
        for event in self._events(LOOP, {"count": count}):
            if event.get("event") == "step":
                begun[event["step"]] = event["at"]
            elif event.get("event") == "progress":
                ended[event["step"]] = event["at"]
        return [ended[step] - at for step, at in begun.items() if step in ended]


class MeshByLinks(Mesh):
    """meshwit as between devices: what passes between its peers goes over TLS."""

    only: ClassVar[tuple[str, ...]] = ("arrays",)
    more: ClassVar[dict[str, str]] = {VARIABLE: "off"}
