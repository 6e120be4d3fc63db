"""Frames: how messages lie in a stream. Core.

A frame is 4 bytes of length (big-endian, of what follows), 1 byte of channel, the payload. Each channel has a limit; a
frame longer than that is an error as soon as its first five bytes are there, so nothing is kept of it. What is kept is
one chunk of input, or the pieces of one frame that is not complete. Channels that are not known are kept to the common
limit and handed over like others: a newer peer may have more of them than we do.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final, TypeAlias

Payload: TypeAlias = bytes | bytearray | memoryview


class Channel(IntEnum):
    """What a frame is about, and so who reads it."""

    HANDSHAKE = 0
    SESSION = 1
    GOSSIP = 2
    MEMBERSHIP = 3
    DIRECTORY = 4
    JOB = 5
    BLOB = 6
    JOIN = 7
    DEVICE = 8


HEADER_BYTES: Final = 5
PAYLOAD_BYTES_MAX: Final = 1024 * 1024
"""Of a channel without a limit of its own."""
LIMITS: Final[Mapping[int, int]] = {
    Channel.HANDSHAKE: 16 * 1024,
    Channel.SESSION: 16 * 1024,
    Channel.GOSSIP: 256 * 1024,
    Channel.JOIN: 16 * 1024,
    Channel.DEVICE: 512 * 1024,
}
"""Payload bytes by channel, where they are fewer."""


class WireFrameError(Exception):
    """The bytes are no frame that is allowed here: the peer broke the rules."""


def payload_bytes_max(channel: int) -> int:
    """How long a payload may be on that channel."""
    return LIMITS.get(channel, PAYLOAD_BYTES_MAX)


def frame_header(channel: int, payload_bytes: int) -> bytes:
    """The five bytes before a payload. Raises ValueError if it is longer than its channel allows."""
    if payload_bytes > payload_bytes_max(channel):
        raise ValueError(f"{payload_bytes} bytes are too many for one frame: {payload_bytes_max(channel)} are allowed")
    return (payload_bytes + 1).to_bytes(4, "big") + bytes((channel,))


class FrameParser:
    """Takes chunks, gives frames one by one.

    Attributes:
        only: the single channel that is allowed, None for all: what comes before proof of membership is HANDSHAKE.
    """

    def __init__(self, only: int | None = None) -> None:
        self.only = only
        self._chunk: bytes = b""
        self._at = 0
        self._pieces: list[bytes] = []
        self._channel = 0
        self._missing = 0

    @property
    def buffered_bytes(self) -> int:
        """What is kept: the rest of a chunk, and the beginning of a frame."""
        return len(self._chunk) - self._at + sum(map(len, self._pieces))

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes of the stream."""
        at = 0
        if self._missing:
            at = min(self._missing, len(chunk))
            self._pieces.append(chunk if at == len(chunk) else chunk[:at])
            self._missing -= at
            if self._missing:
                return
        if self._at == len(self._chunk):
            self._chunk, self._at = chunk, at
        else:
            self._chunk, self._at = self._chunk[self._at :] + chunk[at:], 0

    def next_frame(self) -> tuple[int, bytes] | None:
        """The next frame as channel and payload, None when more bytes are needed. Raises FrameError."""
        if self._pieces:
            if self._missing:
                return None
            payload = b"".join(self._pieces)
            self._pieces.clear()
            return self._channel, payload
        chunk, at = self._chunk, self._at
        if len(chunk) - at < HEADER_BYTES:
            return None
        length = int.from_bytes(chunk[at : at + 4], "big")
        channel = chunk[at + 4]
        if length < 1:
            raise WireFrameError("a frame of no length")
        if self.only is not None and channel != self.only:
            raise WireFrameError(f"a frame on channel {channel}, which is not open")
        if length - 1 > payload_bytes_max(channel):
            raise WireFrameError(f"a frame of {length} bytes on channel {channel}, more than are allowed")
        end = at + 4 + length
        if end > len(chunk):
            self._channel, self._missing = channel, end - len(chunk)
            self._pieces = [chunk[at + HEADER_BYTES :]]
            self._chunk, self._at = b"", 0
            return None
        self._at = end
        return channel, chunk[at + HEADER_BYTES : end]
