"""Benchmarks of activities in real worker processes."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from pathlib import Path

import pytest

from meshwit.peer.activity_bench import benchmark_pool, measure_activity
from meshwit.peer.rates import RateError
from meshwit.plugins import Context, Controller, Double, Int, String, activity
from meshwit.plugins.registry import Registry
from meshwit.plugins.variables import Variables


class Timed(Controller):
    """Activities with benchmarks."""

    @activity(work=lambda number, text: 100.0, benchmark=lambda: [3, "abc"])
    def Work(self, number: Int, text: String) -> Int:
        """Takes two arguments."""
        if (number, text) != (3, "abc"):
            raise ValueError("other arguments")
        return number

    @activity(benchmark=lambda: [7])
    def InContext(self, context: Context, number: Int) -> Int:
        """Takes the context as well."""
        return number if context.blobs is not None else 0

    @activity(benchmark=list)
    def Nothing(self) -> Double:
        """Takes nothing."""
        return time.monotonic()

    @activity(benchmark=lambda: [0])
    def Fails(self, number: Int) -> Int:
        """Fails."""
        raise ValueError("not today")

    @activity(benchmark=lambda: [0])
    def Dies(self, number: Int) -> Int:
        """Takes its process along."""
        os._exit(3)

    @activity(benchmark=lambda: [0], timeout_s=0.2)
    def Hangs(self, number: Int) -> Int:
        """Never ends."""
        while True:
            time.sleep(1)

    @activity(benchmark=lambda: [object()])
    def Uncrossable(self, number: Int) -> Int:
        """Has arguments that no process can get."""
        return number

    @activity
    def Plain(self, number: Int) -> Int:
        """Has no benchmark."""
        return number


REGISTRY = Registry([Variables(), Timed()])


@pytest.fixture(autouse=True)
def _findable(monkeypatch):
    """Worker processes import this module by its name."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parent)])


def measure(tmp_path, *names):
    """Measure activities one after the other in one pool; rates, and messages where there is none."""

    async def main():
        found = []
        async with asyncio.timeout(60), benchmark_pool(REGISTRY, tmp_path) as pool:
            numbers = itertools.count(1)
            for name in names:
                try:
                    found.append(await measure_activity(pool, REGISTRY, name, "1.0", numbers))
                except RateError as reason:
                    found.append(str(reason))
            assert not pool._outbox.programs
            pool._core.check()
        return found

    return asyncio.run(main())


def test_rates_are_measured_in_a_worker_process(tmp_path):
    work, in_context, nothing = measure(tmp_path, "Timed.Work", "Timed.InContext", "Timed.Nothing")
    assert (work.activity, work.version, work.unit) == ("Timed.Work", "1.0", "work/s")
    assert (in_context.unit, nothing.unit) == ("tasks/s", "tasks/s")
    assert work.per_s > 0
    assert in_context.per_s > 0
    assert nothing.per_s > 0


def test_what_goes_wrong_is_told_and_the_pool_goes_on(tmp_path):
    fails, dies, uncrossable, plain, nobody, work = measure(
        tmp_path, "Timed.Fails", "Timed.Dies", "Timed.Uncrossable", "Timed.Plain", "Nobody.Has", "Timed.Work"
    )
    assert fails == "the benchmark of `Timed.Fails` failed: not today"
    assert dies.startswith("the benchmark of `Timed.Dies` failed: ")
    assert uncrossable.startswith("the benchmark of `Timed.Uncrossable` cannot be sent to a worker process: ")
    assert plain == "`Timed.Plain` has no benchmark"
    assert nobody == "`Nobody.Has` has no benchmark"
    assert work.per_s > 0


def test_a_benchmark_that_hangs_is_ended(tmp_path):
    (hangs,) = measure(tmp_path, "Timed.Hangs")
    assert hangs.startswith("the benchmark of `Timed.Hangs` failed: ")


def test_a_measurement_that_is_cancelled_leaves_nothing(tmp_path):
    async def main():
        async with asyncio.timeout(60), benchmark_pool(REGISTRY, tmp_path) as pool:
            task = asyncio.create_task(measure_activity(pool, REGISTRY, "Timed.Work", "1.0", itertools.count(1)))
            while not pool._outbox.programs:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not pool._outbox.programs
            pool._core.check()

    asyncio.run(main())
