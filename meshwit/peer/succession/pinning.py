"""Blobs that kept jobs refer to: they are not evicted before the jobs are kept no longer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Shelf(Protocol):
    """Where blobs are."""

    def pin(self, hash: str) -> None:
        """A blob is needed, until as many `unpin`."""

    def unpin(self, hash: str) -> None:
        """Takes one `pin` back."""

    def let_go(self) -> None:
        """All that is needed is pinned: what is not may be evicted."""


class Pins:
    """See the module."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._jobs: dict[str, set[str]] = {}

    def add(self, job: str, hashes: Iterable[str]) -> None:
        """A job refers to these blobs."""
        for name in hashes:
            pinned = self._jobs.setdefault(job, set())
            if name not in pinned:
                pinned.add(name)
                self._shelf.pin(name)

    def complete(self) -> None:
        """All jobs that are kept were added."""
        self._shelf.let_go()

    def drop(self, job: str) -> None:
        """A job is kept no longer."""
        for name in self._jobs.pop(job, ()):
            self._shelf.unpin(name)
