"""The links of this peer: it listens, dials, and holds one link per peer. Shell.

Every message of a peer reaches its handler in the order in which it was sent, once. A link that was reported by
`on_up` is reported by `on_down` exactly once, at once when its connection closes. All callbacks are called from the
event loop and must not block; what they raise is logged.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from meshwit.ids import PeerId
from meshwit.peer.trust.keys import verify as verify_signature
from meshwit.peer.wire.addresses import Address
from meshwit.peer.wire.connection import Connection
from meshwit.peer.wire.endings import LinkEnd, LinkError
from meshwit.peer.wire.frames import Channel
from meshwit.peer.wire.handshake import Authority, PeerInfo, Proved
from meshwit.peer.wire.join_stream import JoinStream
from meshwit.peer.wire.keeping import KeptLink
from meshwit.peer.wire.link import Handler, Link
from meshwit.peer.wire.outgoing import Outgoing
from meshwit.peer.wire.own_side import OwnSide
from meshwit.peer.wire.settings import DEFAULTS, LinkSettings
from meshwit.peer.wire.setup import Setup
from meshwit.peer.wire.stats import Traffic
from meshwit.peer.wire.streams import Listening, Streams
from meshwit.records import Signer, Verifier

__all__ = [
    "Address",
    "Authority",
    "Channel",
    "JoinStream",
    "Link",
    "LinkEnd",
    "LinkError",
    "LinkSettings",
    "Links",
    "PeerInfo",
    "Traffic",
]

_LOG: Final = logging.getLogger(__name__)
_GONE_MAX: Final = 4096
"""Peers of whom the last lost connection is remembered."""


class Links:
    """All links of this peer.

    Args:
        key: the device key.
        streams: carry connections, with the certificate of that key.
        authority: what this side knows of its mesh.
        info: what to tell of this peer; id, key and instance are filled in.
        settings: the limits.
        verify: tells whether a signature holds.
        rng: draws pauses; `entropy`, bytes that nobody can guess.

    Attributes:
        on_up: called with each new link.
        on_down: called when a link ended, also when this side ended it (`LinkEnd.local`).
        on_dial_failed: called for each dial of a kept peer that failed.
        on_join: serves a device that wants to join; the stream is closed when it returns. None refuses joins.
        links: the links that are up.
        duplicates: how often both sides had dialled.
    """

    def __init__(
        self,
        key: Signer,
        streams: Streams,
        authority: Authority,
        info: Callable[[], PeerInfo],
        settings: LinkSettings = DEFAULTS,
        *,
        verify: Verifier = verify_signature,
        rng: random.Random | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.on_up: Callable[[Link], None] = lambda _link: None
        self.on_down: Callable[[PeerId, LinkEnd], None] = lambda _peer, _end: None
        self.on_dial_failed: Callable[[PeerId, LinkError], None] = lambda _peer, _error: None
        self.on_join: Callable[[JoinStream], Awaitable[None]] | None = None
        self.duplicates = 0
        self._settings = settings
        self._streams = streams
        self._rng = rng or random.Random()
        self._side = OwnSide(key, streams, authority, info, verify, entropy)
        self._handlers: dict[int, Handler] = {}
        self._links: dict[PeerId, Link] = {}
        self.links: Mapping[PeerId, Link] = MappingProxyType(self._links)
        self._gone: OrderedDict[PeerId, bytes] = OrderedDict()
        self._outgoing = Outgoing(
            self._side,
            settings,
            self._links,
            self._gone,
            lambda ready: self._connection(True, ready),
            self._established,
            streams,
            self._rng,
        )
        self._listener: Listening | None = None
        self._connections: set[Connection] = set()
        self._past = Traffic()
        self._dials: dict[PeerId, asyncio.Task[Link]] = {}
        self._kept: dict[PeerId, KeptLink] = {}
        self._join_streams: set[JoinStream] = set()
        self._joins: set[asyncio.Task[None]] = set()
        self._closed = False

    def on_message(self, channel: int, handler: Handler) -> None:
        """Sets who reads a channel: `handler(link, payload)`. What comes on a channel that nobody reads is dropped."""
        self._handlers[channel] = handler

    async def start(self, hosts: Sequence[str] = ("0.0.0.0", "::"), port: int = 0) -> int:
        """Listens on one port for all hosts; returns it. IPv6 may be missing. Raises OSError if the port is taken."""
        self._listener = self._streams.listener(self._settings, self._incoming)
        return self._listener.start(hosts, port)

    async def connect(self, peer: PeerId | None, addresses: Sequence[Address], likely: Address | None = None) -> Link:
        """The link to a peer, dialled unless there is one. Raises LinkError.

        Args:
            peer: who it must be; None takes whoever proves membership.
            addresses: where; the first at which a good peer answers is taken.
            likely: the one where the peer was last, if known: if that one refuses, the peer counts as refusing.
        """
        if self._closed:
            raise LinkError("unreachable", "this peer is closing")
        if peer == self._side.me:
            raise LinkError("identity", "that is this device itself")
        if peer is None:
            return await self._outgoing.link(None, addresses, likely)
        if peer in self._links:
            return self._links[peer]
        task = self._dials.get(peer)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._outgoing.link(peer, addresses, likely))
            self._dials[peer] = task
            task.add_done_callback(lambda done: self._dialled(peer, done))
        return await asyncio.shield(task)

    async def open_join(self, address: Address) -> JoinStream:
        """A stream to a member, to ask it to be let in. Raises LinkError."""
        return await self._outgoing.join(address)

    def keep(self, peer: PeerId, addresses: Sequence[Address]) -> None:
        """Stays linked to a peer: dials whenever there is no link, with growing pauses, until `unkeep`.

        Called again, it goes on with the new addresses, and at once if they are others.
        """
        if self._closed or peer == self._side.me:
            return
        kept = self._kept.get(peer)
        if kept is not None:
            kept.at(addresses)
            return
        kept = KeptLink(
            lambda order, last: self.connect(peer, order, last),
            lambda error: _call(self.on_dial_failed, peer, error),
            addresses,
            self._settings,
            lambda: self._rng.uniform(0.5, 1.0),
        )
        self._kept[peer] = kept
        if peer in self._links:
            kept.up(self._links[peer].address)

    def unkeep(self, peer: PeerId) -> None:
        """Dials no longer; a link that is up stays."""
        kept = self._kept.pop(peer, None)
        if kept is not None:
            kept.stop()

    def stats(self) -> Traffic:
        """Bytes and messages of all connections so far, both ways; TLS (22 bytes a write) and TCP come on top."""
        total = self._past.copy()
        for connection in self._connections:
            total.add(connection.traffic)
        return total

    @property
    def connection_count(self) -> int:
        """Connections of any kind that are open."""
        return len(self._connections)

    @property
    def turned_away(self) -> int:
        """Connections closed unread because there were too many that had proved nothing."""
        return self._listener.turned_away if self._listener is not None else 0

    @property
    def unproven(self) -> int:
        """Connections that came in and have proved nothing yet."""
        return self._listener.unproven if self._listener is not None else 0

    async def close(self) -> None:
        """Says goodbye to all and stops; takes at most `close_s` and a moment."""
        self._closed = True
        tasks: list[asyncio.Task[Any]] = [kept.stop() for kept in self._kept.values()]
        self._kept.clear()
        if self._listener is not None:
            await self._listener.close()
        for link in list(self._links.values()):
            link.close("this peer stops")
        for task in [*self._dials.values(), *self._joins]:
            task.cancel()
            tasks.append(task)
        await asyncio.gather(*tasks, return_exceptions=True)
        for stream in list(self._join_streams):
            stream.close()
        for connection in list(self._connections):
            connection.finish()
        await asyncio.gather(*(connection.closed() for connection in list(self._connections)))

    # --- connections -------------------------------------------------------------------------------------------

    def _connection(
        self, outgoing: bool, ready: Callable[[Connection], None], closed: Callable[[], None] = lambda: None
    ) -> Connection:
        def gone(connection: Connection) -> None:
            self._connections.discard(connection)
            self._past.add(connection.traffic)
            closed()

        connection = Connection(self._settings, outgoing, ready, gone)
        self._connections.add(connection)
        return connection

    def _incoming(self, leave: Callable[[], None]) -> Connection:
        """A connection whose other side has to prove itself."""

        def ready(connection: Connection) -> None:
            Setup(connection, self._side.server(self._joins_now()), self._settings.handshake_s, proved, failed)

        def proved(setup: Setup, done: Proved) -> None:
            leave()
            if done.purpose == "join":
                self._joining(setup.connection, done)
            else:
                self._established(setup.connection, done)

        def failed(error: LinkError) -> None:
            _LOG.debug("a connection was refused: %s", error)

        return self._connection(False, ready, leave)

    def _established(self, connection: Connection, done: Proved) -> Link:
        """The link that a proved connection belongs to: a new one, or the one that is there."""
        info = done.info
        connection.parser.only = None
        link = self._links.get(info.id)
        if link is not None:
            if link.info.instance == info.instance and link.connection_id != done.gone and link.takes(connection):
                self.duplicates += 1
                link.take(connection)
                return link
            link.replace()
        address = connection.remote
        if not connection.outgoing and info.addresses:
            address = (address[0], info.addresses[0][1])
        link = Link(connection, info, self._side.me < info.id, address, self._handlers, self)
        self._links[info.id] = link
        if info.id in self._kept:
            self._kept[info.id].up(address)
        _call(self.on_up, link)
        return link

    def another_may_come(self, link: Link) -> bool:
        """For its links: whether a second connection, dialled here, may yet be proved."""
        return self._outgoing.proof_sent(link.peer)

    def link_ended(self, link: Link, end: LinkEnd) -> None:
        """For its links: one is over."""
        peer = link.peer
        if self._links.get(peer) is not link:
            return
        del self._links[peer]
        self._gone[peer] = link.connection_id
        self._gone.move_to_end(peer)
        if len(self._gone) > _GONE_MAX:
            self._gone.popitem(last=False)
        if peer in self._kept:
            self._kept[peer].down()
        _call(self.on_down, peer, end)

    def _dialled(self, peer: PeerId, task: asyncio.Task[Link]) -> None:
        self._dials.pop(peer, None)
        if not task.cancelled():
            task.exception()  # told to those who wait, if any still do

    # --- joining -----------------------------------------------------------------------------------------------

    def _joins_now(self) -> bool:
        return self.on_join is not None and len(self._join_streams) < self._settings.join_streams_max

    def _joining(self, connection: Connection, done: Proved) -> None:
        if not self._joins_now():
            connection.finish()
            return
        stream = JoinStream(
            connection, self._side.key, done.info, "admitter", self._settings.join_s, self._join_streams.discard
        )
        self._join_streams.add(stream)
        task = asyncio.get_running_loop().create_task(self._serve_join(stream))
        self._joins.add(task)
        task.add_done_callback(self._joins.discard)

    async def _serve_join(self, stream: JoinStream) -> None:
        try:
            if self.on_join is not None:
                await self.on_join(stream)
        except LinkError as error:
            _LOG.info("a device did not join: %s", error)
        except Exception:
            _LOG.exception("a join failed")
        finally:
            stream.close()


def _call(callback: Callable[..., None], *arguments: Any) -> None:
    try:
        callback(*arguments)
    except Exception:
        _LOG.exception("%r failed", callback)
