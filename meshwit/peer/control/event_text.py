"""Reads the text of an event stream, as it comes in pieces (WHATWG HTML, Server-sent events)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from meshwit.peer.control.api import MeshEvent

WAITING_BYTES_MAX: Final = 1024 * 1024
"""Of an event that has not ended."""


class EventReader:
    """Gives events, and None for each comment. What is no event of ours is passed over."""

    def __init__(self) -> None:
        self._waiting = b""

    def receive(self, text: bytes) -> Iterator[MeshEvent | None]:
        """What is whole by now. Raises ValueError if an event has no end."""
        *blocks, self._waiting = (self._waiting + text).split(b"\n\n")
        if len(self._waiting) > WAITING_BYTES_MAX:
            raise ValueError(f"an event of the stream has more than {WAITING_BYTES_MAX} bytes")
        for block in blocks:
            lines = block.split(b"\n")
            data = b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))
            if not data:
                yield None
                continue
            try:
                yield msgspec.json.decode(data, type=MeshEvent)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
