"""Peers on this device alone: `meshwit up` in one temporary home, unseen by others, with a controller for the work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]


def loopback() -> str:
    """The name of the interface that leads nowhere else; systems name it differently."""
    return next(
        name
        for name, addresses in psutil.net_if_addrs().items()
        if any(each.address == "127.0.0.1" for each in addresses)
    )


class Peers:
    """A home and a controller for peers; `controller` is the text of its module, which has a class `name`."""

    def __init__(self, folder: Path, name: str, controller: str) -> None:
        plugin = folder / "plugin"
        module = f"{name.lower()}_work"
        info = plugin / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (plugin / f"{module}.py").write_text(controller)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[meshwit.controllers]\n{name.lower()} = {module}:{name}\n")
        self.home = folder / "home"
        self.home.mkdir()
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MESHWIT_")}
        self.environment = kept | {
            "MESHWIT_HOME": str(self.home),
            "MESHWIT_MULTICAST": "off",
            "MESHWIT_INTERFACES": loopback(),
            "PYTHONPATH": os.pathsep.join((str(plugin), str(ROOT))),
        }

    def command(self, *words: str, **environment: str) -> str:
        """What a command prints. Raises RuntimeError where it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "meshwit", *words], env=self.environment | environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"meshwit {words[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-300:]}")
        return done.stdout

    def up(self, name: str, **environment: str) -> dict[str, Any]:
        """Start a peer with one slot; what it tells of itself, its `pid` and its `log` too."""
        told = self.command("up", "--background", "--json", "--name", name, "--slots", "1", **environment)
        found: dict[str, Any] = json.loads(told.splitlines()[-1])
        return found
