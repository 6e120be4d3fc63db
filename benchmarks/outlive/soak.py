"""Many small jobs one after another, while worker processes are killed: what grows in the peers that lead and work.

Every peer leads some of the jobs and works for and stands by for others, and each is measured by itself, at rest: while
jobs run, what a peer takes goes up and down with them by more than it grows. Growth of memory is the slope of a line
through all samples (least squares), not the difference of two.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import psutil

from benchmarks.outlive.costs import ODD
from benchmarks.outlive.crew import WORK, Crew, Member, check, crew
from benchmarks.outlive.figures import Figure, figure

STEPS = """Job:Main(Int:count)
{
    Int:round = 0;
    IntCollection:results = [];
    While(round < 5)
    {
        results = Grid.ForEach(x in Int.Range(0, count)) => Outlive.Odd(x);
        round = round + 1;
    }
}
"""
TEXTS = """Job:Main(Int:count)
{
    StringCollection:texts = Grid.ForEach(x in Int.Range(0, count)) => Outlive.Text(x, 100000);
    IntCollection:results = Grid.ForEach(x in Int.Range(0, count)) => Outlive.Odd(x);
}
"""
SCRIPTS = (WORK, ODD, STEPS, TEXTS)
SAMPLES = 16
REST_S = 20.0
"""Before a sample: by then peers have forgotten what the last jobs came to, and given the memory of it back."""
WARM = 0.25
"""Of the whole time: what is loaded and filled at first does not count."""
ENDS = 0.2
"""Of the samples: a count has grown from the median of so many first ones to that of so many last ones."""
JOBS = 1000
"""The growth of memory is told for so many jobs."""
MEMORY = {"uss": "memory of its own", "rss": "resident memory"}
COUNTS = ("files", "children", "connections")


def measure(options: argparse.Namespace) -> tuple[list[Figure], list[dict[str, Any]]]:
    """Jobs for so many minutes, or so many of them."""
    source = random.Random(options.seed)
    samples: list[dict[str, Any]] = []
    wrong: list[str] = []
    done = killed = 0
    with crew(4, options.keep) as made:
        for member in made.members:
            made.warm_up(member)
        began = time.monotonic()
        limit_s = options.minutes * 60

        def share() -> float:
            return float(done / options.jobs) if options.jobs else float((time.monotonic() - began) / limit_s)

        while share() < 1:
            killed += _one(made, SCRIPTS[done % len(SCRIPTS)], source, options, wrong)
            done += 1
            if share() >= (len(samples) + 1) / SAMPLES:
                time.sleep(REST_S)
                peers = {each.name: _of(each) for each in made.members}
                samples.append({"at": time.monotonic() - began, "share": share(), "jobs": done, "peers": peers})
                print(f"\rsoak: {share():.0%}, {done} jobs, {killed} killed ", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    found = [figure("soak", f"{done} jobs, {killed} worker processes killed: right", f"{done - len(wrong)}", f"{done}")]
    found += [figure("soak", f"  {each[:90]}", "failed") for each in wrong]
    return found + growth([each for each in samples if each["share"] > WARM]), samples


def _one(made: Crew, script: str, source: random.Random, options: argparse.Namespace, wrong: list[str]) -> int:
    """One job; perhaps a worker process is killed meanwhile. How many were."""
    leader, follower = source.choice(made.members), source.choice(made.members)
    count = source.randint(20, 60)
    notes = made.noted()
    arguments: list[Any] = [count, str(notes), 0.01] if script == WORK else [count]
    job = made.start(leader, follower, script, arguments, keep_s=options.keep_s)
    killed = 0
    if source.random() < options.kills:
        time.sleep(source.uniform(0.0, 0.1))
        workers = source.choice(made.members).workers()
        if workers:
            source.choice(workers).kill()
            killed = 1
    try:
        check(job.outcome(options.patience), count)
    except RuntimeError as reason:
        wrong.append(str(reason))
    finally:
        notes.unlink(missing_ok=True)
    return killed


def _of(member: Member) -> dict[str, float]:
    process = member.process
    memory = process.memory_full_info()
    files = getattr(process, "num_handles" if psutil.WINDOWS else "num_fds")()
    return {
        "uss": memory.uss / 1e6,
        "rss": memory.rss / 1e6,
        "files": files,
        "children": len(member.workers()),
        "connections": len(process.net_connections()),
    }


def growth(samples: Sequence[dict[str, Any]]) -> list[Figure]:
    """By how much each thing grew in each peer, and in the one in which it grew most."""
    if len(samples) < 2 or samples[0]["jobs"] == samples[-1]["jobs"]:
        return [figure("soak", "growth", "too few samples", "5 MB, none leaked")]
    found: list[Figure] = []
    for kind, what in MEMORY.items():
        grown = {name: JOBS * _slope(samples, name, kind) for name in samples[0]["peers"]}
        each = ", ".join(f"{name} {value:+.1f}" for name, value in grown.items())
        most, last = max(grown, key=lambda name: grown[name]), samples[-1]["peers"]
        measured = f"{grown[most]:+.1f} MB ({each}), to {max(last[name][kind] for name in grown):.1f} MB"
        found.append(
            figure("soak", f"growth of {what} in {JOBS:,} jobs", measured, "at most 5 MB", list(grown.values()))
        )
    for kind in COUNTS:
        count = max(1, int(len(samples) * ENDS))
        grown = {}
        for name in samples[0]["peers"]:
            values = [each["peers"][name][kind] for each in samples]
            grown[name] = statistics.median(values[-count:]) - statistics.median(values[:count])
        most = max(grown, key=lambda name: grown[name])
        measured = f"{grown[most]:+.1f}, to {samples[-1]['peers'][most][kind]:.1f}"
        found.append(figure("soak", f"growth of {kind}", measured, "none", list(grown.values())))
    return found


def _slope(samples: Sequence[dict[str, Any]], name: str, kind: str) -> float:
    """By how much a peer grows from one job to the next."""
    values = [each["peers"][name][kind] for each in samples]
    return statistics.linear_regression([each["jobs"] for each in samples], values).slope
