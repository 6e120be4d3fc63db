"""Protects the words: enough of them, none to be mistaken for another, codes readable however they are typed."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_mesh import chance

from meshwit.peer.trust.words import WORD_COUNT, all_words, make_code, read_code, two_words


def test_there_are_2048_words_of_4_to_7_letters_in_order():
    words = all_words()
    assert len(words) == len(set(words)) == WORD_COUNT
    assert list(words) == sorted(words)
    assert all(4 <= len(each) <= 7 and each.isascii() and each.isalpha() and each.islower() for each in words)


def test_any_two_words_differ_in_two_letters_or_more():
    """Words one edit apart share what is left when one letter is taken from each (or from the longer)."""
    seen: dict[str, str] = {}
    for word in all_words():
        shorter = {word[:at] + word[at + 1 :] for at in range(len(word))} | {word}
        wildcards = {f"{word[:at]}?{word[at + 1 :]}" for at in range(len(word))}
        for form in shorter | wildcards:
            other = seen.setdefault(form, word)
            both_shortened = form not in (word, other) and "?" not in form
            assert other == word or both_shortened, f"{other} {word}"


def test_two_words_use_every_bit():
    assert two_words(b"\0\0\0") == f"{all_words()[0]} {all_words()[0]}"
    assert two_words(b"\xff\xff\xfc") == f"{all_words()[-1]} {all_words()[-1]}"
    assert two_words(b"\0\0\4") == f"{all_words()[0]} {all_words()[1]}"


@settings(deadline=None)
@given(st.binary(min_size=8, max_size=8))
def test_every_code_is_read_as_it_was_made(seed):
    code = make_code(chance(seed))
    assert read_code(code) == code


@pytest.mark.parametrize(
    "typed",
    [
        "41-otter-violin",
        " 41 Otter Violin\n",
        "41_OTTER_violin",
        "41 - otter - violin",
        "41otter-violin",
        "41–otter–violin",
    ],
)
def test_a_code_may_be_typed_in_many_ways(typed):
    assert read_code(typed) == "41-otter-violin"


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("", "a number and two words"),
        ("otter violin", "a number and two words"),
        ("41-otter", "a number and two words"),
        ("41-otter-violin-violin", "a number and two words"),
        ("7-otter-violin", "from 10 to 99, not 7"),
        ("٤١-otter-violin", "a number and two words"),
        ("41-oter-violin", "did you mean 'otter'"),
        ("41-otter-violine", "did you mean 'violin'"),
        ("41-qqqq-violin", "'qqqq' is none of the words of a code"),
        ("41-\x1b[31m-violin", "none of the words"),
    ],
)
def test_what_is_no_code_is_explained(typed, says):
    with pytest.raises(ValueError, match=says.replace("(", r"\(")) as caught:
        read_code(typed)
    assert str(caught.value).isprintable()


@settings(deadline=None)
@given(st.text(max_size=200))
def test_reading_a_code_raises_nothing_but_value_error(text):
    with contextlib.suppress(ValueError):
        assert read_code(text).count("-") == 2


def test_numbers_of_codes_are_spread():
    draw = chance("numbers")
    numbers = {make_code(draw).split("-")[0] for _ in range(600)}
    assert len(numbers) > 80 and all(10 <= int(each) <= 99 for each in numbers)
