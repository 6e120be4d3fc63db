"""How batches are sized, and what that costs: simulated in virtual time on slots that prefetch one batch each."""

from __future__ import annotations

import heapq
import random
from collections import deque
from dataclasses import dataclass, field

import pytest

from meshwit.peer.sched.sizing import BATCH_ITEMS_MAX, TARGET_S, BatchSizer

MESSAGE_S = 0.0002
"""What a batch costs besides its tasks."""


@dataclass
class Simulated:
    """A step that ran: the batches as (items, seconds of work), and how long it took."""

    batches: list[tuple[int, float]] = field(default_factory=list)
    makespan_s: float = 0.0


def simulate(
    lengths: list[float], slots: int, strategy: str = "Adaptive", speeds: list[float] | None = None
) -> Simulated:
    """Runs tasks of these lengths: batches wait in one queue, as many as there are slots, and go to whoever is idle."""
    sizer = BatchSizer(strategy, slots, len(lengths))
    speeds = speeds or [1.0] * slots
    result, waiting, given = Simulated(), deque(), 0
    idle = list(range(slots))
    running: list[tuple[float, int, int, float]] = []
    now = 0.0
    while True:
        while given < len(lengths) and len(waiting) + len(running) < 2 * slots:
            size = sizer.size(len(lengths) - given)
            assert 1 <= size <= len(lengths) - given
            work = sum(lengths[given : given + size])
            waiting.append((size, work))
            result.batches.append((size, work))
            given += size
            while idle and waiting:
                slot, (count, seconds) = idle.pop(), waiting.popleft()
                took = seconds / speeds[slot]
                heapq.heappush(running, (now + took + MESSAGE_S, slot, count, took))
        while idle and waiting:
            slot, (count, seconds) = idle.pop(), waiting.popleft()
            took = seconds / speeds[slot]
            heapq.heappush(running, (now + took + MESSAGE_S, slot, count, took))
        if not running:
            result.makespan_s = now
            return result
        now, slot, count, took = heapq.heappop(running)
        sizer.observe(took, count)
        idle.append(slot)


def over_ideal(
    lengths: list[float], slots: int, strategy: str = "Adaptive", speeds: list[float] | None = None
) -> float:
    """Makespan over that of work that can be cut at will."""
    ideal = sum(lengths) / sum(speeds or [1.0] * slots)
    return simulate(lengths, slots, strategy, speeds).makespan_s / max(ideal, max(lengths))


def lognormal(count: int, mean_s: float, sigma: float, seed: int) -> list[float]:
    rng = random.Random(seed)
    return [mean_s * rng.lognormvariate(-sigma * sigma / 2, sigma) for _ in range(count)]


@pytest.mark.parametrize("length_s", [0.001, 0.005, 0.02, 0.1, 1.0])
def test_equal_tasks_keep_all_slots_busy_to_the_end(length_s):
    assert over_ideal([length_s] * 1000, 4) <= 1.02


@pytest.mark.parametrize("length_s", [0.002, 0.01, 0.05, 0.5])
@pytest.mark.parametrize("seed", range(5))
def test_tasks_of_very_unequal_length_too(length_s, seed):
    assert over_ideal(lognormal(1000, length_s, 1.0, seed), 4) <= 1.05


@pytest.mark.parametrize("seed", range(5))
def test_and_on_slots_of_unequal_speed(seed):
    """One of four runs at a third of the speed."""
    assert over_ideal(lognormal(1000, 0.02, 0.5, seed), 4, speeds=[1.0, 1.0, 1.0, 0.33]) <= 1.05


def test_lengths_that_grow_or_shrink_while_it_runs():
    growing = [0.001 + 0.00004 * number for number in range(1000)]
    assert over_ideal(growing, 4) <= 1.05
    assert over_ideal(growing[::-1], 4) <= 1.05


def test_a_batch_holds_some_fifty_milliseconds():
    """Once the length is known a message carries as much as it may, no more: that much cannot be corrected."""
    batches = simulate([0.0001] * 100_000, 4).batches
    assert max(work for _, work in batches) == pytest.approx(TARGET_S, rel=0.1)
    assert len(batches) < 100_000 * 0.0001 / TARGET_S * 2 + 60
    assert all(work <= TARGET_S * 1.5 for _, work in simulate(lognormal(5000, 0.002, 0.3, 1), 4).batches)


def test_tiny_tasks_stay_within_the_limit_of_a_message():
    batches = simulate([1e-7] * 100_000, 4).batches
    assert max(size for size, _ in batches) <= BATCH_ITEMS_MAX
    assert len(batches) < 150


def test_it_starts_with_single_tasks_to_learn_their_length():
    """A first batch of many long tasks would hold one slot while the others are done."""
    sizer = BatchSizer("Adaptive", 4, 1000)
    assert [sizer.size(1000 - given) for given in range(8)] == [1] * 8
    sizer.observe(0.0001, 1)
    assert 1 < sizer.size(992) <= 32


def test_batches_shrink_to_one_task_at_the_end():
    sizes = [size for size, _ in simulate([0.005] * 1000, 4).batches]
    assert sizes[-8:] == [1] * 8
    assert max(sizes) > 5


def test_tasks_longer_than_a_batch_go_one_by_one():
    sizes = {size for size, _ in simulate([0.2] * 100, 4).batches}
    assert sizes == {1}


def test_balanced_gives_each_slot_its_share_at_once():
    sizer = BatchSizer("Balanced", 4, 1000)
    assert sizer.size(1000) == 250
    sizer.observe(10.0, 1)
    assert sizer.size(750) == 250
    assert BatchSizer("Balanced", 4, 10).size(1) == 1
    assert BatchSizer("Balanced", 1, 10**6).size(10**6) == BATCH_ITEMS_MAX


def test_queued_gives_batches_of_equal_length():
    """Half-size batches toward the end are for Adaptive."""
    sizer = BatchSizer("Queued", 4, 1000)
    sizer.observe(0.1, 100)
    assert [sizer.size(left) for left in (900, 500, 200)] == [50, 50, 50]
    assert sizer.size(3) == 1


def test_a_recent_task_weighs_more_than_an_old_one():
    sizer = BatchSizer("Queued", 4, 100_000)
    for _ in range(100):
        sizer.observe(0.001, 1)
    before = sizer.size(90_000)
    for _ in range(20):
        sizer.observe(0.010, 1)
    assert sizer.size(90_000) < before / 4


def test_no_measure_changes_nothing():
    sizer = BatchSizer("Adaptive", 4, 100)
    sizer.observe(0.0, 0)
    assert sizer.size(100) == 1
    sizer.observe(0.0, 3)
    assert 1 <= sizer.size(100) <= 12
