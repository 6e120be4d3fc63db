"""What was measured, as a table and as a picture. Pure but for the picture."""

from __future__ import annotations

import importlib
import importlib.util
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from benchmarks.ratio import seconds_text
from benchmarks.versus.cases import ARRAY_BYTES, CASES, PATIENCE, Case

UNITS = {"makespan": "makespan / ideal", "rate": "tasks per second", "latency": "median", "bytes": "GB per second"}


class Row(TypedDict):
    """`value`: makespan over ideal, tasks or GB per second, seconds of latency; None where all was lost."""

    case: str
    system: str
    value: float | None
    values: list[float]
    lost: list[str]


def row_of(case: Case, system: str, ideal_s: float, results: Sequence[dict[str, Any]]) -> Row:
    """A row from the results of all rounds: the median of those that came to an end."""
    values: list[float] = []
    lost: list[str] = []
    for each in results:
        if "latencies" in each:
            values.append(statistics.median(each["latencies"]))
        elif "seconds" not in each:
            lost.append(f"stopped at {PATIENCE:g} times the ideal" if "stopped" in each else str(each["failed"]))
        elif case.measures == "bytes":
            values.append(2 * each["tasks"] * ARRAY_BYTES / each["seconds"] / 1e9)
        elif case.measures == "rate":
            values.append(each["tasks"] / each["seconds"])
        else:
            values.append(each["seconds"] / ideal_s)
    value = statistics.median(values) if values else None
    return Row(case=case.name, system=system, value=value, values=values, lost=lost)


def value_text(case: Case, value: float | None) -> str:
    """A value in its unit."""
    if value is None:
        return "not done"
    if case.measures == "latency":
        return seconds_text(value)
    if case.measures == "bytes":
        return f"{value:.3f} GB/s"
    return f"{value:,.0f}/s" if case.measures == "rate" else f"{value:.3f}"


def table(rows: Sequence[Row]) -> str:
    """Text: a block for each case, the best first."""
    lines = []
    for case in CASES.values():
        mine = [row for row in rows if row["case"] == case.name]
        if not mine:
            continue
        lines.append(f"{case.title}: {UNITS[case.measures]}")
        sign = -1 if case.measures in ("rate", "bytes") else 1
        others = [row["value"] for row in mine if row["value"] and not row["system"].startswith("meshwit")]
        for row in sorted(mine, key=lambda row: (row["value"] is None, sign * (row["value"] or 0))):
            spread = ""
            if len(row["values"]) > 1:
                spread = " to ".join(value_text(case, each) for each in (min(row["values"]), max(row["values"])))
            runs = len(row["values"]) + len(row["lost"])
            lost = (
                f"not done {len(row['lost'])} of {runs}: {' '.join(row['lost'][0].split())[:90]}" if row["lost"] else ""
            )
            if case.measures == "bytes" and others and row["value"]:
                spread = f"{spread:30} {row['value'] / max(others):.2f} of the best other"
            lines.append(f"  {row['system']:20} {value_text(case, row['value']):>11}  {spread:24} {lost}".rstrip())
        lines.append("")
    return "\n".join(lines)


def draw(rows: Sequence[Row], file: Path) -> bool:
    """Bars of makespan over ideal, a group for each case; false where matplotlib is not installed."""
    cases = [
        case for case in CASES.values() if case.measures == "makespan" and any(r["case"] == case.name for r in rows)
    ]
    if importlib.util.find_spec("matplotlib") is None or not cases:
        return False
    figures: Any = importlib.import_module("matplotlib.figure")
    systems = list(dict.fromkeys(row["system"] for row in rows))
    found = {(row["case"], row["system"]): row["value"] for row in rows}
    figure = figures.Figure(figsize=(2 + 2.2 * len(cases), 5), layout="constrained")
    axes = figure.subplots()
    width = 0.85 / len(systems)
    for number, system in enumerate(systems):
        places = [i for i, case in enumerate(cases) if (case.name, system) in found]
        values = [found[cases[i].name, system] for i in places]
        bars = axes.bar(
            [i + number * width for i in places], [PATIENCE if v is None else v for v in values], width, label=system
        )
        axes.bar_label(
            bars, ["not done" if v is None else f"{v:.2f}" for v in values], rotation=90, fontsize=7, padding=2
        )
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set_xticks([i + 0.4 for i in range(len(cases))], [case.title for case in cases])
    axes.set_ylabel("makespan / ideal, less is better")
    axes.set_ylim(0, PATIENCE * 1.1)
    axes.legend(fontsize=8, ncols=2)
    figure.savefig(file, dpi=150)
    return True
