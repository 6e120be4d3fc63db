"""One call to a worker process and back: `python -m benchmarks.call_latency`.

For meshwit once from statement to statement of a running script, its loop included, once from `Session.run` of a
script with a single call to the outcome. The others: `submit(...).result()`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise

import meshwit
from benchmarks import contestants, work
from benchmarks.ratio import Verdict, at_most, main, measure_latencies, report, row_of

CALLS = 1000
OUTSIDE_CALLS = 200
WORKERS = 4
INSIDE = (
    "Job:Inside(Int:count) { Long:last = 0; Loop(count) { Bench.Mark(); last = Bench.Echo(last + 1); } Bench.Mark(); }"
)
OUTSIDE = "Job:Outside() { Long:result = Bench.Echo(7); }"


def timed(call: Callable[[], object], count: int) -> Callable[[], list[float]]:
    def run() -> list[float]:
        times = []
        for _ in range(count):
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)
        return times

    return run


def call_latency(options: argparse.Namespace) -> list[Verdict]:
    registry = work.registry()
    inside, outside = (meshwit.compile(text, registry=registry) for text in (INSIDE, OUTSIDE))
    with ExitStack() as stack:
        session = stack.enter_context(meshwit.Session(workers=WORKERS, registry=registry))
        session.warm()
        pool = stack.enter_context(contestants.executor(WORKERS))
        client = stack.enter_context(contestants.dask_client(WORKERS))

        def calls_inside() -> list[float]:
            work.marks.clear()
            outcome = session.run(inside, CALLS)
            assert outcome.variables["last"] == CALLS
            return [after - before for before, after in pairwise(work.marks)]

        def run_outside() -> None:
            assert session.run(outside).variables["result"] == 7

        rows_of = {
            "meshwit, inside a script": calls_inside,
            "meshwit, Session.run": timed(run_outside, OUTSIDE_CALLS),
            "ProcessPoolExecutor": timed(lambda: pool.submit(work.echo, 7).result(), CALLS),
        }
        if client is not None:
            rows_of["dask.distributed"] = timed(lambda: client.submit(work.echo, 7, pure=False).result(), OUTSIDE_CALLS)
        rows = measure_latencies(rows_of, rounds=options.rounds)
    report(f"one call to a worker process and back, {WORKERS} of them; medians of all calls", rows)
    row = row_of(rows, "meshwit, inside a script")
    assert row is not None
    return [at_most("a call of a script, p50", 1.0, row["median_s"] * 1e3, "ms")]


if __name__ == "__main__":
    main([call_latency], __doc__)
