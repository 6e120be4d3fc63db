"""The scheduler of a Grid step, by stories and at random: nothing is lost, nothing runs without need."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwit.ids import PeerId
from meshwit.peer.sched.config import SchedulerConfig
from meshwit.peer.sched.effects import Drop, Give, Lost, StepDone, TakeBack
from meshwit.peer.sched.estimates import RatePrior
from meshwit.peer.sched.grid import STRATEGIES, GridScheduler
from tests.peer.sched.grid_builder import Story

A, B = PeerId("a"), PeerId("b")


def test_each_slot_gets_one_item_and_one_ahead_at_the_start():
    story = Story(100).join(a=1.0, b=1.0).start()
    assert len(story.items("a")) == len(story.items("b")) == 2
    assert not set(story.items("a")) & set(story.items("b"))


def test_nothing_is_given_before_the_start():
    assert Story(10).join(a=1.0).effects == []


def test_balanced_gives_the_shares_by_rate_at_once():
    story = Story(100, strategy="Balanced").join(a=3.0, b=1.0).start()
    assert (len(story.items("a")), len(story.items("b"))) == (75, 25)


def test_the_plan_is_the_office():
    story = Story(1000).join(workstation=850, tower=620, laptop=340, mini=200)
    assert [share.items for share in story.scheduler.plan()] == [423, 309, 169, 99]
    assert sum(share.share for share in story.scheduler.plan()) == pytest.approx(1)


def test_the_longest_go_first_where_work_is_estimated():
    story = Story(4, works=[1.0, 5.0, 2.0, 4.0]).join(a=1.0).start()
    assert story.items("a") == [1, 3]


def test_a_slow_peer_gets_no_item_that_the_others_would_end_sooner():
    story = Story(4).join(fast=100.0, slow=1.0).start()
    assert story.items("slow") == []
    assert story.items("fast") == [0, 1]


def test_small_tasks_come_in_batches():
    story = Story(100_000).join(a=1.0).start().begins("a")
    for turn in range(1, 8):
        story.at(turn / 100).ends("a", 0.0001)
    assert len(story.gives["a"][-1].items) == pytest.approx(500, abs=1)  # 50 ms


def test_the_step_is_done_once_and_then_quiet():
    story = Story(2).join(a=1.0).start().begins("a").at(1.0).ends("a", 1.0).at(2.0).ends("a", 1.0)
    assert story.done
    assert story.at(100.0).tick().effects == []
    assert story.scheduler.next_deadline() is None


def test_a_step_without_items_is_done_at_its_start():
    assert Story(0).start().done


def test_items_of_a_peer_that_left_go_elsewhere_and_finished_ones_do_not():
    story = Story(4).join(a=1.0, b=1.0).start().begins("a").begins("b").at(1.0).ends("a", 1.0)
    first = story.items("a")[0]
    story.perform(story.scheduler.peer_left(A, 1.1))
    for turn in range(2, 6):
        if not story.done:
            story.at(float(turn)).ends("b", 1.0)
    assert story.done
    assert first not in story.items("b")
    assert set(story.items("a")) | set(story.items("b")) == {0, 1, 2, 3}


def test_work_is_taken_back_for_a_peer_that_would_be_idle():
    story = Story(10, strategy="Balanced").join(a=1.0, b=1.0).start().begins("a").begins("b")
    for turn in range(1, 6):
        story.at(turn * 0.1).ends("a", 0.1)
    assert story.asked["b"]
    back = [item for item in story.asked["b"] if item != story.items("b")[0]]
    story.perform(story.scheduler.taken_back(B, back, 0.51))
    assert set(back) & set(story.items("a"))


def test_what_a_peer_had_begun_stays_with_it():
    story = Story(10, strategy="Balanced").join(a=1.0, b=1.0).start().begins("a").begins("b")
    for turn in range(1, 6):
        story.at(turn * 0.1).ends("a", 0.1)
    story.perform(story.scheduler.taken_back(B, [], 0.51))
    assert story.scheduler.ledger.unsettled == 5


def straggling() -> Story:
    """Two peers end 60 items of 0.1 s; then `b` sits on its last one."""
    story = Story(61).join(a=1.0, b=1.0).start().begins("a").begins("b")
    turn = 1
    while story.scheduler.ledger.unsettled > 1:
        story.at(turn * 0.1)
        for name in ("a", "b"):
            if story.scheduler._holders[PeerId(name)].running and story.scheduler.ledger.unsettled > 1:
                story.ends(name, 0.1)
        turn += 1
    return story


def test_an_idle_peer_runs_a_straggler_a_second_time_and_the_loser_is_dropped():
    story = straggling()
    owner = next(name for name in ("a", "b") if story.scheduler._holders[PeerId(name)].running)
    other = "b" if owner == "a" else "a"
    story.at(story.now + 0.25).tick()
    assert isinstance(story.effects[0], Give) and story.effects[0].duplicate and story.effects[0].peer == other
    item = story.effects[0].items[0]
    story.begins(other).at(story.now + 0.1).ends(other, 0.1)
    assert story.done
    assert story.effects == [Drop(PeerId(owner), [item]), StepDone()]
    assert 0 < story.scheduler.waste <= 0.05
    assert "second run" in story.scheduler.explain(item)[-1]


def test_a_late_result_of_the_loser_is_no_news():
    story = straggling()
    owner = next(name for name in ("a", "b") if story.scheduler._holders[PeerId(name)].running)
    other = "b" if owner == "a" else "a"
    story.at(story.now + 0.25).tick()
    item = story.effects[0].items[0]
    story.begins(other).at(story.now + 0.1).ends(other, 0.1)
    assert story.perform(story.scheduler.finished(PeerId(owner), [item], [0.4], story.now)).effects == []
    assert story.scheduler.strays == 1


def test_a_frozen_peer_loses_its_items_at_once_and_gets_no_more():
    story = Story(40, strategy="Balanced").join(a=1.0, b=1.0).start().begins("a").begins("b")
    story.at(0.1).ends("a", 0.1).ends("b", 0.1)
    for turn in range(2, 9):
        story.at(turn * 0.1).ends("a", 0.1)
    held = set(story.items("b")[1:])
    story.at(2.0)
    story.perform(story.scheduler.finished(A, [story.items("a")[8]], [0.1], story.now)).tick()
    assert story.scheduler._holders[B].frozen
    assert {item for item in held if item in story.scheduler._pending} | (held & set(story.items("a"))) == held
    assert set(story.asked["b"]) < held


def test_a_frozen_peer_that_wakes_is_welcome_with_its_result():
    story = Story(40, strategy="Balanced").join(a=1.0, b=1.0).start().begins("a").begins("b")
    story.at(0.1).ends("a", 0.1).ends("b", 0.1)
    ran = story.items("b")[1]
    story.at(0.6).ends("a", 0.1).at(50.0).tick()
    assert story.scheduler._holders[B].frozen
    story.perform(story.scheduler.finished(B, [ran], [0.1], 50.1))
    assert not story.scheduler._holders[B].frozen
    assert story.scheduler.ledger.finished == 4
    assert story.scheduler.strays == 0


def test_failed_items_are_tried_again_or_set_aside():
    story = Story(2).join(a=1.0).start().begins("a")
    story.perform(story.scheduler.failed(A, [0], True, 0.1))
    assert story.items("a") == [0, 1, 0]
    story.begins("a")
    story.perform(story.scheduler.failed(A, [1], False, 0.2)).begins("a").at(0.3).ends("a", 0.1)
    assert story.done
    assert story.scheduler.explain(1)[-1].startswith("set aside")
    assert len(story.scheduler.explain(0)) == 2


def test_items_appended_keep_the_step_open():
    story = Story(1, complete=False).join(a=1.0).start().begins("a").at(1.0).ends("a", 1.0)
    assert not story.done
    story.perform(story.scheduler.append(1, None, 1.0)).begins("a").at(2.0).ends("a", 1.0)
    assert not story.done
    assert story.perform(story.scheduler.close(2.0)).done


def test_appended_items_with_estimates_are_placed_by_length():
    story = Story(2, works=[1.0, 1.0], complete=False).start()
    story.perform(story.scheduler.append(2, [9.0, 0.5], 0.0)).join(a=1.0)
    assert story.items("a")[0] == 2


def test_a_peer_without_slots_gives_back_what_waits():
    story = Story(100).join(a=1.0).start().begins("a")
    story.perform(story.scheduler.slots_changed(A, 0, 0.1))
    assert story.effects == [TakeBack(A, story.items("a")[1:])]


def test_what_makes_no_sense_raises_at_the_start_and_never_later():
    with pytest.raises(ValueError, match="no strategy"):
        GridScheduler("Random", 1)
    for works in ([1.0], [1.0, -1.0], [1.0, float("nan")]):
        with pytest.raises(ValueError, match="estimates"):
            GridScheduler("Queued", 2, works)
    scheduler = GridScheduler("Queued", 2)
    scheduler.peer_joined(A, 1, RatePrior(1.0), 0.0)
    scheduler.start(0.0)
    assert scheduler.finished(B, [0], [1.0], 1.0) == []
    scheduler.finished(A, [7, -3], [1.0, 1.0], 1.0)
    scheduler.taken_back(A, [9], 1.0)
    scheduler.batch_started(A, 77, 1.0)
    scheduler.check()
    assert scheduler.strays == 4
    assert scheduler.explain(9) == ["there is no item 9"]


# --- what was known, what runs once, who is alive ----------------------------------------------------------------


def test_known_items_are_finished_and_never_given():
    story = Story(6, known=[0, 2, 3]).join(a=1.0).start()
    assert story.scheduler.ledger.finished == 3
    assert (story.scheduler.unsettled, story.scheduler.pending_count) == (3, 1)
    story.begins("a")
    for turn in range(1, 4):
        story.at(float(turn)).ends("a", 1.0)
    assert story.done
    assert story.items("a") == [1, 4, 5]
    assert story.scheduler.explain(0) == ["its result was known before"]


def test_known_items_leave_the_longest_first():
    assert Story(4, works=[1.0, 9.0, 2.0, 4.0], known={1}).join(a=1.0).start().items("a") == [3, 2]


def test_a_step_of_which_all_is_known_is_done_at_its_start():
    assert Story(3, known=range(3)).join(a=1.0).start().done
    with pytest.raises(ValueError, match="item 3"):
        GridScheduler("Queued", 3, known=[3])


def test_a_step_goes_on_where_another_stopped_with_a_million_known():
    scheduler = GridScheduler("Adaptive", 1_000_000, known=range(0, 1_000_000, 2))
    assert scheduler.unsettled == scheduler.pending_count == 500_000


def test_what_ran_on_a_peer_that_left_is_told_and_pending_again():
    story = Story(10, strategy="Balanced").join(a=1.0, b=1.0).start().begins("a").begins("b")
    ran = story.items("a")[0]
    story.perform(story.scheduler.peer_left(A, 0.1))
    assert story.effects[0] == Lost(A, [ran], final=False)
    assert ran in story.scheduler._pending or ran in story.items("b")


def test_a_peer_that_had_begun_nothing_loses_nothing_when_it_leaves():
    story = Story(10).join(a=1.0, b=1.0).start()
    assert not any(isinstance(each, Lost) for each in story.perform(story.scheduler.peer_left(A, 0.1)).effects)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_items_that_run_once_are_given_singly_and_set_aside_with_a_peer_that_leaves(strategy):
    story = Story(5, strategy=strategy, once=True).join(a=1.0, b=1.0).start().begins("a").begins("b")
    assert (len(story.items("a")), len(story.items("b"))) == (1, 1)
    ran = story.items("a")
    story.perform(story.scheduler.peer_left(A, 0.1))
    assert story.effects[0] == Lost(A, ran, final=True)
    for turn in range(1, 5):
        story.at(float(turn)).ends("b", 1.0)
    assert story.done
    assert not set(ran) & set(story.items("b"))
    assert story.scheduler.ledger.finished == 4


def test_an_item_that_runs_once_and_may_have_begun_is_not_given_again():
    """Its peer left before it could say that it began."""
    story = Story(3, once=True).join(a=1.0).start()
    assert story.perform(story.scheduler.peer_left(A, 0.1)).effects == [Lost(A, [0], final=True)]


def test_items_that_run_once_are_set_aside_with_a_frozen_peer_and_its_late_result_is_not_taken():
    beats = SchedulerConfig(beats=True, silence_min_s=1.0)
    story = Story(3, once=True, config=beats).join(a=1.0, b=1.0).start().begins("a").begins("b")
    ran = story.items("b")
    story.at(0.9).perform(story.scheduler.heard(A, 0.9)).at(1.0).tick()
    assert Lost(B, ran, final=True) in story.effects
    assert story.dropped["b"] == ran
    story.perform(story.scheduler.finished(B, ran, [1.0], 1.1))
    assert story.scheduler.ledger.finished == 0
    assert story.scheduler.strays == 1
    story.at(2.0).ends("a", 2.0)


def test_nothing_that_runs_once_runs_twice_for_an_idle_peer():
    beats = SchedulerConfig(beats=True)
    story = Story(21, once=True, config=beats).join(a=1.0, b=1.0).start().begins("a").begins("b")
    while story.scheduler.ledger.unsettled > 1:
        story.at(story.now + 0.1).ends("a", 0.1)
    for _ in range(100):
        story.at(story.now + 0.1).perform(story.scheduler.heard(B, story.now)).tick()
    assert not any(give.duplicate for give in story.gives["a"])
    assert story.dropped == {} and story.asked == {}


def beating() -> Story:
    """Two peers with batches, of which nothing is measured yet."""
    beats = SchedulerConfig(beats=True, silence_min_s=1.0)
    return Story(10, config=beats).join(a=1.0, b=1.0).start().begins("a").begins("b")


def test_a_peer_that_beats_is_alive_however_long_its_tasks_are():
    story = beating()
    for quarter in range(1, 400):
        story.at(quarter / 4)
        story.perform(story.scheduler.heard(A, story.now)).perform(story.scheduler.heard(B, story.now)).tick()
    assert not story.scheduler._holders[A].frozen and not story.scheduler._holders[B].frozen


def test_a_peer_that_stops_beating_is_frozen_and_told_of_before_anything_is_measured():
    story = beating()
    ran, held = story.items("b")[0], set(story.items("b"))
    story.at(0.9).perform(story.scheduler.heard(A, 0.9)).tick()
    assert not story.scheduler._holders[B].frozen
    story.at(1.0).tick()
    assert story.scheduler._holders[B].frozen
    assert Lost(B, [ran], final=False) in story.effects
    assert held == {item for item in held if item in story.scheduler._pending}


def test_a_frozen_peer_that_beats_again_gets_items_again():
    story = beating().at(0.9)
    story.perform(story.scheduler.heard(A, 0.9)).at(1.0).tick()
    before = len(story.gives["b"])
    story.perform(story.scheduler.heard(B, 1.5))
    assert not story.scheduler._holders[B].frozen
    assert len(story.gives["b"]) > before


def test_an_idle_peer_may_be_silent():
    story = Story(1, config=SchedulerConfig(beats=True)).join(a=9.0, b=1.0).start().begins("a")
    story.at(60.0).perform(story.scheduler.heard(A, 60.0)).tick()
    assert not story.scheduler._holders[B].frozen


def test_a_peer_that_cannot_split_what_runs_is_asked_once():
    story = Story(400, strategy="Balanced").join(a=1.0, b=1.0).start().begins("a").begins("b")
    while story.scheduler._holders[A].queue or story.scheduler._holders[A].running:
        story.at(story.now + 0.01).ends("a", 0.001)
    for _ in range(2 * len(story.scheduler._holders[B].queue) + 4):
        if "b" not in story.asked:
            break
        asked = story.asked.pop("b")
        story.perform(story.scheduler.taken_back(B, [], story.now))
    assert asked
    assert "b" not in story.asked


# --- giving up, telling, ending ----------------------------------------------------------------------------------


def test_items_set_aside_leave_whoever_has_them_and_end_the_step():
    story = Story(4).join(a=1.0).start().begins("a")
    story.perform(story.scheduler.set_aside([0, 3, 3, 99], 0.1))
    assert story.effects[0] == Drop(A, [0])
    assert story.scheduler.pending_count + len(story.waiting("a")) == 2
    story.begins("a").at(1.0).ends("a", 1.0).at(2.0).ends("a", 1.0)
    assert story.done
    assert story.scheduler.ledger.finished == 2
    assert story.scheduler.explain(3) == ["set aside: it is not run again"]
    assert Story(2).start().perform([]).scheduler.set_aside([0, 1], 0.0) == [StepDone()]


def test_an_item_that_runs_twice_is_set_aside_on_both():
    story = straggling()
    story.at(story.now + 0.25).tick()
    item = story.effects[0].items[0]
    story.perform(story.scheduler.set_aside([item], story.now))
    assert {each.peer for each in story.effects if isinstance(each, Drop)} == {A, B}
    assert story.done


def test_after_the_end_nothing_is_wanted():
    story = Story(2).join(a=1.0).start().begins("a").at(1.0).ends("a", 1.0).at(2.0).ends("a", 1.0)
    scheduler, now = story.scheduler, 3.0
    assert story.done
    for effects in (
        scheduler.finished(A, [0], [1.0], now), scheduler.failed(A, [1], True, now), scheduler.heard(A, now),
        scheduler.failed(A, [1], False, now), scheduler.taken_back(A, [1], now), scheduler.batch_started(A, 0, now),
        scheduler.set_aside([0], now), scheduler.peer_joined(B, 2, RatePrior(1.0), now),
        scheduler.slots_changed(A, 3, now), scheduler.tick(now), scheduler.close(now), scheduler.peer_left(A, now),
    ):  # fmt: skip
        assert effects == []
    assert scheduler.ledger.finished == 2


def test_rates_are_told_of_those_that_were_seen():
    story = Story(100).join(a=2.0, b=1.0).start().begins("a")
    assert story.scheduler.rates() == story.scheduler.seen() == {}
    for turn in range(1, 21):
        story.at(turn * 0.5).ends("a", 0.5)
    assert story.scheduler.rates() == {A: pytest.approx(2.0, rel=0.02)}
    ((peer, seen),) = story.scheduler.seen().items()
    assert peer == A
    assert seen.per_s == pytest.approx(2.0)
    assert seen.precision > 20 / 0.25  # twenty items, all of one length


def test_of_items_that_differ_a_hundredfold_few_say_little():
    story = Story(100).join(a=1.0, b=1.0).start().begins("a").begins("b")
    for turn in range(1, 4):
        story.at(turn * 10.0).ends("a", 0.001 * 10**turn).ends("b", 0.1 * 10**turn)
    seen = story.scheduler.seen()
    assert seen[A].per_s / seen[B].per_s > 10
    assert seen[A].precision < 3


def test_reports_of_whole_batches_and_of_rows_and_of_others_are_booked_alike():
    story = Story(10_000, strategy="Balanced").join(a=1.0, b=1.0).start().begins("a").begins("b")
    scheduler = story.scheduler
    mine, more = (list(give.items) for give in story.gives["a"][:2])
    story.at(1.0).perform(scheduler.finished(A, mine, [0.1] * len(mine), 1.0))
    story.perform(scheduler.finished(A, more[:1], [0.1], 1.1))
    story.perform(scheduler.finished(A, [*more[1:], *story.items("b")[:2]], [0.1] * (len(more) + 1), 1.2))
    assert scheduler.ledger.finished == len(mine) + len(more)
    assert scheduler.strays == 2
    story.perform(scheduler.finished(A, mine, [0.1] * len(mine), 1.3))
    assert scheduler.ledger.finished == len(mine) + len(more)
    row = list(story.gives["a"][0].items)[:3]
    assert story.perform(scheduler.finished(B, row, [0.1] * len(row), 1.4)).scheduler.strays == 2 + len(mine) + len(row)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(STRATEGIES), st.integers(0, 30), st.booleans())
def test_whatever_happens_each_item_ends_once_and_the_step_with_the_last(data, strategy, count, estimated):
    """Peers come, go, freeze, fail, answer late; at last a faithful peer ends what is left."""
    works = [1.0 + number % 7 for number in range(count)] if estimated else None
    scheduler = GridScheduler(strategy, count, works)
    held: dict[str, list[tuple[int, list[int]]]] = {}
    ended: list[int] = []
    done: list[bool] = []
    now = 0.0

    def perform(effects):
        for effect in effects:
            match effect:
                case Give():
                    held.setdefault(effect.peer, []).append((effect.batch, list(effect.items)))
                case Drop():
                    for _, items in held.get(effect.peer, ()):
                        items[:] = [item for item in items if item not in effect.items]
                case TakeBack():
                    pending_answers.append(effect)
                case StepDone():
                    done.append(True)
        scheduler.check()

    def finish(peer):
        batch, items = held[peer].pop(0)
        perform(scheduler.batch_started(peer, batch, now))
        before = scheduler.ledger.finished
        perform(scheduler.finished(peer, items, [0.1 * (1 + batch % 5)] * len(items), now))
        ended.extend([0] * (scheduler.ledger.finished - before))

    def answer(effect):
        back = []
        for _, items in held.get(effect.peer, [])[1:]:
            back += [item for item in items if item in effect.items]
            items[:] = [item for item in items if item not in effect.items]
        perform(scheduler.taken_back(effect.peer, back, now))

    pending_answers: list[TakeBack] = []
    names = [PeerId(each) for each in "abcd"]
    perform(scheduler.peer_joined(PeerId("z"), 1, RatePrior(1.0), now))
    perform(scheduler.start(now))
    for _ in range(data.draw(st.integers(0, 40))):
        now += data.draw(st.sampled_from((0.001, 0.1, 0.7, 30.0)))
        peer = data.draw(st.sampled_from(names))
        match data.draw(st.integers(0, 6)):
            case 0:
                held.pop(peer, None)
                perform(scheduler.peer_joined(peer, data.draw(st.integers(0, 3)), RatePrior(1.0 + now % 3), now))
            case 1:
                held.pop(peer, None)
                perform(scheduler.peer_left(peer, now))
            case 2 | 3 if held.get(peer):
                finish(peer)
            case 4 if held.get(peer) and held[peer][0][1]:
                perform(scheduler.failed(peer, held[peer][0][1][:1], True, now))
                del held[peer][0][1][:1]
            case 5 if pending_answers:
                answer(pending_answers.pop(0))
            case _:
                perform(scheduler.tick(now))
    for peer in names:
        held.pop(peer, None)
        perform(scheduler.peer_left(peer, now))
    pending_answers[:] = [each for each in pending_answers if each.peer == "z"]
    for _ in range(10 * count + 10):
        now += 0.1
        while pending_answers:
            answer(pending_answers.pop(0))
        if held.get(PeerId("z")):
            finish(PeerId("z"))
        else:
            perform(scheduler.tick(now))
    assert len(ended) == count == scheduler.ledger.finished
    assert done == [True]
