"""What is told a leader that took a job over before its script has come so far: results, answers, batches held. Core.

It waits here under the path of its wish until the wish is made. Of each kind only so much is remembered: what is
forgotten is computed once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from meshwit.ids import PeerId
from meshwit.lang.wishes import Path
from meshwit.peer.job.journal import Known

RESULTS_MAX: Final = 1_000_000
ANSWERS_MAX: Final = 65_536
BATCHES_MAX: Final = 65_536
HELD_ITEMS_MAX: Final = 1_000_000


class Numbers(Protocol):
    """Item numbers as they cross."""

    @property
    def numbers(self) -> Sequence[int]:
        """The numbers in their order."""

    @property
    def sane(self) -> bool:
        """Whether it can be meant."""


class HeldBatch(Protocol):
    """A batch that a peer holds of a leader before: its number there, and whether a worker process has it."""

    @property
    def batch(self) -> int: ...
    @property
    def items(self) -> Numbers: ...
    @property
    def begun(self) -> bool: ...


class Early:
    """See the module."""

    def __init__(self) -> None:
        self._results: dict[Path, dict[int, Any]] = {}
        self._answers: dict[Path, Known] = {}
        self._held: dict[Path, dict[PeerId, dict[int, HeldBatch]]] = {}
        self._results_count = self._held_count = self._held_items = 0

    # --- results and answers -----------------------------------------------------------------------------------

    def learned(self, path: Path, numbers: Iterable[int], values: Iterable[Any]) -> None:
        """Results of items of a step to come; the first one of an item stands."""
        for number, value in zip(numbers, values, strict=False):
            known = self._results.setdefault(path, {})
            if number not in known and self._results_count < RESULTS_MAX:
                known[number] = value
                self._results_count += 1

    def results(self, path: Path) -> dict[int, Any]:
        """The results of a step."""
        return self._results.get(path, {})

    def taken_results(self, path: Path) -> dict[int, Any]:
        """The same, and they are forgotten here."""
        results = self._results.pop(path, {})
        self._results_count -= len(results)
        return results

    def answered(self, path: Path, known: Known) -> None:
        """The answer to a call to come."""
        if len(self._answers) < ANSWERS_MAX:
            self._answers.setdefault(path, known)

    def answers(self, path: Path) -> bool:
        """Whether a call has its answer here."""
        return path in self._answers

    def taken_answer(self, path: Path) -> Known | None:
        """The answer, or the result of the only item that a call has; and it is forgotten here."""
        answer, results = self._answers.pop(path, None), self.taken_results(path)
        return Known(results[0]) if answer is None and 0 in results else answer

    # --- batches held ------------------------------------------------------------------------------------------

    def held(self, peer: PeerId, path: Path, batches: Iterable[HeldBatch]) -> None:
        """A peer has batches of a step."""
        for batch in batches:
            if not batch.items.sane:
                continue
            count = len(batch.items.numbers)
            room = self._held_count < BATCHES_MAX and self._held_items + count <= HELD_ITEMS_MAX
            if room and batch.batch not in self._held.get(path, {}).get(peer, {}):
                self._held.setdefault(path, {}).setdefault(peer, {})[batch.batch] = batch
                self._held_count += 1
                self._held_items += count

    def batches(self, path: Path, peer: PeerId) -> list[HeldBatch]:
        """What a peer has of a step, the batches first that have begun."""
        return sorted(self._held.get(path, {}).get(peer, {}).values(), key=lambda each: not each.begun)

    def taken_batches(self, path: Path, peer: PeerId) -> list[HeldBatch]:
        """The same, and they are forgotten here."""
        batches = self.batches(path, peer)
        peers = self._held.get(path, {})
        if peers.pop(peer, None) is not None and not peers:
            del self._held[path]
        self._held_count -= len(batches)
        self._held_items -= sum(len(each.items.numbers) for each in batches)
        return batches

    def holders(self, path: Path) -> list[PeerId]:
        """The peers that have batches of a step; first those that have begun with any."""
        held = self._held.get(path, {})
        begun = {peer: any(each.begun for each in batches.values()) for peer, batches in held.items() if batches}
        return sorted(begun, key=lambda peer: not begun[peer])

    def left(self, peer: PeerId) -> None:
        """A peer is gone, and what it had with it."""
        for path in list(self._held):
            self.taken_batches(path, peer)

    def over(self, path: Path) -> None:
        """The wish has its answer, or is not wished any more."""
        self.taken_results(path)
        self._answers.pop(path, None)
        for peer in list(self._held.get(path, ())):
            self.taken_batches(path, peer)
