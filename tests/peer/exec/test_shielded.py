from __future__ import annotations

import asyncio

import pytest

from meshwit.peer.exec.shielded import shielded


def test_work_is_finished_before_a_cancellation_is_raised() -> None:
    async def main() -> list[str]:
        told: list[str] = []
        goes_on = asyncio.Event()

        async def work() -> None:
            await goes_on.wait()
            told.append("finished")

        waiting = asyncio.ensure_future(shielded(work()))
        for _ in range(3):
            await asyncio.sleep(0)
            waiting.cancel()
        await asyncio.sleep(0)
        assert not waiting.done()
        goes_on.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return told

    assert asyncio.run(main()) == ["finished"]


def test_an_error_of_the_work_is_raised() -> None:
    async def work() -> None:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        asyncio.run(shielded(work()))
