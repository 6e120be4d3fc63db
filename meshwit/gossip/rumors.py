"""News on its way: each item is passed on a limited number of times, those sent least go first, only the latest counts.

Of those sent equally often the newest goes first: what waits behind a crowd that joins is not what anybody waits for.

An item is never sent to somebody who told it to us. Hearing it again counts as a transmission only of items that wait
for probes: counting it always leaves a few percent of a mesh uninformed.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from meshwit.gossip.messages import Claim, Note, WireRecord, encode
from meshwit.ids import PeerId

SCAN_MAX: Final = 64
KNOWN_MAX: Final = 64
ITEMS_MAX: Final = 8192

Key: TypeAlias = tuple[str, str]
Body: TypeAlias = Claim | WireRecord | Note


class Item:
    """One piece of news."""

    __slots__ = ("body", "bytes", "key", "known", "pushed", "sent")

    def __init__(self, key: Key, body: Body, pushed: bool) -> None:
        self.key = key
        self.body = body
        self.bytes = len(encode(body))
        self.pushed = pushed
        self.sent = 0
        self.known: set[PeerId] = set()


class Picked:
    """News for one message."""

    __slots__ = ("bytes", "claims", "notes", "records")

    def __init__(self) -> None:
        self.claims: list[Claim] = []
        self.records: list[WireRecord] = []
        self.notes: list[Note] = []
        self.bytes = 0

    def add(self, body: Body, size: int) -> None:
        """Put one in."""
        self.bytes += size
        if type(body) is Claim:
            self.claims.append(body)
        elif type(body) is WireRecord:
            self.records.append(body)
        else:
            assert type(body) is Note
            self.notes.append(body)


class Rumors:
    """The items still to be passed on, by how often they were sent."""

    def __init__(self) -> None:
        self._items: dict[Key, Item] = {}
        self._levels: list[dict[Key, Item]] = [{}]
        self.pushed = 0
        """Items that do not wait for a probe to ride on."""

    def __len__(self) -> int:
        return len(self._items)

    def add(self, key: Key, body: Body, pushed: bool, told_by: PeerId | None = None) -> None:
        """Pass it on from now; it replaces what had the same key."""
        self.drop(key)
        if len(self._items) >= ITEMS_MAX:
            level = next(each for each in reversed(self._levels) if each)
            self.drop(next(iter(level)))
        item = Item(key, body, pushed)
        if told_by is not None:
            item.known.add(told_by)
        self._items[key] = item
        self._levels[0][key] = item
        self.pushed += pushed

    def get(self, key: Key) -> Body | None:
        """What is being passed on under that key."""
        item = self._items.get(key)
        return None if item is None else item.body

    def drop(self, key: Key) -> None:
        """Pass it on no longer."""
        item = self._items.pop(key, None)
        if item is not None:
            del self._levels[item.sent][key]
            self.pushed -= item.pushed

    def heard_again(self, key: Key, peer: PeerId) -> None:
        """That peer knows it, too."""
        item = self._items.get(key)
        if item is not None and peer not in item.known:
            if len(item.known) < KNOWN_MAX:
                item.known.add(peer)
            if not item.pushed:
                self._raise(item)

    def _raise(self, item: Item) -> None:
        del self._levels[item.sent][item.key]
        item.sent += 1
        if item.sent == len(self._levels):
            self._levels.append({})
        self._levels[item.sent][item.key] = item

    def pick(
        self, peer: PeerId, room: int, transmits: int, quiet_transmits: int, present: int, only_pushed: bool = False
    ) -> Picked | None:
        """News for that peer that fits in so many bytes, counted as sent; None if there is none."""
        if not self._items:
            return None
        chosen: list[Item] = []
        over: list[Item] = []
        left = room
        scanned = 0
        for level in self._levels[:transmits]:
            for item in reversed(level.values()):
                scanned += 1
                if not item.pushed and item.sent >= quiet_transmits:
                    over.append(item)
                elif peer in item.known:
                    if len(item.known) >= present:
                        over.append(item)
                elif item.bytes <= left and (item.pushed or not only_pushed):
                    chosen.append(item)
                    left -= item.bytes
                if scanned >= SCAN_MAX:
                    break
            if scanned >= SCAN_MAX or left < 32:
                break
        for level in self._levels[transmits:]:
            over += level.values()
        for item in over:
            self.drop(item.key)
        if not chosen:
            return None
        picked = Picked()
        for item in chosen:
            picked.add(item.body, item.bytes)
            self._raise(item)
            if item.sent >= transmits:
                self.drop(item.key)
        return picked
