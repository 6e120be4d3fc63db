"""Whether nested values are the same, and that no value takes for ever to compare."""

from __future__ import annotations

import pytest

from meshwit.lang.sameness import same


def doubled(item: object, times: int) -> list[object]:
    value = [item]
    for _ in range(times):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([1, [2, "a"]], [1, [2, "a"]], True),
        ([1, [2, "a"]], [1, [2, "b"]], False),
        ([1, [2]], [1, [2, 3]], False),
        ([(1, 2)], [[1, 2]], False),
        ([1, (2.0, None)], [1, (2, None)], True),
        ([[], []], [[], ()], False),
        (None, [], False),
    ],
)
def test_values_are_compared_with_all_that_is_in_them(left: object, right: object, expected: bool) -> None:
    assert same(left, right) is expected


def test_what_is_shared_is_compared_once() -> None:
    assert same(doubled(1, 60), doubled(1, 60))
    assert not same(doubled(1, 60), doubled(2, 60))


def test_what_is_nested_without_end_is_refused() -> None:
    left: list[object] = [[]]
    right: list[object] = [[]]
    for _ in range(10_000):
        left, right = [left], [right]

    with pytest.raises(ValueError, match="nested too deeply to compare: at most 100"):
        same(left, right)
