"""A simulated network: datagrams, dials and streams between hosts, in virtual time.

Datagrams are delayed, lost, doubled and overtaken by chance. Streams (`streams.py`) keep their order and lose nothing,
but stall as TCP does. Paths are cut in one direction or both. A host can be unplugged (nothing comes or goes, nobody
is told), its process killed (its streams close, dials are refused) or frozen (all waits, as under SIGSTOP or a lid
that closes for a moment). Nothing here knows what the bytes mean.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

from simulations.hosts import DialFailure, Host
from simulations.streams import SEGMENT_OVERHEAD_BYTES, StreamEnd, open_stream
from simulations.ways import Ways

DATAGRAM_OVERHEAD_BYTES: Final = 28
"""IPv4 and UDP headers."""
DIAL_BYTES: Final = 1_800
"""What each side sends until a TLS connection with its proofs of membership stands."""
SYN_RETRY_S: Final = 1.0
"""A lost SYN is sent again after a second (RFC 6298), then after two."""


class Network(Ways):
    """Sends, dials, and ends processes."""

    def kill(self, host: Host) -> None:
        """The process ends at once; the system closes its streams and refuses dials from now on."""
        self.simulation.note(f"killed {host.name}")
        host.process = None
        for end in list(host.ends):
            end.close("closed")

    # --- datagrams -----------------------------------------------------------------------------------------------

    def send(self, source: Host, target: Host, payload: bytes, size: int | None = None) -> None:
        """Sends one datagram; `size` is what it has on the line before IP and UDP, if not the payload's."""
        size = (len(payload) if size is None else size) + DATAGRAM_OVERHEAD_BYTES
        traffic = source.traffic
        traffic.datagrams_out += 1
        traffic.bytes_out += size
        conditions = self.conditions_between(source, target)
        simulation = self.simulation
        fate = "lost"
        if self.reachable(source, target) and not self.lost(source, target, conditions):
            delay = self.delay_s(source, conditions, size)
            rng = self.rng
            if conditions.reordering and rng.random() < conditions.reordering:
                delay += rng.random() * conditions.reordering_s
            simulation.at(simulation.now + delay, self._arrive, source, target, payload, size)
            fate = "sent"
            if conditions.duplication and rng.random() < conditions.duplication:
                delay = self.delay_s(source, conditions, size)
                simulation.at(simulation.now + delay, self._arrive, source, target, payload, size)
                fate = "doubled"
        simulation.note(f"{fate} {source.index}>{target.index} {size} {zlib.crc32(payload):08x}")

    def _arrive(self, source: Host, target: Host, payload: bytes, size: int) -> None:
        if not target.plugged:
            return
        if target.frozen_until > self.simulation.now:
            self.simulation.at(target.frozen_until, self._arrive, source, target, payload, size)
            return
        target.traffic.datagrams_in += 1
        target.traffic.bytes_in += size
        if target.process is not None:
            target.process.datagram_received(source, payload)

    # --- dials ---------------------------------------------------------------------------------------------------

    def legs_s(self, source: Host, target: Host, count: int, retry_s: float) -> float:
        """How long that many packets to and fro take, lost ones sent again after a pause that doubles."""
        conditions = self.conditions_between(source, target)
        total = 0.0
        for _ in range(count):
            pause = retry_s
            while self.lost(source, target, conditions) and pause < 60:
                total += pause
                pause *= 2
            total += self.delay_s(source, conditions, SEGMENT_OVERHEAD_BYTES)
        return total

    def dial(
        self, source: Host, target: Host, answered: Callable[[StreamEnd | DialFailure], None], limit_s: float = 1.0
    ) -> None:
        """Asks for a stream to whoever listens on target.

        `answered` is called once: with the end of the stream after two round trips, REFUSED after one if nobody
        listens, UNREACHABLE when `limit_s` is over; never if the process that dialed is gone by then. While the way is
        cut it is tried again after pauses that double.
        """
        source.traffic.dials += 1
        simulation = self.simulation
        simulation.note(f"dial {source.index}>{target.index}")
        dialer = source.process
        began = simulation.now

        def answer(what: StreamEnd | DialFailure) -> None:
            if source.process is not dialer or dialer is None:
                return
            if source.frozen_until > simulation.now:
                simulation.at(source.frozen_until, answer, what)
                return
            simulation.note(f"dialed {source.index}>{target.index} {what}")
            answered(what)

        def fail() -> None:
            answer(DialFailure.UNREACHABLE)

        def syn(pause_s: float) -> None:
            if self._both_ways(source, target):
                plan(self.legs_s(source, target, 1, SYN_RETRY_S), lambda: syn_arrived(pause_s))
            else:
                plan(pause_s, lambda: syn(2 * pause_s))

        def syn_arrived(pause_s: float) -> None:
            if not self._both_ways(source, target):
                plan(pause_s, lambda: syn(2 * pause_s))
            elif target.process is None:
                simulation.after(self.legs_s(target, source, 1, SYN_RETRY_S), answer, DialFailure.REFUSED)
            else:
                rest = self.legs_s(source, target, 3, 0.2) + max(0.0, target.frozen_until - simulation.now)
                plan(rest, established)

        def established() -> None:
            dialed = source.process is dialer and dialer is not None
            if dialed and target.process is not None and self._both_ways(source, target):
                answer(self._establish(source, target))
            elif dialed:
                simulation.at(max(simulation.now, began + limit_s), fail)

        def plan(delay_s: float, then: Callable[[], None]) -> None:
            """Whatever takes longer than the limit ends with it."""
            late = simulation.now + delay_s >= began + limit_s
            simulation.at(began + limit_s if late else simulation.now + delay_s, fail if late else then)

        syn(SYN_RETRY_S)

    def _both_ways(self, one: Host, other: Host) -> bool:
        return self.reachable(one, other) and self.reachable(other, one)

    def _establish(self, source: Host, target: Host) -> StreamEnd:
        assert target.process is not None
        ours, theirs = open_stream(self, source, target)
        for host in (source, target):
            host.traffic.bytes_out += DIAL_BYTES
            host.traffic.bytes_in += DIAL_BYTES
        self.simulation.at(self.simulation.now, target.process.stream_accepted, theirs)
        return ours
