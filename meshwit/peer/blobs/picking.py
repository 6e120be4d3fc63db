"""Which chunks are asked of a source: rarest first, and of a first holder only what nobody else has. Core."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from meshwit.ids import PeerId
from meshwit.peer.blobs.manifest import Chance
from meshwit.peer.blobs.settings import BlobSettings
from meshwit.peer.blobs.sources import Mask, Source

Chunks = npt.NDArray[np.intp]


class Picker:
    """The chunks that are open, how rare each is, and which are waited for.

    Attributes:
        open: neither asked of anybody, nor being written, nor had.
        rarity: how many sources other than first holders have each chunk.
        deferred: chunks that another fetcher is said to be about to have: until when to wait, and for whom.
        insist: chunks that a first holder is to give even if another has them.
    """

    def __init__(self, count: int, chance: Chance, settings: BlobSettings, now: float) -> None:
        self.open: Mask = np.ones(count, np.bool_)
        self.rarity = np.zeros(count, np.int64)
        self.deferred: dict[int, tuple[float, PeerId]] = {}
        self.insist: set[int] = set()
        self._settings = settings
        self._count = count
        self._first_asked_at = now
        order = list(range(count))
        chance.shuffle(order)
        self._order = np.array(order, np.int64)

    def pick(self, source: Source, room: int, now: float) -> list[int]:
        """At most `room` open chunks to ask of a source; they are not open any more."""
        if source.has is None or room <= 0:
            return []
        candidates = self.open & source.has
        if source.first:
            candidates &= self.rarity == 0
            for index, (until, _) in self.deferred.items():
                candidates[index] = candidates[index] and until <= now
        chosen: Chunks = np.flatnonzero(candidates)
        if source.first:
            if len(chosen):
                self._first_asked_at = now
            elif not source.asked and now - self._first_asked_at >= self._settings.starved_s:
                chosen = self._starving(now)
        if len(chosen) > room:
            rank = self.rarity[chosen] * self._count + self._order[chosen]
            chosen = chosen[np.argpartition(rank, room - 1)[:room]]
        self.open[chosen] = False
        return [int(index) for index in chosen]

    def had(self, index: int) -> None:
        """A chunk is here."""
        self.deferred.pop(index, None)
        self.insist.discard(index)

    def defer(self, indexes: Iterable[int], until: float, peer: PeerId) -> None:
        """These are waited for, then insisted on."""
        for index in indexes:
            self.deferred[index] = (until, peer)
            self.insist.add(index)

    def wait_no_longer(self, peer: PeerId, now: float) -> None:
        """That peer will not have them."""
        for index, (until, who) in self.deferred.items():
            if who == peer:
                self.deferred[index] = (min(until, now), who)

    def recount(self, sources: Iterable[Source]) -> None:
        """How rare each chunk is among these."""
        self.rarity[:] = 0
        for source in sources:
            if source.has is not None:
                self.rarity += source.has

    def start_over(self) -> None:
        """Everything is open again."""
        self.open[:] = True
        self.deferred.clear()
        self.insist.clear()

    def _starving(self, now: float) -> Chunks:
        """One chunk that others have too, but have had no room to give for long."""
        spare = self.open & (self.rarity > 0)
        spare[list(self.deferred)] = False
        chosen: Chunks = np.flatnonzero(spare)
        if len(chosen):
            self._first_asked_at = now
            chosen = chosen[[int(np.argmin(self._order[chosen]))]]
            self.insist.add(int(chosen[0]))
        return chosen
