"""The time that a suspect has to object: the shorter, the more accuse it (Lifeguard, section IV-B)."""

from __future__ import annotations

import math

from meshwit.ids import PeerId


class Suspicion:
    """One suspect's case.

    Attributes:
        failed: whether a probe of our own has failed since.
        certain: whether somebody has already declared it dead.
        until: when the verdict falls due; a timer that fires earlier is an old one.
    """

    __slots__ = ("accusers", "certain", "failed", "quorum", "started_at", "until")

    def __init__(self, started_at: float, quorum: int) -> None:
        self.started_at = started_at
        self.quorum = quorum
        self.accusers: set[PeerId] = set()
        self.failed = False
        self.certain = False
        self.until = math.inf

    def length_s(self, least_s: float, most_s: float) -> float:
        """The time a suspect has (Lifeguard, section IV-B): the more accusers, the shorter."""
        if self.certain:
            return least_s
        if self.quorum < 1:
            return (least_s + most_s) / 2
        confirmed = max(0, len(self.accusers) - 1)
        share = math.log(confirmed + 1) / math.log(self.quorum + 1)
        return max(least_s, most_s - (most_s - least_s) * share)
