"""When a peer tells the mesh of its load again: at once if somebody would decide otherwise, else seldom.

Gossip carries every report to everyone, so what changes little is not told. Pure.
"""

from __future__ import annotations

from typing import Final

from meshwit.peer.mesh.profile import LoadProfile

REFRESH_S: Final = 120.0
"""Told again after so long even if nothing changed much. Lower: traffic in an idle mesh; higher: stale temperatures."""
SPACING_S: Final = 1.0
"""Never told more often than this, however much changes."""


class ToldLoad:
    """What a peer told of its load, and when."""

    def __init__(self) -> None:
        self._load: LoadProfile | None = None
        self._at = 0.0

    def is_due(self, now: LoadProfile, at: float) -> bool:
        """Whether `now` should be told at that time, in seconds; then it counts as told."""
        due = is_worth_telling(self._load, now, at - self._at)
        if due:
            self._load, self._at = now, at
        return due


def is_worth_telling(told: LoadProfile | None, now: LoadProfile, age_s: float) -> bool:
    """Whether `now` should replace what was told `age_s` seconds ago."""
    if told is None or age_s >= REFRESH_S:
        return True
    if age_s < SPACING_S:
        return False
    if (told.free_slots, told.jobs, bool(told.resting), told.plugged_in) != (
        now.free_slots, now.jobs, bool(now.resting), now.plugged_in,
    ):  # fmt: skip  # the reason has numbers that change all the time, such as the charge of a battery
        return True
    return (
        abs(told.busy_cores - now.busy_cores) > max(1.0, told.busy_cores / 4)
        or abs(told.memory_free - now.memory_free) > max(2**30, told.memory_free // 4)
        or _moved(told.battery, now.battery, 0.1)
        or _moved(told.temperature_c, now.temperature_c, 15.0)
    )


def _moved(told: float | None, now: float | None, by: float) -> bool:
    if told is None or now is None:
        return told is not now
    return abs(told - now) >= by
