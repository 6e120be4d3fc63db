"""A job that has ended lies on disk, whole, and in memory no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest

from meshwit.ids import peer_id
from meshwit.outcome import JobState
from meshwit.peer import kept_jobs, rates
from meshwit.peer.control.api import PeerError
from meshwit.peer.engine import Engine, PeerSettings
from meshwit.peer.kept_jobs import KeptJobs
from tests.peer.work.small_engines import Watched, registry, until

SCRIPT = """
Job:Main(Int:count, Int:size)
{
    StringCollection:texts = Grid.ForEach(x in Int.Range(0, count)) => Lab.Text(x, size);
    Trace(texts.Count);
    Return(texts.Count);
}
"""


def test_what_a_job_came_to_is_read_from_disk_once_its_values_are_forgotten(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(kept_jobs, "RELEASE_S", 0.0)

    async def main() -> None:
        settings = PeerSettings(workers=1, blobs=tmp_path / "blobs", journal=tmp_path / "profile")
        async with Engine(registry(), settings, peer_id(b"one"), name="one") as engine:
            job = Watched(engine, SCRIPT, 5, 100_000)
            outcome = await job.ends()
            assert outcome.state is JobState.COMPLETED
            await until(lambda: job.job.released, "all of it lies on disk")
            assert engine.kept is not None
            assert engine.kept.keeping._recorder.logs == {}
            assert job.job.leader.variables()["texts"] is None
            script, again = await engine.kept.outcome(job.job.id)
            assert (script.text, again) == (SCRIPT, outcome)
            assert engine.leading.explain(job.job, 3)

    asyncio.run(main())


def test_of_a_job_that_is_over_memory_has_what_is_listed_and_who_leads_it_again_reads_the_rest(tmp_path: Path):
    async def run(resumed: str) -> str:
        settings = PeerSettings(workers=1, blobs=tmp_path / "blobs", journal=tmp_path / "profile")
        async with Engine(registry(), settings, peer_id(b"one"), name="one") as engine:
            assert engine.kept is not None
            keeping = engine.kept.keeping
            if not resumed:
                job = Watched(engine, SCRIPT, 3, 10)
                await job.ends()
                return job.job.id
            assert [spec.text for spec in keeping.kept()] == [""]
            await keeping.resume(resumed)
            log = keeping._recorder.logs[resumed]
            await until(lambda: len(list(engine.leading.ended)) == 1, "it has ended again")
            assert log.spec.text == SCRIPT
            assert [spec.text for spec in keeping.kept()] == [""]
            _, outcome = await engine.kept.outcome(resumed)
            assert (outcome.state, outcome.returned) == (JobState.COMPLETED, [3])
            return resumed

    asyncio.run(run(asyncio.run(run(""))))


WAITS = """
Job:Main(String:folder, String:gate)
{
    Int:y = Lab.NoteAndWait(1, folder, gate);
}
"""


Run: TypeAlias = Callable[[str, Callable[[Engine, KeptJobs], Awaitable[Any]]], Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch) -> Run:
    """Has a peer do something, that has the controller of these tests in some version."""

    async def main(work: Callable[[Engine, KeptJobs], Awaitable[Any]]) -> Any:
        settings = PeerSettings(workers=1, blobs=tmp_path / "blobs", journal=tmp_path / "profile")
        async with Engine(registry(), settings, peer_id(b"one"), name="one") as engine:
            assert engine.kept is not None
            return await work(engine, engine.kept)

    def run(version: str, work: Callable[[Engine, KeptJobs], Awaitable[Any]]) -> Any:
        point = SimpleNamespace(value="tests:Lab", dist=SimpleNamespace(version=version))
        monkeypatch.setattr(rates.importlib.metadata, "entry_points", lambda group: [point])
        return asyncio.run(main(work))

    return run


@pytest.fixture
def left(run, tmp_path: Path) -> str:
    """A job that nobody leads any more, begun with version 1.0.0."""

    async def begin(engine: Engine, _: KeptJobs) -> str:
        job = Watched(engine, WAITS, str(tmp_path), str(tmp_path / "gate")).job.id
        await until(lambda: list(tmp_path.glob("1 *")), "it is under way")
        return job

    return run("1.0.0", begin)


def test_who_was_upgraded_meanwhile_leads_no_job_on(run, left, tmp_path: Path):
    async def upgraded(engine: Engine, kept: KeptJobs) -> None:
        with pytest.raises(PeerError, match=r"it has tests 2\.0\.0, the job wants 1\.0\.0"):
            await kept.resume(left, None)
        assert not engine.leading.jobs

    async def with_a_compatible_version(engine: Engine, kept: KeptJobs) -> object:
        await kept.resume(left, None)
        await until(lambda: engine.leading.jobs, "it is led on")
        (tmp_path / "gate").touch()
        await until(lambda: list(engine.leading.ended), "it has ended")
        return (await kept.outcome(left))[1].variables["y"]

    run("2.0.0", upgraded)
    assert run("1.3.0", with_a_compatible_version) == 1


def test_what_cannot_be_led_on_can_be_abandoned(run, left):
    async def abandon(_: Engine, kept: KeptJobs) -> None:
        await kept.abandon(left)
        await until(lambda: kept.keeping.core.jobs[left].over is JobState.CANCELLED, "it is cancelled")

    run("2.0.0", abandon)


def test_what_has_ended_is_told_by_another_version_too(run):
    async def begin(engine: Engine, _: KeptJobs) -> str:
        job = Watched(engine, SCRIPT, 3, 10)
        await job.ends()
        return job.job.id

    async def ask(_: Engine, kept: KeptJobs) -> list[object]:
        return list((await kept.outcome(ended))[1].returned)

    ended = run("1.0.0", begin)
    assert run("2.0.0", ask) == [3]


def test_a_peer_that_starts_anew_has_what_it_kept(tmp_path: Path):
    async def run(steps: int) -> tuple[str, list[object]]:
        settings = PeerSettings(workers=1, blobs=tmp_path / "blobs", journal=tmp_path / "profile")
        async with Engine(registry(), settings, peer_id(b"one"), name="one") as engine:
            assert engine.kept is not None
            if steps:
                job = Watched(engine, SCRIPT, steps, 10)
                return job.job.id, list((await job.ends()).returned)
            (spec,) = engine.kept.keeping.kept()
            _, outcome = await engine.kept.outcome(spec.id)
            return spec.id, list(outcome.returned)

    assert asyncio.run(run(3)) == asyncio.run(run(0))
