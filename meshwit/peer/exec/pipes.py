"""The pool's ends of the two pipes of a worker process, on an asyncio loop, by callbacks.

Where the loop can watch descriptors, reads and writes happen on the loop itself, without a task to be woken between a
message and its handling. Elsewhere (Windows) two threads per worker do the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, Protocol

_READ_BYTES: Final = 1 << 18
_WRITE_BYTES: Final = 1 << 20
_PIECES_MAX: Final = 64
"""Of one write; systems allow 1024."""

Piece = bytes | memoryview


class Pipes(Protocol):
    """Both directions of one worker process."""

    def send(self, pieces: Sequence[Piece]) -> None:
        """Write in order, without waiting; dropped where the other end is gone."""
        ...

    def read_rest(self) -> None:
        """Hand over what has arrived by now: for when the process is gone but others hold its pipe open."""
        ...

    def close(self) -> None:
        """Close both ends; no callback comes after. May be called twice."""
        ...


def open_pipes(
    loop: asyncio.AbstractEventLoop,
    to_worker: int,
    from_worker: int,
    on_data: Callable[[bytes], None],
    on_end: Callable[[], None],
    *,
    threads: bool = sys.platform == "win32",
) -> Pipes:
    """Take over two descriptors; ``on_data`` and, once, ``on_end`` are called on the loop."""
    make = _ThreadPipes if threads else _LoopPipes
    return make(loop, to_worker, from_worker, on_data, on_end)


class _LoopPipes:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        to_worker: int,
        from_worker: int,
        on_data: Callable[[bytes], None],
        on_end: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._to_worker = to_worker
        self._from_worker = from_worker
        self._on_data = on_data
        self._on_end = on_end
        self._unsent: deque[memoryview] = deque()
        self._open = True
        os.set_blocking(to_worker, False)
        os.set_blocking(from_worker, False)
        loop.add_reader(from_worker, self._read)

    def send(self, pieces: Sequence[Piece]) -> None:
        if not self._open:
            return
        waiting = bool(self._unsent)
        self._unsent.extend(memoryview(piece) for piece in pieces if len(piece))
        if not waiting and not self._write():
            self._loop.add_writer(self._to_worker, self._write_more)

    def _write(self) -> bool:
        """Write as much as the pipe takes; whether that was all."""
        while self._unsent:
            try:
                sent = os.writev(self._to_worker, list(islice(self._unsent, _PIECES_MAX)))
            except BlockingIOError:
                return False
            except OSError:
                self._unsent.clear()  # gone: the reading end will tell
                return True
            while self._unsent and sent >= len(self._unsent[0]):
                sent -= len(self._unsent.popleft())
            if sent:
                self._unsent[0] = self._unsent[0][sent:]
        return True

    def _write_more(self) -> None:
        if self._write():
            self._loop.remove_writer(self._to_worker)

    def _read(self) -> None:
        if not self._read_some():
            self._loop.remove_reader(self._from_worker)
            self._on_end()

    def _read_some(self) -> bool:
        try:
            data = os.read(self._from_worker, _READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if data:
            self._on_data(data)
        return bool(data)

    def read_rest(self) -> None:
        with contextlib.suppress(OSError):
            while self._open and (data := os.read(self._from_worker, _READ_BYTES)):
                self._on_data(data)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._from_worker)
            self._loop.remove_writer(self._to_worker)
            self._unsent.clear()
            os.close(self._from_worker)
            os.close(self._to_worker)


class _ThreadPipes:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        to_worker: int,
        from_worker: int,
        on_data: Callable[[bytes], None],
        on_end: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._on_data = on_data
        self._on_end = on_end
        self._open = True
        self._outgoing: queue.SimpleQueue[Sequence[Piece] | None] = queue.SimpleQueue()
        for target, fd in ((self._read_all, from_worker), (self._write_all, to_worker)):
            threading.Thread(target=target, args=(fd,), daemon=True, name="meshwit-pipes").start()

    def send(self, pieces: Sequence[Piece]) -> None:
        self._outgoing.put(pieces)

    def read_rest(self) -> None:
        """Nothing to do: the thread reads until the end."""

    def close(self) -> None:
        if self._open:
            self._open = False
            self._outgoing.put(None)

    def _read_all(self, fd: int) -> None:
        data = b"-"
        with contextlib.suppress(OSError):
            while data:
                data = os.read(fd, _READ_BYTES)
                self._call(data)
        if data:
            self._call(b"")
        os.close(fd)

    def _write_all(self, fd: int) -> None:
        with contextlib.suppress(OSError):
            while (pieces := self._outgoing.get()) is not None:
                for piece in pieces:
                    view = memoryview(piece)
                    while view:
                        view = view[os.write(fd, view[:_WRITE_BYTES]) :]
        os.close(fd)

    def _call(self, data: bytes) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._arrived, data)

    def _arrived(self, data: bytes) -> None:
        if self._open:
            if data:
                self._on_data(data)
            else:
                self._on_end()
