"""What a scenario is: a play in virtual time that leaves samples, and targets that its samples must reach.

Samples of all seeds of one size are put together before a target is judged, so that a 99th percentile or a count over
a thousand peer-hours may come from many short runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from simulations.engine import Simulation

FAULTS_MAX: Final = 100
"""So many faults of one run are told; the rest is counted."""

Statistic = Callable[[Sequence[float]], float]


class Run:
    """One run of one scenario: what the play works with and fills in.

    Attributes:
        simulation: time, chance and trace.
        size: how many peers.
        duration_s: how long, where the scenario lets one choose.
        settings: numbers of what is examined, in place of its own: to find good ones.
        samples: figures by name.
        faults: invariants that did not hold, with the time.
    """

    def __init__(
        self, simulation: Simulation, size: int, duration_s: float, settings: Mapping[str, float] | None = None
    ) -> None:
        self.simulation = simulation
        self.settings = dict(settings or {})
        self.size = size
        self.duration_s = duration_s
        self.samples: dict[str, list[float]] = {}
        self.faults: list[str] = []
        self.faults_count = 0

    def sample(self, name: str, value: float) -> None:
        """Adds one figure."""
        self.samples.setdefault(name, []).append(value)

    def fault(self, text: str) -> None:
        """Tells that something is not as it must always be."""
        self.simulation.note(f"fault {text}")
        self.faults_count += 1
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(f"{self.simulation.now:.3f} s: {text}")

    def expect(self, condition: bool, text: str) -> None:
        """A fault if the condition does not hold."""
        if not condition:
            self.fault(text)


class Figure(msgspec.Struct, frozen=True):
    """One line of a report: a statistic over samples.

    Attributes:
        name: of the samples.
        statistic: which one, as a word.
        unit: of the value.
        limit: what it must not exceed (or fall short of, if `at_least`); None if it is only told.
    """

    name: str
    statistic: str
    unit: str = "s"
    limit: float | None = None
    at_least: bool = False

    def value(self, samples: Mapping[str, Sequence[float]]) -> float | None:
        """The value; None without samples, except for a sum or a count, which is then 0."""
        found = samples.get(self.name, ())
        if not found and self.statistic not in {"sum", "count"}:
            return None
        return STATISTICS[self.statistic](found)

    def holds(self, samples: Mapping[str, Sequence[float]]) -> bool | None:
        """Whether the target is reached; None if there is none. Without a value it is not."""
        if self.limit is None:
            return None
        value = self.value(samples)
        if value is None:
            return False
        return value >= self.limit if self.at_least else value <= self.limit


class Scenario(msgspec.Struct, frozen=True):
    """Something that can be played.

    Attributes:
        name: on the command line.
        summary: one sentence.
        play: does it.
        figures: what is told of it, with targets.
        sizes: how many peers by default; each is played.
        seeds: how many seeds by default.
        duration_s: default, where the play uses it.
        long_sizes: what `--long` plays, where the default is a short version.
        long_seeds: the same.
    """

    name: str
    summary: str
    play: Callable[[Run], None]
    figures: tuple[Figure, ...]
    sizes: tuple[int, ...] = (8,)
    seeds: int = 1
    duration_s: float = 60.0
    long_sizes: tuple[int, ...] = ()
    long_seeds: int = 0


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least that share of all does not exceed (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


STATISTICS: Final[Mapping[str, Statistic]] = {
    "mean": lambda samples: sum(samples) / len(samples),
    "median": lambda samples: percentile(samples, 0.5),
    "p95": lambda samples: percentile(samples, 0.95),
    "p99": lambda samples: percentile(samples, 0.99),
    "max": max,
    "min": min,
    "sum": lambda samples: float(sum(samples)),
    "count": lambda samples: float(len(samples)),
}
