"""The others, each with so many warm processes; those that are not installed are left out.

As they come: joblib with loky and its automatic batches inside `with Parallel()`, so that it keeps what it learnt;
dask.distributed with one thread per process; the standard library's executor.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import importlib
import importlib.util
import logging
import multiprocessing
from collections.abc import Iterator
from typing import Any

from benchmarks.work import echo


@contextlib.contextmanager
def executor(workers: int) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    """The standard library's, spawned as meshwit's worker processes are."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        list(pool.map(echo, range(workers * 50)))
        yield pool


@contextlib.contextmanager
def joblib_parallel(workers: int) -> Iterator[Any]:
    """A `joblib.Parallel`, None where joblib is not installed."""
    if importlib.util.find_spec("joblib") is None:
        yield None
        return
    joblib = importlib.import_module("joblib")
    with joblib.Parallel(n_jobs=workers, backend="loky", batch_size="auto") as parallel:
        parallel(joblib.delayed(echo)(number) for number in range(10_000))
        yield parallel


@contextlib.contextmanager
def dask_client(workers: int) -> Iterator[Any]:
    """A `distributed.Client`, None where dask.distributed is not installed."""
    if importlib.util.find_spec("distributed") is None:
        yield None
        return
    distributed = importlib.import_module("distributed")
    with distributed.Client(
        n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR
    ) as client:
        client.gather(client.map(echo, range(100), pure=False))
        yield client
