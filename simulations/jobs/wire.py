"""Connections of simulated peers: streams of the simulated network, in place of TLS over TCP, for the product's links.

A stream is a transport as asyncio has them, so that `peer.wire.connection` runs on it as it is. Who is dialled is known
by the host that was reached, as TLS would prove it; a host has one address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Any, Final

from meshwit.peer.wire.addresses import Address
from meshwit.peer.wire.budget import Gate
from meshwit.peer.wire.connection import Connection
from meshwit.peer.wire.endings import LinkError
from meshwit.peer.wire.settings import LinkSettings
from meshwit.peer.wire.streams import Accepting
from simulations.hosts import DialFailure, End, Host
from simulations.jobs.clock import Clock
from simulations.keys import SimulatedKey
from simulations.network import Network

TLS_BYTES: Final = 22
PORT: Final = 7723
FIRST: Final = IPv4Address("10.0.0.1")


def address_of(host: Host) -> Address:
    """Where a host is reached."""
    return _numbered(host.index), PORT


def host_at(network: Network, address: Address) -> Host:
    """Who is reached there."""
    return network.hosts[_number(address[0])]


@lru_cache(maxsize=4096)
def _numbered(index: int) -> str:
    return str(FIRST + index)


@lru_cache(maxsize=4096)
def _number(host: str) -> int:
    return int(IPv4Address(host)) - int(FIRST)


class Transport(asyncio.Transport):
    """One end of a stream, for a connection. It takes all that is written, as the stream queues it."""

    def __init__(self, end: End, connection: Connection, closed: Callable[[Transport], None]) -> None:
        super().__init__({"peername": address_of(end.other.host)})
        self.end = end
        self.connection = connection
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._reading = True
        self._waiting: list[bytes] = []
        connection.connection_made(self)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer here."""

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self._closing

    def write(self, data: Any) -> None:
        if not self._closing and not self.end.send(bytes(data), len(data) + TLS_BYTES) and self.end.open:
            self.abort()

    def close(self) -> None:
        if not self._closing:
            self.end.close()
            self._over()

    def abort(self) -> None:
        self.close()

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self.received(data)

    # --- what the network tells --------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """The stream brought something."""
        if not self._reading:
            self._waiting.append(data)
        elif not self._closing:
            self.connection.data_received(data)

    def broken(self) -> None:
        """The stream has ended."""
        if not self._closing:
            self.connection.eof_received()
            self._over()

    def _over(self) -> None:
        self._closing = True
        self._closed(self)
        self._loop.call_soon(self.connection.connection_lost, None)


class SimulatedListener:
    """What takes connections of others."""

    def __init__(self, streams: SimulatedStreams, settings: LinkSettings, accepting: Accepting) -> None:
        self.turned_away = 0
        self._streams = streams
        self._accepting = accepting
        self._gate = Gate(settings.unproven_max, settings.unproven_per_host_max, settings.accepts_per_host_s)

    @property
    def unproven(self) -> int:
        """Connections that have not proved anything yet."""
        return self._gate.total

    def start(self, hosts: Sequence[str], port: int) -> int:
        """Listens."""
        self._streams.listening = self
        return port

    async def close(self) -> None:
        """No longer listens."""
        self._streams.listening = None

    def accepted(self, end: End) -> None:
        """Somebody dialled: he has to prove himself."""
        name = end.other.host.name
        if not end.open:
            return
        if not self._gate.enter(name, self._streams.clock.now):
            self.turned_away += 1
            end.close()
            return
        inside = [name]

        def leave() -> None:
            while inside:
                self._gate.leave(inside.pop())

        self._streams.begin(end, self._accepting(leave))


class SimulatedStreams:
    """What `peer.wire.streams` is for a real peer. To be used on the running loop of the device.

    Attributes:
        transports: by their ends, those that are open.
    """

    def __init__(self, host: Host, clock: Clock, network: Network) -> None:
        self.certificate = certificate_of(host)
        self.key = SimulatedKey(host.name).public_key
        self.clock = clock
        self.listening: SimulatedListener | None = None
        self.transports: dict[End, Transport] = {}
        self._host = host
        self._network = network

    async def dial(
        self, addresses: Sequence[Address], settings: LinkSettings, likely: Address | None
    ) -> tuple[End, Address]:
        """Reach the host at the first of these addresses."""
        answer: asyncio.Future[End | DialFailure] = asyncio.get_running_loop().create_future()

        def answered(what: End | DialFailure) -> None:
            if not answer.done():
                answer.set_result(what)
            elif not isinstance(what, DialFailure):
                what.close()

        self._network.dial(self._host, host_at(self._network, addresses[0]), answered, settings.connect_s)
        found = await answer
        if isinstance(found, DialFailure):
            raise LinkError("refused" if found is DialFailure.REFUSED else "timeout", "nobody listens there")
        return found, addresses[0]

    async def open(self, connection: Connection, dialled: End, address: Address, settings: LinkSettings) -> None:
        """Make that a connection."""
        if not dialled.open:
            raise LinkError("unreachable", "the connection broke off")
        self.begin(dialled, connection)

    def begin(self, end: End, connection: Connection) -> None:
        """An end of a stream becomes a connection."""

        def closed(transport: Transport) -> None:
            self.transports.pop(transport.end, None)

        transport = Transport(end, connection, closed)
        if not transport.is_closing():
            self.transports[end] = transport

    def server(self, connection: Connection) -> tuple[bytes, bytes]:
        """Certificate and key of who was dialled."""
        host = host_at(self._network, connection.remote)
        return certificate_of(host), SimulatedKey(host.name).public_key

    def listener(self, settings: LinkSettings, accepting: Accepting) -> SimulatedListener:
        """What takes connections of others."""
        return SimulatedListener(self, settings, accepting)

    # --- what the network tells --------------------------------------------------------------------------------------

    def accepted(self, end: End) -> None:
        """Somebody dialled."""
        if self.listening is not None:
            self.listening.accepted(end)

    def received(self, end: End, payload: bytes) -> None:
        """A stream brought something."""
        transport = self.transports.get(end)
        if transport is not None:
            transport.received(payload)

    def broken(self, end: End) -> None:
        """A stream has ended."""
        transport = self.transports.get(end)
        if transport is not None:
            transport.broken()


def certificate_of(host: Host) -> bytes:
    """What stands for the certificate of its key."""
    return b"certificate of " + host.name.encode()
