"""10,000 tasks that do nothing, each with a result of its own: `python -m benchmarks.noop_tasks`.

All have 4 worker processes. meshwit is measured from `Session.run` to the outcome, so with the interpreter, the leader
and the journal of results. The tasks of dask.distributed are fewer, as it needs a millisecond and more for each.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from typing import Any

import meshwit
from benchmarks import contestants, work
from benchmarks.ratio import Verdict, at_least, main, measure, report

TASKS = 10_000
DASK_TASKS = 1_000
WORKERS = 4
CHUNK = 2500
"""One chunk for each process: the fastest of 32 to 2500, as all tasks take the same time."""
SCRIPT = "Job:Main(LongCollection:items) { LongCollection:results = Grid.ForEach(item in items) => Bench.Echo(item); }"


def noop_tasks(options: argparse.Namespace) -> list[Verdict]:
    items = list(range(TASKS))
    registry = work.registry()
    program = meshwit.compile(SCRIPT, registry=registry)

    def checked(results: Any, count: int = TASKS) -> None:
        assert list(results) == items[:count]

    with ExitStack() as stack:
        session = stack.enter_context(meshwit.Session(workers=WORKERS, registry=registry))
        session.warm()
        pool = stack.enter_context(contestants.executor(WORKERS))
        parallel = stack.enter_context(contestants.joblib_parallel(WORKERS))
        client = stack.enter_context(contestants.dask_client(WORKERS))
        others = {
            f"ProcessPoolExecutor, chunks of {CHUNK}": lambda: checked(pool.map(work.echo, items, chunksize=CHUNK)),
            "ProcessPoolExecutor, chunks of 1": lambda: checked(pool.map(work.echo, items)),
        }
        if parallel is not None:
            from joblib import delayed  # noqa: PLC0415 - an optional contestant

            others["joblib (loky)"] = lambda: checked(parallel(delayed(work.echo)(item) for item in items))
        if client is not None:
            others["dask.distributed"] = lambda: checked(
                client.gather(client.map(work.echo, items[:DASK_TASKS], pure=False)), DASK_TASKS
            )
        mine = {"meshwit": lambda: checked(session.run(program, items).variables["results"])}
        rows = measure(
            mine | others, rounds=options.rounds, work=TASKS, unit="tasks/s", works={"dask.distributed": DASK_TASKS}
        )
    report(f"{TASKS:,} no-op tasks, {WORKERS} worker processes", rows)
    return [
        *at_least("no-op tasks, rate against joblib", 1, rows, "meshwit", ["joblib (loky)"]),
        *at_least("no-op tasks, rate against dask.distributed", 100, rows, "meshwit", ["dask.distributed"]),
    ]


if __name__ == "__main__":
    main([noop_tasks], __doc__)
