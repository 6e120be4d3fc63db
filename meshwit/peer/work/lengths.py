"""How long items took relative to each other the last time, for activities that do not estimate their work. Core.

Frames of one film, files of one folder: the same items come again, and then the longest should start first. An item is
known by a fingerprint, its length is in units of the step's median item. Nothing is kept where items are alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

ITEMS_MAX: Final = 5_000
"""Of one step: in longer ones the end evens itself out."""
ITEMS_MIN: Final = 8
ACTIVITIES_MAX: Final = 64
KNOWN_MIN: Final = 0.9
"""Of a step's items so many must be known, else none is said to be."""
ALIKE: Final = 0.2
"""Standard deviation of the logarithm below which items are alike."""


class Known(msgspec.Struct, frozen=True, array_like=True):
    """Lengths by fingerprint, of one activity."""

    lengths: dict[bytes, float]


class Lengths:
    """See the module.

    Args:
        known: what was kept, by activity.
    """

    def __init__(self, known: Mapping[str, Known] | None = None) -> None:
        self._known: dict[str, dict[bytes, float]] = {}
        self.remember(known or {})

    @property
    def known(self) -> dict[str, Known]:
        """What is worth keeping for the next time."""
        return {activity: Known(lengths) for activity, lengths in self._known.items()}

    def __contains__(self, activity: object) -> bool:
        return activity in self._known

    def remember(self, known: Mapping[str, Known]) -> None:
        """What was kept of earlier times; what was seen since stands."""
        for activity, kept in known.items():
            if all(math.isfinite(each) and each > 0 for each in kept.lengths.values()):
                self._known.setdefault(activity, dict(kept.lengths))

    def learn(self, activity: str, prints: Sequence[bytes], lengths: Sequence[float]) -> None:
        """A step has ended; a length that is not above 0 is not known."""
        pairs = [(print_, each) for print_, each in zip(prints, lengths, strict=True) if 0 < each < math.inf]
        if len(pairs) < ITEMS_MIN:
            return
        logs = [math.log(each) for _, each in pairs]
        mean = sum(logs) / len(logs)
        spread = math.sqrt(sum((each - mean) ** 2 for each in logs) / len(logs))
        before = self._known.pop(activity, {})
        if spread < ALIKE:
            return
        before.update(pairs)
        while len(before) > ITEMS_MAX:
            del before[next(iter(before))]
        self._known[activity] = before
        while len(self._known) > ACTIVITIES_MAX:
            del self._known[next(iter(self._known))]

    def recall(self, activity: str, prints: Sequence[bytes]) -> list[float] | None:
        """The lengths of a step's items, of the few that are new the mean; None if too few are known."""
        known = self._known.get(activity)
        if known is None or len(prints) < ITEMS_MIN:
            return None
        found = [known[each] for each in prints if each in known]
        if len(found) < KNOWN_MIN * len(prints):
            return None
        mean = sum(found) / len(found)
        return [known.get(each, mean) for each in prints]
