"""What a peer gets next where it is known who has the data of items.

Delay scheduling (Zaharia, Borthakur, Sen Sarma et al. 2010) lets a job wait a little for a machine that has its data.
Here both are compared: what the peer has comes first, then what nobody in particular has; what lies elsewhere it gets
only if it would end it, moved, before a peer that has it would come to its end. Of what lies elsewhere it gets the
last, which those who have it would come to last. While no task has ended nobody knows how long that takes: then the
time waited so far must have reached that of moving, so that no more than twice as much is lost as had to be.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from meshwit.ids import PeerId
from meshwit.peer.sched.forecast import Forecast
from meshwit.peer.sched.ledger import Holder, Reason
from meshwit.peer.sched.nearness import Group, GroupedPending
from meshwit.peer.sched.opening import shares
from meshwit.peer.sched.placement import Placement

_LOOKED_AT_MAX: Final = 16
"""Groups that are compared for one peer: those with most work."""


class NearPlacement(Placement):
    """The choice for one peer at a time, by where data lie; see the module."""

    declines_max = 1_000_000
    """Who gets nothing has not its data, which says nothing of others."""

    def __init__(self, forecast: Forecast, pending: GroupedPending, *, shrinking: bool, singly: bool = False) -> None:
        super().__init__(forecast, shrinking=shrinking, singly=singly)
        self._groups = pending
        self._waiting_since: float | None = None

    def ahead(self, holder: Holder) -> int:
        """One that must move data has one batch ahead in any case: they are moved while the slot is busy."""
        moves = not self._singly and bool(self._groups.count) and not self._groups.groups_at(holder.peer)
        return 2 if moves else super().ahead(holder)

    def choose(self, holder: Holder, now: float) -> tuple[Sequence[int], float, Reason] | None:
        if self._waiting_since is None:
            self._waiting_since = now
        if not self._groups.count:
            return None
        working = {each.peer: each for each in self._forecast.working()}
        near = _most_laden(self._groups.groups_at(holder.peer))
        if near:
            chosen = max(near, key=lambda each: self._others_end(each, working, holder, now))
            if self._forecast.rates.measured:
                found = self._from_front(chosen, holder, now)
            else:  # what the others could do, were all theirs, says nothing yet
                found = self._groups.take_these(self._fitting(iter(chosen.positions), *self._size(holder)))
            if found is not None:
                return *found, Reason.NEAR
        others = [each for each in self._groups.groups.values() if each.positions and holder.peer not in each.peers]
        for group in others:
            if working.keys().isdisjoint(group.peers):
                found = self._from_front(group, holder, now)
                if found is not None:
                    measured = self._forecast.rates.measured
                    return *found, Reason.SHARE if measured else Reason.LEARNING
        groups = _most_laden(each for each in others if not working.keys().isdisjoint(each.peers))
        ends = [(self._others_end(each, working, None, now), each) for each in groups]
        found = self._from_elsewhere(sorted(ends, key=lambda each: -each[0]), holder, now)
        return None if found is None else (*found, Reason.FETCHED)

    def at_least_one(self, holders: Iterable[Holder], now: float) -> tuple[Holder, Sequence[int], float] | None:
        """An item for whoever would end it first: nobody has any, so that nothing would ever change."""
        position = self._groups.head
        item = self._groups.item_at(position)
        ends = [
            (self._begin(each, [item], now) + self._forecast.pace_s(each), each.index, each)
            for each in holders
            if self.has_room(each)
        ]
        return None if not ends else (min(ends)[2], *self._groups.take_these([position]))

    # --- what it has, or nobody has ----------------------------------------------------------------------------

    def _from_front(self, group: Group, holder: Holder, now: float) -> tuple[Sequence[int], float] | None:
        """The first items of a group, as many as fit a batch, if others would not have ended them sooner."""
        pace = self._forecast.pace_s(holder)
        work, count_max = self._size(holder)
        taken = self._fitting(iter(group.positions), work, count_max)
        for positions in (taken, taken[:1], group.positions[-1:]):
            if self._worth_it(positions, holder, pace, now):
                return self._groups.take_these(positions)
        return None

    def _worth_it(self, positions: Sequence[int], holder: Holder, pace: float, now: float) -> bool:
        items = [self._groups.item_at(each) for each in positions]
        work = sum(self._groups.work_of_position(each) for each in positions)
        begin, moving = self._begin(holder, items, now), sum(self._groups.near.move_s.get(each, 0.0) for each in items)
        end = begin + work * pace
        if not self._forecast.rates.measured:
            moving = 0.0  # paces are in no unit that a clock knows
        return self._forecast.needed(holder, end - moving, now)

    def _fitting(self, positions: Iterator[int], work: float, count_max: int) -> list[int]:
        """At least one, then while they fit."""
        taken = [next(positions)]
        left = work - self._groups.work_of_position(taken[0])
        for position in positions:
            left -= self._groups.work_of_position(position)
            if left < 0 or len(taken) >= count_max:
                break
            taken.append(position)
        return taken

    def _begin(self, holder: Holder, items: Sequence[int], now: float) -> float:
        """When a slot is free and the data are there."""
        free = self._forecast.free_at(holder, now)[0]
        if not self._forecast.rates.measured:
            return free
        return max(free, self.ready_at(holder, items, now))

    def ready_at(self, holder: Holder, items: Sequence[int], now: float) -> float:
        """When the data of items would be there: they come after those that are on their way."""
        moving = self._groups.moving_s(holder.peer, items)
        if not moving:
            return now
        return max(now, *(batch.ready_at for batch in holder.queue.values()), now) + moving

    # --- what lies elsewhere -----------------------------------------------------------------------------------

    def _others_end(self, group: Group, working: Mapping[PeerId, Holder], but: Holder | None, now: float) -> float:
        """When the first of the peers that have a group's data would have done all that is pending there."""
        found = float("inf")
        for peer in group.peers:
            each = working.get(peer)
            if each is not None and each is not but:
                speed = each.slots / self._forecast.pace_s(each)
                found = min(found, self._forecast.free_at(each, now)[0] + self._groups.work_at(each.peer) / speed)
        return found

    def _from_elsewhere(
        self, ends: Sequence[tuple[float, Group]], holder: Holder, now: float
    ) -> tuple[Sequence[int], float] | None:
        """The last items of that group which would end last where its data lie, if they end sooner here."""
        if not ends:
            return None
        if not self._forecast.rates.measured:
            return self._unmeasured(ends[0][1], holder, now)
        pace = self._forecast.pace_s(holder)
        for end, group in ends:
            positions = self._gaining(group, end, holder, pace, now)
            if positions and self._worth_it(positions, holder, pace, now):
                return self._groups.take_these(positions)
        return None

    def _gaining(self, group: Group, end: float, holder: Holder, pace: float, now: float) -> list[int]:
        """From the end of a group on: while they end sooner here than there."""
        work, count_max = self._size(holder)
        taken: list[int] = []
        items: list[int] = []
        done = 0.0
        for position in reversed(group.positions):
            more = self._groups.work_of_position(position)
            if taken and (done + more > work or len(taken) >= count_max):
                break
            begin = self._begin(holder, [*items, self._groups.item_at(position)], now)
            if begin + (done + more) * pace >= end:
                break
            taken.append(position)
            items.append(self._groups.item_at(position))
            done += more
            end -= more * pace / max(1, holder.slots)
        return taken

    def _unmeasured(self, group: Group, holder: Holder, now: float) -> tuple[Sequence[int], float] | None:
        position = group.positions[-1]
        moving = self._groups.moving_s(holder.peer, [self._groups.item_at(position)])
        assert self._waiting_since is not None
        if holder.queue or holder.running or now - self._waiting_since < moving:
            return None
        return self._groups.take_these([position])


def near_opening(
    forecast: Forecast, pending: GroupedPending, now: float
) -> Iterator[tuple[Holder, Sequence[int], float]]:
    """Take all that is pending: each peer's share by rate, as far as it goes of what it has the data of.

    Yields:
        The peer, items and their work together.
    """
    plan = [(holder, share.share * pending.work) for holder, share in shares(forecast, now)]
    left = {holder.index: quota for holder, quota in plan}
    for elsewhere in (False, True):
        for holder, _ in plan:
            groups = [
                each for each in pending.groups.values() if each.positions and (elsewhere or holder.peer in each.peers)
            ]
            for group in sorted(groups, key=lambda each: len(each.peers)):
                while group.positions and left[holder.index] >= 0.5 * pending.work_of_position(group.positions[0]):
                    items, work = pending.take_these(group.positions[:1])
                    left[holder.index] -= work
                    yield holder, items, work
    while pending.count and plan:
        holder = max(plan, key=lambda each: left[each[0].index])[0]
        last, work = pending.take(pending.head, 0.0, 1)
        left[holder.index] -= work
        yield holder, last, work


def _most_laden(groups: Iterable[Group]) -> list[Group]:
    return heapq.nlargest(_LOOKED_AT_MAX, groups, key=lambda each: each.work)
