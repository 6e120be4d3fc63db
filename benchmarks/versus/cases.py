"""What is computed, and how fast it could be at best. Pure: the same seed gives the same work.

A task is an amount of work; a machine of speed s takes work / s seconds for it. Machines are uniform in the sense of
scheduling theory, so that no assignment beats the k largest tasks over the k fastest machines, for any k (Horvath, Lam
and Sethi, "A level algorithm for preemptive scheduling", JACM 1977: it is reached with preemption, and bounds from
below without).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

SPEEDS = (850.0, 620.0, 340.0, 200.0)
"""Fastest first: the first one is the one that is lost."""
LOST_AT = 0.3
"""When, as a share of the time that the whole would take undisturbed."""
SLOWED_TO = 0.25
"""Of its speed, by what slows the fastest machine."""
HARMED_AT = {"kill": LOST_AT, "freeze": LOST_AT, "slow": 0.5, "slow at once": 0.0}
LEFT = {"kill": 0.0, "freeze": 0.0, "slow": SLOWED_TO, "slow at once": SLOWED_TO}
"""What a harm leaves of the fastest machine's speed."""
ARRAY_BYTES = 8 * 1024 * 1024
"""Of one array; its double is as large."""
PATIENCE = 3.0
"""A system that needs so many times the ideal is stopped."""


@dataclass(frozen=True, slots=True)
class Case:
    """`sigma` is that of the logarithm of the work of tasks, 0 for equal ones; `harm` befalls the fastest machine."""

    name: str
    title: str
    tasks: int
    sigma: float = 0.0
    harm: str = ""
    variants: bool = False
    measures: str = "makespan"


CASES = {
    case.name: case
    for case in (
        Case("equal", "1000 equal", 1000, variants=True),
        Case("lognormal", "1000 lognormal, sigma 1", 1000, sigma=1.0),
        Case("few", "40 equal", 40),
        Case("skewed", "100 lognormal, sigma 1.5", 100, sigma=1.5),
        Case("killed", "fastest killed at 30 %", 1000, harm="kill"),
        Case("frozen", "fastest frozen at 30 %", 1000, harm="freeze"),
        Case("slowed", "fastest drops to a quarter at half-time", 1000, harm="slow"),
        Case("wrong", "fastest at a quarter of its speed", 1000, harm="slow at once"),
        Case("noop", "no-op tasks", 2000, measures="rate"),
        Case("latency", "one small task at a time", 100, measures="latency"),
        Case("arrays", "64 arrays of 8 MiB there and back", 64, measures="bytes"),
    )
}


def works(case: Case, seconds: float, seed: int = 1) -> list[float]:
    """The work of each task, in all as much as the machines do in so many seconds; no-ops have none."""
    if case.measures != "makespan":
        return [0.0] * case.tasks
    source = random.Random(seed)
    raw = [source.lognormvariate(0.0, case.sigma) if case.sigma else 1.0 for _ in range(case.tasks)]
    scale = seconds * sum(SPEEDS) / sum(raw)
    return [each * scale for each in raw]


def lower_bound(tasks: Sequence[float], speeds: Sequence[float] = SPEEDS) -> float:
    """Seconds that no assignment can beat."""
    largest, fastest = sorted(tasks, reverse=True), sorted(speeds, reverse=True)
    bounds = [sum(largest[:k]) / sum(fastest[:k]) for k in range(1, min(len(largest), len(fastest)))]
    return max([*bounds, sum(largest) / sum(fastest)])


def ideal(case: Case, tasks: Sequence[float]) -> float:
    """The lower bound; where the fastest machine is harmed, that of one who has all finish together after it."""
    whole = lower_bound(tasks)
    if not case.harm:
        return whole
    at, left = HARMED_AT[case.harm], SPEEDS[0] * LEFT[case.harm] + sum(SPEEDS[1:])
    return whole * (at + (1 - at) * sum(SPEEDS) / left)
