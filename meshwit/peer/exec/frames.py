"""Frames on a pipe: ``[message size: u32][inline size: u32][message][inline buffers]``, little endian.

Each inline buffer begins at a multiple of 16 bytes of the inline part, so that arrays over it are aligned. Large
buffers should not be here at all but in a segment; inline is the way out where no segment can be had.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final

from meshwit.peer.exec.messages import Place

PREFIX: Final = struct.Struct("<II")
FRAME_BYTES_MAX: Final = 1 << 30
_ALIGNMENT: Final = 16


class FrameError(ValueError):
    """A frame beyond the limit, or places that do not fit its inline part."""


def frame(message: bytes, inline: Sequence[memoryview] = ()) -> list[bytes | memoryview]:
    """Return the pieces to write, in order. Raises FrameError beyond `FRAME_BYTES_MAX`."""
    if not inline:
        if len(message) > FRAME_BYTES_MAX:
            raise FrameError(f"a message of {len(message):,} bytes is over the limit of {FRAME_BYTES_MAX:,}")
        return [PREFIX.pack(len(message), 0) + message]
    pieces: list[bytes | memoryview] = []
    size = 0
    for view in inline:
        pieces.append(view)
        padding = -view.nbytes % _ALIGNMENT
        if padding:
            pieces.append(bytes(padding))
        size += view.nbytes + padding
    if size + len(message) > FRAME_BYTES_MAX:
        raise FrameError(f"a message with {size:,} bytes of data is over the limit of {FRAME_BYTES_MAX:,}")
    return [PREFIX.pack(len(message), size) + message, *pieces]


def split_inline(places: Sequence[Place], inline: memoryview) -> Iterator[memoryview]:
    """Yield the inline buffers of those places, in order. Raises FrameError where they do not fit."""
    offset = 0
    for place in places:
        if isinstance(place, int):
            if place < 0 or offset + place > inline.nbytes:
                raise FrameError(f"a buffer of {place} bytes does not fit in a frame of {inline.nbytes}")
            yield inline[offset : offset + place]
            offset += place + -place % _ALIGNMENT


class FrameReader:
    """Cuts a stream of bytes into frames; needs no I/O."""

    __slots__ = ("_buffer", "_wanted")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._wanted = PREFIX.size

    def feed(self, data: bytes) -> list[tuple[bytes, memoryview]]:
        """Return the frames completed by ``data``: message and inline part. Raises FrameError."""
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._wanted:
                return []
            data = bytes(self._buffer)
            self._buffer = bytearray()
        frames: list[tuple[bytes, memoryview]] = []
        start, end = 0, len(data)
        while True:
            if end - start < PREFIX.size:
                self._wanted = PREFIX.size
                break
            message_size, inline_size = PREFIX.unpack_from(data, start)
            if message_size + inline_size > FRAME_BYTES_MAX:
                raise FrameError(f"a frame of {message_size + inline_size:,} bytes is over the limit")
            size = PREFIX.size + message_size + inline_size
            if end - start < size:
                self._wanted = size
                break
            body = start + PREFIX.size
            inline = memoryview(data[body + message_size : start + size]) if inline_size else _EMPTY
            frames.append((data[body : body + message_size], inline))
            start += size
        if start < end:
            self._buffer = bytearray(data[start:])
        return frames


_EMPTY: Final = memoryview(b"")
