"""What peers hold already when a leader takes a job over is booked as theirs: it is not given twice, nor forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwit.ids import PeerId
from meshwit.peer.sched.grid import STRATEGIES
from tests.peer.sched.grid_builder import Story

A, B = PeerId("a"), PeerId("b")


def adopt(story: Story, name: str, items, begun: bool = True) -> int | None:
    batch = story.scheduler.adopt(PeerId(name), items, begun, story.now)
    story.scheduler.check()
    return batch


def test_what_is_adopted_is_the_peers_and_given_to_nobody():
    story = Story(6).join(a=1.0, b=1.0)
    batch = adopt(story, "a", [0, 1, 4])
    assert batch is not None
    assert list(story.scheduler.ledger.batches[batch].items) == [0, 1, 4]
    story.start()
    assert story.effects
    given = story.items("a") + story.items("b")
    assert not {0, 1, 4} & set(given)
    assert len(given) == len(set(given))


def test_a_step_ends_with_what_was_adopted():
    story = Story(2).join(a=1.0)
    adopt(story, "a", [0, 1])
    story.start()
    assert not story.done
    story.at(1.0).perform(story.scheduler.finished(A, [0, 1], [0.5, 0.5], 1.0))
    assert story.done
    assert story.scheduler.strays == 0


def test_a_batch_that_runs_is_running_one_that_waits_begins_later():
    story = Story(4).join(a=1.0)
    runs, waits = adopt(story, "a", [0], begun=True), adopt(story, "a", [1], begun=False)
    holder = story.scheduler._holders[A]
    assert (list(holder.running), list(holder.queue)) == ([runs], [waits])
    story.start()
    story.perform(story.scheduler.batch_started(A, waits, 0.5))
    assert set(holder.running) == {runs, waits}


def test_only_items_that_are_pending_are_adopted_whatever_else_is_named():
    story = Story(6, known=[0]).join(a=1.0, b=1.0)
    adopt(story, "b", [1])
    batch = adopt(story, "a", [0, 1, 2, 2, -1, 6, 2**63, 3])
    assert batch is not None
    assert list(story.scheduler.ledger.batches[batch].items) == [2, 3]


@pytest.mark.parametrize(("name", "items"), [("nobody", [1]), ("a", []), ("a", [0]), ("a", [-3, 99])])
def test_nothing_is_adopted_of_strangers_or_where_nothing_is_pending(name, items):
    story = Story(4, known=[0]).join(a=1.0)
    assert adopt(story, name, items) is None
    assert story.scheduler.pending_count == 3


def test_nothing_is_adopted_when_all_is_over():
    story = Story(1, known=[0]).join(a=1.0).start()
    assert story.done
    assert adopt(story, "a", [0]) is None


def test_it_is_said_why_the_item_is_there():
    story = Story(3).join(a=1.0)
    adopt(story, "a", [1])
    assert story.scheduler.explain(1) == [
        "given to a in batch 0: it was running it when this leader took over, or had it next"
    ]


def test_what_a_peer_held_that_left_goes_elsewhere():
    story = Story(3).join(a=1.0, b=1.0)
    adopt(story, "a", [0, 1, 2])
    story.start()
    assert story.items("b") == []
    story.perform(story.scheduler.peer_left(A, 1.0))
    assert set(story.items("b")) <= {0, 1, 2}
    assert story.items("b")


def test_what_comes_back_is_given_again():
    story = Story(2).join(a=1.0, b=1.0)
    adopt(story, "a", [0, 1])
    story.start()
    story.perform(story.scheduler.taken_back(A, [1], 0.5))
    assert [*story.items("a"), *story.items("b")] == [1]


def test_balanced_gives_less_to_who_holds_some_already():
    story = Story(100, strategy="Balanced").join(a=1.0, b=1.0)
    adopt(story, "a", range(40))
    story.start()
    assert (len(story.items("a")), len(story.items("b"))) == (10, 50)


def test_balanced_gives_nothing_to_who_holds_more_than_its_share():
    story = Story(100, strategy="Balanced").join(a=1.0, b=1.0)
    adopt(story, "a", range(60))
    story.start()
    assert (len(story.items("a")), len(story.items("b"))) == (0, 40)


def test_balanced_counts_the_work_where_it_is_estimated():
    story = Story(40, strategy="Balanced", works=[4.0] * 10 + [1.0] * 30).join(a=1.0, b=1.0)
    adopt(story, "a", range(10))
    story.start()
    assert not story.items("a")
    assert len(story.items("b")) == 30


def test_the_shares_of_very_many_items_count_what_is_held():
    """Of so many they are not dealt out one by one."""
    count = 400_000
    story = Story(count, strategy="Balanced").join(a=1.0, b=3.0)
    adopt(story, "a", range(50_000))
    assert [share.items for share in story.scheduler.plan()] == [50_000, 300_000]


def test_before_the_start_there_is_nothing_to_be_looked_at():
    story = Story(2).join(a=1.0)
    adopt(story, "a", [0])
    assert story.scheduler.next_deadline() is None
    assert story.tick().effects == []


def test_once_is_once_for_what_is_adopted_too():
    story = Story(2, once=True).join(a=1.0, b=1.0)
    adopt(story, "a", [0])
    story.start()
    assert 0 not in story.items("a") + story.items("b")
    story.perform(story.scheduler.peer_left(A, 1.0))
    assert 0 not in story.items("b")


@settings(max_examples=80, deadline=None)
@given(
    strategy=st.sampled_from(STRATEGIES),
    held=st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.lists(st.integers(-1, 21), max_size=8), st.booleans()),
        max_size=6,
    ),
    estimated=st.booleans(),
)
def test_every_item_ends_once_whatever_was_held(strategy, held, estimated):
    works = [1.0 + item % 3 for item in range(20)] if estimated else None
    story = Story(20, strategy=strategy, works=works).join(a=2.0, b=1.0)
    for name, items, begun in held:
        adopt(story, name, items, begun)
    story.start()
    for turn in range(1, 200):
        if story.done:
            break
        story.at(float(turn))
        for name in ("a", "b"):
            holder = story.scheduler._holders[PeerId(name)]
            if not holder.running and holder.queue:
                batch = next(iter(holder.queue))
                story.perform(story.scheduler.batch_started(PeerId(name), batch, story.now))
            if holder.running and not story.done:
                batch = next(iter(holder.running.values()))
                items = story.scheduler.ledger.left_of(batch)
                story.perform(story.scheduler.finished(PeerId(name), items, [1.0] * len(items), story.now))
    assert story.done
    assert story.scheduler.ledger.finished == 20


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_where_everything_is_adopted_nothing_is_given(strategy):
    story = Story(3, strategy=strategy).join(a=1.0, b=1.0)
    adopt(story, "a", [0, 1])
    adopt(story, "b", [2])
    story.start()
    assert not story.items("a") and not story.items("b")
