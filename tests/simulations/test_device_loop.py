"""The asyncio loop of a simulated process: what it plans happens by the clock of its device, while it lives."""

from __future__ import annotations

import asyncio

import pytest

from simulations.engine import Simulation
from simulations.hosts import Host
from simulations.jobs.clock import RESOLUTION_S, Clock
from simulations.jobs.loop import DeviceLoop


class Process:
    """One process, and what it did when."""

    def __init__(self) -> None:
        self.simulation = Simulation(0)
        self.host = Host("peer0", 0)
        self.clock = Clock(self.simulation, self.host, 100.0)
        self.loop = DeviceLoop(self.clock, lambda: 0.5)
        self.did: list[tuple[str, float]] = []

    def do(self, what: str) -> None:
        self.did.append((what, round(self.simulation.now, 3)))

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.do("waited")

    def run(self, until: float) -> list[tuple[str, float]]:
        self.simulation.run(until + RESOLUTION_S)
        return self.did


@pytest.fixture
def process():
    made = Process()
    yield made
    made.simulation.close()


def test_what_is_planned_for_one_time_happens_in_the_order_in_which_it_was_planned(process):
    loop = process.loop
    loop.call_later(1.0, process.do, "third")
    loop.call_at(101.0, process.do, "fourth")
    loop.call_soon(process.do, "first")
    loop.call_soon(loop.call_soon, process.do, "second")
    assert process.run(2.0) == [("first", 0.0), ("second", 0.0), ("third", 1.0), ("fourth", 1.0)]


def test_a_timer_that_is_cancelled_does_nothing(process):
    process.loop.call_later(1.0, process.do, "never").cancel()
    process.loop.call_later(2.0, process.do, "then")
    assert process.run(3.0) == [("then", 2.0)]


def test_a_task_waits_by_the_clock_of_its_device_which_may_leap(process):
    process.loop.create_task(process.wait(10.0))
    process.run(1.0)
    process.clock.leap(20.0)
    assert process.run(1.1) == [("waited", 1.0)]


def test_a_frozen_process_goes_on_when_it_thaws(process):
    process.loop.create_task(process.wait(1.0))
    process.run(0.5)
    process.host.frozen_until = 5.0
    assert process.run(4.0) == []
    assert process.run(6.0) == [("waited", 5.0)]


def test_a_killed_process_does_nothing_more(process):
    process.loop.create_task(process.wait(1.0))
    process.loop.call_later(1.0, process.do, "never")
    process.run(0.5)
    process.clock.lives = False
    assert process.run(9.0) == []


def test_a_thread_does_what_it_is_handed_after_its_time_and_tells_what_that_raised(process):
    async def hand_over() -> None:
        process.do(str(await process.loop.run_in_executor(None, int, "7")))
        with pytest.raises(ValueError, match="invalid literal"):
            await process.loop.run_in_executor(None, int, "seven")
        process.do("told")

    process.loop.create_task(hand_over())
    assert process.run(3.0) == [("7", 0.5), ("told", 1.0)]


def test_what_is_done_at_the_start_takes_no_time(process):
    async def begin() -> int:
        await asyncio.sleep(0)
        return await process.loop.run_in_executor(None, int, "7")

    assert process.loop.start(begin()) == 7
    with pytest.raises(RuntimeError, match="waits for what takes time"):
        process.loop.start(process.wait(1.0))


def test_what_a_callback_raises_ends_the_run(process):
    process.loop.call_later(1.0, int, "seven")
    with pytest.raises(ValueError, match="invalid literal"):
        process.run(2.0)


def test_what_a_task_raises_that_nobody_asks_ends_the_run(process):
    async def fail() -> None:
        raise ValueError("nobody asks")

    process.loop.create_task(fail())
    with pytest.raises(ValueError, match="nobody asks"):
        process.run(1.0)


def test_what_waits_when_the_run_is_over_is_called_off(process):
    async def wait() -> None:
        try:
            await asyncio.sleep(1000.0)
        finally:
            process.do("called off")

    task = process.loop.create_task(wait())
    process.run(1.0)
    process.simulation.close()
    assert task.cancelled()
    assert process.did == [("called off", 1.0)]
