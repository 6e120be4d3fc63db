"""What stays in the memory of peers of the jobs that they led, stood by for or worked for: counted, never weighed."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import AsyncExitStack
from pathlib import Path

from meshwit.ids import PeerId, peer_id
from meshwit.outcome import JobState
from meshwit.peer import ended_jobs, heap, kept_jobs, makers
from meshwit.peer.control.api import Submission
from meshwit.peer.ended_jobs import EndedJobs
from meshwit.peer.engine import Engine, PeerSettings
from meshwit.peer.makers import Makers
from meshwit.peer.mesh.jobs import MeshJobs
from meshwit.peer.running_job import RunningJob
from tests.peer.job.leading import LedJob, grid
from tests.peer.work.small_engines import SmallMesh, Watched, registry, until

STEPS = """
Job:Main(Int:count)
{
    StringCollection:texts = Grid.ForEach(x in Int.Range(0, count)) => Lab.Text(x, 10);
    StringCollection:again = Grid.ForEach(x in Int.Range(0, count)) => Lab.Text(x, 20);
    Return(again.Count);
}
"""
WAITS = """
Job:Main(String:folder, String:gate, Int:count)
{
    IntCollection:ys = Grid.ForEach(x in Int.Range(0, count)) => Lab.NoteAndWait(x, folder, gate);
}
"""


def held_of(engine: Engine) -> dict[str, int]:
    """How many things an engine holds for the jobs that were there."""
    assert engine.kept is not None
    host, working, keeping = engine._working.host, engine._working, engine.kept.keeping
    return {
        "openings": len(host._orphans._openings) + len(host._orphans._names),
        "results": len(host.retained._all),
        "steps": len(host._steps) + len(host._by_number) + len(host._batches) + len(host._fetching),
        "batches": len(working._left) + len(working._step_of) + len(working._recalls) + len(working._activities),
        "logs": len(keeping._recorder.logs) + len(keeping._taking) + len(keeping._arrivals._last),
        "led": len(engine.kept._jobs) + len(engine.leading._steps) + len(engine.leading._openings._steps),
        "followers": sum(len(known.followers) + len(known.refused) for known in keeping.core.jobs.values()),
        "pins": len(keeping._pins._jobs),
    }


def test_a_job_that_is_over_leaves_its_name_and_who_has_it(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(kept_jobs, "RELEASE_S", 0.0)

    async def main() -> None:
        async with AsyncExitStack() as stack:
            engines = [
                await stack.enter_async_context(
                    Engine(
                        registry(),
                        PeerSettings(workers=1, blobs=tmp_path / f"b{index}", journal=tmp_path / f"j{index}"),
                        peer_id(bytes([index])), name=f"e{index}",
                    )
                )
                for index in range(2)
            ]  # fmt: skip
            one, other = engines
            SmallMesh(engines).link(one, other)
            assert one.kept is not None
            one.kept.keeping.rank([other.me])
            jobs = [Watched(one, STEPS, 40) for _ in range(3)]
            for job in jobs:
                assert (await job.ends()).state is JobState.COMPLETED
            gate = tmp_path / "gate"
            begun = tmp_path / "begun"
            begun.mkdir()
            jobs.append(Watched(one, WAITS, str(begun), str(gate), 10))
            await until(lambda: len(list(begun.iterdir())) == 2, "both are at it")
            one.leading.cancel(jobs[-1].job)
            assert (await jobs[-1].ends()).state is JobState.CANCELLED
            await until(lambda: all(job.job.released for job in jobs), "all of it lies on both disks")
            for engine in engines:
                await until(lambda e=engine: not any(held_of(e).values()), f"{engine.name} holds nothing")
                assert engine.kept is not None
                kept = engine.kept.keeping
                assert [(spec.text, spec.arguments.header) for spec in kept.kept()] == [("", b"")] * len(jobs)
                assert len(kept.core.jobs) == len(kept._ended_at) == len(jobs)
            for job in jobs[:3]:
                script, outcome = await other.kept.outcome(job.job.id)
                assert (script.text, outcome.returned) == (STEPS, [40])

    asyncio.run(main())


def test_of_a_job_that_is_followed_no_more_nothing_stays_that_only_a_search_for_cycles_would_find(tmp_path: Path):
    async def main() -> None:
        async with Engine(registry(), PeerSettings(workers=1, blobs=tmp_path / "blobs")) as engine:
            jobs = MeshJobs(engine, engine.registry, tmp_path)
            (tmp_path / "begun").mkdir()
            arguments = [str(tmp_path / "begun"), str(tmp_path / "gate"), 3]
            asked = Submission(text=WAITS, filename="job.wit", job="Main", arguments=arguments)
            followed = weakref.ref(job := jobs.submit(asked, lambda _: None))
            await job.found()
            job.detach()
            del job
            for _ in range(10):
                await asyncio.sleep(0)
            assert followed() is None
            engine.leading.cancel(engine.leading.jobs[0])
            jobs.close()

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()


def ended(id: str, items: int) -> RunningJob:
    """A kept job that has led a Grid step of so many items to its end."""
    led = LedJob(grid(items)).works()
    assert led.state == "completed"
    job = RunningJob(id, led.leader, None, ())
    job.epoch = 1
    return job


def test_of_jobs_that_ended_the_last_ones_are_remembered_as_far_as_their_items_are_few(monkeypatch):
    monkeypatch.setattr(ended_jobs, "ITEMS_MAX", 10)
    jobs = EndedJobs()
    for number, items in enumerate((4, 4, 4, 20, 3)):
        jobs.add(ended(f"{number}", items))
        assert next(reversed(jobs)).id == f"{number}"
    assert [job.id for job in jobs] == ["4"]
    for number in range(ended_jobs.ENDED_MAX + 3):
        jobs.add(ended(f"small {number}", 0))
    assert len(list(jobs)) == ended_jobs.ENDED_MAX


def test_jobs_that_made_room_count_no_more_and_values_that_are_forgotten_change_no_count(monkeypatch):
    monkeypatch.setattr(ended_jobs, "ITEMS_MAX", 10)
    monkeypatch.setattr(ended_jobs, "ENDED_MAX", 3)
    jobs = EndedJobs()
    for number in range(9):
        jobs.add(job := ended(f"{number}", 3))
        job.leader.release()
        assert [each.id for each in jobs] == [f"{one}" for one in range(max(0, number - 2), number + 1)]
    jobs.add(ended("wide", 5))
    assert [each.id for each in reversed(jobs)] == ["wide", "8"]
    jobs.add(ended("narrow", 2))
    assert [each.id for each in jobs] == ["8", "wide", "narrow"]


def test_a_job_that_is_not_kept_is_held_by_whoever_started_it_alone():
    jobs = EndedJobs()
    job = ended("here", 3)
    job.epoch = 0
    jobs.add(job)
    assert list(jobs) == []


def test_of_blobs_the_makers_noted_last_are_remembered(monkeypatch):
    monkeypatch.setattr(makers, "MAKERS_MAX", 3)
    known = Makers()
    known.made([(f"{number}", 1) for number in range(3)], PeerId("a"))
    known.made([("0", 1), ("3", 1)], PeerId("b"))
    assert [known.of(f"{number}") for number in range(4)] == ["b", None, "a", "b"]
    assert known.of_all([("3", 1), ("9", 1), ("2", 1), ("0", 1)]) == ["b", "a"]


def test_memory_that_is_free_can_be_given_back():
    heap.trim()
    assert heap.collect() >= 0
