"""The journal: what was first noted stands, a step that ended needs its items no more, doubts are not forgotten."""

from __future__ import annotations

from meshwit.lang.control import Failure
from meshwit.peer.job.journal import Journal, Known


def test_the_first_answer_stands():
    """Where two leaders computed the same, the one that leads on keeps what it has built upon."""
    journal = Journal()
    journal.record((1, 1), Known(1))
    journal.record((1, 1), Known(3))
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


def test_a_step_that_was_concluded_is_answered_with_its_items():
    journal = Journal()
    journal.record_items((1, 1), [2, 0, 9], ["c", "a", "beyond"])
    assert (journal.conclusion((1, 1), 3), journal.settled((1, 1))) == (None, False)
    journal.conclude((1, 1))
    journal.conclude((1, 2), Failure("no"))
    assert journal.conclusion((1, 1), 3) == Known(["a", None, "c"])
    assert journal.conclusion((1, 2), 3) == Known(failure=Failure("no"))
    assert journal.settled((1, 1)) and journal.settled((1, 2))


def test_the_first_end_of_a_wait_stands():
    journal = Journal()
    journal.sleep((1, 1), 5.0)
    journal.sleep((1, 1), 6.0)
    assert (journal.until((1, 1)), journal.until((1, 2))) == (5.0, None)


def test_an_intent_without_a_result_is_a_doubt_until_it_is_decided():
    journal = Journal()
    journal.intend((1, 1), [0, 1, 2, 3], "den")
    journal.intend((1, 1), [3], "attic")
    journal.record_items((1, 1), [1], ["done"])
    assert journal.doubtful((1, 1)) == {0: "den", 2: "den", 3: "attic"}
    assert journal.undecided() == [((1, 1), [0, 2], "den"), ((1, 1), [3], "attic")]
    journal.decide((1, 1), [0], again=True)
    journal.decide((1, 1), [2], again=False)
    assert (journal.doubtful((1, 1)), journal.skipped((1, 1))) == ({3: "attic"}, [2])


def test_a_decision_holds_for_what_was_intended_before_it():
    journal = Journal()
    journal.intend((1, 1), [0], "den")
    journal.decide((1, 1), [0], again=True)
    journal.intend((1, 1), [0], "attic")
    assert journal.doubtful((1, 1)) == {0: "attic"}


def test_nothing_is_in_doubt_of_a_wish_that_has_its_answer():
    journal = Journal()
    journal.intend((1, 1), [0], "den")
    journal.intend((1, 2), [0], "den")
    journal.record((1, 1), Known(5))
    journal.conclude((1, 2), Failure("no"))
    assert journal.undecided() == []
