"""Messages with large buffers over frames of limited size. Core.

A frame on Channel.JOB is a `message` or a `piece`. The buffers of a message, and its header if that is long, go before
it as streams of pieces; the message names them. So a message is complete when it is there, buffers are received into
memory of their final size, and one writer may put small messages between the pieces of a large one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from meshwit.codec import Buffer
from meshwit.peer.letters import Letter

MESSAGE: Final = 0
PIECE: Final = 1
PIECE_BYTES: Final = 512 * 1024
"""A frame may have 1 MiB; shorter ones let messages between them leave sooner."""
HEADER_BYTES_MAX: Final = 64 * 1024
"""A longer header goes as a stream."""
STREAMS_MAX: Final = 65_536
_PIECE: Final = struct.Struct("<BIQ")
"""Kind, stream, size of the whole stream."""
_MESSAGE: Final = struct.Struct("<B")


class Parcel(msgspec.Struct, frozen=True):
    """A message and the buffers beside it."""

    message: Letter
    buffers: Sequence[Buffer] = ()


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """A message as it crosses: which streams are its buffers, and which, if any, its header."""

    message: Letter
    streams: list[int] = []
    header: int = -1


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Envelope)


class Packer:
    """Makes frames of messages; one for each link."""

    def __init__(self) -> None:
        self._stream = 0

    def frames(self, message: Letter, buffers: Sequence[Buffer] = ()) -> Iterator[bytes]:
        """The frames of a message, in their order."""
        streams = []
        for buffer in buffers:
            yield from self._pieces(buffer)
            streams.append(self._stream)
        header = -1
        long = getattr(message, "header", b"")
        if len(long) > HEADER_BYTES_MAX:
            yield from self._pieces(long)
            header = self._stream
            message = msgspec.structs.replace(message, header=b"")
        yield b"\0" + _encoder.encode(Envelope(message, streams, header))

    def _pieces(self, buffer: Buffer) -> Iterator[bytes]:
        self._stream = (self._stream + 1) % 2**32
        view = memoryview(buffer).cast("B")
        for at in range(0, max(1, view.nbytes), PIECE_BYTES):
            yield _PIECE.pack(PIECE, self._stream, view.nbytes) + view[at : at + PIECE_BYTES]


class TransferError(Exception):
    """A peer sent what cannot be: it broke the rules."""


class Unpacker:
    """Makes messages of frames; one for each link.

    Args:
        bytes_max: of all streams that no message has named yet.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._streams: dict[int, bytearray] = {}
        self._filled: dict[int, int] = {}

    def receive(self, frame: bytes) -> Parcel | None:
        """Take a frame; the message that it completes, if it does. Raises TransferError."""
        kind = frame[0] if frame else -1
        if kind == MESSAGE:
            return self._message(memoryview(frame)[1:])
        if kind != PIECE or len(frame) < _PIECE.size:
            raise TransferError("a frame of no known kind")
        self._piece(frame)
        return None

    def _piece(self, frame: bytes) -> None:
        _, stream, size = _PIECE.unpack_from(frame)
        whole = self._streams.get(stream)
        if whole is None:
            if self._bytes + size > self._bytes_max or len(self._streams) >= STREAMS_MAX:
                raise TransferError(f"more than {self._bytes_max} bytes under way")
            whole = self._streams[stream] = bytearray(size)
            self._filled[stream] = 0
            self._bytes += size
        at, data = self._filled[stream], memoryview(frame)[_PIECE.size :]
        if size != len(whole) or at + len(data) > size:
            raise TransferError("a stream longer than it said")
        whole[at : at + len(data)] = data
        self._filled[stream] = at + len(data)

    def _message(self, payload: memoryview) -> Parcel:
        try:
            envelope = _decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise TransferError(f"no message of a job: {error}") from None
        buffers = [self._taken(stream) for stream in envelope.streams]
        message = envelope.message
        if envelope.header >= 0:
            if not hasattr(message, "header"):
                raise TransferError("a header for a message that has none")
            message = msgspec.structs.replace(message, header=bytes(self._taken(envelope.header)))
        return Parcel(message, buffers)

    def _taken(self, stream: int) -> bytearray:
        whole = self._streams.pop(stream, None)
        if whole is None or self._filled.pop(stream) != len(whole):
            raise TransferError("a message before its buffers")
        self._bytes -= len(whole)
        return whole
