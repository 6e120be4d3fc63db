"""What a report means for the books: items that end, results that come late or twice, items that come back."""

from __future__ import annotations

from collections.abc import Sequence

from meshwit.peer.sched.effects import Drop, Effect
from meshwit.peer.sched.forecast import Forecast
from meshwit.peer.sched.ledger import Holder, ItemState, Ledger
from meshwit.peer.sched.rescue import Rescue


class Settling:
    """Takes note of reports, whatever a peer says.

    Attributes:
        strays: reports on items that were not the reporting peer's, or were settled before.
    """

    def __init__(self, forecast: Forecast, ledger: Ledger, rescue: Rescue) -> None:
        self._forecast = forecast
        self._ledger = ledger
        self._rescue = rescue
        self.strays = 0

    def settle(
        self, holder: Holder, items: Sequence[int], state: ItemState, now: float, effects: list[Effect]
    ) -> list[int]:
        """Items ended for good on a peer; those for which that is news."""
        ledger = self._ledger
        fresh: list[int] = []
        place = 0
        while place < len(items):
            item = items[place]
            place += 1
            if not 0 <= item < len(ledger.states) or ledger.states[item] >= ItemState.FINISHED:
                self.strays += 1
                continue
            batch = ledger.run_of(item, holder.peer)
            if batch is None:
                if not self._welcome(holder, item, now, effects):
                    continue
                fresh.append(item)
                continue
            other = ledger.other_run(item, batch) if ledger.duplicates else None
            work = self._forecast.pending.work_of((item,))
            if other is not None:
                self._rescue.lose(other, [item], work, now)
                effects.append(Drop(other.owner.peer, [item]))
            if not batch.started:
                ledger.begun(batch, now)
            batch.since = now
            ledger.release(batch, 1, work)
            if batch.left == 0:
                self._rescue.forget(batch)
            if ledger.abandoned:
                ghost = ledger.abandoned.pop(item, None)
                if ghost is not None:
                    effects.append(Drop(ghost.peer, [item]))
            ledger.states[item] = state
            fresh.append(item)
        ledger.settle(fresh, state)
        return fresh

    def _welcome(self, holder: Holder, item: int, now: float, effects: list[Effect]) -> bool:
        """Whether a result counts from a peer that no longer had the item: it woke, or kept what it was asked for."""
        ledger = self._ledger
        if not any(ledger.batch_peer[number] == holder.index for number in ledger.given(item)):
            self.strays += 1
            return False
        ghost = ledger.abandoned.pop(item, None)
        if ghost is not None and ghost is not holder:
            effects.append(Drop(ghost.peer, [item]))
        if ledger.states[item] == ItemState.PENDING:
            self._forecast.pending.remove(item)
            return True
        for number in (ledger.duplicates.get(item, -1), ledger.primary[item]):
            batch = ledger.batches.get(number)
            if batch is not None:
                effects.append(Drop(batch.owner.peer, [item]))
                if item in ledger.duplicates:
                    self._rescue.lose(batch, [item], self._forecast.pending.work_of((item,)), now)
                    continue
                ledger.release(batch, 1, self._forecast.pending.work_of((item,)))
                if batch.left == 0:
                    self._rescue.wasted += self._rescue.run_work(batch, now)
                    self._rescue.forget(batch)
        return True

    def put_back(self, holder: Holder, items: Sequence[int], now: float) -> None:
        """A peer's items become pending, or if a twin has them, the twin's alone."""
        ledger = self._ledger
        for item in items:
            if not 0 <= item < len(ledger.states) or ledger.states[item] != ItemState.HELD:
                self.strays += 1
                continue
            batch = ledger.run_of(item, holder.peer)
            if batch is None:
                self.strays += 1
                continue
            work = self._forecast.pending.work_of((item,))
            if item in ledger.duplicates:
                self._rescue.lose(batch, [item], work, now)
                continue
            ledger.release(batch, 1, work)
            if batch.left == 0:
                self._rescue.forget(batch)
            ledger.states[item] = ItemState.PENDING
            self._forecast.pending.put((item,))
