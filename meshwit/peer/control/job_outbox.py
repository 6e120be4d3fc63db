"""What is still to be told about a job to whoever follows it: bounded, and forgetful where that does no harm.

Of how far a Grid step is and of what the worker processes do only the newest word waits: a slow reader misses what is
superseded anyway. All else is kept, in order, up to a number of bytes; a reader that lets more than that wait is given
up.
"""

from __future__ import annotations

import asyncio
import itertools

from meshwit.events import JobEvent, LanesChanged, Progressed
from meshwit.peer.control.job_messages import happened


class ReaderTooSlow(Exception):  # noqa: N818  it is an ending
    """More waits than may."""


class Outbox:
    """Messages on their way to one reader.

    Args:
        bytes_max: may wait.
    """

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._waiting: dict[object, bytes] = {}
        self._bytes = 0
        self._numbers = itertools.count()
        self._ended = False
        self._overflowed = False
        self._changed = asyncio.Event()

    def put(self, event: JobEvent) -> None:
        """Have an event told. Never blocks, never raises: it is called in the middle of leading a job."""
        if self._ended:
            return
        match event:
            case Progressed():
                key: object = ("progress", event.step)
            case LanesChanged():
                key = "lanes"
            case _:
                key = next(self._numbers)
        self._put(key, happened(event))

    def say(self, message: bytes) -> None:
        """Have a message told in its turn, as `put` does an event."""
        if not self._ended:
            self._put(next(self._numbers), message)

    def _put(self, key: object, message: bytes) -> None:
        self._bytes -= len(self._waiting.pop(key, b""))
        self._waiting[key] = message
        self._bytes += len(message)
        if self._bytes > self.bytes_max:
            self._waiting.clear()
            self._overflowed = self._ended = True
        self._changed.set()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._changed.set()

    async def next(self) -> bytes | None:
        """The next message; None after the last. Raises ReaderTooSlow."""
        while True:
            if self._overflowed:
                raise ReaderTooSlow
            if self._waiting:
                key = next(iter(self._waiting))
                message = self._waiting.pop(key)
                self._bytes -= len(message)
                return message
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
