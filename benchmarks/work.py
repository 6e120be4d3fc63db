"""The work that contestants are given: as plain functions for the others, as activities for meshwit.

The controller is no entry point of a distribution; `registry` adds it to those that are installed.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

from meshwit.plugins import Controller, Script, activity
from meshwit.plugins.annotations import Long
from meshwit.plugins.discovery import installed
from meshwit.plugins.registry import Registry


def echo(value: Any) -> Any:
    return value


def double(array: Any) -> Any:
    return array * 2.0


marks: list[float] = []
"""When `Bench.Mark` was called in this process, in seconds."""


class Bench(Controller):
    """Activities that do next to nothing."""

    @activity
    def Echo(self, value: Long) -> Long:
        """The value itself, from a worker process."""
        return value

    @activity
    def Double(self, vector: Annotated[Any, Script("Vector")]) -> Annotated[Any, Script("Vector")]:
        """Twice the vector."""
        return double(vector)

    @activity(inline=True, volatile=True, effect=True)
    def Mark(self) -> Long:
        """Notes the time in the leader's process."""
        marks.append(time.perf_counter())
        return len(marks)


def registry() -> Registry:
    """Everything installed, and this."""
    return Registry([*installed().controllers.values(), Bench()])
