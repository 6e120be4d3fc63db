"""`meshwit.run` where a peer runs on the device: that peer leads the job, over the real control API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import numpy
import pytest
import trio

import meshwit
from meshwit import client
from meshwit.plugins.discovery import installed
from tests.served_engine import ServedEngine

PATIENCE_S = 30.0
DOUBLED = "Job:Main(IntCollection:xs) { IntCollection:ys = Grid.ForEach(x in xs) => Int(2 * x); Return(ys); }"
ENDLESS = "Job:Main() { Pause(600000); }"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedEngine]:
    """The peer of this device, for all tests."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        home = tmp_path_factory.mktemp("home")
        patched.setenv("MESHWIT_HOME", str(home))
        with ServedEngine(home, installed()) as made:
            yield made


@pytest.fixture(autouse=True)
def no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process would do alone fails."""

    def refuse() -> None:
        raise AssertionError("this process runs the job itself")

    monkeypatch.setattr(client, "_shared_session", refuse)


def running(served: ServedEngine) -> int:
    """How many jobs the peer leads."""
    found: int = served.ask(lambda engine: len(engine.leading.jobs))
    return found


def wait_until_running(served: ServedEngine, count: int) -> None:
    limit = time.monotonic() + PATIENCE_S
    while running(served) != count:
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_the_peer_leads_the_job(served):
    outcome = meshwit.run(DOUBLED, range(100))
    assert outcome.state == "completed"
    assert outcome.returned == [list(range(0, 200, 2))]
    assert outcome.variables == {"ys": list(range(0, 200, 2))}


def test_a_job_that_fails_says_so(served):
    outcome = meshwit.run("Job:Main() { Int:x = 1 / 0; }")
    assert outcome.state == "failed"
    assert outcome.error is not None and outcome.error.line == 1


def test_arrays_cross_both_ways(served):
    given = numpy.arange(300_000.0)
    outcome = meshwit.run("Job:Main(Array:a) { Array:b = a; Return(b); }", given)
    assert numpy.array_equal(outcome.returned[0], given)


def test_files_are_those_of_the_folder_where_it_is_run(served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("greeting.txt").write_text("hello")
    outcome = meshwit.run("Job:Main(Blob:file) { Return(file.Size); }", Path("greeting.txt"))
    assert outcome.returned == [5]


@pytest.mark.parametrize(
    ("args", "params", "said"),
    [((), {}, "`xs`.*missing"), ((["a"],), {}, "`xs`"), (([1],), {"job": "Other"}, "no job `Other`")],
)
def test_a_wrong_parameter_is_told_before_anything_runs(served, args, params, said):
    with pytest.raises(meshwit.ParameterError, match=said):
        meshwit.run(DOUBLED, *args, **params)
    assert running(served) == 0


@pytest.mark.parametrize("run", [asyncio.run, lambda coroutine: trio.run(lambda: coroutine)], ids=["asyncio", "trio"])
def test_run_async_on_either_loop(served, run):
    assert run(meshwit.run_async(DOUBLED, [1, 2])).returned == [[2, 4]]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_cancelling_run_async_cancels_the_job(served, backend):
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(meshwit.run_async, ENDLESS)
            await anyio.to_thread.run_sync(wait_until_running, served, 1)
            tasks.cancel_scope.cancel()
        await anyio.to_thread.run_sync(wait_until_running, served, 0)

    anyio.run(main, backend=backend)


def test_an_interrupted_run_cancels_the_job(served, monkeypatch):
    def interrupted(self: object, timeout_s: float | None = None) -> None:
        wait_until_running(served, 1)
        raise KeyboardInterrupt

    monkeypatch.setattr("meshwit.peer.control.following.WatchedJob.wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        meshwit.run(ENDLESS)
    wait_until_running(served, 0)
