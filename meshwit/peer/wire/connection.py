"""One TLS connection: frames in, frames out, with limits on both. Shell.

Out: one writer. What is sent within one turn of the event loop leaves as one write; while the transport is full,
frames wait in a queue of limited size. In: frames are handed to the owner one by one as he takes them; while anything
holds the input, reading stops and TCP slows the sender. Who reads (the handshake, then a link or a join stream) may
change between two frames of one chunk.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from meshwit.peer.wire.addresses import Address, from_socket
from meshwit.peer.wire.endings import LinkEnd
from meshwit.peer.wire.frames import HEADER_BYTES, Channel, FrameParser, Payload, WireFrameError, frame_header
from meshwit.peer.wire.settings import LinkSettings
from meshwit.peer.wire.stats import Traffic

WRITE_BYTES: Final = 64 * 1024
"""How much is joined into one write, and how much the transport may hold."""
_BURST_S: Final = 1.0
"""Input above its rate is taken for this long before reading pauses."""


class Owner(Protocol):
    """Who reads a connection."""

    def frame_received(self, connection: Connection, channel: int, payload: bytes) -> None:
        """The next frame."""

    def connection_ended(self, connection: Connection, end: LinkEnd) -> None:
        """Nothing more comes, and nothing that waited leaves. Called once."""


class Nobody:
    """Reads nothing: the owner until TLS is there."""

    def frame_received(self, connection: Connection, channel: int, payload: bytes) -> None:
        """Nothing may come yet."""
        connection.fail(LinkEnd("protocol", "nobody reads here", local=True))

    def connection_ended(self, connection: Connection, end: LinkEnd) -> None:
        """Nobody minds."""


class Connection(asyncio.Protocol):
    """One connection, from TLS up.

    Args:
        settings: the limits.
        outgoing: whether this side dialled.
        ready: called when TLS is there; sets the owner.
        closed: called once when the connection is gone for good, also if TLS never was there.

    Attributes:
        owner: who reads.
        parser: `parser.only` says which channel is open before membership is proved.
        id: names it among those of the same two peers; 8 bytes of the client's nonce.
        remote: the other end.
        end: why nothing more comes; None while something may.
    """

    def __init__(
        self,
        settings: LinkSettings,
        outgoing: bool,
        ready: Callable[[Connection], None],
        closed: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        self.owner: Owner = Nobody()
        self.parser = FrameParser(Channel.HANDSHAKE)
        self.id = b""
        self.outgoing = outgoing
        self.remote: Address = ("", 0)
        self.traffic = Traffic()
        self.end: LinkEnd | None = None
        self._settings = settings
        self._ready = ready
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._queue: deque[Payload] = deque()
        self._queued = 0
        self._flushing = False
        self._paused = False
        self._finishing = False
        self._holds = 0
        self._delivering = False
        self._input_due = 0.0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._waiters: list[asyncio.Future[None]] = []

    # --- transport ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        name = transport.get_extra_info("peername")
        if name:
            self.remote = from_socket(name)
        transport.set_write_buffer_limits(high=WRITE_BYTES)
        if self.end is not None:
            transport.abort()
        else:
            self._ready(self)

    def tls(self) -> Any:
        """The SSL object of the transport, None without TLS."""
        return self._transport.get_extra_info("ssl_object") if self._transport is not None else None

    def data_received(self, data: bytes) -> None:
        if self.end is not None or self._finishing:
            return
        self.traffic.bytes_in += len(data)
        before = self.traffic.messages_in
        self.parser.feed(data)
        self._deliver()
        self._slow_down(len(data), self.traffic.messages_in - before)

    def eof_received(self) -> None:
        self._lost(LinkEnd("closed", "the connection was closed without a word"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(LinkEnd("closed", f"the connection broke: {exc}" if exc else "the connection was closed"))
        self._forget()

    def pause_writing(self) -> None:
        self._paused = True
        self._timer("stalled", self._settings.stalled_s, self._stalled)

    def resume_writing(self) -> None:
        self._paused = False
        self._cancel("stalled")
        self._flush()

    # --- out ---------------------------------------------------------------------------------------------------

    @property
    def queued_bytes(self) -> int:
        """What has not left this process yet."""
        transport = self._transport
        return self._queued + (transport.get_write_buffer_size() if transport is not None and self.end is None else 0)

    def send(self, channel: int, payload: Payload, rest: Payload = b"", *, always: bool = False) -> bool:
        """Queues a frame of `payload` and `rest`; False if the queue is full or the connection ends.

        With `always` the queue may be full. Neither must be changed any more. Raises ValueError if they are too long
        for their channel.
        """
        size = _bytes_of(payload) + _bytes_of(rest)
        header = frame_header(channel, size)
        if self._finishing or self.end is not None:
            return False
        if self._queued + size > self._settings.output_bytes_max and not always:
            return False
        self._queue.append(header)
        self._queue.append(payload)
        if rest:
            self._queue.append(rest)
        self._queued += HEADER_BYTES + size
        self.traffic.sent(HEADER_BYTES + size)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        return True

    async def drain(self) -> None:
        """Waits until half of the queue is free, or the connection has ended."""
        if self._queued > self._settings.output_bytes_max // 2 and self.end is None:
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def finish(self) -> None:
        """Closes once what waits is sent, at the latest after `close_s`. Nothing is taken or sent from now on."""
        if self._transport is None:
            self.abort()
        elif not self._finishing and not self._gone.done():
            self._finishing = True
            self._timer("close", self._settings.close_s, self.abort)
            self._flush()

    def abort(self) -> None:
        """Closes at once."""
        self._finishing = True
        self._queue.clear()
        self._queued = 0
        self._lost(LinkEnd("closed", "closed here", local=True))
        if self._transport is not None:
            self._transport.abort()
        else:
            self._forget()

    def fail(self, end: LinkEnd) -> None:
        """Closes at once for a reason of ours, which the owner is told."""
        self._lost(end)
        self.abort()

    async def closed(self) -> None:
        """Waits until it is gone for good."""
        await asyncio.shield(self._gone)

    def _flush(self) -> None:
        self._flushing = False
        transport = self._transport
        if transport is None:
            return
        queue = self._queue
        while queue and not self._paused:
            batch: list[Payload] = []
            size = 0
            while queue and size < WRITE_BYTES:
                piece = queue.popleft()
                length = _bytes_of(piece)
                if length > WRITE_BYTES:  # in parts: the buffers of TLS grow badly
                    whole = memoryview(piece).cast("B")
                    queue.appendleft(whole[WRITE_BYTES:])
                    piece, length = whole[:WRITE_BYTES], WRITE_BYTES
                batch.append(piece)
                size += length
            self._queued -= size
            transport.write(batch[0] if len(batch) == 1 else b"".join(batch))
        if self._waiters and self._queued <= self._settings.output_bytes_max // 2:
            self._wake()
        if self._finishing and not queue and not transport.is_closing():
            transport.close()

    def _stalled(self) -> None:
        self.fail(LinkEnd("timeout", f"it took nothing for {self._settings.stalled_s:g} s", local=True))

    # --- in ----------------------------------------------------------------------------------------------------

    def hold(self) -> None:
        """Hands over nothing more until `release`; holds add up."""
        self._holds += 1
        if self._holds == 1 and self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def release(self) -> None:
        """Takes one hold back."""
        self._holds -= 1
        if self._holds == 0:
            self._deliver()
            if self._holds == 0 and self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()

    def _deliver(self) -> None:
        if self._delivering:
            return
        self._delivering = True
        try:
            while not self._holds and self.end is None and not self._finishing:
                frame = self.parser.next_frame()
                if frame is None:
                    break
                self.traffic.messages_in += 1
                self.owner.frame_received(self, *frame)
        except WireFrameError as error:
            self.fail(LinkEnd("protocol", str(error), local=True))
        finally:
            self._delivering = False

    def _slow_down(self, size: int, messages: int) -> None:
        """Reading rests until what came is due at the rate allowed."""
        settings, now = self._settings, self._loop.time()
        cost_s = size / settings.input_bytes_per_s + messages / settings.input_messages_per_s
        self._input_due = max(self._input_due, now - _BURST_S) + cost_s
        if self._input_due > now and "rate" not in self._timers and self.end is None:
            self.hold()
            self._timer("rate", self._input_due - now, self._rested)

    def _rested(self) -> None:
        self._timers.pop("rate", None)
        self.release()

    # --- end ---------------------------------------------------------------------------------------------------

    def _lost(self, end: LinkEnd) -> None:
        if self.end is not None:
            return
        if "rate" in self._timers and not end.local and self._holds == 1:
            self._cancel("rate")
            self._holds = 0
            self._deliver()
            if self.end is not None:
                return
        self.end = end
        self._cancel("stalled")
        self._cancel("rate")
        self._queue.clear()
        self._queued = 0
        self._wake()
        self.owner.connection_ended(self, end)

    def _forget(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if not self._gone.done():
            self._gone.set_result(None)
            self._closed(self)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def _timer(self, name: str, after_s: float, callback: Callable[[], None]) -> None:
        self._cancel(name)
        self._timers[name] = self._loop.call_later(after_s, callback)

    def _cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()


def _bytes_of(payload: Payload) -> int:
    return payload.nbytes if isinstance(payload, memoryview) else len(payload)
