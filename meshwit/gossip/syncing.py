"""Anti-entropy: two members compare digests and send each other only what differs.

Small meshes compare everything in one datagram; large ones a range of ids at a time, so the cost per peer does not
grow with the mesh. A newcomer, or one that was dead, compares everything over the link.
"""

from __future__ import annotations

from typing import Final

from meshwit.gossip.asking import ITEMS_BY_LINK, Asker, Item
from meshwit.gossip.ground import Ground
from meshwit.gossip.members import Member, State
from meshwit.gossip.messages import Claim, Digest, Entry, News, Note, Want, id_of, raw_of, to_wire
from meshwit.gossip.post import HEAD_BYTES, Post
from meshwit.gossip.shelf import MEMBER, Shelf, is_shared
from meshwit.gossip.timers import Due
from meshwit.gossip.verdicts import Verdicts
from meshwit.ids import ID_BYTES, PeerId
from meshwit.records import Record

LOWEST: Final = bytes(ID_BYTES)
HIGHEST: Final = b"\xff" * ID_BYTES
ENTRY_BYTES: Final = 44
RECENT_S: Final = 600.0
"""For so long a death is told in digests."""
OFFERS_MAX: Final = 64
OFFERS_UNASKED: Final = 4
"""Members that somebody whose view is full is told of, as a sample."""
SHARED_NOTES: Final = 20
SETTLE_S: Final = 1.5
"""Within this time of a change, news of it is still being pushed."""
COMPARE_SHARED_S: Final = 3.0
ANSWER_BYTES_MAX: Final = 1024 * 1024


class Syncer:
    """Compares and repairs."""

    def __init__(self, ground: Ground, post: Post, shelf: Shelf, asker: Asker, verdicts: Verdicts) -> None:
        self.ground = ground
        self.post = post
        self.shelf = shelf
        self.asker = asker
        self.verdicts = verdicts
        self._rounds = 0
        self._shared_digest = b""
        self._shared_at = 0.0

    # --- asking ----------------------------------------------------------------------------------------------------

    def next_sync(self, now: float) -> None:
        """Compare with somebody: by turns anybody and, in a large mesh, a neighbour."""
        ground, config = self.ground, self.ground.config
        self._rounds += 1
        ground.mesh_size = ground.table.known_count()
        joining = self._rounds <= config.sync_join_rounds
        period_s = config.sync_join_s if joining else config.sync_period_s
        ground.timers.at(now + period_s * (0.75 + ground.rng.random() / 2), Due.SYNC)
        partners = ground.table.present.draw(ground.rng, 1)
        if partners and ground.table.full and self._rounds % 2:
            partners = [ground.rng.choice(ground.table.nearest(ground.raw, 16)).id]
        for peer in partners:
            self.compare(peer, now)

    def mend(self, now: float) -> None:
        """Compare everything with one of those that are back: the likelier, the more of all they are."""
        ground = self.ground
        back = [each for each in ground.returned if each in ground.table.present]
        count, ground.returned = len(ground.returned), {}
        if back and ground.rng.random() * len(ground.table) < count * 2:
            self.compare(ground.rng.choice(back), now, whole=True)

    def compare(self, peer: PeerId, now: float, whole: bool = False) -> None:
        """Send a digest: of everything over the link if `whole`, else as much as a datagram holds."""
        ground = self.ground
        limit = now - RECENT_S
        entries = [Entry(ground.raw, State.ALIVE, ground.incarnation, self.shelf.own_digest())]
        for member in ground.table.members.values():
            if member.present or member.died_at > limit:
                entries.append(Entry(member.raw, int(member.state), member.incarnation, self.shelf.digest(member)))
        entries.sort(key=lambda each: each.subject)
        low, high = LOWEST, HIGHEST
        room = (ground.config.datagram_bytes_max - HEAD_BYTES) // ENTRY_BYTES
        if len(entries) > room and not whole:
            first = ground.rng.randrange(len(entries))
            last = first + room
            low = entries[first].subject if first else LOWEST
            high = entries[last - 1].subject if last < len(entries) else HIGHEST
            entries = entries[first:last]
        digest = Digest(low, high, entries, self.shelf.shared_digest(), not ground.table.full)
        ground.send(peer, digest, reliable=whole)

    def shared_differ(self, peer: PeerId, now: float) -> None:
        """A ping told that another holds other records that concern everybody: compare, unless news is on its way."""
        digest = self.shelf.shared_digest()
        if digest != self._shared_digest:
            self._shared_digest = digest
            self._shared_at = now + SETTLE_S
        elif now >= self._shared_at:
            self._shared_at = now + COMPARE_SHARED_S
            self.post.parcel(peer, [], [], self._shared_notes(), compare=True, reliable=False)
            if not self.shelf.shared:
                self.compare(peer, now)

    def _shared_notes(self) -> list[Note]:
        """Of the newest, and of a sample of the rest."""
        records = sorted(self.shelf.shared.values(), key=lambda each: -each.version)
        newest, rest = records[: SHARED_NOTES // 2], records[SHARED_NOTES // 2 :]
        return self._notes_of(newest + self.ground.rng.sample(rest, min(len(rest), SHARED_NOTES // 2)))

    # --- answering -------------------------------------------------------------------------------------------------

    def digest_came(self, message: Digest, sender: PeerId, now: float, reliable: bool) -> None:
        """Tell what the sender lacks, ask for what we lack."""
        ground = self.ground
        claims: list[Claim] = []
        notes: list[Note] = []
        wants: list[Item] = []
        seen: set[PeerId] = set()
        for entry in message.entries:
            peer = id_of(entry.subject)
            seen.add(peer)
            claim = Claim(entry.subject, entry.state, entry.incarnation)
            if peer == ground.me:
                self.verdicts.hear(claim, sender, now, synced=True)
                if entry.records != self.shelf.own_digest():
                    notes += self._notes_of(list(self.shelf.own.values()))
                if entry.incarnation < ground.incarnation:
                    claims.append(ground.own_claim(State.ALIVE))
                continue
            member = ground.table.members.get(peer)
            if member is None:
                if entry.state <= State.SUSPECT and (peer == sender or ground.table.wants(entry.subject)):
                    wants.append((peer, "", 0))
                self.verdicts.hear(claim, sender, now, synced=True)
                continue
            if (entry.incarnation, entry.state) < (member.incarnation, member.state):
                claims.append(self.verdicts.claim_of(member))
            else:
                self.verdicts.hear(claim, sender, now, synced=True)
            if entry.state <= State.SUSPECT and member.present and entry.records != self.shelf.digest(member):
                notes += self._notes_of(list(member.records.values()))
        self._offer(message, seen, claims, notes, reliable)
        if message.shared != self.shelf.shared_digest():
            notes += self._notes_of(list(self.shelf.shared.values())) if reliable else self._shared_notes()
        self.post.parcel(sender, claims, [], notes, compare=True, reliable=reliable)
        self.asker.ask(sender, wants, now, reliable)

    def _offer(
        self, message: Digest, seen: set[PeerId], claims: list[Claim], notes: list[Note], reliable: bool
    ) -> None:
        """Members that the sender does not know: all it has room for, else a few."""
        ground = self.ground
        absent = [
            each
            for each in (ground.table.members[peer] for peer in ground.table.present.listed())
            if each.id not in seen and message.low <= each.raw <= message.high
        ]
        most = OFFERS_UNASKED if not message.room else ground.config.view_max if reliable else OFFERS_MAX // 4
        if len(absent) > most:
            absent = ground.rng.sample(absent, most)
        for member in absent:
            claims.append(self.verdicts.claim_of(member))
            held = member.records.get(MEMBER)
            if held is not None:
                notes.append(Note(member.raw, MEMBER, held.version))

    @staticmethod
    def _notes_of(records: list[Record]) -> list[Note]:
        return [Note(raw_of(each.owner), each.topic, each.version) for each in records]

    def news_came(self, message: News, sender: PeerId, now: float, reliable: bool) -> None:
        """Ask for what is noted and new to us; if asked to compare, send what is newer with us."""
        wants: list[Item] = []
        newer: list[Record] = []
        for note in message.notes:
            owner = id_of(note.owner)
            held = self.shelf.find(owner, note.topic)
            if held is not None and held.version >= note.version:
                if held.version > note.version and message.compare:
                    newer.append(held)
                elif held.version == note.version:
                    self.ground.rumors.heard_again((owner, note.topic), sender)
            elif self.shelf.lacks(owner, note.owner, note.topic, note.version):
                stranger = note.topic == MEMBER and owner not in self.ground.table.members
                wants.append((owner, "" if stranger and message.compare else note.topic, note.version))
        self.post.parcel(sender, [], [to_wire(each) for each in newer], [], compare=False, reliable=reliable)
        self.asker.ask(sender, wants, now, reliable)

    def want_came(self, message: Want, sender: PeerId, reliable: bool) -> None:
        """Send what was asked for."""
        claims: list[Claim] = []
        records: list[Record] = []
        size = 0
        for raw, topic in message.items[:ITEMS_BY_LINK]:
            owner = id_of(raw)
            found = self._held(owner, topic)
            size += sum(len(each.payload) + 200 for each in found)
            if size > ANSWER_BYTES_MAX:
                break
            records += found
            if topic in ("", MEMBER):
                claims += self._claim_on(owner)
        # The member record of an owner comes first: by it the others are judged.
        records.sort(key=lambda each: each.topic != MEMBER)
        self.post.parcel(sender, claims, [to_wire(each) for each in records], [], compare=False, reliable=reliable)

    def _held(self, owner: PeerId, topic: str) -> list[Record]:
        if topic:
            record = self.shelf.find(owner, topic)
            return [] if record is None else [record]
        if owner == self.ground.me:
            return [each for each in self.shelf.own.values() if not is_shared(each.topic)]
        member = self.ground.table.members.get(owner)
        return [] if member is None else list(member.records.values())

    def _claim_on(self, owner: PeerId) -> list[Claim]:
        if owner == self.ground.me:
            return [self.ground.own_claim(State.ALIVE)]
        member = self.ground.table.members.get(owner)
        return [] if member is None else [self.verdicts.claim_of(member)]

    def greet(self, member: Member | None, peer: PeerId, now: float) -> None:
        """A link to that peer is up: compare if it is new to us or was gone; everything, unless our view is full."""
        if member is None or not member.present:
            self.compare(peer, now, whole=not self.ground.table.full)
