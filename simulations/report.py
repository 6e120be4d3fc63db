"""What the runs came to, as a table or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from simulations.runner import Played
from simulations.scenario import Scenario

FAULTS_SHOWN = 12


def pooled(runs: Sequence[Played]) -> dict[str, list[float]]:
    """The samples of several runs together."""
    together: dict[str, list[float]] = {}
    for played in runs:
        for name, values in played.samples.items():
            together.setdefault(name, []).extend(values)
    return together


def passed(scenario: Scenario, runs: Sequence[Played]) -> bool:
    """Whether all targets are reached and no invariant was broken."""
    samples = pooled(runs)
    return not any(each.faults for each in runs) and all(each.holds(samples) is not False for each in scenario.figures)


def as_table(scenario: Scenario, size: int, runs: Sequence[Played]) -> str:
    """For people; one scenario with one size."""
    samples = pooled(runs)
    count = sum(len(each.faults) and each.faults_count for each in runs)
    virtual = sum(each.virtual_s for each in runs)
    cpu = sum(each.cpu_s for each in runs)
    events = sum(each.events for each in runs)
    seeds = f"{len(runs)} seeds" if len(runs) > 1 else f"seed {runs[0].task.seed}"
    lines = [
        f"{scenario.name}: {size} peers, {seeds}, {virtual:,.0f} s in {cpu:.1f} s of CPU, {events:,} events",
    ]
    for figure in scenario.figures:
        value, holds = figure.value(samples), figure.holds(samples)
        if value is None and holds is None:
            continue
        told = "none" if value is None else f"{value:,.3f}".rstrip("0").rstrip(".")
        target = "" if figure.limit is None else f"{'>=' if figure.at_least else '<='} {figure.limit:g} {figure.unit}"
        verdict = {None: "", True: "ok", False: "MISSED"}[holds]
        name = f"{figure.name}, {figure.statistic}"
        lines.append(f"  {name:<44} {told + ' ' + figure.unit:>18}   {target:<14} {verdict}".rstrip())
    faults = [f"seed {each.task.seed}: {text}" for each in runs for text in each.faults]
    lines.append(f"  {'invariants':<44} {f'{count} broken':>18}   {'none':<14} {'MISSED' if faults else 'ok'}")
    lines += [f"    {text}" for text in faults[:FAULTS_SHOWN]]
    if len(runs) == 1:
        lines.append(f"  trace {runs[0].digest}")
    return "\n".join(lines)


def as_data(scenario: Scenario, size: int, runs: Sequence[Played]) -> dict[str, Any]:
    """For programs."""
    samples = pooled(runs)
    return {
        "scenario": scenario.name,
        "size": size,
        "passed": passed(scenario, runs),
        "figures": [
            {
                "name": figure.name,
                "statistic": figure.statistic,
                "unit": figure.unit,
                "value": figure.value(samples),
                "limit": figure.limit,
                "at_least": figure.at_least,
                "holds": figure.holds(samples),
            }
            for figure in scenario.figures
        ],
        "runs": [
            {
                "seed": each.task.seed,
                "trace": each.digest,
                "faults": each.faults,
                "events": each.events,
                "virtual_s": each.virtual_s,
                "cpu_s": each.cpu_s,
            }
            for each in runs
        ],
    }
