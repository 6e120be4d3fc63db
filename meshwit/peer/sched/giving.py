"""Giving out what is pending: to whom the next batches go, and when to look at all peers again.

What a batch is made of is chosen elsewhere (`placement`). Who reports is given more at once; all others are looked at
as often as the number of slots allows (`Forecast.pass_s`), and then what lies wrong is seen to as well (`rescue`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from meshwit.peer.sched.effects import Effect, Give
from meshwit.peer.sched.forecast import Forecast
from meshwit.peer.sched.ledger import Batch, Holder, Ledger, Reason
from meshwit.peer.sched.near_placement import NearPlacement
from meshwit.peer.sched.placement import Placement
from meshwit.peer.sched.rescue import Rescue

_RETURNS_MAX: Final = 3
"""An item that came back so often stays where it is given next: else peers that look alike pass it on for ever."""
_LOOKS_PER_TASK: Final = 10
_LOOK_S_MIN: Final = 0.002


class Giving:
    """Gives batches to peers that have room.

    Attributes:
        next_look: when all peers are to be looked at again at the latest; infinite if nobody has room.
    """

    def __init__(self, forecast: Forecast, ledger: Ledger, placement: Placement, rescue: Rescue) -> None:
        self._forecast = forecast
        self._ledger = ledger
        self._placement = placement
        self._near = placement if isinstance(placement, NearPlacement) else None
        self._rescue = rescue
        self._returns: dict[int, int] = {}
        self._looked_at = float("-inf")
        self.next_look = float("inf")

    def came_back(self, items: Sequence[int]) -> None:
        """Items that a peer was asked for and gave back."""
        for item in items:
            self._returns[item] = self._returns.get(item, 0) + 1

    def to_reporter(self, holder: Holder, now: float) -> tuple[list[Effect], bool]:
        """More for a peer that has just reported, and whether it is time for a look at everyone."""
        forecast, placement = self._forecast, self._placement
        forecast.sum_up(now)
        effects: list[Effect] = []
        while forecast.pending.count and placement.has_room(holder):
            given = self._next(holder, now)
            if given is None:
                break
            effects.append(given)
        stuck = self._near is not None and not self._ledger.batches
        due = now >= self._looked_at + forecast.pass_s and (
            not forecast.pending.count or placement.has_room(holder) or self._rescue.pairs or now >= self.next_look
        )
        return effects, bool(due or stuck)

    def to_everyone(self, mean_work: float, now: float) -> list[Effect]:
        """Give to all who have room, the fastest first and one batch at a time; then see to what lies wrong.

        Args:
            mean_work: of an item of this step.
            now: seconds.
        """
        forecast, placement = self._forecast, self._placement
        forecast.sum_up(now, force=True)
        self._looked_at = now
        self.next_look = float("inf")
        effects: list[Effect] = []
        holders = sorted(
            (each for each in forecast.working() if placement.has_room(each)), key=lambda each: each.rate.median_s
        )
        turn = holders
        while turn and forecast.pending.count:
            gave, declined = [], 0
            for holder in turn:
                given = self._next(holder, now)
                if given is None:
                    declined += 1
                    if declined >= placement.declines_max or not forecast.pending.count:
                        break
                    continue
                effects.append(given)
                if placement.has_room(holder):
                    gave.append(holder)
            turn = gave
        if self._near is not None and not self._ledger.batches and forecast.pending.count:
            # Where each leaves items to others somebody must begin.
            found = self._near.at_least_one(forecast.working(), now)
            effects += [] if found is None else [self.give(*found, Reason.FETCHED, now)]
        open_holders = [each for each in holders if placement.has_room(each)]
        effects += self._rescue.look(open_holders, now)
        if open_holders or self._rescue.pairs:
            often = forecast.pace_s(holders[0]) * mean_work / _LOOKS_PER_TASK if holders else 0.0
            self.next_look = now + max(_LOOK_S_MIN, forecast.pass_s, often)
        return effects

    def give(self, holder: Holder, items: Sequence[int], work: float, reason: Reason, now: float) -> Give:
        """A batch of these items, which are pending no more."""
        if self._ledger.primary[items[0]] >= 0:
            reason = Reason.AGAIN
        batch = self.book(holder, items, work, reason, now)
        if self._near is not None:
            batch.ready_at = self._near.ready_at(holder, items, now)
        batch.asked = bool(self._returns) and self._returns.get(items[0], 0) >= _RETURNS_MAX
        return Give(holder.peer, batch.number, items)

    def book(self, holder: Holder, items: Sequence[int], work: float, reason: Reason, now: float) -> Batch:
        """The batch in the books, without a word to the peer."""
        expected_s = work * self._forecast.pace_s(holder) if self._forecast.rates.measured else float("nan")
        return self._ledger.give(holder, items, work, reason, expected_s, now)

    def _next(self, holder: Holder, now: float) -> Give | None:
        found = self._placement.choose(holder, now)
        if found is None:
            return None
        items, work, reason = found
        return self.give(holder, items, work, reason, now)
