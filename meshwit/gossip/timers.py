"""What falls due when: a heap of (time, order, kind, key). Who set a timer ignores it if it is no longer wanted."""

from __future__ import annotations

import heapq
from enum import IntEnum


class Due(IntEnum):
    """What falls due."""

    PROBE = 1
    """The next member is to be probed."""
    ASK = 2
    """A ping is late: ask others. Key: the probe's number."""
    FAIL = 3
    """A probe has failed. Key: its number."""
    RELAY = 4
    """A probe for somebody else has failed. Key: its number."""
    VERDICT = 5
    """A suspect's time is over. Key: the member."""
    PUSH = 6
    """News is to be pushed."""
    SYNC = 7
    """Digests are to be compared with somebody."""
    REVIVE = 8
    """A dead member is to be called."""
    SWEEP = 9
    """What has expired is to be dropped."""
    ASK_AGAIN = 10
    """What was asked for may not have come. Key: the number of the asking."""
    MEND = 11
    """Members are back that were held for dead: what they said meanwhile is to be asked for."""


class Timers:
    """A heap of what falls due."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Due, int | str]] = []
        self._order = 0

    def at(self, when: float, due: Due, key: int | str = 0) -> None:
        """Let it fall due then."""
        self._order += 1
        heapq.heappush(self._heap, (when, self._order, due, key))

    def next(self) -> float | None:
        """When the next falls due."""
        return self._heap[0][0] if self._heap else None

    def pop(self, now: float) -> tuple[Due, int | str] | None:
        """The next that is due, taken out."""
        if not self._heap or self._heap[0][0] > now:
            return None
        _, _, due, key = heapq.heappop(self._heap)
        return due, key

    def postpone(self, by_s: float) -> None:
        """Let everything fall due later; the order stays."""
        self._heap = [(when + by_s, order, due, key) for when, order, due, key in self._heap]

    def __len__(self) -> int:
        return len(self._heap)
