"""What carries connections: TCP to one of several addresses, and TLS 1.3 on it. Adapter.

`Streams` is all that links want of it; a simulated network has another.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from meshwit.peer.wire.addresses import Address, address_text
from meshwit.peer.wire.connection import Connection
from meshwit.peer.wire.dialing import open_tcp
from meshwit.peer.wire.endings import LinkError
from meshwit.peer.wire.listening import Listener
from meshwit.peer.wire.settings import LinkSettings
from meshwit.peer.wire.tls import certificate_der, certificate_key, client_context, server_certificate, server_context

Accepting: TypeAlias = Callable[[Callable[[], None]], Connection]
"""Makes the connection for somebody who dialled; is given what to call when that one is proved or gone."""


class Listening(Protocol):
    """What takes connections, as many as may come."""

    turned_away: int

    @property
    def unproven(self) -> int:
        """Connections that have not proved anything yet."""

    def start(self, hosts: Sequence[str], port: int) -> int:
        """Listens; returns the port. Raises OSError."""

    async def close(self) -> None:
        """No longer listens; what is on its way is dropped."""


class Streams(Protocol):
    """See the module.

    Attributes:
        certificate: of this side, as others see it; `key`, the public key in it.
    """

    certificate: bytes
    key: bytes

    async def dial(
        self, addresses: Sequence[Address], settings: LinkSettings, likely: Address | None
    ) -> tuple[Any, Address]:
        """Reach somebody at one of these addresses, and say at which. Raises LinkError."""

    async def open(self, connection: Connection, dialled: Any, address: Address, settings: LinkSettings) -> None:
        """Make that a connection. Raises LinkError; the connection is to be aborted then."""

    def server(self, connection: Connection) -> tuple[bytes, bytes]:
        """Certificate and key of who was dialled. Raises LinkError."""

    def listener(self, settings: LinkSettings, accepting: Accepting) -> Listening:
        """What takes connections of others."""


class TlsStreams:
    """The real ones.

    Args:
        certfile: the TLS certificate of the device key, PEM.
        keyfile: its private half, PEM.
    """

    def __init__(self, certfile: Path | str, keyfile: Path | str) -> None:
        self.certificate = certificate_der(certfile)
        self.key = certificate_key(self.certificate)
        self._server_context = server_context(certfile, keyfile)
        self._client_context = client_context()

    async def dial(
        self, addresses: Sequence[Address], settings: LinkSettings, likely: Address | None
    ) -> tuple[Any, Address]:
        """TCP to whichever answers first."""
        return await open_tcp(addresses, settings, likely)

    async def open(self, connection: Connection, dialled: Any, address: Address, settings: LinkSettings) -> None:
        """TLS over a connected socket."""
        where = address_text(address)
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: connection,
                sock=dialled,
                ssl=self._client_context,
                server_hostname="",
                ssl_handshake_timeout=settings.handshake_s,
                ssl_shutdown_timeout=settings.close_s,
            )
        except (ConnectionAbortedError, TimeoutError):
            raise LinkError("timeout", f"TLS with {where} took longer than {settings.handshake_s:g} s") from None
        except ssl.SSLError as error:
            raise LinkError("protocol", f"{where} speaks no TLS 1.3: {error.reason or error}") from None
        except OSError as error:
            raise LinkError("unreachable", f"{where} broke off: {error.strerror or error}") from None

    def server(self, connection: Connection) -> tuple[bytes, bytes]:
        """What TLS showed."""
        try:
            certificate = server_certificate(connection.tls())
            return certificate, certificate_key(certificate)
        except ValueError as error:
            raise LinkError("protocol", str(error)) from None

    def listener(self, settings: LinkSettings, accepting: Accepting) -> Listener:
        """Sockets that listen."""
        return Listener(self._server_context, settings, accepting)
