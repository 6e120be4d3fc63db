"""Where the data of a step's items lie: what is pending in groups by who has its data, and what moving costs.

Only for steps of a few thousand items whose data are large enough to matter; a step without such knowledge pays nothing
for it, since it is made of the plain classes.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from meshwit.ids import PeerId
from meshwit.peer.sched.config import SchedulerConfig
from meshwit.peer.sched.estimates import RateModel
from meshwit.peer.sched.forecast import Forecast
from meshwit.peer.sched.ledger import Holder
from meshwit.peer.sched.pending import Pending


class Nearness(msgspec.Struct, frozen=True):
    """What is known of the data of items; of items that are not named nothing, and they cost nothing to move.

    Attributes:
        peers: those that have all that an item needs.
        move_s: how long it takes to bring that to any other.
    """

    peers: Mapping[int, frozenset[PeerId]]
    move_s: Mapping[int, float]


class Group:
    """Pending items whose data lie with the same peers.

    Attributes:
        positions: theirs, in order.
        work: of all of them.
    """

    __slots__ = ("peers", "positions", "work")

    def __init__(self, peers: frozenset[PeerId]) -> None:
        self.peers = peers
        self.positions: list[int] = []
        self.work = 0.0


class GroupedPending(Pending):
    """Pending items, also by where their data lie.

    Attributes:
        groups: by who has the data; emptied ones stay.
    """

    def __init__(
        self, near: Nearness, works: npt.NDArray[np.float64] | None, count: int, free: Iterable[int] | None = None
    ) -> None:
        self.near = near
        self.groups: dict[frozenset[PeerId], Group] = {}
        self._at: dict[PeerId, list[Group]] = {}
        super().__init__(works, count, free)

    def groups_at(self, peer: PeerId) -> list[Group]:
        """Those whose data a peer has."""
        return [each for each in self._at.get(peer, ()) if each.positions]

    def work_at(self, peer: PeerId) -> float:
        """Pending work whose data a peer has."""
        return sum(each.work for each in self._at.get(peer, ()))

    def item_at(self, position: int) -> int:
        """The item of a position."""
        return position if self._order is None else int(self._order[position])

    def work_of_position(self, position: int) -> float:
        """The work of the item of a position."""
        return 1.0 if self._sorted is None else float(self._sorted[position])

    def take_these(self, positions: Sequence[int]) -> tuple[list[int], float]:
        """Take items that lie anywhere.

        Returns:
            The items, and their work together.
        """
        work = 0.0
        for position in positions:
            work += self.take(position, 0.0, 1)[1]
        return [self.item_at(each) for each in positions], work

    def moving_s(self, peer: PeerId, items: Iterable[int]) -> float:
        """How long it takes to bring a peer what it lacks of the data of items."""
        peers, move_s = self.near.peers, self.near.move_s
        return sum(move_s.get(item, 0.0) for item in items if peer not in peers.get(item, ()))

    def _begin_with(self, free: Iterable[int], count: int) -> None:
        super()._begin_with(free, count)
        for start, end in zip(self._starts, self._ends, strict=True):
            self._enter(start, end)

    def _insert(self, start: int, end: int) -> None:
        super()._insert(start, end)
        self._enter(start, end)

    def _cut(self, index: int, start: int, end: int) -> None:
        super()._cut(index, start, end)
        for position in range(start, end):
            group = self._group_of(position)
            del group.positions[bisect_left(group.positions, position)]
            group.work = group.work - self.work_of_position(position) if group.positions else 0.0

    def _enter(self, start: int, end: int) -> None:
        for position in range(start, end):
            group = self._group_of(position)
            insort(group.positions, position)
            group.work += self.work_of_position(position)

    def _group_of(self, position: int) -> Group:
        peers = self.near.peers.get(self.item_at(position), frozenset())
        group = self.groups.get(peers)
        if group is None:
            group = self.groups[peers] = Group(peers)
            for peer in peers:
                self._at.setdefault(peer, []).append(group)
        return group


class MovingForecast(Forecast):
    """A forecast that knows that data must be moved."""

    moves = True

    def __init__(self, config: SchedulerConfig, rates: RateModel, pending: GroupedPending) -> None:
        super().__init__(config, rates, pending)
        self._grouped = pending

    def moving_s(self, holder: Holder, items: Iterable[int]) -> float:
        return self._grouped.moving_s(holder.peer, items)
