"""A job that has ended lies on disk, whole, and in memory no longer."""

from __future__ import annotations

import asyncio
from pathlib import Path

from meshwit.ids import peer_id
from meshwit.outcome import JobState
from meshwit.peer import kept_jobs
from meshwit.peer.engine import Engine, PeerSettings
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
