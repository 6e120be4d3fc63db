"""The link to one peer: one connection, for a moment two. Shell.

Two peers that dial each other at once make two connections. The one dialled by the lower id stays. The link is the same
object throughout, and it is not reported down: each side sends `Over` as its last message on the other connection,
`Switched` first on the one that stays if it had sent before, and reads the other to its `Over` before it reads on. When
both have said `Over` the connection is closed. So nothing is lost, nothing is doubled, the order holds. Should the
connection that was given up break before its `Over` was heard, something may be lost: the link ends, as `closed`.

Why both sides come to the same: a connection is proved at its server before its client. The side that sends `Over`
has both; the other has the one that stays already, or is its client and waits for the last message of its handshake.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeAlias, assert_never

from meshwit.peer.wire.addresses import Address
from meshwit.peer.wire.connection import Connection
from meshwit.peer.wire.endings import LinkEnd
from meshwit.peer.wire.frames import Channel, Payload
from meshwit.peer.wire.handshake import PeerInfo, printable
from meshwit.peer.wire.session import (
    Goodbye,
    LinkPing,
    Over,
    Pong,
    SessionMessage,
    Switched,
    decode_session,
    encode_session,
)
from meshwit.peer.wire.stats import Traffic

Handler: TypeAlias = Callable[["Link", bytes], None]
_LOG: Final = logging.getLogger(__name__)
_SMOOTHING: Final = 0.25
"""Weight of a new round trip against the old ones."""


class Keeper(Protocol):
    """Who holds all links."""

    def another_may_come(self, link: Link) -> bool:
        """Whether a second connection to the same peer, dialled here, may yet be proved."""

    def link_ended(self, link: Link, end: LinkEnd) -> None:
        """The link is over."""


class Link:
    """The way to one peer, while it lasts.

    Attributes:
        peer: whose link it is.
        info: what the peer said of itself at the handshake.
        address: where it can be dialled; if it dialled us, its host with the port on which it says it listens.
        round_trip_s: smoothed over the pings of `ping`; 0 until the first is answered.
        ended: how it ended, None while it lasts.
    """

    def __init__(
        self,
        connection: Connection,
        info: PeerInfo,
        outgoing_stays: bool,
        address: Address,
        handlers: Mapping[int, Handler],
        keeper: Keeper,
    ) -> None:
        self.peer = info.id
        self.info = info
        self.address = address
        self.round_trip_s = 0.0
        self.ended: LinkEnd | None = None
        self._current = connection
        self._retiring: Connection | None = None
        self._outgoing_stays = outgoing_stays
        self._handlers = handlers
        self._keeper = keeper
        self._past = Traffic()
        self._waiting = False
        self._heard: set[Connection] = set()
        self._overs_heard = 0
        self._holds = 0
        self._pings: dict[int, float] = {}
        self._ping = 0
        connection.owner = self

    # --- out ---------------------------------------------------------------------------------------------------

    def send(self, channel: int, payload: Payload, rest: Payload = b"") -> bool:
        """Queues `payload` and `rest` as one message; False if the queue is full (see `drain`) or the link has ended.

        Neither must be changed any more. Raises ValueError if they are longer than their channel allows.
        """
        return self._current.send(channel, payload, rest)

    @property
    def queued_bytes(self) -> int:
        """What waits to leave."""
        retiring = self._retiring
        return self._current.queued_bytes + (retiring.queued_bytes if retiring is not None else 0)

    async def drain(self) -> None:
        """Waits until `send` has room again, or the link has ended."""
        await self._current.drain()

    def ping(self) -> None:
        """Measures `round_trip_s` anew: it changes when the answer is there."""
        if len(self._pings) < 8:
            self._ping += 1
            self._pings[self._ping] = time.monotonic()
            self._say(LinkPing(self._ping))

    def close(self, reason: str = "", *, goodbye: bool = True) -> None:
        """Ends the link after what waits is sent; without goodbye at once, as if the process had died."""
        if self.ended is not None:
            return
        if goodbye:
            self._say(Goodbye(reason[:200]))
        self._end(LinkEnd("goodbye" if goodbye else "closed", reason, local=True), finish=goodbye)

    @property
    def stats(self) -> Traffic:
        """Bytes and messages so far."""
        total = self._past.copy()
        for connection in self._connections():
            total.add(connection.traffic)
        return total

    # --- in ----------------------------------------------------------------------------------------------------

    def hold_input(self) -> None:
        """Takes nothing more until `release_input`, so that the peer is slowed; holds add up."""
        self._holds += 1
        for connection in self._connections():
            connection.hold()

    def release_input(self) -> None:
        """Takes one hold back."""
        if self._holds > 0:
            self._holds -= 1
            for connection in self._connections():
                connection.release()

    def frame_received(self, connection: Connection, channel: int, payload: bytes) -> None:
        """A frame of one of its connections."""
        if channel == Channel.SESSION:
            self._session(connection, payload)
            return
        if channel in (Channel.HANDSHAKE, Channel.JOIN) or connection in self._heard:
            self.fail(f"a message on channel {channel} out of turn")
            return
        handler = self._handlers.get(channel)
        if handler is None:
            return  # a channel of a newer peer
        try:
            handler(self, payload)
        except Exception:
            _LOG.exception("a handler of channel %d failed", channel)

    def replace(self) -> None:
        """Ends the link because the peer, which has lost it or was started anew, made another."""
        self._end(LinkEnd("closed", "the peer connected anew"), finish=False)

    def fail(self, why: str) -> None:
        """Ends the link for a breach of the rules."""
        self._end(LinkEnd("protocol", why, local=True), finish=False)

    def connection_ended(self, connection: Connection, end: LinkEnd) -> None:
        """One of its connections is gone."""
        if self.ended is None and connection in self._connections():
            self._end(end, finish=False)

    def _session(self, connection: Connection, payload: bytes) -> None:
        message = decode_session(payload)
        match message:
            case None:
                pass
            case str():
                self.fail(message)
            case Goodbye(reason=reason):
                self._end(LinkEnd("goodbye", printable(reason, 200)), finish=True)
            case Over():
                self._over(connection)
            case Switched():
                self._switched(connection)
            case LinkPing(number=number):
                self._say(Pong(number), connection)
            case Pong(number=number):
                self._ponged(number)
            case _ as never:
                assert_never(never)

    def _ponged(self, number: int) -> None:
        sent = self._pings.pop(number, None)
        if sent is not None:
            taken_s = time.monotonic() - sent
            known_s = self.round_trip_s
            self.round_trip_s = known_s + _SMOOTHING * (taken_s - known_s) if known_s else taken_s

    # --- two connections ---------------------------------------------------------------------------------------

    @property
    def outgoing(self) -> bool:
        """Whether this side dialled the connection that is in use."""
        return self._current.outgoing

    @property
    def connection_id(self) -> bytes:
        """Of the connection in use."""
        return self._current.id

    def takes(self, connection: Connection) -> bool:
        """Whether a further connection can be the second one of this link: dialled by the other side."""
        return self._retiring is None and connection.outgoing != self._current.outgoing

    def take(self, connection: Connection) -> None:
        """Goes on over two connections, until one of them is heard out."""
        connection.owner = self
        for _ in range(self._holds):
            connection.hold()
        if connection.outgoing == self._outgoing_stays:
            self._retiring, self._current = self._current, connection
            self._say(Over(), self._retiring)
            self._say(Switched())
        else:
            self._retiring = connection
            self._say(Over(), connection)
        if self._retiring in self._heard:
            self._retire(self._retiring)

    def none_came(self) -> None:
        """No second connection will come that this side dialled."""
        if self._retiring is not None or self.ended is not None:
            return
        if self._current in self._heard:
            self._end(LinkEnd("closed", "the peer went over to a connection that is gone"), finish=False)
        else:
            self._read_on()

    def _over(self, connection: Connection) -> None:
        if connection in self._heard:
            self.fail("it ended one connection twice")
            return
        self._heard.add(connection)
        if connection is self._retiring:
            self._retire(connection)
        elif self._retiring is not None:
            self.fail("it ended the connection that stays")
        elif not self._keeper.another_may_come(self):
            self.none_came()

    def _switched(self, connection: Connection) -> None:
        if connection is not self._current or self._waiting or self._overs_heard:
            return
        if self._retiring is not None or self._keeper.another_may_come(self):
            self._waiting = True
            connection.hold()

    def _retire(self, connection: Connection) -> None:
        """Both have said their last on it."""
        self._retiring = None
        self._heard.discard(connection)
        self._overs_heard += 1
        self._past.add(connection.traffic)
        connection.finish()
        self._read_on()

    def _read_on(self) -> None:
        if self._waiting:
            self._waiting = False
            self._current.release()

    # --- end ---------------------------------------------------------------------------------------------------

    def _say(self, message: SessionMessage, connection: Connection | None = None) -> None:
        always = not isinstance(message, LinkPing | Pong)
        (connection or self._current).send(Channel.SESSION, encode_session(message), always=always)

    def _connections(self) -> tuple[Connection, ...]:
        return (self._current,) if self._retiring is None else (self._current, self._retiring)

    def _end(self, end: LinkEnd, *, finish: bool) -> None:
        if self.ended is not None:
            return
        self.ended = end
        for connection in self._connections():
            if finish:
                connection.finish()
            else:
                connection.abort()
        self._keeper.link_ended(self, end)
