"""A stream that the peer of this device leads, seen from the program that gives the items.

One thread sends, one reads: the peer is always listened to, so that neither waits for the other. What has no outcome
yet is bounded in bytes as in items, and whoever submits more does not wait: it waits in the stream.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Final

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from meshwit.codec import Codec, CodecError
from meshwit.peer.control import job_client
from meshwit.peer.control.client import ControlClient
from meshwit.peer.control.job_messages import (
    MESSAGE_BYTES_MAX,
    UNACKNOWLEDGED_BYTES_MAX,
    Accepted,
    Cancel,
    CloseStream,
    Items,
    OpenStream,
    Outcomes,
    StreamEnded,
    encode,
)
from meshwit.streams import Entry, Stream, StreamEndedError

ITEMS_BYTES: Final = 4 * 1024 * 1024
"""Of one message, as far as the items before tell."""
ITEMS_MAX: Final = 1024
_ROOM: Final = 64 * 1024


def open_stream(client: ControlClient, asked: OpenStream, codec: Codec) -> Stream:
    """Have a peer lead a stream.

    Raises:
        OtherVersionError: the peer leads none; nothing was started.
        NoAnswerError: it is not there.
        PeerError: it refuses, or is gone before it has answered.
        ValueError: it finds that the activity cannot be called so.
    """
    connection = job_client.opened(client)
    try:
        answer = job_client.answer(connection, asked)
        if not isinstance(answer, Accepted):
            raise job_client.refused(answer)
        return RemoteStream(connection, codec, answer.slots)
    except BaseException:
        connection.close()
        raise


class RemoteStream(Stream):
    """See the module."""

    def __init__(self, connection: ClientConnection, codec: Codec, slots: int) -> None:
        super().__init__(slots)
        self._connection = connection
        self._codec = codec
        self._signal = threading.Event()
        self._sizes: dict[int, int] = {}
        self._bytes_out = 0
        self._item_bytes = _ROOM
        for work in (self._write, self._read):
            threading.Thread(target=work, name="meshwit stream", daemon=True).start()

    def _wake(self) -> None:
        self._signal.set()

    # --- the thread that sends -----------------------------------------------------------------------------------

    def _write(self) -> None:
        with contextlib.suppress(ConnectionClosed):  # the other thread tells that
            while True:
                self._signal.wait()
                self._signal.clear()
                if self._over is not None:
                    return
                if self._cancelled:
                    self._connection.send(encode(Cancel()))
                    return
                while self._bytes_out <= UNACKNOWLEDGED_BYTES_MAX:
                    entries = self._take(max(1, min(ITEMS_MAX, ITEMS_BYTES // self._item_bytes)))
                    if not entries:
                        break
                    self._send(entries)
                if self._all_left():
                    self._connection.send(encode(CloseStream()))
                    return

    def _send(self, entries: list[Entry]) -> None:
        try:
            header, buffers = self._codec.encode([entry.item for entry in entries])
            size = len(header) + sum(each.nbytes for each in buffers)
            if size > MESSAGE_BYTES_MAX - _ROOM:
                raise CodecError(f"the item takes {size:,} bytes, at most {MESSAGE_BYTES_MAX:,}: give it as a blob")
        except (CodecError, OSError) as reason:
            if len(entries) == 1:
                self._reject(entries[0], reason)
                return
            for entry in entries:
                self._send([entry])
            return
        self._item_bytes = max(1, size // len(entries))
        first = self._launch(entries)
        with self._lock:
            self._sizes.update(dict.fromkeys(range(first, first + len(entries)), size // len(entries)))
            self._bytes_out += size // len(entries) * len(entries)
        self._connection.send(encode(Items(first, header, buffers)))

    # --- the thread that reads -----------------------------------------------------------------------------------

    def _read(self) -> None:
        why: Exception | None
        try:
            why = self._follow()
        except ConnectionClosed as closed:
            why = job_client.lost(closed)
        except Exception as bug:  # the values are of no type that is known here, or there is a fault on either side
            hint = "the peer may be of another version: restart it"
            why = job_client.PeerLostError(f"what the peer tells of the stream cannot be read: {bug}", hint)
        self._ended(why)
        self._signal.set()
        self._connection.close()

    def _follow(self) -> Exception | None:
        while True:
            message = job_client.received(self._connection)
            match message:
                case Outcomes():
                    values = self._codec.decode(message.header, message.buffers)
                    with self._lock:
                        self._bytes_out -= sum(self._sizes.pop(number, 0) for number in message.numbers)
                    pairs = zip(message.numbers, values, strict=True)
                    self._came(
                        [(number, message.failures.get(number, value)) for number, value in pairs], message.slots
                    )
                    self._signal.set()
                case StreamEnded(why=why):
                    return StreamEndedError(why) if why else None
                case _:
                    raise ValueError(f"{type(message).__name__} in the middle of a stream")
