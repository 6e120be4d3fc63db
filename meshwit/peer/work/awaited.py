"""Which steps and batches wait for blobs, and for which fetch. Core."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from meshwit.ids import PeerId
from meshwit.peer.work.effects import Effect, Fetch
from meshwit.peer.work.hosted import HostedStep, Waiting


class AwaitedBlobs:
    """What is being fetched, and for whom: for a batch, or for a step as a whole."""

    def __init__(self, numbers: Iterator[int]) -> None:
        """`numbers` gives each fetch a name that no other has."""
        self._numbers = numbers
        self._fetches: dict[int, tuple[HostedStep, Waiting | None]] = {}

    def __len__(self) -> int:
        return len(self._fetches)

    def fetch(
        self, step: HostedStep, waiting: Waiting | None, blobs: Sequence[tuple[str, int]], holders: Sequence[str]
    ) -> Effect:
        """Have blobs fetched, of these peers or of the step's leader; until they are here it waits."""
        (step if waiting is None else waiting).missing = True
        key = next(self._numbers)
        self._fetches[key] = (step, waiting)
        return Fetch(key, blobs, [PeerId(each) for each in (*holders, step.leader)])

    def fetch_anew(self, step: HostedStep, needed: Sequence[tuple[str, int]]) -> list[Effect]:
        """What is still missing, asked for again: it may be asked of a leader that is gone."""
        for key in [key for key, (each, _) in self._fetches.items() if each is step]:
            del self._fetches[key]
        holders = step.opened.holders
        effects: list[Effect] = []
        if step.missing:
            effects.append(self.fetch(step, None, needed, holders))
        for waiting in step.queue:
            if waiting.missing:
                effects.append(self.fetch(step, waiting, waiting.batch.blobs, [*waiting.batch.holders, *holders]))
        return effects

    def ended(self, key: int) -> tuple[HostedStep, Waiting | None] | None:
        """Who waited for that fetch, which is over; None if nobody does any more."""
        return self._fetches.pop(key, None)
