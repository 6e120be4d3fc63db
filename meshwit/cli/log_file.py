"""A log that a peer may write for months: two files of limited size, the older one with `.1` behind its name."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from pathlib import Path
from typing import Final

LOG_BYTES_MAX: Final = 1024 * 1024
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)


class LogFile(io.TextIOBase):
    """Takes the place of stdout and stderr. Never raises: a full disk must not stop a peer.

    Args:
        path: of the newer file; it is appended to.
        bytes_max: of each file.
    """

    def __init__(self, path: Path, bytes_max: int = LOG_BYTES_MAX) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._lock = threading.Lock()

    def move(self, path: Path) -> None:
        """Go on in another file."""
        with self._lock:
            self._path = path

    @property
    def path(self) -> Path:
        """Where it writes now."""
        return self._path

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Append the text; the file is opened for each, so that it may be moved or removed meanwhile."""
        with self._lock, contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.exists() and self._path.stat().st_size > self._bytes_max:
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            descriptor = os.open(self._path, _FLAGS, 0o600)
            with open(descriptor, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        return len(text)
