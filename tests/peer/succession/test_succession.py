"""Who leads a job: standbys appointed and kept up to date, taken over in rank, two leaders made one again."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwit.ids import PeerId
from meshwit.outcome import JobState
from meshwit.peer.succession import effects as do
from meshwit.peer.succession import known as known_module
from meshwit.peer.succession.known import Role
from meshwit.peer.succession.messages import AskJob, CannotStandBy, Have, LeaderBeat, Leads, counts_of
from meshwit.peer.succession.records import Term
from meshwit.peer.succession.settings import (
    BEAT_S,
    BUSY_S,
    GRACE_S,
    SILENCE_S,
    STAGGER_S,
    STANDBYS_MAX,
    TIMED_MIN,
    WAKE_S,
)
from meshwit.peer.succession.succession import Succession
from tests.peer.succession.succession_world import World


def test_standbys_have_all_that_the_leader_has_written():
    world = World("a", "b", "c", "d")
    world.lead("a")
    world.write("a", 5)
    assert world["b"].disk == world["c"].disk == {"job": {(1, "a"): 5}}
    assert world["d"].disk == {}
    assert world["a"].durable == {"job": 5}


def test_nothing_is_durable_before_all_standbys_have_it():
    world = World("a", "b", "c")
    world.lead("a")
    world["c"].frozen = True
    world.write("a", 3)
    assert world["a"].durable["job"] == 1
    world["c"].frozen = False
    world.settle()
    assert world["a"].durable["job"] == 3


def test_an_older_word_of_what_a_standby_has_takes_nothing_back():
    """It may come late; what it lacks by it is under way already, so nobody would ever ask again."""
    world = World("a", "b", "c")
    world.lead("a")
    world["c"].frozen = True
    world.write("a", 3, over=JobState.COMPLETED)
    leader = world["a"]
    older = Have("job", counts_of({(1, leader.name): 1}))
    world.perform(leader, leader.core.receive(PeerId("b"), older, world.now))
    world["c"].frozen = False
    world.settle()
    assert leader.durable["job"] == 3
    assert leader.finished == ["job"]


def test_without_standbys_the_disk_is_enough_and_without_disk_the_standbys_are():
    alone = World("a")
    alone.lead("a")
    alone.write("a", 4)
    assert alone["a"].durable["job"] == 4
    full = World("a", "b")
    full.lead("a", standbys=1)
    full["a"].disk_full = True
    full.write("a", 4)
    assert full["a"].durable["job"] == 4


def test_the_first_standby_takes_over_when_the_leader_dies():
    world = World("a", "b", "c", "d")
    world.lead("a")
    world.write("a", 5)
    world.kill("a")
    world.run(GRACE_S + 0.1)
    assert world.leaders() == ["b"]
    assert world["b"].taken == [("job", Term(2, 1, PeerId("b")))]
    world.run(5)
    assert world.leaders() == ["b"]
    # The other standby stands by for the new leader, and a third peer takes the place of the first.
    assert world["b"].core.jobs["job"].standbys == ("c", "d")
    assert world["d"].disk["job"] == {(1, "a"): 5, (2, "b"): 1}


def test_leader_and_first_standby_lost_together():
    world = World("a", "b", "c")
    world.lead("a")
    world.kill("a", "b")
    world.run(GRACE_S + STAGGER_S + 0.1)
    assert world.leaders() == ["c"]


def test_three_leaders_in_a_row():
    world = World("a", "b", "c", "d")
    world.lead("a")
    for name in ("a", "b", "c"):
        world.write(name, 3)
        world.kill(name)
        world.run(2)
    assert world.leaders() == ["d"]
    assert world["d"].disk["job"] == {(1, "a"): 3, (2, "b"): 3, (3, "c"): 3, (4, "d"): 1}


def test_a_link_that_is_replaced_at_once_is_no_death():
    world = World("a", "b", "c")
    world.lead("a")
    world.cut(("a", "b"), ("a", "c"))
    world.heal()
    world.run(10)
    assert world.leaders() == ["a"]
    world.write("a", 7)
    assert world["b"].disk["job"] == {(1, "a"): 7}


def test_a_frozen_leader_is_replaced_and_steps_down_when_it_wakes():
    world = World("a", "b", "c")
    world.lead("a")
    world["a"].frozen = True
    world.run(SILENCE_S + 0.3)
    assert world.leaders() == ["a", "b"]
    world["a"].frozen = False
    world.run(1)
    assert world.leaders() == ["b"]
    assert world["a"].stepped_down == [("job", Term(2, 1, PeerId("b")))]


def test_what_a_leader_alone_had_is_handed_over_when_it_steps_down():
    world = World("a", "b", "c")
    world.lead("a")
    world.write("a", 3)
    world.cut(("a", "b"), ("a", "c"))
    world.write("a", 9)
    world.run(2)
    assert world.leaders() == ["a", "b"]
    world.heal()
    world.run(1)
    assert world.leaders() == ["b"]
    assert world["b"].disk["job"][1, PeerId("a")] == 9
    assert world["b"].learned
    assert world["c"].disk["job"][1, PeerId("a")] == 9, "what the new leader learned reaches its standbys"


def test_two_successors_in_two_halves_become_one():
    world = World("a", "b", "c", "d")
    world.lead("a")
    world.kill("a")
    world.cut(("b", "c"), ("b", "d"))
    world.run(3)
    assert world.leaders() == ["b", "c"]
    world.write("b", 4)
    world.write("c", 6)
    world.heal()
    world.run(3)
    assert world.leaders() == ["c"], "of two of the same epoch the higher rank leads"
    assert world["c"].disk["job"] == {(1, "a"): 1, (2, "b"): 4, (2, "c"): 6}


def test_a_leader_is_not_overruled_by_a_term_that_nobody_leads_by():
    """Who took it, cut off and alone, ended, and came back: it leads nothing, and nobody else would."""
    world = World("a", "b", "c")
    world.lead("a")
    world.write("a", 4)
    world.cut(("b", "a"), ("b", "c"))
    world.run(SILENCE_S + 2.0)
    assert world.leaders() == ["a", "b"]
    world.kill("b")
    world.write("a", 9)
    world.heal()
    world.restart("b")
    world.run(0.2)
    assert world.leaders() == ["a"]
    known = world["a"].core.jobs["job"]
    assert known.term.epoch == 3
    assert sorted(known.standbys) == ["b", "c"]
    assert known.versions[1, PeerId("a")] == 9, "nothing that it had is lost"


@pytest.mark.parametrize("over", [JobState.COMPLETED, JobState.CANCELLED, JobState.HELD])
def test_a_leader_that_hears_of_the_end_by_a_higher_term_leads_no_more(over):
    """Though nobody leads by it any more."""
    world = World("a", "b", "c")
    world.lead("a")
    world.write("a", 4)
    world.cut(("a", "b"), ("a", "c"))
    world.run(SILENCE_S + 2.0)
    assert world.leaders() == ["a", "b"]
    world.write("b", 6, over=over)
    world.kill("b")
    world.heal()
    world.run(1.0)
    assert world.leaders() == []


def test_what_was_cancelled_stays_so_when_a_term_above_is_heard_of_that_nobody_leads_by():
    world = World("a", "b")
    world.lead("a", standbys=1)
    world.write("a", 4)
    world.cut(("a", "b"))
    world.run(SILENCE_S + 1.0)
    world.kill("b")
    world.write("a", 9, over=JobState.CANCELLED)
    world.heal()
    world.restart("b")
    world.run(0.2)
    assert world["a"].to_end == ["job"]


def test_nor_one_that_hears_of_it_from_who_only_heard_of_the_end():
    """Its record may come later: a film is fetched before it."""
    world = World("a", "b", "c")
    world.lead("a")
    world.write("a", 4)
    world.cut(("a", "b"), ("a", "c"))
    world.run(SILENCE_S + 2.0)
    world.perform(world["b"], world["b"].core.ended("job", JobState.COMPLETED, world.now))
    world.settle()
    assert world["c"].core.jobs["job"].over is None
    world.kill("b")
    world.heal()
    world.settle()
    assert "a" not in world.leaders()


def test_nor_by_hearsay_of_one():
    world = World("a", "b", "c", "d")
    world.lead("a")
    world.write("a", 4)
    world.cut(("b", "a"), ("b", "c"), ("d", "a"), ("d", "c"))
    world.run(SILENCE_S + 2.0)
    assert world.leaders() == ["a", "b"]
    world.kill("b", "d")
    world.heal()
    world.restart("d")
    world.run(0.2)
    assert world.leaders() == ["a"]
    assert world["a"].core.jobs["job"].term.epoch == 3


def test_a_device_that_comes_back_hears_who_leads_its_job():
    world = World("a", "b", "c")
    world.lead("a")
    world.write("a", 5)
    world.kill("a")
    world.run(2)
    world.restart("a")
    world.run(1)
    assert world.leaders() == ["b"]
    assert world["a"].core.jobs["job"].term == Term(2, 1, PeerId("b"))


def test_a_mesh_that_was_switched_off_leads_nothing_until_somebody_says_so():
    world = World("a", "b", "c")
    world.lead("a")
    world.write("a", 5)
    world.kill("a", "b", "c")
    for name in ("a", "b", "c"):
        world.restart(name)
    world.run(10)
    assert world.leaders() == []
    node = world["b"]
    world.perform(node, node.core.resume("job", 3.0, 2, world.now))
    world.run(1)
    assert world.leaders() == ["b"]
    assert world["b"].core.jobs["job"].term.epoch == 2
    assert world["a"].core.jobs["job"].role is Role.STANDING_BY


def test_a_peer_that_cannot_stand_by_is_replaced_by_one_that_can():
    world = World("a", "b", "c", "d")
    world["b"].refuses = "it has no controller for this"
    world.lead("a")
    assert world["a"].core.jobs["job"].standbys == ("c", "d")


def test_a_standby_whose_disk_is_full_is_replaced():
    world = World("a", "b", "c", "d")
    world.lead("a")
    world["b"].disk_full = True
    world.write("a", 5)
    assert world["a"].core.jobs["job"].standbys == ("c", "d")
    assert world["a"].durable["job"] == 5


def test_a_job_is_finished_once_when_all_of_it_lies_on_its_disk_and_at_all_standbys():
    world = World("a", "b")
    world.lead("a", standbys=1)
    world.write("a", 5)
    assert world["a"].finished == []
    world.write("a", 6, over=JobState.COMPLETED)
    assert world["a"].finished == ["job"]
    world.cut(("a", "b"))
    assert world["a"].finished == ["job"]


def test_a_leader_beats_until_its_standbys_have_the_end_of_its_job():
    """Who is being brought images still would take over what has ended."""
    world = World("a", "b")
    world.lead("a", standbys=1)
    world["b"].frozen = True
    world.write("a", 3, over=JobState.COMPLETED)
    leader = world["a"].core
    assert leader.jobs.owed == 1
    for _ in range(3):
        due = leader.next_deadline()
        assert due is not None
        sent = [effect.message for effect in leader.tick(due) if isinstance(effect, do.Send)]
        assert any(isinstance(message, LeaderBeat) and "job" in message.jobs for message in sent)
    world["b"].frozen = False
    world.settle()
    assert leader.next_deadline() is None
    assert leader.jobs.owed == 0


def test_a_leader_that_sends_records_lives():
    """Its beats may wait behind them."""
    world = World("a", "b")
    world.lead("a", standbys=1)
    standby = world["b"].core
    before = standby.next_deadline()
    later = world.now + SILENCE_S / 2
    welcome, _ = standby.may_append(PeerId("a"), "job", (1, PeerId("a")), 1, 4, later)
    assert welcome
    assert before is not None and standby.next_deadline() == before + SILENCE_S / 2


def test_who_was_told_that_a_job_is_cancelled_takes_it_over_to_end_it():
    """Its record may have been lost with its leader: nobody goes on with what a person was told is cancelled."""
    world = World("a", "b")
    world.lead("a", standbys=1)
    world["a"].disk_full = True
    leader = world["a"]
    world.perform(leader, leader.core.ended("job", JobState.CANCELLED, world.now))
    world.settle()
    world.kill("a")
    world.run(GRACE_S + 0.1)
    assert world["b"].to_end == ["job"]


def test_a_job_that_ended_while_the_disk_was_full_is_finished_when_there_is_room():
    world = World("a", "b")
    world.lead("a", standbys=1)
    a = world["a"]
    a.disk_full = True
    world.write("a", 6, over=JobState.COMPLETED)
    assert (a.durable["job"], a.finished) == (6, [])
    world.perform(a, a.core.stored("job", (1, PeerId("a")), 6, JobState.COMPLETED, world.now))
    assert a.finished == ["job"]


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.HELD])
def test_a_job_that_has_ended_or_stopped_is_not_taken_over(state):
    world = World("a", "b", "c")
    world.lead("a")
    world.write("a", 5, over=state)
    for name in ("b", "c"):
        known = world[name].core.jobs["job"]
        if state is not JobState.HELD:  # as the record of its end says, which came with the others
            world.perform(world[name], world[name].core.stored("job", (1, PeerId("a")), 5, state, world.now))
        assert known.over is state
    world.kill("a")
    world.run(10)
    assert world.leaders() == []


def test_a_job_that_is_held_is_led_on_by_whoever_resumes_it():
    world = World("a", "b", "c")
    world.lead("a")
    world.write("a", 5, over=JobState.HELD)
    assert world.leaders() == []
    for name in ("a", "b"):
        world.perform(world[name], world[name].core.resume("job", 1.0, 2, world.now))
        world.settle()
        assert world.leaders() == [name]
        assert world[name].core.jobs["job"].over is None


def test_a_standby_whose_device_was_suspended_waits_for_its_network():
    """It comes back after seconds, and finds the old connections ended: its leader may live."""
    world = World("a", "b")
    world.lead("a", standbys=1)
    world.write("a", 3)
    standby = world["b"].core
    standby.overslept(world.now, suspended=True)
    woke_at = world.now
    world.cut(("a", "b"))
    world.run(WAKE_S - 1.0)
    assert world.leaders() == ["a"]
    world.heal()
    world.run(1.0)
    assert world.leaders() == ["a"]
    world.kill("a")
    world.run(GRACE_S + 0.1)
    assert world.leaders() == ["b"], "it has heard its leader since: it waits no longer than usual"
    assert world.now < woke_at + WAKE_S + 5.0


def test_a_hiccup_while_a_device_waits_for_its_network_ends_no_wait():
    world = World("a", "b")
    world.lead("a", standbys=1)
    standby = world["b"].core
    standby.overslept(world.now, suspended=True)
    world.cut(("a", "b"))
    world.run(5.0)
    standby.overslept(world.now)
    world.run(WAKE_S - 7.0)
    assert world.leaders() == ["a"]


def test_a_leader_whose_beats_wait_behind_what_it_sends_is_given_time_but_not_for_ever():
    world = World("a", "b")
    world.lead("a", standbys=1)
    standby, leader = world["b"].core, PeerId("a")
    heard_at = world.now
    for after, due in ((2.0, 2.0 + SILENCE_S), (BUSY_S, BUSY_S + SILENCE_S), (BUSY_S + 5.0, BUSY_S + SILENCE_S)):
        standby.signs.spoke(leader, heard_at + after)
        assert standby.next_deadline() == pytest.approx(heard_at + due, abs=BEAT_S)
    standby.signs.spoke(PeerId("c"), heard_at + 90.0)
    world.kill("a")
    world.run(GRACE_S + 0.1)
    assert world.leaders() == ["b"], "where the connection has ended nothing is waited for"


def test_a_standby_whose_device_was_suspended_takes_over_if_its_leader_does_not_come_back():
    world = World("a", "b")
    world.lead("a", standbys=1)
    world["b"].core.overslept(world.now, suspended=True)
    world.kill("a")
    world.run(WAKE_S - 1.0)
    assert world.leaders() == []
    world.run(2.0)
    assert world.leaders() == ["b"]


def test_a_standby_that_slept_itself_does_not_think_its_leader_dead():
    world = World("a", "b")
    world.lead("a")
    world["b"].frozen = True
    world.run(30)
    world["b"].frozen = False
    world["b"].core.overslept(world.now)
    world.run(5)
    assert world.leaders() == ["a"]


def test_the_clock_of_a_job_goes_on_with_its_next_leader():
    world = World("a", "b")
    world.run(100)
    world.lead("a")
    world.run(7)
    world.kill("a")
    world.run(1)
    assert world.leaders() == ["b"]
    assert world.now - world["b"].core.jobs["job"].origin == pytest.approx(8, abs=0.4)


def test_a_leader_takes_nobodys_word_for_its_own_log():
    world = World("a", "b")
    world.lead("a")
    welcome, _ = world["a"].core.may_append(PeerId("b"), "job", (1, PeerId("a")), 1, 5, world.now)
    assert not welcome


TEXTS = st.sampled_from(["a", "b", "c", "x", ""])
TERMS = st.builds(Term, st.integers(-1, 2**40), st.integers(-1, 99), TEXTS)
COUNTS = st.lists(st.tuples(st.integers(-1, 9), TEXTS, st.integers(-5, 2**40)), max_size=5)
MESSAGES = st.one_of(
    st.builds(Leads, st.sampled_from(["job", "other"]), TERMS, st.lists(TEXTS, max_size=STANDBYS_MAX + 2)),
    st.builds(Have, st.sampled_from(["job", "other"]), COUNTS, st.booleans()),
    st.builds(CannotStandBy, st.sampled_from(["job", "other"]), TEXTS),
    st.builds(AskJob, st.sampled_from(["job", "other"])),
    st.builds(LeaderBeat, st.dictionaries(st.sampled_from(["job", "other"]), st.tuples(st.integers(), st.floats()))),
)


@given(st.lists(st.tuples(TEXTS, MESSAGES), max_size=30))
def test_whatever_peers_say_nothing_breaks(said):
    core = Succession(PeerId("a"))
    for peer in ("b", "c"):
        core.linked(PeerId(peer), 0.0)
    core.rank([PeerId("b"), PeerId("c")], 0.0)
    core.lead("job", 2, 0.0)
    for number, (peer, message) in enumerate(said):
        core.receive(PeerId(peer), message, float(number))
        core.tick(float(number))
        core.check()


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_one_leads_in_the_end_and_nothing_written_is_lost(seed):
    chance = random.Random(seed)
    names = ["a", "b", "c", "d", "e"]
    world = World(*names)
    world.lead("a")
    written: dict[tuple[int, PeerId], int] = {}
    for _ in range(30):
        match chance.choice(["write", "write", "kill", "restart", "cut", "heal", "freeze", "thaw", "run"]):
            case "write":
                for leader in world.leaders():
                    node = world[leader]
                    if not node.frozen:
                        known = node.core.jobs["job"]
                        count = known.versions[known.term.log] + chance.randint(1, 3)
                        world.write(leader, count)
                        written[known.term.log] = max(count, written.get(known.term.log, 0))
            case "kill" if sum(node.alive for node in world.nodes.values()) > 2:
                world.kill(chance.choice([name for name in names if world[name].alive]))
            case "restart":
                for name in names:
                    if not world[name].alive:
                        world.restart(name)
                        break
            case "cut":
                one, other = chance.sample([name for name in names if world[name].alive], 2)
                if world.connected(world[one], world[other]):
                    world.cut((one, other))
            case "heal":
                world.heal()
            case "freeze":
                world[chance.choice(names)].frozen = True
            case "thaw" | "run":
                for node in world.nodes.values():
                    if node.frozen:
                        node.frozen = False
                        node.core.overslept(world.now)
                world.run(chance.uniform(0.1, 5))
    for name in names:
        world[name].frozen = False
    world.heal()
    for name in names:
        if not world[name].alive:
            world.restart(name)
    world.run(10)
    if not world.leaders():  # all who knew of it were off at once
        holder = next(node for node in world.nodes.values() if node.disk.get("job"))
        world.perform(holder, holder.core.resume("job", 0.0, 2, world.now))
        world.run(3)
    world.run(10)
    assert len(world.leaders()) == 1
    leader = world[world.leaders()[0]]
    assert written.items() <= {log: count for log, count in leader.disk["job"].items() if log in written}.items()
    for standby in leader.core.jobs["job"].standbys:
        assert world[standby].disk["job"] == leader.disk["job"]


def test_jobs_that_are_over_cost_their_leader_and_its_standbys_no_time():
    world = World("a", "b", "c")
    for number in range(5 * TIMED_MIN):
        job = f"job-{number}"
        world.lead("a", job)
        world.write("a", 2, job, over=JobState.COMPLETED)
    assert all(len(world[name].core.jobs) == 5 * TIMED_MIN for name in "abc")
    assert all(len(world[name].core.jobs.timed) <= TIMED_MIN for name in "abc")
    assert all(world[name].core.next_deadline() is None for name in "abc")


def test_a_job_that_was_led_to_its_end_is_forgotten_when_it_is_kept_no_longer():
    world = World("a")
    world.lead("a")
    core = world["a"].core
    core.forget("job")
    assert "job" in core.jobs, "it runs"
    world.write("a", 2, over=JobState.COMPLETED)
    core.forget("job")
    assert "job" not in core.jobs


def test_a_new_job_is_known_however_many_others_are(monkeypatch):
    """Its leader waits for the answer of a standby that forgot it at once."""
    monkeypatch.setattr(known_module, "KNOWN_MAX", 5)
    world = World("a", "b")
    for number in range(8):
        world.lead("a", f"old{number}", standbys=1)
    world.lead("a", "new", standbys=1)
    assert world["b"].core.jobs["new"].role is Role.STANDING_BY
    core = world["b"].core
    core.receive(PeerId("a"), Leads("another", Term(1, 0, PeerId("a"))), world.now)
    assert "another" in core.jobs


def test_who_lacks_all_of_a_log_cannot_lead_it_on():
    """A standby that is named may still be waiting for the job's scene, or refuse."""
    world = World("a", "b")
    world["b"].frozen = True
    world.lead("a", standbys=1)
    assert world["a"].core.jobs["job"].standbys == ("b",)
    assert not world["a"].core.jobs.is_followed("job")
    world["b"].frozen = False
    world.settle()
    assert world["a"].core.jobs.is_followed("job")
