"""One stream over one WebSocket, at the peer: items in, outcomes out, both at the same time.

The client may have so many bytes of items without an outcome, and no more: what a client can make the peer hold is
bounded. The stream is cancelled when the connection ends before it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from meshwit.codec import Codec, CodecError
from meshwit.peer.control.api import StreamRun
from meshwit.peer.control.job_messages import (
    MESSAGE_BYTES_MAX,
    UNACKNOWLEDGED_BYTES_MAX,
    Accepted,
    Cancel,
    CloseStream,
    Items,
    Outcomes,
    StreamEnded,
    ToPeer,
    encode,
)
from meshwit.peer.job.steps import TaskFault

Outcome = tuple[int, Any | TaskFault]

OUTCOMES_MAX: Final = 1024
OUTCOMES_BYTES: Final = 32 * 1024 * 1024
"""Of one message, unless a single value is larger."""
_ROOM: Final = 64 * 1024
"""For what a message holds besides values."""


class StreamMisused(Exception):  # noqa: N818  it is an answer
    """The client broke a rule; says which."""


class Told:
    """Outcomes on their way to the client."""

    def __init__(self) -> None:
        self.waiting: deque[Outcome] = deque()
        self.changed = asyncio.Event()

    def put(self, outcomes: list[Outcome]) -> None:
        """Never blocks, never raises: it is called in the middle of leading."""
        self.waiting += outcomes
        self.changed.set()


async def serve_stream(
    stream: StreamRun,
    told: Told,
    codec: Codec,
    receive: Callable[[], Awaitable[ToPeer]],
    send: Callable[[bytes], Awaitable[None]],
) -> None:
    """Serve it to its end. Raises what `receive` and `send` raise, and StreamMisused."""
    held: dict[int, int] = {}
    reading = asyncio.create_task(_read(stream, held, codec, receive))
    telling = asyncio.create_task(_tell(stream, told, held, codec, send))
    try:
        await asyncio.wait((reading, telling), return_when=asyncio.FIRST_COMPLETED)
        await (telling if telling.done() else reading)
    except BaseException:
        stream.cancel()
        raise
    finally:
        reading.cancel()
        telling.cancel()
        await asyncio.gather(reading, telling, return_exceptions=True)


async def _read(
    stream: StreamRun, held: dict[int, int], codec: Codec, receive: Callable[[], Awaitable[ToPeer]]
) -> None:
    """Ends by raising only."""
    expected = 0
    closed = False
    while True:
        match await receive():
            case Items() as message:
                if closed or message.first != expected:
                    raise StreamMisused(f"items {message.first} on are not expected")
                if sum(held.values()) > UNACKNOWLEDGED_BYTES_MAX:
                    raise StreamMisused("too many items without an outcome")
                size = len(message.header) + sum(each.nbytes for each in message.buffers)
                try:
                    items = codec.decode(message.header, message.buffers)
                except CodecError as reason:
                    raise StreamMisused(f"items cannot be read: {reason}") from None
                if not isinstance(items, list):
                    raise StreamMisused("items are a list")
                held.update(dict.fromkeys(range(expected, expected + len(items)), size // max(1, len(items))))
                expected += len(items)
                stream.append(items)
            case CloseStream():
                closed = True
                stream.close()
            case Cancel():
                closed = True
                stream.cancel()
            case other:
                raise StreamMisused(f"{type(other).__name__} in the middle of a stream")


async def _tell(
    stream: StreamRun, told: Told, held: dict[int, int], codec: Codec, send: Callable[[bytes], Awaitable[None]]
) -> None:
    await send(encode(Accepted(stream.id, stream.slots)))
    ending = asyncio.create_task(stream.ended())
    ending.add_done_callback(lambda _: told.changed.set())
    try:
        while True:
            if not told.waiting:
                if ending.done():
                    await send(encode(StreamEnded(ending.result())))
                    return
                told.changed.clear()
                await told.changed.wait()
                continue
            some = [told.waiting.popleft() for _ in range(min(OUTCOMES_MAX, len(told.waiting)))]
            for message in await asyncio.to_thread(outcomes_messages, some, codec, stream.slots):
                await send(message)
            for number, _ in some:
                held.pop(number, None)
    finally:
        ending.cancel()


def outcomes_messages(outcomes: Sequence[Outcome], codec: Codec, slots: int) -> list[bytes]:
    """Outcomes as messages of a moderate size. A value that cannot cross has failed."""
    failures = {number: value for number, value in outcomes if isinstance(value, TaskFault)}
    values = [None if number in failures else value for number, value in outcomes]
    numbers = [number for number, _ in outcomes]
    try:
        header, buffers = codec.encode(values)
        size = len(header) + sum(each.nbytes for each in buffers)
        if len(outcomes) == 1 and size > MESSAGE_BYTES_MAX - _ROOM:
            raise CodecError(f"the value takes {size:,} bytes, at most {MESSAGE_BYTES_MAX:,}: make it a blob")
    except CodecError as reason:
        if len(outcomes) == 1:
            return outcomes_messages([(numbers[0], TaskFault("unencodable", str(reason)))], codec, slots)
        size = MESSAGE_BYTES_MAX
    if len(outcomes) > 1 and size > OUTCOMES_BYTES:
        half = len(outcomes) // 2
        return outcomes_messages(outcomes[:half], codec, slots) + outcomes_messages(outcomes[half:], codec, slots)
    return [encode(Outcomes(numbers, header, buffers, failures, slots))]
