"""One worker process as the pool sees it: started, spoken to, watched, ended, and cleaned up after."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

import meshwit
from meshwit.peer.exec import process_trees
from meshwit.peer.exec.frames import FrameError, FrameReader
from meshwit.peer.exec.pipes import Piece, open_pipes
from meshwit.peer.exec.progress import Progress, ProgressPage

GRACE_S: Final = 0.3
"""Between asking a worker to end and killing it."""
_REAP_S: Final = 0.001
_DETAIL_BYTES_MAX: Final = 4096
_CAPTURE_BYTES_MAX: Final = 16 << 20


class WorkerProcess:
    """Callbacks come on the loop: ``on_frame`` for every frame, then once ``on_exit``."""

    def __init__(
        self,
        config: dict[str, Any],
        directory: Path,
        name: str,
        on_frame: Callable[[WorkerProcess, bytes, memoryview], None],
        on_exit: Callable[[WorkerProcess], None],
        *,
        pipe_threads: bool | None = None,
    ) -> None:
        """Start the process; blocks for the millisecond that takes. Raises OSError."""
        self.name = name
        self._loop = asyncio.get_running_loop()
        self._on_frame = on_frame
        self._on_exit = on_exit
        self._reader = FrameReader()
        self._ended = False
        self._family: list[psutil.Process] = []
        self._timers: list[asyncio.TimerHandle] = []
        self._page_path = directory / f"{name}.page"
        self._capture_path = directory / f"{name}.out"
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            self.page = ProgressPage(self._page_path, create=True)
            ours.callback(self._clean)
            self._lifeline = -1
            their_in, our_out = _pipe(theirs, ours)
            our_in, their_out = _pipe(ours, theirs)
            options: dict[str, Any] = {}
            if sys.platform == "linux":
                lifeline, self._lifeline = os.pipe()
                theirs.callback(os.close, lifeline)
                options["pass_fds"] = (lifeline,)
                config = {**config, "lifeline": lifeline}
            if sys.platform == "win32":
                options["creationflags"] = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
            else:
                options["start_new_session"] = True
            capture = theirs.enter_context(self._capture_path.open("xb"))
            config = {**config, "page": str(self._page_path), "capture": str(self._capture_path)}
            root = str(Path(next(iter(meshwit.__path__))).parent)
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "meshwit.peer.exec.worker_main", msgspec.json.encode(config).decode()],
                stdin=their_in,
                stdout=their_out,
                stderr=capture,
                env={**os.environ, "PYTHONPATH": root},
                **options,
            )
            ours.pop_all()
        threads = {} if pipe_threads is None else {"threads": pipe_threads}
        self._pipes = open_pipes(self._loop, our_out, our_in, self._arrived, self._end_seen, **threads)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    @property
    def returncode(self) -> int:
        """As of `subprocess.Popen`; valid from ``on_exit`` on."""
        return self._popen.returncode if self._popen.returncode is not None else 0

    def send(self, pieces: Sequence[Piece]) -> None:
        """Write without waiting."""
        self._pipes.send(pieces)

    def progress(self) -> Progress:
        """What it is at."""
        return self.page.read()

    def printed(self) -> str:
        """The tail of what it printed and what was not taken: after a crash, the last words."""
        with contextlib.suppress(OSError), self._capture_path.open("rb") as file:
            file.seek(max(0, self._capture_path.stat().st_size - _DETAIL_BYTES_MAX))
            return file.read().decode("utf-8", "replace").strip()
        return ""

    def kill(self, grace_s: float = GRACE_S) -> None:
        """End it and all that it started; ``on_exit`` follows."""
        if self._ended:
            return
        self._family = process_trees.descendants(self.pid)
        if grace_s > 0:
            process_trees.terminate(self.pid)
            self._later(grace_s, self._kill_hard)
        else:
            self._kill_hard()

    def kill_later(self, delay_s: float) -> None:
        """Kill it if it has not ended by then."""
        if delay_s > 0:
            self._later(delay_s, self._kill_hard)
        else:
            self.kill(0.0)

    def look(self) -> None:
        """To be called now and then: notices an end that the pipe did not tell, and cuts endless output."""
        if not self._ended and self._popen.poll() is not None:
            process_trees.kill(self.pid, self._family)
            self._pipes.read_rest()
            self._end_seen()
        elif not self._ended:
            with contextlib.suppress(OSError):
                if self._capture_path.stat().st_size > _CAPTURE_BYTES_MAX:
                    os.truncate(self._capture_path, _CAPTURE_BYTES_MAX // 16)

    def _arrived(self, data: bytes) -> None:
        try:
            frames = self._reader.feed(data)
        except FrameError:
            self._kill_hard()
            return
        for message, inline in frames:
            self._on_frame(self, message, inline)

    def _kill_hard(self) -> None:
        if not self._ended:
            process_trees.kill(self.pid, self._family)

    def _end_seen(self) -> None:
        """Its pipe is closed: it is ending. While it is not waited for, its pid and group are nobody else's."""
        if self._popen.returncode is None:
            process_trees.kill(self.pid, self._family)
        self._reap()

    def _reap(self) -> None:
        if self._ended:
            return
        if self._popen.poll() is None:
            self._later(_REAP_S, self._reap)
            return
        self._ended = True
        for timer in self._timers:
            timer.cancel()
        self._pipes.close()
        self._on_exit(self)
        self._clean()

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        self._timers = [timer for timer in self._timers if timer.when() > self._loop.time()]
        self._timers.append(self._loop.call_later(delay_s, call))

    def _clean(self) -> None:
        self.page.close()
        if self._lifeline >= 0:
            os.close(self._lifeline)
        for path in (self._page_path, self._capture_path):
            with contextlib.suppress(OSError):
                path.unlink()


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
    read_end, write_end = os.pipe()
    reader.callback(os.close, read_end)
    writer.callback(os.close, write_end)
    return read_end, write_end
