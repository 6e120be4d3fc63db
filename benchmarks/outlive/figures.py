"""Figures beside their targets. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TypedDict


class Figure(TypedDict):
    """One thing that was measured; `values` are what it was made of, `target` is empty where there is none."""

    case: str
    what: str
    measured: str
    target: str
    values: list[float]


def figure(case: str, what: str, measured: str, target: str = "", values: Sequence[float] = ()) -> Figure:
    return Figure(case=case, what=what, measured=measured, target=target, values=list(values))


def seconds(
    case: str, what: str, values: Sequence[float], median: str = "", p99: str = "", unit: str = "s"
) -> list[Figure]:
    """The median, and the 99th percentile: the highest where there are fewer than a hundred values."""
    if not values:
        return [figure(case, f"{what}, median", "not measured", median)]
    high = percentile(values, 0.99)
    return [
        figure(case, f"{what}, median", f"{statistics.median(values):.3f} {unit}", median, values),
        figure(case, f"{what}, {'p99' if len(values) >= 100 else 'highest'}", f"{high:.3f} {unit}", p99),
    ]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-len(ordered) * share // 1) - 1))]


def table(figures: Sequence[Figure]) -> str:
    """As text, a line for each."""
    found = [(each["case"], each["what"], each["measured"], each["target"]) for each in figures]
    rows = [("case", "what", "measured", "target"), *found]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
