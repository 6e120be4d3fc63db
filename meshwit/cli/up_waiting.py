"""Background peers that wait to be let into a mesh: they answer nobody yet, and can be found and ended all the same.

Each has a file `waiting-<pid>.json` in the home, with when its process was started: a number alone may be another's
by now.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

import msgspec
import psutil

ENDED_WITHIN_S: Final = 5.0


class Note(msgspec.Struct, frozen=True):
    """What the file says."""

    pid: int
    started_at: float


def note(home: Path) -> None:
    """This process waits."""
    with contextlib.suppress(OSError):  # it waits all the same
        home.mkdir(parents=True, exist_ok=True)
        content = msgspec.json.encode(Note(os.getpid(), psutil.Process().create_time()))
        _file(home, os.getpid()).write_bytes(content)


def forget(home: Path) -> None:
    """This process waits no more."""
    with contextlib.suppress(OSError):
        _file(home, os.getpid()).unlink(missing_ok=True)


def waiting(home: Path) -> list[psutil.Process]:
    """Who waits; the files of those that are gone are removed."""
    found = []
    for path in sorted(home.glob("waiting-*.json")):
        process = None
        with contextlib.suppress(OSError, msgspec.DecodeError, psutil.Error):
            told = msgspec.json.decode(path.read_bytes(), type=Note)
            one = psutil.Process(told.pid)
            if abs(one.create_time() - told.started_at) < 1 and one.status() != psutil.STATUS_ZOMBIE:
                process = one
        if process is not None:
            found.append(process)
        else:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
    return found


def end_waiting(home: Path) -> int:
    """Ends those that wait; how many."""
    found = waiting(home)
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    for process in psutil.wait_procs(found, ENDED_WITHIN_S)[1]:
        with contextlib.suppress(psutil.Error):
            process.kill()
    waiting(home)  # removes their files
    return len(found)


def _file(home: Path, pid: int) -> Path:
    return home / f"waiting-{pid}.json"
