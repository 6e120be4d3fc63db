"""One family's mDNS on some interfaces, by zeroconf: tells one record, hears those of others.

IPv4 and IPv6 have a responder each, so that one that fails does not take the other with it (and macOS refuses IPv4
groups on IPv6 sockets). Names are random, so nobody has to be asked whether they are free: announcing takes no time.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable, Sequence
from typing import Final, Literal

from zeroconf import (  # type: ignore[attr-defined]
    DNSOutgoing,
    DNSQuestion,
    DNSQuestionType,
    Error,
    IPVersion,
    ServiceStateChange,
    Zeroconf,
)
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from meshwit.peer.mesh.interfaces import ip_address
from meshwit.peer.mesh.sightings import MESH_FIELD, SERVICE, Sighting, read_sighting

GROUPS: Final = {4: "224.0.0.251", 6: "ff02::fb"}
MDNS_PORT: Final = 5353
TYPE_PTR: Final = 12
CLASS_IN: Final = 1
LOOKUPS_MAX: Final = 16
LOOKUP_MS: Final = 1500
CLOSE_LIMIT_S: Final = 2.0

Family = Literal[4, 6]


class Responder:
    """Hears and tells on the interfaces with the given addresses, from `open` to `close`.

    Args:
        on_seen: a record was heard, for the first time or changed.
        on_gone: the instance with that name took it back.
    """

    def __init__(self, family: Family, on_seen: Callable[[Sighting], None], on_gone: Callable[[str], None]) -> None:
        self.family: Family = family
        self._on_seen = on_seen
        self._on_gone = on_gone
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._record: AsyncServiceInfo | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, hosts: Sequence[str]) -> None:
        """Start hearing, and ask who is there. Raises OSError."""
        bare = [str(ip_address(host)) for host in hosts]
        version = IPVersion.V4Only if self.family == 4 else IPVersion.V6Only
        try:
            self._zeroconf = AsyncZeroconf(interfaces=bare, ip_version=version)
        except (RuntimeError, ValueError) as error:
            raise OSError(str(error)) from error
        try:
            await self._zeroconf.zeroconf.async_wait_for_start()
        except Error as error:
            raise OSError(str(error) or "mDNS did not start") from error
        self._browser = AsyncServiceBrowser(self._zeroconf.zeroconf, SERVICE, handlers=[self._changed])
        self.ask()

    def ask(self, direct: bool = False) -> None:
        """Ask all who are there.

        Args:
            direct: for answers to this socket only, which come at once. Where several programs share the port another
                one may get them, so this is never all that is asked.
        """
        if self._zeroconf is not None:
            question = DNSQuestion(SERVICE, TYPE_PTR, CLASS_IN)
            question.unicast = direct
            asked = DNSOutgoing(0)
            asked.add_question(question)
            self._zeroconf.zeroconf.async_send(asked)

    async def announce(self, instance: str, mesh_hash: str, port: int, hosts: Sequence[str]) -> None:
        """Tell all that a peer of that mesh listens there, in place of what was told before."""
        await self.withdraw()
        if self._zeroconf is None:
            return
        record = AsyncServiceInfo(
            SERVICE,
            f"{instance}.{SERVICE}",
            port=port,
            properties={MESH_FIELD: mesh_hash},
            server=f"{secrets.token_hex(16)}.local.",
            parsed_addresses=[str(ip_address(host)) for host in hosts],
        )
        with contextlib.suppress(Error):
            told = await self._zeroconf.async_register_service(record, cooperating_responders=True)
            self._record = record
            self._keep(told)

    async def withdraw(self) -> None:
        """Take back what was told."""
        record, self._record = self._record, None
        if self._zeroconf is not None and record is not None:
            with contextlib.suppress(Error):
                await (await self._zeroconf.async_unregister_service(record))

    async def close(self) -> None:
        """Take back what was told and let go of the network. Never raises; may be called again, if cancelled."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        browser, self._browser = self._browser, None
        if browser is not None:
            await browser.async_cancel()
        if self._zeroconf is not None:
            with contextlib.suppress(TimeoutError, Error, OSError):
                async with asyncio.timeout(CLOSE_LIMIT_S):
                    await self._zeroconf.async_close()
        self._zeroconf = None

    def _changed(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is ServiceStateChange.Removed:
            self._on_gone(name.partition(".")[0])
            return
        info = AsyncServiceInfo(service_type, name)
        if info.load_from_cache(zeroconf):
            self._tell(info)
        elif len(self._tasks) < LOOKUPS_MAX:
            self._keep(self._look_up(zeroconf, info))

    async def _look_up(self, zeroconf: Zeroconf, info: AsyncServiceInfo) -> None:
        with contextlib.suppress(Error):
            if await info.async_request(zeroconf, LOOKUP_MS, DNSQuestionType.QM):
                self._tell(info)

    def _tell(self, info: AsyncServiceInfo) -> None:
        hosts = info.parsed_scoped_addresses(IPVersion.All)
        sighting = read_sighting(info.name, info.properties, info.port, hosts)
        if sighting is not None:
            self._on_seen(sighting)

    def _keep(self, work: object) -> None:
        """Work that goes on beside; it ends with the responder at the latest."""
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def group_fault(family: Family, host: str) -> str:
    """Why the group of mDNS cannot be had on the interface with that address; empty if it can. Sends nothing."""
    try:
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        target = socket.getaddrinfo(GROUPS[family], MDNS_PORT, kind, socket.SOCK_DGRAM)[0][4]
        own = socket.getaddrinfo(host, 0, kind, socket.SOCK_DGRAM)[0][4]
        with socket.socket(kind, socket.SOCK_DGRAM) as probe:
            zone = own[-1] if family == 6 else 0
            if zone or not ip_address(host).is_link_local:
                # Link-local without a zone (Windows tells none): only trying tells.
                probe.bind(own)
            if family == 4:
                probe.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(host))
                membership = socket.inet_aton(GROUPS[4]) + socket.inet_aton(host)
                probe.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
                probe.connect(target)
            elif zone:
                probe.connect((*target[:2], 0, zone))
    except OSError as error:
        return f"no multicast from {host}: {error.strerror or error}"
    return ""
