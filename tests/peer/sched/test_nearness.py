"""Items go where their data lie, unless moving them costs less than waiting: by stories, and with peers that go."""

from __future__ import annotations

import random

import numpy as np
import pytest

from meshwit.ids import PeerId
from meshwit.peer.sched.grid import STRATEGIES
from meshwit.peer.sched.nearness import GroupedPending, Nearness
from simulations.scenarios.scheduling import OFFICE, Case, play_case, uneven
from tests.peer.sched.grid_builder import Story

A, B = PeerId("a"), PeerId("b")


def near(move_s: float = 1.0, **homes: range) -> Nearness:
    """Who has the data of which items."""
    peers = {item: frozenset((PeerId(name),)) for name, items in homes.items() for item in items}
    return Nearness(peers, dict.fromkeys(peers, move_s))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_peer_begins_with_what_it_has(strategy):
    story = Story(20, strategy=strategy, near=near(a=range(10, 20), b=range(10))).join(a=1.0, b=1.0).start()
    assert min(story.items("a")) >= 10
    assert max(story.items("b")) < 10
    assert story.items("a") and story.items("b")


def test_then_comes_what_nobody_in_particular_has():
    """Before anything that lies with others, though moving it would be quick."""
    known = near(0.001, a=range(2), b=range(4, 20))
    story = Story(20, near=known).join(a=1.0, b=1.0).start().begins("a")
    for turn in range(1, 5):
        story.at(float(turn)).ends("a", 1.0)
    assert set(story.items("a")[:4]) == {0, 1, 2, 3}


def measured(move_s: float, waiting: int) -> Story:
    """Tasks take a second each; `b` has the data of all that waits, `a` of nothing more."""
    known = near(move_s, a=range(1), b=range(1, 1 + waiting))
    story = Story(1 + waiting, near=known).join(a=1.0, b=1.0).start().begins("a").begins("b")
    return story.at(1.0).ends("b", 1.0).ends("a", 1.0)


def test_what_lies_elsewhere_is_moved_if_the_wait_for_its_holder_is_longer():
    story = measured(move_s=2.0, waiting=20)
    assert story.items("a")[1:], "it helps"
    assert story.items("a")[1] == 20, "with what the holder would come to last"


def test_what_lies_elsewhere_stays_if_moving_takes_longer_than_the_wait():
    story = measured(move_s=60.0, waiting=20)
    for turn in range(2, 20):
        story.at(float(turn)).ends("b", 1.0).tick()
    assert story.items("a") == [0]


def test_while_no_task_has_ended_the_wait_so_far_is_weighed_against_moving():
    story = Story(20, near=near(5.0, b=range(20))).join(a=1.0, b=1.0).start().begins("b")
    assert story.items("a") == []
    assert story.at(4.9).tick().items("a") == []
    assert len(story.at(5.0).tick().items("a")) == 1


def test_data_of_a_peer_that_is_gone_lie_nowhere_in_particular():
    story = Story(20, near=near(1000.0, b=range(20))).join(a=1.0, b=1.0).start().begins("b")
    story.perform(story.scheduler.peer_left(B, 0.1))
    assert story.items("a")


def test_a_peer_without_data_does_not_keep_others_from_theirs():
    """Many fast ones that have nothing, and a slow one that has all."""
    names = {f"fast{number}": 100.0 for number in range(8)}
    story = Story(20, near=near(1000.0, slow=range(20))).join(**names, slow=1.0).start()
    assert story.items("slow")


def test_somebody_begins_though_each_would_leave_it_to_the_other():
    """A holder that is slower by less than a message takes, whose items are moved in no time."""
    for slower in (1.0005, 1.002, 1.01, 1.1):
        story = Story(3, near=near(0.001, b=range(1, 3))).join(a=1.0, b=1 / slower).start().begins("a").begins("b")
        story.at(1.0).ends("a", 1.0)
        story.at(slower).ends("b", slower)
        for turn in range(2, 5):
            for name in ("a", "b"):
                if not story.done and story.scheduler.ledger.batches:
                    story.at(turn + slower).tick()
                    if story.scheduler._holders[PeerId(name)].running:
                        story.ends(name, 1.0)
        assert story.done or story.scheduler.ledger.batches


def test_the_end_of_a_batch_counts_with_its_data_on_their_way():
    story = measured(move_s=2.0, waiting=20)
    give = story.gives["a"][1]
    assert story.scheduler.ledger.batches[give.batch].ready_at == pytest.approx(3.0)
    assert "moving" in story.scheduler.explain(give.items[0])[0]


def test_without_knowledge_nothing_is_moved():
    story = Story(20).join(a=1.0, b=1.0).start()
    assert all(batch.ready_at < 0 for batch in story.scheduler.ledger.batches.values())


@pytest.mark.parametrize("estimated", [False, True])
def test_groups_are_what_is_pending(estimated):
    """Taken, put back and removed at random."""
    rng = random.Random(5)
    known = near(a=range(0, 60, 2), b=range(1, 60, 3))
    works = np.array([rng.uniform(1, 5) for _ in range(80)]) if estimated else None
    pending = GroupedPending(known, works, 80)
    out: list[int] = []
    for _ in range(400):
        chance = rng.random()
        groups = [each for each in pending.groups.values() if each.positions]
        if chance < 0.4 and groups:
            out += pending.take_these(rng.choice(groups).positions[:3])[0]
        elif chance < 0.5 and pending.count:
            item = rng.choice(list(pending))
            pending.remove(item)
            out.append(item)
        elif out:
            back = rng.sample(out, min(2, len(out)))
            out = [each for each in out if each not in back]
            pending.put(back)
        members = sorted(pending.item_at(at) for each in pending.groups.values() for at in each.positions)
        assert members == sorted(pending)
        assert sum(each.work for each in pending.groups.values()) == pytest.approx(pending.work)
        for group in pending.groups.values():
            assert group.positions == sorted(group.positions)


@pytest.mark.parametrize("what", ["kill", "freeze"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_all_is_done_though_a_peer_with_data_goes(strategy, what):
    for seed in range(3):
        rng = random.Random(seed)
        case = Case(np.full(80, 100.0), OFFICE, 4.0, list(OFFICE), happenings=[(0.5, rng.randrange(4), what, 0.0)])
        case.near, case.beats = uneven(rng, 80, 0.3), True
        step, _ = play_case(case, strategy, seed, check_each=1)
        assert step.makespan_s < 60
        assert step.given_again == 0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_knowing_where_data_lie_is_worth_it(strategy):
    """Moving takes twice as long as a task."""
    ends = []
    for told in (True, False):
        case = Case(np.full(120, 100.0), OFFICE, 6.0, list(OFFICE))
        case.near, case.told = uneven(random.Random(1), 120, 0.4), told
        ends.append(play_case(case, strategy, 1, check_each=1)[0].makespan_s)
    assert ends[0] < 0.9 * ends[1]
