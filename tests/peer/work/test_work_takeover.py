"""What becomes of a peer's work when its leader is gone: it goes on, its results are kept, a new leader is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from meshwit.ids import PeerId
from meshwit.peer.exec.messages import TaskFailure
from meshwit.peer.work import orphans as limits
from meshwit.peer.work.effects import Prepare
from meshwit.peer.work.hosted import JOB_CHARS_MAX, PATH_LENGTH_MAX
from meshwit.peer.work.messages import Begun, Done, Durable, Held, Open, Ready, Redone, span
from tests.peer.work.hosting import ADA, BLOB, BOB, ME, Hosting

PATH = (4, 2)
CEM = PeerId("cem")


class Kept(Hosting):
    """With steps that outlive their leaders; Ada leads by term 1, Bob by term 2, Cem by term 3.

    Attributes:
        prepared: numbers that steps were made known to the pool by.
    """

    terms = {ADA: (1, 0), BOB: (2, 1), CEM: (3, 2), ME: (2, 0)}

    def __init__(self, slots: int = 4) -> None:
        super().__init__(slots)
        self.prepared: list[int] = []

    def carry_out(self, effects) -> None:
        effects = list(effects)
        self.prepared += [each.number for each in effects if isinstance(each, Prepare)]
        super().carry_out(effects)

    def lead(self, leader: PeerId, step: int = 1, adopted=(), path=PATH, header: bytes = b"call", **more: Any) -> None:
        epoch, rank = self.terms[leader]
        opened = Open(step, "job", header, path=path, epoch=epoch, rank=rank, adopted=list(adopted), **more)
        self.carry_out(self.host.open(leader, opened, [], self.now))

    def takes_over(self, leader: PeerId, job: str = "job") -> None:
        self.carry_out(self.host.took_over(job, *self.terms[leader], leader, self.now))

    def resend(self, leader: PeerId) -> None:
        self.carry_out(self.host.resend("job", leader, self.terms[leader][0], self.now))

    def is_durable(self, leader: PeerId, upto: int, step: int = 1) -> None:
        self.carry_out(self.host.durable(leader, Durable(step, upto)))

    def ends(self, *items: int, over: bool = True, failed: bool = False) -> None:
        """Items of one batch end; by default it is over with that."""
        number = next(key for key, each in self.pool.items() if set(items) <= set(each.batch.items.numbers))
        failures = {items[0]: TaskFailure("raised", "ValueError", "no")} if failed else {}
        done = Done(0, span(items), f"values {items}".encode(), b"", failures=failures)
        self.carry_out(self.host.done(number, done, [b"beside"]))
        if over:
            self.finish(*items)

    def begins(self) -> None:
        """All that the pool has."""
        for number in list(self.pool):
            self.carry_out(self.host.begun(number))

    def told(self) -> list[tuple[PeerId, int, list[int], bool]]:
        """Batches that leaders heard of: to whom, number, items, whether begun."""
        return [
            (leader, batch.batch, list(batch.items.numbers), batch.begun)
            for leader, message in self.heard(Held)
            for batch in message.batches
        ]

    def redone(self) -> list[tuple[PeerId, list[int]]]:
        return [(leader, list(message.items.numbers)) for leader, message in self.heard(Redone)]

    def done(self) -> list[tuple[PeerId, int, list[int], int]]:
        """To whom, of which step of it, items, number."""
        return [(to, said.step, list(said.items.numbers), said.number) for to, said in self.heard(Done)]


def at_work(**more: Any) -> Kept:
    """A batch runs, one is in the pool, two wait: 1 to 4 with Ada."""
    at = Kept(**more)
    at.lead(ADA)
    at.assign(ADA, 1, [0, 1], [2], [3], [4, 5])
    at.feed(1)
    at.begins()
    at.feed(1)
    at.said.clear()
    return at


# --- results -------------------------------------------------------------------------------------------------------


def test_results_of_a_kept_step_are_numbered_and_kept_till_they_are_durable():
    at = at_work()
    at.ends(0, over=False)
    at.ends(1)
    at.ends(2)
    assert at.done() == [(ADA, 1, [0], 1), (ADA, 1, [1], 2), (ADA, 1, [2], 3)]
    at.is_durable(ADA, 2)
    assert [list(each.done.items.numbers) for each in at.host.retained.of("job")] == [[2]]


def test_results_of_other_steps_are_not():
    at = Kept()
    at.open(ADA)
    at.assign(ADA, 1, [0])
    at.feed(1)
    at.ends(0)
    assert at.done() == [(ADA, 1, [0], 0)]
    assert at.host.retained.serial == 0


def test_failures_are_told_without_a_number_and_not_kept():
    at = at_work()
    at.ends(0, failed=True, over=False)
    at.ends(1)
    assert at.done() == [(ADA, 1, [0], 0), (ADA, 1, [1], 1)]


def test_results_are_kept_when_the_step_is_closed_and_its_leader_may_still_say_that_they_are_durable():
    at = at_work()
    at.ends(0, 1)
    at.ends(2)
    at.close(ADA)
    assert len(at.host.retained.of("job")) == 2
    at.is_durable(ADA, 1)
    assert len(at.host.retained.of("job")) == 1
    at.is_durable(ADA, 2)
    assert at.host.retained.of("job") == []


def test_a_job_that_is_over_leaves_nothing():
    at = at_work()
    at.ends(0, 1)
    at.leaves(ADA)
    at.carry_out(at.host.job_over("job", at.now))
    assert at.host.retained.of("job") == []
    assert at.host.jobs() == set()
    assert at.pool == {}
    at.takes_over(BOB)
    assert at.heard(Held) == []


def test_a_job_that_is_over_ends_what_runs_of_it_also_where_its_leader_is_there():
    at = at_work()
    at.open(ADA, 2)
    at.carry_out(at.host.job_over("job", at.now))
    assert at.ended == [(at.steps[ADA, 1], True)], "the other job of the same name is kept by nobody"
    at.close(ADA)
    assert at.pool == {}


# --- without a leader ----------------------------------------------------------------------------------------------


def test_a_step_goes_on_without_its_leader_and_nobody_hears_of_it():
    at = at_work()
    at.leaves(ADA)
    at.ends(0, 1)
    at.feed(9)
    at.begins()
    at.ends(3)
    at.passes(1)
    assert at.said == []
    assert at.ended == []
    assert at.host.jobs() == {(ADA, "job")}
    assert at.host.free_slots == 2
    assert at.host.unserved, "time must pass"
    assert at.host.leaders() == []
    assert [list(each.done.items.numbers) for each in at.host.retained.of("job")] == [[0, 1], [3]]


def test_it_has_its_share_of_the_slots_as_long_as_it_works():
    at = at_work(slots=4)
    at.leaves(ADA)
    at.open(BOB, 9)
    at.assign(BOB, 9, [20])
    assert at.granted() == {(BOB, 9): 2}
    at.passes(limits.ORPHAN_S)
    assert at.granted() == {(BOB, 9): 4}


def test_it_ends_when_nobody_comes_for_long():
    at = at_work()
    at.leaves(ADA)
    at.passes(limits.ORPHAN_S - 1)
    assert at.ended == []
    at.passes(1)
    assert at.ended == [(at.steps[ADA, 1], True)]
    assert at.host.jobs() == set()
    assert not at.host.unserved
    assert at.feed(9) == []


def test_it_ends_when_nothing_of_it_is_left():
    at = Kept()
    at.lead(ADA)
    at.assign(ADA, 1, [0])
    at.feed(1)
    at.leaves(ADA)
    at.ends(0)
    at.passes(0.25)
    assert at.ended == [(at.steps[ADA, 1], False)]
    assert not at.host.unserved


def test_a_kept_step_with_nothing_under_way_and_a_step_that_is_not_kept_end_with_their_leader():
    at = Kept()
    at.lead(ADA, 1)
    at.open(ADA, 2)
    at.assign(ADA, 2, [0])
    at.feed(1)
    at.leaves(ADA)
    assert len(at.ended) == 2
    assert at.host.jobs() == set()


def test_blobs_that_cannot_be_had_without_the_leader_cost_their_batch_alone():
    at = Kept()
    at.lead(ADA)
    at.assign(ADA, 1, [0])
    at.assign(ADA, 1, [1], blobs=[BLOB])
    at.leaves(ADA)
    at.fetched(why="nobody has it")
    assert at.feed(9) == [(ADA, (0,))]
    assert at.said[1:] == []
    at.takes_over(BOB)
    assert [items for _, _, items, _ in at.told()] == [[0]]


# --- a new leader --------------------------------------------------------------------------------------------------


def test_a_new_leader_is_told_what_is_under_way_and_what_may_be_lost_then_that_this_is_all():
    at = at_work()
    at.ends(0, over=False)
    at.leaves(ADA)
    at.said.clear()
    at.takes_over(BOB)
    kinds = [type(message) for _, message in at.said]
    assert kinds == [Held, Redone, Ready]
    assert at.told() == [(BOB, 1, [1], True), (BOB, 2, [2], False), (BOB, 3, [3], False), (BOB, 4, [4, 5], False)]
    [(_, redone)] = at.heard(Redone)
    assert (redone.job, redone.path, redone.header) == ("job", PATH, b"values (0,)")
    assert at.heard(Ready) == [(BOB, Ready("job", 2))]


def test_a_new_leader_hears_for_whom_it_was_computed_and_on_what_that_rests():
    at = Kept()
    at.lead(ADA, since=7)
    at.assign(ADA, 1, [0, 1])
    at.feed(1)
    at.ends(0, over=False)
    at.leaves(ADA)
    at.takes_over(CEM)
    messages = [message for _, message in (*at.heard(Held), *at.heard(Redone))]
    assert [(each.epoch, each.leader, each.since) for each in messages] == [(1, ADA, 7)] * 2


def test_who_takes_over_what_nobody_knows_hears_that_there_is_nothing():
    at = Kept()
    at.takes_over(BOB, "another job")
    assert at.said == [(BOB, Ready("another job", 2))]


def test_an_adopted_step_goes_on_where_it_was_by_its_new_numbers():
    at = at_work()
    at.leaves(ADA)
    at.takes_over(BOB)
    at.said.clear()
    at.lead(BOB, 7, adopted=[(1, 100), (2, 101), (4, 102)])
    assert len(at.prepared) == 1, "the pool knows it"
    assert at.granted() == {(BOB, 7): 4}
    assert at.heard(Begun) == [(BOB, Begun(7, [100]))]
    assert at.given_back() == at.done() == []
    at.feed(9)
    at.begins()
    assert [number for _, said in at.heard(Begun) for number in said.batches if number > 100] == [101, 102]
    assert [tuple(each.batch.items.numbers) for each in at.pool.values()] == [(0, 1), (2,), (4, 5)], "3 was dropped"
    at.ends(0, 1)
    at.ends(4, 5)
    assert at.done() == [(BOB, 7, [0, 1], 1), (BOB, 7, [4, 5], 2)]
    at.assign(BOB, 7, [9])
    assert at.feed(1)
    assert at.host.leaders() == [BOB]
    at.close(BOB, 7)
    assert at.ended == [(at.prepared[0], True)]


def test_what_runs_and_is_not_adopted_is_forgotten_and_not_told():
    at = at_work()
    at.leaves(ADA)
    at.takes_over(BOB)
    at.said.clear()
    at.lead(BOB, 7, adopted=[(2, 50)])
    assert [each.items for each in at.forgotten] == [[0, 1]]
    at.begins()
    assert at.heard(Begun) == [(BOB, Begun(7, [50]))]
    at.ends(0, 1)
    assert at.done() == []
    assert at.host.retained.serial == 0


def test_a_leader_that_adopts_nothing_begins_anew():
    at = at_work()
    at.leaves(ADA)
    at.takes_over(BOB)
    at.lead(BOB)
    assert at.ended == [(at.prepared[0], True)]
    assert len(at.prepared) == 2
    assert at.feed(9) == []


def test_what_comes_between_the_telling_and_the_opening_is_told_then():
    """The leader adopted by what it had heard; what it waits for must come."""
    at = at_work()
    at.leaves(ADA)
    at.takes_over(BOB)
    at.ends(0, over=False)
    at.ends(1, failed=True)
    at.ends(2)
    at.said.clear()
    at.lead(BOB, 7, adopted=[(1, 100), (2, 101), (3, 102)])
    assert at.done() == [(BOB, 7, [0], 1), (BOB, 7, [2], 2)]
    assert at.given_back() == [(BOB, [1])], "it failed, and what it failed of was for another leader"
    at.is_durable(BOB, 2, step=7)
    assert at.host.retained.of("job") == []


def test_it_is_told_also_when_nothing_of_the_step_is_left():
    at = Kept()
    at.lead(ADA)
    at.assign(ADA, 1, [0], [1])
    at.feed(2)
    at.leaves(ADA)
    at.takes_over(BOB)
    at.ends(0)
    at.ends(1, failed=True)
    at.passes(0.25)
    assert at.host.jobs() == set()
    at.lead(BOB, 7, adopted=[(1, 5), (2, 6)])
    assert at.done() == [(BOB, 7, [0], 1)]
    assert at.given_back() == [(BOB, [1])]


def test_what_was_being_taken_back_when_the_leader_went_is_not_lost():
    at = at_work()
    at.ask_back(ADA, 1, [1, 3])
    at.leaves(ADA)
    at.takes_over(BOB)
    assert [items for _, _, items, _ in at.told()] == [[0, 1], [2], [4, 5]]
    [recall] = at.recalls
    at.host.taken_back(recall.batches[0], [1])
    at.carry_out(at.host.recalled(recall.step, [3, 1], at.now))
    assert at.given_back() == [], "nobody asked, of those who are here"
    at.lead(BOB, 7, adopted=[(1, 1)])
    assert at.given_back() == [(BOB, [1])]


def test_a_leader_that_came_is_waited_for_and_one_that_left_again_is_not():
    at = at_work()
    at.leaves(ADA)
    at.takes_over(BOB)
    at.passes(limits.ORPHAN_S * 3)
    assert at.ended == []
    at.leaves(BOB)
    at.passes(limits.ORPHAN_S - 1)
    assert at.ended == []
    at.takes_over(CEM)
    assert [leader for leader, *_ in at.told()][-4:] == [CEM] * 4
    at.lead(CEM, adopted=[(4, 9)])
    assert at.feed(9) == [(ADA, (4, 5))]


def test_the_same_leader_that_was_away_for_a_moment_finds_all_again():
    at = at_work()
    at.ends(2)
    at.said.clear()
    at.leaves(ADA)
    at.resend(ADA)
    assert [number for _, number, _, _ in at.told()] == [1, 3, 4]
    assert at.redone() == [(ADA, [2])]
    assert at.heard(Ready) == [(ADA, Ready("job", 1))]
    at.lead(ADA, 1, adopted=[(1, 11), (3, 12), (4, 13)])
    at.ends(0, 1)
    assert at.done() == [(ADA, 1, [0, 1], 1)], "numbers begin anew with each opening"
    at.is_durable(ADA, 1)
    assert at.host.retained.of("job") == [], "what was told again before is durable with what came after"


def test_a_leader_that_asks_again_without_having_been_away_hears_no_result_twice():
    at = at_work()
    at.ends(2)
    at.said.clear()
    at.resend(ADA)
    assert at.said == [(ADA, Ready("job", 1))]
    at.takes_over(BOB)
    assert at.redone() == [(BOB, [2])]
    at.takes_over(BOB)
    assert at.redone() == []
    at.leaves(BOB)
    at.resend(BOB)
    assert at.redone() == [(BOB, [2])]


def test_a_leader_may_go_by_what_it_heard_first_though_it_was_told_again():
    """What it heard the second time may come to it only when it has decided already."""
    at = at_work()
    at.leaves(ADA)
    at.takes_over(BOB)
    at.ends(0, 1)
    for _ in range(3):
        at.resend(BOB)
    at.said.clear()
    at.lead(BOB, 7, adopted=[(1, 1), (2, 2)])
    assert at.refused() == at.given_back() == []
    assert at.done() == [(BOB, 7, [0, 1], 1)]


def test_a_leader_that_is_outranked_gets_nothing_again():
    at = at_work()
    at.takes_over(BOB)
    at.said.clear()
    at.resend(ADA)
    at.takes_over(ADA)
    assert at.said == []


def test_a_leader_that_is_still_there_is_superseded():
    """Two parts of a mesh have found each other again."""
    at = at_work()
    at.takes_over(BOB)
    assert [leader for leader, *_ in at.told()] == [BOB] * 4
    at.said.clear()
    at.assign(ADA, 1, [9])
    at.drop(ADA, 1, [0])
    at.is_durable(ADA, 1)
    at.close(ADA, 1, cancel=True)
    at.lead(ADA, 2, path=(5,))
    assert at.refused() == [(ADA, 2, "another peer leads this job now")]
    assert at.said == at.ended == at.forgotten == []
    at.leaves(ADA)
    at.lead(BOB, 7, adopted=[(1, 1), (2, 2), (3, 3), (4, 4)])
    assert [items for _, items in at.feed(9)] == [(3,), (4, 5)]


def test_an_opening_of_a_higher_term_supersedes_though_nobody_said_so_before():
    at = at_work()
    at.lead(BOB, 7, path=(9,))
    at.ends(0, 1)
    assert at.done() == []
    at.takes_over(BOB)
    assert [items for _, _, items, _ in at.told()] == [[2], [3], [4, 5]]
    assert at.redone() == [(BOB, [0, 1])]
    at.assign(BOB, 7, [50])
    assert (BOB, (50,)) in at.feed(9), "its own step is as it was"


def test_a_peer_that_leads_and_works_follows_the_same_rules():
    at = Kept()
    at.lead(ME)
    at.assign(ME, 1, [0], [1])
    at.feed(1)
    at.takes_over(CEM)
    assert [(leader, items) for leader, _, items, _ in at.told()] == [(CEM, [0]), (CEM, [1])]
    at.close(ME)
    at.lead(CEM, 3, adopted=[(1, 1), (2, 2)])
    at.ends(0)
    assert at.done() == [(CEM, 3, [0], 1)]


def test_attack_what_a_peer_may_do_for_itself_alone_is_not_inherited_by_others():
    """A step that is another's from now on is made known to the pool anew, as that other's."""
    at = Kept()
    at.lead(ME, roots=["/home"], any_function=True)
    at.assign(ME, 1, [0], [1])
    at.feed(1)
    at.takes_over(CEM)
    at.lead(CEM, 3, adopted=[(1, 1), (2, 2)])
    mine, theirs = at.prepared
    at.feed(9)
    assert {each.step: tuple(each.batch.items.numbers) for each in at.pool.values()} == {mine: (0,), theirs: (1,)}
    at.close(CEM, 3)
    assert at.ended == [(mine, True), (theirs, True)]


def test_blobs_are_asked_of_the_new_leader():
    at = Kept()
    at.lead(ADA, blobs=[BLOB])
    at.assign(ADA, 1, [0], blobs=[BLOB])
    at.leaves(ADA)
    at.takes_over(BOB)
    lost = list(at.fetching)
    at.lead(BOB, adopted=[(1, 1)], blobs=[BLOB], holders=["cem"])
    new = at.fetching[len(lost) :]
    assert [each.holders for each in new] == [[CEM, BOB], [CEM, BOB]]
    for each in lost:
        at.fetched(each.key, why="it is gone")
    for each in new:
        at.fetched(each.key)
    assert at.refused() == []
    assert len(at.feed(9)) == 1


def test_another_call_under_the_same_path_adopts_nothing_and_its_leader_has_all_again():
    """The leader before may have gone on from what the new one does not know: then its items were others."""
    at = at_work()
    at.ends(2)
    at.leaves(ADA)
    at.takes_over(BOB)
    at.ends(0, over=False)
    at.said.clear()
    at.lead(BOB, 7, adopted=[(1, 1), (3, 3)], header=b"another call")
    assert at.given_back() == [(BOB, [0, 1, 3])]
    assert at.done() == []
    assert at.host.retained.of("job") == []
    assert at.ended == [(at.prepared[0], True)]


def test_much_that_is_held_is_told_in_parts(monkeypatch):
    monkeypatch.setattr(limits, "HELD_NUMBERS_MAX", 20)
    at = Kept()
    at.lead(ADA)
    at.assign(ADA, 1, *([10 * each, 10 * each + 5] for each in range(5)))
    at.leaves(ADA)
    at.takes_over(BOB)
    held = at.heard(Held)
    assert [len(message.batches) for _, message in held] == [2, 2, 1]


# --- nonsense ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adopted", [[(99, 1)], [(1, 1), (-5, 2)], [(2**63, 2**63)]])
def test_attack_a_step_with_batches_that_were_never_held_is_refused(adopted):
    """Nothing would ever come of them."""
    at = at_work()
    at.leaves(ADA)
    at.takes_over(BOB)
    at.lead(BOB, 7, adopted=adopted)
    assert [(leader, step) for leader, step, _ in at.refused()] == [(BOB, 7)]
    assert at.host.jobs() == set()
    assert at.pool == {}


def test_attack_nobody_adopts_what_another_was_told():
    at = at_work()
    at.leaves(ADA)
    at.takes_over(BOB)
    at.lead(CEM, 7, adopted=[(1, 1)])
    assert [(leader, step) for leader, step, _ in at.refused()] == [(CEM, 7)]


def test_attack_a_batch_number_that_is_used_twice_is_no_trouble():
    at = Kept()
    at.lead(ADA)
    for _ in range(2):
        at.assign(ADA, 1, [0, 1])
    for waiting in at.host._steps[ADA, 1].queue:
        waiting.batch = type(waiting.batch)(1, 5, waiting.batch.items, b"")
    at.feed(1)
    at.leaves(ADA)
    at.takes_over(BOB)
    at.lead(BOB, adopted=[(5, 2**62), (5, 8)])
    at.ends(0, 1)
    assert at.done() == [(BOB, 1, [0, 1], 1)]


@pytest.mark.parametrize(("step", "upto"), [(1, -1), (1, 0), (2, 5), (-1, 1), (2**63, 2**63)])
def test_attack_what_cannot_be_durable_is_not(step, upto):
    at = at_work()
    at.ends(0, 1)
    at.is_durable(ADA, upto, step)
    at.is_durable(BOB, 1)
    assert len(at.host.retained.of("job")) == 1


@pytest.mark.parametrize("epoch", [0, -1])
def test_attack_a_term_that_cannot_be_takes_nothing_over(epoch):
    at = at_work()
    at.carry_out(at.host.took_over("job", epoch, 5, BOB, at.now))
    at.carry_out(at.host.took_over("j" * (JOB_CHARS_MAX + 1), 5, 5, BOB, at.now))
    assert at.said == []
    at.ends(0, 1)
    assert at.done() == [(ADA, 1, [0, 1], 1)]


def test_attack_names_beyond_all_measure_are_not_kept_in_mind():
    at = Kept()
    at.lead(ADA, 1, path=tuple(range(PATH_LENGTH_MAX + 1)))
    at.carry_out(at.host.open(ADA, Open(2, "j" * (JOB_CHARS_MAX + 1), b"", epoch=3), [], at.now))
    for step in (1, 2):
        at.assign(ADA, step, [step])
    at.feed(9)
    at.leaves(ADA)
    assert at.host.jobs() == set()
    assert at.pool == {}


def test_attack_of_very_many_jobs_the_terms_used_last_are_remembered(monkeypatch):
    monkeypatch.setattr(limits, "TERMS_MAX", 3)
    at = Kept()
    for job in range(9):
        at.host.took_over(f"job {job}", 5, 0, BOB, at.now)
    assert [at.host._orphans.term(f"job {job}") is None for job in range(9)] == [True] * 6 + [False] * 3


def test_of_a_job_that_is_over_no_step_is_remembered():
    at = Kept()
    for step in range(3):
        at.lead(ADA, step, path=(step,))
    at.open(ADA, 7, "other", path=(1,), epoch=1)
    at.open(ADA, 7, "other", path=(2,), epoch=1)
    for step in range(3):
        at.close(ADA, step)
    assert at.host._orphans.meant(ADA, 2) is not None
    at.carry_out(at.host.job_over("job", at.now))
    assert [at.host._orphans.meant(ADA, step) for step in range(3)] == [None] * 3
    assert at.host._orphans.meant(ADA, 7) is not None
    at.carry_out(at.host.job_over("other", at.now))
    assert (at.host._orphans._openings, at.host._orphans._names) == ({}, {})


def test_attack_of_very_many_steps_those_opened_last_are_remembered(monkeypatch):
    monkeypatch.setattr(limits, "OPENINGS_MAX", 3)
    at = Kept()
    for step in range(9):
        at.lead(ADA, step, path=(step,))
        at.close(ADA, step)
    assert [at.host._orphans.meant(ADA, step) is None for step in range(9)] == [True] * 6 + [False] * 3
    assert sum(map(len, at.host._orphans._names.values())) == 3


def test_attack_of_very_many_orphans_the_oldest_end(monkeypatch):
    monkeypatch.setattr(limits, "ORPHANS_MAX", 2)
    at = Kept()
    for step in range(5):
        at.lead(ADA, step, path=(step,))
        at.assign(ADA, step, [step])
    at.feed(9)
    at.leaves(ADA)
    assert len(at.ended) == 3
    at.takes_over(BOB)
    assert [items for _, _, items, _ in at.told()] == [[3], [4]]


def test_attack_a_step_opened_twice_by_one_leader_leaves_one_orphan():
    at = Kept()
    for step in (1, 2):
        at.lead(ADA, step)
        at.assign(ADA, step, [step])
    at.feed(9)
    at.leaves(ADA)
    assert len(at.ended) == 1
    at.takes_over(BOB)
    assert len(at.told()) == 1


# --- whatever happens ----------------------------------------------------------------------------------------------


class Succession(RuleBasedStateMachine):
    """Leaders come, go, take over and open what they like; the pool ends what it has."""

    leaders = st.sampled_from([ADA, BOB, CEM, ME])
    steps = st.integers(0, 2)
    items = st.lists(st.integers(0, 6), min_size=1, max_size=3, unique=True)

    def __init__(self) -> None:
        super().__init__()
        self.at = Kept(slots=3)
        self.heard_of: dict[PeerId, set[int]] = {}

    @rule(leader=leaders, step=steps, path=st.integers(0, 1), adopts=st.booleans(), call=st.sampled_from([b"a", b"b"]))
    def open(self, leader, step, path, adopts, call):
        held = sorted(self.heard_of.get(leader, ())) if adopts else []
        self.at.lead(leader, step, [(old, old + 1000) for old in held], (path,), call)

    @rule(leader=leaders, step=steps, items=items, blob=st.booleans())
    def assign(self, leader, step, items, blob):
        self.at.assign(leader, step, items, blobs=[BLOB] if blob else [])

    @rule(leader=leaders, step=steps, items=items)
    def drop(self, leader, step, items):
        self.at.drop(leader, step, items)

    @rule(leader=leaders, step=steps)
    def close(self, leader, step):
        self.at.close(leader, step)

    @rule(leader=leaders, resend=st.booleans())
    def take_over(self, leader, resend):
        (self.at.resend if resend else self.at.takes_over)(leader)
        self.heard_of[leader] = {number for to, number, _, _ in self.at.told() if to == leader}

    @rule(leader=leaders)
    def leave(self, leader):
        self.at.leaves(leader)

    @rule(leader=leaders, step=steps, upto=st.integers(-1, 4))
    def durable(self, leader, step, upto):
        self.at.is_durable(leader, upto, step)

    @rule(room=st.integers(0, 3))
    def feed(self, room):
        self.at.carry_out(self.at.host.next_batches(room))

    @rule(failed=st.booleans(), over=st.booleans())
    def end(self, failed, over):
        for each in list(self.at.pool.values())[:1]:
            self.at.ends(*each.batch.items.numbers, failed=failed, over=over)

    @rule(why=st.sampled_from(["", "gone"]))
    def fetched(self, why):
        if self.at.fetching:
            self.at.fetched(why=why)

    @rule(seconds=st.sampled_from([0.3, 40.0]))
    def time(self, seconds):
        self.at.passes(seconds)

    @rule()
    def over(self):
        self.at.carry_out(self.at.host.job_over("job", self.at.now))

    @invariant()
    def the_pool_has_what_it_is_believed_to_have(self):
        running = {number for each in self.at.host._all() for number in each.running}
        assert running == set(self.at.pool)

    @invariant()
    def none_but_the_highest_is_obeyed(self):
        known = self.at.host._orphans.term("job")
        assert all(each.term == known for each in self.at.host._steps.values())

    def teardown(self):
        self.at.carry_out(self.at.host.job_over("job", self.at.now))
        assert self.at.host.jobs() == set()
        assert self.at.pool == {}
        assert self.at.host.retained.bytes == 0


TestSuccession = Succession.TestCase
TestSuccession.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
