"""Who did not run for a while notices, whether its process stood still or the whole device."""

from __future__ import annotations

import asyncio

from meshwit.peer.waking import OVERSLEPT_S, Sleeps
from simulations.virtual_loop import run_virtually


def test_a_suspended_device_is_noticed_though_the_clock_of_its_loop_stood_still():
    async def main() -> None:
        loop = asyncio.get_running_loop()
        slept = 0.0
        sleeps = Sleeps(lambda: 1e9 + loop.time() + slept)
        await asyncio.sleep(100.0)
        assert not sleeps.suspended(), "both clocks went on"
        slept = 3600.0
        assert sleeps.suspended()
        assert not sleeps.suspended(), "it is told once"
        slept -= 1800.0
        assert not sleeps.suspended(), "a clock that is set back is no sleep"

    run_virtually(main())


def test_a_loop_that_comes_late_to_its_timer_overslept():
    async def main() -> None:
        loop = asyncio.get_running_loop()
        sleeps = Sleeps(loop.time)
        due = loop.time() + 1.0
        await asyncio.sleep(1.0)
        assert not sleeps.overslept(due)
        await asyncio.sleep(2 * OVERSLEPT_S)
        assert sleeps.overslept(due)
        assert not sleeps.suspended()

    run_virtually(main())
