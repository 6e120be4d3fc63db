"""Questions and their answers: `rpcudp`, put right.

Corrected: a question is sent up to three times (the package sends once and waits 5 s), each wait follows the round
trip; an answer counts only from the node that was asked; a failing node is shunned; message ids come from the given
randomness; questions in flight are bounded; missing attributes are errors, not remote calls.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from rpcudp.protocol import RPCProtocol

from meshwit.dht.messages import (
    HEAD_BYTES,
    MESSAGE_ID_BYTES,
    Request,
    decode_answer,
    encode_request,
)
from meshwit.dht.round_trips import RoundTrips, ShunList
from meshwit.dht.routing import Address, Contact
from meshwit.dht.settings import DirectorySettings

Answered = Callable[[Contact, Any], None]
"""Told the answer, or None where none came."""


class _Call:
    """One question in flight."""

    __slots__ = ("answered", "attempt", "datagram", "form", "node", "sent_at", "stalled", "timer")

    def __init__(
        self, node: Contact, request: Request, datagram: bytes, answered: Answered, stalled: Callable[[], None] | None
    ) -> None:
        self.node = node
        self.form = type(request)
        self.datagram = datagram
        self.answered = answered
        self.stalled = stalled
        self.attempt = 0
        self.sent_at = 0.0
        self.timer: asyncio.TimerHandle | None = None


class PatientProtocol(RPCProtocol):  # type: ignore[misc]
    """Asks with patience; what is asked of us is served by the subclass."""

    def __init__(
        self, send: Callable[[Address, bytes], None], rng: random.Random, settings: DirectorySettings, *rest: Any
    ) -> None:
        super().__init__(*rest)
        self.settings = settings
        self.rng = rng
        self.round_trips = RoundTrips(settings)
        self.shunned = ShunList(settings)
        self.send = send
        self.closed = False
        self._outstanding: dict[bytes, _Call] = {}

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def failed(self, node: Contact) -> None:
        """All tries went unanswered."""
        self.shunned.add(node, self.now())

    def now(self) -> float:
        """Seconds of the running loop; 0 where none runs yet, as when a directory is made."""
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:
            return 0.0

    def begin(
        self, node: Contact, request: Request, answered: Answered, stalled: Callable[[], None] | None = None
    ) -> None:
        """Ask a node.

        `answered` is told in a later turn of the loop, once; `stalled` as soon as the first try went unanswered, so
        that a lookup need not stand still for it.
        """
        if self.closed or len(self._outstanding) >= self.settings.calls_max:
            asyncio.get_running_loop().call_soon(answered, node, None)
            return
        message_id = self.rng.randbytes(MESSAGE_ID_BYTES)
        call = _Call(node, request, encode_request(message_id, request), answered, stalled)
        self._outstanding[message_id] = call
        self._transmit(message_id, call)

    def ask(self, node: Contact, request: Request) -> asyncio.Future[Any]:
        """Like `begin`, to be awaited; None where no answer came."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answered(_: Contact, answer: Any) -> None:
            if not future.done():
                future.set_result(answer)

        self.begin(node, request, answered)
        return future

    def take_answer(self, sender: bytes, datagram: bytes) -> Contact | None:
        """An answer came; returns who was asked, None if nobody asked for it. Raises MalformedError."""
        message_id = datagram[1:HEAD_BYTES]
        call = self._outstanding.get(message_id)
        if call is None or call.node.id != sender:
            return None
        answer = decode_answer(call.form, datagram[HEAD_BYTES:])
        del self._outstanding[message_id]
        if call.timer is not None:
            call.timer.cancel()
        if call.attempt == 0:
            # Only then is it known which try was answered (Karn's rule).
            self.round_trips.took(call.node.id, self.now() - call.sent_at)
        asyncio.get_running_loop().call_soon(call.answered, call.node, answer)
        return call.node

    def close(self) -> None:
        """Nothing is waited for any longer; all who wait are told that no answer came."""
        self.closed = True
        calls = list(self._outstanding.values())
        self._outstanding.clear()
        for call in calls:
            if call.timer is not None:
                call.timer.cancel()
            call.answered(call.node, None)

    def _transmit(self, message_id: bytes, call: _Call) -> None:
        loop = asyncio.get_running_loop()
        call.sent_at = loop.time()
        wait_s = self.round_trips.try_s(call.node.id, call.attempt)
        call.timer = loop.call_later(wait_s, self._timeout, message_id)
        self.send(call.node.address, call.datagram)

    def _timeout(self, msg_id: bytes) -> None:
        call = self._outstanding.get(msg_id)
        if call is None:
            return
        call.attempt += 1
        if call.attempt < self.settings.tries:
            self._transmit(msg_id, call)
            if call.attempt == 1 and call.stalled is not None:
                call.stalled()
            return
        del self._outstanding[msg_id]
        self.failed(call.node)
        call.answered(call.node, None)
