"""Sealed datagrams over UDP, IPv4 and IPv6. Adapter.

The loss of a datagram is nobody's error: what cannot be sent is counted. ICMP's answers (nobody listens there, no way
there) reach the socket as errors and are counted, no more. Hosts that send what cannot be opened get a budget of
attempts per second, so that a flood costs less than the decryption of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, Final, TypeAlias

from meshwit.ids import PeerId
from meshwit.peer.wire.addresses import Address, from_socket
from meshwit.peer.wire.budget import Budget
from meshwit.peer.wire.sealing import DATAGRAM_BYTES_MAX, Opened, Sealer
from meshwit.peer.wire.sockets import PORT_TAKEN, bound_sockets, socket_address
from meshwit.peer.wire.stats import Traffic


class DatagramKind(IntEnum):
    """What a datagram is about, and so who reads it."""

    GOSSIP = 1
    DIRECTORY = 2
    PROBE = 3


Handler: TypeAlias = Callable[[PeerId, Address, bytes], None]

FORGED_PER_HOST_S: Final = 50.0
"""Datagrams per second of one host that may fail to open; four times as many at once. Above it all from that host are
dropped unread. Too low: a member behind the same address as an attacker is cut off sooner."""
_BUFFER_BYTES: Final = 4 * 1024 * 1024


class Datagrams:
    """The UDP side of a peer.

    Args:
        sealer: seals and opens.
        is_expelled: whose datagrams are dropped though they open.
    """

    def __init__(self, sealer: Sealer, is_expelled: Callable[[PeerId], bool] = lambda _peer: False) -> None:
        self.rejected: Counter[str] = Counter()
        """Datagrams that were dropped, by reason."""
        self._sealer = sealer
        self._is_expelled = is_expelled
        self._handlers: dict[int, Handler] = {}
        self._transports: dict[int, asyncio.DatagramTransport] = {}
        self._traffic = Traffic()
        self._budget = Budget(FORGED_PER_HOST_S, 4 * FORGED_PER_HOST_S)

    def on_datagram(self, kind: int, handler: Handler) -> None:
        """Sets who reads a kind: `handler(sender, address, payload)`."""
        self._handlers[kind] = handler

    async def start(self, hosts: Sequence[str] = ("0.0.0.0", "::"), port: int = 0) -> int:
        """Listens on one port for all hosts, on another if that one is taken; returns it. Raises OSError."""
        loop = asyncio.get_running_loop()
        try:
            sockets = bound_sockets(hosts, port, socket.SOCK_DGRAM)
        except OSError as error:
            if port == 0 or error.errno not in PORT_TAKEN:
                raise
            sockets = bound_sockets(hosts, 0, socket.SOCK_DGRAM)
        bound = 0
        try:
            while sockets:
                sock = sockets[0]
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
                bound = sock.getsockname()[1]
                family = int(sock.family)
                transport, _ = await loop.create_datagram_endpoint(lambda: _Receiver(self), sock=sock)
                sockets.pop(0)
                self._transports[family] = transport
        except BaseException:
            self.close()
            raise
        finally:
            for each in sockets:
                each.close()
        return bound

    def send(self, address: Address, kind: int, payload: bytes) -> bool:
        """Sends one datagram to a numeric address; False if there is no way there. Raises ValueError if too long."""
        transport = self._transports.get(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        if transport is None or transport.is_closing():
            return False
        sealed = self._sealer.seal(kind, payload)
        try:
            transport.sendto(sealed, socket_address(address)[1])
        except (OSError, ValueError, TypeError):
            self.rejected["unsendable"] += 1
            return False
        self._traffic.sent(len(sealed))
        return True

    def stats(self) -> Traffic:
        """Bytes and datagrams so far, both ways, without the headers of UDP and IP."""
        return self._traffic.copy()

    def close(self) -> None:
        """Stops."""
        for transport in self._transports.values():
            transport.close()
        self._transports.clear()

    def received(self, datagram: bytes, name: Any) -> None:
        """What a socket brought."""
        self._traffic.received(len(datagram))
        host = str(name[0])
        now = time.monotonic()
        if self._budget.left(host, now) < 1:
            self.rejected["flood"] += 1
            return
        opened = self._sealer.open(datagram) if len(datagram) <= DATAGRAM_BYTES_MAX else None
        if not isinstance(opened, Opened):
            self.rejected["long" if opened is None else opened.why] += 1
            self._budget.spend(host, now)
            return
        if self._is_expelled(opened.sender):
            self.rejected["expelled"] += 1
            return
        handler = self._handlers.get(opened.kind)
        if handler is None:
            self.rejected["unknown kind"] += 1
            return
        handler(opened.sender, from_socket(name), opened.payload)


class _Receiver(asyncio.DatagramProtocol):
    """Hands on what comes; an error of the socket is counted and nothing ends by it."""

    def __init__(self, owner: Datagrams) -> None:
        self._owner = owner

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._owner.received(data, addr)

    def error_received(self, exc: Exception) -> None:
        self._owner.rejected["icmp"] += 1
