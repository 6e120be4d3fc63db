"""Runs a handshake on a connection. Shell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import assert_never

from meshwit.peer.wire.connection import Connection
from meshwit.peer.wire.endings import LinkEnd, LinkError
from meshwit.peer.wire.frames import Channel
from meshwit.peer.wire.handshake import (
    ClientHandshake,
    Effect,
    HandshakeFailed,
    HandshakeState,
    Proved,
    SendPayload,
    ServerHandshake,
)


class Setup:
    """A connection on its way to a link or a join stream.

    Args:
        connection: which; this becomes its owner.
        handshake: the own side of it.
        timeout_s: until when it must be over.
        proved: called once when it succeeds, before another frame is read; must give the connection an owner.
        failed: called once when it does not; the connection closes.
        may_prove: asked before a client proves itself; False gives up without a word.
    """

    def __init__(
        self,
        connection: Connection,
        handshake: ClientHandshake | ServerHandshake,
        timeout_s: float,
        proved: Callable[[Setup, Proved], None],
        failed: Callable[[LinkError], None],
        may_prove: Callable[[Setup], bool] = lambda _: True,
    ) -> None:
        self.connection = connection
        self.handshake = handshake
        self.proof_sent = False
        self.over = False
        self._proved = proved
        self._failed = failed
        self._may_prove = may_prove
        self._timeout_s = timeout_s
        self._timer = asyncio.get_running_loop().call_later(timeout_s, self._late)
        connection.owner = self
        if isinstance(handshake, ClientHandshake):
            self._perform(handshake.start())

    def frame_received(self, connection: Connection, channel: int, payload: bytes) -> None:
        """The next message of the other side."""
        self._perform(self.handshake.receive(payload))

    def connection_ended(self, connection: Connection, end: LinkEnd) -> None:
        """It broke off on the way."""
        if end.kind == "protocol":
            self._fail(LinkError("protocol", f"it breaks the rules: {end.reason}"))
        else:
            self._fail(LinkError("unreachable", "the connection broke off while it was set up"))

    def give_up(self, error: LinkError) -> None:
        """Closes without a word."""
        self._fail(error)
        self.connection.abort()

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case SendPayload(payload):
                    if (
                        isinstance(self.handshake, ClientHandshake)
                        and self.handshake.state is HandshakeState.AWAIT_READY
                    ):
                        if not self._may_prove(self):
                            return
                        self.proof_sent = True
                    self.connection.send(Channel.HANDSHAKE, payload)
                case Proved():
                    self._finish()
                    self.connection.id = self.handshake.connection_id
                    self._proved(self, effect)
                case HandshakeFailed(kind, message, hint):
                    self._fail(LinkError(kind, message, hint))  # first: closing may tell that the connection ended
                    self.connection.finish()
                case _ as never:
                    assert_never(never)

    def _late(self) -> None:
        self.give_up(LinkError("timeout", f"the handshake took longer than {self._timeout_s:g} s"))

    def _finish(self) -> None:
        self.over = True
        self._timer.cancel()

    def _fail(self, error: LinkError) -> None:
        if not self.over:
            self._finish()
            self._failed(error)
