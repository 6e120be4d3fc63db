"""Ratios, not times: contestants run interleaved in one process run, so that they share whatever else the machine does.

Each contestant is a function that does the same work once and returns when it is done. After one round that does not
count, rounds alternate the order; medians are compared.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict


class Row(TypedDict):
    name: str
    median_s: float
    times_s: list[float]
    rate: float
    unit: str
    ratio: float


def measure(contestants: dict[str, Callable[[], object]], *, rounds: int, work: float, unit: str) -> list[Row]:
    """Return a row per contestant, fastest first; `ratio` is its rate over that of the first contestant given."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for round_number in range(rounds + 1):
        for name in names if round_number % 2 else reversed(names):
            started = time.perf_counter()
            contestants[name]()
            if round_number:
                times[name].append(time.perf_counter() - started)
            print(f"\r{name} {round_number}/{rounds}      ", end="", file=sys.stderr, flush=True)
    print("\r", end="", file=sys.stderr)
    medians = {name: statistics.median(values) for name, values in times.items()}
    reference = medians[names[0]]
    rows = [
        Row(name=n, median_s=m, times_s=times[n], rate=work / m, unit=unit, ratio=reference / m)
        for n, m in medians.items()
    ]
    return sorted(rows, key=lambda row: row["median_s"])


def report(title: str, rows: list[Row], json_path: Path | None = None) -> None:
    """Print a table to stdout; with a path, write it as JSON too."""
    print(title)
    for row in rows:
        spread = f"{min(row['times_s']):.3f} to {max(row['times_s']):.3f}"
        rate = f"{row['rate']:,.2f} {row['unit']}"
        print(f"  {row['name']:24} {row['median_s']:8.3f} s  ({spread})  {rate:>18}  x{row['ratio']:.2f}")
    if json_path is not None:
        json_path.write_text(json.dumps({"title": title, "rows": rows}, indent=1))
