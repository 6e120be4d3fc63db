"""What a step captures and is large crosses between peers once, by the blob stores: real engines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import numpy as np
import pytest

from meshwit.peer.work.messages import Assigned, Done, Open, Refused, Span
from tests.peer.work.small_engines import SmallMesh, Stranger, Watched, small_mesh, until

CAPTURES = """
Job:Main(Vector:v, Int:count, String:folder, String:gate)
{
    DoubleCollection:ys = Grid.ForEach(x in Int.Range(0, count)) => Lab.Element(v, x, folder, gate);
}
"""


class Stage:
    """The engines of this module and their loop."""

    def __init__(self, runner: asyncio.Runner, mesh: SmallMesh) -> None:
        self.run = runner.run
        self.mesh = mesh
        self.engines = mesh.engines


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Three engines."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        mesh = runner.run(stack.enter_async_context(small_mesh(3, tmp_path_factory.mktemp("mesh"))))
        yield Stage(runner, mesh)
        runner.run(stack.aclose())


@pytest.fixture(autouse=True)
def nothing_stays(stage: Stage) -> Iterator[None]:
    """No step stays at any peer, nothing is pinned, and no peer complains of another."""
    yield
    stage.run(until(lambda: all(each.busy_jobs == 0 for each in stage.engines), "all steps are over"))
    assert stage.mesh.accused == []
    assert all(not each.blobs._pins for each in stage.engines)


def test_a_large_captured_value_is_right_everywhere_and_lies_in_every_store(stage, tmp_path):
    array = np.arange(400_000, dtype=np.float64) * 3
    leader = stage.engines[0]
    folder, gate = tmp_path / "begun", tmp_path / "gate"
    folder.mkdir()

    async def main():
        job = Watched(leader, CAPTURES, array, 12, str(folder), str(gate))
        await until(lambda: len(list(folder.iterdir())) == 3, "all are at it")
        gate.touch()
        outcome = await job.ends()
        assert outcome.state == "completed", outcome.error
        assert outcome.variables["ys"] == [x * 3.0 for x in range(12)]
        assert set(job.peers) == {"e0", "e1", "e2"}

    stage.run(main())
    names = [{path.name for path in each.blobs.folder.glob("??/*")} for each in stage.engines]
    assert names[0] == names[1] == names[2] != set()


def test_a_job_that_is_cancelled_while_its_values_are_written_leaves_nothing(stage, tmp_path):
    array = np.arange(2_000_000, dtype=np.float64)
    leader = stage.engines[0]

    async def main():
        job = Watched(leader, CAPTURES, array, 30, str(tmp_path), str(tmp_path / "never"))
        leader.leading.cancel(job.job)
        assert (await job.ends()).state == "cancelled"

    stage.run(main())


async def refused(stage: Stage, opened: Open, buffers: list) -> str:
    """Why an engine does not run a stranger's step."""
    stranger = Stranger(stage.engines[0])
    try:
        stranger.say(opened, buffers)
        header, _ = stage.engines[0].codec.encode([0])
        stranger.say(Assigned(1, 1, Span(0, 1), bytes(header)))
        return (await stranger.hears(Refused)).message.why
    finally:
        stranger.leave()


def told(stage: Stage, *captured: object) -> tuple[bytes, list]:
    task = ["invoke", "Lab.Anything", 0, [["load", 1, "Object", "v"]], "Object"]
    return stage.engines[0].codec.encode({"task": task, "captured": list(captured)})


def test_a_stranger_may_name_what_is_here(stage):
    """Or the attacks below would show nothing."""

    async def main():
        engine = stage.engines[0]
        array = np.arange(200_000, dtype=np.float64)
        blob = engine.blobs.put(array)
        header, _ = told(stage, array)
        stranger = Stranger(engine)
        stranger.say(Open(1, "job", header, shared={0: (blob.hash, blob.size)}))
        items, _ = engine.codec.encode([0])
        stranger.say(Assigned(1, 1, Span(0, 1), items))
        done = await stranger.hears(Done | Refused)
        assert isinstance(done.message, Done), done.message
        assert np.array_equal(engine.codec.decode(done.message.header, done.buffers)[0], array)
        stranger.leave()

    stage.run(main())


def test_attack_shared_values_that_are_none_harm_the_stranger_alone(stage):
    array = np.arange(200_000, dtype=np.float64)
    blob = stage.engines[0].blobs.put(array)
    short = stage.engines[0].blobs.put(array[:100])
    header, buffers = told(stage, array)
    right = (blob.hash, blob.size)
    for shared, beside in (
        ({0: ("../../etc/passwd", 1)}, []),
        ({0: (short.hash, blob.size)}, []),
        ({7: right}, []),
        ({-1: right}, []),
        ({1: right}, []),
        ({0: right, 2: right}, []),
    ):
        assert stage.run(refused(stage, Open(1, "job", header, shared=shared), beside))
    assert stage.run(refused(stage, Open(1, "job", b"\xc1", shared={0: right}), buffers))
