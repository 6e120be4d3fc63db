"""The journal only grows, and copies of it merge to the same, in whatever order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshwit.lang.control import Failure
from meshwit.peer.job.journal import Journal, Known

PATHS = [(1, 1), (1, 2), (2, 1, 0), (2, 1, 1)]
ITEMS = 4


def truth(path: tuple[int, ...]) -> Known:
    """Activities are functions of their arguments: there is one answer to a wish, and some of them are failures."""
    return Known(failure=Failure("no")) if path == (1, 2) else Known([(path, item) for item in range(ITEMS)])


@st.composite
def journals(draw) -> Journal:
    """What some peer knows of a job: some results of items, some answers."""
    journal = Journal()
    for path in draw(st.lists(st.sampled_from(PATHS), unique=True)):
        numbers = draw(st.lists(st.integers(0, ITEMS - 1), unique=True))
        journal.record_items(path, numbers, [(path, number) for number in numbers])
        if draw(st.booleans()):
            journal.record(path, truth(path))
    return journal


def contents(journal: Journal) -> tuple[object, object]:
    """All that a journal tells."""
    return {path: journal.answer(path) for path in PATHS}, {path: journal.items(path) for path in PATHS}


def merged(*parts: Journal) -> Journal:
    journal = Journal()
    for part in parts:
        journal.merge(part)
    return journal


@given(journals(), journals())
def test_merging_is_commutative(a, b):
    assert contents(merged(a, b)) == contents(merged(b, a))


@given(journals(), journals(), journals())
def test_merging_is_associative(a, b, c):
    assert contents(merged(merged(a, b), c)) == contents(merged(a, merged(b, c)))


@given(journals(), journals())
def test_merging_is_idempotent(a, b):
    once = merged(a, b)
    assert contents(merged(once, b)) == contents(merged(once, once)) == contents(once)


@given(journals(), journals())
def test_merging_loses_nothing(a, b):
    """What either knew the merged one knows: as an item, or in the answer of the whole step."""
    both = merged(a, b)
    for path in PATHS:
        answer = both.answer(path)
        for part in (a, b):
            assert part.answer(path) in (None, answer)
            for number, value in part.items(path).items():
                complete = answer.value if answer is not None else None
                assert (complete[number] if complete else both.items(path)[number]) == value


@given(journals(), journals())
def test_the_other_copy_stays_as_it_is(a, b):
    before = contents(b)
    a.merge(b)
    for path in PATHS:
        a.record_items(path, [0], ["changed"])
    assert contents(b) == before


def test_the_first_answer_stands():
    """Where two leaders computed the same, the one that leads on keeps what it has built upon."""
    journal, other = Journal(), Journal()
    journal.record((1, 1), Known(1))
    other.record((1, 1), Known(2))
    journal.record((1, 1), Known(3))
    journal.merge(other)
    assert journal.answer((1, 1)) == Known(1)
    journal.record_items((2, 1), [0], ["first"])
    journal.record_items((2, 1), [0, 1], ["second", "second"])
    assert journal.items((2, 1)) == {0: "first", 1: "second"}


def test_items_go_when_their_step_is_answered_and_stay_when_it_failed():
    """Partial results stay readable."""
    journal = Journal()
    journal.record_items((1, 1), [0], [5])
    journal.record_items((1, 2), [0], [6])
    assert journal.unfinished() == {(1, 1): {0: 5}, (1, 2): {0: 6}}
    journal.record((1, 1), Known([5, 6]))
    journal.record((1, 2), Known(failure=Failure("no")))
    assert journal.unfinished() == {(1, 2): {0: 6}}


def test_an_answer_of_null_is_an_answer():
    journal = Journal()
    journal.record((1, 1), Known(None))
    assert journal.answer((1, 1)) == Known(None)
    assert journal.answer((1, 2)) is None


def test_items_that_arrive_after_the_answer_do_not_come_back():
    """A copy that was behind sends what it had: the step is done."""
    journal = Journal()
    journal.record((1, 1), Known([5]))
    journal.record_items((1, 1), [0], [5])
    assert journal.items((1, 1)) == {}
