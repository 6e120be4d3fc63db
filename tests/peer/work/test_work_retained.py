"""What a peer keeps of results: until they are durable or their job is over, and never more than fits."""

from __future__ import annotations

import array

from hypothesis import given, settings
from hypothesis import strategies as st

from meshwit.peer.exec.messages import TaskFailure
from meshwit.peer.work.messages import Done, span
from meshwit.peer.work.retained import Retained, owned

STEP, OTHER = ("job", (1, 2)), ("job", (3,))


def done(*items: int, header: bytes = b"values", failed: bool = False) -> Done:
    failures = {items[0]: TaskFailure("raised", "ValueError", "no")} if failed else {}
    return Done(0, span(items), header, b"", failures=failures)


def items_of(kept: Retained, job: str = "job") -> list[list[int]]:
    return [list(each.done.items.numbers) for each in kept.of(job)]


def test_results_are_kept_by_step_in_their_order():
    kept = Retained()
    kept.add(STEP, (1, 1), done(0), [])
    kept.add(OTHER, (2, 1), done(7), [])
    kept.add(STEP, (1, 2), done(1, 2), [])
    kept.add(("another", ()), (3, 1), done(9), [])
    assert items_of(kept) == [[0], [1, 2], [7]]
    assert [list(each.done.items.numbers) for each in kept.since(STEP, 1)] == [[1, 2]]
    kept.check()


def test_what_is_durable_is_kept_no_longer_and_what_came_after_is():
    kept = Retained()
    for number in (1, 2, 3):
        kept.add(STEP, (5, number), done(number), [])
    kept.durable(STEP, (5, 2))
    assert items_of(kept) == [[3]]
    kept.durable(STEP, (5, 99))
    assert items_of(kept) == []
    kept.add(STEP, (5, 4), done(4), [])
    assert items_of(kept) == [[4]], "what was durable beyond what had been sent says nothing of what comes"


def test_a_later_opening_of_a_step_settles_the_earlier_and_not_the_other_way_round():
    kept = Retained()
    kept.add(STEP, (5, 7), done(0), [])
    kept.add(STEP, (8, 1), done(1), [])
    kept.durable(STEP, (4, 2**62))
    assert items_of(kept) == [[0], [1]]
    kept.durable(STEP, (8, 1))
    assert items_of(kept) == []


def test_what_is_durable_of_unknown_steps_does_nothing():
    kept = Retained()
    kept.add(STEP, (1, 1), done(0), [])
    kept.durable(("job", (9,)), (1, 9))
    kept.durable(("nobody's", ()), (1, 9))
    kept.forget("nobody's")
    kept.forget_step(("nobody's", ()))
    assert items_of(kept) == [[0]]


def test_a_job_that_is_over_leaves_nothing():
    kept = Retained()
    kept.add(STEP, (1, 1), done(0), [b"x" * 1000])
    kept.add(OTHER, (2, 1), done(1), [])
    kept.forget("job")
    assert items_of(kept) == []
    assert kept.bytes == 0
    kept.check()


def test_a_result_with_failures_is_not_kept():
    kept = Retained()
    kept.add(STEP, (1, 1), done(0, 1, failed=True), [])
    assert items_of(kept) == []


def test_the_oldest_goes_first():
    kept = Retained(bytes_max=100_000)
    for number in range(10):
        kept.add((f"job {number % 2}", (number,)), (number, 1), done(number), [b"x" * 30_000])
        kept.check()
    assert items_of(kept, "job 0") == [[8]]
    assert items_of(kept, "job 1") == [[7], [9]]


def test_what_is_larger_than_all_that_fits_drives_nothing_else_out():
    kept = Retained(bytes_max=100_000)
    kept.add(STEP, (1, 1), done(0), [])
    kept.add(STEP, (1, 2), done(1, header=b"x" * 200_000), [])
    kept.add(STEP, (1, 3), done(2), [b"x" * 200_000])
    assert items_of(kept) == [[0]]


def test_small_results_and_long_names_count_too():
    """Else a peer that names everything at length fills the memory without ever coming to the bound."""
    kept = Retained(bytes_max=100_000)
    for number in range(500):
        kept.add(("j" * 200, tuple(range(500))), (1, number), done(number), [])
    assert 0 < len(kept.of("j" * 200)) < 10


def test_a_view_of_memory_of_others_is_copied_and_memory_of_its_own_is_not():
    """Shared memory is short: a result that is kept must not keep it."""
    whole = b"x" * 100
    view = memoryview(whole)[10:20]
    assert owned(whole) is whole
    assert owned(view) is view
    shared = array.array("d", [1.0, 2.0])
    copied = owned(memoryview(shared).cast("B"))
    shared[0] = 5.0
    assert array.array("d", copied).tolist() == [1.0, 2.0]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 3), st.integers(0, 40_000)),
            st.tuples(st.just("durable"), st.integers(0, 3), st.integers(0, 20)),
            st.tuples(st.just("forget"), st.integers(0, 1), st.just(0)),
            st.tuples(st.just("step"), st.integers(0, 3), st.just(0)),
        ),
        max_size=40,
    )
)
def test_the_books_are_right_whatever_happens(happened):
    kept = Retained(bytes_max=100_000)
    for number, (what, which, much) in enumerate(happened):
        key = (f"job {which % 2}", (which,))
        match what:
            case "add":
                kept.add(key, (1, number), done(number), [bytes(much)])
            case "durable":
                kept.durable(key, (1, much))
                assert all(each.mark > (1, much) for each in kept.since(key, -1))
            case "forget":
                kept.forget(f"job {which}")
                assert kept.of(f"job {which}") == []
            case "step":
                kept.forget_step(key)
        kept.check()
