"""Ratios, not times: contestants run interleaved in one process run, so that they share whatever else the machine does.

Each contestant is a function that does its work once. After one round that does not count, rounds alternate the
order; medians are compared. A benchmark ends in verdicts: what was to be reached, what was, and whether that is it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict


class Row(TypedDict):
    name: str
    median_s: float
    times_s: list[float]
    rate: float
    unit: str
    ratio: float


class Verdict(TypedDict):
    """`ratio` is how far the target is exceeded, at least 1 where it is met."""

    what: str
    target: str
    measured: str
    ratio: float


Benchmark = Callable[[argparse.Namespace], list[Verdict]]


def measure(
    contestants: dict[str, Callable[[], object]],
    *,
    rounds: int,
    work: float,
    unit: str,
    works: dict[str, float] | None = None,
) -> list[Row]:
    """Return a row per contestant, fastest first; `ratio` is its rate over that of the first contestant given.

    `works` holds the amount of work of contestants that do another than `work` per round: a slow one does less.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}

    def once(name: str) -> list[float]:
        started = time.perf_counter()
        contestants[name]()
        return [time.perf_counter() - started]

    _rounds(list(contestants), rounds, once, times)
    amounts = dict.fromkeys(contestants, work) | (works or {})
    return _rows(times, amounts, unit)


def measure_latencies(contestants: dict[str, Callable[[], list[float]]], *, rounds: int) -> list[Row]:
    """The same for contestants that return the seconds that each of many calls took; the median is over all calls."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    _rounds(list(contestants), rounds, lambda name: contestants[name](), times)
    return _rows(times, dict.fromkeys(contestants, 1.0), "calls/s")


def _rounds(names: list[str], rounds: int, once: Callable[[str], list[float]], times: dict[str, list[float]]) -> None:
    for round_number in range(rounds + 1):
        for name in names if round_number % 2 else reversed(names):
            took = once(name)
            if round_number:
                times[name] += took
            print(f"\r{name} {round_number}/{rounds}                    ", end="", file=sys.stderr, flush=True)
    print("\r", end="", file=sys.stderr)


def _rows(times: dict[str, list[float]], work: dict[str, float], unit: str) -> list[Row]:
    medians = {name: statistics.median(values) for name, values in times.items()}
    rates = {name: work[name] / median for name, median in medians.items()}
    reference = rates[next(iter(rates))]
    rows = [
        Row(name=n, median_s=m, times_s=times[n], rate=rates[n], unit=unit, ratio=rates[n] / reference)
        for n, m in medians.items()
    ]
    return sorted(rows, key=lambda row: -row["rate"])


def row_of(rows: Sequence[Row], name: str) -> Row | None:
    """The row of a contestant, None if it did not take part."""
    return next((row for row in rows if row["name"] == name), None)


def seconds_text(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    return f"{seconds * 1e3:.3f} ms" if seconds < 0.1 else f"{seconds:.3f} s"


def report(title: str, rows: Sequence[Row]) -> None:
    """Print a table to stdout."""
    print(title)
    for row in rows:
        spread = f"{seconds_text(min(row['times_s']))} to {seconds_text(max(row['times_s']))}"
        rate = f"{row['rate']:,.2f} {row['unit']}"
        median = seconds_text(row["median_s"])
        print(f"  {row['name']:34} {median:>11}  ({spread:>24})  {rate:>20}  x{row['ratio']:.3f}")
    print(flush=True)


def tell(verdicts: Sequence[Verdict]) -> None:
    """Print what was to be reached and whether it was."""
    print(f"{'target':58} {'wanted':>16} {'measured':>16} {'ratio':>8}")
    for one in verdicts:
        met = "met" if one["ratio"] >= 1 else "MISSED"
        print(f"{one['what']:58} {one['target']:>16} {one['measured']:>16} {one['ratio']:>8.2f}  {met}")
    print(flush=True)


def at_most(what: str, limit: float, measured: float, unit: str) -> Verdict:
    """A verdict on something that should be small."""
    return Verdict(
        what=what, target=f"<= {limit:g} {unit}", measured=f"{measured:.3g} {unit}", ratio=limit / max(measured, 1e-9)
    )


def at_least(what: str, factor: float, rows: Sequence[Row], mine: str, others: Sequence[str]) -> list[Verdict]:
    """A verdict on the rate of `mine` over the best of `others`; none if they did not take part."""
    rates = {row["name"]: row["rate"] for row in rows}
    best = max((rates[name] for name in others if name in rates), default=None)
    if best is None:
        return []
    times = rates[mine] / best
    return [Verdict(what=what, target=f">= {factor:g} x", measured=f"{times:.2f} x", ratio=times / factor)]


def main(benchmarks: Sequence[Benchmark], doc: str | None) -> None:
    """The command line of benchmarks: run them, print their verdicts together, fail if one is missed."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, help="worker processes, where they are no part of the target")
    parser.add_argument("--json", type=Path, help="write the verdicts here")
    options = parser.parse_args()
    verdicts = [verdict for benchmark in benchmarks for verdict in benchmark(options)]
    tell(verdicts)
    if options.json is not None:
        options.json.write_text(json.dumps(verdicts, indent=1))
    sys.exit(any(one["ratio"] < 1 for one in verdicts))
