"""Who watches the mesh through this peer, and what is told to them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Final

from meshwit.peer.control.api import MeshEvent

WAITING_MAX: Final = 256
"""Events that wait for one watcher; one that is so far behind is cut off."""


class Watchers:
    """Hands events to all who iterate over `subscribe()`."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[MeshEvent | None]] = set()
        self._closed = False

    def tell(self, kind: str, text: str, peer: str = "") -> None:
        """Something has happened."""
        event = MeshEvent(kind=kind, peer=peer, text=text, time=time.time())
        for queue in list(self._queues):
            if queue.qsize() >= WAITING_MAX:
                self._queues.discard(queue)
                queue.put_nowait(None)
            else:
                queue.put_nowait(event)

    def subscribe(self) -> AsyncIterator[MeshEvent]:
        """Events from now on; ends with the peer, or when they are not taken."""
        queue: asyncio.Queue[MeshEvent | None] = asyncio.Queue()
        if self._closed:
            queue.put_nowait(None)
        else:
            self._queues.add(queue)
        return self._events(queue)

    async def _events(self, queue: asyncio.Queue[MeshEvent | None]) -> AsyncIterator[MeshEvent]:
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._queues.discard(queue)

    def close(self) -> None:
        """Ends all, and whoever comes later at once."""
        self._closed = True
        for queue in self._queues:
            queue.put_nowait(None)
        self._queues.clear()
