"""Counts what a running job has used of its limits."""

from __future__ import annotations

from meshwit.lang.limits import JobLimits
from meshwit.lang.tree import Span
from meshwit.lang.wishes import Exceeded


class Meter:
    """Steps of one job; `breath` is where it lets others have a turn."""

    __slots__ = ("breath", "limits", "steps", "steps_max")

    def __init__(self, limits: JobLimits) -> None:
        self.limits = limits
        self.steps = 0
        self.steps_max = limits.steps
        self.breath = limits.steps_per_turn

    def step(self, span: Span) -> None:
        """Count a statement or operation; raises Exceeded."""
        self.steps += 1
        if self.steps > self.steps_max:
            message = f"the job took more than {self.limits.steps:,} steps at the leader: does a loop never end?"
            raise Exceeded(message, span)
