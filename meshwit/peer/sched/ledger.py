"""Who holds which item: the books of one Grid step, without any policy.

An item is pending, held by a batch of one peer (its primary run, and at most one duplicate on another peer), finished,
or set aside. A batch that a frozen peer holds is abandoned: its items are pending again, and should the peer wake and
end one first, that counts. Per item one byte and two numbers are kept, per batch one row of columns; only what is
under way is an object.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Sequence
from enum import IntEnum
from typing import Final

from meshwit.ids import PeerId
from meshwit.peer.sched.estimates import PeerRate

ATTEMPTS_MAX: Final = 255
_EVER: Final = float("-inf")


class ItemState(IntEnum):
    """Where an item is."""

    PENDING = 0
    HELD = 1
    FINISHED = 2
    ASIDE = 3


class Reason(IntEnum):
    """Why a batch went to its peer."""

    SHARE = 0
    LONGEST = 1
    FITS = 2
    END_GAME = 3
    AGAIN = 4
    DUPLICATE = 5
    MOVED = 6
    LEARNING = 7
    NEAR = 8
    FETCHED = 9
    ADOPTED = 10


class Batch:
    """Items given to a peer together, as long as some of them are not settled.

    Attributes:
        left: its items not settled.
        left_work: their work.
        since: when its present item began: the start, then each report; NaN before the start.
        asked: it was asked to be given back, and no part of it was.
        ready_at: when the data that it needs are expected to be there, where they have to be moved.
        twin: for a duplicate, the batch that it doubles, and the other way round; -1 for none.
    """

    __slots__ = ("asked", "given_at", "items", "left", "left_work", "number", "owner", "ready_at", "since",
                 "started_at", "twin", "work")  # fmt: skip

    def __init__(self, number: int, owner: Holder, items: Sequence[int], work: float, now: float) -> None:
        self.number = number
        self.owner = owner
        self.items = items
        self.work = self.left_work = work
        self.left = len(items)
        self.given_at = now
        self.started_at = self.since = float("nan")
        self.asked = False
        self.ready_at = _EVER
        self.twin = -1

    @property
    def started(self) -> bool:
        """Whether the peer said so."""
        return self.started_at == self.started_at


class Holder:
    """A peer as this step sees it.

    Attributes:
        running: batches begun, by number; at most as many as slots.
        queue: batches not begun, by number, in their order.
        frozen: it has been silent too long and gets nothing.
    """

    __slots__ = ("free_at", "frozen", "heard_at", "index", "peer", "queue", "rate", "reported", "running", "slots")

    def __init__(self, peer: PeerId, index: int, slots: int, rate: PeerRate, now: float) -> None:
        self.peer = peer
        self.index = index
        self.slots = slots
        self.rate = rate
        self.running: dict[int, Batch] = {}
        self.queue: dict[int, Batch] = {}
        self.frozen = False
        self.reported = False
        self.heard_at = now
        self.free_at: list[float] | None = None

    def batches(self) -> list[Batch]:
        """All that it holds."""
        return [*self.running.values(), *self.queue.values()]

    @property
    def held_work(self) -> float:
        """The work of all that it holds."""
        return sum(batch.left_work for batch in self.batches())


class Ledger:
    """The books.

    Attributes:
        states: of each item, an `ItemState`.
        finished: items finished.
        unsettled: items neither finished nor set aside.
        batches: those under way, by number.
    """

    def __init__(self, count: int, known: Collection[int] = ()) -> None:
        """All are pending but those known, which are finished. Raises ValueError where there is no such item."""
        self.states = bytearray(count)
        for item in known:
            if not 0 <= item < count:
                raise ValueError(f"item {item} is said to be finished, of {count}")
            self.states[item] = ItemState.FINISHED
        self.primary = array("i", [-1]) * count
        self.attempts = bytearray(count)
        self.duplicates: dict[int, int] = {}
        self.abandoned: dict[int, Holder] = {}
        self.earlier: dict[int, list[int]] = {}
        self.batches: dict[int, Batch] = {}
        self.finished = self.states.count(ItemState.FINISHED)
        self.unsettled = count - self.finished
        self.peers: list[PeerId] = []
        self.batch_peer = array("i")
        self.batch_reason = array("b")
        self.batch_given = array("d")
        self.batch_started = array("d")
        self.batch_expected = array("f")

    def extend(self, count: int) -> None:
        """More items, pending."""
        self.states.extend(bytes(count))
        self.primary.extend(array("i", [-1]) * count)
        self.attempts.extend(bytes(count))
        self.unsettled += count

    def free(self) -> Iterator[int]:
        """The items that are pending."""
        return (item for item, state in enumerate(self.states) if state == ItemState.PENDING)

    def join(self, peer: PeerId, slots: int, rate: PeerRate, now: float) -> Holder:
        """A peer comes."""
        self.peers.append(peer)
        return Holder(peer, len(self.peers) - 1, slots, rate, now)

    def give(
        self, owner: Holder, items: Sequence[int], work: float, reason: Reason, expected_s: float, now: float
    ) -> Batch:
        """A peer gets items that were pending, or for a duplicate, that another runs."""
        number = len(self.batch_peer)
        batch = Batch(number, owner, items, work, now)
        self.batch_peer.append(owner.index)
        self.batch_reason.append(reason)
        self.batch_given.append(now)
        self.batch_started.append(float("nan"))
        self.batch_expected.append(expected_s)
        self.batches[number] = batch
        if not owner.batches():
            owner.heard_at = now
        owner.queue[number] = batch
        owner.free_at = None
        if reason is Reason.DUPLICATE:
            for item in items:
                self.duplicates[item] = number
            return batch
        states, primary, attempts = self.states, self.primary, self.attempts
        if isinstance(items, range) and items.step == 1:
            span, count = slice(items.start, items.stop), len(items)
            if primary[span] == array("i", [-1]) * count:
                states[span] = bytes([ItemState.HELD]) * count
                primary[span] = array("i", [number]) * count
                attempts[span] = bytes([1]) * count
                return batch
        for item in items:
            states[item] = ItemState.HELD
            if primary[item] >= 0:
                self.earlier.setdefault(item, []).append(primary[item])
            primary[item] = number
            if attempts[item] < ATTEMPTS_MAX:
                attempts[item] += 1
        return batch

    def begun(self, batch: Batch, now: float) -> None:
        """A batch runs."""
        owner = batch.owner
        if owner.queue.pop(batch.number, None) is None:
            return
        owner.running[batch.number] = batch
        owner.free_at = None
        batch.started_at = batch.since = self.batch_started[batch.number] = now

    def run_of(self, item: int, peer: PeerId) -> Batch | None:
        """The batch in which this peer has the item."""
        for number in (self.primary[item], self.duplicates.get(item, -1)):
            batch = self.batches.get(number)
            if batch is not None and batch.owner.peer == peer:
                return batch
        return None

    def other_run(self, item: int, batch: Batch) -> Batch | None:
        """The other batch that has the item."""
        number = self.duplicates.get(item, -1)
        if number < 0:
            return None
        return self.batches.get(self.primary[item] if number == batch.number else number)

    def release(self, batch: Batch, count: int, work: float) -> None:
        """So many items of a batch are its peer's no longer; the batch ends with the last."""
        batch.left -= count
        batch.left_work = max(0.0, batch.left_work - work)
        batch.owner.free_at = None
        if batch.left == 0:
            del self.batches[batch.number]
            batch.owner.running.pop(batch.number, None)
            batch.owner.queue.pop(batch.number, None)

    def left_of(self, batch: Batch) -> list[int]:
        """The items of a batch that are not settled, in order."""
        number, states = batch.number, self.states
        if batch.left == len(batch.items):
            return list(batch.items)
        if self.duplicates:
            return [
                item
                for item in batch.items
                if states[item] == ItemState.HELD and number in (self.primary[item], self.duplicates.get(item, -1))
            ]
        return [item for item in batch.items if states[item] == ItemState.HELD and self.primary[item] == number]

    def given(self, item: int) -> list[int]:
        """The batches in which an item was, in their order."""
        numbers = {*self.earlier.get(item, ()), self.primary[item], self.duplicates.get(item, -1)}
        return sorted(numbers - {-1})

    def whole_run(self, items: Sequence[int], owner: Holder) -> Batch | None:
        """The batch in which this peer alone has all these items, found at once: all of a batch, or a row of its items.

        None where that is not so, or not seen quickly.
        """
        if self.duplicates or self.abandoned or len(items) == 0 or not 0 <= items[0] < len(self.primary):
            return None
        number, count = self.primary[items[0]], len(items)
        batch = self.batches.get(number)
        if batch is None or batch.owner is not owner or batch.left < count:
            return None
        if count == batch.left == len(batch.items):
            return batch if items == batch.items or list(items) == list(batch.items) else None
        start, stop = items[0], items[0] + count
        if items != range(start, stop) and list(items) != list(range(start, stop)):
            return None
        held = self.states.count(ItemState.HELD, start, stop) == count
        return batch if held and self.primary[start:stop] == array("i", [number]) * count else None

    def settle(self, items: Sequence[int], state: ItemState) -> None:
        """Items end."""
        count = len(items)
        if (
            count > 1
            and items[-1] - items[0] == count - 1
            and (isinstance(items, range) or items == list(range(items[0], items[0] + count)))
        ):
            self.states[items[0] : items[0] + count] = bytes([state]) * count
        else:
            for item in items:
                self.states[item] = state
        self.unsettled -= count
        if state is ItemState.FINISHED:
            self.finished += count

    def check(self, pending_count: int) -> None:
        """Each item is in exactly one state, and batches hold exactly what is held."""
        held = sum(state == ItemState.HELD for state in self.states)
        assert pending_count == sum(state == ItemState.PENDING for state in self.states)
        assert self.unsettled == pending_count + held
        primaries = 0
        for batch in self.batches.values():
            left = self.left_of(batch)
            assert len(left) == batch.left > 0, (batch.number, left, batch.left)
            assert (batch.number in batch.owner.running) != (batch.number in batch.owner.queue)
            primaries += sum(self.primary[item] == batch.number for item in left)
        assert primaries == held, (primaries, held)
        for item, number in self.duplicates.items():
            assert self.states[item] == ItemState.HELD
            other = self.batches[self.primary[item]]
            assert number in self.batches and other.owner is not self.batches[number].owner
            assert item not in self.abandoned
