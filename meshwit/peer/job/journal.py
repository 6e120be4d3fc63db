"""The journal of a job: what is known of its wishes, in memory. Core.

The answer to a wish is noted under its path, a result of a Grid step under path and item. A replay asks the journal
before it asks anybody else. How a history on disk becomes a journal is no matter of this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from meshwit.lang.control import Failure
from meshwit.lang.wishes import Path


class Known(msgspec.Struct, frozen=True):
    """The answer to a wish: a value, or why it failed."""

    value: Any = None
    failure: Failure | None = None


class Journal:
    """Answers, results of items, and what was begun without its end being known."""

    def __init__(self) -> None:
        self._answers: dict[Path, Known] = {}
        self._items: dict[Path, dict[int, Any]] = {}
        self._concluded: dict[Path, Failure | None] = {}
        self._sleeps: dict[Path, float] = {}
        self._intents: dict[Path, dict[int, str]] = {}
        self._decisions: dict[Path, dict[int, bool]] = {}

    # --- what was answered -------------------------------------------------------------------------------------

    def answer(self, path: Path) -> Known | None:
        """What a wish was answered, if it was; for a step that was only concluded, ask `conclusion`."""
        return self._answers.get(path)

    def record(self, path: Path, known: Known) -> None:
        """Note the answer to a wish; the first one stands. A step answered with its values needs its items no more."""
        if self._answers.setdefault(path, known).failure is None:
            self._items.pop(path, None)

    def items(self, path: Path) -> dict[int, Any]:
        """The results of a Grid step so far, by item; add to it with `record_items`."""
        return self._items.get(path, {})

    def record_items(self, path: Path, numbers: Sequence[int], values: Sequence[Any]) -> None:
        """Note results of items of a Grid step; the first one of an item stands."""
        answer = self._answers.get(path)
        if answer is not None and answer.failure is None:
            return
        known = self._items.setdefault(path, {})
        if not known:
            known.update(zip(numbers, values, strict=True))
            return
        for number, value in zip(numbers, values, strict=True):
            known.setdefault(number, value)

    def conclude(self, path: Path, failure: Failure | None = None) -> None:
        """Note that a Grid step has ended: its answer are its items, or it failed."""
        self._concluded.setdefault(path, failure)

    def conclusion(self, path: Path, count: int) -> Known | None:
        """The answer to a Grid step of so many items that was concluded: None for those that have no result."""
        if path not in self._concluded:
            return None
        failure = self._concluded[path]
        if failure is not None:
            return Known(failure=failure)
        items = self.items(path)
        return Known([items.get(number) for number in range(count)])

    def settled(self, path: Path) -> bool:
        """Whether the answer to a wish is known."""
        return path in self._answers or path in self._concluded

    def unfinished(self) -> dict[Path, dict[int, Any]]:
        """Grid steps that have results of some items only."""
        return {path: items for path, items in self._items.items() if items}

    # --- waits -------------------------------------------------------------------------------------------------

    def sleep(self, path: Path, until: float) -> None:
        """Note that a wait ends so many seconds after the start of the job."""
        self._sleeps.setdefault(path, until)

    def until(self, path: Path) -> float | None:
        """When a wait ends, or has ended, if it ever began."""
        return self._sleeps.get(path)

    # --- what must not run twice -------------------------------------------------------------------------------

    def intend(self, path: Path, numbers: Iterable[int], peer: str) -> None:
        """Note that items were about to go to a peer of that name. What was decided of them before is void."""
        intents, decisions = self._intents.setdefault(path, {}), self._decisions.get(path, {})
        for number in numbers:
            intents[number] = peer
            decisions.pop(number, None)

    def decide(self, path: Path, numbers: Iterable[int], *, again: bool) -> None:
        """Note what a person decided of items that may have run: they run again, or count as failed."""
        self._decisions.setdefault(path, {}).update(dict.fromkeys(numbers, again))

    def doubtful(self, path: Path) -> dict[int, str]:
        """Items that may have run, with the peer that had them: there is neither a result nor a decision."""
        if self.settled(path):
            return {}
        known, decided = self.items(path), self._decisions.get(path, {})
        intents = self._intents.get(path, {})
        return {number: peer for number, peer in intents.items() if number not in known and number not in decided}

    def undecided(self) -> list[tuple[Path, list[int], str]]:
        """All items that may have run: path, items, and the peer that had them."""
        found: dict[tuple[Path, str], list[int]] = {}
        for path in self._intents:
            for number, peer in sorted(self.doubtful(path).items()):
                found.setdefault((path, peer), []).append(number)
        return [(path, numbers, peer) for (path, peer), numbers in found.items()]

    def skipped(self, path: Path) -> list[int]:
        """Items that count as failed since a person said so."""
        return [number for number, again in self._decisions.get(path, {}).items() if not again]
