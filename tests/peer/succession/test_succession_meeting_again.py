"""Peers that were apart, or began anew, come to one view of a job: who led it last, and what became of it."""

from __future__ import annotations

from succession_world import World

from meshwit.ids import PeerId
from meshwit.outcome import JobState
from meshwit.peer.succession import effects as do
from meshwit.peer.succession.known import Role
from meshwit.peer.succession.messages import Leads
from meshwit.peer.succession.records import Term
from meshwit.peer.succession.succession import Succession

A, B = PeerId("a"), PeerId("b")


def apart() -> World:
    """Two halves, each with a leader that has ended the job."""
    world = World("a", "b", "c", "d")
    world.lead("a", standbys=2)
    world.write("a", 3)
    world.cut(("a", "b"), ("a", "c"), ("a", "d"))
    world.run(4.0)
    assert world["b"].core.jobs["job"].role is Role.LEADING
    world.write("a", 9, over=JobState.COMPLETED)
    world.write("b", 7, over=JobState.COMPLETED)
    return world


def test_two_that_ended_a_job_apart_tell_each_other_when_they_meet():
    world = apart()
    world.heal()
    world.run(1.0)
    for name in ("a", "b"):
        assert world[name].disk["job"] == {(1, A): 9, (2, B): 7}
        assert world[name].core.jobs["job"].term == Term(2, 1, B)
    assert world["a"].stepped_down == [("job", Term(2, 1, B))]


def test_peers_that_came_to_stand_by_for_the_lower_leader_learn_of_the_higher_one():
    """The higher one knows nothing of them: it tells those alone that it had lost."""
    world = World("a", "b", "c", "d", "e")
    world.lead("a", standbys=2)
    world.write("a", 3)
    world.cut(*((one, other) for one in "ade" for other in "bc"))
    world.run(4.0)
    assert world["a"].core.jobs["job"].standbys == ("d", "e")
    world.write("a", 9, over=JobState.COMPLETED)
    world.write("b", 7, over=JobState.COMPLETED)
    world.heal()
    world.run(1.0)
    for name in "abcde":
        assert world[name].core.jobs["job"].term == Term(2, 1, B), name
        assert world[name].disk["job"][2, B] == 7, name
    assert world.leaders() == ["b"]


def test_who_was_appointed_and_had_not_heard_it_when_the_leader_was_lost_leads_on_after_all_others():
    """It has the history; and nobody else may."""
    late = Succession(PeerId("c"))
    late.linked(A, 0.0)
    late.may_stand_by(A, "job", Term(1, 0, A), 0.0)
    late.standing_by("job", Term(1, 0, A), {(1, A): 1}, 0.0)
    assert late.jobs["job"].standbys == ()
    late.unlinked(A, 1.0)
    due = late.next_deadline()
    assert due is not None
    assert [each for each in late.tick(due) if isinstance(each, do.TakeOver)]


def test_what_an_earlier_leader_ended_does_not_end_it_for_standbys_of_a_later_one():
    standby = Succession(PeerId("c"))
    standby.linked(B, 0.0)
    standby.may_stand_by(B, "job", Term(2, 1, B), 0.0)
    standby.standing_by("job", Term(2, 1, B), {}, 0.0)
    standby.stored("job", (1, A), 9, JobState.COMPLETED, 0.0)
    assert standby.jobs["job"].over is None
    standby.stored("job", (2, B), 4, JobState.FAILED, 0.0)
    assert standby.jobs["job"].over is JobState.FAILED


def test_who_is_about_to_resume_a_job_gets_what_others_have_of_it():
    world = World("a", "b")
    world.lead("a", standbys=1)
    world.write("a", 3)
    world.kill("a")
    world.run(2.0)
    world.write("b", 5)
    world.kill("b")
    world.restart("a")
    world.restart("b")
    world.run(1.0)
    a = world["a"]
    world.perform(a, a.core.gather("job"))
    world.settle()
    assert a.disk["job"] == {(1, A): 3, (2, B): 5}


def test_workers_tell_a_successor_what_they_hold_though_somebody_else_spoke_first():
    peer = Succession(PeerId("d"))
    term = Term(2, 1, B)
    assert peer.receive(PeerId("c"), Leads("job", term), 0.0) == [do.Led("job", term, took_over=False)]
    said = Leads("job", term, took_over=True)
    assert do.Led("job", term, took_over=True) in peer.receive(B, said, 0.0)
    assert do.Led("job", term, took_over=True) not in peer.receive(B, said, 0.0)


def test_who_led_a_job_and_began_anew_is_not_taken_for_its_leader():
    world = World("a", "b")
    world.lead("a", standbys=1)
    world.write("a", 3)
    world.kill("a", "b")
    world.restart("a")
    world.restart("b")
    world.run(1.0)
    b = world["b"]
    world.perform(b, b.core.gather("job"))
    world.settle()
    assert not b.core.jobs.is_led("job")


def test_who_led_a_job_and_began_anew_says_so_to_whoever_led_by_a_lower_term():
    world = World("a", "b", "c")
    world.lead("a", standbys=1)
    world.write("a", 3)
    world.cut(("a", "b"), ("a", "c"))
    world.run(4.0)
    world.write("a", 9, over=JobState.COMPLETED)
    world.kill("a", "b", "c")
    world.heal()
    for name in "abc":
        world.restart(name)
    world.run(1.0)
    for name in "abc":
        assert world[name].core.jobs["job"].term.log == (2, B)
        assert world[name].core.jobs["job"].over is None
        assert not world[name].core.jobs.is_led("job")
