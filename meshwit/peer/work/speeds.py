"""How fast peers are believed to be at an activity, before they ran any of it in this job. Core.

Three sources: what was seen of the peer at this very activity in earlier jobs, the activity's own benchmark there, the
score of its device. They are in different units, and only ratios count; so each is brought into the units of the best
one by the mean ratio (of logarithms) over the peers that have both.

What was seen counts as much as it is worth: two items out of a step whose lengths differ a hundredfold say nothing of
who ran them. So it is kept with its precision, and moves what a benchmark or a score tells by as much (the posterior
mean of a normal model, on logarithms, as the scheduler has it within a step), from step to step as in a Kalman filter.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

from meshwit.ids import PeerId
from meshwit.peer.sched.estimates import RatePrior, Seen

SEEN_MAX: Final = 4096
"""Pairs of peer and activity that are remembered; the oldest are forgotten."""
SEEN_ERROR: Final = 0.08
"""Of what is known exactly: devices differ from day to day."""
BENCHMARK_ERROR: Final = 0.15
SCORE_ERROR: Final = 0.5
NOTHING_ERROR: Final = 1.0
DRIFT: Final = 0.05
"""Standard deviation by which a device may have changed from one step to the next in which it is seen."""


class _Beliefs(NamedTuple):
    """What is believed at one activity: of peers that something is known of, of all others; whether any was seen."""

    known: dict[PeerId, RatePrior]
    others: RatePrior
    seen: bool

    def of(self, peer: PeerId) -> RatePrior:
        return self.known.get(peer, self.others)


class Speeds:
    """See the module."""

    def __init__(self, seen: Mapping[str, Seen] | None = None) -> None:
        self._scores: dict[PeerId, float] = {}
        self._benchmarks: dict[PeerId, Mapping[str, float]] = {}
        self._seen: dict[str, Seen] = {}
        self._beliefs: dict[str, _Beliefs] = {}
        self.remember(seen or {})

    @property
    def seen(self) -> Mapping[str, Seen]:
        """What is worth keeping for the next time: `peer activity` -> what was seen."""
        return self._seen

    def remember(self, seen: Mapping[str, Seen]) -> None:
        """What was kept of earlier times; what is known better by now stays, and what cannot be is left out."""
        self._seen = {**{key: each for key, each in seen.items() if _can_be(each)}, **self._seen}
        self._beliefs.clear()

    def told(self, peer: PeerId, *, score: float = 0.0, benchmarks: Mapping[str, float] | None = None) -> None:
        """What a peer says of itself: the score of its device, per slot, and its benchmarks by activity."""
        benchmarks = dict(benchmarks or {})
        if (score, benchmarks) != (self._scores.get(peer), self._benchmarks.get(peer)):
            self._scores[peer] = score
            self._benchmarks[peer] = benchmarks
            self._beliefs.clear()

    def learn(self, activity: str, seen: Mapping[PeerId, Seen]) -> None:
        """A step has ended, and so its peers were seen.

        How long its items were is the step's own affair, so ratios alone are learned; of one peer alone, none.
        """
        found = {peer: each for peer, each in seen.items() if _can_be(each)}
        unit = self._unit(activity, found)
        for peer, each in found.items():
            key = f"{peer} {activity}"
            known = self._seen.pop(key, None)
            if unit is None:
                if known is not None:
                    self._seen[key] = known  # the last to be forgotten
                continue
            now = RatePrior(each.per_s / unit, each.precision**-0.5)
            if known is not None:
                now = _both(now, RatePrior(known.per_s, math.hypot(known.precision**-0.5, DRIFT)))
            self._seen[key] = Seen(now.per_s, now.error**-2)
        self._beliefs.pop(activity, None)
        while len(self._seen) > SEEN_MAX:
            del self._seen[next(iter(self._seen))]
            self._beliefs.clear()

    def _unit(self, activity: str, found: Mapping[PeerId, Seen]) -> float | None:
        """What a step's rates are to be divided by, to be in the units of what was seen; None if nothing tells."""
        beliefs = self._beliefs_at(activity)
        if not beliefs.seen:
            return 1.0
        if len(found) < 2:
            return None
        pairs = [(each.per_s, each.precision, beliefs.of(peer)) for peer, each in found.items()]
        return _weighted_mean(
            (per_s / believed.per_s, 1 / (believed.error**2 + 1 / precision)) for per_s, precision, believed in pairs
        )

    def prior(self, peer: PeerId, activity: str) -> RatePrior:
        """What to believe of a peer at an activity."""
        return self._beliefs_at(activity).of(peer)

    def _beliefs_at(self, activity: str) -> _Beliefs:
        beliefs = self._beliefs.get(activity)
        if beliefs is None:
            if len(self._beliefs) >= SEEN_MAX:
                self._beliefs.clear()
            beliefs = self._beliefs[activity] = self._believed(activity)
        return beliefs

    def _believed(self, activity: str) -> _Beliefs:
        seen = self._seen_at(activity)
        told = {peer: each.get(activity, 0.0) for peer, each in self._benchmarks.items()}
        benchmarks = {peer: RatePrior(per_s, BENCHMARK_ERROR) for peer, per_s in told.items() if per_s > 0}
        scores = {peer: RatePrior(score, SCORE_ERROR) for peer, score in self._scores.items() if score > 0}
        supposed = _in_units_of(seen, {**_in_units_of(benchmarks, scores), **benchmarks})
        others = RatePrior(_mean([*{**supposed, **seen}.values()]), NOTHING_ERROR)
        both = {peer: _both(each, supposed.get(peer, others)) for peer, each in seen.items()}
        return _Beliefs({**supposed, **both}, others, bool(seen))

    def _seen_at(self, activity: str) -> dict[PeerId, RatePrior]:
        ending = f" {activity}"
        return {
            PeerId(key[: -len(ending)]): RatePrior(each.per_s, math.hypot(SEEN_ERROR, each.precision**-0.5))
            for key, each in self._seen.items()
            if key.endswith(ending)
        }


def _can_be(seen: Seen) -> bool:
    return 1e-18 < seen.per_s < 1e18 and 1e-6 < seen.precision < math.inf


def _both(one: RatePrior, other: RatePrior) -> RatePrior:
    """What two independent sources in the same units say together."""
    weight, precision = one.error**-2, one.error**-2 + other.error**-2
    log = math.log(other.per_s) + weight / precision * math.log(one.per_s / other.per_s)
    return RatePrior(math.exp(log), precision**-0.5)


def _in_units_of(units: Mapping[PeerId, RatePrior], source: Mapping[PeerId, RatePrior]) -> Mapping[PeerId, RatePrior]:
    """What a source says in the units of another; as it is where the other says nothing."""
    if not units or not source:
        return source
    pairs = [(units[peer], each) for peer, each in source.items() if peer in units]
    if pairs:
        factor = _weighted_mean(
            [(one.per_s / other.per_s, 1 / (one.error**2 + other.error**2)) for one, other in pairs]
        )
    else:
        factor = _mean(units.values()) / _mean(source.values())
    return {peer: RatePrior(each.per_s * factor, each.error) for peer, each in source.items()}


def _mean(priors: Collection[RatePrior]) -> float:
    """Of devices of which each may be as fast as anything."""
    return _weighted_mean([(each.per_s, 1 / (each.error**2 + NOTHING_ERROR**2)) for each in priors])


def _weighted_mean(values: Iterable[tuple[float, float]]) -> float:
    """Of logarithms: values and their weights; 1 of none."""
    total = weights = 0.0
    for value, weight in values:
        total += weight * math.log(value)
        weights += weight
    return math.exp(total / weights) if weights else 1.0
