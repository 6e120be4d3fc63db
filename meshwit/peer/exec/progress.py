"""The progress page: 4 KiB shared by a worker process and its pool, written without a message or a system call.

The worker notes what it is at; the pool reads it to enforce time limits and, after a sudden death, to name the task at
fault. Writing costs some 50 ns. The clock is `time.perf_counter_ns`, which all processes of a device share.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Final, NamedTuple

SERIAL: Final = 0
"""Cell: serial of the run being worked on; 0 while there is none."""
POSITION: Final = 1
"""Cell: position in the run of the task that runs, or ran last."""
STARTED_NS: Final = 2
"""Cell: when that task started. Written before POSITION: a torn read errs towards a task that is younger."""
LOADING: Final = 3
"""Cell: 1 while the program of a step is being loaded."""
LOADING_STEP: Final = 4
"""Cell: the step whose program was loaded last."""

_PAGE_BYTES: Final = 4096
_CELLS: Final = 8


class Progress(NamedTuple):
    """What a page said; ``serial`` 0 means no run."""

    serial: int
    position: int
    started_ns: int
    loading_step: int | None


class ProgressPage:
    """The page, mapped. The pool creates the file and removes it; ``cells`` are 64-bit unsigned."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        with path.open("x+b" if create else "r+b") as file:
            if create:
                file.write(bytes(_PAGE_BYTES))
                file.flush()
            self._map = mmap.mmap(file.fileno(), _PAGE_BYTES)
        self._bytes = memoryview(self._map)
        self.cells = self._bytes[: _CELLS * 8].cast("Q")

    def read(self) -> Progress:
        """Return what the worker is at."""
        cells = self.cells
        serial, position, started_ns = cells[SERIAL], cells[POSITION], cells[STARTED_NS]
        return Progress(serial, position, started_ns, cells[LOADING_STEP] if cells[LOADING] else None)

    def close(self) -> None:
        """Unmap. May be called twice."""
        self.cells.release()
        self._bytes.release()
        self._map.close()
