"""The way of job messages to one other peer, and back. Shell.

One writer: a message goes out at once where its frames fit the link's queue; otherwise it waits behind those before it,
and a task writes them as the link takes them. What waits is bounded by what leaders may give and peers may hold.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from meshwit.codec import Buffer
from meshwit.peer.letters import Letter
from meshwit.peer.wire.frames import Channel
from meshwit.peer.work.transfer import Frame, Packer, Parcel, PlaceBuffer, TransferError, Unpacker, ViewSegment

UNFINISHED_BYTES_MAX: Final = 2 * 1024**3
"""Of buffers whose message has not come."""
_log = logging.getLogger(__name__)


class Way(Protocol):
    """A link, as far as it is needed here."""

    def send(self, channel: int, payload: bytes, rest: Buffer = b"") -> bool:
        """Queue a message, with what follows in it; False if the queue is full or the link has ended."""
        ...

    async def drain(self) -> None:
        """Wait until there is room, or the link has ended."""

    def fail(self, why: str) -> None:
        """End the link: what was said on it is lost."""


class Route:
    """See the module.

    Args:
        place: puts large buffers where the other sees them, without the link.
        view: looks at buffers that the other has put so.
    """

    def __init__(self, way: Way, place: PlaceBuffer = lambda _: None, view: ViewSegment | None = None) -> None:
        self._way = way
        self._packer = Packer(place)
        self._unpacker = Unpacker(UNFINISHED_BYTES_MAX, view)
        self._queue: deque[Iterator[Frame]] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._closed = False

    def send(self, message: Letter, buffers: Sequence[Buffer] = ()) -> None:
        """Send a message after those before it; `buffers` must stay as they are."""
        if self._closed:
            return
        self._queue.append(self._packer.frames(message, buffers))
        if self._pump is None:
            rest = self._write()
            if rest is not None:
                self._pump = asyncio.get_running_loop().create_task(self._write_on(rest))

    def send_now(self, message: Letter) -> None:
        """Send a small message before all that waits; where the link is full it is lost."""
        if not self._closed:
            for frame in self._packer.frames(message):
                self._way.send(Channel.JOB, *frame)

    def receive(self, frame: bytes) -> Parcel | None:
        """A frame came; the message that it completes. Raises TransferError and GoneError."""
        return self._unpacker.receive(frame)

    def close(self) -> None:
        """The link has ended."""
        self._closed = True
        self._queue.clear()
        if self._pump is not None:
            self._pump.cancel()

    def _write(self) -> Frame | None:
        """Write what the link takes; the frame that it did not take."""
        while self._queue:
            try:
                for frame in self._queue[0]:
                    if not self._way.send(Channel.JOB, *frame):
                        return frame
            except TransferError as reason:
                _log.error("%s", reason)
            self._queue.popleft()
        return None

    async def _write_on(self, rest: Frame | None) -> None:
        try:
            while rest is not None and not self._closed:
                await self._way.drain()
                if not self._way.send(Channel.JOB, *rest):
                    if getattr(self._way, "ended", None) is not None:
                        return
                    await asyncio.sleep(0.001)
                    continue
                rest = self._write()
        finally:
            self._pump = None
