"""Messages with large buffers over frames of limited size. Core.

A frame on Channel.JOB is a `message` or a `piece`. The buffers of a message, and its header if that is long, go before
it as streams of pieces; the message names them. What is left of a message that is too long for a frame itself goes as
one more stream, and a frame that names it. So a message is complete when it is there, and one writer may put small
messages between the pieces of a large one. A piece is a head and a view of its buffer: nothing is copied to send it. A
buffer that the receiver can see in memory is not sent at all: the message names where it lies.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

import msgspec

from meshwit.codec import Buffer
from meshwit.peer.exec.messages import SegmentRef
from meshwit.peer.letters import Letter

MESSAGE: Final = 0
PIECE: Final = 1
LONG_MESSAGE: Final = 2
PIECE_BYTES: Final = 512 * 1024
"""A frame may have 1 MiB; shorter ones let messages between them leave sooner."""
PIECE_BYTES_MIN: Final = 64 * 1024
"""Of all but the last of a stream: what is kept of shorter ones would be more than they hold."""
HEADER_BYTES_MAX: Final = 64 * 1024
"""A longer header goes as a stream."""
MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of what is no buffer and no header: names of blobs, lists of items, events. Read, it is eight times as large."""
STREAMS_MAX: Final = 65_536
_PIECE: Final = struct.Struct("<BIQ")
"""Kind, stream, size of the whole stream."""
_LONG_MESSAGE: Final = struct.Struct("<BI")
"""Kind, stream."""


PlaceBuffer: TypeAlias = Callable[[Buffer], SegmentRef | None]
"""Puts a buffer where the receiver sees it; None where it has to be sent."""
ViewSegment: TypeAlias = Callable[[SegmentRef], Buffer]
"""What lies there. Raises ValueError where nothing does."""


Frame: TypeAlias = tuple[bytes, Buffer]
"""What goes out in one frame: its head, and what follows that."""


class Parcel(msgspec.Struct, frozen=True):
    """A message and the buffers beside it."""

    message: Letter
    buffers: Sequence[Buffer] = ()


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """A message as it crosses: which streams are its buffers, and which, if any, its header.

    Attributes:
        placed: buffers that were not sent: by their place among all, where they lie.
    """

    message: Letter
    streams: list[int] = []
    header: int = -1
    placed: dict[int, SegmentRef] = {}


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Envelope)


class Packer:
    """Makes frames of messages; one for each link."""

    def __init__(self, place: PlaceBuffer = lambda _: None) -> None:
        self._place = place
        self._stream = 0

    def frames(self, message: Letter, buffers: Sequence[Buffer] = ()) -> Iterator[Frame]:
        """The frames of a message, in their order, each in two parts. Raises TransferError where it
        is longer than any may be."""
        streams = []
        placed: dict[int, SegmentRef] = {}
        for number, buffer in enumerate(buffers):
            ref = self._place(buffer)
            if ref is not None:
                placed[number] = ref
                continue
            yield from self._pieces(buffer)
            streams.append(self._stream)
        header = -1
        long = getattr(message, "header", b"")
        if len(long) > HEADER_BYTES_MAX:
            yield from self._pieces(long)
            header = self._stream
            message = msgspec.structs.replace(message, header=b"")
        envelope = _encoder.encode(Envelope(message, streams, header, placed))
        if len(envelope) > MESSAGE_BYTES_MAX:
            raise TransferError(f"a {type(message).__name__} of {len(envelope)} bytes cannot be sent")
        if len(envelope) <= PIECE_BYTES:
            yield b"\0" + envelope, b""
        else:
            yield from self._pieces(envelope)
            yield _LONG_MESSAGE.pack(LONG_MESSAGE, self._stream), b""

    def _pieces(self, buffer: Buffer) -> Iterator[Frame]:
        self._stream = (self._stream + 1) % 2**32
        view = memoryview(buffer).cast("B")
        for at in range(0, max(1, view.nbytes), PIECE_BYTES):
            yield _PIECE.pack(PIECE, self._stream, view.nbytes), view[at : at + PIECE_BYTES]


class TransferError(Exception):
    """A peer sent what cannot be: it broke the rules."""


class GoneError(Exception):
    """What a peer put into memory is not to be had any more: it may have died, and its message is lost."""


class _Stream:
    """A buffer that comes in. Its pieces stay as they came until all are here: to make room for it before is to write
    it twice."""

    __slots__ = ("missing", "pieces", "size")

    def __init__(self, size: int) -> None:
        self.size = self.missing = size
        self.pieces: list[memoryview] = []


class Unpacker:
    """Makes messages of frames; one for each link.

    Args:
        bytes_max: of all streams that no message has named yet.
        view: looks at buffers that were not sent.
    """

    def __init__(self, bytes_max: int, view: ViewSegment | None = None) -> None:
        self._bytes_max = bytes_max
        self._view = view
        self._bytes = 0
        self._streams: dict[int, _Stream] = {}

    def receive(self, frame: bytes) -> Parcel | None:
        """Take a frame; the message that it completes, if it does. Raises TransferError and GoneError."""
        kind = frame[0] if frame else -1
        if kind == MESSAGE:
            return self._message(memoryview(frame)[1:])
        if kind == LONG_MESSAGE and len(frame) == _LONG_MESSAGE.size:
            (_, stream) = _LONG_MESSAGE.unpack(frame)
            known = self._streams.get(stream)
            if known is not None and known.size > MESSAGE_BYTES_MAX:
                raise TransferError(f"a message of more than {MESSAGE_BYTES_MAX} bytes")
            return self._message(memoryview(self._taken(stream)).cast("B"))
        if kind != PIECE or len(frame) < _PIECE.size:
            raise TransferError("a frame of no known kind")
        self._piece(frame)
        return None

    def _piece(self, frame: bytes) -> None:
        _, stream, size = _PIECE.unpack_from(frame)
        known = self._streams.get(stream)
        if known is None:
            if self._bytes + size > self._bytes_max or len(self._streams) >= STREAMS_MAX:
                raise TransferError(f"more than {self._bytes_max} bytes under way")
            known = self._streams[stream] = _Stream(size)
            self._bytes += size
        data = memoryview(frame)[_PIECE.size :]
        if size != known.size or len(data) > known.missing or (known.pieces and not known.missing):
            raise TransferError("a stream longer than it said")
        if len(data) < min(PIECE_BYTES_MIN, known.missing):
            raise TransferError("a stream in crumbs")
        known.pieces.append(data)
        known.missing -= len(data)

    def _message(self, payload: memoryview) -> Parcel:
        try:
            envelope = _decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise TransferError(f"no message of a job: {error}") from None
        sent = (self._taken(stream) for stream in envelope.streams)
        placed = envelope.placed
        count = len(envelope.streams) + len(placed)
        if any(not 0 <= number < count for number in placed):
            raise TransferError("buffers that are no buffers of the message")
        buffers = [self._seen(placed[number]) if number in placed else next(sent) for number in range(count)]
        message = envelope.message
        if envelope.header >= 0:
            if not hasattr(message, "header"):
                raise TransferError("a header for a message that has none")
            message = msgspec.structs.replace(message, header=bytes(self._taken(envelope.header)))
        return Parcel(message, buffers)

    def _seen(self, ref: SegmentRef) -> Buffer:
        if self._view is None:
            raise TransferError("memory that is not shared")
        try:
            return self._view(ref)
        except ValueError as reason:
            raise GoneError(str(reason)) from None

    def _taken(self, stream: int) -> Buffer:
        known = self._streams.pop(stream, None)
        if known is None or known.missing:
            raise TransferError("a message before its buffers")
        self._bytes -= known.size
        return known.pieces[0] if len(known.pieces) == 1 else b"".join(known.pieces)
