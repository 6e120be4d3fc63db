"""One step: every item waits, runs or has its outcome, and has one outcome only, whatever happens."""

from __future__ import annotations

import random

import pytest

from meshwit.lang import program as ir
from meshwit.peer.job.steps import StepRun, StepSettings, TaskFault

FAULT = TaskFault("raised", "no")


def step(count=10, *, slots=2, order=None, known=None, **settings) -> StepRun:
    """A step that doubles 0, 1, ..., in equal shares unless told otherwise."""
    settings = {"strategy": "Balanced", **settings}
    return StepRun(
        1,
        (1, 1),
        ir.Constant(None, "Object"),
        [],
        list(range(count)),
        StepSettings(**settings),
        activity="Double",
        span=(0, 1),
        slots=slots,
        single=False,
        order=order,
        known=known,
    )


def returned(one: StepRun, batch: int, numbers, failing=()):
    """The batch, or a part of it, comes back."""
    values = [None if number in failing else number * 2 for number in numbers]
    result = one.record(batch, numbers, values, [0.01] * len(numbers), dict.fromkeys(failing, FAULT))
    one.check()
    return result


def test_a_step_hands_out_each_item_once():
    one = step()
    assert one.take(1) == range(5)
    assert one.take(2) == range(5, 10)
    assert one.take(3) == ()
    assert (one.left, one.running) == (0, {1: 5, 2: 5})
    one.check()


def test_a_step_ends_with_its_last_item():
    one = step(4)
    first, second = one.take(1), one.take(2)
    returned(one, 2, second)
    assert not one.ended
    returned(one, 1, first)
    assert one.ended
    assert one.values == [0, 2, 4, 6]


def test_results_of_a_batch_that_is_out_no_more_are_ignored():
    one = step(4)
    numbers = one.take(1)
    one.put_back(1, list(numbers))
    assert returned(one, 1, numbers) == ([], [])
    assert (one.done, one.left) == (0, 4)


def test_what_is_put_back_goes_out_first():
    one = step(9, slots=3)
    one.take(1)
    one.put_back(1, [1, 2])
    assert one.take(2) == [1, 2]
    assert one.take(3) == range(3, 6)


def test_items_known_before_are_not_handed_out():
    one = step(5, known={0: 0, 3: 6})
    assert one.done == 2
    handed = [number for batch in range(5) for number in one.take(batch)]
    assert handed == [1, 2, 4]
    assert one.values == [0, None, None, 6, None]


def test_a_step_whose_items_are_all_known_has_ended():
    one = step(2, known={0: 0, 1: 2})
    assert one.ended
    assert one.take(1) == ()


def test_results_of_a_whole_step_in_another_order_find_their_places():
    one = step(4, slots=1, order=[2, 0, 3, 1])
    returned(one, 1, one.take(1))
    assert one.values == [0, 2, 4, 6]


def test_an_item_that_fails_for_good_ends_the_step():
    one = step(4)
    numbers = one.take(1)
    assert returned(one, 1, numbers, failing=[1]) == ([], [1])
    assert one.ended
    assert one.fault == (1, FAULT)
    assert one.take(2) == ()


def test_of_many_failures_the_first_to_arrive_is_told():
    one = step(4, slots=1)
    numbers = one.take(1)
    returned(one, 1, [2], failing=[2])
    returned(one, 1, [0], failing=[0])
    assert numbers == range(4)
    assert one.fault[0] == 2


def test_retries_are_counted_by_item():
    one = step(2, slots=1, retries=1)
    assert returned(one, 1, one.take(1), failing=[0]) == ([0], [])
    assert (one.done, one.left) == (1, 1)
    assert returned(one, 2, one.take(2), failing=[0]) == ([], [0])


def test_skipped_items_are_done_and_null():
    one = step(3, slots=1, skip_failed=True)
    returned(one, 1, one.take(1), failing=[0, 2])
    assert one.ended
    assert (one.fault, one.failed, one.values) == (None, 2, [None, 2, None])


def test_one_at_a_time_waits_for_the_batch_that_is_out():
    one = step(4, one_at_a_time=True)
    numbers = one.take(1)
    assert one.take(2) == ()
    returned(one, 1, numbers)
    assert len(one.take(3)) == 2


def test_activities_that_run_once_go_one_by_one():
    one = step(3, slots=1, once=True)
    assert [list(one.take(batch)) for batch in range(4)] == [[0], [1], [2], []]


@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_every_item_gets_its_value(seed):
    """Batches come back in parts and out of order, fail, are put back: at the end each item has its own value."""
    rng = random.Random(seed)
    order = rng.sample(range(60), 60) if rng.random() < 0.5 else None
    known = {number: number * 2 for number in rng.sample(range(60), rng.randrange(20))} if rng.random() < 0.5 else None
    strategy = rng.choice(["Adaptive", "Queued", "Balanced"])
    one = step(60, slots=3, order=order, known=known, strategy=strategy, retries=100)
    out: dict[int, list[int]] = {}
    batch = 0
    while not one.ended:
        one.check()
        choice = rng.random()
        if choice < 0.4 or not out:
            batch += 1
            numbers = list(one.take(batch))
            if numbers:
                out[batch] = numbers
            continue
        at = rng.choice(list(out))
        count = rng.randint(1, len(out[at]))
        part, out[at] = out[at][:count], out[at][count:]
        if choice < 0.5:
            one.put_back(at, part)
        else:
            returned(one, at, part, failing=[number for number in part if rng.random() < 0.2])
        if not out[at]:
            del out[at]
    assert one.values == [number * 2 for number in range(60)]
