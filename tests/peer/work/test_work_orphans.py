"""With real worker processes: what a peer does for a leader goes on without it, and the next one gets all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import numpy as np
import pytest

from meshwit.peer.work.messages import Assigned, Begun, Close, Done, Durable, Held, Open, Ready, Redone, Span
from tests.peer.work.small_engines import SmallMesh, Stranger, small_mesh, until

NUMBERS = 200_000
"""Elements of a vector that crosses in shared memory."""


class Stage:
    """An engine and its loop."""

    def __init__(self, runner: asyncio.Runner, mesh: SmallMesh) -> None:
        self.run = runner.run
        self.engine = mesh.engines[0]
        self.working = self.engine._working

    def opening(self, job: str, step: int, call: list[object], epoch: int, **more: object) -> tuple[Open, list]:
        header, buffers = self.engine.codec.encode({"task": call, "captured": []})
        return Open(step, job, bytes(header), path=(3, 1), epoch=epoch, **more), list(buffers)

    def batch(self, step: int, batch: int, first: int, values: list[object]) -> tuple[Assigned, list]:
        header, buffers = self.engine.codec.encode(values)
        return Assigned(step, batch, Span(first, len(values)), bytes(header)), list(buffers)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        mesh = runner.run(stack.enter_async_context(small_mesh(1, tmp_path_factory.mktemp("mesh"))))
        yield Stage(runner, mesh)
        assert mesh.accused == []
        runner.run(stack.aclose())


@pytest.fixture(autouse=True)
def nothing_stays(stage: Stage) -> Iterator[None]:
    yield
    for job in ("handed", "large"):
        stage.working.job_over(job)
    assert stage.engine.busy_jobs == 0
    assert stage.working.host.retained.bytes == 0


def test_a_batch_that_runs_is_handed_over_and_ends_with_the_next_leader(stage, tmp_path):
    gate = tmp_path / "gate"
    call = ["invoke", "Lab.NoteAndWait", 0, [
        ["load", 0, "Int", "x"], ["constant", str(tmp_path), "String"], ["constant", str(gate), "String"],
    ], "Int"]  # fmt: skip

    async def main():
        first = Stranger(stage.engine, "first")
        first.say(*stage.opening("handed", 1, call, 1))
        first.say(*stage.batch(1, 1, 0, [5]))
        first.say(*stage.batch(1, 2, 1, [6]))
        await until(lambda: list(tmp_path.iterdir()), "it runs")
        first.leave()

        second = Stranger(stage.engine, "second")
        stage.working.took_over("handed", 2, 1, second.me)
        held = (await second.hears(Held)).message
        assert [(each.batch, list(each.items.numbers), each.begun) for each in held.batches] == [
            (1, [0], True), (2, [1], False)
        ]  # fmt: skip
        assert (await second.hears(Ready)).message == Ready("handed", 2)
        second.say(*stage.opening("handed", 9, call, 2, rank=1, adopted=[(1, 30), (2, 31)]))
        assert (await second.hears(Begun)).message == Begun(9, [30])
        gate.touch()
        found = {}
        while len(found) < 2:
            parcel = await second.hears(Done)
            values = stage.engine.codec.decode(parcel.message.header, parcel.buffers)
            found |= dict(zip(parcel.message.items.numbers, values, strict=True))
        assert found == {0: 5, 1: 6}
        assert len([each for each in tmp_path.iterdir() if each != gate]) == 2, "nothing ran twice"
        second.say(Close(9))
        second.leave()

    stage.run(main())


def test_a_large_result_is_kept_till_it_is_durable_and_holds_no_shared_memory(stage):
    call = ["invoke", "Lab.Twice", 0, [["load", 0, "Vector", "v"]], "Vector"]

    async def main():
        first = Stranger(stage.engine, "first")
        first.say(*stage.opening("large", 1, call, 1))
        vector = np.arange(NUMBERS, dtype=float)
        first.say(*stage.batch(1, 1, 0, [vector]))
        first.say(*stage.batch(1, 2, 1, [vector]))
        for number in (1, 2):
            done = await first.hears(Done)
            assert done.message.number == number
        first.say(Durable(1, 1))
        first.say(Close(1))
        del done
        first.leave()
        [kept] = stage.working.host.retained.of("large")
        assert sum(len(memoryview(each)) for each in kept.buffers) >= 8 * NUMBERS
        await until(lambda: not stage.engine._pool._segments._leases, "segments are free")

        second = Stranger(stage.engine, "second")
        stage.working.took_over("large", 2, 1, second.me)
        redone = await second.hears(Redone)
        assert (redone.message.path, list(redone.message.items.numbers)) == ((3, 1), [1])
        [twice] = stage.engine.codec.decode(redone.message.header, redone.buffers)
        assert np.array_equal(twice, vector * 2)
        await second.hears(Ready)
        second.leave()

    stage.run(main())
