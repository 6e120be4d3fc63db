"""One joining over one connection: carries bytes between a machine of `trust.joining` and its stream."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from meshwit.peer.trust.join_effects import Effect, SendMessage
from meshwit.peer.wire.endings import LinkError
from meshwit.peer.wire.join_stream import JoinStream


class Machine(Protocol):
    """A `Joiner` or an `Admitter`."""

    def receive(self, raw: bytes, now: float) -> list[Effect]:
        """One message of the other side."""

    def tick(self, now: float) -> list[Effect]:
        """The deadline has come."""

    def next_deadline(self) -> float | None:
        """When; None if it is over."""


class Conversation:
    """Runs one machine.

    Args:
        perform: does what is not sending.
    """

    def __init__(self, machine: Machine, stream: JoinStream, perform: Callable[[Effect], None]) -> None:
        self._machine = machine
        self._stream = stream
        self._perform = perform

    @property
    def ended(self) -> bool:
        """Whether either side has hung up."""
        return self._stream.ended

    def perform(self, effects: list[Effect]) -> None:
        """Does what the machine wants, and hangs up when it is over; also for effects that come of what people say."""
        for effect in effects:
            if isinstance(effect, SendMessage):
                self._stream.send(effect.raw)
            else:
                self._perform(effect)
        if self._machine.next_deadline() is None:
            self._stream.close()

    async def run(self, first: list[Effect]) -> None:
        """Until it is over; closes the stream. Raises LinkError if the other side goes before that."""
        try:
            self.perform(first)
            while (deadline := self._machine.next_deadline()) is not None:
                try:
                    raw = await self._stream.receive(max(0.0, deadline - time.time()))
                except LinkError as error:
                    if error.kind != "timeout":
                        raise
                    self.perform(self._machine.tick(time.time()))
                else:
                    self.perform(self._machine.receive(raw, time.time()))
        finally:
            self._stream.close()

    def close(self) -> None:
        """Hangs up; `run` raises then."""
        self._stream.close()
