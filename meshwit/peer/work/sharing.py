"""How a peer shares its slots out among the steps of all leaders. Core.

Steps of higher priority go first and leave what they cannot use. Among equals each job has an equal share, whatever
the number of its steps, and each step of a job an equal part of that (max-min fairness: Bertsekas and Gallager 1992,
section 6.5.2, in whole slots by largest remainder). Where there are more steps than slots the turn goes round, so that
nobody starves. So two leaders never overbook a peer: the sum is never more than its slots.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import msgspec

K = TypeVar("K", bound=Hashable)


class Claim(msgspec.Struct, frozen=True):
    """What a step may use.

    Attributes:
        job: it is of.
        slots_max: it cannot use more.
    """

    job: Hashable
    priority: int
    slots_max: int


def shared_out(slots: int, claims: Mapping[K, Claim], turn: int) -> dict[K, int]:
    """Slots for each claim; `turn` counts the rounds where there are not enough for everybody."""
    granted = dict.fromkeys(claims, 0)
    left = slots
    for priority in sorted({claim.priority for claim in claims.values()}, reverse=True):
        tier = [key for key, claim in claims.items() if claim.priority == priority and claim.slots_max > 0]
        start = turn % len(tier) if tier else 0
        tier = tier[start:] + tier[:start]
        jobs: dict[Hashable, list[K]] = {}
        for key in tier:
            jobs.setdefault(claims[key].job, []).append(key)
        while left > 0:
            open_jobs = [keys for keys in jobs.values() if any(granted[key] < claims[key].slots_max for key in keys)]
            if not open_jobs:
                break
            keys = min(open_jobs, key=lambda each: sum(granted[key] for key in each))
            free = [key for key in keys if granted[key] < claims[key].slots_max]
            granted[min(free, key=granted.__getitem__)] += 1
            left -= 1
    return granted
