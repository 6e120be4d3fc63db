"""How fast each peer is and how long tasks are, learned together while the step runs.

A task of work w (1 where nothing is estimated) that took d seconds on a peer is one sample of log(d / w). Logarithms,
since task lengths spread over orders of magnitude and a mean of logarithms is not moved by one outlier. The model: the
sample is the peer's log-pace plus a deviation of the task, normal with one variance for all peers. A peer's log-pace
has a prior from its benchmark or its device score; priors are only believed relative to each other, so one gauge, the
weighted mean of all peers' samples, puts them into seconds. The posterior is the usual weighted mean of the two
(a random-effects model; the same idea as the adaptive weights of Banicescu and Liu's adaptive factoring, 2000).

A peer that changes its speed is found by a two-sided CUSUM (Page 1954) over its deviations, each clipped, so that one
outlier never counts as a change but two in a row do; from then on only the samples since the change began count.

How long a running task still takes follows from the lognormal distribution so learned: the mean of a task that has
already lasted a seconds. Beyond what sizes explain, what lasted a is expected to last as long again (Lindy's law).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

_CUSUM_ALARM: Final = 6.0
_CUSUM_SLACK: Final = 0.5
_CLIP: Final = 4.0
_SIGMA_MIN: Final = 0.05
_DOUBTED: Final = 4.0
"""Precision of the prior of a peer that changed its speed: an error of 0.5."""
_VARIANCE_PRIOR: Final = 0.25
_VARIANCE_PRIOR_WEIGHT: Final = 2.0
_FEW: Final = 32
_SHORTEST_S: Final = 1e-7
_IMPLAUSIBLE: Final = 3.0
"""Standard deviations beyond which a long task is believed to be a slow peer instead."""


class RatePrior(msgspec.Struct, frozen=True):
    """What is believed of a peer before it ran anything of the step.

    Attributes:
        per_s: work per second of one slot; only its ratio to other peers' counts.
        error: standard deviation of its logarithm: 0.05 if seen at this very activity, 0.15 for the activity's
            benchmark, 0.5 for a device score.
    """

    per_s: float
    error: float = 0.5


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """What a step's tasks tell of a peer, and nothing else.

    Attributes:
        per_s: work per second of one slot.
        precision: of its logarithm, one over its variance: the number of tasks over the variance of their lengths.
    """

    per_s: float
    precision: float


class _Whole:
    """All tasks of a peer in the step, whatever the model forgets, cuts or clips: mean and squares (Welford)."""

    __slots__ = ("count", "mean", "squares")

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self.squares = 0.0

    def add(self, count: int, mean: float, squares: float) -> float:
        """Take in some samples; by how much the sum of squares grew."""
        before = self.squares
        off = mean - self.mean
        self.squares += squares + off * off * self.count * count / (self.count + count)
        self.count += count
        self.mean += off * count / self.count
        return self.squares - before


class PeerRate:
    """One peer's pace; of the model's making."""

    __slots__ = ("count", "down", "down_count", "down_sum", "mean", "median_s", "precision", "prior", "up", "up_count",
                 "up_sum", "whole")  # fmt: skip

    def __init__(self, prior: RatePrior) -> None:
        self.prior = -math.log(max(1e-12, prior.per_s))
        self.precision = 1 / max(1e-3, prior.error) ** 2
        self.count = 0.0
        self.mean = 0.0
        self.median_s = math.exp(self.prior)
        self.up = self.down = 0.0
        self.up_count = self.up_sum = self.down_count = self.down_sum = 0.0
        self.whole = _Whole()

    def cusum(self, deviation: float, count: int, mean: float) -> bool:
        """Note a deviation in standard deviations; whether the peer changed its speed, the samples since then kept."""
        self.up = max(0.0, self.up + deviation - _CUSUM_SLACK)
        self.down = max(0.0, self.down - deviation - _CUSUM_SLACK)
        self.up_count, self.up_sum = (self.up_count + count, self.up_sum + count * mean) if self.up else (0.0, 0.0)
        self.down_count, self.down_sum = (
            (self.down_count + count, self.down_sum + count * mean) if self.down else (0.0, 0.0)
        )
        if max(self.up, self.down) < _CUSUM_ALARM:
            return False
        if self.up >= self.down:
            self.count, self.mean = self.up_count, self.up_sum / self.up_count
        else:
            self.count, self.mean = self.down_count, self.down_sum / self.down_count
        self.precision = min(self.precision, _DOUBTED)
        self.up = self.down = 0.0
        self.up_count = self.up_sum = self.down_count = self.down_sum = 0.0
        return True


class RateModel:
    """Paces of all peers of a step and the spread of its tasks.

    Attributes:
        measured: tasks that ended.
        sigma: standard deviation of the logarithm of a task's length.
        mean_factor: the mean length of tasks over their median.
    """

    def __init__(self, window: int) -> None:
        self.measured = 0
        self.sigma = math.sqrt(_VARIANCE_PRIOR)
        self.mean_factor = math.exp(_VARIANCE_PRIOR / 2)
        self._window = window
        self._rates: dict[PeerRate, None] = {}
        self._gauge = 0.0
        self._gauged_at = 0
        self._squares = _VARIANCE_PRIOR * _VARIANCE_PRIOR_WEIGHT
        self._freedom = _VARIANCE_PRIOR_WEIGHT
        self._whole_squares = 0.0
        self._whole_freedom = 0
        self._seconds = 0.0
        self._median_seconds = 0.0

    def add(self, prior: RatePrior) -> PeerRate:
        """A peer comes."""
        rate = PeerRate(prior)
        self._rates[rate] = None
        self._place(rate)
        return rate

    def remove(self, rate: PeerRate) -> None:
        """A peer goes; what was learned of tasks from it stays."""
        self._rates.pop(rate, None)

    def observe(self, rate: PeerRate, seconds: Sequence[float], works: Sequence[float] | None) -> None:
        """Tasks ended on the peer after so many seconds; `works` are their estimates, None for 1 each."""
        count = len(seconds)
        mean, squares = _mean_and_squares(seconds, works)
        self._learn_spread(rate, count, mean, squares)
        self._whole_freedom += count if rate.whole.count else count - 1
        self._whole_squares += rate.whole.add(count, mean, squares)
        self.measured += count
        expected = math.log(rate.median_s)
        variance = self.sigma**2 / count + 1 / (rate.precision + rate.count / self.sigma**2)
        deviation = 0.0 if self._gauged_at == 0 else (mean - expected) / math.sqrt(variance)
        if not rate.cusum(max(-_CLIP, min(_CLIP, deviation)), count, mean):
            rate.mean += count / (rate.count + count) * (mean - rate.mean)
            rate.count += count
        rate.count = min(rate.count, self._window)
        if self.measured >= 1.05 * self._gauged_at:
            self._regauge()
        else:
            self._place(rate)
        self._learn_factor(sum(seconds), (count if works is None else sum(works)) * rate.median_s)

    def pace_s(self, rate: PeerRate) -> float:
        """Expected seconds per unit of work on one slot of the peer."""
        return rate.median_s * self.mean_factor

    def seen(self, rate: PeerRate) -> Seen | None:
        """What the peer's tasks tell, all of them; None if it ended none.

        Neither clipped nor since a change, as what is to be believed at once: where all tasks of a step become shorter
        in its course, that is no change of the peers that see it, and whoever saw the long ones is no slower.
        """
        whole = rate.whole
        if not whole.count:
            return None
        own = whole.squares / max(1, whole.count - 1)
        alike = (self._whole_squares + _VARIANCE_PRIOR * _VARIANCE_PRIOR_WEIGHT) / (
            self._whole_freedom + _VARIANCE_PRIOR_WEIGHT
        )
        return Seen(math.exp(-whole.mean), whole.count / max(own, alike, _SIGMA_MIN**2))

    def expected_s(self, rate: PeerRate, work: float, elapsed_s: float) -> float:
        """Expected length of a task in all, given that it has run for so long and not ended."""
        median = max(1e-9, work * rate.median_s)
        sigma = max(_SIGMA_MIN, math.sqrt(self.sigma**2 + 1 / (rate.precision + rate.count / self.sigma**2)))
        mean = median * self.mean_factor
        if elapsed_s <= 0.25 * median:
            return max(mean, elapsed_s)
        deviations = math.log(elapsed_s / median) / sigma
        lindy = 2 * elapsed_s if deviations > _IMPLAUSIBLE else 0.0
        if deviations > 2 * _IMPLAUSIBLE:
            return lindy
        tail = math.erfc(deviations / math.sqrt(2))
        above = math.erfc((deviations - sigma) / math.sqrt(2))
        known = median * math.exp(sigma * sigma / 2) * above / max(1e-300, tail)
        return max(known, lindy, mean, elapsed_s)

    def elsewhere_s(self, rate: PeerRate, owner: PeerRate, work: float, elapsed_s: float) -> float:
        """Expected length on another peer of a task that has run for so long on its owner and not ended."""
        expected = self.expected_s(owner, work, elapsed_s) / owner.median_s
        generous = work * math.exp(_IMPLAUSIBLE * self.sigma)
        return min(expected, generous) * rate.median_s

    def generous_s(self, rate: PeerRate, work: float) -> float:
        """Seconds that hardly any task of so much work exceeds on the peer; more generous while few are measured."""
        sigma = self.sigma * (1 + 2 / math.sqrt(max(1, self.measured)))
        return work * rate.median_s * math.exp(_IMPLAUSIBLE * sigma)

    def _learn_spread(self, rate: PeerRate, count: int, mean: float, squares: float) -> None:
        limit = max(1.5, 3 * self.sigma)
        if count > 1:
            self._squares += squares
            self._freedom += count - 1
        if rate.count:
            off = max(-limit, min(limit, mean - rate.mean))
            self._squares += off * off * count * rate.count / (count + rate.count)
            self._freedom += 1
        if self._freedom > 4 * self._window:
            self._squares *= 4 * self._window / self._freedom
            self._freedom = 4.0 * self._window
        self.sigma = max(_SIGMA_MIN, math.sqrt(self._squares / self._freedom))

    def _learn_factor(self, seconds: float, median_seconds: float) -> None:
        """The mean over the median: as measured, and as a lognormal has it while little is measured."""
        self._seconds += seconds
        self._median_seconds += median_seconds
        weight = self.measured / (self.measured + 8)
        measured = self._seconds / max(1e-12, self._median_seconds)
        supposed = math.exp(min(2.0, self.sigma**2 / 2))
        self.mean_factor = max(0.5, weight * measured + (1 - weight) * supposed)

    def _regauge(self) -> None:
        """The mean distance of samples from priors, weighted by how well both are known."""
        weights = total = 0.0
        for rate in self._rates:
            if rate.count:
                weight = 1 / (1 / rate.precision + self.sigma**2 / rate.count)
                weights += weight
                total += weight * (rate.mean - rate.prior)
        if weights:
            self._gauge = total / weights
        self._gauged_at = self.measured
        for rate in self._rates:
            self._place(rate)

    def _place(self, rate: PeerRate) -> None:
        seen = rate.count / self.sigma**2
        log = (seen * rate.mean + rate.precision * (rate.prior + self._gauge)) / (seen + rate.precision)
        rate.median_s = math.exp(log)


def _mean_and_squares(seconds: Sequence[float], works: Sequence[float] | None) -> tuple[float, float]:
    """Of the logarithms of lengths over works: their mean, and the sum of squares about it."""
    if len(seconds) < _FEW:  # numpy takes longer to begin
        paces = seconds if works is None else [each / work for each, work in zip(seconds, works, strict=True)]
        few = [math.log(max(_SHORTEST_S, each)) for each in paces]
        mean = sum(few) / len(few)
        return mean, sum((each - mean) ** 2 for each in few)
    lengths = np.asarray(seconds, np.float64)
    logs = np.log(np.maximum(_SHORTEST_S, lengths if works is None else lengths / np.asarray(works)))
    mean = float(logs.mean())
    return mean, float(((logs - mean) ** 2).sum())
