"""How a member finds the others of its mesh: by what it remembers, what was named, and what is seen nearby. Shell.

What is seen by mDNS is a hint where to dial. While nobody is linked everything that is remembered is tried again and
again; from then on gossip tells where the others are.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, Protocol

from meshwit.ids import PeerId
from meshwit.peer.mesh.address_book import DEFAULT_PORT, AddressBook, resolve
from meshwit.peer.mesh.sightings import Sighting
from meshwit.peer.wire.addresses import Address, address_text
from meshwit.peer.wire.endings import LinkError
from meshwit.peer.wire.links import Links

_log = logging.getLogger(__name__)

SEEK_EVERY_S: Final = (2.0, 60.0)
"""The first pause between tries while nobody is linked, and the longest; it doubles."""
LOOK_EVERY_S: Final = 3.0
"""At whether somebody is linked."""
TRIES_MAX: Final = 8
"""Dials at the same time for what was seen or is remembered; further ones wait for the next round."""


class Nearby(Protocol):
    """Who is seen near this device, as `discovery` has it: its methods say what each is to do."""

    @property
    def sightings(self) -> list[Sighting]: ...
    async def start(self) -> None: ...
    async def announce(self, mesh_hash: str, port: int) -> None: ...
    async def close(self) -> None: ...


class Seeker:
    """Seeks from `start` to `close`.

    Args:
        mesh: the hash of the own mesh, as `sightings.mesh_hash` makes it.
        nearby: has `sighted` called.
        spawn: runs a coroutine as long as the peer lives.
        addresses_of: where a peer may listen, nowhere if it is not to be tried.
        tell: an event for who watches: kind and text.
        noted: called when something was written into the book.
        stranger: told of members of other meshes.
    """

    def __init__(
        self,
        mesh: str,
        links: Links,
        book: AddressBook,
        nearby: Nearby,
        *,
        spawn: Callable[[Coroutine[Any, Any, object]], None],
        addresses_of: Callable[[PeerId], Sequence[Address]],
        tell: Callable[[str, str], None],
        noted: Callable[[], None],
        stranger: Callable[[Sighting], None],
    ) -> None:
        self._mesh = mesh
        self._links = links
        self._book = book
        self._nearby = nearby
        self._spawn = spawn
        self._addresses_of = addresses_of
        self._tell = tell
        self._noted = noted
        self._stranger = stranger
        self._loop = asyncio.get_running_loop()
        self._hosts: list[Address] = []
        self._trying = 0

    async def start(self, port: int, hosts: Sequence[Address]) -> None:
        """Begins. `hosts` were named: by the owner, an invite, or who let this peer in."""
        self._hosts = list(dict.fromkeys((host, each or DEFAULT_PORT) for host, each in hosts))
        await self._nearby.start()
        await self._nearby.announce(self._mesh, port)
        self._spawn(self._seek_for_ever())

    async def close(self) -> None:
        """Stops."""
        await self._nearby.close()

    @property
    def is_trying(self) -> bool:
        """Whether it waits for somebody to answer who may be a member."""
        return self._trying > 0

    def sighted(self, sighting: Sighting) -> None:
        """A peer was seen nearby."""
        if sighting.mesh_hash != self._mesh:
            self._stranger(sighting)
            return
        linked = {link.address[0] for link in self._links.links.values()}
        if not any(host in linked for host, _ in sighting.addresses) or len(self._links.links) < 2:
            self._begin(partial(self._try, None, sighting.addresses))

    async def _seek_for_ever(self) -> None:
        pause_s, longest_s = SEEK_EVERY_S
        due = self._loop.time()
        while True:
            now = self._loop.time()
            if self._links.links:
                pause_s = SEEK_EVERY_S[0]
            elif now >= due:
                self._seek()
                due, pause_s = now + pause_s, min(2 * pause_s, longest_s)
            await asyncio.sleep(LOOK_EVERY_S if self._links.links else min(pause_s, LOOK_EVERY_S))

    def _seek(self) -> None:
        """Tries all that is known."""
        for address in dict.fromkeys((*self._hosts, *self._book.hosts)):
            self._begin(partial(self._try_host, address))
        for sighting in self._nearby.sightings:
            if sighting.mesh_hash == self._mesh:
                self._begin(partial(self._try, None, sighting.addresses))
        heard_last = sorted(self._book.peers, key=lambda peer: -self._book.peers[peer].heard_at)
        for peer in heard_last:
            if addresses := self._addresses_of(peer):
                self._begin(partial(self._try, peer, addresses))

    def _begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Starts a try unless too many are on their way."""
        if self._trying < TRIES_MAX:
            self._spawn(self._counted(work))

    async def _counted(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        # Made here: a peer that stops may cancel this before it has begun, and then nobody would await what was made.
        if self._trying >= TRIES_MAX:
            return
        self._trying += 1
        try:
            await work()
        finally:
            self._trying -= 1

    async def _try(self, peer: PeerId | None, addresses: Sequence[Address]) -> None:
        if not addresses:
            return
        try:
            await self._links.connect(peer, addresses)
        except LinkError as error:
            _log.info("nobody of the mesh at %s: %s", ", ".join(map(address_text, addresses)), error)
            if error.kind == "expelled":
                self._tell("refused", str(error))

    async def _try_host(self, address: Address) -> None:
        try:
            link = await self._links.connect(None, await resolve(address))
        except (OSError, LinkError) as error:
            where, why = address_text(address), str(error)
            self._tell("unreachable", why if where in why else f"{where}: {why}")
        else:
            self._book.named(address, time.time())
            self._noted()
            _log.info("%s answers at %s", link.info.name, address_text(address))
