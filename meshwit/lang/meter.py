"""Counts what a running job has used of its limits.

A statement is a step. An operation on large values counts as more, by their size, since that is how long it takes; by
nothing but their size, so that a replay counts the same.
"""

from __future__ import annotations

from typing import Any, Final

from meshwit.lang.limits import JobLimits
from meshwit.lang.tree import Span
from meshwit.lang.wishes import Exceeded

CHARACTERS_PER_STEP: Final = 8192
ITEMS_PER_STEP: Final = 64


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

    def weigh(self, value: Any, span: Span) -> None:
        """Count what it takes to go through a value once; raises Exceeded."""
        kind = type(value)
        if kind is str or kind is bytes:
            weight = len(value) // CHARACTERS_PER_STEP
        elif kind is list or kind is tuple or kind is dict:
            weight = len(value) // ITEMS_PER_STEP
        else:
            return
        if weight:
            self.steps += weight - 1
            self.step(span)
