"""One step: what an outcome means, and that an item has one only, whatever happens."""

from __future__ import annotations

from meshwit.ids import PeerId
from meshwit.lang import program as ir
from meshwit.peer.job.steps import LOSSES_MAX, StepRun, StepSettings, TaskFault
from meshwit.peer.sched.effects import Lost
from meshwit.peer.sched.estimates import RatePrior

FAULT = TaskFault("raised", "no")
A, B = PeerId("a"), PeerId("b")


def step(count=10, *, known=None, single=False, **settings) -> StepRun:
    """A step that doubles 0, 1, ..., shared in advance by two peers."""
    one = StepRun(
        1,
        (1, 1),
        ir.Constant(None, "Object"),
        [],
        list(range(count)),
        StepSettings(**{"strategy": "Balanced", **settings}),
        activity="Double",
        span=(0, 1),
        single=single,
        known=known,
    )
    for peer in (A, B):
        one.workers[peer] = 1
        one.scheduler.peer_joined(peer, 1, RatePrior(1.0), 0.0)
    one.scheduler.start(0.0)
    return one


def returned(one: StepRun, numbers, failing=(), peer=A):
    """Outcomes come from a peer; the new ones, those tried again and those that failed for good."""
    values = [None if number in failing else number * 2 for number in numbers]
    result = one.record(peer, numbers, values, [0.01] * len(numbers), dict.fromkeys(failing, FAULT), 1.0)
    one.check()
    return list(result.fresh), result.retried, result.final


def test_a_step_ends_with_its_last_item():
    one = step(4)
    returned(one, [2, 3], peer=B)
    assert not one.ended
    returned(one, range(2))
    assert one.ended
    assert one.values == [0, 2, 4, 6]
    assert one.done_by == {A: 2, B: 2}


def test_a_step_that_is_released_holds_no_value():
    one = step(4)
    one.captured = ["large"]
    returned(one, range(4))
    one.release()
    assert (one.items, one.values, one.captured, one._took) == ([], [], [], [])
    assert (one.total, one.done) == (4, 4)
    assert one.scheduler.explain(1)


def test_the_first_outcome_of_an_item_counts():
    one = step(4)
    assert returned(one, [2, 3], peer=B) == ([2, 3], [], [])
    assert returned(one, range(4)) == ([0, 1], [], [])
    assert returned(one, [3], failing=[3], peer=B) == ([], [], [])
    assert one.done_by == {A: 2, B: 2}
    assert (one.ended, one.failed) == (True, 0)


def test_items_that_there_are_not_and_items_named_twice_are_no_news():
    one = step(4)
    assert returned(one, [-1, 0, 0, 4, 900]) == ([0], [], [])
    assert returned(one, range(3, 9)) == ([3], [], [])
    assert returned(one, [1, 1], failing=[1]) == ([], [], [1])
    assert (one.done, one.failed) == (3, 1)


def test_items_known_before_are_done():
    one = step(5, known={0: 0, 3: 6})
    assert one.done == 2
    assert one.values == [0, None, None, 6, None]
    assert returned(one, range(5)) == ([1, 2, 4], [], [])


def test_a_step_whose_items_are_all_known_has_ended():
    one = step(2, known={0: 0, 1: 2})
    assert one.ended


def test_an_item_that_fails_for_good_ends_the_step():
    one = step(4)
    assert returned(one, [0, 1], failing=[1]) == ([0], [], [1])
    assert one.ended
    assert one.fault == (1, FAULT)


def test_of_many_failures_the_first_to_arrive_is_told():
    one = step(4)
    returned(one, [2], failing=[2], peer=B)
    returned(one, [0], failing=[0])
    assert one.fault[0] == 2


def test_retries_are_counted_by_item_whoever_runs_it():
    one = step(2, retries=1)
    assert returned(one, [0, 1], failing=[0]) == ([1], [0], [])
    assert (one.done, one.done_by) == (1, {A: 1})
    assert returned(one, [0], failing=[0], peer=B) == ([], [], [0])


def test_what_runs_once_has_no_retries():
    one = step(2, retries=5, once=True)
    assert returned(one, [0], failing=[0]) == ([], [], [0])


def test_skipped_items_are_done_and_null():
    one = step(3, skip_failed=True)
    returned(one, [0, 1, 2], failing=[0, 2])
    assert one.ended
    assert (one.fault, one.failed, one.values) == (None, 2, [None, 2, None])


def test_one_at_a_time_and_exclusive_use_one_slot_of_a_peer():
    assert step(one_at_a_time=True).slots_of(8) == 1
    assert step(exclusive=frozenset({"Double"})).slots_of(8) == 1
    assert step(one_at_a_time=True).slots_of(0) == 0
    assert step().slots_of(8) == 8


def test_an_item_is_given_up_when_enough_peers_were_lost_over_it():
    one = step(4)
    for number in range(LOSSES_MAX - 1):
        peer = PeerId(f"c{number}")
        for _ in range(LOSSES_MAX):  # one that freezes again and again is one
            assert one.lost(Lost(peer, [1], final=False), "den", 1.0) == ({}, [])
    faults, _ = one.lost(Lost(B, [1], final=False), "attic", 1.0)
    assert (faults[1].kind, faults[1].peer) == ("killed", "attic")
    assert one.fault[0] == 1
    one.check()


def test_an_item_that_must_run_once_is_given_up_at_once_and_one_that_is_done_never():
    one = step(4, once=True)
    returned(one, [0])
    effects = one.scheduler.peer_left(B, 1.0)
    (lost,) = [each for each in effects if isinstance(each, Lost)]
    faults, more = one.lost(Lost(B, [0, *lost.items], final=True), "den", 1.0)
    assert (list(faults), more) == (list(lost.items), [])
    assert "must not run twice" in faults[lost.items[0]].message
    one.check()
