"""Batches of items that must not run twice: held back until it is recorded where they go. Core."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from meshwit.ids import PeerId
from meshwit.peer.job.effects import Assign


class HeldBack:
    """By step and peer."""

    def __init__(self) -> None:
        self._waiting: dict[int, dict[PeerId, list[Assign]]] = {}

    def hold(self, assign: Assign) -> None:
        """One more is to wait."""
        self._waiting.setdefault(assign.step, {}).setdefault(assign.peer, []).append(assign)

    def released(self, step: int, peer: PeerId, numbers: Sequence[int]) -> Assign | None:
        """The batch of these items may go, if it still waits."""
        waiting = self._waiting.get(step, {}).get(peer, [])
        for assign in waiting:
            if list(assign.numbers) == list(numbers):
                waiting.remove(assign)
                return assign
        return None

    def taken(self, step: int, peer: PeerId, numbers: Collection[int] | None = None) -> list[int]:
        """Those of these items, or all, that wait for a peer: their batches will not go."""
        waiting = self._waiting.get(step, {}).get(peer, [])
        found = [each for each in waiting if numbers is None or any(number in numbers for number in each.numbers)]
        for assign in found:
            waiting.remove(assign)
        return [number for assign in found for number in assign.numbers]

    def peers(self, step: int) -> list[PeerId]:
        """The peers for which something of a step waits."""
        return [peer for peer, waiting in self._waiting.get(step, {}).items() if waiting]

    def over(self, step: int) -> None:
        """A step is over."""
        self._waiting.pop(step, None)
