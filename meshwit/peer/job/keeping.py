"""What of a job is to outlive its leader: it is handed out for recording as it becomes known. Core.

Only what this leader found out is: what a wish was answered from the journal is recorded already. Each record says how
many answers this leader had recorded when the wish was made, so that whoever reads it knows what the wish rested on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meshwit.ids import PeerId
from meshwit.lang.wishes import Path
from meshwit.peer.job.effects import Effect, KeepAnswer, KeepConcluded, KeepIntent, KeepResults, KeepSleep
from meshwit.peer.job.journal import Known


class Keeping:
    """See the module.

    Args:
        effects: where they go.
        on: the job is kept.

    Attributes:
        answers: that were handed out for recording.
    """

    def __init__(self, effects: list[Effect], *, on: bool = False) -> None:
        self.on = on
        self.answers = 0
        self._effects = effects
        self._since: dict[Path, int] = {}

    def wished(self, path: Path, since: int) -> None:
        """A wish that the journal does not answer was made when there were so many answers."""
        self._since[path] = since

    def since(self, path: Path) -> int:
        """How many answers there were when a wish was made."""
        return self._since.get(path, 0)

    def withdrawn(self, path: Path) -> None:
        """It is not wished any more."""
        self._since.pop(path, None)

    def waits(self, path: Path) -> bool:
        """Whether a wish has not got its answer."""
        return path in self._since

    def answered(self, path: Path, known: Known, *, concludes: bool = False) -> None:
        """A wish has its answer; with `concludes`, a Grid step: its results have been recorded before."""
        since = self._since.pop(path, None)
        if self.on and since is not None:
            self.answers += 1
            kept = KeepConcluded(path, since, known.failure) if concludes else KeepAnswer(path, since, known)
            self._effects.append(kept)

    def results(self, path: Path, step: int, peer: PeerId, numbers: Sequence[int], values: Sequence[Any]) -> None:
        """Items of a Grid step have their results, by that peer; empty where they came from elsewhere."""
        if self.on and numbers:
            self._effects.append(KeepResults(path, self._since.get(path, 0), step, peer, numbers, values))

    def slept(self, path: Path, until: float) -> None:
        """A wait began."""
        if self.on:
            self._effects.append(KeepSleep(path, self._since.get(path, 0), until))

    def intended(self, path: Path, step: int, peer: PeerId, numbers: Sequence[int]) -> None:
        """Items that must not run twice are about to go to a peer."""
        self._effects.append(KeepIntent(path, self._since.get(path, 0), step, peer, numbers))
