"""The estimate of what is left: the range holds the truth nine times in ten, and narrows as tasks end."""

from __future__ import annotations

import heapq
import random
import statistics

import pytest

from meshwit.peer.job.estimate import Remaining


def seen(*seconds: float) -> Remaining:
    remaining = Remaining()
    for one in seconds:
        remaining.add(one)
    return remaining


def takes(lengths: list[float], slots: int) -> float:
    """How long a queue of tasks takes in truth."""
    free = [0.0] * slots
    for length in lengths:
        heapq.heappush(free, heapq.heappop(free) + length)
    return max(free)


def test_one_task_tells_nothing_about_the_spread():
    assert Remaining().estimate(10, 2) is None
    assert seen(1.0).estimate(10, 2) is None
    assert seen(1.0, 1.0).estimate(10, 2) is not None


def test_equal_tasks_leave_no_doubt_but_for_the_end():
    likely, low, high = seen(2.0, 2.0, 2.0).estimate(12, 4)
    assert low == pytest.approx(6.0)
    assert low <= likely <= high <= 6.0 + 2.0


def test_nothing_left_takes_no_time():
    assert seen(1.0, 3.0).estimate(0, 4) == (0.0, 0.0, 0.0)


def test_twice_the_slots_take_half_as_long():
    remaining = seen(*[0.9, 1.1] * 20)
    assert remaining.estimate(1000, 8)[0] == pytest.approx(remaining.estimate(1000, 4)[0] / 2, rel=0.01)


def test_running_mean_and_spread_are_those_of_the_sample():
    values = [random.Random(1).uniform(0, 5) for _ in range(50)]
    remaining = seen(*values)
    assert (remaining.count, remaining.mean_s) == (50, pytest.approx(statistics.fmean(values)))
    _, low, _ = remaining.estimate(10_000, 1)
    spread = 1.645 * statistics.stdev(values) * (10_000 + 10_000**2 / 50) ** 0.5
    assert low == pytest.approx(10_000 * statistics.fmean(values) - spread)


def test_more_tasks_seen_make_a_narrower_range():
    rng = random.Random(2)
    lengths = [rng.uniform(0.5, 1.5) for _ in range(1000)]
    widths = []
    for count in (5, 50, 500):
        _, low, high = seen(*lengths[:count]).estimate(500, 4)
        widths.append(high - low)
    assert widths[0] > widths[1] > widths[2]


def test_a_range_never_promises_less_than_no_time():
    _, low, _ = seen(0.001, 10.0).estimate(1, 1)
    assert low == 0.0


@pytest.mark.parametrize(("slots", "sigma"), [(1, 0.3), (4, 0.3), (4, 1.0), (16, 0.5)])
def test_the_range_holds_the_truth_nine_times_in_ten(slots, sigma):
    """Four hundred steps of lognormal tasks, each judged after a third of it."""
    rng = random.Random(4)
    held = 0
    for _ in range(400):
        lengths = [rng.lognormvariate(0, sigma) for _ in range(150)]
        _, low, high = seen(*lengths[:50]).estimate(100, slots)
        held += low <= takes(lengths[50:], slots) <= high
    assert held / 400 >= 0.85
