"""The asyncio loop in virtual time, and its datagrams."""

from __future__ import annotations

import asyncio
import random

import pytest

from meshwit.ids import PeerId
from simulations.virtual_loop import DatagramNetwork, LoopStuckError, run_virtually

ONE, TWO = ("10.0.0.1", 7), ("10.0.0.2", 7)
A, B = PeerId("a" * 32), PeerId("b" * 32)


def test_time_jumps_to_the_next_timer():
    async def main() -> tuple[float, list[str]]:
        loop, order = asyncio.get_running_loop(), []
        loop.call_later(7200, order.append, "second")
        loop.call_later(3600, order.append, "first")
        await asyncio.sleep(86_400)
        return loop.time(), order

    time, order = run_virtually(main())
    assert time == pytest.approx(86_400)
    assert order == ["first", "second"]


def test_timeouts_are_virtual_too():
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1000):
                await asyncio.get_running_loop().create_future()
        return asyncio.get_running_loop().time()

    assert run_virtually(main()) == pytest.approx(1000)


def test_waiting_for_what_never_comes_is_an_error():
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(LoopStuckError):
        run_virtually(main())


def carried(seed: int, loss: float = 0.0) -> list[tuple[float, bytes]]:
    came: list[tuple[float, bytes]] = []

    async def main() -> None:
        network = DatagramNetwork(random.Random(seed), loss)
        send = network.attach(A, ONE, lambda *_: None)
        loop = asyncio.get_running_loop()
        network.attach(B, TWO, lambda sender, source, payload: came.append((loop.time(), payload)))
        for number in range(200):
            send(TWO, bytes([number]))
        await asyncio.sleep(10)
        network.block(TWO)
        send(TWO, b"blocked")
        await asyncio.sleep(10)
        network.block(TWO, False)
        network.kill(TWO)
        send(TWO, b"too late")
        await asyncio.sleep(10)
        assert network.total() == (202, 200 + 7 + 8)

    run_virtually(main())
    return came


def test_datagrams_come_late_out_of_order_or_not_at_all():
    came = carried(1, loss=0.1)
    assert 150 < len(came) < 200
    assert [payload for _, payload in came] != sorted(payload for _, payload in came)
    assert all(0.005 <= at <= 0.105 for at, _ in came)


def test_the_same_seed_delays_and_loses_the_same():
    assert carried(2, 0.1) == carried(2, 0.1) != carried(3, 0.1)
