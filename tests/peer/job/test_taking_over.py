"""Another leader goes on with a job: nothing recorded is computed again, and the job comes to the same."""

from __future__ import annotations

import random

import pytest
from leading import OFFER as LAB
from leading import LedJob, grid, peer
from reigns import DEN, Reign, checked, lab, succession

from meshwit import events
from meshwit.ids import PeerId
from meshwit.lang.control import Failure
from meshwit.peer.job.effects import KeepAnswer, KeepConcluded, KeepResults, KeepSleep
from meshwit.peer.job.journal import Journal, Known
from meshwit.peer.work.messages import HeldBatch, Span
from tests.lang.machine import OFFER as WORK
from tests.lang.machine import Machine, compiled
from tests.lang.random_scripts import random_script


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_random_jobs_come_to_the_same_whoever_leads_them(first):
    """Loops, parallel blocks, grids over calls of jobs, failures held and not: three takeovers at any point."""
    for seed in range(first, first + 10):
        text = random_script(seed)
        arguments = random.Random(seed).choices(range(97), k=2)
        program = compiled(text)
        expected = tuple(Machine(program, *arguments).run())
        for order in range(2):
            reign = succession(program, arguments, WORK, random.Random(order), 4)
            assert reign.ending() == expected, f"seed {seed}, order {order}\n{text}"
            checked(reign)


CHANCE = """
    Guid:g = NewGuid(); String:when = "" + DateTime.Now(); Int:n = 0;
    Timer(100, 400) { n = n + Lab.Double(1); }
    Array:ys = Grid.ForEach(x in Int.Range(0, 5)) => Inner(x);
    Try { n = n + Lab.Double(21); Trace("no", true); } Catch(String:e) { n = n + 1; }
    IntCollection:zs = Grid.ForEach(x in Int.Range(0, 40)) => Lab.Double(x + n);
    Parallel.ForEach(k in Int.Range(0, 3)) { Pause(50); Trace(NewGuid()); }
"""
INNER = """
Job:Inner(Int:a)
{
    IntCollection:inner = Grid.ForEach(x in Int.Range(0, a)) => Lab.Double(x + a);
    Return(inner, NewGuid());
}
"""


@pytest.mark.parametrize("seed", range(12))
def test_chance_time_and_jobs_of_jobs_come_to_the_same(seed):
    program = lab(CHANCE.replace('String:when = "" + DateTime.Now(); ', ""), INNER)
    expected = Reign(program).starts().ends().ending()
    assert expected[0] == "completed"
    reign = succession(program, [], LAB, random.Random(seed), 4)
    assert reign.ending() == expected
    checked(reign)


def test_the_time_that_was_read_stays():
    program = lab('String:when = "" + DateTime.Now(); Int:n = Lab.Double(1);')
    first = Reign(program).starts()
    after = first.follows("den").starts()
    assert after.asked_inline == []
    assert after.ends().ending()[1] == first.ends().ending()[1]


# --- what is kept ------------------------------------------------------------------------------------------------


def test_a_leader_that_does_not_keep_asks_for_no_record():
    job = LedJob("Int:n = Lab.Double(1); Pause(5); " + grid(3))
    job.works().sleeps_on().works()
    assert (job.state, job.leader.keeping.answers) == ("completed", 0)


def test_results_come_before_the_conclusion_that_rests_on_them_and_each_says_what_was_known():
    reign = Reign(lab("Int:n = Lab.Double(1);" + grid(3) + "Int:m = Lab.Double(2);")).starts().ends()
    kinds = [type(each).__name__ for each in reign.kept]
    assert kinds == ["KeepAnswer", *["KeepResults"] * 3, "KeepConcluded", "KeepAnswer"]
    assert [each.since for each in reign.kept] == [0, 1, 1, 1, 1, 2]
    assert {each.peer for each in reign.kept if isinstance(each, KeepResults)} <= {"here", "den"}


def test_wishes_made_at_once_rest_on_the_same():
    body = "Parallel.Invoke { Trace(Lab.Double(1)); Trace(Lab.Double(2)); } Int:n = Lab.Double(3);"
    reign = Reign(lab(body)).starts().ends()
    assert [each.since for each in reign.kept] == [0, 0, 2]


def test_a_failed_step_is_concluded_with_its_failure_and_fails_again():
    program = lab(f"Try {{ {grid(3, 'Lab.Double(x / 0)')} }} Catch(String:e) {{ Int:n = Lab.Double(1); }}")
    first = Reign(program).starts()
    first.finishes(*first.could()[0])
    concluded = first.kept[-1]
    assert isinstance(concluded, KeepConcluded) and concluded.failure is not None
    after = first.follows("den").starts()
    assert [each.path for each in after.openings] != [concluded.path]
    assert after.ends().ending()[0] == "completed"


def test_a_step_that_nobody_can_run_is_answered_so():
    first = Reign(lab("Int:n = Lab.Read(1);"), others=[], home="here")
    first.leader._spreading.workers.clear()
    first.starts()
    (kept,) = first.kept
    assert isinstance(kept, KeepAnswer) and "no peer" in kept.known.failure.message


def test_items_skipped_stay_skipped():
    body = grid(3, "Lab.Double(6 / x)", OnError='"Skip"')
    first = Reign(lab(body)).starts()
    first.finishes(*next(each for each in first.could() if each[3] == 0))
    after = first.follows("den").starts().ends()
    assert after.ending()[1] == {"ys": [None, 12, 6]}
    assert 0 not in {number for _, number in after.ran}


# --- time --------------------------------------------------------------------------------------------------------


def test_a_wait_ends_when_it_was_to_end():
    first = Reign(lab("Pause(10000);"), now=5.0).starts()
    assert first.kept == [KeepSleep(first.kept[0].path, 0, 10.0)]
    after = first.follows("den", now=100.0).starts(4.0)
    assert after.leader.next_deadline() == 106.0
    assert after.kept == []
    after.passes(6.0)
    assert after.over
    assert [event.at for event in after.told_of(events.Completed)] == [10.0]


def test_a_wait_that_was_over_meanwhile_ends_at_once():
    after = Reign(lab("Pause(1000);")).starts().follows("den", now=50.0).starts(3.0)
    assert after.leader.next_deadline() <= 50.0
    after.passes(0.0)
    assert after.over


@pytest.mark.parametrize("until", [1e300, float("inf"), float("nan"), -1e300])
def test_no_record_makes_a_wait_longer_than_the_script_says(until):
    first = Reign(lab("Pause(1000);")).starts()
    (slept,) = first.kept
    journal = Journal()
    journal.sleep(slept.path, until)
    after = Reign(lab("Pause(1000);"), journal=journal).starts()
    assert after.leader.next_deadline() <= 1.0


def test_a_timer_keeps_its_rhythm():
    """The leader dies while the block runs; the next round is reckoned from the round before, not from the takeover."""
    first = Reign(lab("Int:n = 0; Timer(1000, 3000) { n = n + Lab.Double(1); }")).starts()
    first.passes(1.0)
    assert first.could()
    after = first.follows("den").starts(1.6)
    after.finishes(*after.could()[0])
    assert after.leader.next_deadline() == pytest.approx(0.4)  # 2.0 of the job
    after.passes(0.4)
    after.finishes(*after.could()[0])
    third = after.follows("attic", now=10.0, journal=None).starts(2.5)
    assert third.leader.next_deadline() == pytest.approx(10.5)


def test_the_clock_goes_on():
    after = Reign(lab('Trace("x");')).starts().follows("den", now=7.0).starts(30.0)
    assert {event.at for event in after.told} == {30.0}


# --- what comes from elsewhere -----------------------------------------------------------------------------------


def test_results_learned_before_the_step_begins_are_found_when_it_does():
    program = lab("Int:n = Lab.Double(1);" + grid(4))
    path = next(each.path for each in Reign(program).starts().ends().kept if isinstance(each, KeepResults))
    reign = Reign(program)
    reign.hears(reign.leader.learned(path, [1, 3, 99, -1], [20, 60, 0, 0], 0.0))
    assert (reign.kept, reign.openings) == ([], [])
    reign.starts().ends()
    first = next(each for each in reign.kept if isinstance(each, KeepResults))
    assert (list(first.numbers), list(first.values), first.peer, first.since) == ([1, 3], [20, 60], "", 1)
    assert reign.ending()[1] == {"n": 2, "ys": [0, 20, 4, 60]}
    assert {number for at, number in reign.ran if at == path} == {0, 2}


def test_results_learned_while_the_step_runs_are_dropped_where_they_run():
    reign = Reign(lab(grid(4))).starts()
    (who, step, batch, number), *_ = reign.could()
    path = reign.prepared[step].path
    reign.hears(reign.leader.begun(step, PeerId(who), [batch], 0.0))
    reign.hears(reign.leader.learned(path, [number, 77], [5, 0], 0.0))
    assert (reign.dropped[0].peer, list(reign.dropped[0].numbers)) == (who, [number])
    assert (list(reign.kept[0].numbers), reign.kept[0].peer) == ([number], "")
    reign.hears(reign.leader.results(step, PeerId(who), [number], [99], [0.1], {}, {}, 0, 0.0))
    assert reign.ends().ending()[1]["ys"][number] == 5
    assert reign.leader.explanations[1].failed == 0


def test_results_learned_that_were_missing_end_the_step():
    reign = Reign(lab(grid(3))).starts()
    path = reign.openings[0].path
    reign.hears(reign.leader.learned(path, range(3), [1, 2, 3], 0.0))
    assert reign.over
    assert reign.ending()[1] == {"ys": [1, 2, 3]}
    assert reign.kept[-1] == KeepConcluded(path, 0)
    assert reign.leader.learned(path, [0], [9], 0.0) == []


def test_results_learned_after_the_step_are_ignored():
    reign = Reign(lab(grid(2) + "Int:n = Lab.Double(1);")).starts()
    path = reign.openings[0].path
    while reign.openings[-1].path == path:
        reign.finishes(*reign.could()[0])
    before = len(reign.kept)
    reign.hears(reign.leader.learned(path, [0], [9], 0.0))
    assert len(reign.kept) == before
    assert reign.leader.variables()["ys"] == [0, 2]


def test_an_answer_learned_ends_a_call_that_runs():
    reign = Reign(lab("Int:n = Lab.Double(1);")).starts()
    path = reign.openings[0].path
    reign.hears(reign.leader.answer_learned(path, Known(7), 0.0))
    assert [each.cancel for each in reign.ended] == [True]
    assert reign.kept == [KeepAnswer(path, 0, Known(7))]
    assert reign.ending()[1] == {"n": 7}


def test_answers_learned_before_are_found_when_the_call_or_the_wait_begins():
    program = lab("Int:n = Lab.Double(1); Pause(60000); Int:m = Lab.Double(n);")
    paths = [each.path for each in Reign(program).starts().ends().kept if isinstance(each, KeepAnswer)]
    reign = Reign(program)
    for path, known in zip(paths, (Known(3), Known(), Known(failure=Failure("no"))), strict=True):
        reign.hears(reign.leader.answer_learned(path, known, 0.0))
    reign.starts()
    assert reign.ending()[3] == "no"
    assert (reign.ran, [each.since for each in reign.kept]) == ([], [0, 1, 2])


# --- what peers hold ---------------------------------------------------------------------------------------------


def takes_over_with_what_is_held(body: str, begun: bool = True) -> tuple[Reign, Reign]:
    first = Reign(lab(body), home="here", others=["den", "attic"]).starts()
    if begun:
        for who, step, batch, _ in first.could():
            if (who, step, batch) not in first.begun:
                first.begun.add((who, step, batch))
                first.hears(first.leader.begun(step, PeerId(who), [batch], 0.0))
    return first, first.follows("attic")


@pytest.mark.parametrize("strategy", ["Adaptive", "Queued", "Balanced"])
def test_what_peers_hold_they_keep(strategy):
    first, after = takes_over_with_what_is_held(grid(30, strategy=strategy))
    held = {number for who, _, _, number in first.could() if who == "den"}
    assert held
    first.tells(after)
    after.starts()
    opening = next(each for each in after.openings if each.peer == DEN)
    assert opening.adopted
    assert held <= {number for who, _, _, number in after.could() if who == "den"}
    given = [number for each in after.sent for number in each.numbers]
    assert not held & set(given)
    assert after.ends().ending()[1] == {"ys": [2 * number for number in range(30)]}


def test_what_is_held_of_a_call_stays_where_it_is():
    first, after = takes_over_with_what_is_held("Int:n = Lab.Double(4);")
    path = first.openings[0].path
    after.held["den", path, 9] = {0: None}
    after.hears(after.leader.held(DEN, path, [HeldBatch(9, Span(0, 1), True)], 0.0))
    after.starts()
    assert [(each.peer, [old for old, _ in each.adopted]) for each in after.openings] == [("den", [9])]
    assert after.sent == []
    after.loses("den")
    assert [each.peer for each in after.sent] == ["attic"]
    assert after.ends().ending()[1] == {"n": 8}


def test_an_item_that_two_peers_hold_stays_with_the_one_that_has_begun():
    program = lab(grid(6))
    path = Reign(program).starts().openings[0].path
    reign = Reign(program, others=["den", "attic"])
    for who, begun in (("attic", False), ("den", True)):
        reign.held[who, path, 5] = {0: 0, 1: 1}
        reign.hears(reign.leader.held(PeerId(who), path, [HeldBatch(5, Span(0, 2), begun)], 0.0))
    reign.starts()
    assert sum(number == 0 for *_, number in reign.could()) == 1
    assert {each.peer for each in reign.openings} >= {"den", "attic"}, "batches not adopted are dropped by an opening"
    assert reign.ends().ending()[1] == {"ys": [0, 2, 4, 6, 8, 10]}


def test_items_held_of_which_results_are_known_are_dropped_there():
    program = lab(grid(6))
    path = Reign(program).starts().openings[0].path
    reign = Reign(program)
    reign.held["den", path, 5] = {0: 0, 1: 1}
    reign.hears(reign.leader.held(DEN, path, [HeldBatch(5, Span(0, 2), False)], 0.0))
    reign.hears(reign.leader.learned(path, [0], [0], 0.0))
    reign.starts()
    assert [(each.peer, list(each.numbers)) for each in reign.dropped] == [("den", [0])]
    assert reign.ends().ending()[1] == {"ys": [0, 2, 4, 6, 8, 10]}


def test_what_is_held_of_a_step_that_runs_is_kept_if_it_still_waits():
    """A peer that comes late; one that has been given something is known already, and its claim is ignored."""
    reign = Reign(lab(grid(50, strategy="Queued")), others=[]).starts()
    path = reign.openings[0].path
    reign.hears(reign.leader.held(DEN, path, [HeldBatch(3, Span(40, 5), True)], 0.0))
    reign.held["den", path, 3] = {number: number for number in range(40, 45)}
    reign.hears(reign.leader.worker_joined(peer("den", 2), 0.0))
    assert [[old for old, _ in each.adopted] for each in reign.openings] == [[], [3]]
    before = len(reign.openings)
    reign.hears(reign.leader.held(DEN, path, [HeldBatch(4, Span(46, 1), True)], 0.0))
    assert len(reign.openings) == before
    assert reign.ends().ending()[1] == {"ys": [2 * number for number in range(50)]}


def paused(*, begun: bool) -> Reign:
    """Of a job that was paused, while a peer held two of its items."""
    program = lab(grid(6))
    path = Reign(program).starts().openings[0].path
    reign = Reign(program)
    reign.held["den", path, 5] = {0: 0, 1: 1}
    reign.hears(reign.leader.held(DEN, path, [HeldBatch(5, Span(0, 2), begun)], 0.0))
    reign.leader.begin_paused(0.0)
    reign.starts()
    reign.hears(reign.leader.pause(0.0))
    return reign


def test_a_job_that_was_paused_gives_out_nothing_under_its_next_leader_and_goes_on_with_what_runs():
    reign = paused(begun=True)
    assert reign.openings and not reign.sent
    assert [[old for old, _ in each.adopted] for each in reign.openings if each.peer == "den"] == [[5]]
    reign.hears(reign.leader.resume(0.0))
    assert reign.sent
    assert reign.ends().ending()[1] == {"ys": [0, 2, 4, 6, 8, 10]}


def test_what_waits_at_a_peer_is_taken_back_where_its_job_was_paused():
    reign = paused(begun=False)
    assert not any(items for batches in reign.work.values() for items in batches.values())
    reign.hears(reign.leader.resume(0.0))
    assert reign.ends().ending()[1] == {"ys": [0, 2, 4, 6, 8, 10]}


def test_nonsense_that_is_held_changes_nothing():
    reign = Reign(lab(grid(4)))
    for path in ((), (1, 1), (9, 9, 9)):
        batches = [HeldBatch(1, Span(-4, 3), True), HeldBatch(2, Span(7, 500), True), HeldBatch(3, Span(), False)]
        reign.hears(reign.leader.held(DEN, path, batches, 0.0))
    assert reign.starts().ends().ending()[1] == {"ys": [0, 2, 4, 6]}


# --- stepping down -----------------------------------------------------------------------------------------------


def test_a_leader_that_steps_down_says_nothing_more():
    reign = Reign(lab("Pause(1000);" + grid(4))).starts()
    reign.passes(1.0)
    told, step = len(reign.told), reign.openings[0].step
    reign.leader.step_down(1.0)
    here = PeerId("here")
    effects = reign.leader.results(step, here, [0], [0], [0.1], {}, {}, 0, 1.0)
    effects += reign.leader.worker_left(DEN, 1.0) + reign.leader.worker_joined(peer("barn"), 1.0)
    effects += reign.leader.tick(9.0) + reign.leader.pause(9.0) + reign.leader.resume(9.0) + reign.leader.cancel(9.0)
    effects += reign.leader.learned(reign.openings[0].path, [0], [1], 9.0) + reign.leader.refused(step, DEN, "no", 9.0)
    effects += reign.leader.granted(step, here, 4, 9.0) + reign.leader.heard(here, 9.0) + reign.leader.turn(9.0)
    assert (effects, len(reign.told), reign.leader.state.value) == ([], told, "running")
    assert (reign.leader.next_deadline(), reign.leader.wants_turn) == (None, False)
    reign.leader.check()


def test_a_leader_does_not_begin_before_it_is_told_to():
    reign = Reign(lab("Int:n = Lab.Double(1);"))
    reign.hears(reign.leader.worker_joined(peer("barn"), 0.0))
    reign.hears(reign.leader.heard(DEN, 0.0))
    assert (reign.openings, reign.leader.wants_turn) == ([], False)
    assert reign.starts().ends().over


def test_a_replay_does_what_is_known_and_nothing_else():
    program = lab("Int:n = Lab.Double(1);" + grid(3) + "Int:m = Lab.Double(n);")
    whole = Reign(program).starts().ends()
    replayed = whole.follows("den")
    replayed.leader.replay(0.0)
    assert replayed.ending() == whole.ending()
    part = whole.follows("den", cut=2)
    part.leader.replay(0.0)
    assert part.ending()[:2] == ("running", {"n": 2, "ys": None, "m": None})
    assert len(part.leader.partial()["ys"]) == 1
