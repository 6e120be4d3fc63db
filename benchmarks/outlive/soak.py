"""Many small jobs one after another, while worker processes are killed: what grows in the peers that lead and work."""

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
SAMPLE_S = 2.0
REST_S = 0.2
"""Before a sample: nothing runs then."""
WARM = 0.25
"""Of the whole time: what is loaded and filled at first does not count."""
ENDS = 0.2
"""Of the samples: growth is from the median of so many first ones to that of so many last ones."""
KINDS = ("uss", "rss", "files", "children", "connections")
PARTS = {"uss": "memory of its own", "rss": "resident memory"}


def measure(options: argparse.Namespace) -> tuple[list[Figure], list[dict[str, Any]]]:
    """Jobs for so many minutes, or so many of them."""
    source = random.Random(options.seed)
    samples: list[dict[str, Any]] = []
    wrong: list[str] = []
    done = killed = 0
    with crew(4, options.keep) as made:
        for member in made.members:
            made.warm_up(member)
        began = sampled = time.monotonic()
        limit_s = options.minutes * 60

        def share() -> float:
            return float(done / options.jobs) if options.jobs else float((time.monotonic() - began) / limit_s)

        while share() < 1:
            killed += _one(made, SCRIPTS[done % len(SCRIPTS)], source, options, wrong)
            done += 1
            if time.monotonic() - sampled >= (SAMPLE_S if not options.jobs else 0.0):
                time.sleep(REST_S)
                samples.append({"at": time.monotonic() - began, "share": share(), "peers": _sample(made)})
                sampled = time.monotonic()
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


def _sample(made: Crew) -> dict[str, dict[str, float]]:
    return {each.name: _of(each) for each in made.members}


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
    """By how much each thing grew in the peer in which it grew most."""
    if len(samples) < 2:
        return [figure("soak", "growth", "too few samples", "5 MB, none leaked")]
    count = max(1, int(len(samples) * ENDS))
    found: list[Figure] = []
    for kind in KINDS:
        grown: dict[str, float] = {}
        for name in samples[0]["peers"]:
            values = [each["peers"][name][kind] for each in samples]
            grown[name] = statistics.median(values[-count:]) - statistics.median(values[:count])
        most = max(grown, key=lambda name: grown[name])
        last = samples[-1]["peers"][most][kind]
        unit, target = (" MB", "at most 5 MB") if kind in PARTS else ("", "none")
        measured = f"{grown[most]:+.1f}{unit}, to {last:.1f}{unit}"
        found.append(figure("soak", f"growth of {PARTS.get(kind, kind)}", measured, target, list(grown.values())))
    return found
