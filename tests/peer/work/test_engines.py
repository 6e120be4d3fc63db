"""Peers that work for each other: real engines and worker processes, linked in memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import psutil
import pytest

import meshwit
from meshwit import events
from meshwit.peer.job.workers import Worker
from meshwit.peer.work.messages import Assigned, Close, Died, Done, Open, Refused, Span
from tests.peer.work.small_engines import PATIENCE_S, SmallMesh, Stranger, Watched, small_mesh, until

NOTES = """
Job:Main(String:path, Int:count, Double:seconds)
{
    IntCollection:ys = Grid.ForEach(x in Int.Range(0, count)) => Lab.Note(x, path, seconds);
}
"""
PASSES = """
Job:Main(String:path, String:gate, Int:count)
{
    IntCollection:ys = Grid.ForEach(x in Int.Range(0, count)) => Lab.Pass(x, path, gate);
}
"""
WAITS = """
Job:Main(String:folder, String:gate, Int:count)
{
    IntCollection:ys = Grid.ForEach(x in Int.Range(0, count)) => Lab.NoteAndWait(x, folder, gate);
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
    """No test leaves a step at any peer, nor has any peer complain of another."""
    yield
    stage.run(until(lambda: all(each.busy_jobs == 0 for each in stage.engines), "all steps are over"))
    assert stage.mesh.accused == []


def noted(path: Path) -> Counter[int]:
    """How often each item began."""
    return Counter(int(line.split()[0]) for line in path.read_text().splitlines())


# --- working for each other ----------------------------------------------------------------------------------------


def test_all_peers_do_a_part_and_results_are_in_order(stage, tmp_path):
    async def main():
        folder, gate = tmp_path / "begun", tmp_path / "gate"
        folder.mkdir()
        job = Watched(stage.engines[0], WAITS, str(folder), str(gate), 60)
        await until(lambda: len(list(folder.iterdir())) == 3, "all are at it")
        gate.touch()
        outcome = await job.ends()
        assert outcome.state == "completed", outcome.error
        assert outcome.variables["ys"] == list(range(60))
        assert set(job.peers) == {"e0", "e1", "e2"}
        assert sum(job.peers.values()) == 60

    stage.run(main())


def test_large_arrays_cross_there_and_back(stage):
    """More than a link's queue holds at once."""
    arrays = [np.arange(131_072, dtype=np.float64) + number for number in range(12)]

    async def main():
        job = Watched(
            stage.engines[0],
            "Job:Main(VectorCollection:vs) { VectorCollection:ys = Grid.ForEach(v in vs) => Lab.Twice(v); }",
            arrays,
        )
        outcome = await job.ends()
        assert outcome.state == "completed", outcome.error
        for made, given in zip(outcome.variables["ys"], arrays, strict=True):
            assert np.array_equal(np.asarray(made), given * 2)
        assert len(job.peers) > 1, "they have crossed"

    stage.run(main())


def test_a_blob_made_on_one_peer_is_read_on_another(stage):
    async def main():
        job = Watched(
            stage.engines[0],
            """
            Job:Main()
            {
                BlobCollection:bs = Grid.ForEach(x in Int.Range(10, 22)) => Lab.Make(x);
                IntCollection:ns = Grid.ForEach(b in bs) => Lab.Length(b);
            }
            """,
        )
        outcome = await job.ends()
        assert outcome.state == "completed", outcome.error
        assert outcome.variables["ns"] == [len(f"blob {x} ") * 20_000 for x in range(10, 22)]
        assert [blob.read()[:8] for blob in outcome.variables["bs"]] == [f"blob {x} ".encode() for x in range(10, 22)]

    stage.run(main())


def test_the_failure_of_an_item_elsewhere_is_told_like_one_here(stage):
    async def main():
        job = Watched(
            stage.engines[0],
            'Job:Main() { IntCollection:y = Grid.ForEach(x in Int.Range(0, 6)) => Lab.Note(x, "/no/such/place/", 0); }',
        )
        outcome = await job.ends()
        assert outcome.state == "failed"
        assert "/no/such/place/" in outcome.error.message

    stage.run(main())


# --- what happens on the way ---------------------------------------------------------------------------------------


def test_when_a_peer_goes_in_mid_step_all_completes_and_nothing_that_was_finished_runs_again(stage, tmp_path):
    leader, gone, _ = stage.engines

    async def main():
        path, gate = tmp_path / "notes", tmp_path / "gate"
        path.touch()
        gate.write_text("0")
        job = Watched(leader, PASSES, str(path), str(gate), 60)
        await until(lambda: len({line.split()[1] for line in path.read_text().splitlines()}) == 3, "all are at it")
        gate.write_text("30")
        await until(lambda: sum(job.peers.values()) >= 20 and job.peers.get("e1"), "a third is done, some of it there")
        finished = set(leader.leading.outcome(job.job).partial["ys"])
        assert 20 <= len(finished) <= 30
        stage.mesh.cut(leader, gone)
        gate.write_text("60")
        outcome = await job.ends()
        assert outcome.state == "completed", outcome.error
        assert outcome.variables["ys"] == [x * x for x in range(60)]
        began = noted(path)
        assert set(began) == set(range(60))
        assert {item for item, times in began.items() if times > 1} & finished == set()
        stage.mesh.link(leader, gone)

    stage.run(main())


def test_a_peer_whose_worker_processes_do_not_start_costs_no_item(stage, tmp_path):
    """It is out of the step, as one that refuses it is."""

    async def main() -> tuple[list[int], dict[str, int], list[events.PeersLeftOut]]:
        async with small_mesh(2, tmp_path) as mesh:
            leader, broken = mesh.engines
            broken._pool._crew._config["path"] = 3  # no list: the worker ends before it is ready
            job = Watched(leader, NOTES, str(tmp_path / "notes"), 40, 0.02)
            outcome = await job.ends()
            told = [each for each in job.seen if isinstance(each, events.PeersLeftOut)]
            return list(outcome.variables["ys"]), job.peers, told

    values, peers, left_out = stage.run(main())
    assert values == [x * x for x in range(40)]
    assert peers == {"e0": 40}
    assert "worker processes do not start" in left_out[-1].peers["e1"]


def test_a_peer_that_comes_in_mid_step_gets_a_part(stage, tmp_path):
    leader, late, _ = stage.engines

    async def main():
        stage.mesh.cut(leader, late)
        folder, gate = tmp_path / "begun", tmp_path / "gate"
        folder.mkdir()
        job = Watched(leader, WAITS, str(folder), str(gate), 20)
        await until(lambda: len(list(folder.iterdir())) == 2, "those that are there are at it")
        stage.mesh.link(leader, late)
        await until(lambda: len(list(folder.iterdir())) == 3, "it is too")
        gate.touch()
        outcome = await job.ends()
        assert outcome.variables["ys"] == list(range(20))
        assert job.peers.get("e1", 0) > 0

    stage.run(main())


def test_cancelling_kills_what_runs_on_every_peer(stage, tmp_path):
    async def main():
        job = Watched(stage.engines[0], WAITS, str(tmp_path), str(tmp_path / "never"), 30)
        names = await until(lambda: (found := list(tmp_path.iterdir())) and len(found) >= 3 and found, "all are at it")
        processes = [psutil.Process(int(each.name.split()[1])) for each in names]
        assert len(processes) == 3
        stage.engines[0].leading.cancel(job.job)
        outcome = await job.ends()
        assert outcome.state == "cancelled"
        _, alive = await asyncio.to_thread(psutil.wait_procs, processes, PATIENCE_S)
        assert alive == []

    stage.run(main())


def test_a_leader_that_is_gone_has_nothing_running_anywhere(stage, tmp_path):
    leader, other, _ = stage.engines

    async def main():
        job = Watched(leader, WAITS, str(tmp_path), str(tmp_path / "never"), 30)
        await until(lambda: len(list(tmp_path.iterdir())) >= 3, "all are at it")
        stage.mesh.cut(leader, other)
        await until(lambda: other.busy_jobs == 0 and other.free_slots == 1, "it works no more")
        leader.leading.cancel(job.job)
        await job.ends()
        stage.mesh.link(leader, other)

    stage.run(main())


def test_a_paused_job_starts_nothing_anywhere_until_it_goes_on(stage, tmp_path):
    leader = stage.engines[0]
    folder, gate = tmp_path / "begun", tmp_path / "gate"
    folder.mkdir()

    async def main():
        job = Watched(leader, WAITS, str(folder), str(gate), 12)
        await until(lambda: len(list(folder.iterdir())) == 3, "all are at it")
        leader.leading.pause(job.job)
        await until(lambda: any(isinstance(event, events.Paused) for event in job.seen), "it says so")
        # What waits at peers comes back in messages; each of them has answered when what ran has ended there.
        await asyncio.sleep(0.2)
        gate.touch()
        await until(lambda: sum(job.peers.values()) >= 3, "what ran has ended")
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert len(list(folder.iterdir())) == 3
        assert not job.job.ended.is_set()
        leader.leading.resume(job.job)
        outcome = await job.ends()
        assert outcome.variables["ys"] == list(range(12))
        begun = {int(file.name.split()[0]) for file in folder.iterdir()}
        assert begun == set(range(12)), "at the end whoever is free may help another, so some may have begun twice"

    stage.run(main())


def test_two_leaders_at_once_share_the_slots_of_a_third_and_both_complete(stage, tmp_path):
    one, other, _ = stage.engines

    async def main():
        jobs = [Watched(leader, NOTES, str(tmp_path / leader.name), 80, 0.02) for leader in (one, other)]
        for job in jobs:
            outcome = await job.ends()
            assert outcome.state == "completed", outcome.error
            assert outcome.variables["ys"] == [x * x for x in range(80)]
        assert any("e2" in job.peers for job in jobs)
        for leader in (one, other):
            assert set(noted(tmp_path / leader.name)) == set(range(80))

    stage.run(main())


def test_a_resting_peer_does_nothing_for_others(stage, tmp_path):
    leader, resting, _ = stage.engines

    async def main():
        resting.rest(True)
        job = Watched(leader, NOTES, str(tmp_path / "notes"), 30, 0.01)
        own = Watched(resting, NOTES, str(tmp_path / "own"), 10, 0.01)
        assert (await job.ends()).variables["ys"] == [x * x for x in range(30)]
        assert "e1" not in job.peers
        assert (await own.ends()).variables["ys"] == [x * x for x in range(10)]
        resting.rest(False)

    stage.run(main())


# --- attacks -------------------------------------------------------------------------------------------------------


def called(name: str, *constants: tuple[object, str], form: object = 0, returns: str = "String") -> list[object]:
    """The packed call of an activity with constants."""
    return ["invoke", name, form, [["constant", value, kind] for value, kind in constants], returns]


def opened(stage: Stage, task: object, **fields: object) -> tuple[Open, list]:
    header, buffers = stage.engines[0].codec.encode({"task": task, "captured": []})
    return Open(1, "job", bytes(header), **fields), list(buffers)


async def refused(stage: Stage, task: object, **fields: object) -> str:
    """Why an engine does not run a stranger's step."""
    stranger = Stranger(stage.engines[0])
    try:
        stranger.say(*opened(stage, task, **fields))
        header, buffers = stage.engines[0].codec.encode([0])
        stranger.say(Assigned(1, 1, Span(0, 1), bytes(header)), list(buffers))
        return (await stranger.hears(Refused)).message.why
    finally:
        stranger.leave()


def test_a_step_that_wants_other_versions_is_refused(stage):
    """Whatever its leader believes is installed here: it may have changed since it was told."""
    wanted = {"meshwit": "9.0.0", "nowhere": "1.0.0"}
    why = stage.run(refused(stage, called("Lab.Anything", (1, "Int")), software=wanted))
    assert why == f"has meshwit {meshwit.__version__}, the job wants 9.0.0 and has no nowhere"


def test_a_step_says_the_versions_that_it_wants(stage, tmp_path):
    async def main():
        leader = stage.engines[0]
        stranger = Stranger(leader)
        speeds = leader.leading.speeds
        leader.worker_changed(
            Worker(stranger.me, "stranger", 1, speed_at=lambda activity: speeds.prior(stranger.me, activity))
        )  # fmt: skip
        job = Watched(leader, WAITS, str(tmp_path), str(tmp_path / "gate"), 6)
        opening = (await stranger.hears(Open)).message
        (tmp_path / "gate").touch()
        stranger.leave()
        await job.ends()
        return opening.software

    assert stage.run(main()) == {"tests": meshwit.__version__}


def test_a_stranger_that_keeps_the_rules_is_worked_for(stage):
    """Or the tests of those that do not would show nothing."""

    async def main():
        stranger = Stranger(stage.engines[0])
        stranger.say(*opened(stage, ["invoke", "Lab.Anything", 0, [["load", 0, "Object", "x"]], "Object"]))
        codec = stage.engines[0].codec
        header, buffers = codec.encode([41])
        stranger.say(Assigned(1, 1, Span(7, 1), bytes(header)), list(buffers))
        done = await stranger.hears(Done)
        assert list(done.message.items.numbers) == [7]
        assert codec.decode(done.message.header, done.buffers) == [41]
        stranger.say(Close(1))
        stranger.leave()

    stage.run(main())


def test_attack_a_stranger_cannot_run_what_is_for_the_device_itself(stage, tmp_path):
    mark = tmp_path / "mark"
    own = called("Lab.Own", (str(mark), "String"))
    for task in (own, ["array", [own], "Array"], ["invoke", "Lab.Anything", 0, [own], "Object"]):
        assert "alone" in stage.run(refused(stage, task))
    assert not mark.exists()


def test_attack_a_stranger_cannot_hide_such_a_call_in_what_is_no_task(stage, tmp_path):
    """A worker finds an activity by what equals its number; so what is looked through must be what it reads."""
    mark = tmp_path / "mark"
    plain = called("Lab.Anything", (1, "Object"))
    for form in (0.0, False, -1, 7, None, "0"):
        hidden = ["array", [plain, called("Lab.Own", (str(mark), "String"), form=form)], "Array"]
        assert stage.run(refused(stage, hidden))
    own = called("Lab.Own", (str(mark), "String"))
    for odd in (
        ["constant", 1, "Int", own],
        ["array", ["constant", own, "Object"], "Array"],
        ["convert", own],
        {"invoke": own},
        [own],
        [],
        None,
        "invoke",
        ["invoke", "Lab.Anything", 0, {"0": own}, "Object"],
    ):
        assert stage.run(refused(stage, odd))
    assert not mark.exists()


@pytest.mark.parametrize("name", ["Pause", "Trace", "Grid.ForEach", "While"])
def test_attack_a_stranger_cannot_run_the_activities_that_steer_a_job(stage, name):
    assert stage.run(refused(stage, called(name, (1, "Int"))))


def test_attack_a_stranger_cannot_name_code_that_is_no_activity(stage):
    for name in ("os.system", "meshwit.plugins.files:Files", "Files", "", "Lab.NoSuch"):
        assert "no activity" in stage.run(refused(stage, called(name, ("true", "String"))))


def test_attack_a_stranger_gets_no_folder_own_jobs_do(stage, tmp_path):
    async def main():
        stranger = Stranger(stage.engines[0])
        stranger.say(*opened(stage, called("Lab.Granted", (1, "Int")), roots=[str(tmp_path), "/"]))
        codec = stage.engines[0].codec
        header, buffers = codec.encode([0])
        stranger.say(Assigned(1, 1, Span(0, 1), bytes(header)), list(buffers))
        done = await stranger.hears(Done)
        assert codec.decode(done.message.header, done.buffers) == [""]
        stranger.leave()

        text = "Job:Main() { String:here = Lab.Roots(1); }"
        outcome = await Watched(stage.engines[0], text, roots=(tmp_path,)).ends()
        assert outcome.variables["here"] == str(tmp_path)

    stage.run(main())


def test_attack_garbage_instead_of_values_harms_the_stranger_alone(stage):
    async def main():
        stranger = Stranger(stage.engines[0])
        stranger.say(Open(1, "job", b"\xc1 garbage"))
        assert (await stranger.hears(Refused)).message.step == 1
        stranger.say(*opened(stage, called("Lab.Anything", (1, "Object"))))
        stranger.say(Assigned(1, 1, Span(0, 1), b"\xc1 garbage"))
        stranger.say(Assigned(1, 2, Span(0, 500_000), b""))
        assert await stranger.hears(Done | Refused)
        stranger.leave()
        outcome = await Watched(stage.engines[0], "Job:Main() { Object:x = Lab.Anything(5); }").ends()
        assert outcome.variables["x"] == 5

    stage.run(main())


def test_attack_who_sends_what_is_no_message_is_accused(stage):
    async def main():
        stranger = Stranger(stage.engines[0])
        stage.engines[0].job_frame(stranger.me, b"\x00\xc1")
        stage.engines[0].job_frame(stranger.me, b"\x09")
        stranger.leave()
        stage.engines[0].job_frame(stranger.me, b"\x09")

    stage.run(main())
    assert [peer for peer, _ in stage.mesh.accused] == ["stranger", "stranger"]
    stage.mesh.accused.clear()


def test_attack_a_stranger_cannot_report_results_of_what_it_was_not_given(stage, tmp_path):
    """Nor for steps of others, nor for numbers that there are none of."""
    leader, other, third = stage.engines

    async def main():
        stage.mesh.cut(leader, other)
        stage.mesh.cut(leader, third)
        job = Watched(leader, NOTES, str(tmp_path / "notes"), 20, 0.01)
        await until(lambda: job.peers, "it runs")
        stranger = Stranger(leader)
        header, buffers = leader.codec.encode([-1] * 20)
        for step in range(200):
            seconds = bytes(4 * 20)
            stranger.say(Done(step, Span(0, 20), bytes(header), seconds), list(buffers))
            stranger.say(Done(step, Span(listed=[2**63, 99]), b"", bytes(8)))
            stranger.say(Died(step, 1, "killed by signal 9"))
        outcome = await job.ends()
        assert outcome.variables["ys"] == [x * x for x in range(20)]
        assert set(job.peers) == {"e0"}
        assert not any(isinstance(event, events.WorkerDied) for event in job.seen)
        stranger.leave()
        stage.mesh.link(leader, other)
        stage.mesh.link(leader, third)

    stage.run(main())
