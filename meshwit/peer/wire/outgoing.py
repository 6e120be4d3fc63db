"""Dialled connections on their way to links and join streams. Shell.

At most one handshake with a peer is under way from here: as soon as TLS tells who is there, a second one gives way to
the first, and each gives way to a link that is there already. So two connections to one peer exist only if each side
dialled one.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from meshwit.ids import PeerId, peer_id
from meshwit.peer.wire.addresses import Address, address_text
from meshwit.peer.wire.connection import Connection
from meshwit.peer.wire.dialing import most_telling
from meshwit.peer.wire.endings import LinkError
from meshwit.peer.wire.handshake import ClientHandshake, Proved
from meshwit.peer.wire.join_stream import JoinStream
from meshwit.peer.wire.link import Link
from meshwit.peer.wire.own_side import OwnSide
from meshwit.peer.wire.settings import LinkSettings
from meshwit.peer.wire.setup import Setup
from meshwit.peer.wire.streams import Streams

T = TypeVar("T")
_TRIES: Final = 4
"""Of one address that breaks off during the handshake: a crowd at its gate is gone soon."""
_TRY_PAUSE_S: Final = 0.1


class Outgoing:
    """What is being dialled.

    Args:
        side: this peer.
        settings: the times.
        links: the links that are up.
        gone: ids of the connections that were lost last, by peer.
        connection: makes an outgoing connection, given what to call when TLS is there.
        established: makes the link of a connection that is proved, or gives it to the one that is there.
        streams: carry connections.
        rng: draws pauses.
    """

    def __init__(
        self,
        side: OwnSide,
        settings: LinkSettings,
        links: Mapping[PeerId, Link],
        gone: Mapping[PeerId, bytes],
        connection: Callable[[Callable[[Connection], None]], Connection],
        established: Callable[[Connection, Proved], Link],
        streams: Streams,
        rng: random.Random,
    ) -> None:
        self._side = side
        self._settings = settings
        self._links = links
        self._gone = gone
        self._connection = connection
        self._established = established
        self._streams = streams
        self._rng = rng
        self._pending: dict[PeerId, tuple[Setup, asyncio.Future[Link]]] = {}

    def proof_sent(self, peer: PeerId) -> bool:
        """Whether that peer may hold one of these connections for proved already."""
        pending = self._pending.get(peer)
        return pending is not None and pending[0].proof_sent

    async def link(self, peer: PeerId | None, addresses: Sequence[Address], likely: Address | None) -> Link:
        """A link to a peer, or to whoever is a member there. Raises LinkError."""

        async def attempt(dialled: Any, address: Address) -> Link:
            result: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
            return await self._open(dialled, address, result, lambda found: self._to_link(found, peer, result))

        return await self._attempts(addresses, likely, attempt)

    async def join(self, address: Address) -> JoinStream:
        """A stream to ask to be let in. Raises LinkError."""

        async def attempt(dialled: Any, address: Address) -> JoinStream:
            result: asyncio.Future[JoinStream] = asyncio.get_running_loop().create_future()
            try:
                return await self._open(dialled, address, result, lambda found: self._to_stream(found, result))
            except asyncio.CancelledError:  # called off just as the stream was there: nobody else would close it
                if result.done() and not result.cancelled() and result.exception() is None:
                    result.result().close()
                raise

        return await self._attempts([address], None, attempt)

    def _to_link(self, connection: Connection, peer: PeerId | None, result: asyncio.Future[Link]) -> None:
        certificate, key = self._streams.server(connection)
        who = peer_id(key)
        if who == self._side.me:
            raise LinkError("identity", "that is this device itself")
        if peer is not None and who != peer:
            raise LinkError("identity", f"another peer answers at {address_text(connection.remote)}")
        link, pending = self._links.get(who), self._pending.get(who)
        if link is not None:
            _resolve(result, link)
            connection.abort()
            return
        if pending is not None:
            pending[1].add_done_callback(lambda other: _copy(other, result))
            connection.abort()
            return

        def proved(setup: Setup, done: Proved) -> None:
            del self._pending[who]
            _resolve(result, self._established(connection, done))

        def failed(error: LinkError) -> None:
            self._pending.pop(who, None)
            _reject(result, error)
            if who in self._links:
                self._links[who].none_came()

        def may_prove(setup: Setup) -> bool:
            """A link that the peer made meanwhile will do, unless it is left from an earlier start of the peer."""
            assert isinstance(setup.handshake, ClientHandshake)
            link = self._links.get(who)
            if link is None or link.info.instance != setup.handshake.server_instance:
                return True
            _resolve(result, link)
            setup.give_up(LinkError("unreachable", "there is a link already"))
            return False

        handshake = self._side.client(certificate, key, "member", self._gone.get(who, b""))
        setup = Setup(connection, handshake, self._settings.handshake_s, proved, failed, may_prove)
        self._pending[who] = setup, result

    def _to_stream(self, connection: Connection, result: asyncio.Future[JoinStream]) -> None:
        def proved(setup: Setup, done: Proved) -> None:
            _resolve(result, JoinStream(connection, self._side.key, done.info, "joiner", self._settings.join_s))

        handshake = self._side.client(*self._streams.server(connection), "join")
        Setup(connection, handshake, self._settings.handshake_s, proved, lambda error: _reject(result, error))

    async def _attempts(
        self,
        addresses: Sequence[Address],
        likely: Address | None,
        attempt: Callable[[Any, Address], Awaitable[T]],
    ) -> T:
        settings = self._settings
        left = list(dict.fromkeys(addresses))
        failures: list[LinkError] = []
        tries: Counter[Address] = Counter()
        try:
            async with asyncio.timeout(settings.connect_s):
                while left:
                    try:
                        dialled, address = await self._streams.dial(left, settings, likely)
                    except LinkError as error:
                        failures.append(error)
                        break
                    tries[address] += 1
                    try:
                        return await attempt(dialled, address)
                    except LinkError as error:
                        if error.kind == "unreachable" and tries[address] < _TRIES:
                            await asyncio.sleep(_TRY_PAUSE_S * tries[address] * self._rng.uniform(0.5, 1.5))
                            continue
                        failures.append(error)
                        left.remove(address)
        except TimeoutError:
            failures.append(LinkError("timeout", f"there was no link within {settings.connect_s:g} s"))
        raise most_telling(failures)

    async def _open(
        self, dialled: Any, address: Address, result: asyncio.Future[T], begin: Callable[[Connection], None]
    ) -> T:
        """A connection with whoever was dialled; then `begin` starts what resolves the result."""

        def ready(connection: Connection) -> None:
            try:
                begin(connection)
            except LinkError as error:
                _reject(result, error)
                connection.abort()

        connection = self._connection(ready)
        try:
            await self._streams.open(connection, dialled, address, self._settings)
            return await result
        finally:
            if not result.done() or result.cancelled():  # whoever is cancelled takes what it waits for with it
                result.cancel()
                connection.abort()


def _resolve(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _reject(future: asyncio.Future[Any], error: LinkError) -> None:
    if not future.done():
        future.set_exception(error)


def _copy(source: asyncio.Future[T], target: asyncio.Future[T]) -> None:
    if source.cancelled():
        _reject(target, LinkError("unreachable", "the dial was called off"))
        return
    error = source.exception()
    if error is None:
        _resolve(target, source.result())
    elif not target.done():
        target.set_exception(error)
