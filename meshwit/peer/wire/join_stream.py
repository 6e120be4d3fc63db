"""The connection of a device that wants to join, seen from either end. Shell."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Literal

from meshwit.peer.wire.connection import Connection
from meshwit.peer.wire.endings import LinkEnd, LinkError
from meshwit.peer.wire.frames import Channel
from meshwit.peer.wire.handshake import PeerInfo

_QUEUE_MAX: Final = 4
"""Messages that wait for `receive`; then reading pauses."""
_MESSAGES_MAX: Final = 256
"""In all: joining needs a dozen."""


class JoinStream:
    """Messages of at most 16 KiB both ways between a device and a member that may admit it.

    Both have proved their keys, membership nobody: that is what the messages are about.

    Attributes:
        own_key: this side's Ed25519 public key.
        peer_key: the other side's.
        role: `joiner` dialled, `admitter` was dialled.
        peer_info: what the other side says of itself.
    """

    def __init__(
        self,
        connection: Connection,
        own_key: bytes,
        info: PeerInfo,
        role: Literal["joiner", "admitter"],
        life_s: float,
        ended: Callable[[JoinStream], None] = lambda _: None,
    ) -> None:
        self.own_key = own_key
        self.peer_key = info.key
        self.peer_info = info
        self.role: Literal["joiner", "admitter"] = role
        self._connection = connection
        self._ended = ended
        self._queue: deque[bytes] = deque()
        self._count = 0
        self._held = False
        self._end: LinkEnd | None = None
        self._arrived = asyncio.Event()
        self._timer = asyncio.get_running_loop().call_later(life_s, self.close)
        connection.owner = self
        connection.parser.only = Channel.JOIN

    @property
    def remote(self) -> str:
        """The host at the other end."""
        return self._connection.remote[0]

    @property
    def ended(self) -> bool:
        """Whether either side has closed it."""
        return self._end is not None

    def send(self, payload: bytes) -> bool:
        """Queues a message; False if the stream is closed. Raises ValueError if it is too long."""
        return self._connection.send(Channel.JOIN, payload)

    async def receive(self, timeout_s: float | None = None) -> bytes:
        """The next message. Raises LinkError: `timeout`, or `unreachable` when the other side is gone."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self._queue:
                    if self._end is not None:
                        raise LinkError("unreachable", f"the other side is gone: {self._end.reason}")
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise LinkError("timeout", f"the other side said nothing for {timeout_s:g} s") from None
        payload = self._queue.popleft()
        if self._held and len(self._queue) < _QUEUE_MAX:
            self._held = False
            self._connection.release()
        return payload

    def close(self) -> None:
        """Ends it once what was sent has left."""
        self._connection.finish()
        self._over(LinkEnd("closed", "closed here", local=True))

    def frame_received(self, connection: Connection, channel: int, payload: bytes) -> None:
        """A frame of the connection."""
        self._count += 1
        if self._count > _MESSAGES_MAX:
            connection.fail(LinkEnd("protocol", "too many messages", local=True))
            return
        self._queue.append(payload)
        self._arrived.set()
        if len(self._queue) >= _QUEUE_MAX and not self._held:
            self._held = True
            connection.hold()

    def connection_ended(self, connection: Connection, end: LinkEnd) -> None:
        """The connection is gone."""
        self._over(end)

    def _over(self, end: LinkEnd) -> None:
        if self._end is None:
            self._end = end
            self._timer.cancel()
            self._arrived.set()
            self._ended(self)
