"""A worker process and all that its tasks started: how much memory they hold, and ending them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable
from typing import Final

import psutil

_FAMILY_REFRESH_S: Final = 0.5
_FAMILY_COST_MAX: Final = 0.02
"""Share of time that looking for new processes may take: with many processes it is done less often."""


def own_memory_bytes(process: psutil.Process) -> int:
    """Resident memory of one process without what it shares (segments, libraries); 0 where it is gone."""
    try:
        info = process.memory_info()
    except psutil.Error:
        return 0
    return int(info.rss - getattr(info, "shared", 0))


class ProcessTrees:
    """Memory of the trees below some processes. One walk over all processes serves all trees."""

    def __init__(self) -> None:
        self._roots: dict[int, psutil.Process] = {}
        self._children: dict[int, list[psutil.Process]] = {}
        self._walk_due = 0.0

    def memory_bytes(self, pids: Iterable[int]) -> dict[int, int]:
        """Return, by pid, the bytes that the process and its descendants hold."""
        wanted = set(pids)
        for pid in self._roots.keys() - wanted:
            del self._roots[pid]
        for pid in wanted - self._roots.keys():
            with contextlib.suppress(psutil.Error):
                self._roots[pid] = psutil.Process(pid)
        now = time.monotonic()
        if now >= self._walk_due:
            self._walk()
            took = time.monotonic() - now
            self._walk_due = now + max(_FAMILY_REFRESH_S, took / _FAMILY_COST_MAX)
        return {
            pid: own_memory_bytes(root) + sum(map(own_memory_bytes, self._children.get(pid, ())))
            for pid, root in self._roots.items()
        }

    def _walk(self) -> None:
        parents: dict[int, int] = {}
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    parents[process.pid] = process.ppid()
        self._children = {}
        for pid in parents:
            root = pid
            while root not in self._roots and root in parents:
                root = parents[root]
            if root in self._roots and root != pid:
                with contextlib.suppress(psutil.Error):
                    self._children.setdefault(root, []).append(psutil.Process(pid))


def descendants(pid: int) -> list[psutil.Process]:
    """All processes below that one; must be asked before it ends, for orphans go to another parent."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def terminate(pid: int) -> None:
    """Ask a worker and its process group to end; on Windows, end it."""
    if sys.platform == "win32":
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGTERM)
    else:
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGTERM)


def kill(pid: int, family: Iterable[psutil.Process] = ()) -> None:
    """End a worker that is not waited for yet, its process group, and those of its family that left the group."""
    if sys.platform == "win32":
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGTERM)
    else:
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.kill()
