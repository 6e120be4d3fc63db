"""To whom a peer keeps a connection. Pure.

In a mesh of up to `LINKS_MAX` peers to everyone. In a larger one to its nearest by XOR distance, which are also those
that gossip knows wholly, and to one peer at each greater distance, so that whatever floods over links reaches all.
Both ends mostly come to the same choice; where not, the one who wants the link keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from meshwit.ids import PeerId, id_bytes

LINKS_MAX: Final = 48
"""Lower: fewer descriptors, more dials before a job; higher: memory (up to 1 MB a link, mostly buffers of TLS)."""


def wanted_links(me: PeerId, alive: Iterable[PeerId], links_max: int = LINKS_MAX) -> frozenset[PeerId]:
    """Those of the living whom `me` should be connected to, at most `links_max` of them."""
    others = [peer for peer in alive if peer != me]
    if len(others) <= links_max:
        return frozenset(others)
    own = _number(me)
    by_distance = sorted((own ^ _number(peer), peer) for peer in others)
    far: dict[int, PeerId] = {}
    for distance, peer in by_distance:
        far.setdefault(distance.bit_length(), peer)
    chosen = dict.fromkeys(list(far.values())[-(links_max // 2) :])
    for _, peer in by_distance:
        if len(chosen) == links_max:
            break
        chosen.setdefault(peer)
    return frozenset(chosen)


@lru_cache(maxsize=4096)
def _number(peer: PeerId) -> int:
    return int.from_bytes(id_bytes(peer), "big")
