"""Whether two values are the same, however they are nested.

An array may hold itself in effect (`a = [a, a]`, sixty times), small in memory and endless to walk through: what was
found the same is not compared again.
"""

from __future__ import annotations

from typing import Any

from meshwit.lang.text import NESTING_MAX

_NESTED = frozenset((list, tuple))


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal. Raises ValueError where they are nested deeper than `NESTING_MAX`."""
    return _same(left, right, 0, set())


def _same(left: Any, right: Any, depth: int, known: set[tuple[int, int]]) -> bool:
    if left is right:
        return True
    if type(left) is not type(right) or type(left) not in _NESTED:
        return bool(left == right)
    if len(left) != len(right):
        return False
    if _NESTED.isdisjoint(map(type, left)):
        return bool(left == right)
    if depth >= NESTING_MAX:
        raise ValueError(f"these values are nested too deeply to compare: at most {NESTING_MAX} levels are allowed")
    pair = (id(left), id(right))
    if pair not in known:
        if not all(_same(one, other, depth + 1, known) for one, other in zip(left, right, strict=True)):
            return False
        known.add(pair)
    return True
