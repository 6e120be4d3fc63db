"""64 float64 arrays of 8 MiB sent to worker processes, doubled, and returned: `python -m benchmarks.arrays`.

Every contestant has the same number of warm workers and hands back all 64 results at once, alive together. For
meshwit, from the parameter of a script to a variable of its outcome. GiB/s count the payload once (512 MiB in, the
same out). One element of every page of every result is read.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

import meshwit
from benchmarks import contestants, work
from benchmarks.ratio import Verdict, at_least, main, measure, report
from meshwit.bench.cores import usable_cores

ARRAYS = 64
MIB = 8
SCRIPT = "Job:Main(VectorCollection:arrays) { VectorCollection:out = Grid.ForEach(a in arrays) => Bench.Double(a); }"


def doubled_arrays(options: argparse.Namespace) -> list[Verdict]:
    workers = options.workers or usable_cores()
    arrays = [np.full(MIB << 17, float(number)) for number in range(ARRAYS)]

    def checked(run: Callable[[], Any]) -> Callable[[], None]:
        def once() -> None:
            results = list(run())
            assert len(results) == len(arrays)
            for number, result in enumerate(results):
                assert (result[::512] == 2.0 * number).all()

        return once

    registry = work.registry()
    program = meshwit.compile(SCRIPT, registry=registry)
    with ExitStack() as stack:
        session = stack.enter_context(meshwit.Session(workers=workers, registry=registry))
        session.warm()
        pool = stack.enter_context(contestants.executor(workers))
        parallel = stack.enter_context(contestants.joblib_parallel(workers))
        client = stack.enter_context(contestants.dask_client(workers))
        others = {"ProcessPoolExecutor": checked(lambda: pool.map(work.double, arrays))}
        if parallel is not None:
            from joblib import delayed  # noqa: PLC0415 - an optional contestant

            others["joblib (loky)"] = checked(lambda: parallel(delayed(work.double)(array) for array in arrays))
        if client is not None:
            others["dask.distributed"] = checked(
                lambda: client.gather(client.map(work.double, [client.scatter(array) for array in arrays]))
            )
        mine = {"meshwit": checked(lambda: session.run(program, arrays).variables["out"])}
        rows = measure(mine | others, rounds=options.rounds, work=ARRAYS * MIB / 1024, unit="GiB/s")
    report(f"{ARRAYS} arrays of {MIB} MiB doubled, {workers} worker processes", rows)
    return at_least("arrays doubled, rate against the best of the others", 1.5, rows, "meshwit", list(others))


if __name__ == "__main__":
    main([doubled_arrays], __doc__)
