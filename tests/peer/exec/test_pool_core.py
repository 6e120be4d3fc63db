"""The pool's decisions, as dialogues: what happens, and what is then to be done."""

from __future__ import annotations

import random

import pytest

from meshwit.peer.exec.messages import TaskFailure
from meshwit.peer.exec.pool_core import (
    KILL_AFTER_S,
    QUEUE_MAX_PER_SLOT,
    START_TIMEOUT_S,
    PoolCore,
    PoolFullError,
)
from meshwit.peer.exec.pool_deaths import BARREN_DEATHS_FREE, START_FAILURES_MAX, Death
from meshwit.peer.exec.pool_effects import (
    Deliver,
    Fail,
    Finished,
    Kill,
    SendFlush,
    SendPrepare,
    SendRecall,
    SendRelease,
    SendRun,
    Spawn,
    Started,
    StopWorker,
    TakenBack,
)


class Dialogue:
    """Talks to a core and looks at its invariants after every word. That batches start, it hears and notes apart."""

    def __init__(self, size=1, steps=(1,), **options):
        self.core = PoolCore(size, **options)
        self.now = 0.0
        self.started = []
        for step in steps:
            self.core.prepare(step, timeout_s=2.0, memory_max_bytes=1 << 20)

    def __getattr__(self, name):
        def say(*args, **kwargs):
            if name not in ("take_back", "release", "drop"):
                kwargs["now"] = self.now
            return self.heard(getattr(self.core, name)(*args, **kwargs))

        return say

    def exited(self, slot, cause, **death):
        return self.heard(self.core.exited(slot, Death(cause, **death), self.now))

    def submit(self, batch, size, step=1):
        return self.heard(self.core.submit(step, batch, range(size), self.now))

    def heard(self, effects):
        self.core.check()
        self.started += [effect.batch_id for effect in effects if isinstance(effect, Started)]
        return [effect for effect in effects if not isinstance(effect, Started)]

    def running(self, size=10, slots=1):
        """Bring it to where every slot runs a batch named for it: serials 1, 2, ..."""
        for slot in range(slots):
            assert self.submit(slot, size) == [Spawn(slot)]
        for slot in range(slots):
            self.ready(slot)
        return self


def test_workers_start_with_the_first_batches_and_are_prepared_once():
    pool = Dialogue(2)
    assert pool.submit(1, 10) == [Spawn(0)]
    assert pool.ready(0) == [SendPrepare(0, 1), SendRun(0, 1, 1, 1, range(10))]
    assert pool.submit(2, 10) == [Spawn(1)]
    assert pool.ready(1) == [SendPrepare(1, 1), SendRun(1, 2, 2, 1, range(10))]
    assert pool.submit(3, 10) == [SendRun(0, 3, 3, 1, range(10))]
    assert pool.submit(4, 10) == [SendRun(1, 4, 4, 1, range(10))]
    assert pool.submit(5, 10) == []
    assert pool.results(0, 1, 0, 10, True) == [Deliver(1, range(10), 0, True), SendRun(0, 5, 5, 1, range(10))]


def test_results_come_in_parts():
    pool = Dialogue().running()
    assert pool.results(0, 1, 0, 4, False) == [Deliver(0, range(4), 0, False)]
    assert pool.results(0, 1, 4, 6, True) == [Deliver(0, range(4, 10), 0, True)]


def test_results_out_of_order_or_of_another_run_are_ignored():
    pool = Dialogue().running()
    assert pool.results(0, 1, 3, 2, False) == []
    assert pool.results(0, 7, 0, 2, False) == []
    assert pool.results(0, 1, 0, 11, True) == []


def test_how_much_is_wanted():
    pool = Dialogue(2)
    assert (pool.core.wants_more(), pool.core.free_slots()) == (4, 2)
    pool.running(slots=2)
    assert (pool.core.wants_more(), pool.core.free_slots()) == (2, 0)
    pool.submit(10, 1)
    pool.submit(11, 1)
    assert pool.core.wants_more() == 0


def test_queue_is_bounded():
    pool = Dialogue(1).running()
    pool.submit(9, 1)  # prefetched
    for batch in range(10, 10 + QUEUE_MAX_PER_SLOT):
        pool.submit(batch, 1)
    with pytest.raises(PoolFullError):
        pool.submit(20, 1)


def test_wrong_calls():
    pool = Dialogue().running()
    with pytest.raises(ValueError, match="open already"):
        pool.submit(0, 1)
    with pytest.raises(ValueError, match="not prepared"):
        pool.submit(1, 1, step=5)
    with pytest.raises(ValueError, match="empty"):
        pool.submit(1, 0)
    with pytest.raises(ValueError, match="open batches"):
        pool.release(1)
    with pytest.raises(ValueError, match="prepared already"):
        pool.core.prepare(1)
    with pytest.raises(ValueError, match="at least one"):
        PoolCore(0)


def test_death_costs_the_task_at_fault_a_retry_alone():
    pool = Dialogue().running()
    pool.results(0, 1, 0, 3, False)
    assert pool.exited(0, "killed by SIGSEGV", serial=1, position=5) == [Spawn(0)]
    assert pool.ready(0) == [
        SendPrepare(0, 1),
        SendRun(0, 3, 0, 1, (5,)),
        SendRun(0, 2, 0, 1, [3, 4, 6, 7, 8, 9]),
    ]
    effects = pool.exited(0, "killed by SIGSEGV", serial=3, position=0, detail="last words")
    failure = TaskFailure("killed", "", "its worker process ended 2 times: killed by SIGSEGV", "last words")
    assert effects == [Fail(0, (5,), failure, 0, False), Spawn(0)]
    pool.ready(0)
    assert pool.results(0, 4, 0, 6, True) == [Deliver(0, [3, 4, 6, 7, 8, 9], 0, True)]


def test_task_that_killed_once_may_succeed():
    pool = Dialogue().running(2)
    pool.exited(0, "killed", serial=1, position=0)
    pool.ready(0)
    assert pool.results(0, 3, 0, 1, True) == [Deliver(0, (0,), 0, False)]
    assert pool.results(0, 2, 0, 1, True) == [Deliver(0, [1], 0, True)]


def test_prefetched_run_of_a_dead_worker_is_not_charged():
    pool = Dialogue().running()
    pool.submit(1, 5)
    pool.exited(0, "killed", serial=1, position=9)
    alone, rest = pool.ready(0)[1:]
    assert alone == SendRun(0, alone.serial, 0, 1, (9,))
    assert rest == SendRun(0, rest.serial, 0, 1, list(range(9)))
    prefetched = pool.results(0, alone.serial, 0, 1, True)[-1]
    assert prefetched == SendRun(0, prefetched.serial, 1, 1, range(5))


def test_worker_dead_before_it_saw_the_run_is_nobodys_fault():
    pool = Dialogue().running()
    for _ in range(BARREN_DEATHS_FREE):
        assert pool.exited(0, "killed", serial=0) == [Spawn(0)]
        pool.ready(0)
    assert pool.exited(0, "killed", serial=0) == []  # too often: from now on with delay, and charged
    assert pool.core.next_deadline() > pool.now
    pool.now = pool.core.next_deadline()
    assert pool.tick() == [Spawn(0)]


def test_worker_that_dies_after_its_answer_is_charged_to_the_next_task():
    pool = Dialogue().running(3)
    pool.results(0, 1, 0, 1, False)
    pool.exited(0, "killed", serial=1, position=0)
    assert SendRun(0, 3, 0, 1, (1,)) in pool.ready(0)


def test_loading_that_kills_fails_the_step():
    pool = Dialogue().running(3)
    pool.submit(1, 3)
    pool.exited(0, "exit code 9", loading_step=1)
    pool.ready(0)
    effects = pool.exited(0, "exit code 9", loading_step=1)
    failed = {effect.batch_id: effect for effect in effects if isinstance(effect, Fail)}
    assert set(failed) == {0, 1}
    assert failed[0].finished
    assert failed[0].failure.kind == "unloadable"
    assert "exit code 9" in failed[0].failure.message


def test_time_limit_is_final():
    pool = Dialogue().running(3)
    assert pool.observed(0, 1, 1, 1.9, 0) == [SendFlush(0)]
    assert pool.observed(0, 1, 1, 1.95, 0) == []
    assert pool.results(0, 1, 0, 1, False) == [Deliver(0, range(1), 0, False)]
    assert pool.observed(0, 1, 1, 2.1, 0) == [Kill(0)]
    assert pool.observed(0, 1, 1, 2.2, 0) == []
    effects = pool.exited(0, "killed by SIGTERM", serial=1, position=1)
    assert effects == [Fail(0, (1,), TaskFailure("timeout", "", "ran longer than 2.0 s"), 0, False), Spawn(0)]
    assert pool.ready(0) == [SendPrepare(0, 1), SendRun(0, 2, 0, 1, [2])]


def test_memory_limit_is_final():
    pool = Dialogue().running(1)
    assert pool.observed(0, 1, 0, 0.0, 2 << 20) == [Kill(0)]
    failure = TaskFailure("memory", "", "used more than 1 MiB of memory")
    assert pool.exited(0, "killed by SIGTERM", serial=1) == [Fail(0, (0,), failure, 0, True)]


def test_task_that_ends_while_it_is_being_killed_has_succeeded():
    pool = Dialogue().running(2)
    assert pool.observed(0, 1, 0, 3.0, 0) == [Kill(0)]
    assert pool.results(0, 1, 0, 1, False) == [Deliver(0, range(1), 0, False)]
    assert pool.exited(0, "killed by SIGTERM", serial=1, position=1) == [Spawn(0)]
    assert pool.ready(0) == [SendPrepare(0, 1), SendRun(0, 2, 0, 1, range(1, 2))]


def test_take_back_of_waiting_prefetched_and_running():
    pool = Dialogue().running(10)
    pool.submit(1, 5)
    pool.submit(2, 5)
    assert pool.take_back(2) == [TakenBack(2, [0, 1, 2, 3, 4], True, True)]
    assert pool.take_back(1) == [SendRecall(0, 2)]
    assert pool.recalled(0, 2, 0) == [TakenBack(1, [0, 1, 2, 3, 4], True, True)]
    assert pool.take_back(0) == [SendRecall(0, 1)]
    assert pool.recalled(0, 1, 4) == [TakenBack(0, [4, 5, 6, 7, 8, 9], True, False)]
    assert pool.results(0, 1, 0, 4, True) == [Deliver(0, range(4), 0, True)]
    assert pool.take_back(0) == [TakenBack(0, (), True, True)]


def test_take_back_of_a_run_at_its_last_task_settles():
    pool = Dialogue().running(2)
    pool.take_back(0)
    assert pool.recalled(0, 1, 2) == [TakenBack(0, [], True, False)]


def test_take_back_crossing_the_last_results():
    pool = Dialogue().running(2)
    pool.take_back(0)
    assert pool.results(0, 1, 0, 2, True) == [Deliver(0, range(2), 0, True)]
    assert pool.recalled(0, 1, 1) == []


def test_position_skipped_by_a_recall_is_given_back():
    pool = Dialogue().running(4)
    pool.take_back(0)
    assert pool.recalled(0, 1, 3) == [TakenBack(0, [3], True, False)]
    assert pool.results(0, 1, 0, 2, True) == [Deliver(0, range(2), 0, False), SendRun(0, 2, 0, 1, range(2, 3))]


def test_task_that_killed_is_not_taken_back():
    pool = Dialogue().running(3)
    pool.exited(0, "killed", serial=1, position=1)
    assert pool.take_back(0) == [TakenBack(0, [0, 2], True, False)]


def test_a_few_are_taken_back_and_what_came_with_them_runs_here():
    pool = Dialogue().running(10)
    pool.submit(1, 5)
    pool.submit(2, 5)
    assert pool.take_back(2, {1, 3, 7}) == [TakenBack(2, [1, 3], True, False)]
    assert pool.take_back(1, {4}) == [SendRecall(0, 2)]
    assert pool.recalled(0, 2, 0) == [TakenBack(1, [4], True, False)]
    assert pool.take_back(0, {2, 8}) == [SendRecall(0, 1)]
    assert pool.recalled(0, 1, 4) == [TakenBack(0, [8], True, False)]
    assert pool.take_back(0, {1}) == [TakenBack(0, [], True, False)]
    assert pool.results(0, 1, 0, 4, True)[0] == Deliver(0, range(4), 0, False)
    assert pool.results(0, 2, 0, 0, True)[-1] == SendRun(0, 5, 1, 1, [0, 1, 2, 3])
    pool.results(0, 6, 0, 5, True)
    pool.results(0, 5, 0, 4, True)
    assert pool.core.wants_more() == 1
    assert pool.started == [0, 1, 2]


def test_a_few_are_taken_back_but_none_that_killed():
    pool = Dialogue().running(3)
    pool.exited(0, "killed", serial=1, position=1)
    assert pool.take_back(0, {1, 2}) == [TakenBack(0, [2], True, False)]


def test_batches_start_once_when_a_worker_comes_to_them():
    pool = Dialogue().running(3)
    assert pool.started == [0]
    pool.submit(1, 3)
    assert pool.started == [0]
    effects = pool.core.results(0, 1, 0, 3, True, pool.now)
    assert effects == [Deliver(0, range(3), 0, True), Started(1)]
    pool.exited(0, "killed", serial=2, position=1)
    pool.ready(0)
    assert pool.started == [0]  # `core` was asked itself, and it is said once


def test_batch_that_a_recall_may_empty_starts_with_the_answer_or_the_first_result():
    for answered in (True, False):
        pool = Dialogue().running(1)
        pool.submit(1, 3)
        pool.take_back(1)
        pool.results(0, 1, 0, 1, True)
        assert pool.started == [0]
        if answered:
            pool.recalled(0, 2, 1)
        else:
            pool.results(0, 2, 0, 1, False)
        assert pool.started == [0, 1]


def test_batch_recalled_whole_does_not_start():
    pool = Dialogue().running(1)
    pool.submit(1, 3)
    pool.take_back(1)
    pool.recalled(0, 2, 0)
    pool.results(0, 1, 0, 1, True)
    pool.results(0, 2, 0, 0, True)
    assert pool.started == [0]


def test_dropped_items_that_wait_are_gone_at_once():
    pool = Dialogue().running(1)
    pool.submit(1, 1)
    pool.submit(2, 4)
    assert pool.drop(2, {1, 2, 9}) == []
    assert pool.results(0, 1, 0, 1, True)[-1] == SendRun(0, 4, 2, 1, [0, 3])
    pool.submit(3, 2)
    assert pool.drop(3, {0, 1}) == [Finished(3)]
    assert pool.drop(3, {0, 1}) == []


def test_dropped_items_of_a_run_never_start_and_the_others_run():
    pool = Dialogue().running(6)
    assert pool.drop(0, {3, 5}) == [SendRecall(0, 1)]
    assert pool.recalled(0, 1, 2) == [SendRun(0, 2, 0, 1, [2, 4])]
    assert pool.results(0, 1, 0, 2, True) == [Deliver(0, range(2), 0, False)]
    assert pool.results(0, 2, 0, 2, True) == [Deliver(0, [2, 4], 0, True)]


def test_dropped_item_that_ends_soon_is_delivered():
    pool = Dialogue().running(2)
    assert pool.drop(0, {0, 1}) == [SendRecall(0, 1)]
    assert pool.recalled(0, 1, 1) == []
    assert pool.observed(0, 1, 0, KILL_AFTER_S, 0) == []
    assert pool.results(0, 1, 0, 1, True) == [Deliver(0, range(1), 0, True)]


def test_dropped_item_that_runs_long_is_killed_without_a_word():
    pool = Dialogue().running(4)
    pool.drop(0, {1, 3})
    pool.recalled(0, 1, 2)
    assert pool.observed(0, 1, 1, 1.5, 0) == [SendFlush(0)]  # what ended before it must not run again
    assert pool.results(0, 1, 0, 1, False) == [Deliver(0, range(1), 0, False)]
    assert pool.observed(0, 1, 1, 1.6, 0) == [Kill(0)]
    assert pool.exited(0, "killed by SIGTERM", serial=1, position=1) == [Spawn(0)]
    assert pool.ready(0) == [SendPrepare(0, 1), SendRun(0, 3, 0, 1, [2])]
    assert pool.results(0, 3, 0, 1, True) == [Deliver(0, [2], 0, True)]


def test_batch_ends_with_the_kill_of_its_last_dropped_item():
    pool = Dialogue().running(2)
    pool.drop(0, {0, 1})
    pool.recalled(0, 1, 1)
    assert pool.observed(0, 1, 0, 1.1, 0) == [Kill(0)]
    assert pool.exited(0, "killed by SIGTERM", serial=1, position=0) == [Finished(0)]


def test_dropped_item_that_kills_its_worker_is_not_tried_again():
    pool = Dialogue().running(2)
    pool.drop(0, {1})
    pool.results(0, 1, 0, 1, False)
    assert pool.exited(0, "killed by SIGSEGV", serial=1, position=1) == [Finished(0)]


def test_limits_do_not_fail_what_was_dropped():
    pool = Dialogue().running(2)
    assert pool.observed(0, 1, 0, 0.0, 2 << 20) == [Kill(0)]
    assert pool.drop(0, {0}) == []
    assert pool.exited(0, "killed by SIGTERM", serial=1) == [Spawn(0)]
    assert pool.ready(0) == [SendPrepare(0, 1), SendRun(0, 2, 0, 1, [1])]


def test_item_that_was_to_be_judged_can_be_dropped():
    pool = Dialogue().running(2)
    pool.exited(0, "killed", serial=1, position=1)
    assert pool.drop(0, {1}) == []
    assert pool.ready(0) == [SendPrepare(0, 1), SendRun(0, 2, 0, 1, [0])]


def test_batch_of_which_some_was_dropped_and_the_rest_taken_back_is_finished():
    pool = Dialogue().running(1)
    pool.submit(1, 4)
    pool.take_back(1)
    assert pool.drop(1, {2}) == []
    assert pool.recalled(0, 2, 0) == [TakenBack(1, [0, 1, 3], True, False), Finished(1)]


def test_idle_slot_takes_the_prefetched_run_of_another():
    pool = Dialogue(2).running(slots=2)
    pool.submit(2, 4)
    assert pool.results(1, 2, 0, 10, True) == [Deliver(1, range(10), 1, True), SendRecall(0, 3)]
    assert pool.recalled(0, 3, 0) == [SendRun(1, 4, 2, 1, range(4))]
    assert pool.results(0, 1, 0, 10, True) == [Deliver(0, range(10), 0, True)]
    assert pool.results(0, 3, 0, 0, True) == []


def test_cancel_kills_what_runs_and_recalls_what_is_prefetched():
    pool = Dialogue(2, steps=(1, 2))
    pool.submit(1, 3, step=1)
    pool.submit(2, 3, step=2)
    pool.ready(0)
    pool.ready(1)
    pool.submit(3, 3, step=2)  # behind step 1
    pool.submit(4, 3, step=1)  # behind step 2
    pool.submit(5, 3, step=1)
    assert pool.cancel(1) == [Kill(0), SendRecall(1, 4), SendRelease(1, 1)]
    assert pool.recalled(1, 4, 0) == []
    assert pool.exited(0, "killed by SIGTERM", serial=1) == [Spawn(0)]
    assert pool.ready(0) == [SendPrepare(0, 2), SendRun(0, 6, 3, 2, range(3))]


def test_cancelled_run_that_started_before_its_recall_is_killed():
    pool = Dialogue(1, steps=(1, 2))
    pool.submit(1, 3, step=1)
    pool.ready(0)
    pool.submit(2, 3, step=2)
    assert pool.cancel(2) == [SendRecall(0, 2), SendRelease(0, 2)]
    assert pool.results(0, 1, 0, 3, True) == [Deliver(1, range(3), 0, True), Kill(0)]


def test_cancel_spares_a_worker_that_has_not_come_to_its_run():
    pool = Dialogue(1, steps=(1, 2))
    pool.submit(1, 3, step=1)
    pool.ready(0)
    assert pool.cancel(1, unbegun=[0]) == [SendRecall(0, 1), SendRelease(0, 1)]
    assert pool.submit(2, 3, step=2) == [SendPrepare(0, 2), SendRun(0, 2, 2, 2, range(3))]
    assert pool.recalled(0, 1, 0) == []
    assert pool.results(0, 1, 0, 0, True) == []
    assert pool.results(0, 2, 0, 3, True) == [Deliver(2, range(3), 0, True)]


def test_cancelled_run_that_its_worker_came_to_meanwhile_is_killed():
    pool = Dialogue().running(3)
    assert pool.cancel(1, unbegun=[0]) == [SendRecall(0, 1), SendRelease(0, 1)]
    assert pool.recalled(0, 1, 1) == [Kill(0)]
    assert pool.exited(0, "killed by SIGKILL", serial=1) == []


def test_spared_worker_that_never_comes_to_its_run_is_killed():
    pool = Dialogue().running(3)
    pool.now = 5.0
    pool.cancel(1, unbegun=[0])
    pool.recalled(0, 1, 0)
    pool.now = pool.core.next_deadline()
    assert pool.now == 5.0 + START_TIMEOUT_S
    assert pool.tick() == [Kill(0)]


def test_workers_that_cannot_start():
    pool = Dialogue()
    pool.submit(1, 2)
    for _ in range(START_FAILURES_MAX - 1):
        assert pool.exited(0, "exit code 1") == []
        pool.now = pool.core.next_deadline()
        assert pool.tick() == [Spawn(0)]
    effects = pool.exited(0, "exit code 1", detail="ImportError")
    failure = TaskFailure("unstartable", "", "worker processes do not start: exit code 1", "ImportError")
    assert effects == [Fail(1, range(2), failure, 0, True)]
    assert pool.submit(2, 2) == []
    pool.now = pool.core.next_deadline()
    assert pool.tick() == [Spawn(0)]
    assert pool.ready(0) == [SendPrepare(0, 1), SendRun(0, 2, 2, 1, range(2))]


def test_slow_start_is_killed():
    pool = Dialogue()
    pool.submit(1, 2)
    assert pool.core.next_deadline() == START_TIMEOUT_S
    pool.now = START_TIMEOUT_S
    assert pool.tick() == [Kill(0)]


def test_idle_workers_are_stopped():
    pool = Dialogue(idle_s=60.0).running(1)
    pool.now = 7.0
    pool.results(0, 1, 0, 1, True)
    assert pool.core.next_deadline() == 67.0
    pool.now = 67.0
    assert pool.tick() == [StopWorker(0)]
    assert pool.submit(1, 1) == []
    assert pool.exited(0, "exit code 0") == [Spawn(0)]


def test_warm_starts_all():
    pool = Dialogue(3)
    assert pool.warm() == [Spawn(0), Spawn(1), Spawn(2)]
    assert pool.warm() == []


def test_unsendable_run_fails_and_the_slot_goes_on():
    pool = Dialogue().running(2)
    failure = TaskFailure("unencodable", "FrameError", "too large")
    pool.submit(1, 2)
    assert pool.unsendable(0, 1, failure) == [Fail(0, range(2), failure, 0, True)]
    assert pool.results(0, 2, 0, 2, True) == [Deliver(1, range(2), 0, True)]
    assert pool.unsendable(0, 9, failure) == []


def test_how_often_to_look():
    pool = Dialogue()
    assert pool.core.poll_interval_s() is None
    pool.running()
    assert pool.core.poll_interval_s() == 0.1


class World:
    """Plays workers that answer in any order and die at any moment, and books every outcome."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.size = self.random.randint(1, 4)
        self.core = PoolCore(self.size, idle_s=3.0)
        self.core.prepare(1, timeout_s=1.0)
        self.now = 0.0
        self.workers = {}  # slot -> "starting", or list of [serial, count, done, stop]
        self.ending = set()
        self.ended = {}  # batch -> positions with an outcome
        self.dropped = {}  # batch -> positions that nobody wants
        self.sizes = {}
        self.started = set()
        self.finished = set()

    def do(self, effects):
        self.core.check()
        for effect in effects:
            match effect:
                case Spawn(slot):
                    assert slot not in self.workers
                    self.workers[slot] = "starting"
                case Kill(slot) | StopWorker(slot):
                    self.ending.add(slot)
                case SendRun(slot, serial, batch, _, positions):
                    assert self.dropped[batch].isdisjoint(positions)
                    assert len(self.workers[slot]) < 2
                    self.workers[slot].append([serial, len(positions), 0, len(positions)])
                case SendRecall(slot, serial):
                    for at, run in enumerate(self.workers[slot]):
                        if run[0] == serial:
                            started = run[2] + (at == 0)
                            run[3] = self.random.randint(min(started, run[3]), run[3])
                            if self.random.random() < 0.7:
                                self.do(self.core.recalled(slot, serial, run[3], self.now))
                case Started(batch):
                    assert batch not in self.started
                    self.started.add(batch)
                case Deliver(batch, positions, _, finished):
                    assert batch in self.started
                    self.end(batch, positions, finished)
                case Fail(batch, positions, _, _, finished):
                    assert self.dropped[batch].isdisjoint(positions)
                    self.end(batch, positions, finished)
                case Finished(batch):
                    self.end(batch, self.dropped[batch] - self.ended[batch], True)
                case TakenBack(batch, positions, _, finished):
                    self.end(batch, positions, finished and batch not in self.finished)

    def end(self, batch, positions, finished):
        assert batch not in self.finished or not positions
        for position in positions:
            assert position not in self.ended[batch]
            self.ended[batch].add(position)
        if finished:
            assert len(self.ended[batch] | self.dropped[batch]) == self.sizes[batch]
            self.finished.add(batch)

    def step(self):
        self.now += self.random.random() * 0.2
        slots = list(self.workers)
        choice = self.random.random()
        if choice < 0.2 and self.core.wants_more():
            batch = len(self.sizes)
            self.sizes[batch] = self.random.randint(1, 6)
            self.ended[batch], self.dropped[batch] = set(), set()
            self.do(self.core.submit(1, batch, range(self.sizes[batch]), self.now))
        elif choice < 0.25 and self.sizes:
            batch = self.random.choice(list(self.sizes))
            self.do(self.core.take_back(batch, self.some(batch) if self.random.random() < 0.5 else None))
        elif choice < 0.3 and self.sizes:
            batch = self.random.choice(list(self.sizes))
            positions = self.some(batch)
            self.dropped[batch] |= positions
            self.do(self.core.drop(batch, positions))
        elif choice < 0.35 or not slots:
            self.do(self.core.tick(self.now))
        else:
            self.work(self.random.choice(slots))

    def some(self, batch):
        return {position for position in range(self.sizes[batch]) if self.random.random() < 0.4}

    def work(self, slot, deadly=True):
        state = self.workers[slot]
        if slot in self.ending or (deadly and self.random.random() < 0.08):
            serial, position = self.random.choice(
                [(0, 0), (state[0][0], state[0][2]) if state != "starting" and state else (0, 0)]
            )
            del self.workers[slot]
            self.ending.discard(slot)
            self.do(self.core.exited(slot, Death("killed", serial=serial, position=position), self.now))
        elif state == "starting":
            self.workers[slot] = []
            self.do(self.core.ready(slot, self.now))
        elif state:
            run = state[0]
            if deadly and self.random.random() < 0.1:
                self.do(self.core.observed(slot, run[0], run[2], self.random.random() * 1.5, 0, self.now))
                return
            count = self.random.randint(0, max(0, run[3] - run[2]))
            first, run[2] = run[2], run[2] + count
            finished = run[2] >= run[3]
            if finished:
                state.pop(0)
            self.do(self.core.results(slot, run[0], first, count, finished, self.now))


@pytest.mark.parametrize("seed", range(60))
def test_every_position_ends_exactly_once(seed):
    world = World(seed)
    for _ in range(400):
        world.step()
    for _ in range(2000):
        if len(world.finished) == len(world.sizes):
            break
        world.now += 0.1
        world.do(world.core.tick(world.now))
        for slot in list(world.workers):
            world.work(slot, deadly=False)
    assert world.finished == set(world.sizes)
