"""Protects the code book: one use, ten minutes, three wrong tries, a bounded number of everything."""

import pytest
from small_mesh import chance

from meshwit.peer.trust.codes import BEGUN_MAX, CLOSED_S, CODE_LIFETIME_S, CODES_MAX, CodeBook
from meshwit.peer.trust.words import code_number


def test_a_code_is_good_for_ten_minutes():
    book = CodeBook()
    code = book.new(100, chance(1))
    assert book.begin(100 + CODE_LIFETIME_S - 1, code_number(code)) == code
    assert book.open_codes(100) == {code: CODE_LIFETIME_S}
    assert book.begin(100 + CODE_LIFETIME_S, code_number(code)) is None
    assert not book.valid(code, 100 + CODE_LIFETIME_S)


def test_a_code_is_good_once():
    book = CodeBook()
    code = book.new(0, chance(1))
    book.used(code)
    assert book.begin(1, code_number(code)) is None


def test_open_codes_have_different_numbers_and_there_are_at_most_eight():
    book, draw = CodeBook(), chance(3)
    codes = [book.new(0, draw) for _ in range(CODES_MAX)]
    assert len({code_number(each) for each in codes}) == CODES_MAX
    with pytest.raises(ValueError, match="8 codes are open"):
        book.new(1, draw)
    assert book.new(CODE_LIFETIME_S, draw)


def test_three_wrong_tries_close_all_codes_for_a_minute():
    book = CodeBook()
    book.new(0, chance(1))
    book.wrong(1)
    book.wrong(2)
    assert book.closed_s(3) == 0
    book.wrong(3)
    assert book.closed_s(3) == CLOSED_S
    assert book.closed_s(3 + CLOSED_S) == 0
    book.wrong(70)
    assert book.closed_s(70) == 0


def test_begun_exchanges_are_counted_by_the_minute():
    book = CodeBook()
    for _ in range(BEGUN_MAX):
        assert book.busy_s(10) == 0
        book.begin(10, 41)
    assert book.busy_s(20) == 50
    assert book.busy_s(70) == 0


def test_a_number_that_is_taken_is_passed_over():
    book = CodeBook()
    codes = [book.new(0, lambda count: b"\xff" * count) for _ in range(CODES_MAX)]
    numbers = [code_number(each) for each in codes]
    assert len(set(numbers)) == CODES_MAX and all(10 <= each <= 99 for each in numbers)
