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
from typing import Any, Final

from meshwit.ids import PeerId
from meshwit.peer.mesh.address_book import DEFAULT_PORT, AddressBookFile, resolve
from meshwit.peer.mesh.belonging import enter_open_mesh
from meshwit.peer.mesh.discovery import Discovery
from meshwit.peer.mesh.keeper import MembershipKeeper
from meshwit.peer.mesh.merging import GATHER_S, Strangers
from meshwit.peer.mesh.sightings import Sighting, mesh_hash
from meshwit.peer.trust.join_effects import Joined
from meshwit.peer.wire.addresses import Address, address_text
from meshwit.peer.wire.endings import LinkError
from meshwit.peer.wire.links import Links

_log = logging.getLogger(__name__)

SEEK_EVERY_S: Final = (2.0, 60.0)
"""The first pause between tries while nobody is linked, and the longest; it doubles."""
LOOK_EVERY_S: Final = 3.0
"""At whether somebody is linked, and at the other open meshes."""
TRIES_MAX: Final = 8
"""Dials at the same time for what was seen or is remembered; further ones wait for the next round."""
LOOK_NEW_EVERY_S: Final = 0.5
"""The same while the own mesh is new and another one is near."""


class Seeker:
    """Seeks from `start` to `close`.

    Args:
        may_merge: whether this peer would give up a mesh of its own for another open one.
        spawn: runs a coroutine as long as the peer lives.
        addresses_of: where a peer may listen.
        tell: an event for who watches: kind and text.
        is_alone: whether this peer made its mesh and nobody else is in it.
        is_new: whether its mesh is so new that all who are in it would give it up.
    """

    def __init__(
        self,
        keeper: MembershipKeeper,
        links: Links,
        book_file: AddressBookFile,
        name: str,
        *,
        may_merge: bool,
        spawn: Callable[[Coroutine[Any, Any, object]], None],
        addresses_of: Callable[[PeerId], Sequence[Address]],
        tell: Callable[[str, str], None],
        is_alone: Callable[[], bool],
        is_new: Callable[[], bool],
    ) -> None:
        self.discovery = Discovery(self._sighted)
        self.on_merge: Callable[[Joined], None] = lambda _joined: None
        """Called with the place in another mesh, in which this one, of this peer alone, is to be merged."""
        self._keeper = keeper
        self._links = links
        self._book_file = book_file
        self._name = name
        self._may_merge = may_merge
        self._spawn = spawn
        self._addresses_of = addresses_of
        self._tell = tell
        self._is_alone = is_alone
        self._is_new = is_new
        self._hosts: list[Address] = []
        self._strangers = Strangers()
        self._trying = 0
        self._merging = False
        self._closed = False

    async def start(self, port: int, hosts: Sequence[Address]) -> None:
        """Begins. `hosts` were named: by the owner, an invite, or who let this peer in."""
        self._hosts = list(dict.fromkeys((host, each or DEFAULT_PORT) for host, each in hosts))
        await self.discovery.start()
        await self.discovery.announce(mesh_hash(self._keeper.mesh), port)
        self._spawn(self._seek_for_ever())

    async def close(self) -> None:
        """Stops."""
        self._closed = True
        await self.discovery.close()

    @property
    def is_trying(self) -> bool:
        """Whether it waits for somebody to answer who may be a member."""
        return self._trying > 0

    def others(self) -> list[str]:
        """Meshes that are near and not ours, by where they were seen."""
        return [address_text(each.addresses[0]) for each in self._strangers.sightings if each.addresses]

    async def _seek_for_ever(self) -> None:
        pause_s, longest_s = SEEK_EVERY_S
        due = 0.0
        while True:
            now = time.monotonic()
            if self._links.links:
                pause_s = SEEK_EVERY_S[0]
            elif now >= due:
                self._seek()
                due, pause_s = now + pause_s, min(2 * pause_s, longest_s)
            self._consider_merging()
            linked_s = LOOK_NEW_EVERY_S if self._strangers.sightings and self._is_new() else LOOK_EVERY_S
            await asyncio.sleep(linked_s if self._links.links else min(pause_s, linked_s))

    def _seek(self) -> None:
        """Tries all that is known."""
        book = self._book_file.book
        for address in dict.fromkeys((*self._hosts, *book.hosts)):
            self._begin(partial(self._try_host, address))
        for sighting in self.discovery.sightings:
            if sighting.mesh_hash == mesh_hash(self._keeper.mesh):
                self._begin(partial(self._try, None, sighting.addresses))
        heard_last = sorted(book.peers, key=lambda peer: -book.peers[peer].heard_at)
        for peer in heard_last:
            if not self._keeper.is_expelled(peer):
                self._begin(partial(self._try, peer, self._addresses_of(peer)))

    def _sighted(self, sighting: Sighting) -> None:
        if sighting.mesh_hash != mesh_hash(self._keeper.mesh):
            self._strangers.seen(sighting, time.monotonic())
            asyncio.get_running_loop().call_later(GATHER_S, self._consider_merging)
            return
        linked = {link.address[0] for link in self._links.links.values()}
        if not any(host in linked for host, _ in sighting.addresses) or len(self._links.links) < 2:
            self._begin(partial(self._try, None, sighting.addresses))

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
            self._book_file.book.named(address, time.time())
            self._book_file.changed()
            _log.info("%s answers at %s", link.info.name, address_text(address))

    # --- two meshes made at the same time ----------------------------------------------------------------------

    def _consider_merging(self) -> None:
        if not self._merging and not self._closed and self._better() is not None:
            self._merging = True
            self._spawn(self._merge())

    def _better(self) -> Sighting | None:
        if not self._may_merge:
            return None
        own = mesh_hash(self._keeper.mesh)
        return self._strangers.better(own, time.monotonic(), alone=self._is_alone(), new=self._is_new())

    async def _merge(self) -> None:
        try:
            while (sighting := self._better()) is not None:
                joined = await enter_open_mesh(
                    self._links.open_join, self._keeper.signer, self._name, sighting.addresses
                )  # fmt: skip
                if joined is not None and joined.membership.mesh != self._keeper.mesh and self._better() is not None:
                    self.on_merge(joined)
                    return
                self._strangers.refused(sighting.mesh_hash, time.monotonic())
        finally:
            self._merging = False
