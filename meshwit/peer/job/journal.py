"""The journal of a job: what is known of its wishes. A map that only grows, so that copies of it merge in any order.

A whole wish is recorded under its path; an item of a Grid step under path and item. A replay asks the journal before
it asks anybody else.
"""

from __future__ import annotations

from typing import Any

import msgspec

from meshwit.lang.control import Failure
from meshwit.lang.wishes import Path


class Known(msgspec.Struct, frozen=True):
    """The answer to a wish: a value, or why it failed."""

    value: Any = None
    failure: Failure | None = None


class Journal:
    """Answers by path, and results of Grid steps by path and item."""

    def __init__(self) -> None:
        self._answers: dict[Path, Known] = {}
        self._items: dict[Path, dict[int, Any]] = {}

    def answer(self, path: Path) -> Known | None:
        """What a wish was answered, if it was."""
        return self._answers.get(path)

    def record(self, path: Path, known: Known) -> None:
        """Note the answer to a wish; the first one stands. A step answered with its values needs its items no more."""
        if self._answers.setdefault(path, known).failure is None:
            self._items.pop(path, None)

    def items(self, path: Path) -> dict[int, Any]:
        """The results of a Grid step so far, by item; add to it with `record_items`."""
        return self._items.get(path, {})

    def record_items(self, path: Path, numbers: list[int], values: list[Any]) -> None:
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

    def merge(self, other: Journal) -> None:
        """Take over what another copy knows and this one does not."""
        for path, known in other._answers.items():
            self.record(path, known)
        for path, items in other._items.items():
            self.record_items(path, list(items), list(items.values()))

    def unfinished(self) -> dict[Path, dict[int, Any]]:
        """Grid steps that have results of some items only."""
        return {path: items for path, items in self._items.items() if items}
