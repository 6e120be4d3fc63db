"""How fast a folder's disk takes and gives a file of some 64 MB, one byte after the other."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

SIZES = tuple(size << 20 for size in (1, 1, 2, 4, 8, 16, 32))
"""Bytes of the pieces, each of them brought to the disk before the next is begun: 64 MiB in all. Growing, because the
first ones tell whether a slow disk (an SD card at 10 MB/s) can take the next one in the time that is left."""


def probe_disk(folder: Path, limit_s: float = 0.6, clock: Callable[[], float] = time.perf_counter) -> float:
    """MB/s over writing, flushing to the disk and reading again together; 0 where the folder takes no file.

    The file has no name, or the system deletes it with its last handle, so none is ever left. Where the system lets
    its cache be emptied (Linux) the reading is the disk's; elsewhere it is the cache's, and the result is up to twice
    what the disk writes. Nothing larger than the first piece is begun that could not be done in `limit_s`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, prefix="meshwit-probe-", buffering=0) as file:
            began = clock()
            written = _write(file, began + limit_s * 2 / 3, clock)
            write_s = clock() - began
            _forget_cache(file.fileno())
            file.seek(0)
            began = clock()
            read = _read(file, written, began + limit_s / 3, clock)
            read_s = clock() - began
    except OSError:
        return 0.0
    # Both at equal weight, however much of it was read in the time.
    seconds = write_s / max(1, written) + read_s / max(1, read)
    return 2 / max(seconds, 1e-12) / 1e6


def _write(file: IO[bytes], until: float, clock: Callable[[], float]) -> int:
    piece = os.urandom(1 << 20)  # nothing that a file system could compress away
    written, began = 0, clock()
    for size in SIZES:
        now = clock()
        if written and now + size * (now - began) / written > until:
            break
        for _ in range(size // len(piece)):
            _write_all(file, piece)
        os.fsync(file.fileno())
        written += size
    return written


def _write_all(file: IO[bytes], piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[file.write(rest) :]


def _read(file: IO[bytes], size: int, until: float, clock: Callable[[], float]) -> int:
    read = 0
    while read < size and (read == 0 or clock() < until):
        got = len(file.read(1 << 20))
        if not got:
            break
        read += got
    return read


def _forget_cache(descriptor: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
