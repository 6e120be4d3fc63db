"""Lengths of items seen once are known the next time; items that are alike teach nothing."""

from __future__ import annotations

import math

import pytest

from meshwit.peer.work.lengths import ACTIVITIES_MAX, ITEMS_MAX, ITEMS_MIN, Known, Lengths

PRINTS = [bytes([number] * 8) for number in range(20)]
UNEVEN = [1.0 + number for number in range(20)]


def test_what_was_seen_is_known_the_next_time():
    lengths = Lengths()
    lengths.learn("A.B", PRINTS, UNEVEN)
    assert "A.B" in lengths
    assert lengths.recall("A.B", PRINTS[::-1]) == UNEVEN[::-1]
    assert lengths.recall("A.C", PRINTS) is None


def test_the_latest_length_of_an_item_stands():
    lengths = Lengths()
    lengths.learn("A.B", PRINTS, UNEVEN)
    lengths.learn("A.B", PRINTS, UNEVEN[::-1])
    assert lengths.recall("A.B", PRINTS) == UNEVEN[::-1]


def test_a_few_new_items_are_taken_for_average_and_many_for_unknown():
    lengths = Lengths()
    lengths.learn("A.B", PRINTS, UNEVEN)
    new = [b"new     "]
    assert lengths.recall("A.B", PRINTS + new) == [*UNEVEN, sum(UNEVEN) / len(UNEVEN)]
    assert lengths.recall("A.B", PRINTS[:10] + [bytes([200 + number] * 8) for number in range(10)]) is None


def test_items_that_are_alike_teach_nothing_and_undo_what_was_learned():
    lengths = Lengths()
    lengths.learn("A.B", PRINTS, UNEVEN)
    lengths.learn("A.B", PRINTS, [1.0 + number / 1000 for number in range(20)])
    assert "A.B" not in lengths


@pytest.mark.parametrize("unknown", [0.0, -1.0, math.inf, math.nan])
def test_lengths_that_are_none_are_passed_over(unknown):
    lengths = Lengths()
    lengths.learn("A.B", PRINTS, [unknown, *UNEVEN[1:]])
    recalled = lengths.recall("A.B", PRINTS)
    assert recalled is not None
    assert recalled[1:] == UNEVEN[1:]
    assert recalled[0] == pytest.approx(sum(UNEVEN[1:]) / 19)


def test_few_items_teach_nothing():
    lengths = Lengths()
    lengths.learn("A.B", PRINTS[: ITEMS_MIN - 1], UNEVEN[: ITEMS_MIN - 1])
    assert "A.B" not in lengths


def test_what_is_kept_is_bounded():
    lengths = Lengths()
    for number in range(ACTIVITIES_MAX + 5):
        lengths.learn(f"A.{number}", PRINTS, UNEVEN)
    assert len(lengths.known) == ACTIVITIES_MAX
    assert "A.0" not in lengths
    many = [number.to_bytes(8, "big") for number in range(ITEMS_MAX + 100)]
    lengths.learn("A.B", many, [1.0 + number % 7 for number in range(len(many))])
    assert len(lengths.known["A.B"].lengths) == ITEMS_MAX


def test_what_was_kept_comes_back_unless_it_cannot_be_true():
    lengths = Lengths()
    lengths.learn("A.B", PRINTS, UNEVEN)
    kept = lengths.known
    again = Lengths(kept)
    assert again.recall("A.B", PRINTS) == UNEVEN
    assert "A.B" not in Lengths({"A.B": Known({PRINTS[0]: -1.0})})
