"""TCP to one of several addresses, whichever answers first. Adapter.

The addresses are tried one after the other, the next as soon as one fails or has not answered for a moment, so that
one that leads nowhere delays little (after RFC 8305). A peer counts as refusing only if every address refuses, or the
one where it was last linked does: of the others, one may lead to another host (`172.17.0.1` is everybody's).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Iterable, Sequence
from typing import Final, cast

from meshwit.peer.wire.addresses import Address, address_text
from meshwit.peer.wire.endings import ErrorKind, LinkError
from meshwit.peer.wire.settings import LinkSettings
from meshwit.peer.wire.sockets import SocketAddress, send_at_once, socket_address

ADDRESSES_MAX: Final = 16
"""Of one peer; the rest is not tried."""
_RESOLVED_MAX: Final = 4
_TELLING: Final[tuple[ErrorKind, ...]] = (
    "expelled", "version", "wrong_mesh", "identity", "protocol", "timeout", "unreachable", "refused",
)  # fmt: skip
_SEMAPHORE_TIMEOUT: Final = 121
"""What Windows says when nobody answers."""


async def open_tcp(
    addresses: Sequence[Address], settings: LinkSettings, likely: Address | None = None
) -> tuple[socket.socket, Address]:
    """A connected socket and which address it goes to. Raises LinkError.

    Args:
        addresses: in the order in which they are tried.
        settings: the times.
        likely: where the peer was last; if that refuses, the others have only `refused_grace_s` left.
    """
    loop = asyncio.get_running_loop()
    queue = list(dict.fromkeys(addresses))[:ADDRESSES_MAX]
    attempts: dict[asyncio.Task[socket.socket | LinkError], Address] = {}
    failures: list[LinkError] = []
    deadline: float | None = None
    winner: tuple[socket.socket, Address] | None = None
    try:
        while (queue or attempts) and winner is None:
            for address in queue[: 1 if deadline is None else None]:
                queue.remove(address)
                attempts[asyncio.create_task(_attempt(address))] = address
            wait_s = settings.attempt_delay_s if queue else None if deadline is None else deadline - loop.time()
            if wait_s is not None and wait_s <= 0:
                break
            done, _ = await asyncio.wait(attempts, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                address, result = attempts[attempt], attempt.result()
                if isinstance(result, LinkError):
                    del attempts[attempt]
                    failures.append(result)
                    if result.kind == "refused" and address == likely:
                        failures = [result]
                        deadline = loop.time() + settings.refused_grace_s
                elif winner is None:
                    del attempts[attempt]
                    winner = result, address
    finally:
        await _call_off(attempts)
    if winner is not None:
        return winner
    if deadline is not None:
        raise next(each for each in failures if each.kind == "refused")
    raise most_telling(failures)


def most_telling(failures: Iterable[LinkError]) -> LinkError:
    """Of several failures the one to report: of those that met a peer first, `refused` only if all refused."""
    ranked = sorted(failures, key=lambda failure: _TELLING.index(failure.kind))
    return ranked[0] if ranked else LinkError("unreachable", "no address of the peer is known")


async def _call_off(attempts: Iterable[asyncio.Task[socket.socket | LinkError]]) -> None:
    rest = list(attempts)
    for attempt in rest:
        attempt.cancel()
    for result in await asyncio.gather(*rest, return_exceptions=True):
        if isinstance(result, socket.socket):
            result.close()


async def _attempt(address: Address) -> socket.socket | LinkError:
    try:
        targets = await _resolved(address)
    except (OSError, UnicodeError) as error:
        return LinkError("unreachable", f"{address_text(address)} has no address: {error}")
    failures = []
    for family, target in targets[:_RESOLVED_MAX]:
        try:
            return await _connected(family, target)
        except OSError as error:
            failures.append(_mapped(error, address))
    return most_telling(failures)


async def _resolved(address: Address) -> list[tuple[int, SocketAddress]]:
    host, port = address
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return [socket_address(address)]
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [
        (family, cast(SocketAddress, target))
        for family, _, _, _, target in found
        if family in (socket.AF_INET, socket.AF_INET6)
    ]


async def _connected(family: int, target: SocketAddress) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        send_at_once(sock)
        await asyncio.get_running_loop().sock_connect(sock, target)
    except BaseException:
        sock.close()
        raise
    return sock


def _mapped(error: OSError, address: Address) -> LinkError:
    where = address_text(address)
    if isinstance(error, ConnectionRefusedError):
        return LinkError("refused", f"nobody listens at {where}")
    if isinstance(error, TimeoutError) or getattr(error, "winerror", 0) == _SEMAPHORE_TIMEOUT:
        return LinkError("timeout", f"{where} does not answer")
    return LinkError("unreachable", f"there is no way to {where}: {error.strerror or error}")
