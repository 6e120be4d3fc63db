"""How long to wait for whom, who is not worth asking, and how much one sender may ask."""

from __future__ import annotations

from collections import OrderedDict

from meshwit.dht.routing import Contact
from meshwit.dht.settings import DirectorySettings

KNOWN_MAX = 4096
"""Nodes remembered; the longest untouched is forgotten first."""


class RoundTrips:
    """Smoothed round trips, of each node and of all, as TCP keeps them (RFC 6298)."""

    def __init__(self, settings: DirectorySettings) -> None:
        self._settings = settings
        self._of: OrderedDict[bytes, tuple[float, float]] = OrderedDict()
        self._of_all: tuple[float, float] | None = None

    def took(self, node_id: bytes, seconds: float) -> None:
        """An answer came to a question that was sent once."""
        self._of[node_id] = _smoothed(self._of.pop(node_id, None), seconds)
        self._of_all = _smoothed(self._of_all, seconds)
        if len(self._of) > KNOWN_MAX:
            self._of.popitem(last=False)

    def try_s(self, node_id: bytes, attempt: int) -> float:
        """Seconds to wait for an answer to that try, counted from 0: doubled from try to try, up to the first guess.

        A path slower than the guess gets four times its round trip.
        """
        settings = self._settings
        known = self._of.get(node_id) or self._of_all
        if known is None:
            return settings.try_s
        smoothed, deviation = known
        wait = max(settings.try_s_min, smoothed + 4 * deviation, 2 * smoothed)
        longest = min(settings.try_s_max, max(settings.try_s, 4 * smoothed))
        return min(longest, wait * float(1 << attempt))


class ShunList:
    """Nodes that did not answer, each at its address: one heard of elsewhere is another chance."""

    def __init__(self, settings: DirectorySettings) -> None:
        self._settings = settings
        self._until: OrderedDict[tuple[bytes, str, int], tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def add(self, node: Contact, now: float) -> None:
        """It did not answer."""
        place = (node.id, node.ip, node.port)
        _, last_s = self._until.pop(place, (0.0, self._settings.shun_s / 2))
        pause_s = min(self._settings.shun_s_max, last_s * 2)
        self._until[place] = (now + pause_s, pause_s)
        if len(self._until) > KNOWN_MAX:
            self._until.popitem(last=False)

    def holds(self, node: Contact, now: float) -> bool:
        """Whether it is not to be asked."""
        until, _ = self._until.get((node.id, node.ip, node.port), (0.0, 0.0))
        return now < until

    def heard(self, node: Contact) -> None:
        """It spoke: it lives."""
        self._until.pop((node.id, node.ip, node.port), None)


class Rates:
    """What each sender may ask: a bucket that fills with time."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, sender: str, now: float, cost: float = 1.0) -> bool:
        """Whether a question of that cost may be served; if so it is charged."""
        left, at = self._left.pop(sender, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._per_s)
        allowed = left >= cost
        self._left[sender] = (left - cost if allowed else left, now)
        if len(self._left) > KNOWN_MAX:
            self._left.popitem(last=False)
        return allowed


def _smoothed(known: tuple[float, float] | None, seconds: float) -> tuple[float, float]:
    if known is None:
        return seconds, seconds / 2
    smoothed, deviation = known
    return 0.875 * smoothed + 0.125 * seconds, 0.75 * deviation + 0.25 * abs(smoothed - seconds)
