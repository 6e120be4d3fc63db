"""What must not run twice: it goes nowhere before that is recorded, and what may have run is asked about."""

from __future__ import annotations

from typing import Any

import pytest
from leading import grid
from reigns import DEN, Reign, journal_of, lab

from meshwit import events
from meshwit.peer.job.effects import KeepAnswer, KeepResults

SENDS = grid(3, "Lab.Send(x)")


def test_nothing_goes_to_a_peer_before_it_is_recorded_that_it_will():
    reign = Reign(lab(SENDS)).starts()
    assert reign.sent == []
    assert {(each.peer, tuple(each.numbers)) for each in reign.intents} == {
        (each.peer, tuple(each.numbers)) for each in reign.kept
    }  # fmt: skip
    reign.durable()
    assert sorted(number for each in reign.sent for number in each.numbers) == [0, 1, 2]
    assert reign.ends().ending()[1] == {"ys": [0, 1, 2]}


def test_what_was_not_sent_when_its_peer_left_goes_elsewhere():
    reign = Reign(lab(SENDS)).starts()
    gone = {number for each in reign.intents if each.peer == DEN for number in each.numbers}
    assert gone
    reign.loses("den")
    reign.durable()
    assert {each.peer for each in reign.sent} == {"here"}
    assert reign.ends().ending()[:2] == ("completed", {"ys": [0, 1, 2]})


def test_nothing_is_sent_of_a_step_that_is_over_or_to_a_peer_that_paused_meanwhile():
    reign = Reign(lab(SENDS)).starts()
    intents = list(reign.intents)
    reign.hears(reign.leader.pause(0.0))
    reign.durable()
    assert reign.sent == []
    reign.hears(reign.leader.resume(0.0))
    reign.durable()
    assert sorted(number for each in reign.sent for number in each.numbers) == [0, 1, 2]
    reign.hears(reign.leader.cancel(0.0))
    for each in intents:
        assert reign.leader.intended(each.step, each.peer, each.numbers, 0.0) == []


def test_a_slow_disk_is_no_silent_peer():
    reign = Reign(lab(SENDS)).starts()
    for _ in range(100):
        reign.now += 0.1
        reign.hears(reign.leader.tick(reign.now))
    reign.durable()
    assert reign.ends().ending()[0] == "completed"


def held_job(body: str = SENDS, **more: Any) -> tuple[Reign, Reign]:
    """A leader dies with den, that had begun; another takes over."""
    first = Reign(lab(body), others=["den", "attic"]).starts()
    first.durable()
    return first, first.follows("attic", **more).starts()


def test_what_may_have_run_is_asked_about():
    first, after = held_job("Int:n = Lab.Double(1);" + SENDS, id="cafe")
    assert after.leader.state.value == "running", "the script has not come so far"
    first.finishes(*first.could()[0])
    first.durable()
    after = first.follows("attic", id="cafe").starts()
    assert after.over
    assert after.ending()[0] == "held"
    message = after.leader.failure.message
    assert "`Lab.Send`" in message and "`meshwit resume cafe --again`" in message and "--skip`" in message
    asked = {(number, who) for _, numbers, who in after.leader.questions for number in numbers}
    assert asked == {(number, each.peer) for each in first.sent[1:] for number in each.numbers}
    assert isinstance(after.told[-1], events.JobHeld)
    assert (after.sent, after.kept) == ([], [])
    assert sorted(after.leader.questions) == sorted(journal_of(after.view).undecided())


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("skips", [True, False])
def test_what_was_decided_is_done(again, skips):
    body = grid(3, "Lab.Send(x)", **({"OnError": '"Skip"'} if skips else {}))
    _, after = held_job(body)
    journal = journal_of(after.view)
    for path, numbers, _ in after.leader.questions:
        journal.decide(path, numbers, again=again)
    third = Reign(lab(body), home="attic", others=[], journal=journal).starts().ends()
    state, variables, _, message = third.ending()
    if again:
        assert (state, variables) == ("completed", {"ys": [0, 1, 2]})
    elif skips:
        assert (state, variables, third.sent) == ("completed", {"ys": [None] * 3}, [])
        assert len(third.told_of(events.ItemFailed)) == 3
    else:
        assert state == "failed" and "decided not to run it again" in message and third.sent == []


@pytest.mark.parametrize("again", [True, False])
def test_a_call_that_may_have_run_is_asked_about_and_decided(again):
    body = 'String:s = ""; Int:n = 0; Try { n = Lab.Send(5); } Catch(String:e) { s = e; }'
    _, after = held_job(body)
    assert (after.ending()[0], after.leader.failure.item) == ("held", None)
    ((path, numbers, who),) = after.leader.questions
    assert (numbers, who) == ([0], "here")
    journal = journal_of(after.view)
    journal.decide(path, [0], again=again)
    third = Reign(lab(body), home="attic", others=[], journal=journal).starts().ends()
    assert third.ending()[1]["n"] == (5 if again else 0)
    assert ("decided" in third.ending()[1]["s"]) is not again


def test_what_runs_again_and_is_lost_again_is_asked_about_again():
    _, after = held_job()
    journal = journal_of(after.view)
    for path, numbers, _ in after.leader.questions:
        journal.decide(path, numbers, again=True)
    third = Reign(lab(SENDS), home="attic", others=[], journal=journal).starts()
    assert third.kept
    for each in third.kept:
        journal.intend(each.path, each.numbers, each.peer)
    assert Reign(lab(SENDS), journal=journal).starts().ending()[0] == "held"


def test_nothing_is_asked_about_that_has_a_result_or_is_still_at_work():
    first = Reign(lab(SENDS), others=["den", "attic"]).starts()
    first.durable()
    for who, step, batch, number in first.could():
        if who != "den":
            first.finishes(who, step, batch, number)
    held = {number for who, _, _, number in first.could() if who == "den"}
    assert held
    after = first.follows("attic", cut=3)
    for each in first.kept[3:]:
        if isinstance(each, KeepResults):
            after.hears(after.leader.learned(each.path, each.numbers, each.values, 0.0))
    first.tells(after)
    after.starts()
    assert (after.ending()[0], after.leader.questions) == ("running", [])
    assert not held & {number for each in after.sent for number in each.numbers}
    assert after.ends().ending()[:2] == ("completed", {"ys": [0, 1, 2]})


def test_other_work_is_cancelled_when_a_question_comes_up():
    body = "Parallel.Invoke { Trace(Lab.Double(1)); Do(); }"
    jobs = "Job:Do() { Int:k = Lab.Double(9); Int:m = Lab.Send(k); }"
    first = Reign(lab(body, jobs), home="here", others=["den"]).starts()
    while not first.intents:
        first.finishes(*next(each for each in reversed(first.could())))
    first.durable()
    kept = [each for each in first.kept if not isinstance(each, KeepAnswer)]
    after = Reign(lab(body, jobs), home="den", others=[], view=kept).starts()
    while not after.over:
        after.finishes(*after.could()[-1])
    assert after.ending()[0] == "held"
    assert [each.cancel for each in after.ended][-1]
    assert after.work == {}


def test_what_works_on_files_of_another_device_waits_for_that_one():
    body = "Int:a = Lab.Double(4); Int:t = Lab.Read(a);"
    first = Reign(lab(body)).starts()
    first.finishes(*first.could()[0])
    away = Reign(lab(body), journal=journal_of(first.kept), id="a1b2", away="rig").starts()
    assert away.leader.state.value == "held"
    assert away.leader.questions == []
    assert away.leader.failure is not None
    assert away.leader.failure.message == (
        "`Lab.Read` works on files of rig, where the job was submitted: it goes on there, with `meshwit resume a1b2`"
    )


def test_the_result_of_a_call_that_a_worker_kept_is_its_answer():
    """Also of one that must not run twice, and also where it comes before the script has come to the call."""
    body = "Int:a = Lab.Send(7);"
    first = Reign(lab(body)).starts()
    first.durable()
    [intent] = [each for each in first.kept if type(each).__name__ == "KeepIntent"]
    later = Reign(lab(body), journal=journal_of(first.kept))
    later.hears(later.leader.learned(intent.path, [0], [7], 0.0))
    assert later.starts().ending()[:2] == ("completed", {"a": 7})
