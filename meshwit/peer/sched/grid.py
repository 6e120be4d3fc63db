"""The scheduler of one Grid step: which item runs where, so that every machine finishes at the same moment.

Theory of operation. Items are pending until a peer with room gets some (`giving`), in batches that cost one message
and are made up by `placement`. What peers report makes rates (`estimates`) and those a forecast of when each slot is
free (`forecast`). What lies wrong by that forecast is taken back, run twice or moved, and a silent peer loses its items
(`rescue`). The books (`ledger`) know no policy. The three strategies differ in `placement` alone:

- **Balanced** gives each peer its share by rate at once (`opening`); what turns out wrong is taken back later.
- **Queued** gives batches of equal length, one ahead for each slot.
- **Adaptive** gives batches that shrink towards the end (weighted factoring).

Nothing here knows a clock, a network or an activity. It never raises on what a peer reports: reports on items that
are not the peer's are counted (`strays`) and otherwise ignored, except that the first result of an item is welcome
from anybody who was given it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from meshwit.ids import PeerId
from meshwit.peer.sched.config import SchedulerConfig
from meshwit.peer.sched.effects import Effect, Share, StepDone, TakeBack
from meshwit.peer.sched.estimates import RateModel, RatePrior, Seen
from meshwit.peer.sched.explaining import reasons
from meshwit.peer.sched.forecast import Forecast
from meshwit.peer.sched.giving import Giving
from meshwit.peer.sched.ledger import Holder, ItemState, Ledger, Reason
from meshwit.peer.sched.near_placement import NearPlacement, near_opening
from meshwit.peer.sched.nearness import GroupedPending, MovingForecast, Nearness
from meshwit.peer.sched.opening import opening, shares
from meshwit.peer.sched.pending import Pending
from meshwit.peer.sched.placement import Placement
from meshwit.peer.sched.rescue import Rescue
from meshwit.peer.sched.settling import Settling

Strategy = Literal["Balanced", "Queued", "Adaptive"]
STRATEGIES: Final = ("Balanced", "Queued", "Adaptive")
_WASTE_TOLERANCE: Final = 0.03
"""Work is estimated, and what it was is known later."""
_SILENCE_LOOKS: Final = 4


class GridScheduler:
    """Schedules the items 0, 1, 2, ... of one step.

    Attributes:
        strategy: how items are given out.
        ledger: who has what.
    """

    def __init__(
        self,
        strategy: str,
        count: int,
        works: Sequence[float] | None = None,
        *,
        complete: bool = True,
        config: SchedulerConfig | None = None,
        once: bool = False,
        known: Collection[int] = (),
        near: Nearness | None = None,
    ) -> None:
        """Nothing is given before `start`.

        Args:
            strategy: `Balanced`, `Queued` or `Adaptive`.
            count: items known so far.
            works: the estimated work of each, positive; None where nothing is estimated.
            complete: no more will be appended.
            config: numbers, where not the usual ones.
            once: no item may run twice: items are given singly, and those of a peer that is lost are set aside.
            known: items that are finished already.
            near: where data of items lie; only for a step that is complete.

        Raises:
            ValueError: a strategy of another name, estimates that are not one for each item, or a known item
                that there is not.
        """
        if strategy not in STRATEGIES:
            raise ValueError(f"there is no strategy {strategy!r}: {', '.join(STRATEGIES)}")
        self.strategy = strategy
        self.config = config or SchedulerConfig()
        self.ledger = Ledger(count, known)
        self._works = None if works is None else _checked(works, count)
        self._count = count
        self._known = self.ledger.finished
        self._complete = complete
        self._started = self._done = False
        self._rates = RateModel(self.config.window)
        free = self.ledger.free() if self.ledger.finished else None
        shrinking = strategy == "Adaptive"
        self._grouped = None if near is None or not complete else GroupedPending(near, self._works, count, free)
        placement: Placement
        if self._grouped is None:
            self._pending = Pending(self._works, count, free)
            self._forecast = Forecast(self.config, self._rates, self._pending)
            placement = Placement(self._forecast, shrinking=shrinking, singly=once)
        else:
            self._pending = self._grouped
            self._forecast = MovingForecast(self.config, self._rates, self._grouped)
            placement = NearPlacement(self._forecast, self._grouped, shrinking=shrinking, singly=once)
        self._rescue = Rescue(self._forecast, self.ledger, once=once)
        self._settling = Settling(self._forecast, self.ledger, self._rescue)
        self._giving = Giving(self._forecast, self.ledger, placement, self._rescue)
        self._rescue.total_work = self._pending.work
        self._holders: dict[PeerId, Holder] = {}
        self._silence_at = float("-inf")

    # --- what happens -------------------------------------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """Give out the first items; peers that joined before share them."""
        self._started = True
        self._silence_at = now + self.config.silence_min_s / _SILENCE_LOOKS
        self._forecast.sum_up(now, force=True)
        effects: list[Effect] = []
        if self.strategy == "Balanced" and not self._rescue.once:
            grouped = self._grouped
            given = opening(self._forecast, now) if grouped is None else near_opening(self._forecast, grouped, now)
            for holder, items, work in given:
                effects.append(self._giving.give(holder, items, work, Reason.SHARE, now))
        return effects + self._everyone(now)

    def append(self, count: int, works: Sequence[float] | None, now: float) -> list[Effect]:
        """More items; with estimates exactly if those at the start had some. Raises ValueError otherwise."""
        if (works is None) != (self._works is None) and self._count:
            raise ValueError("either all items of a step have estimates of their work, or none")
        start = self._count
        self._count += count
        self.ledger.extend(count)
        if works is None:
            self._pending.add_range(start, self._count)
        else:
            more = _checked(works, count)
            self._works = more if self._works is None else np.concatenate((self._works, more))
            self._pending = self._forecast.pending = Pending(self._works, self._count, self.ledger.free())
        self._rescue.total_work += float(count) if works is None else float(sum(works))
        return self._everyone(now)

    def close(self, now: float) -> list[Effect]:
        """No more items will come."""
        self._complete = True
        return self._end()

    def adopt(self, peer: PeerId, items: Sequence[int], begun: bool, now: float) -> int | None:
        """A peer holds items already, for a leader before this one: those that are pending are booked as its own.

        Returns:
            The number of the batch that they make; None if there is no such peer, or none of them is pending.
        """
        holder = self._holders.get(peer)
        states = self.ledger.states
        found = [item for item in dict.fromkeys(items) if 0 <= item < len(states) and states[item] == ItemState.PENDING]
        if holder is None or self._done or not found:
            return None
        for item in found:
            self._pending.remove(item)
        work = self._pending.work_of(found)
        batch = self._giving.book(holder, found, work, Reason.ADOPTED, now)
        if begun:
            self.ledger.begun(batch, now)
        self._forecast.sum_up(now, force=True)
        return batch.number

    def peer_joined(self, peer: PeerId, slots: int, prior: RatePrior, now: float) -> list[Effect]:
        """A peer offers slots."""
        effects = self.peer_left(peer, now) if peer in self._holders else []
        holder = self.ledger.join(peer, slots, self._rates.add(prior), now)
        self._holders[peer] = holder
        self._forecast.holders.append(holder)
        return effects + self._everyone(now)

    def slots_changed(self, peer: PeerId, slots: int, now: float) -> list[Effect]:
        """A peer offers another number of slots; what runs, runs on."""
        holder = self._holders.get(peer)
        if holder is None or (holder.slots == slots and slots):
            return []  # without slots it may hold batches all the same, that it was found with
        holder.slots = slots
        holder.free_at = None
        effects: list[Effect] = []
        if slots == 0:
            effects = self._give_back_queue(holder)
        return effects + self._everyone(now)

    def peer_left(self, peer: PeerId, now: float) -> list[Effect]:
        """A peer is gone; what it had not reported goes elsewhere, or with `once` nowhere."""
        holder = self._holders.pop(peer, None)
        if holder is None:
            return []
        effects = self._rescue.give_up(holder, now, gone=True)
        abandoned = self.ledger.abandoned
        for item in [item for item, ghost in abandoned.items() if ghost is holder]:
            del abandoned[item]
        self._forecast.holders.remove(holder)
        self._rates.remove(holder.rate)
        return effects + self._everyone(now)

    def heard(self, peer: PeerId, now: float) -> list[Effect]:
        """A sign of life that is no report."""
        holder = self._holders.get(peer)
        if holder is None or self._done:
            return []
        return self._everyone(now) if self._hear(holder, now, reported=False) else []

    def batch_started(self, peer: PeerId, batch: int, now: float) -> list[Effect]:
        """A peer began with a batch."""
        holder = self._holders.get(peer)
        known = self.ledger.batches.get(batch)
        if holder is None or known is None or known.owner is not holder:
            return []
        woke = self._hear(holder, now)
        self.ledger.begun(known, now)
        return self._everyone(now) if woke else []

    def finished(self, peer: PeerId, items: Sequence[int], seconds: Sequence[float], now: float) -> list[Effect]:
        """A peer ended items; `seconds` is how long each took there."""
        holder = self._holders.get(peer)
        if holder is None or self._done:
            self._settling.strays += len(items)
            return []
        self._hear(holder, now)
        effects: list[Effect] = []
        fresh = self._settling.settle(holder, items, ItemState.FINISHED, now, effects)
        if len(fresh) == len(items):
            taken: Sequence[float] = seconds
        else:
            index = {item: place for place, item in enumerate(items)}
            taken = [seconds[index[item]] for item in fresh]
        if fresh:
            self._rates.observe(holder.rate, taken, self._pending.works_of(fresh))
        return effects + self._after(holder, now)

    def failed(self, peer: PeerId, items: Sequence[int], again: bool, now: float) -> list[Effect]:
        """Items failed on a peer; `again`: they are to be tried anew, else they are set aside."""
        holder = self._holders.get(peer)
        if holder is None or self._done:
            return []
        self._hear(holder, now)
        effects: list[Effect] = []
        if again:
            self._settling.put_back(holder, items, now)
        else:
            self._settling.settle(holder, items, ItemState.ASIDE, now, effects)
        return effects + self._after(holder, now)

    def taken_back(self, peer: PeerId, items: Sequence[int], now: float) -> list[Effect]:
        """A peer answers `TakeBack`: these it had not begun, and they are no longer its own.

        A batch of which it gave nothing is not asked for again: who cannot split what runs would be asked for ever.
        """
        holder = self._holders.get(peer)
        if holder is None or self._done:
            return []
        self._hear(holder, now)
        before = {batch: batch.left for batch in holder.batches() if batch.asked}
        self._settling.put_back(holder, items, now)
        self._giving.came_back(items)
        for batch, left in before.items():
            self._rescue.asked.discard(batch.number)
            batch.asked = batch.left == left
        return self._everyone(now)

    def set_aside(self, items: Sequence[int], now: float) -> list[Effect]:
        """Give up on items, wherever they are: they are not run again, and no result of them is taken."""
        if self._done:
            return []
        return self._settling.set_aside(items, now) + self._everyone(now)

    def tick(self, now: float) -> list[Effect]:
        """Time has passed."""
        if self._done:
            return []
        effects: list[Effect] = []
        if now >= self._silence_at:
            due = [(self._rescue.silent_after(each), each) for each in self._forecast.holders]
            later = now + self.config.silence_min_s / _SILENCE_LOOKS
            self._silence_at = min((when for when, _ in due if when > now), default=later)
            self._silence_at = min(self._silence_at, later)
            for holder in [each for when, each in due if when <= now]:
                holder.frozen = True
                effects += self._rescue.give_up(holder, now, gone=False)
                self._forecast.sum_up(now, force=True)
        if self._rescue.pairs:
            effects += self._rescue.limit_waste(now)
        return effects + self._everyone(now)

    def next_deadline(self) -> float | None:
        """When `tick` is due at the latest; None if nothing is under way."""
        if self._done or not self._started or not self.ledger.batches:
            return None
        return min(self._giving.next_look, self._silence_at)

    # --- telling ------------------------------------------------------------------------------------------------

    def plan(self, now: float = 0.0) -> list[Share]:
        """The intended shares of what is pending, in the order in which peers joined."""
        return [share for _, share in shares(self._forecast, now)]

    def explain(self, item: int) -> list[str]:
        """Why an item ran where it did: one sentence for each time that it was given to a peer."""
        return reasons(self.ledger, self._pending, item)

    @property
    def strays(self) -> int:
        """Reports on items that were not the reporting peer's."""
        return self._settling.strays

    @property
    def waste(self) -> float:
        """Work of runs that lost, over the work of the step."""
        return (self._rescue.wasted + self._settling.overtaken) / max(1e-12, self._rescue.total_work)

    @property
    def done(self) -> bool:
        """Whether all is over."""
        return self._done

    @property
    def pending_count(self) -> int:
        """Items that no peer has."""
        return self._pending.count

    @property
    def unsettled(self) -> int:
        """Items neither finished nor set aside."""
        return self.ledger.unsettled

    def rates(self) -> dict[PeerId, float]:
        """Of each peer that is here and ended items: work per second of one slot (median), as it is believed."""
        return {each.peer: 1 / each.rate.median_s for each in self._forecast.holders if each.rate.count}

    def seen(self) -> dict[PeerId, Seen]:
        """The same, as the items alone tell it."""
        found = {each.peer: self._rates.seen(each.rate) for each in self._forecast.holders}
        return {peer: each for peer, each in found.items() if each is not None}

    def check(self) -> None:
        """Invariants: each item in one state, one duplicate at most, waste within its bound."""
        self.ledger.check(self._pending.count)
        for item in self._pending:
            assert self.ledger.states[item] == ItemState.PENDING
        for copy in self._rescue.pairs.values():
            assert self.ledger.batches[copy.twin].twin == copy.number
        assert self._rescue.asked <= set(self.ledger.batches)
        chosen = self._rescue.wasted / max(1e-12, self._rescue.total_work)
        assert chosen <= self.config.waste_max + _WASTE_TOLERANCE, chosen

    # --- inside -------------------------------------------------------------------------------------------------

    def _hear(self, holder: Holder, now: float, *, reported: bool = True) -> bool:
        """A sign of life; whether the peer was believed frozen."""
        holder.heard_at = now
        holder.reported |= reported
        if not holder.frozen:
            return False
        holder.frozen = False
        self._forecast.sum_up(now, force=True)
        return True

    def _give_back_queue(self, holder: Holder) -> list[Effect]:
        items: list[int] = []
        for batch in holder.queue.values():
            batch.asked = True
            self._rescue.asked.add(batch.number)
            items += self.ledger.left_of(batch)
        return [TakeBack(holder.peer, items)] if items else []

    def _after(self, holder: Holder, now: float) -> list[Effect]:
        """What follows a report: more for that peer, and at times a look at all."""
        ended = self._end()
        if ended:
            return ended
        effects, look = self._giving.to_reporter(holder, now)
        return effects + self._everyone(now) if look else effects

    def _everyone(self, now: float) -> list[Effect]:
        ended = self._end()
        if ended or not self._started or self._done:
            return ended
        return self._giving.to_everyone(self._rescue.total_work / max(1, self._count - self._known), now)

    def _end(self) -> list[Effect]:
        if self._done or not self._complete or self.ledger.unsettled or not self._started:
            return []
        self._done = True
        return [StepDone()]


def _checked(works: Sequence[float], count: int) -> npt.NDArray[np.float64]:
    found = np.asarray(works, np.float64)
    if found.shape != (count,) or not bool(np.all((found > 0) & np.isfinite(found))):
        raise ValueError(f"{count} items need as many estimates of their work, all above 0")
    return found
