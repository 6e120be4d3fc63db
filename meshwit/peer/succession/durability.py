"""Which reports of which peers are durable, so that they can be told how far. Core."""

from __future__ import annotations

from meshwit.ids import PeerId


class Receipts:
    """Of each step and peer, the numbers of the reports that are durable: those from 1 on without a gap count."""

    def __init__(self) -> None:
        self._upto: dict[tuple[int, PeerId], int] = {}
        self._beyond: dict[tuple[int, PeerId], set[int]] = {}

    def add(self, step: int, peer: PeerId, number: int) -> int:
        """A report is durable; how far all are by that, 0 if no further than before."""
        key = (step, peer)
        upto = self._upto.get(key, 0)
        if number != upto + 1:
            if number > upto:
                self._beyond.setdefault(key, set()).add(number)
            return 0
        upto = number
        beyond = self._beyond.get(key, set())
        while upto + 1 in beyond:
            upto += 1
            beyond.discard(upto)
        self._upto[key] = upto
        return upto
