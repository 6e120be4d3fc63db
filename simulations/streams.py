"""Reliable streams between two hosts: in order, nothing lost, stalling and closing as TCP does.

A lost segment comes 0.2 s later, then 0.4 s, and so on (the least retransmission time-out of common systems; that
later segments may hasten it is left out, so streams here are rather slower than real ones), after three seconds at
most: by then later ones have, or the losses are over. Over a cut way, the first message in the queue is tried again
with pauses that double up to two minutes: a stream that stalled for minutes stays stalled for minutes after the way is
back, as it does in truth.
"""

from __future__ import annotations

import zlib
from collections import deque
from typing import Final

from simulations.hosts import Host, Process
from simulations.ways import Ways

SEGMENT_OVERHEAD_BYTES: Final = 40
"""IPv4 and TCP headers, of data and of the acknowledgement alike."""
RETRY_FIRST_S: Final = 0.2
LOST_PAUSE_S_MAX: Final = 1.6
RETRY_S_MAX: Final = 120.0
STALL_S_MAX: Final = 900.0
"""After which a system gives a stream up (Linux: 15 retransmissions)."""
ORPHANED_S_MAX: Final = 50.0
"""After which it gives up telling the other side that a stream was closed."""
QUEUED_BYTES_MAX: Final = 8 * 1024 * 1024


class StreamEnd:
    """One side's end of a stream.

    Attributes:
        host: whose end it is.
        process: who is told.
        other: the end on the other side.
        dialed: whether this side dialed.
        open: neither closed here nor told to be closed.
    """

    __slots__ = (
        "_queue",
        "_queued_bytes",
        "_retry_s",
        "_stalled_at",
        "_ways",
        "dialed",
        "host",
        "open",
        "other",
        "process",
    )

    other: StreamEnd

    def __init__(self, ways: Ways, host: Host, process: Process, dialed: bool) -> None:
        self.host = host
        self.process = process
        self.dialed = dialed
        self.open = True
        self._ways = ways
        self._queue: deque[tuple[float, bytes | None, int, str]] = deque()
        self._queued_bytes = 0
        self._retry_s = RETRY_FIRST_S
        self._stalled_at = -1.0
        host.ends[self] = None

    def __repr__(self) -> str:
        return f"{self.host.index}-{self.other.host.index}"

    def send(self, payload: bytes, size: int | None = None) -> bool:
        """Sends one message; `size` is what it has on the line before TCP and IP. False if closed or full."""
        size = len(payload) if size is None else size
        if not self.open or self._queued_bytes + size > QUEUED_BYTES_MAX:
            return False
        simulation = self._ways.simulation
        simulation.note(f"stream {self!r} {size} {zlib.crc32(payload):08x}")
        self._push(payload, size, "")
        return True

    def close(self, reason: str = "closed") -> None:
        """Closes it after what was sent; the other side is told, if it can be."""
        if self.open:
            self.drop()
            self._push(None, 0, reason)

    def drop(self) -> None:
        """Forgets the stream on this side only; the other learns of it when it sends."""
        self.open = False
        self.host.ends.pop(self, None)

    # --- on its way ----------------------------------------------------------------------------------------------

    def _push(self, payload: bytes | None, size: int, reason: str) -> None:
        ways, source, target = self._ways, self.host, self.other.host
        conditions = ways.conditions_between(source, target)
        on_line = size + SEGMENT_OVERHEAD_BYTES
        source.traffic.messages_out += payload is not None
        source.traffic.bytes_out += on_line
        target.traffic.bytes_out += SEGMENT_OVERHEAD_BYTES
        delay = ways.delay_s(source, conditions, on_line)
        pause = RETRY_FIRST_S
        while ways.lost(source, target, conditions) and pause <= LOST_PAUSE_S_MAX:
            source.traffic.bytes_out += on_line
            delay += pause
            pause *= 2
        ready = ways.simulation.now + delay
        self._queued_bytes += size
        self._queue.append((ready, payload, size, reason))
        if len(self._queue) == 1:
            ways.simulation.at(ready, self._head_arrives)

    def _head_arrives(self) -> None:
        """Delivers the first of the queue, or waits."""
        ways, target = self._ways, self.other.host
        simulation = ways.simulation
        if not self._queue:
            return
        if not ways.reachable(self.host, target):
            self._stall()
            return
        if target.frozen_until > simulation.now:
            simulation.at(target.frozen_until, self._head_arrives)
            return
        self._retry_s = RETRY_FIRST_S
        self._stalled_at = -1.0
        _, payload, size, reason = self._queue.popleft()
        self._queued_bytes -= size
        if self._queue:
            simulation.at(max(simulation.now, self._queue[0][0]), self._head_arrives)
        self._deliver(payload, size, reason)

    def _deliver(self, payload: bytes | None, size: int, reason: str) -> None:
        other = self.other
        if payload is None:
            other._told_closed(reason)
        elif other.open:
            other.host.traffic.messages_in += 1
            other.host.traffic.bytes_in += size + SEGMENT_OVERHEAD_BYTES
            other.process.stream_received(other, payload)
        elif self.open and self._ways.reachable(other.host, self.host):
            # Nobody holds the other end any more: the system answers with a reset.
            conditions = self._ways.conditions_between(other.host, self.host)
            delay = self._ways.delay_s(other.host, conditions, SEGMENT_OVERHEAD_BYTES)
            self._ways.simulation.after(delay, self._told_closed, "closed")

    def _stall(self) -> None:
        simulation = self._ways.simulation
        if self._stalled_at < 0:
            self._stalled_at = simulation.now
        if simulation.now - self._stalled_at > (STALL_S_MAX if self.open else ORPHANED_S_MAX):
            self._queue.clear()
            self._told_closed("timeout")
            return
        simulation.after(self._retry_s, self._head_arrives)
        self._retry_s = min(2 * self._retry_s, RETRY_S_MAX)

    def _told_closed(self, reason: str) -> None:
        if self.open:
            self.drop()
            self._queue.clear()
            self.process.stream_closed(self, reason)


def open_stream(ways: Ways, source: Host, target: Host) -> tuple[StreamEnd, StreamEnd]:
    """Both ends of a new stream; on both hosts somebody must listen."""
    assert source.process is not None
    assert target.process is not None
    ours = StreamEnd(ways, source, source.process, dialed=True)
    theirs = StreamEnd(ways, target, target.process, dialed=False)
    ours.other, theirs.other = theirs, ours
    return ours, theirs
