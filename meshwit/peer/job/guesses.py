"""What is believed of the items of a Grid step before they ran."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meshwit.lang import program as ir
from meshwit.lang.wishes import StepWish
from meshwit.peer.sched.nearness import Nearness


class Guesses:
    """What is believed of items before they ran: their work, where the activity estimates it, and their size."""

    def work(self, call: ir.Invoke, item: Any) -> float | None:
        """The work of an item; None where it is not estimated."""
        return None

    def learned_works(self, activity: str, items: Sequence[Any]) -> list[float] | None:
        """The work of each item as it was the last time; None where it is not known."""
        return None

    def batch_items_max(self, items: Sequence[Any]) -> int | None:
        """Items that one message should hold at most, by their size; None for the usual number."""
        return None

    def near(self, items: Sequence[Any]) -> Nearness | None:
        """Where the data of items lie; None where that is not known, or does not matter."""
        return None


def expected_works(guesses: Guesses, activity: str, wish: StepWish) -> list[float] | None:
    """The work of each item of a step, estimated or learned; None where neither is. Long tasks must not start last."""
    return _estimated_works(guesses, wish) or guesses.learned_works(activity, wish.items)


def _estimated_works(guesses: Guesses, wish: StepWish) -> list[float] | None:
    if not isinstance(wish.task, ir.Invoke):
        return None
    if not (len(wish.task.arguments) == 1 and isinstance(wish.task.arguments[0], ir.Load)):
        return None
    works: list[float] = []
    for item in wish.items:
        work = guesses.work(wish.task, item)
        if work is None or not 0 < work < float("inf"):
            return None
        works.append(work)
    return works
