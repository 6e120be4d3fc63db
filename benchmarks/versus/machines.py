"""The emulated machines: a worker takes one of their numbers, and sleeps as long as that one would compute.

A number is taken by a file that holds the process, so that whoever is to harm the fastest machine knows whom. A worker
that replaces a dead one takes its number over. Imported by the workers of every system, so it imports little.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.versus.cases import SLOWED_TO, SPEEDS

FOLDER = "VERSUS_FOLDER"
"""Environment variable: where the files are. Its value marks every process of a comparison."""
INDEX = "VERSUS_INDEX"
"""Environment variable of workers that are told their machine."""

SLOWED = "slowed"
"""A file that is there while the fastest machine is slow."""

_taken: list[int] = []


def claim(index: int, pid: int) -> None:
    """Says that a process is this machine."""
    (Path(os.environ[FOLDER]) / f"machine.{index}").write_text(str(pid))


def _take() -> int:
    folder = Path(os.environ[FOLDER])
    for generation in range(100):
        for index in range(len(SPEEDS)):
            file = folder / f"machine.{index}"
            if generation and file.exists() and psutil.pid_exists(int(file.read_text() or 0)):
                continue
            with contextlib.suppress(FileExistsError):
                (folder / f"taken.{index}.{generation}").touch(exist_ok=False)
                claim(index, os.getpid())
                return index
    return len(SPEEDS) - 1


def index() -> int:
    """Which machine this process is."""
    if not _taken:
        told = os.environ.get(INDEX)
        _taken.append(_take() if told is None else int(told))
    return _taken[0]


def double(array: Any) -> Any:
    """Twice the array."""
    return array * 2.0


def compute(work: float) -> int:
    """Does it, at the speed of this machine."""
    seconds = work / SPEEDS[index()]
    if index() == 0 and (Path(os.environ[FOLDER]) / SLOWED).exists():
        seconds /= SLOWED_TO
    if seconds:
        time.sleep(seconds)
    return 0
