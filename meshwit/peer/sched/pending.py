"""The items that nobody has: a set of positions in the order in which they should start, kept as intervals.

Without estimates the order is that of the items; with estimates the longest come first (Graham's LPT rule, 1969). The
set of a million items is one interval at the start, and few at any time, since items are taken from its front.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt


class Pending:
    """Positions not given to anybody. A position is an item's place in the order.

    Attributes:
        count: how many.
        work: of all of them together.
    """

    def __init__(self, works: npt.NDArray[np.float64] | None, count: int, free: Iterable[int] | None = None) -> None:
        """Of `count` items, all or those in `free` are pending; `works` are the estimates of all."""
        self._works = works
        self._order: npt.NDArray[np.int64] | None = None
        self._rank: npt.NDArray[np.int64] | None = None
        self._sorted: npt.NDArray[np.float64] | None = None
        self._sums: npt.NDArray[np.float64] | None = None
        if works is not None:
            self._order = np.argsort(-works, kind="stable")
            self._rank = np.empty(count, np.int64)
            self._rank[self._order] = np.arange(count)
            self._sorted = works[self._order]
            self._sums = np.concatenate(([0.0], np.cumsum(self._sorted)))
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.count = 0
        self.work = 0.0
        if free is None:
            self._insert(0, count)
        else:
            self._begin_with(free, count)

    def _begin_with(self, free: Iterable[int], count: int) -> None:
        """Some of many items: intervals are found at once, not one by one."""
        found = np.fromiter(free, np.int64)
        marks = np.zeros(count + 2, np.int8)
        marks[1 + (found if self._rank is None else self._rank[found])] = 1
        edges = np.flatnonzero(np.diff(marks))
        self._starts, self._ends = edges[::2].tolist(), edges[1::2].tolist()
        self.count = int(marks.sum())
        self.work = sum(self._span_work(start, end) for start, end in zip(self._starts, self._ends, strict=True))

    @property
    def estimated(self) -> bool:
        """Whether the order is by estimated work."""
        return self._works is not None

    def add_range(self, start: int, end: int) -> None:
        """Items from `start` to before `end` become pending; only without estimates."""
        self._insert(start, end)

    def put(self, items: Iterable[int]) -> None:
        """Items come back."""
        if isinstance(items, range) and self._rank is None and items.step == 1:
            self._insert(items.start, items.stop)
            return
        for item in items:
            position = item if self._rank is None else int(self._rank[item])
            self._insert(position, position + 1)

    def remove(self, item: int) -> None:
        """An item is settled though nobody had it."""
        position = item if self._rank is None else int(self._rank[item])
        index = bisect_right(self._starts, position) - 1
        self._cut(index, position, position + 1)

    def head_work(self) -> float:
        """The work of the first item."""
        return 1.0 if self._sorted is None else float(self._sorted[self._starts[0]])

    def last_work(self) -> float:
        """The work of the last item."""
        return 1.0 if self._sorted is None else float(self._sorted[self._ends[-1] - 1])

    def first_within(self, work: float) -> int | None:
        """The first position whose item takes at most so much work; None if all take more."""
        if self._sorted is None:
            return self._starts[0] if work >= 1 else None
        wanted = int(np.searchsorted(-self._sorted, -work, side="left"))
        index = bisect_right(self._ends, wanted)
        if index == len(self._starts):
            return None
        return max(wanted, self._starts[index])

    @property
    def head(self) -> int:
        """The first position."""
        return self._starts[0]

    @property
    def last(self) -> int:
        """The last position."""
        return self._ends[-1] - 1

    def take(self, position: int, work: float, count_max: int) -> tuple[Sequence[int], float]:
        """Take items that lie together from a position on: at least one, then while they fit into `work`.

        Returns:
            The items, and their work together.
        """
        index = bisect_right(self._starts, position) - 1
        end = min(self._ends[index], position + count_max)
        if self._sums is None:
            end = max(position + 1, min(end, position + int(work + 1e-9)))
            taken = float(end - position)
            items: Sequence[int] = range(position, end)
        else:
            limit = float(self._sums[position]) + work * (1 + 1e-12)
            if end - position > 1:
                end = max(position + 1, min(end, int(np.searchsorted(self._sums, limit, side="right")) - 1))
            taken = float(self._sums[end] - self._sums[position])
            assert self._order is not None
            items = self._order[position:end].tolist()
        self._cut(index, position, end)
        return items, taken

    def work_of(self, items: Sequence[int]) -> float:
        """The work of items together."""
        if self._works is None:
            return float(len(items))
        if len(items) == 1:
            return float(self._works[items[0]])
        return float(self._works[np.asarray(items)].sum())

    def works_of(self, items: Sequence[int]) -> list[float] | None:
        """The work of each; None without estimates."""
        return None if self._works is None else self._works[np.asarray(items, np.int64)].tolist()

    def __contains__(self, item: int) -> bool:
        position = item if self._rank is None else int(self._rank[item])
        index = bisect_right(self._starts, position) - 1
        return index >= 0 and position < self._ends[index]

    def __iter__(self) -> Iterator[int]:
        for start, end in zip(self._starts, self._ends, strict=True):
            yield from range(start, end) if self._order is None else self._order[start:end].tolist()

    def _span_work(self, start: int, end: int) -> float:
        return float(end - start) if self._sums is None else float(self._sums[end] - self._sums[start])

    def _insert(self, start: int, end: int) -> None:
        if start >= end:
            return
        self.count += end - start
        self.work += self._span_work(start, end)
        index = bisect_left(self._starts, start)
        joins_left = index > 0 and self._ends[index - 1] == start
        joins_right = index < len(self._starts) and self._starts[index] == end
        if joins_left and joins_right:
            self._ends[index - 1] = self._ends[index]
            del self._starts[index], self._ends[index]
        elif joins_left:
            self._ends[index - 1] = end
        elif joins_right:
            self._starts[index] = start
        else:
            self._starts.insert(index, start)
            self._ends.insert(index, end)

    def _cut(self, index: int, start: int, end: int) -> None:
        first, last = self._starts[index], self._ends[index]
        assert first <= start < end <= last
        self.count -= end - start
        self.work = self.work - self._span_work(start, end) if self.count else 0.0
        if first == start and last == end:
            del self._starts[index], self._ends[index]
        elif first == start:
            self._starts[index] = end
        elif last == end:
            self._ends[index] = start
        else:
            self._ends[index] = start
            self._starts.insert(index + 1, end)
            self._ends.insert(index + 1, last)
