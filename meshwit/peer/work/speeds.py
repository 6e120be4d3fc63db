"""How fast peers are believed to be at an activity, before they ran any of it in this job. Core.

Three sources, the best first: what was seen of the peer at this very activity in earlier jobs, the activity's own
benchmark there, the score of its device. They are in different units, and only ratios count; so each is brought into
the units of the best one by the mean ratio (of logarithms) over the peers that have both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from meshwit.ids import PeerId
from meshwit.peer.sched.estimates import RatePrior

SEEN_MAX: Final = 4096
"""Pairs of peer and activity that are remembered; the oldest are forgotten."""
SEEN_ERROR: Final = 0.08
BENCHMARK_ERROR: Final = 0.15
SCORE_ERROR: Final = 0.5
SAMPLES_MAX: Final = 256.0


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """A peer at an activity: work per second of one slot, and how many tasks say so."""

    per_s: float
    samples: float


class Speeds:
    """See the module.

    Attributes:
        scores: of each peer, per slot.
        benchmarks: of each peer, by activity.
    """

    def __init__(self, seen: Mapping[str, Seen] | None = None) -> None:
        self.scores: dict[PeerId, float] = {}
        self.benchmarks: dict[PeerId, Mapping[str, float]] = {}
        self._seen: dict[str, Seen] = dict(seen or {})
        self._at: dict[str, dict[PeerId, float]] = {}

    @property
    def seen(self) -> Mapping[str, Seen]:
        """What is worth keeping for the next time: `peer activity` -> what was seen."""
        return self._seen

    def remember(self, seen: Mapping[str, Seen]) -> None:
        """What was kept of earlier times; what is known better by now stays."""
        self._seen = {**seen, **self._seen}
        self._at.clear()

    def learn(self, activity: str, rates: Mapping[PeerId, tuple[float, float]]) -> None:
        """A step has ended: work per second of one slot, and samples, by peer.

        How long its items were is the step's own affair, so ratios alone are learned; of one peer alone, none.
        """
        found = {peer: each for peer, each in rates.items() if math.isfinite(each[0]) and each[0] > 0 and each[1] > 0}
        unit = self._unit(activity, found)
        for peer, (per_s, samples) in found.items():
            key = f"{peer} {activity}"
            known = self._seen.pop(key, None)
            if unit is None:
                if known is not None:
                    self._seen[key] = known  # the last to be forgotten
                continue
            if known is None:
                self._seen[key] = Seen(per_s / unit, min(samples, SAMPLES_MAX))
                continue
            weight = min(1.0, max(0.3, samples / (known.samples + samples)))
            mean = math.exp((1 - weight) * math.log(known.per_s) + weight * math.log(per_s / unit))
            self._seen[key] = Seen(mean, min(known.samples + samples, SAMPLES_MAX))
        self._at.pop(activity, None)
        while len(self._seen) > SEEN_MAX:
            del self._seen[next(iter(self._seen))]
            self._at.clear()

    def _unit(self, activity: str, found: Mapping[PeerId, tuple[float, float]]) -> float | None:
        """What a step's rates are to be divided by, to be in the units of what was seen; None if nothing tells."""
        if not self._seen_at(activity):
            return 1.0
        if len(found) < 2:
            return None
        total = weights = 0.0
        for peer, (per_s, samples) in found.items():
            believed = self.prior(peer, activity)
            weight = 1 / (believed.error**2 + 1 / samples)
            total += weight * math.log(per_s / believed.per_s)
            weights += weight
        return math.exp(total / weights)

    def prior(self, peer: PeerId, activity: str) -> RatePrior:
        """What to believe of a peer at an activity."""
        seen = self._seen_at(activity)
        if peer in seen:
            return RatePrior(seen[peer], SEEN_ERROR)
        benchmarks = {each: rates[activity] for each, rates in self.benchmarks.items() if rates.get(activity, 0.0) > 0}
        scores = {each: score for each, score in self.scores.items() if score > 0}
        if peer in benchmarks:
            return RatePrior(benchmarks[peer] * _ratio(seen, benchmarks), BENCHMARK_ERROR)
        if peer in scores:
            factor = _ratio(benchmarks, scores) * _ratio(seen, benchmarks) if benchmarks else _ratio(seen, scores)
            return RatePrior(scores[peer] * factor, SCORE_ERROR)
        known = seen or benchmarks or scores
        return RatePrior(_mean(known.values()) if known else 1.0, 2 * SCORE_ERROR)

    def _seen_at(self, activity: str) -> dict[PeerId, float]:
        """Asked for every peer of every step."""
        known = self._at.get(activity)
        if known is None:
            if len(self._at) >= SEEN_MAX:
                self._at.clear()
            ending = f" {activity}"
            known = self._at[activity] = {
                PeerId(key[: -len(ending)]): each.per_s for key, each in self._seen.items() if key.endswith(ending)
            }
        return known


def _ratio(best: Mapping[PeerId, float], other: Mapping[PeerId, float]) -> float:
    logs = [math.log(best[peer] / other[peer]) for peer in best if peer in other]
    if logs:
        return math.exp(sum(logs) / len(logs))
    return _mean(best.values()) / _mean(other.values()) if best and other else 1.0


def _mean(values: Iterable[float]) -> float:
    logs = [math.log(each) for each in values]
    return math.exp(sum(logs) / len(logs)) if logs else 1.0
