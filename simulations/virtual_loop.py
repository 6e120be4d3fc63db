"""An asyncio loop in virtual time, and a network of datagrams for what runs in it.

The loop never waits: where nothing is ready, time jumps to the next timer. Timers and ready callbacks keep asyncio's
own order, so a run repeats exactly as long as the code in it draws chance from seeds and iterates over no set of
tasks. It opens no socket. Cores belong on the event heap (`engine`), which is faster; this is for asyncio shells.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from meshwit.ids import PeerId

Address = tuple[str, int]
T = TypeVar("T")
Received = Callable[[PeerId, Address, bytes], None]
PAYLOAD_BYTES_MAX: Final = 1200


class LoopStuckError(RuntimeError):
    """Everybody waits and no timer will ever wake them."""


class _NoSelector:
    """Stands where a loop waits for sockets; only time passes."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[object]:
        if timeout is None:
            raise LoopStuckError(f"at {self._loop.time()} s all wait for ever")
        self._loop.pass_time(timeout)
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop; `time()` is virtual seconds since its start."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = _NoSelector(self)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def pass_time(self, seconds: float) -> None:
        """Time jumps."""
        if seconds > 0:
            self._now += seconds

    def _process_events(self, event_list: list[object]) -> None:
        """There are no events besides timers."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector."""


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class DatagramNetwork:
    """Carries datagrams late, or not at all; to and from the dead, never.

    Attributes:
        loss: share of datagrams lost.
        delay_s: of one way; at least, and the mean of what comes on top (exponential, at most tenfold).
        note: told of each delivery.
        sent: datagrams by sender's address, with their bytes.
        too_long: datagrams beyond 1,200 bytes; there must be none.
    """

    def __init__(
        self,
        rng: random.Random,
        loss: float = 0.0,
        delay_s: tuple[float, float] = (0.005, 0.010),
        note: Callable[[str], None] | None = None,
    ) -> None:
        self.loss = loss
        self.delay_s = delay_s
        self.sent: dict[Address, tuple[int, int]] = {}
        self.too_long = 0
        self._rng = rng
        self.note = note
        self._hosts: dict[Address, tuple[PeerId, Received]] = {}
        self._blocked: set[Address] = set()

    @property
    def round_trip_s(self) -> float:
        """Its mean."""
        return 2 * sum(self.delay_s)

    def attach(self, peer: PeerId, address: Address, received: Received) -> Callable[[Address, bytes], None]:
        """A host comes up; returns how it sends."""
        self._hosts[address] = (peer, received)

        def send(to: Address, payload: bytes) -> None:
            self._send(peer, address, to, payload)

        return send

    def kill(self, address: Address) -> None:
        """A host is gone without a word."""
        self._hosts.pop(address, None)

    def block(self, address: Address, blocked: bool = True) -> None:
        """All datagrams to and from a host are dropped, or no longer."""
        (self._blocked.add if blocked else self._blocked.discard)(address)

    def total(self) -> tuple[int, int]:
        """Datagrams and bytes sent by all."""
        return sum(each[0] for each in self.sent.values()), sum(each[1] for each in self.sent.values())

    def _send(self, peer: PeerId, source: Address, to: Address, payload: bytes) -> None:
        if source not in self._hosts:
            return
        count, size = self.sent.get(source, (0, 0))
        self.sent[source] = (count + 1, size + len(payload))
        if len(payload) > PAYLOAD_BYTES_MAX:
            self.too_long += 1
        if self._rng.random() < self.loss:
            return
        least, mean = self.delay_s
        delay_s = least + min(self._rng.expovariate(1 / mean), 10 * mean) if mean else least
        asyncio.get_running_loop().call_later(delay_s, self._deliver, peer, source, to, payload)

    def _deliver(self, peer: PeerId, source: Address, to: Address, payload: bytes) -> None:
        host = self._hosts.get(to)
        if host is None or source in self._blocked or to in self._blocked:
            return
        if self.note is not None:
            self.note(f"{source[0]}>{to[0]} {payload.hex()}")
        host[1](peer, source, payload)
