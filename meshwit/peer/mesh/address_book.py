"""Where peers were reached, so that they are found again without mDNS and after everything has moved.

Per peer its name and up to eight addresses, each with the time of the last success; besides, the hosts that people
named with `--peer`, which may be names whose numbers change. Times are seconds since 1970: they are kept on disk.
`AddressBook` decides; `AddressBookFile` keeps it in a file, which is written whole at most every few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from meshwit.ids import PeerId, is_id
from meshwit.peer.mesh.interfaces import IpNetwork, ip_address
from meshwit.peer.trust.errors import TrustError
from meshwit.peer.trust.files import write_private
from meshwit.peer.wire.addresses import Address, from_socket, normalised, parse_address

DEFAULT_PORT: Final = 7723
PORTS_TRIED: Final = 17
"""The default port and the next 16; then any that is free."""
PEERS_MAX: Final = 4096
ADDRESSES_MAX: Final = 8
HOSTS_MAX: Final = 32
NAME_LENGTH_MAX: Final = 64
FILE_BYTES_MAX: Final = 8 << 20
WRITE_EVERY_S: Final = 3.0
RESOLVE_LIMIT_S: Final = 5.0


class Reached(msgspec.Struct, frozen=True, array_like=True):
    """An address and when a peer was last reached there, seconds since 1970; 0 if never."""

    host: str
    port: int
    at: float = 0.0

    @property
    def address(self) -> Address:
        """Host and port."""
        return self.host, self.port


class Whereabouts(msgspec.Struct, frozen=True):
    """What is known of one peer's whereabouts; `heard_at` is when anything of it was last heard."""

    name: str = ""
    addresses: tuple[Reached, ...] = ()
    heard_at: float = 0.0


class Book(msgspec.Struct, frozen=True):
    """The file's form."""

    peers: dict[str, Whereabouts] = {}
    hosts: tuple[Reached, ...] = ()


class AddressBook:
    """Addresses of peers. Times are `now`, seconds since 1970."""

    def __init__(self, book: Book | None = None) -> None:
        book = book or Book()
        self._peers: dict[PeerId, Whereabouts] = {
            PeerId(peer): msgspec.structs.replace(entry, addresses=entry.addresses[:ADDRESSES_MAX])
            for peer, entry in list(book.peers.items())[:PEERS_MAX]
            if is_id(peer)
        }
        self._hosts = list(book.hosts[:HOSTS_MAX])
        self.version = 0
        """Goes up with every change."""

    @property
    def peers(self) -> Mapping[PeerId, Whereabouts]:
        """All that are known."""
        return self._peers

    @property
    def hosts(self) -> list[Address]:
        """What people named, the last that answered first."""
        return [each.address for each in sorted(self._hosts, key=lambda each: -each.at)]

    def reached(self, peer: PeerId, address: Address, now: float, name: str = "") -> None:
        """A link to a peer came up at that address."""
        entry = self._peers.get(peer, Whereabouts())
        others = [each for each in entry.addresses if each.address != address]
        self._put(peer, name, [Reached(*address, now), *others], now)

    def told(self, peer: PeerId, addresses: Iterable[Address], now: float, name: str = "") -> None:
        """A peer listens there, as it or others say; addresses that it was reached at are kept."""
        entry = self._peers.get(peer, Whereabouts())
        known = {each.address: each for each in entry.addresses}
        said: dict[Address, Reached] = {}
        for each in list(addresses)[:ADDRESSES_MAX]:
            # What others send is checked here once more: it ends up on disk.
            with contextlib.suppress(ValueError, TypeError):
                address = normalised(*each)
                said[address] = known.get(address, Reached(*address))
        succeeded = [each for each in entry.addresses if each.at and each.address not in said]
        left = [each for each in entry.addresses if not each.at and each.address not in said]
        self._put(peer, name, [*said.values(), *succeeded, *left], now)

    def named(self, address: Address, now: float = 0.0) -> None:
        """People named that host; `now` if it has just answered."""
        known = next((each for each in self._hosts if each.address == address), Reached(*address))
        others = [each for each in self._hosts if each.address != address]
        self._hosts = [Reached(*address, max(now, known.at)), *others][:HOSTS_MAX]
        self.version += 1

    def forget(self, peer: PeerId) -> None:
        """Drop a peer."""
        if self._peers.pop(peer, None) is not None:
            self.version += 1

    def candidates(self, peer: PeerId, now: float, networks: Sequence[IpNetwork] = ()) -> list[Address]:
        """Where to try a peer: in this device's own networks first, then where it was reached last.

        Times after `now`, of a clock that was wrong, count as never.
        """
        entry = self._peers.get(peer, Whereabouts())

        def rank(each: Reached) -> tuple[bool, float]:
            return not _inside(each.host, networks), -each.at if each.at <= now else 0.0

        return [each.address for each in sorted(entry.addresses, key=rank)]

    def book(self) -> Book:
        """All of it, as the file has it."""
        return Book({str(peer): entry for peer, entry in self._peers.items()}, tuple(self._hosts))

    def _put(self, peer: PeerId, name: str, addresses: Sequence[Reached], now: float) -> None:
        before = self._peers.pop(peer, None)
        if not is_id(peer) or not addresses:
            return
        name = "".join(c for c in name if c.isprintable())[:NAME_LENGTH_MAX] or (before.name if before else "")
        kept = (
            sorted(addresses, key=lambda each: -each.at)[:ADDRESSES_MAX]
            if len(addresses) > ADDRESSES_MAX
            else addresses
        )
        entry = Whereabouts(name, tuple(kept), now)
        self._peers[peer] = entry
        if len(self._peers) > PEERS_MAX:
            del self._peers[min(self._peers, key=lambda each: self._peers[each].heard_at)]
        if before is None or (before.name, before.addresses) != (entry.name, entry.addresses):
            self.version += 1


class AddressBookFile:
    """Keeps an address book in a file.

    Attributes:
        book: the address book.
        warning: what was wrong with the file; empty if nothing was.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.warning = ""
        self.book = self._load()
        self._written = self.book.version
        self._writing: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def changed(self) -> None:
        """Write soon, if there is anything new. Called in the event loop, as often as one likes."""
        if self.book.version != self._written and self._writing is None:
            self._writing = asyncio.create_task(self._write_soon())

    async def close(self) -> None:
        """Write what is new at once."""
        self._closing.set()
        if self._writing is not None:
            await self._writing
        await self._write()

    async def _write_soon(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WRITE_EVERY_S):
                await self._closing.wait()
        await self._write()
        self._writing = None
        if not self._closing.is_set():
            self.changed()

    async def _write(self) -> None:
        version = self.book.version
        if version == self._written:
            return
        payload = msgspec.json.encode(self.book.book())
        try:
            await asyncio.to_thread(write_private, self._path, payload)
        except TrustError as error:
            self.warning = f"the address book is not kept: {error}"
        # A disk that is full is not tried again for the same news.
        self._written = version

    def _load(self) -> AddressBook:
        try:
            if self._path.stat().st_size > FILE_BYTES_MAX:
                raise ValueError("too large")
            return AddressBook(msgspec.json.decode(self._path.read_bytes(), type=Book))
        except FileNotFoundError:
            return AddressBook()
        except (OSError, ValueError) as error:
            self.warning = f"the address book {self._path} cannot be read and starts empty: {error}"
            return AddressBook()


def peer_address(text: str) -> Address:
    """Reads what `--peer` is given: `host`, `host:port`, `[::1]:port`. Raises ValueError in plain words."""
    address = parse_address(text, DEFAULT_PORT)
    if address[1] == 0:
        raise ValueError(f"{text!r} has port 0, where nobody listens: leave it out for {DEFAULT_PORT}")
    return address


def listening_ports() -> Iterator[int]:
    """Where to try to listen, in this order; 0 at last, for any free port."""
    yield from range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TRIED)
    yield 0


async def resolve(address: Address, limit_s: float = RESOLVE_LIMIT_S) -> list[Address]:
    """The numeric addresses behind a host. Raises OSError with the reason in plain words."""
    host, port = address
    with contextlib.suppress(ValueError):
        ip_address(host)
        return [address]
    try:
        async with asyncio.timeout(limit_s):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise OSError(f"nobody said within {limit_s:g} s where {host!r} is: is the name service reachable?") from None
    except (OSError, UnicodeError) as error:
        raise OSError(f"no host is called {host!r} here: check the name, or give its number") from error
    return list(dict.fromkeys(from_socket(name) for *_, name in found))


def _inside(host: str, networks: Sequence[IpNetwork]) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in networks)
