"""Which activities this device has still to measure, and what a peer tells the others that a job will need.

Whoever learns from its owner what a job uses says so in a record (topic `need`) that expires soon; all who hear it
measure what they have not measured. Nobody passes on a need of another: gossip does. What that can cost is bounded
whoever says what: each activity that is installed is measured once, and tried again after an hour if that failed.

Pure. `now` is monotonic.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

TOPIC: Final = "need"
ACTIVITIES_MAX: Final = 64
"""In the queue, and told to others."""
NAME_CHARS_MAX: Final = 128
KEPT_S: Final = 600.0
"""A need is told for that long, to those who come late: longer, and devices measure for jobs that are long done."""
RETRY_AFTER_S: Final = 3600.0
"""After a benchmark that failed, or that gave a rate of another version than the one that this peer knows."""
_TRIED_MAX: Final = 1024


class Needs:
    """The queue: each activity once, in the order asked for; what finds no room must be asked for again."""

    def __init__(self) -> None:
        self._waiting: dict[str, None] = {}
        self._tried: dict[str, float] = {}

    def ask(self, activities: Iterable[str], now: float) -> None:
        """They are to be measured, unless that was tried lately."""
        for activity in activities:
            tried = self._tried.get(activity)
            if tried is not None and now - tried < RETRY_AFTER_S:
                continue
            if len(self._waiting) < ACTIVITIES_MAX:
                self._waiting.setdefault(activity)

    def first(self) -> str | None:
        """What to measure next."""
        return next(iter(self._waiting), None)

    def tried(self, activity: str, now: float) -> None:
        """It was measured, or could not be."""
        self._waiting.pop(activity, None)
        self._tried.pop(activity, None)
        self._tried[activity] = now
        while len(self._tried) > _TRIED_MAX:
            del self._tried[next(iter(self._tried))]


class ToldNeeds:
    """What this peer has told the mesh that its owner's jobs use."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def add(self, activities: Iterable[str], now: float) -> list[str]:
        """What to tell now, the newest last; nothing where all of it is being told already."""
        asked = list(dict.fromkeys(activities))[:ACTIVITIES_MAX]
        if all(now - self._told.get(one, -KEPT_S) < KEPT_S / 2 for one in asked):
            return []
        for one in asked:
            self._told.pop(one, None)
            self._told[one] = now
        recent = [one for one, told in self._told.items() if now - told < KEPT_S][-ACTIVITIES_MAX:]
        self._told = {one: self._told[one] for one in recent}
        return recent


def encode_need(activities: list[str]) -> bytes:
    """The payload of the topic."""
    return msgspec.msgpack.encode({"activities": activities[-ACTIVITIES_MAX:]})


def decode_need(payload: bytes) -> list[str]:
    """What a peer says is needed; empty where nothing can be read. Never raises."""
    try:
        said = msgspec.msgpack.decode(payload, type=dict[str, list[str]])
    except (msgspec.MsgspecError, ValueError, RecursionError):  # ValueError: a text that is no UTF-8
        return []
    return [one for one in said.get("activities", []) if 0 < len(one) <= NAME_CHARS_MAX][:ACTIVITIES_MAX]
