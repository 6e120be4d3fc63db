"""The records of all members: which are believed, kept and passed on.

A record is believed if it is its owner's by signature and the owner is a member by the payload of its `member`
record. Topics of one peer are kept for members in view; topics that concern everybody (`mesh:`, `expel:`) are kept
whoever their owner is, together with the owner's `member` record, by which others can judge them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from meshwit.gossip.effects import RecordChanged
from meshwit.gossip.ground import Ground
from meshwit.gossip.members import Member
from meshwit.gossip.messages import NUMBER_MAX, Note, WireRecord, from_wire, raw_of, to_wire
from meshwit.ids import PeerId
from meshwit.records import Record, Signer, Verifier, record_fault, signed_record

MEMBER: Final = "member"
SHARED_PREFIXES: Final = ("mesh:", "expel:")
ITEM_BYTES: Final = 136
DIGEST_BYTES: Final = 8
AWAITED_MAX: Final = 256


def is_shared(topic: str) -> bool:
    """Whether a topic concerns everybody."""
    return topic.startswith(SHARED_PREFIXES)


def versions_hash(versions: list[tuple[str, int]]) -> bytes:
    """A digest of which versions are held."""
    text = "\n".join(f"{topic} {version}" for topic, version in sorted(versions))
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()


class Shelf:
    """Keeps records.

    Args:
        admits: why the payload of a `member` record makes its owner no member; empty if it is one.
        joined: called when a record makes its owner a member in view.
    """

    def __init__(
        self,
        ground: Ground,
        signer: Signer,
        verify: Verifier,
        admits: Callable[[PeerId, bytes], str],
        joined: Callable[[PeerId, bytes, float], Member | None],
    ) -> None:
        self.ground = ground
        self.own: dict[str, Record] = {}
        self.shared: dict[tuple[PeerId, str], Record] = {}
        self.vouchers: dict[PeerId, Record] = {}
        self._awaited: dict[PeerId, None] = {}
        self._shared_count: dict[PeerId, int] = {}
        self._signer = signer
        self._verify = verify
        self._admits = admits
        self._joined = joined
        self._version = 0
        self._own_digest: bytes | None = None
        self._shared_digest: bytes | None = None

    # --- our own ---------------------------------------------------------------------------------------------------

    def publish(self, topic: str, payload: bytes, now: float, expires_at: int = 0, above: int = 0) -> Record:
        """Sign our next version of a topic. Raises ValueError if it breaks the limits."""
        config = self.ground.config
        if topic not in self.own and len(self.own) >= config.owner_topics_max:
            raise ValueError(f"one more topic, {topic!r}: {config.owner_topics_max} are allowed")
        held = sum(len(each.payload) for each in self.own.values() if each.topic != topic)
        if held + len(payload) > config.owner_bytes_max:
            raise ValueError(f"{held + len(payload)} bytes in all topics, {config.owner_bytes_max} are allowed")
        self._version = min(NUMBER_MAX, max(self.ground.wall_ms(now), self._version + 1, above + 1))
        record = signed_record(self._signer, topic, self._version, payload, expires_at)
        self.own[topic] = record
        self._own_digest = None
        if is_shared(topic):
            self._keep_shared(record)
        self._spread(record, None)
        return record

    def own_digest(self) -> bytes:
        """Over our records that are not shared."""
        if self._own_digest is None:
            self._own_digest = versions_hash(
                [(each.topic, each.version) for each in self.own.values() if not is_shared(each.topic)]
            )
        return self._own_digest

    def digest(self, member: Member) -> bytes:
        """Over the records that we hold of a member."""
        if member.digest is None:
            member.digest = versions_hash([(each.topic, each.version) for each in member.records.values()])
        return member.digest

    def held(self, member: Member) -> tuple[bytes, bytes]:
        """The digests that a ping to that member carries."""
        return self.digest(member), self.shared_digest()

    def shared_digest(self) -> bytes:
        """Over the records that concern everybody."""
        if self._shared_digest is None:
            held = [(f"{owner} {topic}", each.version) for (owner, topic), each in self.shared.items()]
            self._shared_digest = versions_hash(held)
        return self._shared_digest

    # --- those of others -------------------------------------------------------------------------------------------

    def find(self, owner: PeerId, topic: str) -> Record | None:
        """What we hold under that owner and topic."""
        if is_shared(topic):
            return self.shared.get((owner, topic))
        if owner == self.ground.me:
            return self.own.get(topic)
        member = self.ground.table.members.get(owner)
        found = None if member is None else member.records.get(topic)
        return self.vouchers.get(owner) if found is None and topic == MEMBER else found

    def lacks(self, owner: PeerId, raw: bytes, topic: str, version: int) -> bool:
        """Whether a record that somebody notes is news to us and one that we keep."""
        held = self.find(owner, topic)
        if held is not None:
            return held.version < version
        if owner == self.ground.me or is_shared(topic):
            return True
        member = self.ground.table.members.get(owner)
        if member is None:
            return topic == MEMBER and (owner in self._awaited or self.ground.table.wants(raw))
        return member.present or topic == MEMBER

    def take(self, wire: WireRecord, sender: PeerId, now: float) -> list[tuple[PeerId, str, int]]:
        """A record has come: keep it and pass it on if it is good and new.

        Returns:
            What must be asked of the sender before it can be judged: owner, topic, version.
        """
        record = from_wire(wire)
        owner, topic = record.owner, record.topic
        held = self.find(owner, topic)
        if held is not None and held.version >= record.version:
            if held.version == record.version:
                self.ground.rumors.heard_again((owner, topic), sender)
            return []
        tolerance_s = self.ground.config.clock_tolerance_s
        if record.expires_at and record.expires_at + tolerance_s < self.ground.wall_ms(now) / 1000:
            return []
        if is_shared(topic):
            return self._take_shared(record, sender)
        if owner == self.ground.me:
            self._take_own(record, sender, now)
        elif topic == MEMBER:
            self._take_member(record, sender, now)
        else:
            member = self.ground.table.members.get(owner)
            if member is not None and member.present and self._good(record, sender):
                self._keep(member, record, sender)
        return []

    def _good(self, record: Record, sender: PeerId) -> bool:
        fault = record_fault(record, self._verify)
        if fault:
            self.ground.misbehaved(sender, f"a record {record.topic!r} of {record.owner}: {fault}")
        return not fault

    def _admitted(self, record: Record, sender: PeerId) -> bool:
        fault = self._admits(record.owner, record.payload)
        if fault:
            self.ground.misbehaved(sender, f"a record of {record.owner}, who is no member: {fault}")
        return not fault

    def _take_own(self, record: Record, sender: PeerId, now: float) -> None:
        """Ours of an earlier life, or our clock was set back: outbid it, or withdraw what we no longer say."""
        if not self._good(record, sender):
            return
        current = self.own.get(record.topic)
        if current is not None:
            self.publish(record.topic, current.payload, now, current.expires_at, above=record.version)
        elif record.payload and len(self.own) < self.ground.config.owner_topics_max:
            self.publish(record.topic, b"", now, above=record.version)

    def _take_member(self, record: Record, sender: PeerId, now: float) -> None:
        owner = record.owner
        member = self.ground.table.members.get(owner)
        vouching = owner in self._shared_count or owner in self._awaited
        raw = raw_of(owner)
        if member is None and not vouching and not self.ground.table.wants(raw):
            return
        if not self._good(record, sender) or not self._admitted(record, sender):
            return
        if vouching:
            self.vouchers[owner] = record
        if member is None:
            member = self._joined(owner, raw, now)
        if member is not None:
            self._keep(member, record, sender)

    def _keep(self, member: Member, record: Record, sender: PeerId) -> None:
        config = self.ground.config
        if record.topic not in member.records and len(member.records) >= config.owner_topics_max:
            self.ground.misbehaved(record.owner, f"more than {config.owner_topics_max} topics")
            return
        held = sum(len(each.payload) for each in member.records.values() if each.topic != record.topic)
        if held + len(record.payload) > config.owner_bytes_max:
            self.ground.misbehaved(record.owner, f"more than {config.owner_bytes_max} bytes of records")
            return
        member.records[record.topic] = record
        member.digest = None
        self.ground.do(RecordChanged(record))
        if member.present:
            self._spread(record, sender)

    def _take_shared(self, record: Record, sender: PeerId) -> list[tuple[PeerId, str, int]]:
        owner = record.owner
        if owner != self.ground.me:
            voucher = self.find(owner, MEMBER)
            if voucher is None:
                self._await(owner)
                return [(owner, MEMBER, 0), (owner, record.topic, record.version)]
            if not self._good(record, sender) or not self._admitted(voucher, sender):
                return []
            self.vouchers[owner] = voucher
        elif not self._good(record, sender):
            return []
        if not self._keep_shared(record):
            self.ground.misbehaved(owner, f"more than {self.ground.config.owner_topics_max} shared topics")
            return []
        self.ground.do(RecordChanged(record))
        self._spread(record, sender)
        return []

    def _await(self, owner: PeerId) -> None:
        """Remember that the owner's `member` record is asked for, though the owner is not in view."""
        self._awaited[owner] = None
        if len(self._awaited) > AWAITED_MAX:
            oldest = next(iter(self._awaited))
            del self._awaited[oldest]
            if oldest not in self._shared_count:
                self.vouchers.pop(oldest, None)

    def _keep_shared(self, record: Record) -> bool:
        key = record.owner, record.topic
        config = self.ground.config
        count = self._shared_count.get(record.owner, 0)
        if key not in self.shared:
            if count >= config.owner_topics_max:
                return False
            if len(self.shared) >= config.shared_records_max:
                oldest = min(self.shared.values(), key=lambda each: each.version)
                self._drop_shared(oldest)
            self._shared_count[record.owner] = count + 1
        self.shared[key] = record
        self._shared_digest = None
        return True

    def _drop_shared(self, record: Record) -> None:
        del self.shared[record.owner, record.topic]
        self._shared_digest = None
        left = self._shared_count[record.owner] - 1
        if left:
            self._shared_count[record.owner] = left
        else:
            del self._shared_count[record.owner]
            self._awaited.pop(record.owner, None)
            self.vouchers.pop(record.owner, None)

    def _spread(self, record: Record, told_by: PeerId | None) -> None:
        """Small records themselves, large ones by a note."""
        pushed = record.topic not in self.ground.config.quiet_topics
        key = record.owner, record.topic
        if ITEM_BYTES + len(record.topic) + len(record.payload) <= self.ground.config.push_bytes_max:
            self.ground.rumors.add(key, to_wire(record), pushed, told_by)
        else:
            note = Note(raw_of(record.owner), record.topic, record.version)
            self.ground.rumors.add(key, note, pushed, told_by)

    # --- time ------------------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Drop what has expired."""
        limit = self.ground.wall_ms(now) / 1000 - self.ground.config.clock_tolerance_s
        for record in [each for each in self.shared.values() if each.expires_at and each.expires_at < limit]:
            self._drop_shared(record)
        for record in [each for each in self.own.values() if each.expires_at and each.expires_at < limit]:
            del self.own[record.topic]
            self._own_digest = None
        for member in self.ground.table.members.values():
            gone = [each.topic for each in member.records.values() if each.expires_at and each.expires_at < limit]
            for topic in gone:
                del member.records[topic]
                member.digest = None
