"""A worker process: ``python -m meshwit.peer.exec.worker_main CONFIG``, started by the pool and by nobody else.

The main thread runs tasks. A second thread reads the pipe, so that runs can be recalled and results flushed while a
task is busy, and the process ends (its process group with it) as soon as the pool is gone. On Linux the kernel sees to
that too, by a signal on a second pipe, for code that never lets the second thread in.

What a task does wrong is its failure alone: exceptions, ``sys.exit``, values that cannot cross. What kills the process
is for the pool to sort out from the progress page.
"""

from __future__ import annotations

import array
import contextlib
import faulthandler
import importlib
import os
import platform
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import msgspec

from meshwit.codec import Codec, CodecError
from meshwit.peer.exec import progress
from meshwit.peer.exec.capture import Capture, unbuffer_c_stdout
from meshwit.peer.exec.frames import FrameReader, frame, split_inline
from meshwit.peer.exec.messages import (
    Encoded,
    Flush,
    Freed,
    FromWorker,
    Prepare,
    Ready,
    Recall,
    Recalled,
    Release,
    Results,
    Run,
    Stop,
    TaskFailure,
    read_to_worker,
    write_message,
)
from meshwit.peer.exec.segments import Segments

FLUSH_NS: Final = 5_000_000
"""Results are held back for at most about this long, for as long as tasks end."""
_TRACEBACK_FRAMES_MAX: Final = 12
_MESSAGE_CHARS_MAX: Final = 4096
_POOL: Final = "pool"


class WorkerConfig(msgspec.Struct, frozen=True):
    """What the pool says on the command line, as JSON.

    Attributes:
        loader: ``module:function``; called with a step's program, returns what is called with each item.
        codec: ``module:function`` returning the `Codec`, or empty for the native types alone.
        codec_setup: what that function gets; nothing where it is None.
        path: ``sys.path`` of the pool's process.
        python_path: ``PYTHONPATH`` of the pool's process, given back to the processes that tasks start.
        segments: directory of the segments; ours begin with ``segments_name`` and have the bounds that follow.
        lifeline: descriptor of a pipe that is closed when the pool's process ends, or -1.
    """

    loader: str
    codec: str
    path: list[str]
    python_path: str | None
    page: str
    capture: str
    segments: str
    segments_name: str
    segments_bytes_max: int
    segments_count_max: int
    lifeline: int = -1
    codec_setup: dict[str, Any] | None = None


class _RunState:
    """A run being worked on. The main thread appends, `Worker.flush` takes from the front."""

    __slots__ = ("failures", "inline", "outputs", "position", "run", "seconds", "sent", "stop", "values")

    def __init__(self, run: Run, inline: memoryview) -> None:
        self.run = run
        self.inline = inline
        self.stop = run.count  # lowered by a recall
        self.position = -1
        self.sent = 0
        self.values: list[Any] = []
        self.seconds = array.array("f")
        self.failures: dict[int, TaskFailure] = {}
        self.outputs: dict[int, str] = {}


class Worker:
    """The process, apart from how it starts and ends."""

    def __init__(self, config: WorkerConfig, capture: Capture, fd_in: int, fd_out: int) -> None:
        self._config = config
        self._capture = capture
        self._fd_in = fd_in
        self._fd_out = fd_out
        self._page = progress.ProgressPage(Path(config.page))
        self._segments = Segments(
            Path(config.segments), config.segments_name, config.segments_bytes_max, config.segments_count_max
        )
        self._codec: Codec | None = None
        self._load: Callable[[Any], Callable[[Any], Any]] | None = None
        self._steps: dict[int, Callable[[Any], Any] | TaskFailure] = {}
        self._runs: dict[int, _RunState] = {}  # by serial; those not finished
        self._queue: queue.SimpleQueue[_RunState | tuple[Prepare, memoryview] | Release | Stop] = queue.SimpleQueue()
        self._current: _RunState | None = None
        self._taking = threading.Lock()  # one flush at a time
        self._writing = threading.Lock()

    def serve(self) -> None:
        """Run until the pool says stop; ends the process if the pool is gone."""
        threading.Thread(target=self._read, name="meshwit-pipe", daemon=True).start()
        versions = {"python": platform.python_version(), "msgspec": msgspec.__version__}
        self._send(Ready(os.getpid(), versions))
        with contextlib.suppress(Exception):  # the first step will tell
            self._import_loader()
        while True:
            work = self._queue.get()
            if isinstance(work, _RunState):
                self._run(work)
            elif isinstance(work, tuple):
                self._prepare(*work)
            elif isinstance(work, Release):
                self._steps.pop(work.step, None)
                self._segments.trim()
            else:
                return
            del work  # its items hold segments

    # The second thread

    def _read(self) -> None:
        reader = FrameReader()
        while True:
            try:
                data = os.read(self._fd_in, 1 << 18)
            except OSError:
                data = b""
            if not data:
                end_process_group()
            for message, inline in reader.feed(data):
                self._receive(message, inline)

    def _receive(self, message: bytes, inline: memoryview) -> None:
        match read_to_worker(message):
            case Run() as run:
                state = self._runs[run.serial] = _RunState(run, inline)
                self._queue.put(state)
            case Prepare() as prepare:
                self._queue.put((prepare, inline))
            case Recall(serial):
                self._recall(serial)
            case Flush():
                state_now = self._current
                if state_now is not None:
                    self._flush(state_now)
            case Freed(names):
                self._segments.freed(names, _POOL)
            case (Release() | Stop()) as work:
                self._queue.put(work)

    def _recall(self, serial: int) -> None:
        state = self._runs.get(serial)
        if state is None:
            return  # finished meanwhile, and its last Results are on the way
        # The task loop writes `position`, then reads `stop`; here `stop` is written, then `position` read: whatever the
        # interleaving, no position from `stop` on is started. (One below it may be skipped: the last Results tell.)
        while True:
            stop = state.stop = min(state.run.count, state.position + 1)
            if state.position < stop:
                break
        self._send(Recalled(serial, stop))

    # The main thread

    def _prepare(self, prepare: Prepare, inline: memoryview) -> None:
        cells = self._page.cells
        cells[progress.LOADING_STEP] = prepare.step
        cells[progress.LOADING] = 1
        try:
            load = self._load or self._import_loader()
            self._steps[prepare.step] = load(self._decode(prepare.program, inline))
        except BaseException as error:
            self._steps[prepare.step] = _failure("unloadable", error)
        cells[progress.LOADING] = 0

    def _import_loader(self) -> Callable[[Any], Callable[[Any], Any]]:
        """What every step needs: imported before the first one comes, which would wait for it."""
        unbuffer_c_stdout()
        load: Callable[[Any], Callable[[Any], Any]] = _named(self._config.loader)
        self._codec = self._make_codec()
        self._load = load
        return load

    def _make_codec(self) -> Codec:
        config = self._config
        if not config.codec:
            return Codec()
        made: Codec = _named(config.codec)(*(() if config.codec_setup is None else (config.codec_setup,)))
        return made

    def _run(self, state: _RunState) -> None:
        self._current = state
        cells = self._page.cells
        cells[progress.POSITION] = 0
        cells[progress.STARTED_NS] = time.perf_counter_ns()
        cells[progress.SERIAL] = state.run.serial
        function = self._steps.get(state.run.step)
        items: Any = None
        if callable(function):
            try:
                items = self._decode(state.run.items, state.inline)
                if type(items) is not list or len(items) != state.run.count:
                    raise CodecError(f"the items are no list of {state.run.count}")
            except BaseException as error:
                function = _failure("unencodable", error)
        elif function is None:
            function = TaskFailure("unloadable", "", f"step {state.run.step} was never prepared")
        if callable(function):
            self._tasks(state, function, items)
        else:
            for position in range(state.run.count):
                state.failures[position] = function
            state.values.extend([None] * state.stop)
            state.seconds.extend([0.0] * state.stop)
        self._runs.pop(state.run.serial, None)
        state.inline = memoryview(b"")
        del items
        self._flush(state, finished=True)
        self._current = None
        cells[progress.SERIAL] = 0

    def _tasks(self, state: _RunState, function: Callable[[Any], Any], items: list[Any]) -> None:
        cells, capture_fd = self._page.cells, self._capture.fd
        lseek, clock = os.lseek, time.perf_counter_ns
        add_value, add_seconds = state.values.append, state.seconds.append
        flushed = now = clock()
        for position in range(state.run.count):
            cells[2] = now  # STARTED_NS; literal indices: this loop is what a no-op task costs
            cells[1] = state.position = position  # POSITION
            if position >= state.stop:
                break
            try:
                value = function(items[position])
            except BaseException as error:
                state.failures[position] = _failure("raised", error)
                value = None
            items[position] = None
            if lseek(capture_fd, 0, 1):
                state.outputs[position] = self._capture.take()
            add_value(value)
            value = None
            started, now = now, clock()
            add_seconds((now - started) * 1e-9)
            if now - flushed >= FLUSH_NS and position + 1 < state.stop:  # the last goes with the end of the run
                self._flush(state)
                flushed = now = clock()

    def _flush(self, state: _RunState, finished: bool = False) -> None:
        """Send what is finished since the last flush. Called from both threads."""
        with self._taking:
            count = len(state.seconds)  # appended last: values, failures and outputs are there
            if not count and not finished:
                return
            first = state.sent
            state.sent = end = first + count
            values, seconds = state.values[:count], state.seconds[:count]
            del state.values[:count], state.seconds[:count]
            failures = {p: state.failures[p] for p in list(state.failures) if first <= p < end}
            outputs = {p: state.outputs.pop(p) for p in list(state.outputs) if p < end}
            encoded, inline, blobs = self._encode(values, first, failures)
            del values
            self._send(
                Results(state.run.serial, first, count, encoded, seconds.tobytes(), failures, outputs, finished, blobs),
                inline,
            )

    def _encode(
        self, values: list[Any], first: int, failures: dict[int, TaskFailure]
    ) -> tuple[Encoded, list[memoryview], list[tuple[str, int]]]:
        codec = self._codec or Codec()
        try:
            header, buffers, blobs = codec.encode_with_blobs(values)
        except Exception:
            for index, value in enumerate(values):
                try:
                    codec.encode(value)
                except Exception as error:
                    values[index] = None
                    failures[first + index] = _failure("unencodable", error)
            header, buffers, blobs = codec.encode_with_blobs(values)
        places, inline = self._segments.place_all(buffers, _POOL)
        return Encoded(header, places), inline, blobs

    def _decode(self, encoded: Encoded, inline: memoryview) -> Any:
        here = split_inline(encoded.places, inline)
        buffers = [next(here) if isinstance(p, int) else self._segments.view(p, _POOL) for p in encoded.places]
        return (self._codec or Codec()).decode(encoded.header, buffers)

    def _send(self, message: FromWorker, inline: list[memoryview] | None = None) -> None:
        pieces = frame(write_message(message), inline or ())
        names = self._segments.take_dropped(_POOL)
        if names:
            pieces += frame(write_message(Freed(names)))
        with self._writing:
            try:
                for piece in pieces:
                    write_all(self._fd_out, piece)
            except OSError:
                end_process_group()


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of it to a blocking descriptor. Raises OSError."""
    written = os.write(fd, data)
    if written < len(data):
        rest = memoryview(data)
        while written < len(rest):
            written += os.write(fd, rest[written : written + (1 << 24)])


def end_process_group() -> None:
    """End this process at once and, where it leads a process group, all that its tasks started."""
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _failure(kind: Any, error: BaseException) -> TaskFailure:
    python_type = type(error)
    name = python_type.__qualname__
    if python_type.__module__ not in ("builtins", "meshwit.codec"):
        name = f"{python_type.__module__}.{name}"
    try:
        message = str(error)
    except BaseException as worse:
        message = f"(its message cannot be shown: {type(worse).__name__})"
    if isinstance(error, SystemExit):
        message = f"the activity called sys.exit({message})"
    return TaskFailure(kind, name, message[:_MESSAGE_CHARS_MAX], _traceback(error.__traceback__))


_OWN_FOLDER: Final = os.path.dirname(os.path.abspath(__file__))


def _traceback(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace, limit=-200)
    mine = [each for each in frames if os.path.dirname(each.filename) != _OWN_FOLDER]
    return "".join(traceback.format_list(mine[-_TRACEBACK_FRAMES_MAX:]))


def _named(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def _die_with_pool(lifeline: int) -> None:
    """Have the kernel kill our process group when the pool's process ends: nothing is ever written to that pipe."""
    if sys.platform == "linux" and lifeline >= 0:
        fcntl = importlib.import_module("fcntl")
        with contextlib.suppress(OSError):
            fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
            fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def main() -> None:
    """Become a worker: move the pipes out of the way of user code, then serve."""
    config = msgspec.json.decode(sys.argv[1], type=WorkerConfig)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_pool(config.lifeline)
    fd_in, fd_out = os.dup(0), os.dup(1)
    if sys.platform == "win32":
        msvcrt = importlib.import_module("msvcrt")
        msvcrt.setmode(fd_in, os.O_BINARY)
        msvcrt.setmode(fd_out, os.O_BINARY)
    sys.argv[1:] = []
    sys.path[:] = config.path
    if config.python_path is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = config.python_path
    capture = Capture(Path(config.capture))
    faulthandler.enable(capture.fd, all_threads=False)
    Worker(config, capture, fd_in, fd_out).serve()


if __name__ == "__main__":
    main()
