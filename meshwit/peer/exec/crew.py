"""The worker processes of a pool, one for each slot at most: started, looked at, waited for.

What they are told and what they say is the pool's; when one starts or ends is for the core to decide.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from meshwit.peer.exec.process_trees import ProcessTrees
from meshwit.peer.exec.progress import Progress
from meshwit.peer.exec.worker_process import WorkerProcess

_END_S: Final = 10.0  # no longer is waited for a process that the system cannot end
_LOOK_S: Final = 0.002

OnFrame: TypeAlias = Callable[[int, WorkerProcess, bytes, memoryview], None]
OnExit: TypeAlias = Callable[[int, WorkerProcess, Progress], None]


class Seen(NamedTuple):
    """What a busy worker process was seen at.

    Attributes:
        slot: its own.
        serial: of the run that it is at.
        position: of the task in that run.
        ran_s: since when the task runs.
        memory_bytes: of the process and all that it started.
    """

    slot: int
    serial: int
    position: int
    ran_s: float
    memory_bytes: int


class Crew:
    """Callbacks come on the loop, with the slot first.

    Attributes:
        workers: the process in each slot, None where there is none.
    """

    def __init__(self, size: int, on_frame: OnFrame, on_exit: OnExit, *, pipe_threads: bool | None) -> None:
        """`on_exit` is called once a process has left its slot, with what it was at."""
        self.workers: list[WorkerProcess | None] = [None] * size
        self._on_frame = on_frame
        self._on_exit = on_exit
        self._pipe_threads = pipe_threads
        self._names = itertools.count(1)
        self._trees = ProcessTrees()

    def open(self, directory: Path, config: dict[str, Any]) -> None:
        """Say where the files of worker processes go, and how each is set up."""
        self._directory = directory
        self._config = config

    def spawn(self, slot: int) -> None:
        """Start a process in an empty slot. Raises OSError."""
        name = f"w{next(self._names)}"
        self.workers[slot] = WorkerProcess(
            {**self._config, "segments_name": name},
            self._directory,
            name,
            partial(self._on_frame, slot),
            partial(self._exited, slot),
            pipe_threads=self._pipe_threads,
        )

    def look(self) -> list[Seen]:
        """What those that are at a task are at; who turns out to have ended leaves its slot."""
        busy: list[tuple[int, int, Progress]] = []
        for slot, worker in enumerate(self.workers):
            if worker is not None:
                worker.look()
                at = worker.progress() if self.workers[slot] is worker else None
                if at is not None and at.serial:
                    busy.append((slot, worker.pid, at))
        memory = self._trees.memory_bytes(pid for _, pid, _ in busy)
        now_ns = time.perf_counter_ns()
        return [
            Seen(slot, at.serial, at.position, (now_ns - at.started_ns) * 1e-9, memory.get(pid, 0))
            for slot, pid, at in busy
        ]

    async def all_ended(self) -> None:
        """Wait until every slot is empty, for a limited time."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _END_S
        while any(worker is not None for worker in self.workers) and loop.time() < give_up:
            await asyncio.sleep(_LOOK_S)

    def _exited(self, slot: int, worker: WorkerProcess) -> None:
        at = worker.progress()
        self.workers[slot] = None
        self._on_exit(slot, worker, at)
