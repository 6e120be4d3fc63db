"""Processes that measure together, as many as there are cores to measure: plain children, spoken to in lines.

Also what one core does is measured in a child: in the peer's own process the work would hold up its event loop, and
the loop the work. All waits end when the crew's time is up, since then its processes are killed.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import psutil

import meshwit
from meshwit.bench.probe_process import READY, Order

_END_S = 5.0
_ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
"""Each process stands for one core; and hundreds of them must not start hundreds of threads each."""


class Crew:
    """See the module; `with` it. Leaving it ends its processes.

    Args:
        size: how many processes.
        limit_s: for everything together.
        module: what each runs.

    Raises:
        OSError: they cannot be started, or end, or the time is up.
    """

    def __init__(self, size: int, limit_s: float, module: str = "meshwit.bench.probe_process") -> None:
        self.size = size
        self._module = module
        self._processes: list[subprocess.Popen[bytes]] = []
        self._over = False
        self._watchdog = threading.Timer(limit_s, self._kill)
        self._watchdog.daemon = True

    def __enter__(self) -> Crew:
        self._watchdog.start()
        try:
            for _ in range(self.size):
                self._processes.append(self._start())
                if self._over:
                    self._kill()  # the watchdog may have looked before this one was there
            for process in self._processes:
                if _answer(process) != READY:
                    raise OSError("a measuring process says something else than that it is ready")
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def measured(self, order: Order, size: int = 0) -> list[list[float]]:
        """Have the first `size` of them, or all, do the same at once; what each answers, in order. Raises OSError."""
        chosen = self._processes[: size or self.size]
        line = msgspec.json.encode(order) + b"\n"
        for process in chosen:
            assert process.stdin is not None
            process.stdin.write(line)
        for process in chosen:  # written first, then flushed: they begin within a fraction of a round
            assert process.stdin is not None
            process.stdin.flush()
        return [_rates(_answer(process)) for process in chosen]

    def cpu_s(self) -> float:
        """Seconds of CPU that all of them have used so far."""
        used = 0.0
        for process in self._processes:
            with contextlib.suppress(psutil.Error):
                times = psutil.Process(process.pid).cpu_times()
                used += times.user + times.system
        return used

    def _start(self) -> subprocess.Popen[bytes]:
        options: dict[str, Any] = {}
        if sys.platform == "win32":
            options["creationflags"] = subprocess.CREATE_NO_WINDOW
        root = str(Path(next(iter(meshwit.__path__))).parent)
        path = os.pathsep.join([root, *(os.path.abspath(each) for each in sys.path if each)])
        return subprocess.Popen(
            [sys.executable, "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=root,  # `-m` imports from there first, and nothing that lies where a person works is meant
            env={**os.environ, **_ONE_THREAD, "PYTHONPATH": path},
            **options,
        )

    def _kill(self) -> None:
        self._over = True
        for process in list(self._processes):
            process.kill()

    def _close(self) -> None:
        self._watchdog.cancel()
        for process in self._processes:
            process.kill()  # nothing that they hold needs an orderly end
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()


def _answer(process: subprocess.Popen[bytes]) -> object:
    assert process.stdout is not None
    line = process.stdout.readline(1 << 16)
    if not line.endswith(b"\n"):
        raise OSError("a measuring process ended before it answered, or its time was up")
    try:
        found: object = msgspec.json.decode(line)
    except msgspec.DecodeError as reason:
        raise OSError(f"a measuring process says what cannot be read: {reason}") from reason
    return found


def _rates(answer: object) -> list[float]:
    if not isinstance(answer, list) or not all(isinstance(one, float | int) for one in answer):
        raise OSError("a measuring process answers something else than rates")
    return [float(one) for one in answer]


def together(rounds: Sequence[Sequence[float]]) -> list[float]:
    """Round by round, what the processes did in all."""
    return [sum(each) for each in zip(*rounds, strict=False)]
