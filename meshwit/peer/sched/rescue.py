"""What is done about items that lie wrong: taken back, run a second time, moved, or given up with a frozen peer.

- **Take-back.** Where a peer will be idle and nothing is pending, batches that others have not begun and would end
  later than this peer are asked back.
- **Backup tasks.** An idle peer runs a second copy of what would end last, if it is expected to end sooner there (Dean
  and Ghemawat, MapReduce, 2004, section 3.6; with unknown lengths and speeds, replication: Cirne, Brasileiro, Paranhos
  et al. 2007). One copy at most, on the fastest idle peer, judged by expected ends as in LATE (Zaharia et al. 2008).
- **Moving.** Where a second run would waste too much, the first is dropped instead, if what it has done is little (task
  assignment by guessing size: Harchol-Balter 2002). Doing so before the end, on suspicion, was tried and left out: over
  350 seeds of 100 lognormal tasks with sigma 1.5 the mean makespan was 1.25 of the bound with it and 1.21 without, over
  200 other seeds the same (1.26 and 1.27).
  Planning with all of the allowed waste, not four fifths, and moving from a gain of 1.1 on, was left out too: over
  600 seeds the mean fell from 1.23 to 1.21, but waste rose above its bound in some steps.
- **Waste** is the work of runs that lost. What is lost and what may still be, of each pair the lesser run, stays below
  5 % of the step's work as it is estimated; when it would not, the lesser run of a pair is dropped.
- **Silence.** A peer that says nothing for much longer than its tasks should take is believed frozen: its items are
  pending again, at once. Should it wake and end one first, that counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from meshwit.peer.sched.effects import Drop, Effect, Give, Lost, TakeBack
from meshwit.peer.sched.forecast import Forecast
from meshwit.peer.sched.ledger import Batch, Holder, ItemState, Ledger, Reason

_OPENERS_MAX: Final = 16
_FAILURES_MAX: Final = 4
_MARGIN: Final = 0.05
_CAUTION: Final = 0.8
"""Of the waste allowed so much is planned with: work is estimated, and where lengths are unknown it is wrong."""
_MOVE_GAIN: Final = 1.3


class Rescue:
    """Looks after what was given.

    Attributes:
        wasted: work of runs that lost, in units of work.
        total_work: of the step.
        once: nothing runs a second time: no duplicates, no moving, and what a lost peer had is set aside.
    """

    def __init__(self, forecast: Forecast, ledger: Ledger, *, once: bool = False) -> None:
        self.once = once
        self._forecast = forecast
        self._ledger = ledger
        self.wasted = 0.0
        self.total_work = 0.0
        self.pairs: dict[int, Batch] = {}
        self.asked: set[int] = set()

    # --- take-back and duplicates -------------------------------------------------------------------------------

    def look(self, open_holders: list[Holder], now: float) -> list[Effect]:
        """See to items that lie wrong, for the sake of peers that have room, the fastest first."""
        forecast = self._forecast
        if self.once or not forecast.rates.measured or not open_holders:
            return []
        if forecast.pending.count:
            return []
        effects = self._take_back(open_holders, now)
        if not effects and not self.asked:
            idle = [each for each in open_holders if not each.queue and len(each.running) < each.slots]
            effects = self._duplicate(idle, now)
        return effects

    def _take_back(self, open_holders: list[Holder], now: float) -> list[Effect]:
        forecast = self._forecast
        takers = open_holders[:_OPENERS_MAX]
        free = [forecast.free_at(each, now)[0] for each in takers]
        wanted: dict[int, tuple[Holder, list[int]]] = {}
        failures = 0
        for end, batch, items in sorted(self._late(now), key=lambda late: (-late[0], -late[1].number)):
            work = forecast.pending.work_of(items)
            sooner, best = min(
                (free[number] + forecast.moving_s(each, items) + work * forecast.pace_s(each), number)
                for number, each in enumerate(takers)
            )  # fmt: skip
            if sooner + forecast.delay_s + _MARGIN * (sooner - now) >= end:
                failures += 1
                if failures >= _FAILURES_MAX:
                    break
                continue
            free[best] = sooner
            batch.asked = True
            self.asked.add(batch.number)
            wanted.setdefault(batch.owner.index, (batch.owner, []))[1].extend(items)
        return [TakeBack(holder.peer, items) for holder, items in wanted.values()]

    def _late(self, now: float) -> Iterable[tuple[float, Batch, list[int]]]:
        """What could be asked back: batches that wait, and the second half of what runs."""
        forecast, ledger = self._forecast, self._ledger
        for holder in forecast.working():
            for end, batch in forecast.queued_ends(holder, now):
                if not batch.asked and batch.twin < 0:
                    yield end, batch, ledger.left_of(batch)
            if not holder.queue:
                for batch in holder.running.values():
                    remaining = forecast.remaining_s(batch, now) if batch.left > 1 else 0.0
                    if not batch.asked and batch.twin < 0 and remaining > 2 * forecast.config.batch_min_s:
                        left = ledger.left_of(batch)
                        yield now + remaining, batch, left[(len(left) + 1) // 2 :]

    def _begin_anew(self, taker: Holder, batch: Batch, moving: float, now: float) -> list[Effect]:
        ledger, work = self._ledger, batch.left_work
        items = ledger.left_of(batch)
        self.wasted += self.run_work(batch, now)
        ledger.release(batch, batch.left, work)
        self.forget(batch)
        length = moving + work * self._forecast.pace_s(taker)
        moved = ledger.give(taker, items, work, Reason.MOVED, length, now)
        moved.ready_at = now + moving
        return [Drop(batch.owner.peer, items), Give(taker.peer, moved.number, items)]

    def _duplicate(self, idle: list[Holder], now: float) -> list[Effect]:
        forecast = self._forecast
        late = [
            (now + forecast.remaining_s(batch, now), batch)
            for holder in forecast.working()
            for batch in holder.running.values()
            if batch.twin < 0
        ]
        late.sort(key=lambda each: (-each[0], each[1].number))
        effects: list[Effect] = []
        failures = 0
        for taker in idle:
            if failures >= _FAILURES_MAX:
                break
            for end, batch in late:
                begun = batch.twin >= 0 or batch.owner is taker or batch.number not in self._ledger.batches
                if begun or any(item in self._ledger.abandoned for item in batch.items):
                    continue
                found = self._second_run(taker, batch, end, now)
                if found:
                    effects += found
                    break
            else:
                failures += 1
        return effects

    def _second_run(self, taker: Holder, batch: Batch, end: float, now: float) -> list[Effect]:
        """Have an idle peer run a batch of another too, or in its place, if that pays."""
        forecast = self._forecast
        elapsed = now - batch.since
        pace, owner_pace = forecast.pace_s(taker), forecast.pace_s(batch.owner)
        length = batch.left_work * pace
        if batch.left == 1:
            length = forecast.rates.elsewhere_s(taker.rate, batch.owner.rate, batch.left_work, elapsed)
        moving = forecast.moving_s(taker, self._ledger.left_of(batch)) if forecast.moves else 0.0
        sooner = max(now, forecast.free_at(taker, now)[0]) + moving + length
        if sooner + 2 * forecast.delay_s + _MARGIN * length >= end:
            return []
        room = self._bound() - self.wasted - self.at_stake(now)
        lost = elapsed / owner_pace
        if min(lost + length / owner_pace, length / pace) <= room:
            items = self._ledger.left_of(batch)
            copy = self._ledger.give(taker, items, batch.left_work, Reason.DUPLICATE, moving + length, now)
            copy.ready_at = now + moving
            copy.twin, batch.twin = batch.number, copy.number
            self.pairs[copy.number] = copy
            return [Give(taker.peer, copy.number, items, duplicate=True)]
        if lost <= room and end - now > _MOVE_GAIN * (moving + length):
            return self._begin_anew(taker, batch, moving, now)
        return []

    # --- waste --------------------------------------------------------------------------------------------------

    def run_work(self, batch: Batch, now: float) -> float:
        """What a run has cost so far, in units of work."""
        return (now - batch.since) / self._forecast.pace_s(batch.owner) if batch.started else 0.0

    def _bound(self) -> float:
        return _CAUTION * self._forecast.config.waste_max * self.total_work

    def at_stake(self, now: float) -> float:
        """What pairs will waste at least, would they end now."""
        batches = self._ledger.batches
        return sum(
            min(self.run_work(copy, now), self.run_work(batches[copy.twin], now)) for copy in self.pairs.values()
        )

    def limit_waste(self, now: float) -> list[Effect]:
        """Drop the lesser run of pairs while waste would exceed its bound."""
        effects: list[Effect] = []
        while self.pairs and self.wasted + self.at_stake(now) > self._bound():
            copy = max(
                self.pairs.values(),
                key=lambda each: min(self.run_work(each, now), self.run_work(self._ledger.batches[each.twin], now)),
            )
            original = self._ledger.batches[copy.twin]
            loser = copy if self.run_work(copy, now) <= self.run_work(original, now) else original
            items = self._ledger.left_of(loser)
            self.lose(loser, items, loser.left_work, now)
            effects.append(Drop(loser.owner.peer, items))
        return effects

    def lose(self, batch: Batch, items: list[int], work: float, now: float, *, wasted: bool = True) -> None:
        """Items of one of two runs are no longer wanted of it; the other is from now on the only one."""
        ledger = self._ledger
        if wasted and len(items) == batch.left:
            twin = ledger.batches[batch.twin]  # equal work: the loser has done no more of it than the winner
            self.wasted += min(self.run_work(batch, now), self.run_work(twin, now))
        for item in items:
            copy = ledger.duplicates.pop(item)
            ledger.earlier.setdefault(item, []).append(batch.number)
            if copy != batch.number:
                ledger.primary[item] = copy
        ledger.release(batch, len(items), work)
        if batch.left == 0:
            self.forget(batch)

    def forget(self, batch: Batch) -> None:
        """A batch ended: it is no longer one of a pair, nor asked back."""
        self.asked.discard(batch.number)
        self.pairs.pop(batch.number, None)
        if batch.twin >= 0:
            self.pairs.pop(batch.twin, None)
            twin = self._ledger.batches.get(batch.twin)
            if twin is not None:
                twin.twin = -1
            batch.twin = -1

    # --- silence and departure ----------------------------------------------------------------------------------

    def silent_after(self, holder: Holder) -> float:
        """When a peer will have been silent too long; never if it has nothing to tell."""
        config, rates = self._forecast.config, self._forecast.rates
        if holder.frozen or not (holder.running or holder.queue):
            return float("inf")
        if config.beats:
            return holder.heard_at + config.silence_min_s
        if not rates.measured:
            return float("inf")
        longest = 0.0
        for batch in holder.running.values() or holder.queue.values():
            mean = batch.left_work / batch.left
            longest = max(longest, (batch.left_work - mean) * self._forecast.pace_s(holder)
                          + rates.generous_s(holder.rate, mean))  # fmt: skip
        limit = max(config.silence_min_s, config.silence_factor * longest)
        return holder.heard_at + (limit if holder.reported else max(limit, config.first_report_s))

    def give_up(self, holder: Holder, now: float, *, gone: bool) -> list[Effect]:
        """Make a peer's items pending again: it is gone, or believed frozen; then its answer will tell that it woke.

        With `once` they are set aside instead, all of them: they are given singly, so what it has it may have begun.
        """
        if self.once:
            return self._set_aside_of(holder, gone=gone)
        ledger, pending = self._ledger, self._forecast.pending
        waiting: list[int] = []
        lost: list[int] = []
        for batch in holder.batches():
            items = ledger.left_of(batch)
            running = batch.started
            if running:
                lost.append(items[0])
            else:
                waiting += items
            twice = [item for item in items if item in ledger.duplicates] if ledger.duplicates else []
            if twice:
                self.lose(batch, twice, pending.work_of(twice), now, wasted=False)
                items = [item for item in items if ledger.primary[item] == batch.number and batch.left]
            if items:
                ledger.release(batch, len(items), batch.left_work)
                self.forget(batch)
                for item in items:
                    ledger.states[item] = ItemState.PENDING
                pending.put(batch.items if len(items) == len(batch.items) else items)
                if running and not gone:
                    ledger.abandoned.update(dict.fromkeys(items, holder))
        effects: list[Effect] = [Lost(holder.peer, lost, final=False)] if lost else []
        return effects if gone else [*effects, TakeBack(holder.peer, waiting)]

    def _set_aside_of(self, holder: Holder, *, gone: bool) -> list[Effect]:
        ledger = self._ledger
        lost: list[int] = []
        for batch in holder.batches():
            items = ledger.left_of(batch)
            ledger.release(batch, batch.left, batch.left_work)
            self.forget(batch)
            ledger.settle(items, ItemState.ASIDE)
            lost += items
        effects: list[Effect] = [Lost(holder.peer, lost, final=True)] if lost else []
        return effects if gone else [*effects, Drop(holder.peer, lost), TakeBack(holder.peer, [])]
