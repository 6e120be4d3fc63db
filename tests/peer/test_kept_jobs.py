"""A job that has ended lies on disk, whole, and in memory no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest

from meshwit.codec import CodecError
from meshwit.ids import PeerId, peer_id
from meshwit.outcome import JobState
from meshwit.peer import kept_jobs, rates
from meshwit.peer.control.api import JobView, PeerError
from meshwit.peer.engine import Engine, PeerSettings
from meshwit.peer.kept_jobs import KeptJobs
from meshwit.peer.mesh import known_jobs
from meshwit.peer.mesh.known_jobs import KnownJobs, merged
from meshwit.peer.succession import keeping
from meshwit.peer.succession.known import Role
from meshwit.peer.succession.settings import GRACE_S
from tests.peer.work.small_engines import Watched, registry, small_mesh, until

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
            with pytest.raises(LookupError, match="has ended"):
                await keeping.resume(resumed)
            keeping.core.jobs[resumed].over = None  # as when another leader, who does not know of the end, overruled it
            await keeping.resume(resumed)
            log = keeping._recorder.logs[resumed]
            await until(lambda: len(list(engine.leading.ended)) == 1, "it has ended again")
            assert log.spec.text == SCRIPT
            assert [spec.text for spec in keeping.kept()] == [""]
            _, outcome = await engine.kept.outcome(resumed)
            assert (outcome.state, outcome.returned) == (JobState.COMPLETED, [3])
            return resumed

    asyncio.run(run(asyncio.run(run(""))))


NOTES = """
Job:Main(String:path, Int:count, Double:seconds)
{
    IntCollection:ys = Grid.ForEach(x in Int.Range(0, count)) => Lab.Note(x, path, seconds);
}
"""
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


def test_what_cannot_be_led_on_nor_read_can_be_abandoned(run, left, monkeypatch):
    """Values of a type that is not installed any more, say: nobody needs them to end the job."""

    def unreadable(*_: object) -> None:
        raise CodecError("no type is registered for the wire tag")

    monkeypatch.setattr(keeping, "replay_of", unreadable)

    async def abandon(_: Engine, kept: KeptJobs) -> None:
        assert await kept.abandon(left)
        assert kept.keeping.core.jobs[left].over is JobState.CANCELLED

    run("2.0.0", abandon)

    async def after(_: Engine, kept: KeptJobs) -> None:
        assert kept.keeping.is_over(left), "it is on disk"

    run("2.0.0", after)


def test_a_paused_job_stays_paused_under_its_next_leader_and_ends_when_it_is_resumed(tmp_path: Path):
    async def main() -> None:
        async with small_mesh(2, tmp_path, kept=True) as mesh:
            first, second = mesh.engines
            for one, other in ((first, second), (second, first)):
                one.kept.keeping.rank([other.me])
            job = Watched(first, NOTES, str(tmp_path / "notes"), 200, 0.01)
            await until(lambda: job.peers.get("e1", 0) > 2, "both are at work")
            first.leading.pause(job.job)
            known = first.kept.keeping.core.jobs[job.job.id]
            await until(lambda: second.free_slots == second.workers, "what ran has ended")
            await until(lambda: known.durable == known.versions[known.term.log] > 1, "all is recorded at the other")
            mesh.cut(first, second)
            await until(lambda: second.leading.jobs, "it is taken over")
            (taken,) = second.leading.jobs
            assert taken.leader.paused
            began = (tmp_path / "notes").read_text().count("\n")
            await asyncio.sleep(0.5)
            assert (tmp_path / "notes").read_text().count("\n") == began
            second.leading.resume(taken)
            await until(lambda: taken.ended.is_set(), "it has ended")
            assert second.leading.outcome(taken).variables["ys"] == [x * x for x in range(200)]

    asyncio.run(main())


def test_a_peer_that_stops_takes_nothing_over(tmp_path: Path):
    """Its links end before it does, which looks like the death of all others."""

    async def main() -> None:
        async with small_mesh(2, tmp_path, kept=True) as mesh:
            first, second = mesh.engines
            first.kept.keeping.rank([second.me])
            job = Watched(first, WAITS, str(tmp_path), str(tmp_path / "gate"))
            known = first.kept.keeping.core.jobs[job.job.id]
            await until(lambda: known.durable == known.versions[known.term.log] > 0, "the other stands by")
            second.kept.keeping.lay_down()
            mesh.cut(first, second)
            await asyncio.sleep(3 * GRACE_S)
            assert not second.leading.jobs
            assert second.kept.keeping.core.jobs[job.job.id].role is Role.STANDING_BY
            (tmp_path / "gate").touch()
            assert (await job.ends()).state is JobState.COMPLETED

    asyncio.run(main())


def test_what_whoever_is_named_does_not_have_is_fetched_from_others(tmp_path: Path):
    async def main() -> None:
        async with small_mesh(3, tmp_path) as mesh:
            first, second, third = mesh.engines
            blob = third.blobs.put(b"a picture" * 1000)
            assert await first.fetch([(blob.hash, blob.size)], [second.me]) == ""
            assert first.blobs.find(blob.hash, blob.size) is not None
            assert await first.fetch([("0" * 64, 9)], [second.me])

    asyncio.run(main())


def test_what_somebody_leads_is_not_abandoned_nor_what_has_ended(run, tmp_path: Path):
    """Whoever asked is told, and cancels it at its leader; nothing of the wish stays behind."""

    async def main(engine: Engine, kept: KeptJobs) -> None:
        job = Watched(engine, WAITS, str(tmp_path), str(tmp_path / "gate"))
        await until(lambda: list(tmp_path.glob("1 *")), "it is under way")
        with pytest.raises(PeerError, match="only one, which leads the job, may cancel it"):
            KnownJobs(engine, str).steer(job.job.id, "cancel", PeerId("stranger"))
        assert await kept.abandon(job.job.id) is False
        assert not kept.keeping.core.jobs[job.job.id].cancelled
        (tmp_path / "gate").touch()
        assert (await job.ends()).state is JobState.COMPLETED
        await until(lambda: not kept.keeping._recorder.logs, "all of it is kept")
        for ask in (kept.abandon(job.job.id), kept.resume(job.job.id, None)):
            with pytest.raises(PeerError, match="it has ended"):
                await ask

    run("1.0.0", main)


def test_what_has_not_ended_is_listed_however_much_has_ended_since(run, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(known_jobs, "VIEWS_MAX", 2)

    async def main(engine: Engine, _: KeptJobs) -> None:
        long = Watched(engine, WAITS, str(tmp_path), str(tmp_path / "gate"))
        ended = [Watched(engine, "Job:Main() { Return(1); }") for _ in range(4)]
        await asyncio.gather(*(each.ends() for each in ended))
        views = KnownJobs(engine, str).views()
        assert [view.state for view in views] == ["completed", "completed", "running"]
        assert views[-1].id == long.job.id
        named = KnownJobs(engine, str).views(ended[0].job.id[:9])
        assert [view.id for view in named] == [ended[0].job.id], "who is asked for by name is found all the same"
        (tmp_path / "gate").touch()
        await long.ends()

    run("1.0.0", main)


@pytest.mark.parametrize("order", [1, -1])
def test_of_a_job_that_its_leader_says_is_paused_nobody_else_says_that_it_runs(order):
    told = [JobView(id="job", state="running"), JobView(id="job", state="paused")][::order]
    assert [view.state for view in merged(told[:1], told[1:])] == ["paused"]


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
