"""Chance as the core sees it: given from outside, seeded in simulations."""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Chance(Protocol):
    """What the core uses of `random.Random`."""

    def random(self) -> float:
        """From 0 up to 1."""

    def randrange(self, stop: int, /) -> int:
        """From 0 up to `stop`."""

    def choice(self, seq: Sequence[T], /) -> T:
        """One of them."""

    def sample(self, population: Sequence[T], k: int) -> list[T]:
        """Several of them, each at most once."""

    def shuffle(self, x: MutableSequence[Any]) -> None:
        """Bring them into any order."""

    def getrandbits(self, k: int, /) -> int:
        """So many random bits."""
