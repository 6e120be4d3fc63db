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
from typing import Final, Protocol

_READ_BYTES: Final = 1 << 18
_WRITE_BYTES: Final = 1 << 20

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
        if self._unsent:
            self._unsent.extend(map(memoryview, pieces))
            return
        for index, piece in enumerate(pieces):
            view = memoryview(piece)
            sent = self._write(view)
            if sent < len(view):
                self._unsent.append(view[sent:])
                self._unsent.extend(map(memoryview, pieces[index + 1 :]))
                self._loop.add_writer(self._to_worker, self._write_more)
                return

    def _write(self, view: memoryview) -> int:
        sent = 0
        while sent < len(view):
            try:
                sent += os.write(self._to_worker, view[sent : sent + _WRITE_BYTES])
            except BlockingIOError:
                break
            except OSError:
                return len(view)  # gone: the reading end will tell
        return sent

    def _write_more(self) -> None:
        while self._unsent:
            view = self._unsent[0]
            sent = self._write(view)
            if sent < len(view):
                self._unsent[0] = view[sent:]
                return
            self._unsent.popleft()
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
