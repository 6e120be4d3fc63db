"""Dials members that have what is needed here and that this peer is not linked to, as in a large mesh. Shell.

Such links stay until they end by themselves; so there are only so many of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from meshwit.ids import PeerId
from meshwit.peer.wire.addresses import Address
from meshwit.peer.wire.endings import LinkError
from meshwit.peer.wire.links import Links

_log = logging.getLogger(__name__)

REACHED_MAX: Final = 16
"""Links made so. Lower: all comes from few peers; higher: memory and descriptors."""


class Reaching:
    """See the module.

    Args:
        addresses_of: where a member may listen; nowhere, if it is none or not known.
    """

    def __init__(self, links: Links, addresses_of: Callable[[PeerId], Sequence[Address]]) -> None:
        self._links = links
        self._addresses_of = addresses_of
        self._dialled: set[PeerId] = set()

    async def reach(self, peer: PeerId) -> None:
        """Seek a link to a member; raises nothing."""
        up = self._links.links
        self._dialled.intersection_update(up)
        addresses = self._addresses_of(peer)
        if peer in up or not addresses or len(self._dialled) >= REACHED_MAX:
            return
        try:
            await self._links.connect(peer, addresses)
        except LinkError as error:
            _log.info("%s has what is needed, and cannot be reached: %s", peer, error)
        else:
            self._dialled.add(peer)
