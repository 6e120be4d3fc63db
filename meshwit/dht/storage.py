"""The records that this node keeps for the mesh.

Under a key lie records of several owners, of each the highest version. Everything is bounded: owners under a key,
records of an owner, records and bytes in all. What goes first is decided by hashes, not by who came first: under a
crowded key each node keeps its own random choice, so that together they know many; a full node lets go of the keys
farthest from it, which others keep.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Any, NamedTuple

import msgspec
from kademlia.storage import IStorage

from meshwit.dht.keys import Key
from meshwit.dht.messages import Kept, Stored, encode_record
from meshwit.dht.settings import DirectorySettings
from meshwit.dht.validity import Validity
from meshwit.ids import PeerId
from meshwit.records import Record


class Keeping(IntEnum):
    """What became of a record that was brought."""

    REFUSED = 0
    KEPT = 1
    STALE = 2
    FULL = 3


class Entry(NamedTuple):
    """A kept record."""

    record: Record
    raw: bytes
    level: int

    @property
    def stored(self) -> Stored:
        """As it travels in a `store`."""
        return Stored(self.level, msgspec.Raw(self.raw))


class RecordStorage(IStorage):  # type: ignore[misc]
    """Records by key and owner; instead of `ForgetfulStorage`, which keeps anything for a week."""

    def __init__(self, node_id: bytes, validity: Validity, settings: DirectorySettings) -> None:
        self._node_id = node_id
        self._distance_from = int.from_bytes(node_id)
        self._validity = validity
        self._settings = settings
        self._keys: dict[Key, dict[PeerId, Entry]] = {}
        self._owned: Counter[PeerId] = Counter()
        self.records = 0
        self.bytes = 0

    def keep(self, key: Key, record: Record, level: int) -> Keeping:
        """Keep a record if it is believed and there is room. The key is the caller's, made from topic and owner."""
        owners = self._keys.get(key, {})
        held = owners.get(record.owner)
        if held is not None and held.record.version >= record.version:
            return Keeping.KEPT if held.record == record else Keeping.STALE
        if self._validity.fault(record, level):
            return Keeping.REFUSED
        raw = encode_record(record)
        if held is not None:
            self._drop(key, record.owner)
        if not self._make_room(key, record.owner, len(raw)):
            return Keeping.FULL
        self._keys.setdefault(key, {})[record.owner] = Entry(record, raw, level)
        self._owned[record.owner] += 1
        self.records += 1
        self.bytes += len(raw)
        return Keeping.KEPT

    def answer(self, key: Key, record: Record, level: int) -> Kept:
        """Keep a record and say what became of it."""
        keeping = self.keep(key, record, level)
        held = self._keys.get(key, {}).get(record.owner)
        return Kept(keeping, self.owners(key), held.record.version if held and keeping == Keeping.STALE else 0)

    def owners(self, key: Key) -> int:
        """How many owners' records lie there."""
        return len(self._keys.get(key, ()))

    def chosen(self, key: Key, salt: int) -> list[Entry]:
        """The live records under a key, in an order that the salt makes fair."""
        mark = (salt & (2**64 - 1)).to_bytes(8)
        entries = [each for each in self._keys.get(key, {}).values() if not self._validity.age_fault(each.record)]
        return sorted(entries, key=lambda each: _hash(mark, each.record.owner))

    def keys(self) -> list[Key]:
        """All keys with records, as they are now."""
        return list(self._keys)

    def entries(self, key: Key) -> list[Entry]:
        """The records under a key."""
        return list(self._keys.get(key, {}).values())

    def expire(self) -> int:
        """Let go of what is out of date; returns how many that were."""
        old = [
            (key, owner)
            for key, owners in self._keys.items()
            for owner, entry in owners.items()
            if self._validity.age_fault(entry.record)
        ]
        for key, owner in old:
            self._drop(key, owner)
        return len(old)

    def check(self) -> None:
        """What always holds."""
        entries = [each for owners in self._keys.values() for each in owners.values()]
        assert self.records == len(entries) <= self._settings.records_max
        assert self.bytes == sum(len(each.raw) for each in entries) <= self._settings.record_bytes_max
        assert all(0 < len(owners) <= self._settings.owners_max for owners in self._keys.values())
        assert self._owned == Counter(each.record.owner for each in entries)

    # The package's interface, as far as records have a meaning in it.

    def __setitem__(self, key: Key, value: Record) -> None:
        self.keep(key, value, 0)

    def __getitem__(self, key: Key) -> list[Entry]:
        found = self.chosen(key, 0)
        if not found:
            raise KeyError(key)
        return found

    def get(self, key: Key, default: Any = None) -> Any:
        """The live records under a key."""
        return self.chosen(key, 0) or default

    def iter_older_than(self, seconds_old: float) -> Iterable[Any]:
        """Nothing: who owns a record publishes it again, and nobody else can."""
        return []

    def __iter__(self) -> Iterator[tuple[Key, list[Entry]]]:
        for key in self.keys():
            yield key, self.entries(key)

    def _make_room(self, key: Key, owner: PeerId, size: int) -> bool:
        settings = self._settings
        if self._owned.get(owner, 0) >= settings.owner_records_max:
            return False
        owners = self._keys.get(key, {})
        if len(owners) >= settings.owners_max:
            last = max(owners, key=self._rank)
            if self._rank(last) < self._rank(owner):
                return False
            self._drop(key, last)
        while self.records >= settings.records_max or self.bytes + size > settings.record_bytes_max:
            if not self._keys:
                return False
            farthest = max(self._keys, key=self._distance)
            if self._distance(farthest) <= self._distance(key):
                return False
            for each in list(self._keys[farthest]):
                self._drop(farthest, each)
        return True

    def _drop(self, key: Key, owner: PeerId) -> None:
        entry = self._keys[key].pop(owner)
        if not self._keys[key]:
            del self._keys[key]
        self.records -= 1
        self.bytes -= len(entry.raw)
        self._owned[owner] -= 1
        if not self._owned[owner]:
            del self._owned[owner]

    def _rank(self, owner: PeerId) -> bytes:
        return _hash(self._node_id, owner)

    def _distance(self, key: Key) -> int:
        return int.from_bytes(key) ^ self._distance_from


def _hash(mark: bytes, owner: PeerId) -> bytes:
    return hashlib.blake2b(owner.encode(), digest_size=8, key=mark).digest()
