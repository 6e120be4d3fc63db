"""Keeps a peer linked to those that it should be linked to, as members come and go. Shell of `neighbours`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from meshwit.ids import PeerId
from meshwit.peer.mesh.neighbours import wanted_links
from meshwit.peer.wire.addresses import Address
from meshwit.peer.wire.links import Links

SECOND_DIAL_S: Final = 1.5
"""Of two that want to be linked the one with the lower id dials; the other only if there is no link after this time."""
SETTLE_S: Final = 0.05
"""Links are chosen anew so long after the members changed: changes come in crowds."""


class Neighbourhood:
    """See the module; of a peer that runs, until `close`.

    Args:
        alive: the members that are believed to live, of those that may be linked to.
        addresses_of: where a peer may listen.
    """

    def __init__(
        self,
        me: PeerId,
        links: Links,
        alive: Callable[[], Iterable[PeerId]],
        addresses_of: Callable[[PeerId], Sequence[Address]],
    ) -> None:
        self._me = me
        self._links = links
        self._alive = alive
        self._addresses_of = addresses_of
        self._loop = asyncio.get_running_loop()
        self._kept: frozenset[PeerId] = frozenset()
        self._late: dict[PeerId, asyncio.TimerHandle] = {}
        self._settling: asyncio.TimerHandle | None = None
        self._closed = False

    def changed(self) -> None:
        """Somebody came, went, died or is back."""
        if self._settling is None and not self._closed:
            self._settling = self._loop.call_later(SETTLE_S, self._settle)

    def moved(self, peer: PeerId) -> None:
        """A peer said where it listens."""
        if peer in self._kept and peer not in self._late:
            self._links.keep(peer, self._addresses_of(peer))

    def died(self, peer: PeerId) -> None:
        """A peer does not answer: TCP itself would hold its link for minutes."""
        link = self._links.links.get(peer)
        if link is not None:
            link.close("it does not answer", goodbye=False)

    def close(self) -> None:
        """Choose no more."""
        self._closed = True
        for timer in (self._settling, *self._late.values()):
            if timer is not None:
                timer.cancel()

    def _settle(self) -> None:
        self._settling = None
        wanted = wanted_links(self._me, self._alive())
        for peer in sorted(self._kept - wanted):
            self._links.unkeep(peer)
            late = self._late.pop(peer, None)
            if late is not None:
                late.cancel()
        for peer in sorted(wanted - self._kept):
            if self._me < peer:
                self._links.keep(peer, self._addresses_of(peer))
            else:
                self._late[peer] = self._loop.call_later(SECOND_DIAL_S, self._keep_late, peer)
        self._kept = wanted

    def _keep_late(self, peer: PeerId) -> None:
        del self._late[peer]
        self._links.keep(peer, self._addresses_of(peer))
