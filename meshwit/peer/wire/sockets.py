"""Sockets of both families on one port, and what the system wants to hear for an address. Adapter."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Sequence
from typing import Final, TypeAlias

from meshwit.peer.wire.addresses import Address

SocketAddress: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
PORT_TAKEN: Final = {errno.EADDRINUSE, errno.EACCES}
"""What a system says of a port that another holds; Windows says EACCES for some."""
_PORT_TRIES: Final = 20
_NO_SUCH_FAMILY: Final = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}


def bound_sockets(hosts: Sequence[str], port: int, kind: socket.SocketKind) -> list[socket.socket]:
    """Sockets of that kind bound to all hosts on one port; IPv6 hosts may be missing where the system has no IPv6.

    Port 0 finds one that is free for all of them. Raises OSError.
    """
    for attempt in range(_PORT_TRIES):
        sockets: list[socket.socket] = []
        chosen = port
        try:
            for host in hosts:
                try:
                    sock = _bound(host, chosen, kind)
                except OSError as error:
                    if ":" in host and error.errno in _NO_SUCH_FAMILY:
                        continue
                    raise
                sockets.append(sock)
                chosen = sock.getsockname()[1]
        except OSError as error:
            for sock in sockets:
                sock.close()
            if port == 0 and error.errno in PORT_TAKEN and attempt < _PORT_TRIES - 1:
                continue
            raise
        if not sockets:
            raise OSError(errno.EADDRNOTAVAIL, f"none of {', '.join(hosts)} is an address of this device")
        return sockets
    raise AssertionError("the loop returns or raises")


def _bound(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            _no_sharing(sock)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _no_sharing(sock: socket.socket) -> None:
    """A restart may take the port at once; on Windows, where the same option lets strangers share it, none may."""
    exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
    with contextlib.suppress(OSError):
        if exclusive is not None:
            sock.setsockopt(socket.SOL_SOCKET, exclusive, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def socket_address(address: Address) -> tuple[socket.AddressFamily, SocketAddress]:
    """Family and socket address of a numeric address. Raises OSError for a zone that is not there."""
    host, port = address
    if ":" not in host:
        return socket.AF_INET, (host, port)
    bare, _, zone = host.partition("%")
    scope = 0 if not zone else int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
    return socket.AF_INET6, (bare, port, 0, scope)


def send_at_once(sock: socket.socket) -> None:
    """No waiting for more to send: writes are joined before. asyncio sets this only for sockets that it made itself."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
