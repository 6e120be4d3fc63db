"""The gossip core: who is in the mesh, who is alive, what everyone says of itself.

Bytes, timers and the fate of links go in; what is to be sent and what has changed comes out. It knows no clock, no
socket and no randomness of its own. Beneath it: `probing` (who is there), `verdicts` (what follows from it), `shelf`
(records), `asking` (for records), `syncing` (anti-entropy), `post` (messages and pushing), all on one `ground`.

Invariants (`check`): the pools and the states agree; every suspect has a case whose time runs; a record of a member is
its own; nothing grows past its limit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, assert_never

from meshwit.gossip.asking import Asker, Item
from meshwit.gossip.chance import Chance
from meshwit.gossip.config import GossipConfig
from meshwit.gossip.effects import Effect, Evidence
from meshwit.gossip.ground import Ground
from meshwit.gossip.members import Member, State
from meshwit.gossip.messages import (
    Ack,
    Claim,
    Digest,
    Nack,
    News,
    Note,
    Ping,
    PingReq,
    Want,
    WireRecord,
    decode,
    id_of,
    raw_of,
    to_wire,
)
from meshwit.gossip.post import Post
from meshwit.gossip.probing import Prober
from meshwit.gossip.shelf import MEMBER, Shelf, is_shared
from meshwit.gossip.syncing import Syncer
from meshwit.gossip.timers import Due
from meshwit.gossip.verdicts import Verdicts
from meshwit.ids import PeerId
from meshwit.records import Record, Signer, Verifier

SWEEP_S: Final = 60.0
LINKS_MAX: Final = 65536


class Gossip:
    """The gossip of one peer.

    Args:
        me: our id, the hash of the signer's key.
        admits: why the payload of somebody's `member` record makes it no member; empty if it is one.
        epoch_ms: milliseconds since 1970 at the start; higher than at any start before.
    """

    def __init__(
        self,
        me: PeerId,
        config: GossipConfig,
        rng: Chance,
        signer: Signer,
        verify: Verifier,
        admits: Callable[[PeerId, bytes], str],
        epoch_ms: int,
    ) -> None:
        self.me = me
        self._ground = ground = Ground(me, config, rng, epoch_ms)
        self._admits = admits
        self._post = Post(ground)
        self._shelf = Shelf(ground, signer, verify, admits, self._joined)
        self._prober = Prober(ground, self._post, self._shelf)
        self._verdicts = Verdicts(ground, self._post, self._prober)
        self._asker = Asker(ground, self._shelf)
        self._syncer = Syncer(ground, self._post, self._shelf, self._asker, self._verdicts)
        self._links: set[PeerId] = set()
        self.members: Mapping[PeerId, Member] = MappingProxyType(ground.table.members)

    # --- what is known ---------------------------------------------------------------------------------------------

    @property
    def own_records(self) -> Mapping[str, Record]:
        """What we have published, by topic."""
        return MappingProxyType(self._shelf.own)

    @property
    def shared_records(self) -> Mapping[tuple[PeerId, str], Record]:
        """The records that concern everybody, by owner and topic."""
        return MappingProxyType(self._shelf.shared)

    @property
    def incarnation(self) -> int:
        """Ours."""
        return self._ground.incarnation

    @property
    def awareness(self) -> int:
        """How much we mistrust our own verdicts: 0 when all is well."""
        return self._ground.awareness

    @property
    def known_count(self) -> int:
        """About how many members the mesh has, ourselves included; exact while all are in view."""
        return self._ground.table.known_count()

    def alive(self) -> list[Member]:
        """The members that are alive or only suspected."""
        table = self._ground.table
        return [table.members[each] for each in table.present.listed()]

    # --- commands --------------------------------------------------------------------------------------------------

    def start(self, now: float, member_payload: bytes) -> list[Effect]:
        """Begin, with our own `member` record."""
        ground, config = self._ground, self._ground.config
        ground.start_clock(now)
        self._shelf.publish(MEMBER, member_payload, now)
        ground.rumors.add(("", self.me), ground.own_claim(State.ALIVE), True)
        ground.timers.at(now + ground.rng.random() * config.probe_period_s, Due.PROBE)
        ground.timers.at(now + config.sync_join_s * (0.5 + ground.rng.random()), Due.SYNC)
        ground.timers.at(now + config.revive_period_s * (0.5 + ground.rng.random()), Due.REVIVE)
        ground.timers.at(now + SWEEP_S, Due.SWEEP)
        return ground.take()

    def join(self, peer: PeerId, now: float) -> list[Effect]:
        """Get to know the mesh through a member to which a link exists."""
        if self._ground.started and peer != self.me:
            self._syncer.compare(peer, now, whole=True)
        return self._ground.take()

    def publish(self, topic: str, payload: bytes, now: float, expires_at: int = 0) -> list[Effect]:
        """Say something under a topic, replacing what we said before; empty withdraws it.

        Raises ValueError if it is too long or one topic too many.
        """
        self._shelf.publish(topic, payload, now, expires_at)
        if topic not in self._ground.config.quiet_topics:
            self._post.hurry(now)
        return self._ground.take()

    def leave(self, now: float) -> list[Effect]:
        """Say goodbye. From now on nothing is answered and nothing falls due."""
        ground = self._ground
        if ground.started:
            claim = ground.own_claim(State.LEFT)
            for peer in ground.table.present.draw(ground.rng, 32):
                self._post.tell(peer, [claim])
                if peer in self._links:
                    self._post.tell(peer, [claim], reliable=True)
            ground.left = True
        return ground.take()

    def forget(self, peer: PeerId, now: float) -> list[Effect]:
        """Drop a member from view, as if it had never been; if it is alive it will be back."""
        member = self._ground.table.members.get(peer)
        if member is not None:
            self._verdicts.forget(member)
        return self._ground.take()

    def recheck(self, now: float) -> list[Effect]:
        """Drop all whom `admits` admits no longer: somebody was expelled."""
        for member in list(self._ground.table.members.values()):
            record = member.records.get(MEMBER)
            if record is not None and self._admits(member.id, record.payload):
                self._verdicts.forget(member)
        return self._ground.take()

    # --- links -----------------------------------------------------------------------------------------------------

    def link_up(self, peer: PeerId, now: float) -> list[Effect]:
        """A link to a member is up, whoever dialled."""
        self._links.add(peer)
        member = self._ground.table.members.get(peer)
        if member is not None:
            member.linked = True
            member.heard_at = now
            if member.present:
                self._prober.probe(member, now)
        if self._ground.started:
            self._syncer.greet(member, peer, now)
        return self._ground.take()

    def link_down(self, peer: PeerId, now: float, evidence: Evidence) -> list[Effect]:
        """A link has ended, or none could be made."""
        self._links.discard(peer)
        member = self._ground.table.members.get(peer)
        if member is None or not self._ground.started:
            return self._ground.take()
        member.linked = False
        match evidence:
            case Evidence.CLOSED:
                self._verdicts.closed(member, now)
            case Evidence.REFUSED:
                self._verdicts.refused(member, now)
            case Evidence.GOODBYE:
                self._verdicts.goodbye(member, now)
            case Evidence.UNREACHABLE:
                if member.present:
                    self._prober.probe(member, now)
            case _:
                assert_never(evidence)
        return self._ground.take()

    def _joined(self, peer: PeerId, raw: bytes, now: float) -> Member | None:
        member = self._verdicts.joined(peer, raw, now)
        if member is not None:
            member.linked = peer in self._links
        return member

    # --- messages --------------------------------------------------------------------------------------------------

    def receive(self, raw: bytes, sender: PeerId, now: float, reliable: bool) -> list[Effect]:
        """A message has come from a holder of the mesh secret, by datagram or over its link."""
        ground = self._ground
        if not ground.started or sender == self.me:
            return []
        try:
            message = decode(raw)
        except ValueError as fault:
            ground.misbehaved(sender, f"no gossip message: {fault}"[:200])
            return ground.take()
        member = ground.table.members.get(sender)
        if member is not None:
            member.heard_at = now
        match message:
            case Ping():
                self._news(message.claims, message.records, message.notes, sender, now, reliable)
                self._answer(message, member, sender, now, reliable)
            case Ack():
                self._news(message.claims, message.records, message.notes, sender, now, reliable)
                self._prober.acked(message.seq, sender, now, reliable)
            case PingReq():
                self._news(message.claims, message.records, message.notes, sender, now, reliable)
                target = ground.table.members.get(id_of(message.target))
                self._prober.relay(message, target, sender, now)
            case Nack():
                self._prober.nacked(message.seq)
            case News():
                self._news(message.claims, message.records, [], sender, now, reliable, message.compare)
                if message.notes:
                    self._syncer.news_came(message, sender, now, reliable)
            case Digest():
                self._syncer.digest_came(message, sender, now, reliable)
            case Want():
                self._syncer.want_came(message, sender, reliable)
            case _:
                assert_never(message)
        if member is None and sender not in ground.table.members:
            self._meet(sender, now, reliable)
        return ground.take()

    def _meet(self, stranger: PeerId, now: float, reliable: bool) -> None:
        """Somebody speaks whom we do not know: ask who that is, if there is room for him."""
        if self._ground.table.wants(raw_of(stranger)):
            self._asker.ask(stranger, [(stranger, "", 0)], now, reliable)

    def _news(
        self, claims: list[Claim], records: list[WireRecord], notes: list[Note], sender: PeerId, now: float,
        reliable: bool, synced: bool = False,
    ) -> None:  # fmt: skip
        for claim in claims:
            self._verdicts.hear(claim, sender, now, synced)
        if records:
            missing: list[Item] = []
            for record in records:
                missing += self._shelf.take(record, sender, now)
            if missing:
                self._asker.ask(sender, missing, now, reliable)
            if self._ground.rumors.pushed:
                self._post.hurry(now)
        if notes:
            self._syncer.news_came(News(notes=notes), sender, now, reliable)

    def _answer(self, ping: Ping, member: Member | None, sender: PeerId, now: float, reliable: bool) -> None:
        claims: list[Claim] = []
        records: list[WireRecord] = []
        notes: list[Note] = []
        used = 0
        if member is not None and member.state is not State.ALIVE:
            claims.append(self._verdicts.claim_of(member))
            used += 56
        if ping.known and ping.known != self._shelf.own_digest():
            used += self._own_news(records, notes)
        if ping.shared and ping.shared != self._shelf.shared_digest():
            self._syncer.shared_differ(sender, now)
        self._post.ack(sender, ping.seq, reliable, claims, records, notes, used)

    def _own_news(self, records: list[WireRecord], notes: list[Note]) -> int:
        """What the asker lacks of ours: the newest itself if it is small, the rest by notes."""
        own = sorted((each for each in self._shelf.own.values() if not is_shared(each.topic)), key=lambda e: -e.version)
        used = 0
        for place, record in enumerate(own):
            if place == 0 and len(record.payload) <= self._ground.config.push_bytes_max:
                records.append(to_wire(record))
                used += 136 + len(record.topic) + len(record.payload)
            elif place < 8:
                notes.append(Note(raw_of(self.me), record.topic, record.version))
                used += 36 + len(record.topic)
        return used

    # --- time ------------------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When `tick` has something to do."""
        return self._ground.timers.next() if self._ground.started else None

    def tick(self, now: float) -> list[Effect]:
        """Do what is due. A tick much too late is our own fault, nobody else's."""
        ground = self._ground
        if not ground.started:
            return []
        due_at = ground.timers.next()
        if due_at is not None and now - due_at > ground.config.stall_s:
            self._was_away(now, now - due_at)
        while (due := ground.timers.pop(now)) is not None:
            self._fall_due(due[0], due[1], now)
        return ground.take()

    def _was_away(self, now: float, late_s: float) -> None:
        ground = self._ground
        ground.awareness = min(ground.config.awareness_max, ground.awareness + 1)
        ground.timers.postpone(late_s)
        self._verdicts.postpone(late_s)
        self._prober.restart(now)

    def _fall_due(self, due: Due, key: int | str, now: float) -> None:
        match due:
            case Due.PROBE:
                self._prober.next_probe(now)
            case Due.ASK:
                self._prober.ask_others(int(key), now)
            case Due.FAIL:
                self._prober.fail(int(key), now)
            case Due.RELAY:
                self._prober.relay_over(int(key))
            case Due.VERDICT:
                self._verdicts.verdict(PeerId(str(key)), now)
            case Due.PUSH:
                self._post.push(now)
            case Due.SYNC:
                self._syncer.next_sync(now)
            case Due.REVIVE:
                self._prober.call_dead(now)
            case Due.SWEEP:
                self._sweep(now)
            case Due.ASK_AGAIN:
                self._asker.again(int(key), now)
            case Due.MEND:
                self._syncer.mend(now)
            case _:
                assert_never(due)

    def _sweep(self, now: float) -> None:
        ground = self._ground
        ground.timers.at(now + SWEEP_S, Due.SWEEP)
        self._shelf.sweep(now)
        limit = now - ground.config.dead_s
        for peer in [each for each in ground.table.absent.listed() if ground.table.members[each].died_at < limit]:
            self._verdicts.forget(ground.table.members[peer])

    def check(self) -> None:
        """The invariants; raises AssertionError."""
        table = self._ground.table
        assert self.me not in table.members
        assert len(table.present) + len(table.absent) == len(table.members)
        for member in table.members.values():
            assert (member.id in table.present) == member.present, member
            assert (member.id in table.dead) == (member.state is State.DEAD), member
            assert (member.id in self._verdicts.suspicions) == (member.state is State.SUSPECT), member
            assert all(each.owner == member.id for each in member.records.values()), member
        for peer, probe in self._prober.by_target.items():
            assert self._prober.probes[probe.seq] is probe and probe.target.id == peer
        assert self._ground.awareness <= self._ground.config.awareness_max
