"""Worker processes as they are: real ones, that die, hang, print and hoard."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from driver import HERE, Driver, Outcome, alive, drive, run_async, until, wait_until

from meshwit.codec import Codec
from meshwit.peer.blobs.store import BlobStore
from meshwit.peer.exec.batches import Batch, EncodedItems
from meshwit.peer.exec.messages import TaskFailure

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and process groups")
linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends workers only on Linux")


def all_but_3(outcome, count=6):
    return outcome.values == {n: n for n in range(count) if n != 3}


def test_values_come_back_under_their_numbers():
    outcome = drive("double", list(range(1000)), batch_size=64, size=3)
    assert outcome.values == {n: 2 * n for n in range(1000)}
    assert not outcome.failures


def test_when_a_batch_has_ended_there_is_room_for_another():
    """Else the worker process, which is at the one that waited, finds none after that."""

    async def main():
        async with Driver(1) as driver:
            room = []

            def arrived(results):
                if results.finished:
                    room.append(driver.pool.wants_more())

            driver.pool.prepare(1, "slowly")
            for number in range(2):
                driver.pool.submit(Batch(1, number, [0.006]), arrived)
            await until(lambda: len(room) == 2)
            assert room == [1, 2]

    run_async(main)


def test_pipes_served_by_threads():
    outcome = drive("double", list(range(1000)), batch_size=64, pipe_threads=True)
    assert outcome.values == {n: 2 * n for n in range(1000)}


def test_pipes_served_by_threads_survive_deaths():
    outcome = drive("exit_on_3", list(range(6)), pipe_threads=True)
    assert all_but_3(outcome)
    assert outcome.failures[3].kind == "killed"


def test_exception_is_a_failure_of_the_item():
    outcome = drive("fail_on_3", list(range(6)))
    assert all_but_3(outcome)
    failure = outcome.failures[3]
    assert (failure.kind, failure.type, failure.message) == ("raised", "ValueError", "three is 3")
    assert "in inner" in failure.traceback
    assert "worker_main" not in failure.traceback


def test_exception_without_a_message():
    failure = drive("bad_message", [1]).failures[0]
    assert failure.type == "activities.BadMessageError"
    assert "RuntimeError" in failure.message


def test_endless_recursion():
    assert drive("recurse", [1]).failures[0].type == "RecursionError"


def test_sys_exit_and_keyboard_interrupt_are_failures():
    outcome = drive("sys_exit_on_3", list(range(6)))
    assert set(outcome.values) == {0, 1, 2, 5}
    assert "enough" in outcome.failures[3].message
    assert outcome.failures[4].type == "KeyboardInterrupt"


def test_unencodable_value_names_its_type():
    outcome = drive("unencodable_on_3", list(range(6)))
    assert all_but_3(outcome)
    assert outcome.failures[3].kind == "unencodable"
    assert "type object" in outcome.failures[3].message


def test_unencodable_item_fails_alone():
    outcome = drive("noop", [0, 1, 2, {1, 2}, 4, 5])
    assert all_but_3(outcome)
    assert "set" in outcome.failures[3].message
    assert drive("noop", [object()]).failures[0].kind == "unencodable"


def test_step_that_cannot_be_loaded():
    outcome = drive("unloadable", [1, 2])
    assert {failure.message for failure in outcome.failures.values()} == {"no such controller"}
    assert outcome.failures[0].kind == "unloadable"


def test_step_that_kills_while_loading():
    outcome = drive("deadly", list(range(100)), batch_size=10, size=1, limits=None)
    assert len(outcome.failures) == 100
    assert outcome.failures[99].kind == "unloadable"
    assert "exit code 9" in outcome.failures[99].message


@posix
def test_segfault_costs_only_the_task_at_fault():
    outcome = drive("segfault_on_3", list(range(6)))
    assert all_but_3(outcome)
    failure = outcome.failures[3]
    assert failure.kind == "killed"
    assert "SIGSEGV" in failure.message
    assert "segfault_on_3" in failure.traceback  # by faulthandler


def test_os_exit_costs_only_the_task_at_fault():
    outcome = drive("exit_on_3", list(range(200)), batch_size=50)
    assert all_but_3(outcome, 200)
    assert "exit code 3 (os._exit)" in outcome.failures[3].message


@posix
def test_task_that_was_killed_once_is_run_again(tmp_path):
    outcome = drive("killed_once", [str(tmp_path / name) for name in ("a", "fatal", "b")])
    assert outcome.values == {0: "a", 1: "fatal", 2: "b"}


@posix
def test_workers_killed_from_outside_lose_nothing():
    async def main():
        async with Driver(2) as driver:
            outcome = Outcome()
            driver.pool.prepare(1, "slowly")
            _, done = driver.start(1, [0.004] * 100, outcome)
            for enough in (10, 40, 70):
                await until(lambda enough=enough: len(outcome.values) > enough)
                for worker in [each for each in driver.pool._crew.workers if each is not None]:
                    os.kill(worker.pid, signal.SIGKILL)
            await done
            assert len(outcome.values) == 100

    run_async(main)


@posix
@pytest.mark.parametrize("pipe_threads", [False, True])
def test_death_is_noticed_though_a_forked_child_holds_the_pipes(pipe_threads, tmp_path):
    failure = drive("fork_and_die", [str(tmp_path / "pid")], pipe_threads=pipe_threads).failures[0]
    assert "exit code 5" in failure.message


def test_time_limit():
    outcome = drive("forever_on_3", list(range(6)), limits={"timeout_s": 0.3})
    assert all_but_3(outcome)
    assert outcome.failures[3] == TaskFailure("timeout", "", "ran longer than 0.3 s")


def test_what_ended_before_a_long_task_is_sent_ahead_and_never_run_again(tmp_path):
    log = tmp_path / "log"
    outcome = drive("log_then_forever", [(n, str(log)) for n in range(6)], limits={"timeout_s": 0.5})
    assert all_but_3(outcome)
    assert sorted(log.read_text().split()) == ["0", "1", "2", "3", "4", "5"]


def test_memory_limit():
    outcome = drive("hog_on_3", list(range(6)), limits={"memory_max_bytes": 300 << 20})
    assert all_but_3(outcome)
    assert outcome.failures[3] == TaskFailure("memory", "", "used more than 300 MiB of memory")


def test_memory_limit_counts_child_processes():
    failure = drive("hog_in_child", [1], limits={"memory_max_bytes": 200 << 20}).failures[0]
    assert failure.kind == "memory"


def test_output_is_captured_per_task():
    outcome = drive("say", [1, 2])
    assert outcome.outputs == {0: "python 1\nerror 1 raw", 1: "python 2\nerror 2 raw"}
    assert drive("say_on_even", list(range(5))).outputs == {0: "0\n", 2: "2\n", 4: "4\n"}


@posix
def test_output_from_c_is_captured_per_task():
    assert drive("say_from_c", [1, 2]).outputs == {0: "from C 1", 1: "from C 2"}


def test_endless_output_is_cut():
    text = drive("say_much", [1 << 20]).outputs[0]
    assert len(text) < 70_000
    assert text.endswith("more bytes cut]")


def test_arrays_come_back_bit_exact():
    arrays = [np.random.default_rng(n).standard_normal(1 << 20) for n in range(12)]
    outcome = drive("double", arrays, batch_size=1)
    for number, array in enumerate(arrays):
        assert np.array_equal(outcome.values[number], array * 2)


def test_arrays_without_room_for_segments_go_through_the_pipe():
    arrays = [np.random.default_rng(n).standard_normal(1 << 18) for n in range(4)]
    outcome = drive("double", arrays, batch_size=1, segments_bytes_max=1)
    for number, array in enumerate(arrays):
        assert np.array_equal(outcome.values[number], array * 2)


def test_arrays_kept_by_an_activity_stay_as_they_are():
    arrays = [np.full(1 << 17, float(n)) for n in range(10)]
    outcome = drive("keep", arrays, batch_size=1, size=1)
    assert [value / (1 << 17) for value in outcome.values.values()] == [sum(range(n + 1)) for n in range(10)]


def test_arrays_sent_on_are_not_copied():
    async def main():
        async with Driver(2) as driver:
            first = await driver.run("double", [np.ones(1 << 17)])
            before = set(driver.pool._directory.glob("*.seg"))
            again = await driver.run("noop", [first.values[0]] * 3, batch_size=1)
            assert set(driver.pool._directory.glob("*.seg")) <= before
            assert all(np.array_equal(value, first.values[0]) for value in again.values.values())

    run_async(main)


def test_results_outlive_their_worker():
    async def main():
        async with Driver(1, idle_s=0.1) as driver:
            first = await driver.run("double", [np.ones(1 << 17)])
            await until(lambda: driver.pool._crew.workers == [None])
            assert first.values[0].sum() == 2 << 17
            second = await driver.run("double", [first.values[0]])
            assert second.values[0].sum() == 4 << 17

    run_async(main)


def test_segments_are_used_again():
    async def main():
        async with Driver(1) as driver:
            driver.pool.prepare(99, "array_sum")
            for number in range(20):
                outcome = Outcome()
                _, done = driver.start(99, [np.full(1 << 17, float(number))], outcome)
                await done
                assert outcome.values[0] == number << 17
            assert len(list(driver.pool._directory.glob("*.seg"))) <= 3

    run_async(main)


def test_many_arrays_held_at_once_need_few_descriptors():
    arrays = [np.full(1 << 15, float(n)) for n in range(400)]
    outcome = drive("double", arrays, batch_size=20)
    assert all(np.array_equal(outcome.values[n], array * 2) for n, array in enumerate(arrays))
    if sys.platform != "win32":
        assert psutil.Process().num_fds() < 350


def test_program_is_shared_by_all_workers():
    array = np.arange(1 << 17, dtype=float)
    outcome = drive(["shared", array], list(range(64)), batch_size=8)
    assert outcome.values == {n: float(n) for n in range(64)}


def test_arrays_given_to_activities_are_read_only():
    failures = drive("write_in_place", [np.ones(3), np.ones(1 << 17)]).failures
    assert {failure.type for failure in failures.values()} == {"ValueError"}


def test_prefetched_and_unstarted_items_are_taken_back(tmp_path):
    gate = tmp_path / "gate"

    async def main():
        async with Driver(1) as driver:
            outcome = Outcome()
            driver.pool.prepare(1, "when_there")
            first, _ = driver.start(1, ["", str(gate), "", ""], outcome)
            second, _ = driver.start(1, [""] * 4, outcome, range(10, 14))
            third, _ = driver.start(1, [""] * 4, outcome, range(20, 24))
            await until(lambda: 0 in outcome.values)
            assert sorted(await driver.pool.take_back(third)) == [20, 21, 22, 23]
            assert sorted(await driver.pool.take_back(second)) == [10, 11, 12, 13]
            assert sorted(await driver.pool.take_back(first)) == [2, 3]
            assert await driver.pool.take_back(first) == []
            gate.touch()
            await until(lambda: len(outcome.values) == 2)
            assert set(outcome.values) == {0, 1}
            driver.pool._core.check()
            assert (await driver.run("noop", [1])).values == {0: 1}

    run_async(main)


def test_a_few_items_are_taken_back(tmp_path):
    gate = tmp_path / "gate"

    async def main():
        async with Driver(1) as driver:
            outcome = Outcome()
            driver.pool.prepare(1, "when_there")
            batch, done = driver.start(1, ["", str(gate), "", "", ""], outcome, range(10, 15))
            await until(lambda: 10 in outcome.values)
            assert await driver.pool.take_back(batch, [10, 11, 12, 14, 99]) == [12, 14]
            gate.touch()
            await done
            assert set(outcome.values) == {10, 11, 13}
            assert outcome.started == [batch]

    run_async(main)


def encoded(items):
    header, buffers = Codec().encode(items)
    return EncodedItems(header, [bytes(buffer) for buffer in buffers], len(items))


def test_encoded_programs_and_items_run_and_values_stay_encoded():
    async def main():
        async with Driver(2) as driver:
            outcome = Outcome()
            arrays = [np.full(1 << 17, float(n)) for n in range(3)]
            driver.pool.prepare_encoded(1, *Codec().encode("double"))
            _, done = driver.start(1, encoded(arrays), outcome, [7, 8, 9])
            await done
            assert {number: value[0] for number, value in outcome.values.items()} == {7: 0.0, 8: 2.0, 9: 4.0}

    run_async(main)


def test_values_handed_on_as_they_came_are_not_copied():
    async def main():
        async with Driver(1) as driver:
            outcome, parts = Outcome(), []
            driver.pool.prepare(1, "zeros")
            driver.pool.prepare(2, "noop")
            driver.pool.submit(Batch(1, 100, encoded([1 << 20])), parts.append)
            await until(lambda: parts and parts[-1].finished)
            await driver.start(2, EncodedItems(*parts[0].encoded, 1), outcome)[1]
            assert outcome.values == {0: bytes(1 << 20)}
            assert not list(driver.pool._directory.glob("pool-*.seg"))

    run_async(main)


@posix
def test_encoded_items_survive_a_death_and_a_take_back(tmp_path):
    async def main():
        async with Driver(1) as driver:
            outcome = Outcome()
            driver.pool.prepare(1, "killed_once")
            _, done = driver.start(1, encoded([str(tmp_path / name) for name in ("a", "fatal", "b")]), outcome)
            waits, _ = driver.start(1, encoded([str(tmp_path / "c"), str(tmp_path / "d")]), outcome, [3, 4])
            await driver.pool.take_back(waits, [3])
            await done
            await until(lambda: 4 in outcome.values)
            assert outcome.values == {0: "a", 1: "fatal", 2: "b", 4: "d"}

    run_async(main)


def test_encoded_items_that_are_none_fail():
    async def main():
        async with Driver(1) as driver:
            outcome = Outcome()
            driver.pool.prepare(1, "noop")
            for items in (EncodedItems(b"\xc1", [], 2), EncodedItems(*Codec().encode([1]), 2)):
                await driver.start(1, items, outcome, range(len(outcome.failures), len(outcome.failures) + 2))[1]
            assert [failure.kind for failure in outcome.failures.values()] == ["unencodable"] * 4
            with pytest.raises(ValueError, match="2 items with 1 numbers"):
                driver.start(1, encoded([1, 2]), outcome, [1])

    run_async(main)


def test_blobs_of_values_are_told(tmp_path):
    store = BlobStore(tmp_path)
    blob = store.put(b"abc")

    async def main():
        codec = Codec([store.wire_type()])
        factory = {"codec_factory": "activities:blob_codec", "codec_setup": {"folder": str(tmp_path)}}
        async with Driver(1, codec=codec, **factory) as driver:
            parts = []
            driver.pool.prepare(1, "noop")
            driver.pool.submit(Batch(1, 1, [1, blob, [blob]]), parts.append)
            await until(lambda: parts and parts[-1].finished)
            assert [hash for part in parts for hash in part.blobs] == [(blob.hash, 3)]
            assert [value for part in parts for value in part.values] == [1, blob, [blob]]

    run_async(main)


def test_dropped_items_do_not_run_and_a_long_one_is_killed(tmp_path):
    log = tmp_path / "log"

    async def main():
        async with Driver(1) as driver:
            outcome = Outcome()
            driver.pool.prepare(1, "log_then_forever")
            batch, done = driver.start(1, [(n, str(log)) for n in (1, 3, 4, 5)], outcome, [1, 3, 4, 5])
            other, other_done = driver.start(1, [(6, str(log))], outcome, [6])
            await until(lambda: log.exists() and "3" in log.read_text())
            driver.pool.drop(other, [6])
            driver.pool.drop(batch, [3, 4])
            await asyncio.gather(done, other_done)
            assert (set(outcome.values), outcome.failures) == ({1, 5}, {})
            assert log.read_text().split() == ["1", "3", "5"]
            assert outcome.started == [batch]
            assert driver.pool.running_count == 0
            driver.pool.drop(batch, [5])
            driver.pool._core.check()

    run_async(main)


def test_idle_worker_takes_what_is_prefetched_elsewhere(tmp_path):
    async def main():
        async with Driver(2) as driver:
            outcome = Outcome()
            driver.pool.prepare(1, "slowly")
            driver.pool.warm()
            await until(lambda: driver.pool.wants_more() == 4)
            futures = [driver.start(1, [s], outcome, [n])[1] for n, s in enumerate([1.0, 0.05, 0.0])]
            await asyncio.gather(*futures[1:])
            assert set(outcome.values) == {1, 2}
            driver.pool.cancel(1)

    run_async(main)


@posix
def test_cancel_kills_all_that_a_task_started(tmp_path):
    async def main():
        async with Driver(2) as driver:
            note, outcome = tmp_path / "pids", Outcome()
            driver.pool.prepare(1, "with_grandchild")
            driver.start(1, [str(note)], outcome)
            await until(lambda: note.exists() and note.read_text().endswith("\n"))
            pids = [int(pid) for pid in note.read_text().split()]
            assert all(map(alive, pids))
            driver.pool.cancel(1)
            await until(lambda: not any(map(alive, pids)))
            assert (outcome.values, outcome.failures) == ({}, {})
            assert (await driver.run("noop", [1])).values == {0: 1}

    run_async(main)


def test_worker_that_still_loads_a_cancelled_step_is_of_use_for_the_next(tmp_path):
    async def main():
        async with Driver(1) as driver:
            gate, outcome = tmp_path / "gate", Outcome()
            for step in range(100, 103):  # each is over before its program is loaded
                driver.pool.prepare(step, ["when there", str(gate)])
                driver.start(step, [1, 2], outcome)
                await until(lambda: driver.pool._core.running(0) is not None)
                worker = driver.pool._crew.workers[0].pid
                driver.pool.cancel(step)
            gate.touch()
            await until(driver.pool.wants_more)
            assert set((await driver.run("pid", [1, 2])).values.values()) == {worker}
            assert (outcome.values, outcome.failures) == ({}, {})

    run_async(main)


def test_workers_that_cannot_start(tmp_path):
    async def main():
        pool = Driver(2)
        async with pool as driver:
            driver.pool._crew._config["path"] = 3  # no list: the worker ends before it is ready
            outcome = await driver.run("noop", [1, 2])
            assert {failure.kind for failure in outcome.failures.values()} == {"unstartable"}
            assert "ValidationError" in outcome.failures[0].traceback

    run_async(main)


def test_idle_workers_end_and_new_ones_start():
    async def main():
        async with Driver(2, idle_s=0.05) as driver:
            first = await driver.run("pid", [1])
            await until(lambda: driver.pool._crew.workers == [None, None])
            second = await driver.run("pid", [1])
            assert first.values != second.values

    run_async(main)


def test_closing_with_tasks_running_leaves_nothing(tmp_path):
    async def main():
        note = tmp_path / "pid"
        before = {child.pid for child in psutil.Process().children()}
        async with Driver(2) as driver:
            driver.pool.prepare(1, "busy")
            driver.start(1, [str(note)], Outcome())
            await until(lambda: note.exists() and note.read_text().endswith("\n"))
            directory = driver.pool._directory
        assert not alive(int(note.read_text()))
        assert not directory.exists()
        assert {child.pid for child in psutil.Process().children()} <= before

    run_async(main)


PARENT = """
import asyncio, sys
from driver import Driver, Outcome

async def main():
    async with Driver(2) as driver:
        driver.pool.prepare(1, sys.argv[1])
        driver.start(1, [sys.argv[2]], Outcome())
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "activity", ["busy", pytest.param("hold_the_gil", marks=linux), pytest.param("with_grandchild", marks=posix)]
)
def test_no_orphan_when_the_pool_is_killed(activity, tmp_path):
    note = tmp_path / "pids"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[2])])}
    with subprocess.Popen([sys.executable, "-c", PARENT, activity, str(note)], env=environment) as parent:
        wait_until(lambda: note.exists() and note.read_text().endswith("\n"), "the task runs")
        pids = [int(pid) for pid in note.read_text().split()]
        group = pids[:1]  # the second grandchild left the group on purpose: only a living pool can find it
        workers = [child.pid for child in psutil.Process(parent.pid).children()]
        parent.kill()
    try:
        wait_until(lambda: not any(map(alive, group + workers)), "all have ended", 5.0)
    finally:
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)
    run_async(sweeping)


async def sweeping():
    async with Driver(1) as driver:
        left = [path.name for path in Path(driver.pool._root).glob("meshwit-exec-*")]
        assert not [name for name in left if not psutil.pid_exists(int(name.split("-")[2]))]
