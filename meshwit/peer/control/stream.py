"""The stream of events to one client: Server-Sent Events, as the HTML standard writes them.

A client that reads slower than events come is cut off: between the peer and it stand a queue of `queue_max` events
and the socket's own buffers, nothing else. It may call again and then sees the state of that moment.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import msgspec

from meshwit.peer.control.api import MeshEvent, PeerApi
from meshwit.peer.control.guard import Receive, Scope, Send

BEAT: Final = b": beat\n\n"
"""A comment, by which both ends notice that the other is gone."""
_HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"connection", b"close"),
)


class EventStream:
    """Answers `GET /v1/events`.

    Args:
        api: whose events.
        queue_max: events that may wait for one client.
        beat_s: after so long without an event a comment is sent.
        send_timeout_s: a client that takes nothing for so long is cut off.
        cut: closes the connection of a request at once, unsent bytes and all.
    """

    def __init__(
        self, api: PeerApi, queue_max: int, beat_s: float, send_timeout_s: float, cut: Callable[[Scope], None]
    ) -> None:
        self.api = api
        self.queue_max = queue_max
        self.beat_s = beat_s
        self.send_timeout_s = send_timeout_s
        self.cut = cut
        self._running: set[asyncio.Task[bool]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until either side has enough."""
        queue: asyncio.Queue[MeshEvent] = asyncio.Queue(self.queue_max)
        await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
        parts = [
            asyncio.create_task(self._take(queue)),
            asyncio.create_task(self._give(queue, send)),
            asyncio.create_task(_gone(receive)),
        ]
        self._running.update(parts)
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            ended_well = all(part.cancelled() or (part.exception() is None and part.result()) for part in done)
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            self._running.difference_update(parts)
        if not ended_well:
            self.cut(scope)
        with contextlib.suppress(OSError):
            await send({"type": "http.response.body", "body": b""})

    def end_all(self) -> None:
        """All streams end now, as they do when the peer stops."""
        for part in self._running:
            part.cancel()

    async def _take(self, queue: asyncio.Queue[MeshEvent]) -> bool:
        """Fill the queue; False when it is full, True when no more events come."""
        events = self.api.subscribe()
        try:
            async for event in events:
                if queue.full():
                    return False
                queue.put_nowait(event)
            await queue.join()  # what was told before the end is still to be sent
            return True
        finally:
            close = getattr(events, "aclose", None)
            if close is not None:
                await close()

    async def _give(self, queue: asyncio.Queue[MeshEvent], send: Send) -> bool:
        """Empty the queue into the connection; False if that takes too long."""
        await send({"type": "http.response.body", "body": BEAT, "more_body": True})
        while True:
            event = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.beat_s):
                    event = await queue.get()
            try:
                async with asyncio.timeout(self.send_timeout_s):
                    text = BEAT if event is None else as_text(event)
                    await send({"type": "http.response.body", "body": text, "more_body": True})
            except TimeoutError:
                return False
            if event is not None:
                queue.task_done()


async def _gone(receive: Receive) -> bool:
    """Ends when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
    return True


def as_text(event: MeshEvent) -> bytes:
    """An event as the stream writes it. JSON has no line breaks of its own."""
    kind = event.kind.encode() if event.kind.isidentifier() else b"message"
    return b"event: " + kind + b"\ndata: " + msgspec.json.encode(event) + b"\n\n"
