"""64 float64 arrays of 8 MiB sent to worker processes, doubled, and returned: `python -m benchmarks.exec_arrays`.

Every contestant has the same number of warm workers and hands back all 64 results at once, alive together. GB/s count
the payload once (512 MiB in, the same out). Every page of every result is read.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import importlib.util
import itertools
import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ratio import measure, report
from meshwit.bench.cores import usable_cores
from meshwit.peer.exec.pool import Batch, BatchResults, WorkerPool


def double(array: Any) -> Any:
    return array * 2.0


def load(program: str) -> Callable[[Any], Any]:
    return {"double": double}[program]


class Meshwit:
    """A pool on a loop of its own, driven from outside."""

    def __init__(self, workers: int) -> None:
        self.runner = asyncio.Runner()
        self.pool = WorkerPool(workers, loader="benchmarks.exec_arrays:load")
        self.runner.run(self.pool.__aenter__())
        self.pool.prepare(1, "double")
        self.batch_ids = itertools.count()

    def map(self, arrays: list[Any]) -> list[Any]:
        return self.runner.run(self._map(arrays))

    async def _map(self, arrays: list[Any]) -> list[Any]:
        done = asyncio.get_running_loop().create_future()
        values: list[Any] = [None] * len(arrays)
        waiting = iter(range(len(arrays)))
        open_count = len(arrays)

        def feed() -> None:
            while self.pool.wants_more() and (number := next(waiting, None)) is not None:
                self.pool.submit(Batch(1, next(self.batch_ids), [arrays[number]], [number]), arrived)

        def arrived(results: BatchResults) -> None:
            nonlocal open_count
            assert not results.failures, results.failures
            for number, value in zip(results.numbers, results.values, strict=True):
                values[number] = value
            open_count -= len(results.numbers)
            feed()
            if not open_count:
                done.set_result(None)

        feed()
        await done
        return values

    def close(self) -> None:
        self.runner.run(self.pool.__aexit__(None, None, None))
        self.runner.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arrays", type=int, default=64)
    parser.add_argument("--mib", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    elements = options.mib << 17
    arrays = [np.full(elements, float(number)) for number in range(options.arrays)]

    def checked(run: Callable[[], Any]) -> Callable[[], None]:
        def once() -> None:
            results = list(run())
            assert len(results) == len(arrays)
            for number, result in enumerate(results):
                assert (result[::512] == 2.0 * number).all()  # one element of every page: views must be read to count

        return once

    meshwit = Meshwit(options.workers)
    contestants = {"meshwit": checked(lambda: meshwit.map(arrays))}
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(options.workers, mp_context=spawn) as executor:
        contestants["ProcessPoolExecutor"] = checked(lambda: executor.map(double, arrays))
        if importlib.util.find_spec("joblib"):
            import joblib  # noqa: PLC0415 - an optional contestant

            parallel = joblib.Parallel(n_jobs=options.workers, backend="loky")
            contestants["joblib (loky)"] = checked(lambda: parallel(joblib.delayed(double)(each) for each in arrays))
        client: Any = None
        if importlib.util.find_spec("distributed"):
            from distributed import Client  # noqa: PLC0415 - an optional contestant

            client = Client(n_workers=options.workers, threads_per_worker=1, dashboard_address=None)
            contestants["dask.distributed"] = checked(
                lambda: client.gather(client.map(double, [client.scatter(each) for each in arrays]))
            )
        gigabytes = options.arrays * options.mib / 1024
        rows = measure(contestants, rounds=options.rounds, work=gigabytes, unit="GiB/s")
        if client is not None:
            client.close()
    meshwit.close()
    title = f"{options.arrays} arrays of {options.mib} MiB doubled, {options.workers} workers, {sys.platform}"
    report(title, rows, options.json)


if __name__ == "__main__":
    main()
