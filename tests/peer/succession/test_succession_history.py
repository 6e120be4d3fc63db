"""What a job's history means: it depends on what is held alone, and only what was answered in the same world counts."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwit.peer.succession.history import History
from meshwit.peer.succession.records import Answered, Began, Concluded, Intended, Results, Slept, Term, Versions
from tests.peer.succession.histories import Bodies, began, bodies, body, history, log, logs, named, peer

# --- worked examples ---------------------------------------------------------------------------------------------


def test_a_single_leaders_log_is_all_that_counts():
    alone = history(logs(a1=(began(), "A0 R1 C1")))
    assert alone.head == log("a1")
    assert alone.term(log("a1")) == Term(1, 0, peer("a"))
    assert named(alone.lineage()) == ["a1:4"]
    assert list(alone.view()) == [(log("a1"), 0, 4)]
    assert alone.extras() == []
    assert alone.answers(log("a1")) == 2


def test_nothing_is_a_history_too():
    nothing = History()
    assert (nothing.head, nothing.lineage(), nothing.extras(), nothing.lacking()) == (None, [], [], [])
    assert not nothing.consistent(log("a1"), 0)


def test_a_successor_goes_on_from_the_part_that_it_had():
    """Of the four records that came too late, those count whose wishes were made over what the successor had."""
    both = history(logs(a1=(began(), "A0 R1 C1 A2 R1 R3"), b2=(began("a1:3"), "A0")))
    assert named(both.lineage()) == ["a1:3", "b2:2"]
    assert list(both.view()) == [(log("a1"), 0, 3), (log("b2"), 0, 2)]
    assert named(both.extras()) == ["a1:3", "a1:5"]
    assert not both.consistent(log("a1"), 4), "its wish was made after an answer that the successor did not have"


def test_of_two_successors_of_one_epoch_the_higher_rank_counts():
    """Apart each reads its own; when they meet, both read the same, and what the other did first may fit."""
    parted = logs(a1=(began(), "A0 A1"), b2=(began("a1:3", rank=1), "R0 A0 A1"), c2=(began("a1:2", rank=2), "A0"))
    assert named(history(parted, {log("a1"): 3, log("b2"): 4}).lineage()) == ["a1:3", "b2:4"]
    healed = history(parted)
    assert named(healed.lineage()) == ["a1:2", "c2:2"]
    assert named(healed.extras()) == ["a1:2"], "b began with an answer that c has not: nothing of b's fits"
    same = history({**parted, log("c2"): [began("a1:3", rank=2), *bodies("A0")]})
    assert named(same.extras()) == ["b2:1", "b2:2"], "both began over the same: the first wishes of b are c's too"


def test_limits_say_how_late_a_wish_counts_that_nothing_was_recorded_of():
    """For results that workers kept and no leader lived to record."""
    both = history(logs(a1=(began(), "A0 R1 C1 A2"), b2=(began("a1:3"), "A0")))
    assert both.limits() == {log("a1"): 1, log("b2"): 1}
    parted = history(logs(a1=(began(), "A0 A1"), b2=(began("a1:3", rank=1), "A0"), c2=(began("a1:2", rank=2), "")))
    assert parted.limits() == {log("a1"): 1, log("b2"): -1, log("c2"): 0}
    same = history(logs(a1=(began(), "A0"), b2=(began("a1:2", rank=1), "A0"), c2=(began("a1:2", rank=2), "")))
    assert same.limits() == {log("a1"): 1, log("b2"): 0, log("c2"): 0}


def test_three_leaders_in_a_row_make_one_line():
    three = history(
        logs(a1=(began(), "A0 A1 A2"), b2=(began("a1:3"), "A0 A1"), c3=(began("a1:4", "b2:2"), "R0"))
    )  # fmt: skip
    assert named(three.lineage()) == ["a1:3", "b2:2", "c3:2"], "the child's cut counts, not what the grandchild had"
    assert named(three.extras()) == ["a1:3", "b2:2"]


def test_a_later_leader_outside_the_line_fits_while_it_added_nothing():
    """b and c stand between: c began over b's log, which had no answers, and whose root is the line's."""
    told = logs(
        a1=(began(), "A0"), b2=(began("a1:2"), "R0 R0 A0"), c3=(began("a1:2", "b2:3"), "R0 A0 R1"),
        d4=(began("a1:2"), ""),
    )  # fmt: skip
    assert named(history(told).extras()) == ["b2:1", "b2:2", "b2:3", "c3:1", "c3:2"]
    answered = {**told, log("c3"): [began("a1:2", "b2:4"), *bodies("R0")]}
    assert named(history(answered).extras()) == ["b2:1", "b2:2", "b2:3"]


def test_what_a_leader_had_of_others_outside_the_line_spoils_its_records():
    told = logs(
        a1=(began(), "A0"), b2=(began("a1:2"), "A0"), c2=(began("a1:2", rank=1), ""),
        d3=(began("a1:2", "b2:2", "c2:1"), "R0"), e4=(began("a1:2"), ""),
    )  # fmt: skip
    assert named(history(told).extras()) == ["b2:1"]


def test_decisions_and_outcomes_are_never_taken_over():
    told = history(logs(a1=(began(), "A0 D O S0 I0"), b2=(began("a1:1"), "")))
    assert named(told.extras()) == ["a1:1", "a1:4", "a1:5"]


def test_a_since_that_cannot_be_meant_belongs_to_no_wish():
    told = history(logs(a1=(began(), "R-1 R1 A0 R2"), b2=(began("a1:1"), "")))
    assert named(told.extras()) == ["a1:3"]


# --- what is not there -------------------------------------------------------------------------------------------


def test_a_line_is_cut_to_what_is_held_and_says_what_it_lacks():
    told = logs(a1=(began(), "A0 A1"), b2=(began("a1:3"), "A0"), c3=(began("a1:3", "b2:2"), ""))
    holes = history(told, {log("a1"): 2, log("b2"): 1, log("c3"): 1})
    assert named(holes.lineage()) == ["a1:2", "b2:1", "c3:1"]
    assert holes.lacking() == [(log("a1"), 2, 3), (log("b2"), 1, 2)]
    without = history(told, {log("a1"): 3, log("c3"): 1})
    assert named(without.lineage()) == ["c3:1"]
    assert without.lacking() == [(log("b2"), 0, 2)]
    assert without.extras() == []
    assert history(told).lacking() == []


@pytest.mark.parametrize(
    "basis",
    [["a1:9"], ["h9:3"], ["b2:1"], ["a1:-4"], ["a1:0"], ["c2:1"], ["a1:1", "a1:2", "h1:1"], ["h1:99999999"]],
)
def test_a_basis_of_nonsense_does_no_harm(basis):
    told = history(logs(a1=(began(), "A0 A1"), b2=(began(*basis), "A0"), c2=(began("b2:1", rank=-5), "A0")))
    assert named(told.lineage())[-1] == "b2:2"
    told.extras()


def test_a_line_of_thousands_is_no_deeper_than_one():
    peers = [peer(str(number)) for number in range(5000)]
    long = History()
    for epoch, leader in enumerate(peers, 1):
        basis = [(epoch - 1, peers[epoch - 2], 1)] if epoch > 1 else []
        long.add((epoch, leader), 0, Began(basis))
        long.add((epoch, leader), 1, Results((1,), 0, []))
    assert len(long.lineage()) == 5000
    assert len(long.extras()) == 4999
    long.add((9999, peer("a")), 0, Began([(1, peers[0], 1)]))
    assert len(long.lineage()) == 2
    assert len(long.extras()) == 5000


@pytest.mark.parametrize(("number", "kind"), [(3, "A"), (-1, "A"), (2, "began"), (99, "began")])
def test_a_log_is_continued_not_mended(number, kind):
    told = history(logs(a1=(began(), "A0")))
    with pytest.raises(ValueError, match=r"continue|begins"):
        told.add(log("a1"), number, began() if kind == "began" else body(kind, 0))
    with pytest.raises(ValueError, match="begins"):
        told.add(log("b2"), 0, body("A", 0))
    assert not told.add(log("a1"), 1, body("A", 0))
    assert told.versions == {log("a1"): 2}


# --- properties --------------------------------------------------------------------------------------------------


def a_mesh_at_work(seed: int, steps: int = 60) -> Bodies:
    """Leaders that record, successors that begin with what they have of it, partitions; some talk nonsense."""
    chance = random.Random(seed)
    all_logs: dict = {log("a1"): [began()]}
    holds: dict[str, Versions] = {name: {} for name in "abcdef"}
    holds["a"] = {log("a1"): 1}
    writes = {"a": log("a1")}
    for _ in range(steps):
        name = chance.choice("abcdef")
        match chance.choice(["record", "record", "copy", "copy", "lead"]):
            case "record" if name in writes:
                own = writes[name]
                answers = sum(isinstance(each, Answered | Concluded) for each in all_logs[own])
                all_logs[own].append(body(chance.choice("AARRCISD"), chance.randint(0, answers)))
                holds[name][own] = len(all_logs[own])
            case "copy":
                other = chance.choice("abcdef")
                for each, count in holds[other].items():
                    if chance.random() < 0.8:
                        holds[name][each] = max(holds[name].get(each, 0), chance.randint(1, count))
            case "lead" if holds[name] and chance.random() < 0.5:
                epoch = max(each[0] for each in holds[name]) + 1
                basis = [(*each, count) for each, count in holds[name].items()]
                if chance.random() < 0.1:
                    basis.append((chance.randint(0, 9), peer(chance.choice("abcdefgh")), chance.randint(-2, 30)))
                if (epoch, peer(name)) not in all_logs:
                    writes[name] = (epoch, peer(name))
                    all_logs[writes[name]] = [Began(basis, chance.randint(0, 3))]
                    holds[name][writes[name]] = 1
    return all_logs


def some_of(of: Bodies, seed: int) -> Versions:
    chance = random.Random(seed)
    return {each: chance.randint(0, len(recorded)) for each, recorded in of.items() if chance.random() < 0.9}


def everything(of: History) -> tuple:
    return of.head, of.versions, of.lineage(), list(of.view()), of.lacking(), of.extras()


def merged(*histories: History) -> History:
    result = History()
    for each in histories:
        result.merge(each)
    return result


SEEDS = st.integers(0, 10**9)


@given(SEEDS, st.lists(SEEDS, min_size=3, max_size=3))
@settings(deadline=None)
def test_merging_is_commutative_associative_and_idempotent(mesh, parts):
    of = a_mesh_at_work(mesh)
    a, b, c = (history(of, some_of(of, part)) for part in parts)
    assert everything(merged(a, b)) == everything(merged(b, a))
    assert everything(merged(merged(a, b), c)) == everything(merged(a, merged(b, c)))
    assert everything(merged(a, a)) == everything(a)
    union = {each: max(part.count(each) for part in (a, b, c)) for each in of}
    assert everything(merged(a, b, c)) == everything(history(of, union))


@given(SEEDS, SEEDS)
@settings(deadline=None)
def test_the_order_of_arrival_does_not_matter(mesh, order):
    """Asked in between as well: what is remembered of an answer never outlives what it was made of."""
    of = a_mesh_at_work(mesh)
    upto = some_of(of, order)
    chance = random.Random(order)
    arriving = History()
    while arriving.versions != {each: count for each, count in upto.items() if count}:
        each = chance.choice([each for each, count in upto.items() if arriving.count(each) < count])
        assert arriving.add(each, arriving.count(each), of[each][arriving.count(each)])
        if chance.random() < 0.3:
            everything(arriving)
    assert everything(arriving) == everything(history(of, upto))


@given(SEEDS, SEEDS)
@settings(deadline=None)
def test_what_one_copy_lacks_makes_it_whole(mesh, part):
    of = a_mesh_at_work(mesh)
    whole, copy = history(of), history(of, some_of(of, part))
    for each, first, stop in whole.missing(copy.versions):
        for number in range(first, stop):
            assert copy.add(each, number, of[each][number])
    assert everything(copy) == everything(whole)
    assert whole.missing(copy.versions) == []


@given(SEEDS, SEEDS)
@settings(deadline=None, max_examples=300)
def test_consistency_is_as_it_is_defined(mesh, part):
    """Against the definition, word by word."""
    of = a_mesh_at_work(mesh)
    held = {each: recorded[: some_of(of, part).get(each, 0)] for each, recorded in of.items()}
    told = history(held)
    line = dict(told.lineage())
    for each, recorded in held.items():
        for number, record in enumerate(recorded):
            wished = isinstance(record, Answered | Results | Concluded | Intended | Slept)
            expected = wished and defined(held, line, each, record.since)
            assert told.consistent(each, number) == expected
            assert ((each, number) in told.extras()) == (expected and number >= line.get(each, 0))


def defined(held: Bodies, line: Versions, each: tuple, since: int) -> bool:
    def answers(of: tuple, count: int) -> float:
        known = held.get(of, [])
        return sum(isinstance(r, Answered | Concluded) for r in known[:count]) if count <= len(known) else float("inf")

    if each in line:
        return since <= answers(each, line[each])
    basis: Versions = {}
    for epoch, leader, count in held[each][0].basis:
        if count > 0 and epoch < each[0]:
            basis[epoch, leader] = max(count, basis.get((epoch, leader), 0))
    if since != 0 or not basis:
        return False

    def term(of: tuple) -> tuple:
        return of[0], held[of][0].rank if held.get(of) else float("inf"), of[1]

    parent = max(basis, key=term)
    if any(answers(other, count) for other, count in basis.items() if other != parent and other not in line):
        return False
    return bool(held.get(parent)) and defined(held, line, parent, answers(parent, basis[parent]))


def test_a_record_is_the_same_wherever_it_went():
    """Bodies that crossed mean what they meant."""
    of = a_mesh_at_work(7)
    crossed = {
        each: [msgspec.msgpack.decode(msgspec.msgpack.encode(r), type=type(r)) for r in recorded]
        for each, recorded in of.items()
    }
    assert everything(history(of)) == everything(history(crossed))
