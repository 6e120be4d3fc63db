"""What a peer gets next: how many items, which, and when none.

Guided self-scheduling (Polychronopoulos and Kuck 1987) gives each idle processor its share of what is left; factoring
(Hummel, Schonberg and Flynn 1992) half of it, so that what was given can still be evened out; weighted factoring
(Hummel, Schmidt, Uma and Wein 1996) weighs shares by speed. Here, on top:

- a batch holds no more than some 50 ms of work, more only where so many slots report that messages would choke the
  leader; so with few peers factoring matters at the end alone, with a thousand from the beginning;
- each slot has one batch waiting besides the one it runs, so that no message delay is waited for; none where tasks are
  so long that the delay is nothing, and deciding late is worth more (`Forecast.prefetches`);
- longest first where work is estimated (Graham's LPT rule 1969), but never an item that would end on this peer after
  the whole step could have ended: the longest that fits;
- at the end no item to a peer that would end it after the others could have ended all (`Forecast.needed`). So a slow
  peer does not make a step slower where lengths are alike. Where they are unknown it may still draw a long one.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshwit.peer.sched.forecast import Forecast
from meshwit.peer.sched.ledger import Holder, Reason

_FIRST_BATCHES = 128
"""Of so many that a slot will have at least, the first is given before anything is known."""


class Placement:
    """The choice for one peer at a time.

    Args:
        forecast: what is known of peers and pending items.
        shrinking: batches shrink towards the end (Adaptive); otherwise they are of equal length (Queued).
        singly: one item in a batch, and none ahead: what a peer has, it has begun.
    """

    declines_max = 4
    """After so many peers that get nothing the slower ones are not asked: they would get nothing either."""

    def __init__(self, forecast: Forecast, *, shrinking: bool, singly: bool = False) -> None:
        self._forecast = forecast
        self._shrinking = shrinking
        self._singly = singly

    def has_room(self, holder: Holder) -> bool:
        """Whether it may get another batch."""
        return not holder.frozen and len(holder.running) + len(holder.queue) < self.ahead(holder) * holder.slots

    def ahead(self, holder: Holder) -> int:
        """Batches that a peer has for each slot: one that runs, and mostly one that waits."""
        return 2 if not self._singly and self._forecast.prefetches(holder) else 1

    def choose(self, holder: Holder, now: float) -> tuple[Sequence[int], float, Reason] | None:
        """Take the next batch of a peer out of what is pending.

        Returns:
            Its items, their work and the reason; None if the peer gets nothing now.
        """
        forecast, pending = self._forecast, self._forecast.pending
        if not pending.count:
            return None
        free = forecast.free_at(holder, now)[0]
        pace = forecast.pace_s(holder)
        work, count_max = self._size(holder)
        if pending.estimated:
            return self._choose_by_length(holder, free, pace, work, count_max, now)
        items = max(1, int(min(work, count_max, pending.count)))
        if not forecast.needed(holder, free + items * pace, now) and (
            items == 1 or not forecast.needed(holder, free + pace, now)
        ):
            return None
        reason = Reason.SHARE if forecast.rates.measured else Reason.LEARNING
        return *pending.take(pending.head, items, count_max), reason

    def _choose_by_length(
        self, holder: Holder, free: float, pace: float, work: float, count_max: int, now: float
    ) -> tuple[Sequence[int], float, Reason] | None:
        forecast, pending = self._forecast, self._forecast.pending
        longest = pending.head_work()
        end = free + longest * pace
        others = forecast.speed - holder.slots / pace
        if others * (end - now) < pending.work:
            return *pending.take(pending.head, work, count_max), Reason.LONGEST
        step_end = forecast.end(now)
        room = (step_end - free) / pace
        if longest <= room or end <= forecast.soonest_elsewhere(holder, longest, now):
            return *pending.take(pending.head, min(work, room), count_max), Reason.LONGEST
        position = pending.first_within(room)
        if position is not None:
            return *pending.take(position, min(work, room), count_max), Reason.FITS
        if forecast.needed(holder, free + pending.last_work() * pace, now):
            return *pending.take(pending.last, 0.0, 1), Reason.END_GAME
        return None

    def _size(self, holder: Holder) -> tuple[float, int]:
        """The work of a batch, and the most items."""
        forecast, config = self._forecast, self._forecast.config
        if self._singly:
            return 0.0, 1
        if not forecast.rates.measured:
            first = forecast.pending.count // (_FIRST_BATCHES * max(1, forecast.slots))
            return float("inf"), max(1, min(first, config.batch_items_max))
        message_s = 2 * config.message_s * forecast.slots
        pace = forecast.pace_s(holder)
        by_time = max(config.batch_s, message_s / config.load_max) / pace
        if self._shrinking:
            share = forecast.pending.work / pace / max(1e-12, forecast.speed)
            by_time = min(by_time, max(share / 2, max(config.batch_min_s, message_s) / pace))
        return by_time, min(config.batch_items_max, max(1, forecast.rates.measured * config.growth))
