"""Capturing what activities print, per task, from Python and from C, also by processes they start.

File descriptors 1 and 2 point at one file opened for appending. All duplicates of a descriptor share its offset, so
``lseek`` alone tells whether anything was printed: silence costs one system call per task and no copy.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from pathlib import Path
from typing import Final

OUTPUT_BYTES_MAX: Final = 64 * 1024
"""Of one task; what is beyond is cut."""


class Capture:
    """Owns descriptors 0, 1 and 2 of a worker process; the pipes it came with must have been moved away before."""

    def __init__(self, path: Path) -> None:
        self.fd: Final = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(self.fd, 1)
        os.dup2(self.fd, 2)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - lives as long as the process
        # Unbuffered, so that nothing printed by one task surfaces in the next.
        sys.stdout = _text(1)
        sys.stderr = _text(2)

    def take(self) -> str:
        """Return what was printed since the last call, cut at `OUTPUT_BYTES_MAX`, and empty the file."""
        size = os.lseek(self.fd, 0, os.SEEK_CUR)
        os.lseek(self.fd, 0, os.SEEK_SET)
        data = os.read(self.fd, OUTPUT_BYTES_MAX)
        os.ftruncate(self.fd, 0)
        os.lseek(self.fd, 0, os.SEEK_SET)
        text = data.decode("utf-8", "replace")
        return text + f"\n[{size - len(data):,} more bytes cut]" if size > len(data) else text


def _text(fd: int) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.FileIO(fd, "wb", closefd=False), "utf-8", "backslashreplace", write_through=True)


def unbuffer_c_stdout() -> None:
    """Make C's ``stdout`` unbuffered, so that ``printf`` is captured with the task that called it.

    Called once the worker is ready: ``ctypes`` is slow to import. Without a libc to be found, C output may come late.
    """
    if sys.platform == "win32":
        return
    ctypes = importlib.import_module("ctypes")
    try:
        libc = ctypes.CDLL(None)
        stdout = ctypes.c_void_p.in_dll(libc, "__stdoutp" if sys.platform == "darwin" else "stdout")
        libc.setvbuf(stdout, None, 2, 0)  # 2: _IONBF in glibc, musl and Darwin
    except (OSError, ValueError, AttributeError):
        return
