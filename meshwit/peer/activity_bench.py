"""Running the benchmarks of activities in worker processes, as tasks are run: the same limits, the same clock."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from meshwit.codec import CodecError
from meshwit.lang import program as ir
from meshwit.lang.arrows import pack
from meshwit.peer.blobs.store import BlobStore, user_folder
from meshwit.peer.exec.batches import Batch, BatchResults
from meshwit.peer.exec.directories import prefix
from meshwit.peer.exec.pool import WorkerPool
from meshwit.peer.exec.pool_core import PoolFullError
from meshwit.peer.rates import Benchmark, Rate, RateError, Trial, benchmark_of
from meshwit.plugins.registry import Registry

CALL_LIMIT_S: Final = 60.0
"""For one call, where the activity has no limit of its own that is shorter."""
_START_S: Final = 30.0  # for the worker process to start and load the controller


async def measure_activity(
    pool: WorkerPool, registry: Registry, activity: str, version: str, numbers: Iterator[int]
) -> Rate:
    """The rate of one worker process at an activity. Takes a second beside the start of the process, at most minutes.

    Best while the pool has nothing else to do: what else runs makes the rate low.

    Args:
        pool: entered; its codec knows the values of the benchmark.
        registry: the controllers, installed here.
        activity: its name.
        version: of its controller, as `RateBook.version_of` gives it.
        numbers: gives numbers for a step and batches that the pool does not know.

    Raises:
        RateError: it has no benchmark, cannot run here, its benchmark fails, or the pool is full.
    """
    loop = asyncio.get_running_loop()
    found = registry.offer.activities.get(activity)
    if found is not None and found.missing:
        raise RateError(f"`{found.name}` cannot run here yet: {found.missing}")
    benchmark = await loop.run_in_executor(None, benchmark_of, registry, activity)
    if found is None or benchmark is None:
        raise RateError(f"`{activity}` has no benchmark")
    step, trial = next(numbers), Trial()
    limit_s = CALL_LIMIT_S if found.timeout_s is None else min(CALL_LIMIT_S, found.timeout_s)
    try:
        pool.prepare(
            step, _program(registry, benchmark), timeout_s=limit_s, memory_max_bytes=found.memory_max_bytes, once=True
        )
    except (CodecError, OSError) as reason:
        raise RateError(f"the benchmark of `{found.name}` cannot be sent to a worker process: {reason}") from reason
    ended = False
    try:
        while count := trial.wants():
            async with asyncio.timeout(_START_S + limit_s * count):
                for seconds in await _run(pool, found.name, step, next(numbers), count):
                    trial.took(seconds)
        ended = True
    except (TimeoutError, PoolFullError) as reason:
        what = "took too long" if isinstance(reason, TimeoutError) else "cannot run now: the worker processes are busy"
        raise RateError(f"the benchmark of `{found.name}` {what}") from reason
    finally:
        if ended:
            loop.call_soon(pool.release, step)  # the pool closes a batch only after it has delivered it
            await asyncio.sleep(0)
        else:
            pool.cancel(step)
    return benchmark.rate(trial.seconds, version, time.time())


async def _run(pool: WorkerPool, activity: str, step: int, batch: int, count: int) -> list[float]:
    """Call it so many times in a row; the seconds of each. Raises RateError if a call fails."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    seconds: list[float] = []

    def arrived(results: BatchResults) -> None:
        if done.done():
            return
        if results.failures:
            failure = next(iter(results.failures.values()))
            done.set_exception(RateError(f"the benchmark of `{activity}` failed: {failure.message}"))
            return
        seconds.extend(results.seconds)
        if results.finished:
            done.set_result(None)

    pool.submit(Batch(step, batch, [None] * count), arrived)
    await done
    return seconds


def _program(registry: Registry, benchmark: Benchmark) -> dict[str, Any]:
    """What a worker process needs for the call: the arguments are captured, the items are nothing."""
    found = registry.offer.activities[benchmark.activity]
    form = found.forms[benchmark.form]
    kinds = [one.type for one in form.parameters] + ["Object"] * len(benchmark.arguments)
    loads = tuple(
        ir.Load(0, 0, slot, kind, "", False, (0, 0))
        for slot, (kind, _) in enumerate(zip(kinds, benchmark.arguments, strict=False), start=1)
    )
    task = ir.Invoke(found, benchmark.form, loads, form.returns or "", 0, (0, 0))
    return {
        "controllers": _controllers(registry, found.controller, [*kinds, form.returns or "Object"]),
        "task": pack(task),
        "captured": list(benchmark.arguments),
    }


def _controllers(registry: Registry, own: str, kinds: Sequence[str]) -> list[str]:
    """The controllers that a call needs: its own, and those of the types that it takes and gives."""
    owners = registry.owners
    wanted = [owners.get("type Int"), own]
    wanted += [owners.get(f"type {kind}") or owners.get(f"type {kind.removesuffix('Collection')}") for kind in kinds]
    return list(dict.fromkeys(one for one in wanted if one is not None))


@asynccontextmanager
async def benchmark_pool(registry: Registry, blobs: Path | None = None) -> AsyncIterator[WorkerPool]:
    """A pool of one worker process for measuring alone, where no peer has a pool already.

    Args:
        registry: the controllers that it knows.
        blobs: folder of the blob store; None for the user's cache.
    """
    store = BlobStore(blobs or user_folder())
    kinds = registry.offer.types.values()
    tags = {kind.wire.tag: registry.owners.get(f"type {kind.name}", "") for kind in kinds if kind.wire}
    with tempfile.TemporaryDirectory(prefix=prefix(), ignore_cleanup_errors=True) as scratch:
        pool = WorkerPool(
            1,
            codec=registry.codec(store.wire_type()),
            codec_factory="meshwit.peer.exec.tasks:make_codec",
            codec_setup={
                "blobs": str(store.folder),
                "roots": [],
                "scratch": scratch,
                "tags": {tag: owner for tag, owner in tags.items() if owner},
            },
        )
        async with pool:
            yield pool


async def measure_alone(registry: Registry, activity: str, version: str) -> Rate:
    """`measure_activity` in a pool of its own. Raises RateError."""
    async with benchmark_pool(registry) as pool:
        return await measure_activity(pool, registry, activity, version, itertools.count(1))
