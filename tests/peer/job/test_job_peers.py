"""A job over several peers that come, go, freeze, refuse and fail, as dialogues in virtual time."""

from __future__ import annotations

import pytest
from leading import GIB, LedJob, grid, peer
from test_leader import kinds

from meshwit import events
from meshwit.ids import PeerId
from meshwit.peer.job.software import Owner
from meshwit.peer.job.steps import LOSSES_MAX

TWO = {"here": 1, "den": 1}
DOUBLES = [0, 2, 4, 6, 8, 10, 12, 14]


def left_out(job: LedJob) -> dict[str, str]:
    """Whom the last word on it left out, and why."""
    return job.told_of(events.PeersLeftOut)[-1].peers


# --- who comes, goes and freezes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["Adaptive", "Queued"])
def test_a_peer_that_joins_in_mid_step_gets_items(strategy):
    job = LedJob(grid(8, strategy=strategy), slots=1)
    job.ends(0, seconds=1.0)
    job.joins("den")
    assert job.holds("den")
    assert ("den", 1) in job.openings
    assert job.works().variables == {"ys": DOUBLES}
    assert job.told_of(events.Progressed)[-1].peers.keys() == {"here", "den"}


def test_a_step_of_balanced_shares_is_shared_with_a_peer_that_joins():
    job = LedJob(grid(8), slots=1)
    job.begins(job.takes()[0])
    job.now = 1.0
    job.ends(0, seconds=1.0)
    job.joins("den")
    job.answers({"here": [1]})
    assert job.holds("den")
    assert job.works().variables == {"ys": DOUBLES}


def test_items_of_a_peer_that_leaves_run_elsewhere_and_nothing_finished_runs_again():
    job = LedJob(grid(8), workers=TWO)
    mine, theirs = job.holds("here"), job.holds("den")
    assert sorted(mine + theirs) == list(range(8)) and mine and theirs
    job.ends(theirs[0], at="den")
    job.takes()
    job.leaves("den")
    job.ends(*mine)
    assert job.holds("here") == theirs[1:]
    assert job.works().variables == {"ys": DOUBLES}
    assert job.told_of(events.Progressed)[-1].peers == {"here": 7, "den": 1}
    assert job.ended_steps == [(1, False)], "nobody tells a peer that is gone"


def test_a_peer_that_comes_again_is_told_the_step_anew():
    job = LedJob(grid(8, strategy="Queued"), workers=TWO)
    job.leaves("den")
    job.joins("den")
    assert job.openings.count(("den", 1)) == 2
    assert job.works().variables == {"ys": DOUBLES}


def test_a_step_without_peers_waits_for_one():
    job = LedJob(grid(8), workers=[peer("den")])
    job.leaves("den")
    assert job.state == "running"
    job.joins("attic")
    assert job.works().variables == {"ys": DOUBLES}


def test_a_frozen_peer_loses_its_items_and_its_late_result_counts_once():
    job = LedJob(grid(4), workers=TWO)
    theirs = job.takes("den")
    job.begins(theirs[0])
    stuck = theirs[0].numbers[0]
    mine = job.holds("here")
    job.beats("here", until=0.9)
    job.ends(*mine)
    assert stuck not in job.holds("here")
    job.beats("here", until=1.3)
    assert stuck in job.holds("here")
    job.ends(stuck, at="den")
    assert ("here", stuck) in job.dropped
    job.ends(stuck)
    assert job.works().variables == {"ys": [0, 2, 4, 6]}
    assert sum(job.told_of(events.Progressed)[-1].peers.values()) == 4


def test_a_peer_that_beats_keeps_what_it_runs():
    job = LedJob("Int:n = Lab.Double(21);", workers=[peer("den"), peer("attic")])
    (batch,) = job.takes()
    job.begins(batch)
    job.beats("den", "attic", until=60.0)
    assert job.takes() == []
    job.returns(batch)
    assert job.variables == {"n": 42}


def test_results_of_one_item_from_two_peers_count_once():
    job = LedJob(grid(4), workers=TWO)
    number = job.holds("den")[0]
    job.ends(number, at="den")
    job.ends(number)
    job.ends(number, number, at="den")
    job.works()
    assert job.variables == {"ys": [0, 2, 4, 6]}
    last = job.told_of(events.Progressed)[-1]
    assert (last.done, sum(last.peers.values())) == (4, 4)


def test_an_item_named_twice_in_one_message_counts_once():
    job = LedJob(grid(4), slots=1)
    job.ends(0, 0, 1, 1)
    assert job.state == "running"
    assert job.works().variables == {"ys": [0, 2, 4, 6]}


@pytest.mark.parametrize("worker", [False, True], ids=["a stranger", "a worker that was given nothing"])
def test_reports_of_a_peer_that_was_never_given_the_step_change_nothing(worker):
    job = LedJob(grid(4), workers=[peer("here"), peer("den", 0)] if worker else [peer("here")])
    held = job.holds("here")
    told, given, den = len(job.told), len(job.given), PeerId("den")
    job.ends(*range(4), at="den", printed={0: "hello"})
    job.ends(*range(4), at="den", failing={0: "no"}, kind="killed")
    job.hears(job.leader.begun(1, den, range(8), 0.0))
    job.hears(job.leader.given_back(1, den, [*held, 99], 0.0))
    job.hears(job.leader.worker_died(1, den, 3, "killed by signal 9", 0.0))
    assert (len(job.told), len(job.given), job.holds("here")) == (told, given, held)
    if not worker:
        job.hears(job.leader.granted(1, den, 8, 0.0))
        job.hears(job.leader.refused(1, den, "no", 0.0))
        assert (len(job.told), len(job.given), job.holds("here")) == (told, given, held)
    assert job.works().variables == {"ys": DOUBLES[:4]}
    assert job.told_of(events.Progressed)[-1].peers.keys() == {"here"}


def test_the_last_results_of_a_peer_that_has_left_still_count():
    job = LedJob(grid(2), workers=TWO)
    (number,) = job.holds("den")
    job.leaves("den")
    job.hears(job.leader.results(1, PeerId("den"), [number], [DOUBLES[number]], [0.1], {}, {}, 1, 0.0))
    assert job.works().variables == {"ys": DOUBLES[:2]}
    assert job.told_of(events.Progressed)[-1].peers == {"here": 1, "den": 1}


# --- poison and once ---------------------------------------------------------------------------------------------


def losing(job: LedJob, item: int, names: list[str]) -> None:
    """One peer after the other is lost while it runs the item."""
    for name in names:
        batch = next(each for each in job.takes() if item in each.numbers)
        assert batch.peer == name
        job.begins(batch)
        job.joins(f"{name}2")
        job.leaves(name)


def test_an_item_whose_peers_are_lost_three_times_is_set_aside_as_killed():
    names = ["a", "a2", "a22"]
    job = LedJob(grid(1), workers=[peer("a")])
    losing(job, 0, names[: LOSSES_MAX - 1])
    assert job.state == "running"
    losing(job, 0, names[LOSSES_MAX - 1 :])
    assert job.state == "failed"
    assert job.leader.failure.message == f"{LOSSES_MAX} peers were lost while they ran this, a22 the last"
    assert (job.leader.failure.peer, job.leader.failure.item) == ("a22", 0)


def test_an_item_set_aside_is_not_left_with_the_next_peer():
    """It was just given to it: the word to drop it must come after the word to run it."""
    job = LedJob(grid(2, OnError='"Skip"'), workers=[peer("a")])
    losing(job, 0, ["a", "a2", "a22"])
    assert 0 not in job.holds("a222")
    assert job.works().variables == {"ys": [None, 2]}
    (failed,) = job.told_of(events.ItemFailed)
    assert (failed.failure.peer, failed.failure.item, failed.retried) == ("a22", 0, False)


def test_once_items_begun_on_a_lost_peer_fail_and_never_run_again():
    call = "Lab.Send(x)"
    job = LedJob(grid(6, call, OnError='"Skip"', Retries=3), workers=TWO)
    gone = job.holds("den")
    assert len(gone) == 1, "no item is given ahead"
    job.leaves("den")
    job.takes()
    given = job.holds("here")
    while held := job.holds("here"):
        given += held
        job.ends(*held)
    assert gone[0] not in given
    assert job.variables["ys"][gone[0]] is None
    (failed,) = job.told_of(events.ItemFailed)
    assert (failed.failure.item, failed.retried) == (gone[0], False)
    assert failed.failure.message == "den was lost while it ran this, and it must not run twice"
    job = LedJob(grid(6, call), workers=TWO)
    job.leaves("den")
    assert (job.state, job.leader.failure.peer) == ("failed", "den")


# --- who may run what --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"MaxClients": 2}])
def test_a_refusing_peer_is_left_out_and_the_reason_told(options):
    job = LedJob(grid(8, **options), workers=TWO)
    job.refuses("den", "the disk is full")
    assert left_out(job) == {"den": "the disk is full"}
    job.joins("den", 3)
    job.joins("attic")
    assert not job.holds("den")
    assert job.openings.count(("den", 1)) == 1
    assert job.works().variables == {"ys": DOUBLES}


def test_a_peer_that_refused_is_asked_again_when_it_can_do_other_things():
    job = LedJob(grid(8, strategy="Queued"), workers=TWO)
    job.refuses("den", "no controller")
    job.joins("den", controllers={"leading:Lab": "1.0.0"})
    assert job.holds("den")


def test_when_the_last_peer_refuses_the_job_fails_with_its_reason():
    job = LedJob(grid(8), workers=TWO)
    job.refuses("den", "no room")
    job.refuses("here", "the disk is full")
    assert job.state == "failed"
    assert job.leader.failure.message == "no peer runs `Lab.Double` any more: the disk is full"
    assert kinds(job).count("PeersLeftOut") == 2


def test_who_lacks_the_controller_or_has_another_version_gets_nothing():
    owners = {"Lab.Double": Owner("lab:Lab", "1.2.3")}
    workers = [
        peer("here", controllers={"lab:Lab": "1.2.3"}),
        peer("older", controllers={"lab:Lab": "0.9.0"}),
        peer("without", controllers={}),
        peer("newer", controllers={"lab:Lab": "1.4.0"}),
    ]
    job = LedJob(grid(8), workers=workers, owners=owners)
    assert {name for name, _ in job.openings} == {"here", "newer"}
    told = left_out(job)
    assert told["older"] == "has lab 0.9.0, the job wants 1.2.3"
    assert told["without"] == "has no controller leading:Lab, or misses what that needs"


def test_max_clients_bounds_the_peers_and_another_takes_the_place_of_one_that_leaves():
    workers = {"here": 4, "den": 3, "attic": 2}
    job = LedJob(grid(30, strategy="Queued", MaxClients=2), workers=workers)
    assert {name for name, _ in job.openings} == {"here", "den"}
    assert left_out(job) == {"attic": "the step uses at most 2 peers"}
    job.joins("barn", 1)
    assert not job.holds("barn")
    job.leaves("den")
    assert job.holds("attic") and not job.holds("barn")
    assert job.works().variables == {"ys": [2 * number for number in range(30)]}


def test_a_place_that_a_refusal_frees_goes_to_another():
    job = LedJob(grid(30, strategy="Queued", MaxClients=2), workers={"here": 4, "den": 3, "attic": 2})
    job.refuses("den", "no")
    assert job.holds("attic") and not job.holds("den")


def test_local_activities_run_at_home_only():
    job = LedJob(grid(4, "Lab.Read(x)"), workers={"here": 1, "den": 8})
    job.joins("attic", 8)
    assert job.works().variables == {"ys": [1, 2, 3, 4]}
    assert {name for name, _ in job.openings} == {"here"}
    job = LedJob("Int:n = Lab.Read(1);", workers=[peer("den")])
    assert job.leader.failure.message == "no peer can run `Lab.Read`: there is no peer"
    assert job.openings == []


def test_single_calls_stay_at_home_where_they_can():
    job = LedJob("Int:n = Lab.Double(1);", workers=[peer("den", 8), peer("here")])
    job.joins("attic", 8)
    assert [batch.peer for batch in job.takes()] == ["here"]
    assert job.openings == [("here", 1)]


def test_single_calls_go_elsewhere_where_home_lacks_what_they_need():
    workers = [peer("here", capabilities={"memory": 2 * GIB}), peer("den", capabilities={"memory": 16 * GIB})]
    job = LedJob("Int:n = Lab.Heavy(2);", workers=workers)
    assert [batch.peer for batch in job.takes()] == ["den"]
    assert job.works().variables == {"n": 6}


def test_a_failure_names_the_peer_where_it_failed():
    job = LedJob(grid(4, Retries=1), workers=TWO)
    number = job.holds("den")[0]
    job.ends(number, at="den", failing={number: "no"})
    assert [each.failure.peer for each in job.told_of(events.ItemFailed)] == ["den"]
    job = LedJob(grid(4), workers=TWO)
    number = job.holds("den")[0]
    job.ends(number, at="den", failing={number: "no"}, printed={number: "hm"})
    assert (job.leader.failure.peer, job.told_of(events.Printed)[0].peer) == ("den", "den")


def test_rates_of_peers_are_told_with_the_end_of_a_step():
    job = LedJob(grid(4), workers=TWO).works()
    (over,) = job.over_steps
    assert over.activity == "Lab.Double"
    assert over.seen.keys() == {"here", "den"}
    assert over.seen[PeerId("den")].per_s == pytest.approx(1000)


def test_a_restart_over_a_journal_computes_what_is_missing_on_all_peers():
    job = LedJob(grid(8), workers=TWO)
    job.ends(*job.holds("den"), at="den")
    missing = job.holds("here")
    again = LedJob(grid(8), workers={"here": 1, "den": 1, "attic": 1}, journal=job.leader.journal)
    assert sorted(number for name in ("here", "den", "attic") for number in again.holds(name)) == missing
    assert again.works().variables == {"ys": DOUBLES}
