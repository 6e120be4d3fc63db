"""What a report means for the books: items that end, results that come late or twice, items that come back."""

from __future__ import annotations

from collections.abc import Sequence

from meshwit.ids import PeerId
from meshwit.peer.sched.effects import Drop, Effect
from meshwit.peer.sched.forecast import Forecast
from meshwit.peer.sched.ledger import Holder, ItemState, Ledger
from meshwit.peer.sched.rescue import Rescue


class Settling:
    """Takes note of reports, whatever a peer says.

    Attributes:
        overtaken: work of runs that a peer believed lost was quicker than; nobody chose that, so it has no bound.
        strays: reports on items that were not the reporting peer's, or were settled before.
    """

    def __init__(self, forecast: Forecast, ledger: Ledger, rescue: Rescue) -> None:
        self._forecast = forecast
        self._ledger = ledger
        self._rescue = rescue
        self.strays = 0
        self.overtaken = 0.0

    def settle(
        self, holder: Holder, items: Sequence[int], state: ItemState, now: float, effects: list[Effect]
    ) -> Sequence[int]:
        """Items ended for good on a peer; those for which that is news."""
        ledger = self._ledger
        whole = ledger.whole_run(items, holder)
        if whole is not None:
            if not whole.started:
                ledger.begun(whole, now)
            whole.since = now
            ledger.release(whole, len(items), self._forecast.pending.work_of(items))
            if whole.left == 0:
                self._rescue.forget(whole)
            ledger.settle(items, state)
            return items
        fresh: list[int] = []
        place = 0
        while place < len(items):
            item = items[place]
            place += 1
            if not 0 <= item < len(ledger.states) or ledger.states[item] >= ItemState.FINISHED:
                self.strays += 1
                continue
            # An item that came back is pending though the batch that it was in may go on.
            batch = ledger.run_of(item, holder.peer) if ledger.states[item] == ItemState.HELD else None
            if batch is None:
                if not self._welcome(holder, item, now, effects):
                    continue
                ledger.states[item] = state  # at once: a report may name it twice
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
                    self.overtaken += self._rescue.run_work(batch, now)
                    self._rescue.forget(batch)
        return True

    def set_aside(self, items: Sequence[int], now: float) -> list[Effect]:
        """Items are given up, wherever they are; those that are settled stay as they are."""
        ledger, pending, rescue = self._ledger, self._forecast.pending, self._rescue
        drops: dict[PeerId, list[int]] = {}
        given_up: list[int] = []
        for item in dict.fromkeys(items):
            if not 0 <= item < len(ledger.states) or ledger.states[item] >= ItemState.FINISHED:
                continue
            work = pending.work_of((item,))
            ghost = ledger.abandoned.pop(item, None)
            if ghost is not None:
                drops.setdefault(ghost.peer, []).append(item)
            if ledger.states[item] == ItemState.PENDING:
                pending.remove(item)
            else:
                copy = ledger.batches.get(ledger.duplicates.get(item, -1))
                if copy is not None:
                    rescue.lose(copy, [item], work, now)
                    drops.setdefault(copy.owner.peer, []).append(item)
                batch = ledger.batches[ledger.primary[item]]
                drops.setdefault(batch.owner.peer, []).append(item)
                ledger.release(batch, 1, work)
                if batch.left == 0:
                    rescue.forget(batch)
            given_up.append(item)
        ledger.settle(given_up, ItemState.ASIDE)
        return [Drop(peer, dropped) for peer, dropped in drops.items()]

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
