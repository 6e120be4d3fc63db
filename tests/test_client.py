"""Meshwit from Python, with real worker processes: sessions, parameters, events, pausing, cancelling."""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import psutil
import pytest
import trio

import meshwit
from meshwit import client, events
from meshwit.plugins.discovery import installed
from meshwit.plugins.registry import Registry
from tests.mischief import Mischief

PATIENCE_S = 30.0
"""How long a test waits for what must happen; it goes on as soon as it has."""

SUM = """
Job:Sum(IntCollection:numbers, Int:start = 0)
{
    Int:sum = start;
    ForEach(number in numbers) { sum = sum + number; }
    Trace("sum is " + sum);
    Return(sum, "done");
}
Job:Other(String:name) { Return("hello " + name); }
"""
GRID = """
Job:Main(Int:count)
{
    IntCollection:ys = Grid.ForEach(x in Int.Range(0, count)) => Mischief.Double(x);
    Trace("counted");
    Return(ys.Count);
}
"""


def registry() -> Registry:
    """Everything installed, and the controller of these tests."""
    return Registry([*installed().controllers.values(), Mischief()])


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[meshwit.Session]:
    """Two worker processes, for all tests of the module."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        with meshwit.Session(workers=2, roots=[tmp_path_factory.mktemp("root")], registry=registry()) as made:
            yield made


class Watched:
    """A job that runs, and its events as they come."""

    def __init__(self, session: meshwit.Session, text: str, *args: object) -> None:
        self._queue: queue.SimpleQueue[events.JobEvent] = queue.SimpleQueue()
        self.seen: list[events.JobEvent] = []
        program = client.load_program(text, registry())
        self.handle = session.start(program, None, args, on_event=self._queue.put)

    def until(self, kind: type, **fields: object) -> events.JobEvent:
        """Wait for an event of this kind whose fields are these."""
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up:
            event = self._queue.get(timeout=PATIENCE_S)
            self.seen.append(event)
            if isinstance(event, kind) and all(getattr(event, name) == value for name, value in fields.items()):
                return event
        raise AssertionError(f"{kind.__name__} with {fields} was never told")

    def until_running(self) -> events.Lane:
        """Wait until a worker process has begun with a task; what it does."""
        while True:
            lanes = self.until(events.LanesChanged).lanes
            for lane in lanes:
                if lane.state == "running":
                    return lane

    def ends(self) -> meshwit.Outcome:
        """The outcome; all events are seen by then."""
        outcome = self.handle.wait(PATIENCE_S)
        assert outcome is not None, "the job did not end"
        while not self._queue.empty():
            self.seen.append(self._queue.get())
        return outcome


# --- running -----------------------------------------------------------------------------------------------------


def test_a_text_is_run_to_its_outcome(session):
    outcome = session.run(SUM, [1, 2, 3])
    assert outcome.state == "completed"
    assert outcome.variables == {"sum": 6}
    assert outcome.returned == [6, "done"]
    assert outcome.trace == ["sum is 6"]
    assert outcome.error is None


def test_a_file_is_run(session, tmp_path):
    path = tmp_path / "sum.wit"
    path.write_text(SUM)
    assert session.run(path, [1]).returned == session.run(str(path), [1]).returned == [1, "done"]


def test_a_program_is_run_as_often_as_one_likes(session):
    program = meshwit.compile(GRID, registry=registry())
    assert [session.run(program, count).returned for count in (3, 0, 500)] == [[3], [0], [500]]


def test_results_of_many_tasks_are_in_order(session):
    assert session.run(GRID, 5000).variables["ys"] == list(range(0, 10_000, 2))


def test_another_job_of_the_file_is_run_by_name(session):
    assert session.run(SUM, "you", job="Other").returned == ["hello you"]


def test_a_wrong_script_runs_nothing(session):
    with pytest.raises(meshwit.ScriptError) as raised:
        session.run("Job:Main() { Int:a = x; Strng:b; }")
    assert {each.code for each in raised.value.diagnostics} == {"WIT201", "WIT202"}


def test_a_file_that_is_not_there_is_an_error_of_the_system(session, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        session.run(tmp_path / "nowhere.wit")


def test_a_session_needs_a_worker():
    with pytest.raises(ValueError, match="at least one worker"):
        meshwit.Session(workers=0)


def test_run_of_the_package_shares_one_session():
    """`meshwit.run` starts it when first used."""
    assert meshwit.run(SUM, numbers=[2, 3]).returned == [5, "done"]
    assert client._shared_session() is client._shared_session()


# --- parameters --------------------------------------------------------------------------------------------------


def test_parameters_by_place_and_by_name(session):
    assert session.run(SUM, [1], 10).variables == {"sum": 11}
    assert session.run(SUM, [1], start=20).variables == {"sum": 21}
    assert session.run(SUM, start=30, numbers=[1]).variables == {"sum": 31}
    assert session.run(SUM, numbers=range(4)).variables == {"sum": 6}


@pytest.mark.parametrize(
    ("args", "params", "said"),
    [
        ((), {}, r"`numbers` \(IntCollection\) is missing"),
        (([1], 2, 3), {}, "3 values for the parameters `numbers`"),
        (([1],), {"numbers": [2]}, "`numbers` is given twice"),
        (([1],), {"strat": 2}, "no parameter `strat`, did you mean `start`"),
        (("one",), {}, r"`numbers` \(IntCollection\)"),
        (([1], 2**40), {}, r"`start` \(Int\)"),
        (([1, "x"], 2.5), {}, r"numbers.*; .*start"),
        ((Path("no-such-file"),), {}, "there is no file no-such-file"),
    ],
)
def test_a_wrong_parameter_is_told_before_anything_runs(session, args, params, said):
    with pytest.raises(meshwit.ParameterError, match=said):
        session.run(SUM, *args, **params)


def test_a_job_that_is_not_there_is_told(session):
    with pytest.raises(meshwit.ParameterError, match="no job `Oter`; the script has `Sum`, `Other`"):
        session.run(SUM, "you", job="Oter")


# --- asynchronous ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [asyncio.run, lambda coroutine: trio.run(lambda: coroutine)], ids=["asyncio", "trio"])
def test_run_async_on_either_loop(run):
    assert run(meshwit.run_async(SUM, [1, 2], start=3)).returned == [6, "done"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_cancelling_run_async_cancels_the_job(backend):
    jobs = client._shared_session()._ready.result().leading.jobs

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(meshwit.run_async, "Job:Main() { Pause(600000); }")
            while not jobs:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        while jobs:
            await anyio.lowlevel.checkpoint()

    anyio.run(main, backend=backend)
    assert jobs == []


# --- events ------------------------------------------------------------------------------------------------------


def test_events_come_in_the_order_of_what_happened(session):
    watched = Watched(session, GRID, 50)
    watched.ends()
    told = [type(event).__name__ for event in watched.seen]
    assert told[0] == "JobStarted"
    assert told[-1] == "Completed"
    order = [
        told.index(kind) for kind in ("JobStarted", "StepStarted", "Progressed", "Traced", "Returned", "Completed")
    ]
    assert order == sorted(order)
    assert all(a.at <= b.at for a, b in itertools.pairwise(watched.seen))
    last = [event for event in watched.seen if isinstance(event, events.Progressed)][-1]
    assert (last.done, last.total, last.failed) == (50, 50, 0)


def test_the_lanes_of_workers_are_told(session, tmp_path):
    gate = tmp_path / "gate"
    watched = Watched(session, f'Job:Main() {{ Int:x = Mischief.WaitFor("{gate}"); }}')
    lane = watched.until_running()
    assert (lane.activity, lane.item) == ("Mischief.WaitFor", 0)
    gate.touch()
    assert watched.ends().variables == {"x": 0}


def test_a_watcher_that_raises_harms_no_job(session):
    """Its fault is not the job's."""

    def broken(event: events.JobEvent) -> None:
        raise RuntimeError("the watcher is broken")

    program = meshwit.compile(GRID, registry=registry())
    outcome = session.start(program, None, (20,), on_event=broken).wait(PATIENCE_S)
    assert outcome is not None
    assert outcome.returned == [20]


# --- pause and cancel --------------------------------------------------------------------------------------------


def test_a_paused_job_starts_nothing_until_it_goes_on(session, tmp_path):
    gate, mark = tmp_path / "gate", tmp_path / "mark"
    watched = Watched(
        session,
        f"""
        Job:Main() {{
            IntCollection:a = Grid.ForEach(x in [7]) => Mischief.WaitFor("{gate}", x);
            Int:b = Mischief.Touch("{mark}");
        }}
        """,
    )
    watched.until_running()
    watched.handle.pause()
    watched.until(events.Paused)
    gate.touch()
    watched.until(events.Progressed, done=1)
    assert watched.handle.wait(0) is None
    assert not mark.exists()
    watched.handle.resume()
    assert watched.ends().variables == {"a": [7], "b": 1}
    assert mark.exists()
    assert any(isinstance(event, events.Resumed) for event in watched.seen)


def test_cancelling_kills_what_runs_and_all_that_it_started(session, tmp_path):
    note = tmp_path / "note"
    watched = Watched(session, f'Job:Main() {{ Trace("begun"); Int:x = Mischief.StartChild("{note}"); Trace(x); }}')
    started = _appeared(note)
    processes = [psutil.Process(int(number)) for number in started.split()]
    watched.handle.cancel()
    outcome = watched.ends()
    assert (outcome.state, outcome.trace) == ("cancelled", ["begun"])
    assert isinstance(watched.seen[-1], events.Cancelled)
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert alive == []
    assert session.run(GRID, 4).variables["ys"] == [0, 2, 4, 6]


def _appeared(path: Path) -> str:
    """What is in a file, once it is there."""
    for _ in range(int(PATIENCE_S / 0.01)):
        if path.exists():
            return path.read_text()
        threading.Event().wait(0.01)
    raise AssertionError(f"{path} never appeared")


def test_results_so_far_stay_when_a_job_is_cancelled(session, tmp_path):
    count = 40
    watched = Watched(
        session,
        f"""
        Job:Main() {{
            IntCollection:before = Grid.ForEach(x in [1, 2]) => Mischief.Double(x);
            IntCollection:ys = Grid.ForEach(x in Int.Range(0, {count}))
                => Mischief.WaitAt(x, {count - 1}, "{tmp_path / "never"}");
        }}
        """,
    )
    watched.until(events.Progressed, done=count - 1)
    watched.handle.cancel()
    outcome = watched.ends()
    assert outcome.variables == {"before": [2, 4], "ys": None}
    assert outcome.partial == {"ys": {number: number for number in range(count - 1)}}


def test_cancelling_twice_or_late_does_nothing(session):
    watched = Watched(session, "Job:Main() { Return(1); }")
    outcome = watched.ends()
    watched.handle.cancel()
    watched.handle.kill()
    watched.handle.pause()
    watched.handle.resume()
    assert session.run(GRID, 2).state == "completed"
    assert watched.handle.result() is outcome
    assert outcome.state == "completed"


def test_a_job_that_only_turns_is_cancelled_too(session):
    watched = Watched(session, 'Job:Main() { Trace("begun"); While(true) { } }')
    watched.until(events.Traced)
    watched.handle.cancel()
    assert watched.ends().state == "cancelled"


# --- several jobs ------------------------------------------------------------------------------------------------


def test_jobs_run_at_once_and_do_not_mix(session, tmp_path):
    """Each waits for what another one does."""
    first, second = tmp_path / "first", tmp_path / "second"
    one = Watched(
        session, f'Job:Main() {{ Int:a = Mischief.WaitFor("{first}", 1); Int:b = Mischief.Touch("{second}"); }}'
    )
    two = Watched(
        session, f'Job:Main() {{ Int:a = Mischief.Touch("{first}"); Int:b = Mischief.WaitFor("{second}", 2); }}'
    )
    many = [Watched(session, GRID, count) for count in (10, 200, 3)]
    assert one.ends().variables == {"a": 1, "b": 1}
    assert two.ends().variables == {"a": 1, "b": 2}
    for watched, count in zip(many, (10, 200, 3), strict=True):
        assert watched.ends().returned == [count]


# --- the end of a session ----------------------------------------------------------------------------------------


def test_a_closed_session_leaves_no_process():
    before = set(psutil.Process().children(recursive=True))
    with meshwit.Session(workers=2, registry=registry()) as short:
        assert short.run(GRID, 10).returned == [10]
        mine = set(psutil.Process().children(recursive=True)) - before
        assert mine
    _, alive = psutil.wait_procs(mine, timeout=PATIENCE_S)
    assert alive == []


def test_closing_a_session_cancels_its_jobs():
    """Whoever waits for an outcome gets one."""
    short = meshwit.Session(workers=1, registry=registry()).__enter__()
    handle = short.start(meshwit.compile("Job:Main() { Pause(600000); }"))
    short.close()
    outcome = handle.wait(PATIENCE_S)
    assert outcome is not None
    assert outcome.state == "cancelled"


def test_a_closed_session_says_so():
    short = meshwit.Session(workers=1, registry=registry()).__enter__()
    short.close()
    short.close()
    with pytest.raises(RuntimeError, match="session is closed"):
        short.run("Job:Main() { Return(1); }")


def test_a_task_may_use_a_captured_value_of_a_type_that_no_activity_of_it_names(session):
    script = """
    Job:Main()
    {
        Vector:v = Vector([5.0, 6.0, 7.0]);
        DoubleCollection:ys = Grid.ForEach(x in Int.Range(0, 3)) => Double(v[x]);
    }
    """
    outcome = session.run(script)
    assert list(outcome.variables["ys"]) == [5.0, 6.0, 7.0]
