"""Puts peers into each other's views as if their mesh had long been formed.

For scenarios in which forming is not the point: of a thousand peers it takes longer than all that comes after it. The
views are those that the peers would come to by themselves; nothing is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from meshwit.gossip.swim import Gossip

PREFIX_BYTES: Final = 8
"""Enough of an id to tell what is near."""


class Placed(Protocol):
    """A peer that has been started."""

    @property
    def core(self) -> Gossip:
        """Its gossip."""


def place(peers: Sequence[Placed], now: float) -> None:
    """Fills the view of each with the others that belong there."""
    cores = [each.core for each in peers]
    raws = [core._ground.raw for core in cores]
    prefixes = np.array([int.from_bytes(raw[:PREFIX_BYTES]) for raw in raws], dtype=np.uint64)
    for place, core in enumerate(cores):
        for other in _view(core, place, prefixes):
            subject = cores[other]
            member = core._ground.table.add(subject.me, raws[other], subject.incarnation, now)
            member.records.update(subject.own_records)
        core._ground.mesh_size = core.known_count


def _view(core: Gossip, place: int, prefixes: NDArray[np.uint64]) -> list[int]:
    """The nearest by XOR, then the first in the order that is the peer's own."""
    others = np.delete(np.arange(len(prefixes)), place)
    view_max = core._ground.config.view_max
    if len(others) <= view_max:
        return [int(each) for each in others]
    sampled = view_max // 2
    by_distance = others[np.argsort(prefixes[others] ^ prefixes[place], kind="stable")]
    near, far = by_distance[: view_max - sampled], by_distance[view_max - sampled :]
    order = np.argsort(prefixes[far] * np.uint64(core._ground.table.salt), kind="stable")
    return [int(each) for each in np.concatenate((near, far[order][:sampled]))]
