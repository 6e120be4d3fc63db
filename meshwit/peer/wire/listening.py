"""Takes connections, as many as may come. Shell.

Counting starts when TCP is there, before TLS: what comes above the limits is closed at once and costs next to nothing.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from meshwit.peer.wire.addresses import from_socket
from meshwit.peer.wire.budget import Gate
from meshwit.peer.wire.connection import Connection
from meshwit.peer.wire.settings import LinkSettings
from meshwit.peer.wire.sockets import bound_sockets, send_at_once

_BACKLOG: Final = 128
_REST_S: Final = 0.2
"""After an error that is not the caller's: no file descriptors left, say."""


class _Listening(socket.socket):
    """A socket that remembers what it accepted: `sock_accept` forgets that when it is cancelled at the wrong moment."""

    taken: set[socket.socket]

    def accept(self) -> tuple[socket.socket, Any]:
        sock, name = super().accept()
        self.taken.add(sock)
        return sock, name


class Listener:
    """The sockets that listen.

    Args:
        context: of the server side.
        settings: the limits.
        connection: makes the connection for a socket. It is given what to call when the connection has proved itself or
            is gone; to call that twice does no harm.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        settings: LinkSettings,
        connection: Callable[[Callable[[], None]], Connection],
    ) -> None:
        self.turned_away = 0
        """Connections closed because there were too many."""
        self._context = context
        self._settings = settings
        self._connection = connection
        self._gate = Gate(settings.unproven_max, settings.unproven_per_host_max, settings.accepts_per_host_s)
        self._sockets: list[_Listening] = []
        self._taken: set[socket.socket] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def unproven(self) -> int:
        """Connections that have not proved anything yet."""
        return self._gate.total

    def start(self, hosts: Sequence[str], port: int) -> int:
        """Listens; returns the port. Raises OSError."""
        for plain in bound_sockets(hosts, port, socket.SOCK_STREAM):
            sock = _Listening(fileno=plain.detach())
            sock.taken = self._taken
            sock.setblocking(False)
            self._sockets.append(sock)
        for sock in self._sockets:
            sock.listen(_BACKLOG)
            self._run(self._accept(sock))
        return int(self._sockets[0].getsockname()[1])

    async def close(self) -> None:
        """No longer listens; what is on its way is dropped."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for sock in [*self._sockets, *self._taken]:
            sock.close()
        self._sockets.clear()
        self._taken.clear()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, name = await loop.sock_accept(listening)
            except ConnectionError:
                continue  # gone again
            except OSError:
                await asyncio.sleep(_REST_S)
                continue
            host = from_socket(name)[0]
            if self._gate.enter(host, time.monotonic()):
                send_at_once(sock)
                self._run(self._serve(sock, host))
            else:
                self.turned_away += 1
                self._taken.discard(sock)
                sock.close()

    async def _serve(self, sock: socket.socket, host: str) -> None:
        """TLS; the rest happens in the connection."""
        self._taken.discard(sock)  # a task that is cancelled before it ran leaves it to `close`
        settings = self._settings
        inside = [host]

        def leave() -> None:
            while inside:
                self._gate.leave(inside.pop())

        connection = self._connection(leave)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                sock,
                ssl=self._context,
                ssl_handshake_timeout=settings.handshake_s,
                ssl_shutdown_timeout=settings.close_s,
            )
        except OSError:  # and what is one: a TLS error, a reset, a timeout
            connection.abort()
        except BaseException:
            connection.abort()
            raise
