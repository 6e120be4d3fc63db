"""Which peers made the blobs that results refer to, as far as a leader remembers. Core."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from meshwit.ids import PeerId
from meshwit.peer.work.messages import BlobRef

MAKERS_MAX: Final = 16_384
"""Blobs; more than a step has items that run near their data. Where a maker is forgotten the leader gives its copy."""


class Makers:
    """See the module."""

    def __init__(self) -> None:
        self._of: dict[str, PeerId] = {}

    def made(self, blobs: Iterable[BlobRef], peer: PeerId) -> None:
        """A peer has these; those noted first are forgotten where there are too many."""
        for name, _ in blobs:
            self._of.pop(name, None)
            self._of[name] = peer
        while len(self._of) > MAKERS_MAX:
            del self._of[next(iter(self._of))]

    def of(self, name: str) -> PeerId | None:
        """Who made a blob."""
        return self._of.get(name)

    def of_all(self, blobs: Iterable[BlobRef]) -> list[PeerId]:
        """Who made any of these, in their order."""
        return list(dict.fromkeys(self._of[name] for name, _ in blobs if name in self._of))
