"""Puts messages together: news rides on pings and answers; while there is news that cannot wait it is pushed."""

from __future__ import annotations

from typing import Final, TypeAlias

from meshwit.gossip.ground import Ground
from meshwit.gossip.members import Member
from meshwit.gossip.messages import Ack, Claim, News, Note, Ping, PingReq, WireRecord
from meshwit.gossip.rumors import Picked
from meshwit.gossip.timers import Due
from meshwit.ids import PeerId

HEAD_BYTES: Final = 48
"""Of a message without its news, at most."""
Held: TypeAlias = tuple[bytes, bytes]
"""Digests of the records that we hold of a member, and of those that concern everybody."""
QUIET_TRANSMITS: Final = 2
"""Of an item that waits for probes, in a small mesh."""
FRAME_BYTES_MAX: Final = 128 * 1024
"""Of news in one reliable message, about; the frame's limit is twice that."""


class Post:
    """Packs news into messages and pushes it."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self._room = ground.config.datagram_bytes_max - HEAD_BYTES
        self._pushing = False
        self._budget = 0.0
        self._budget_at = 0.0

    def _pick(self, peer: PeerId, used: int = 0, only_pushed: bool = False) -> Picked | None:
        ground = self.ground
        if not ground.rumors:
            return None
        transmits, present = ground.transmits(), len(ground.table)
        # In a small mesh everybody is soon pinged, and then tells what is new of itself: that is cheaper.
        quiet = QUIET_TRANSMITS if present < ground.config.large else transmits
        return ground.rumors.pick(peer, self._room - used, transmits, quiet, present, only_pushed)

    def ping(self, member: Member, seq: int, held: Held, reliable: bool, claim: Claim | None = None) -> None:
        """Ping a member; `claim` is told whatever else there is."""
        known, shared = held
        picked = self._pick(member.id, 40 if claim else 0)
        claims = [claim] if claim else []
        if picked is None:
            self.ground.send_exactly(member.id, Ping(seq, known, shared, claims), reliable)
        else:
            message = Ping(seq, known, shared, claims + picked.claims, picked.records, picked.notes)
            self.ground.send_exactly(member.id, message, reliable)

    def ask(self, helper: PeerId, seq: int, target: bytes, within_s: float) -> None:
        """Ask another to ping the target."""
        picked = self._pick(helper, 32) or Picked()
        within_ms = int(within_s * 1000)
        message = PingReq(seq, target, within_ms, picked.claims, picked.records, picked.notes)
        self.ground.send(helper, message, reliable=False)

    def ack(
        self, peer: PeerId, seq: int, reliable: bool, claims: list[Claim], records: list[WireRecord], notes: list[Note],
        used: int,
    ) -> None:  # fmt: skip
        """Answer a ping, on the way it came, with what the asker must know (`used` bytes of it) and with news."""
        picked = self._pick(peer, used)
        if picked is None:
            self.ground.send_exactly(peer, Ack(seq, claims, records, notes), reliable)
        else:
            message = Ack(seq, claims + picked.claims, records + picked.records, notes + picked.notes)
            self.ground.send_exactly(peer, message, reliable)

    def tell(self, peer: PeerId, claims: list[Claim], reliable: bool = False) -> None:
        """Tell somebody these claims at once."""
        self.ground.send(peer, News(claims), reliable)

    # --- pushing ---------------------------------------------------------------------------------------------------

    def hurry(self, now: float) -> None:
        """There is news that somebody waits for: push it now, and again until it has been sent often enough."""
        if not self._pushing:
            self._pushing = True
            self.ground.timers.at(now, Due.PUSH)

    def push(self, now: float) -> None:
        """Tell some members what is new."""
        ground, config = self.ground, self.ground.config
        self._pushing = False
        since_s, self._budget_at = now - self._budget_at, now
        self._budget = min(config.gossip_bytes_per_s, self._budget + since_s * config.gossip_bytes_per_s)
        for peer in ground.table.present.draw(ground.rng, config.fanout):
            if self._budget <= 0:
                break
            picked = self._pick(peer, only_pushed=True)
            if picked is not None:
                ground.send(peer, News(picked.claims, picked.records, picked.notes), reliable=False)
                self._budget -= picked.bytes + HEAD_BYTES
        if ground.rumors.pushed and len(ground.table):
            self._pushing = True
            ground.timers.at(now + config.gossip_period_s, Due.PUSH)

    # --- parcels ---------------------------------------------------------------------------------------------------

    def parcel(
        self, peer: PeerId, claims: list[Claim], records: list[WireRecord], notes: list[Note], compare: bool,
        reliable: bool, datagrams_max: int = 4,
    ) -> None:  # fmt: skip
        """Send all of this: as a few datagrams if it fits and `reliable` is not asked for, else over the link."""
        sized: list[tuple[Claim | WireRecord | Note, int]] = []
        sized += [(each, 36 + len(each.by)) for each in claims]
        sized += [(each, 136 + len(each.topic) + len(each.payload)) for each in records]
        sized += [(each, 36 + len(each.topic)) for each in notes]
        if not sized:
            return
        total = sum(size for _, size in sized)
        largest = max(size for _, size in sized)
        reliable = reliable or largest > self._room or total > self._room * datagrams_max
        room = FRAME_BYTES_MAX if reliable else self._room
        parts = [Picked()]
        for body, size in sized:
            if parts[-1].bytes + size > room and parts[-1].bytes:
                parts.append(Picked())
            parts[-1].add(body, size)
        for part in parts:
            self.ground.send(peer, News(part.claims, part.records, part.notes, compare), reliable)
