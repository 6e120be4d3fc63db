"""Who is asked whether it is there, how, and when an answer is missing.

A probe is a ping by datagram. If it is not answered in time, `indirect` others are asked to ping in our stead and the
target is pinged over its link as well; who answers none of it has failed the probe. Helpers that hear nothing say so
(nack): if none of them says anything, the fault is probably ours (Lifeguard, section IV).

Source: SWIM (Das, Gupta, Motivala 2002), Lifeguard (Dadgar, Phillips, Currey 2018).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from meshwit.gossip.effects import Connect
from meshwit.gossip.ground import LOST_BEFORE_LINK, Ground, loses_datagrams
from meshwit.gossip.members import Member
from meshwit.gossip.messages import Claim, Nack, PingReq
from meshwit.gossip.post import Post
from meshwit.gossip.shelf import Shelf
from meshwit.gossip.timers import Due
from meshwit.ids import PeerId

RELAYS_MAX: Final = 256
DATAGRAM_RETRY: Final = 0.125
"""This share of probes tries datagrams again."""
PACE_SLOWEST: Final = 3.0
"""Whoever is cut off probes at most so many times slower, or it would not see for long that it is alone."""
ROUND_TRIP_WEIGHT: Final = 0.125


class Probe:
    """One probe that is not settled."""

    __slots__ = ("asked", "nacks", "over_link", "seq", "started_at", "target", "timeout_s")

    def __init__(self, seq: int, target: Member, started_at: float, timeout_s: float, over_link: bool) -> None:
        self.seq = seq
        self.target = target
        self.started_at = started_at
        self.timeout_s = timeout_s
        self.over_link = over_link
        self.asked = 0
        self.nacks = 0


class Relay:
    """A ping sent for somebody else."""

    __slots__ = ("asker", "asker_seq")

    def __init__(self, asker: PeerId, asker_seq: int) -> None:
        self.asker = asker
        self.asker_seq = asker_seq


class Prober:
    """Probes members; `failed` and `answered` are told how it went."""

    failed: Callable[[Member, float], None]
    answered: Callable[[Member, float], None]
    claim_on: Callable[[Member], Claim | None]

    def __init__(self, ground: Ground, post: Post, shelf: Shelf) -> None:
        self.ground = ground
        self.post = post
        self.shelf = shelf
        self.probes: dict[int, Probe] = {}
        self.by_target: dict[PeerId, Probe] = {}
        self.relays: dict[int, Relay] = {}
        self._seq = ground.rng.getrandbits(24)

    def next_probe(self, now: float) -> None:
        """Probe whoever is next in the round."""
        self.ground.timers.at(now + self.ground.period_s() * min(PACE_SLOWEST, self.ground.patience), Due.PROBE)
        member = self.ground.table.next_to_probe()
        if member is not None:
            self.probe(member, now)

    def probe(self, member: Member, now: float) -> None:
        """Probe a member now, unless that is under way."""
        if member.id in self.by_target:
            return
        over_link = loses_datagrams(member) and self.ground.rng.random() >= DATAGRAM_RETRY
        probe = Probe(self._next_seq(), member, now, self.ground.timeout_s(member.id), over_link)
        self.probes[probe.seq] = self.by_target[member.id] = probe
        self.post.ping(member, probe.seq, self.shelf.held(member), over_link, self.claim_on(member))
        self.ground.timers.at(now + probe.timeout_s, Due.ASK, probe.seq)

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def ask_others(self, seq: int, now: float) -> None:
        """A ping is late: ask others, and over the link."""
        probe = self.probes.get(seq)
        if probe is None:
            return
        ground, member = self.ground, probe.target
        rest_s = max(ground.period_s() * ground.patience - probe.timeout_s, probe.timeout_s * 1.5)
        for helper in ground.table.present.draw(ground.rng, ground.config.indirect, but=member.id):
            self.post.ask(helper, seq, member.raw, rest_s * 0.6)
            probe.asked += 1
        claim = self.claim_on(member)
        held = self.shelf.held(member)
        self.post.ping(member, seq, held, reliable=False, claim=claim)
        if member.linked:
            self.post.ping(member, seq, held, reliable=True, claim=claim)
        ground.timers.at(now + rest_s, Due.FAIL, seq)

    def fail(self, seq: int, now: float) -> None:
        """Nobody heard from the target."""
        probe = self.probes.get(seq)
        if probe is None:
            return
        self._forget(probe)
        if probe.asked >= 2 and probe.nacks == 0:
            self.ground.awareness = min(self.ground.config.awareness_max, self.ground.awareness + 1)
        if probe.target.present:
            self.failed(probe.target, now)

    def _forget(self, probe: Probe) -> None:
        self.probes.pop(probe.seq, None)
        if self.by_target.get(probe.target.id) is probe:
            del self.by_target[probe.target.id]

    def drop(self, peer: PeerId) -> None:
        """Nobody needs to know any longer whether it is there."""
        probe = self.by_target.get(peer)
        if probe is not None:
            self._forget(probe)

    def restart(self, now: float) -> None:
        """We were away: whoever has not answered meanwhile is asked once more."""
        targets = [each.target for each in self.probes.values()]
        self.probes.clear()
        self.by_target.clear()
        self.relays.clear()
        for member in targets:
            if member.present:
                self.probe(member, now)

    # --- answers ---------------------------------------------------------------------------------------------------

    def acked(self, seq: int, sender: PeerId, now: float, reliable: bool) -> None:
        """An answer has come, of the target or of who was asked."""
        relay = self.relays.pop(seq, None)
        if relay is not None:
            asker = self.ground.table.members.get(relay.asker)
            by_link = asker is not None and loses_datagrams(asker)
            self.post.ack(relay.asker, relay.asker_seq, by_link, [], [], [], 0)
            return
        probe = self.probes.get(seq)
        if probe is None:
            return
        member = probe.target
        self._forget(probe)
        self.ground.awareness = max(0, self.ground.awareness - 1)
        if sender == member.id:
            if reliable and not probe.over_link:
                member.datagrams_lost = min(LOST_BEFORE_LINK, member.datagrams_lost + 1)
            elif not reliable:
                member.datagrams_lost = 0
                if not probe.asked:
                    self._smooth(member, now - probe.started_at)
        self.answered(member, now)

    def _smooth(self, member: Member, round_trip_s: float) -> None:
        if member.round_trip_s is None:
            member.round_trip_s = round_trip_s
        else:
            member.round_trip_s += ROUND_TRIP_WEIGHT * (round_trip_s - member.round_trip_s)

    def nacked(self, seq: int) -> None:
        """A helper has not heard from the target, but it has heard us."""
        probe = self.probes.get(seq)
        if probe is not None:
            probe.nacks += 1

    # --- in others' stead ------------------------------------------------------------------------------------------

    def relay(self, message: PingReq, target: Member | None, asker: PeerId, now: float) -> None:
        """Ping a member for somebody else."""
        if target is None or len(self.relays) >= RELAYS_MAX:
            self.ground.send(asker, Nack(message.seq), reliable=False)
            return
        seq = self._next_seq()
        self.relays[seq] = Relay(asker, message.seq)
        self.post.ping(target, seq, self.shelf.held(target), loses_datagrams(target))
        within_s = min(message.within_ms / 1000, self.ground.config.ping_timeout_max_s * 4)
        self.ground.timers.at(now + within_s, Due.RELAY, seq)

    def relay_over(self, seq: int) -> None:
        """The one pinged for somebody else has not answered."""
        relay = self.relays.pop(seq, None)
        if relay is not None:
            self.ground.send(relay.asker, Nack(relay.asker_seq), reliable=False)

    # --- the dead --------------------------------------------------------------------------------------------------

    def call_dead(self, now: float) -> None:
        """Call one that is dead: after a partition it answers, and objects to being held for dead."""
        ground = self.ground
        ground.timers.at(now + ground.config.revive_period_s * (0.75 + ground.rng.random() / 2), Due.REVIVE)
        for peer in ground.table.dead.draw(ground.rng, 1):
            member = ground.table.members[peer]
            self.post.ping(member, self._next_seq(), self.shelf.held(member), False, self.claim_on(member))
            if ground.rng.random() < 0.1 and not member.linked:
                ground.do(Connect(peer))
