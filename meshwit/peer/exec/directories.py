"""The directory that a pool shares with its workers, and those that dead pools left behind."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

import psutil

NAME: Final = re.compile(r"meshwit-exec-(\d+)-(\d+)-\w+")
ROOM_BYTES_MIN: Final = 256 << 20


def memory_root() -> Path:
    """Where files are memory, with room to spare; else the directory for temporary files."""
    shm = Path("/dev/shm")
    if sys.platform == "linux" and os.access(shm, os.W_OK):
        with contextlib.suppress(OSError):
            if shutil.disk_usage(shm).free >= ROOM_BYTES_MIN:
                return shm
    return Path(tempfile.gettempdir())


def make_directory(root: Path) -> Path:
    """Make a directory for this process that only this user may enter; sweep those of dead ones. Raises OSError."""
    sweep(root)
    return Path(tempfile.mkdtemp(prefix=prefix(), dir=root))


def prefix() -> str:
    """How directories of this process are named, so that others can tell when it is gone."""
    process = psutil.Process()
    return f"meshwit-exec-{process.pid}-{int(process.create_time() * 1000)}-"


def sweep(root: Path) -> None:
    """Remove directories whose process is gone (same pid and creation time: within a second, clocks get adjusted)."""
    with contextlib.suppress(OSError):
        for path in root.iterdir():
            found = NAME.fullmatch(path.name)
            if found is not None and not _alive(int(found[1]), int(found[2])):
                shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int, created_ms: int) -> bool:
    try:
        return abs(int(psutil.Process(pid).create_time() * 1000) - created_ms) < 1000
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
