"""Drives a pool in tests: one call, all outcomes."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from meshwit.peer.exec.pool import Batch, WorkerPool

HERE = Path(__file__).parent
LIMIT_S = 20.0


@dataclass
class Outcome:
    values: dict = field(default_factory=dict)
    failures: dict = field(default_factory=dict)
    outputs: dict = field(default_factory=dict)
    workers: set = field(default_factory=set)
    started: list = field(default_factory=list)
    parts: int = 0


class Driver:
    def __init__(self, size=2, **options):
        self.pool = WorkerPool(size, loader="activities:load", **options)
        self.ids = itertools.count(1)

    async def __aenter__(self):
        await self.pool.__aenter__()
        return self

    async def __aexit__(self, *error):
        await self.pool.__aexit__(*error)

    def start(self, step, items, outcome, numbers=None):
        """Submit one batch; returns its id and a future that is done with it."""
        done = asyncio.get_running_loop().create_future()

        def arrived(results):
            outcome.parts += 1
            for number, value in zip(results.numbers, results.values, strict=True):
                assert number not in outcome.values.keys() | outcome.failures.keys(), f"item {number} twice"
                if number in results.failures:
                    outcome.failures[number] = results.failures[number]
                else:
                    outcome.values[number] = value
                    outcome.workers.add(results.worker)
            outcome.outputs |= results.outputs
            if results.finished:
                done.set_result(None)

        batch_id = next(self.ids)
        self.pool.submit(Batch(step, batch_id, items, numbers), arrived, outcome.started.append)
        return batch_id, done

    async def run(self, program, items, batch_size=None, **limits):
        """Run items through a step of its own, in batches."""
        step, outcome = next(self.ids), Outcome()
        self.pool.prepare(step, program, **limits)
        size = batch_size or len(items)
        starts = range(0, len(items), size)
        with anyio.fail_after(LIMIT_S):
            futures = []
            for at in starts:
                while not self.pool.wants_more():
                    await asyncio.wait([each for each in futures if not each.done()], return_when="FIRST_COMPLETED")
                numbers = range(at, min(at + size, len(items)))
                futures.append(self.start(step, items[at : at + size], outcome, numbers)[1])
            await asyncio.gather(*futures)
        self.pool._core.check()
        self.pool.release(step)
        return outcome


def drive(program, items, batch_size=None, size=2, limits=None, **options):
    """Run items through a new pool, and see that nothing is left of it."""

    async def main():
        async with Driver(size, **options) as driver:
            directory = driver.pool._directory
            outcome = await driver.run(program, items, batch_size, **(limits or {}))
            pids = [worker.pid for worker in driver.pool._crew.workers if worker is not None]
        assert not directory.exists()
        assert not any(alive(pid) for pid in pids)
        return outcome

    return run_async(main)


def run_async(main):
    if str(HERE) not in sys.path:
        sys.path.append(str(HERE))

    async def limited():
        with anyio.fail_after(2 * LIMIT_S):
            return await main()

    return asyncio.run(limited())


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


def wait_until(condition, what, limit_s=LIMIT_S):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.005)


async def until(condition):
    with anyio.fail_after(LIMIT_S):
        while not condition():
            await anyio.sleep(0.005)
