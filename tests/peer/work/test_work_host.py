"""What a peer does for leaders: in which order, how much for each, and nothing that they have no right to."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from meshwit.peer.work.granting import IDLE_S, TURN_S
from meshwit.peer.work.host import QUEUE_MAX, STEPS_MAX
from meshwit.peer.work.messages import ITEMS_MAX, AskBack, Assigned, Begun, Open, Span, Unwanted
from tests.peer.work.hosting import ADA, BLOB, BOB, ME, Hosting

# --- the order -----------------------------------------------------------------------------------------------------


def test_batches_of_a_step_go_in_their_order_and_as_the_pool_has_room():
    at = Hosting()
    at.open(ADA)
    at.assign(ADA, 1, [0, 1], [2], [3])
    assert at.feed(2) == [(ADA, (0, 1)), (ADA, (2,))]
    assert at.feed(0) == []
    assert at.feed(9) == [(ADA, (3,))]


def test_the_important_goes_first():
    at = Hosting()
    at.open(ADA, priority=0)
    at.open(BOB, priority=3)
    at.assign(ADA, 1, [0], [1])
    at.assign(BOB, 1, [7], [8])
    assert at.feed(3) == [(BOB, (7,)), (BOB, (8,)), (ADA, (0,))]


def test_among_equals_goes_who_uses_least_of_its_share():
    at = Hosting(slots=4)
    at.open(ADA)
    at.open(BOB)
    at.assign(ADA, 1, *([each] for each in range(9)))
    at.assign(BOB, 1, *([each] for each in range(10, 19)))
    owners = [leader for leader, _ in at.feed(4)]
    assert owners.count(ADA) == owners.count(BOB) == 2
    at.finish(0, 1)
    assert [leader for leader, _ in at.feed(2)] == [ADA, ADA]


def test_exclusive_activities_keep_each_other_away_not_others():
    at = Hosting()
    at.open(ADA, 1, exclusive=["Lab.Gpu"])
    at.open(ADA, 2)
    at.open(BOB, 1, exclusive=["Lab.Gpu", "Lab.Disk"])
    at.open(BOB, 2, exclusive=["Lab.Net"])
    for leader, step, item in ((ADA, 1, 0), (ADA, 2, 1), (BOB, 1, 10), (BOB, 2, 11)):
        at.assign(leader, step, [item])
    assert set(at.feed(9)) == {(ADA, (0,)), (ADA, (1,)), (BOB, (11,))}
    at.finish(0)
    assert at.feed(9) == [(BOB, (10,))]


def test_one_at_a_time_is_one_at_a_time():
    at = Hosting()
    at.open(ADA, one_at_a_time=True)
    assert at.granted() == {(ADA, 1): 1}
    at.assign(ADA, 1, [0], [1])
    assert at.feed(9) == [(ADA, (0,))]
    at.finish(0)
    assert at.feed(9) == [(ADA, (1,))]


def test_a_batch_waits_for_its_blobs_and_lets_others_pass():
    at = Hosting()
    at.open(ADA)
    at.assign(ADA, 1, [0], blobs=[BLOB])
    at.assign(ADA, 1, [1])
    assert at.feed(9) == [(ADA, (1,))]
    assert [(each.blobs, each.holders) for each in at.fetching] == [([BLOB], [ADA])]
    at.fetched()
    assert at.feed(9) == [(ADA, (0,))]


def test_a_step_waits_for_the_blobs_of_what_it_captured_whoever_has_them():
    at = Hosting()
    at.open(ADA, blobs=[BLOB], holders=["bob"])
    at.assign(ADA, 1, [0])
    assert at.feed(9) == []
    assert at.fetching[0].holders == [BOB, ADA]
    at.fetched()
    assert at.feed(9) == [(ADA, (0,))]


def test_a_step_waits_for_what_is_shared_of_it_too():
    at = Hosting()
    at.open(ADA, shared={1: BLOB}, holders=["bob"])
    at.assign(ADA, 1, [0])
    assert [(each.blobs, each.holders) for each in at.fetching] == [([BLOB], [BOB, ADA])]
    assert at.feed(1) == []
    at.fetched()
    assert at.feed(1) == [(ADA, (0,))]


def test_a_step_whose_blobs_cannot_be_had_is_refused():
    at = Hosting()
    at.open(ADA)
    at.assign(ADA, 1, [0], blobs=[BLOB])
    at.fetched(why="nobody has it")
    assert at.refused() == [(ADA, 1, "nobody has it")]
    assert at.feed(9) == []
    assert [cancel for _, cancel in at.ended] == [True]


def test_blobs_that_come_for_a_step_that_is_over_do_nothing():
    at = Hosting()
    at.open(ADA, blobs=[BLOB])
    at.close(ADA)
    at.fetched(why="too late")
    assert at.refused() == []


def test_a_leader_hears_what_has_begun():
    at = Hosting()
    at.open(ADA)
    at.assign(ADA, 1, [0])
    at.feed(1)
    [(number, submitted)] = at.pool.items()
    at.carry_out(at.host.begun(number))
    assert at.heard(Begun) == [(ADA, Begun(1, [submitted.batch.batch]))]


# --- taking back ---------------------------------------------------------------------------------------------------


def test_what_waits_is_given_back_and_the_rest_asked_of_the_pool():
    at = Hosting()
    at.open(ADA)
    at.assign(ADA, 1, [0], [1], [2, 3])
    at.feed(1)
    at.ask_back(ADA, 1, [0, 2, 3])
    [recall] = at.recalls
    assert (recall.items, recall.queued, recall.batches) == ([0], [2, 3], list(at.pool))
    at.carry_out(at.host.recalled(recall.step, recall.queued, at.now))
    assert at.given_back() == [(ADA, [2, 3])]
    assert at.feed(9) == [(ADA, (1,))]


def test_every_ask_is_answered_also_where_there_is_nothing():
    """A leader waits for the answer."""
    at = Hosting()
    at.ask_back(ADA, 5, [1, 2])
    assert at.given_back() == [(ADA, [])]


def test_what_is_unwanted_does_not_run_and_what_runs_is_dropped():
    at = Hosting()
    at.open(ADA)
    at.assign(ADA, 1, [0, 1], [2], [3, 4])
    at.feed(1)
    at.drop(ADA, 1, [1, 2, 3])
    assert [each.items for each in at.forgotten] == [[1, 2, 3]]
    assert at.feed(9) == [(ADA, (3, 4))], "one item of it is still wanted"


# --- the end -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("running", "asked", "cancelled"), [(0, False, False), (0, True, True), (1, False, True)])
def test_closing_a_step_cancels_what_runs(running, asked, cancelled):
    at = Hosting()
    at.open(ADA)
    at.assign(ADA, 1, [0], [1])
    at.feed(running)
    at.close(ADA, cancel=asked)
    assert at.ended == [(at.steps[ADA, 1], cancelled)]
    assert at.feed(9) == []
    assert at.host.free_slots == at.host.granting.slots


def test_a_leader_that_left_wants_nothing_more_and_others_get_its_slots():
    at = Hosting()
    at.open(ADA, 1)
    at.open(ADA, 2)
    at.open(BOB)
    at.assign(ADA, 1, [0])
    at.assign(BOB, 1, [1])
    at.feed(9)
    at.granted()
    at.leaves(ADA)
    assert at.ended == [(at.steps[ADA, 1], True), (at.steps[ADA, 2], True)]
    assert at.granted() == {(BOB, 1): 4}
    assert at.host.leaders() == [BOB]
    assert at.host.jobs() == {(BOB, "job")}


# --- slots ---------------------------------------------------------------------------------------------------------


def test_leaders_share_the_slots_and_hear_of_every_change():
    at = Hosting(slots=4)
    at.open(ADA)
    assert at.granted() == {(ADA, 1): 4}
    at.open(BOB)
    assert at.granted() == {(ADA, 1): 2, (BOB, 1): 2}
    at.close(BOB)
    assert at.granted() == {(ADA, 1): 4}


def test_two_steps_of_a_job_have_no_more_than_one():
    at = Hosting(slots=4)
    at.open(ADA, 1, "twins")
    at.open(ADA, 2, "twins")
    at.open(BOB)
    assert at.granted() == {(ADA, 1): 1, (ADA, 2): 1, (BOB, 1): 2}


def test_a_step_that_has_nothing_here_keeps_no_slots_from_others_and_gets_its_own_again():
    at = Hosting(slots=4)
    at.open(ADA)
    at.open(BOB)
    at.assign(ADA, 1, [0])
    at.granted()
    at.passes(IDLE_S * 2)
    assert at.granted() == {(ADA, 1): 4}
    at.assign(BOB, 1, [1])
    assert at.granted()[ADA, 1] == 2


def test_the_turn_goes_round_where_steps_are_more_than_slots():
    at = Hosting(slots=1)
    leaders = [ADA, BOB, ME]
    for leader in leaders:
        at.open(leader)
        at.assign(leader, 1, [0], [1])
    served = set()
    slots = at.granted()
    for _ in leaders:
        served |= {leader for (leader, _), count in slots.items() if count}
        assert sum(slots.values()) == 1
        at.passes(TURN_S)
        slots |= at.granted()
    assert served == set(leaders)


def test_a_step_without_slots_gets_some_when_others_leave_or_have_nothing_to_do():
    """Its leader gives it nothing while it has none: so it must not count as one that wants nothing."""
    at = Hosting(slots=1)
    at.open(ADA)
    at.assign(ADA, 1, [0])
    at.open(BOB)
    at.granted()
    assert at.host.unserved
    at.passes(IDLE_S * 2)
    at.granted()
    at.close(ADA)
    assert at.host._steps[BOB, 1].granted == 1
    assert not at.host.unserved

    at.open(ADA, 2)
    slots = at.granted()
    for _ in range(3):
        at.passes(TURN_S)
        slots |= at.granted()
    assert slots[ADA, 2] == 1


def test_a_step_that_had_its_turn_and_did_nothing_leaves_the_slot_to_others():
    at = Hosting(slots=1)
    at.open(ADA)
    at.open(BOB)
    at.assign(BOB, 1, [0])
    at.passes(IDLE_S * 2)
    at.passes(TURN_S)
    at.passes(IDLE_S * 2)
    at.granted()
    at.passes(IDLE_S * 2)
    assert at.host._steps[BOB, 1].granted == 1


# --- the owner -----------------------------------------------------------------------------------------------------


def test_a_resting_device_works_for_its_own_jobs_alone():
    at = Hosting(slots=4)
    at.open(ADA)
    at.open(ME)
    at.assign(ADA, 1, [0])
    at.assign(ME, 1, [10])
    at.granted()
    at.carry_out(at.host.rest(True, at.now))
    assert at.granted() == {(ADA, 1): 0, (ME, 1): 4}
    assert at.feed(9) == [(ME, (10,))]
    at.carry_out(at.host.rest(False, at.now))
    assert at.granted() == {(ADA, 1): 2, (ME, 1): 2}
    assert at.feed(9) == [(ADA, (0,))]


def test_a_step_gets_its_slots_back_when_the_device_rests_no_more_however_long_it_did():
    at = Hosting(slots=4)
    at.open(ADA)
    at.carry_out(at.host.rest(True, at.now))
    at.passes(IDLE_S * 9)
    at.granted()
    at.carry_out(at.host.rest(False, at.now))
    assert at.granted() == {(ADA, 1): 4}


def test_attack_a_resting_device_runs_nothing_for_a_leader_that_gives_it_work_all_the_same():
    at = Hosting()
    at.carry_out(at.host.rest(True, at.now))
    at.open(ADA)
    assert at.granted() == {(ADA, 1): 0}
    at.assign(ADA, 1, [0])
    assert at.feed(9) == []
    at.ask_back(ADA, 1, [0])
    assert at.recalls[0].queued == [0]


# --- what leaders have no right to ---------------------------------------------------------------------------------


def test_attack_a_leader_does_nothing_to_steps_of_another():
    at = Hosting()
    at.open(ADA, 1)
    at.assign(ADA, 1, [0], [1])
    at.feed(1)
    at.assign(BOB, 1, [5])
    at.drop(BOB, 1, [0, 1])
    at.ask_back(BOB, 1, [0, 1])
    at.close(BOB, 1, cancel=True)
    at.leaves(BOB)
    assert (at.recalls, at.forgotten, at.ended) == ([], [], [])
    assert at.feed(9) == [(ADA, (1,))]


@pytest.mark.parametrize("items", [Span(0, ITEMS_MAX + 1), Span(0, -4), Span(listed=[2, -7])])
def test_attack_numbers_that_cannot_be_meant_do_nothing(items):
    at = Hosting()
    at.open(ADA)
    at.carry_out(at.host.assigned(ADA, Assigned(1, 1, items, b""), [], at.now))
    at.carry_out(at.host.unwanted(ADA, Unwanted(1, items)))
    at.carry_out(at.host.ask_back(ADA, AskBack(1, items)))
    assert at.feed(9) == []
    assert at.recalls == at.forgotten == []
    assert at.given_back() == [(ADA, [])]


def test_attack_a_step_that_is_opened_twice_is_opened_once():
    at = Hosting()
    at.open(ADA, job="first")
    number = at.steps[ADA, 1]
    at.open(ADA, job="second")
    assert at.steps[ADA, 1] == number
    assert at.host.jobs() == {(ADA, "first")}


def test_attack_too_many_steps_of_one_leader_are_refused_those_of_others_are_not():
    at = Hosting()
    for step in range(STEPS_MAX):
        at.host.open(ADA, Open(step, "job", b""), [], at.now)
    at.open(ADA, STEPS_MAX)
    assert [(leader, step) for leader, step, _ in at.refused()] == [(ADA, STEPS_MAX)]
    at.open(BOB)
    assert at.refused() == []


def test_attack_a_step_with_too_many_batches_is_refused():
    at = Hosting()
    at.open(ADA)
    batch = Assigned(1, 1, Span(0, 1), b"")
    for _ in range(QUEUE_MAX):
        at.host.assigned(ADA, batch, [], at.now)
    assert at.refused() == []
    at.assign(ADA, 1, [0])
    assert [(leader, step) for leader, step, _ in at.refused()] == [(ADA, 1)]
    assert at.feed(9) == []


# --- whatever happens ----------------------------------------------------------------------------------------------


class Whatever(RuleBasedStateMachine):
    """Leaders say what they like, in any order; the pool ends what it has."""

    leaders = st.sampled_from([ADA, BOB, ME])
    steps = st.integers(0, 2)
    items = st.lists(st.integers(0, 6), max_size=3)

    def __init__(self) -> None:
        super().__init__()
        self.at = Hosting(slots=3)
        self.slots: dict = {}

    @rule(leader=leaders, step=steps, priority=st.integers(0, 1), one=st.booleans(), wide=st.booleans())
    def open(self, leader, step, priority, one, wide):
        exclusive = ["Lab.Gpu"] if wide else []
        self.at.open(leader, step, f"job {step % 2}", priority=priority, one_at_a_time=one, exclusive=exclusive)

    @rule(leader=leaders, step=steps, items=items, blob=st.booleans())
    def assign(self, leader, step, items, blob):
        self.at.assign(leader, step, items, blobs=[BLOB] if blob else [])

    @rule(leader=leaders, step=steps, items=items)
    def ask_back(self, leader, step, items):
        self.at.ask_back(leader, step, items)

    @rule(leader=leaders, step=steps, items=items)
    def drop(self, leader, step, items):
        self.at.drop(leader, step, items)

    @rule(leader=leaders, step=steps, cancel=st.booleans())
    def close(self, leader, step, cancel):
        self.at.close(leader, step, cancel=cancel)

    @rule(leader=leaders)
    def leave(self, leader):
        self.at.leaves(leader)

    @rule(room=st.integers(0, 4))
    def feed(self, room):
        resting = self.at.host.granting.resting
        fed = self.at.feed(room)
        assert len(fed) <= room
        assert not resting or {leader for leader, _ in fed} <= {ME}

    @rule(items=items)
    def finish(self, items):
        self.at.finish(*items)

    @rule(why=st.sampled_from(["", "", "gone"]))
    def fetched(self, why):
        if self.at.fetching:
            self.at.fetched(why=why)

    @rule(seconds=st.sampled_from([0.1, 0.3, 1.5]))
    def time(self, seconds):
        self.at.passes(seconds)

    @rule(resting=st.booleans())
    def rest(self, resting):
        self.at.carry_out(self.at.host.rest(resting, self.at.now))

    @invariant()
    def exclusive_steps_never_meet(self):
        exclusive = [each for each in self.at.host._steps.values() if each.exclusive and each.running]
        assert len(exclusive) <= 1

    @invariant()
    def the_pool_has_what_it_is_believed_to_have(self):
        running = {number for each in self.at.host._steps.values() for number in each.running}
        assert running == set(self.at.pool)

    @invariant()
    def nobody_waits_while_slots_are_free(self):
        """A step without slots has lost them to steps that have all of them between them."""
        host = self.at.host
        served = [each for each in host._steps.values() if each.granted > 0]
        if host.unserved and any(not host.granting.rests_for(each) for each in host._steps.values()):
            assert served or host.granting.slots == 0

    def teardown(self):
        for leader in (ADA, BOB, ME):
            self.at.leaves(leader)
        assert self.at.host.jobs() == set()
        assert self.at.pool == {}
        assert self.at.feed(9) == []


TestWhatever = Whatever.TestCase
TestWhatever.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
