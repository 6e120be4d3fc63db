"""The event stream for whoever lives in an event loop: the dashboard, tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from meshwit.peer.control.api import MeshEvent
from meshwit.peer.control.client import NoAnswerError
from meshwit.peer.control.event_text import EventReader
from meshwit.peer.control.runtime_file import RuntimeFile

SILENCE_S: Final = 60.0
"""The peer sends a sign of life more often than that."""


async def events(runtime: RuntimeFile) -> AsyncIterator[MeshEvent | None]:
    """Events as they come, None for each sign of life; ends when the peer stops. Raises NoAnswerError."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", runtime.port)
    except OSError as error:
        raise NoAnswerError("the peer does not answer any more", str(error)) from None
    parsed = EventReader()
    try:
        writer.write(
            f"GET /v1/events HTTP/1.0\r\nHost: 127.0.0.1:{runtime.port}\r\n"  # 1.0: the answer comes unchunked
            f"Authorization: Bearer {runtime.token}\r\n\r\n".encode()
        )
        async with asyncio.timeout(SILENCE_S):
            head = await reader.readuntil(b"\r\n\r\n")
        if head.split(b" ", 2)[1:2] != [b"200"]:
            raise NoAnswerError("the peer refuses its events", head.split(b"\r\n")[0].decode(errors="replace"))
        while True:
            async with asyncio.timeout(SILENCE_S):
                text = await reader.read(65536)
            if not text:
                return
            for event in parsed.receive(text):
                yield event
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        raise NoAnswerError("the stream of events broke off", str(error)) from None
    finally:
        writer.transport.abort()
