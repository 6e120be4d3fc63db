"""Shares by rate, before anything ran: what `--plan` shows, and what Balanced gives out at once.

What peers hold already, since a leader before this one gave it, counts for their shares.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from meshwit.peer.sched.effects import Share
from meshwit.peer.sched.forecast import Forecast
from meshwit.peer.sched.ledger import Holder

_EXACT_PLAN_MAX: Final = 200_000


def shares(forecast: Forecast, now: float) -> list[tuple[Holder, Share]]:
    """What each peer would run of what is pending, were all as believed: each item ends where it ends first."""
    forecast.sum_up(now, force=True)
    pending, holders = forecast.pending, list(forecast.working())
    if not holders:
        return []
    counts = {holder.index: 0 for holder in holders}
    works = {holder.index: 0.0 for holder in holders}
    slots = [(holder, forecast.pace_s(holder)) for holder in holders for _ in range(holder.slots)]
    parts = _parts(forecast, holders)
    if pending.count <= _EXACT_PLAN_MAX // (1 + len(slots).bit_length()):
        mean = pending.work / max(1, pending.count)
        held = [holder.held_work / holder.slots / mean if mean else 0.0 for holder, _ in slots]  # 0: nothing is pending
        ends = [((held[number] + 1) * pace, number, 1) for number, (_, pace) in enumerate(slots)]
        heapq.heapify(ends)
        for _ in range(pending.count):
            _, number, count = ends[0]
            holder, pace = slots[number]
            counts[holder.index] += 1
            heapq.heapreplace(ends, ((held[number] + count + 1) * pace, number, count + 1))
    else:
        given = 0.0
        for holder in holders:
            before = round(given * pending.count)
            given += parts[holder.index]
            counts[holder.index] = round(given * pending.count) - before
    for holder in holders:
        if pending.estimated:
            works[holder.index] = parts[holder.index]
        else:
            works[holder.index] = counts[holder.index] / max(1, pending.count)
    return [
        (holder, Share(holder.peer, works[holder.index], counts[holder.index])) for holder in holders
    ]  # fmt: skip


def _parts(forecast: Forecast, holders: Sequence[Holder]) -> dict[int, float]:
    """The part of what is pending that each would do, were work as fine as water: all come to their end together."""
    speeds = {holder.index: holder.slots / forecast.pace_s(holder) for holder in holders}
    held = {holder.index: holder.held_work for holder in holders}
    speed, work = 0.0, forecast.pending.work
    level = float("inf")
    for index in sorted(held, key=lambda each: held[each] / speeds[each]):
        if held[index] / speeds[index] >= level:
            break
        speed += speeds[index]
        work += held[index]
        level = work / speed
    return {
        index: max(0.0, level * speeds[index] - held[index]) / max(1e-12, forecast.pending.work) for index in held
    }  # fmt: skip


def opening(forecast: Forecast, now: float) -> Iterator[tuple[Holder, Sequence[int], float]]:
    """Take all that is pending: each peer's share, in batches small enough to be taken back singly.

    Yields:
        The peer, items and their work together.
    """
    pending, config = forecast.pending, forecast.config
    plan = shares(forecast, now)
    if pending.estimated:
        yield from _by_length(forecast)
        return
    size = max(1, pending.count // config.balanced_batches)
    for holder, share in plan:
        left = share.items
        while left > 0 and pending.count:
            items, work = pending.take(pending.head, min(left, size), config.batch_items_max)
            left -= len(items)
            yield holder, items, work


def _by_length(forecast: Forecast) -> Iterator[tuple[Holder, Sequence[int], float]]:
    """Longest first, each where it would end first (Graham's LPT on machines of several speeds)."""
    pending, config = forecast.pending, forecast.config
    owners = [each for each in forecast.working() for _ in range(each.slots)]
    paces = np.array([forecast.pace_s(each) for each in owners])
    ends = np.array([each.held_work / each.slots for each in owners]) * paces
    limit = max(1.0, pending.count / config.balanced_batches)
    while pending.count and owners:
        average = pending.work / pending.count
        items, work = pending.take(pending.head, limit * average, config.batch_items_max)
        best = int(np.argmin(ends + work * paces))
        ends[best] += work * paces[best]
        yield owners[best], items, work
