"""When slots become free and when the step will end, as far as rates and reports tell."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Final

from meshwit.peer.sched.config import SchedulerConfig
from meshwit.peer.sched.estimates import RateModel
from meshwit.peer.sched.ledger import Batch, Holder
from meshwit.peer.sched.pending import Pending

_PREFETCH: Final = 200
_SMALL_MESH_SLOTS: Final = 16
_SUM_S: Final = 0.01
_PASS_S_PER_SLOT: Final = 5e-5


class Forecast:
    """Looks ahead over all peers of a step.

    Attributes:
        holders: the peers, in the order in which they came.
        slots: of all that are not frozen.
        speed: work per second of all of them.
        moves: whether it is known of data that they must be moved.
    """

    moves = False

    def __init__(self, config: SchedulerConfig, rates: RateModel, pending: Pending) -> None:
        self.config = config
        self.rates = rates
        self.pending = pending
        self.holders: list[Holder] = []
        self.slots = 0
        self.speed = 0.0
        self._summed_at = float("-inf")
        self._end = (float("-inf"), 0.0)

    @property
    def delay_s(self) -> float:
        """From a decision to a task's begin; none while the unit of paces is not seconds yet."""
        return self.config.delay_s if self.rates.measured else 0.0

    @property
    def pass_s(self) -> float:
        """How often all peers are looked at, at most: often in a small mesh, seldom in a large one."""
        return 0.0 if self.slots <= _SMALL_MESH_SLOTS else self.slots * _PASS_S_PER_SLOT

    def sum_up(self, now: float, *, force: bool = False) -> None:
        """Bring `slots` and `speed` up to date."""
        if force or now > self._summed_at + max(self.pass_s, _SUM_S):
            self._summed_at = now
            working = [each for each in self.holders if not each.frozen]
            self.slots = sum(each.slots for each in working)
            self.speed = sum(each.slots / self.pace_s(each) for each in working)

    def pace_s(self, holder: Holder) -> float:
        """Seconds per unit of work of one slot."""
        return holder.rate.median_s * self.rates.mean_factor

    def moving_s(self, holder: Holder, items: Iterable[int]) -> float:
        """How long it takes to bring a peer what it lacks of the data of items; nothing where nothing is known."""
        return 0.0

    def prefetches(self, holder: Holder) -> bool:
        """Whether a task is so short that waiting for the next one matters more than deciding late where it runs."""
        if not self.rates.measured or not self.pending.count:
            return True
        task_s = self.pace_s(holder) * self.pending.work / self.pending.count
        return task_s < _PREFETCH * self.config.delay_s

    def working(self) -> Iterable[Holder]:
        """Peers that are not frozen and have slots."""
        return (each for each in self.holders if each.slots and not each.frozen)

    def remaining_s(self, batch: Batch, now: float) -> float:
        """Of a batch, without what waits before it."""
        pace = self.pace_s(batch.owner)
        if not batch.started or not self.rates.measured:
            return batch.left_work * pace  # before anything is measured, paces are in no unit that a clock knows
        elapsed = max(0.0, now - batch.since)
        if batch.left == 1:
            return max(0.0, self.rates.expected_s(batch.owner.rate, batch.left_work, elapsed) - elapsed)
        ahead = batch.left_work * pace - elapsed
        return ahead if ahead > 0 else pace * batch.left_work / batch.left / 2 - ahead

    def free_at(self, holder: Holder, now: float) -> list[float]:
        """When its slots become free, as a heap; empty if it has none."""
        known = holder.free_at
        if known is not None and self.pass_s and known and known[0] > now:
            return known
        running = [now + self.remaining_s(batch, now) for batch in holder.running.values()]
        idle = holder.slots - len(running)
        if idle > 0:
            running += [now + self.delay_s] * idle
            heapq.heapify(running)
        else:
            running = sorted(running)[-holder.slots :] if holder.slots else []
        if running and holder.queue:
            pace = self.pace_s(holder)
            for batch in holder.queue.values():
                begin = running[0] if running[0] > batch.ready_at else batch.ready_at
                heapq.heapreplace(running, begin + batch.left_work * pace)
        holder.free_at = running
        return running

    def queued_ends(self, holder: Holder, now: float) -> list[tuple[float, Batch]]:
        """When each batch that waits will end, in their order."""
        times = [now + self.remaining_s(batch, now) for batch in holder.running.values()]
        times += [now + self.delay_s] * max(0, holder.slots - len(times))
        if not times:
            return [(float("inf"), batch) for batch in holder.queue.values()]
        heapq.heapify(times)
        pace = self.pace_s(holder)
        ends = []
        for batch in holder.queue.values():
            end = max(times[0], batch.ready_at) + batch.left_work * pace
            heapq.heapreplace(times, end)
            ends.append((end, batch))
        return ends

    def end(self, now: float) -> float:
        """When all would end if pending work were spread like water over the slots as they become free."""
        if self.pass_s and now < self._end[0] + self.pass_s:
            return self._end[1]
        entries = sorted((time, 1 / self.pace_s(each)) for each in self.working() for time in self.free_at(each, now))
        speed, level, volume = 0.0, float("inf"), self.pending.work
        for time, rate in entries:
            if time >= level:
                break
            speed += rate
            volume += rate * time
            level = volume / speed
        self._end = (now, level)
        return level

    def soonest_elsewhere(self, holder: Holder, work: float, now: float) -> float:
        """When another peer would have done so much work as one task, if given it now."""
        return min(
            (self.free_at(each, now)[0] + work * self.pace_s(each) for each in self.working() if each is not holder),
            default=float("inf"),
        )

    def needed(self, holder: Holder, end: float, now: float) -> bool:
        """Whether the others could not have done all pending items by `end`, when this peer would end its next.

        For equal items this gives the best assignment: item n goes where the n-th earliest end is (list scheduling by
        earliest completion, Graham 1966).
        """
        others = self.speed - holder.slots / self.pace_s(holder)
        if others * (end - now) < self.pending.work:
            return True
        mean = self.pending.work / self.pending.count
        wanted = self.pending.count
        for each in self.working():
            if each is holder:
                continue
            task_s = mean * self.pace_s(each)
            for time in self.free_at(each, now):
                if time + task_s < end:
                    wanted -= int((end - time) / task_s - 1e-9)
            if wanted <= 0:
                return False
        return True
