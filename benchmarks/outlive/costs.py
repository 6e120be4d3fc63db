"""What standbys cost a job that loses nobody: the same jobs with two of them and with none, in turn.

Time is from a job's being asked for to its outcome, over one connection to its leader.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import defaultdict
from typing import Any

from benchmarks.outlive.crew import WORK, Crew, Followed, check, crew
from benchmarks.outlive.figures import Figure, figure, seconds

ODD = """Job:Main(Int:count)
{
    IntCollection:results = Grid.ForEach(x in Int.Range(0, count)) => Outlive.Odd(x);
}
"""
TASK_S = 0.01
KINDS = (("tasks of 10 ms", "at most 1.02"), ("no-op tasks", "at most 1.30"))
STANDBYS = (2, 0)


def measure(options: argparse.Namespace) -> tuple[list[Figure], list[dict[str, Any]]]:
    """Rounds of both kinds; the first of each does not count."""
    took: dict[tuple[str, int], list[float]] = defaultdict(list)
    own: dict[tuple[str, int], list[float]] = defaultdict(list)
    with crew(4, options.keep) as made:
        made.warm_up(made.members[0])
        for number in range(options.rounds + 1):
            for kind, _ in KINDS:
                for standbys in STANDBYS if number % 2 else reversed(STANDBYS):
                    job = _once(made, kind, standbys, options)
                    if number:
                        took[kind, standbys].append(job.seconds)
                        own[kind, standbys].append(job.own_seconds)
                    text = f"{kind}, {standbys} standbys: {job.seconds:.3f} s, by its clock {job.own_seconds:.3f} s"
                    print(f"safety {number}/{options.rounds}: {text}", file=sys.stderr, flush=True)
    found: list[Figure] = []
    for kind, target in KINDS:
        count = options.tasks if kind == KINDS[0][0] else options.noops
        medians = {standbys: statistics.median(took[kind, standbys]) for standbys in STANDBYS}
        for standbys in STANDBYS:
            found += seconds("safety", f"{count:,} {kind}, {standbys} standbys", took[kind, standbys])
        ratios = [one / other for one, other in zip(took[kind, 2], took[kind, 0], strict=True)]
        ratio = f"{medians[2] / medians[0]:.3f}"
        found.append(figure("safety", f"{count:,} {kind}, with standbys over without", ratio, target, ratios))
        inside = statistics.median(own[kind, 2]) / max(statistics.median(own[kind, 0]), 1e-9)
        found.append(figure("safety", f"{count:,} {kind}, the same by the clock of jobs", f"{inside:.3f}"))
    raw = [
        {"kind": kind, "standbys": standbys, "seconds": times, "by_their_clock": own[kind, standbys]}
        for (kind, standbys), times in took.items()
    ]
    return found, raw


def _once(made: Crew, kind: str, standbys: int, options: argparse.Namespace) -> Followed:
    leader = made.members[0]
    if kind == KINDS[0][0]:
        count, script, arguments = options.tasks, WORK, [options.tasks, "", TASK_S]
    else:
        count, script, arguments = options.noops, ODD, [options.noops]
    job = made.start(leader, leader, script, arguments, standbys=standbys)
    check(job.outcome(options.patience), count)
    return job
