"""Two meshes made at the same time become one: this peer goes over where it should. Shell of `merging`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from meshwit.peer.mesh.belonging import enter_open_mesh
from meshwit.peer.mesh.keeper import MembershipKeeper
from meshwit.peer.mesh.merging import GATHER_S, Strangers
from meshwit.peer.mesh.sightings import Sighting, mesh_hash
from meshwit.peer.trust.join_effects import Joined
from meshwit.peer.wire.addresses import address_text
from meshwit.peer.wire.links import Links

LOOK_EVERY_S: Final = 2.0
"""At the other open meshes."""
LOOK_NEW_EVERY_S: Final = 0.5
"""The same while the own mesh is new and another one is near."""


class Merger:
    """See the module.

    Args:
        may_merge: whether this peer would give up a mesh of its own for another open one.
        spawn: runs a coroutine as long as the peer lives.
        is_alone: whether this peer made its mesh and nobody else is in it.
        is_new: whether its mesh is so new that all who are in it would give it up.
        is_busy: whether it leads a job, which nobody would go on with.
    """

    def __init__(
        self,
        keeper: MembershipKeeper,
        links: Links,
        name: str,
        *,
        may_merge: bool,
        spawn: Callable[[Coroutine[Any, Any, object]], None],
        is_alone: Callable[[], bool],
        is_new: Callable[[], bool],
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self.on_merge: Callable[[Joined], None] = lambda _joined: None
        """Called with the place in another mesh, in which this one, of this peer alone, is to be merged."""
        self._keeper = keeper
        self._links = links
        self._name = name
        self._may_merge = may_merge
        self._spawn = spawn
        self._is_alone = is_alone
        self._is_new = is_new
        self._is_busy = is_busy
        self._loop = asyncio.get_running_loop()
        self._strangers = Strangers()
        self._postponed = ""
        self._merging = False
        self._closed = False

    def seen(self, sighting: Sighting) -> None:
        """A member of another mesh is near."""
        self._strangers.seen(sighting, self._loop.time())
        self._loop.call_later(GATHER_S, self._consider)

    def others(self) -> list[str]:
        """Meshes that are near and not ours, by where they were seen."""
        return [address_text(each.addresses[0]) for each in self._strangers.sightings if each.addresses]

    async def run(self) -> None:
        """Look at them again and again."""
        while True:
            self._consider()
            new = bool(self._strangers.sightings) and self._is_new()
            await asyncio.sleep(LOOK_NEW_EVERY_S if new else LOOK_EVERY_S)

    def close(self) -> None:
        """Go nowhere any more."""
        self._closed = True

    def _consider(self) -> None:
        if not self._merging and not self._closed and self._better() is not None:
            self._merging = True
            self._spawn(self._merge())

    def _better(self) -> Sighting | None:
        if not self._may_merge:
            return None
        own = mesh_hash(self._keeper.mesh)
        new = self._is_new()
        found = self._strangers.better(
            own, self._loop.time(), alone=self._is_alone(), new=new or bool(self._postponed)
        )  # fmt: skip
        if found is None or not (new or self._is_alone() or found.mesh_hash == self._postponed):
            return None
        if self._is_busy():  # what it leads would be interrupted: it goes over when that has ended
            self._postponed = found.mesh_hash
            return None
        return found

    async def _merge(self) -> None:
        try:
            while (sighting := self._better()) is not None:
                joined = await enter_open_mesh(
                    self._links.open_join, self._keeper.signer, self._name, sighting.addresses
                )  # fmt: skip
                if joined is not None and joined.membership.mesh != self._keeper.mesh and self._better() is not None:
                    self.on_merge(joined)
                    return
                self._postponed = ""
                self._strangers.refused(sighting.mesh_hash, self._loop.time())
        finally:
            self._merging = False
