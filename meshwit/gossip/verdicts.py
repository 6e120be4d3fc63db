"""Who is alive, suspected, dead or gone: claims are weighed, suspects get time to object, accusations are refuted.

A claim with a higher incarnation overrides; at the same one LEFT overrides DEAD overrides SUSPECT overrides ALIVE.
Only a member raises its own incarnation. Beyond SWIM and Lifeguard, ours:

- Nobody declares another dead by the clock alone: a probe of our own must have failed since it was suspected.
- Who answered us lately is not held for suspect or dead because others say so: it is told, and objects itself.
- A closed connection followed by a refused one is death at once.
"""

from __future__ import annotations

import math
from typing import Final

from meshwit.gossip.effects import (
    Connect,
    MemberDied,
    MemberForgotten,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    Why,
)
from meshwit.gossip.ground import Ground
from meshwit.gossip.members import Member, State
from meshwit.gossip.messages import NUMBER_MAX, Claim, id_of, raw_of
from meshwit.gossip.post import Post
from meshwit.gossip.probing import Prober
from meshwit.gossip.suspicion import Suspicion
from meshwit.gossip.timers import Due
from meshwit.ids import PeerId

UNBORN_MAX: Final = 1024
LEAP_MAX: Final = 2**40
"""An incarnation further than this (35 years of milliseconds) above any that we know of is no honest one."""


class Verdicts:
    """Weighs claims and evidence."""

    def __init__(self, ground: Ground, post: Post, prober: Prober) -> None:
        self.ground = ground
        self.post = post
        self.prober = prober
        self.suspicions: dict[PeerId, Suspicion] = {}
        self.unborn: dict[bytes, Claim] = {}
        self._strangers = 0.0
        self._strangers_at = 0.0
        prober.failed = self.probe_failed
        prober.answered = self.answered
        prober.claim_on = self.claim_on

    # --- what is told ----------------------------------------------------------------------------------------------

    def claim_on(self, member: Member) -> Claim | None:
        """What a member must be told about itself so that it can object; None while it is alive to us."""
        if member.state is State.ALIVE:
            return None
        return self.claim_of(member)

    def claim_of(self, member: Member) -> Claim:
        """The state of a member as we see it."""
        by = self.ground.raw if member.state is State.SUSPECT else b""
        return Claim(member.raw, int(member.state), member.incarnation, by)

    def _spread(self, claim: Claim, now: float, told_by: PeerId | None = None) -> None:
        self.ground.rumors.add(("", id_of(claim.subject)), claim, True, told_by)
        self.post.hurry(now)

    # --- claims ----------------------------------------------------------------------------------------------------

    def hear(self, claim: Claim, sender: PeerId, now: float, synced: bool = False) -> None:
        """Weigh a claim.

        Args:
            synced: it comes from a comparison of digests, so it may be old: a death is then only a suspicion.
        """
        ground = self.ground
        subject = id_of(claim.subject)
        if subject == ground.me:
            self._about_us(claim, sender, now)
            return
        member = ground.table.members.get(subject)
        if member is None:
            if self._remember_unborn(claim) and claim.state >= State.DEAD and not synced and self._allowance(now):
                self._spread(claim, now, sender)
            return
        ceiling = max(member.incarnation, ground.wall_ms(now)) + LEAP_MAX
        if claim.incarnation > ceiling:
            ground.misbehaved(sender, f"an incarnation {claim.incarnation} of {subject}")
            return
        if (claim.incarnation, claim.state) == (member.incarnation, member.state):
            ground.rumors.heard_again(("", subject), sender)
            if member.state is State.SUSPECT and claim.by:
                self._confirm(member, id_of(claim.by) if len(claim.by) == len(claim.subject) else sender, now)
            return
        if (claim.incarnation, claim.state) < (member.incarnation, member.state):
            if sender == subject and member.state is not State.ALIVE and claim.state == State.ALIVE:
                self.post.tell(subject, [self.claim_of(member)])
            return
        match State(claim.state):
            case State.ALIVE:
                self._alive(member, claim, sender, now)
            case State.SUSPECT:
                by = id_of(claim.by) if len(claim.by) == len(claim.subject) else sender
                self._suspected_by(member, claim, by, sender, now)
            case State.DEAD:
                self._dead_by(member, claim, sender, now, synced)
            case State.LEFT:
                member.incarnation = claim.incarnation
                self._left(member, now, sender)

    def _allowance(self, now: float) -> bool:
        """Whether one more death of somebody out of our view may be passed on to those who have it in theirs."""
        rate = self.ground.config.strangers_per_s
        self._strangers = min(4 * rate, self._strangers + (now - self._strangers_at) * rate)
        self._strangers_at = now
        if self._strangers < 1:
            return False
        self._strangers -= 1
        return True

    def _remember_unborn(self, claim: Claim) -> bool:
        """Keep what is said of one who is not in view; whether it is new."""
        known = self.unborn.get(claim.subject)
        if known is None or (known.incarnation, known.state) < (claim.incarnation, claim.state):
            self.unborn.pop(claim.subject, None)
            self.unborn[claim.subject] = claim
            if len(self.unborn) > UNBORN_MAX:
                del self.unborn[next(iter(self.unborn))]
            return True
        return False

    def _about_us(self, claim: Claim, sender: PeerId, now: float) -> None:
        """Refute: raise our incarnation above the claim's, and tell the sender first."""
        ground = self.ground
        if claim.incarnation > max(ground.incarnation, ground.wall_ms(now)) + LEAP_MAX:
            ground.misbehaved(sender, f"an incarnation {claim.incarnation} of ours")
            return
        alive = claim.state == State.ALIVE
        if ground.left or claim.incarnation < ground.incarnation or (alive and claim.incarnation == ground.incarnation):
            if not alive and not ground.left:
                self.post.tell(sender, [ground.own_claim(State.ALIVE)])
            return
        ground.incarnation = min(NUMBER_MAX, claim.incarnation + 1)
        if not alive:
            ground.awareness = min(ground.config.awareness_max, ground.awareness + 1)
        own = ground.own_claim(State.ALIVE)
        self._spread(own, now)
        self.post.tell(sender, [own])
        by = id_of(claim.by) if len(claim.by) == len(claim.subject) else sender
        if by not in (sender, ground.me) and by in ground.table.members:
            self.post.tell(by, [own])

    # --- alive -----------------------------------------------------------------------------------------------------

    def joined(self, peer: PeerId, raw: bytes, now: float) -> Member | None:
        """Somebody's `member` record has come and is good: a new member, unless the view is full of nearer ones."""
        ground = self.ground
        claim = self.unborn.pop(raw, None)
        if peer == ground.me or not ground.table.wants(raw):
            return None
        member = ground.table.add(peer, raw, 0 if claim is None else claim.incarnation, now)
        if claim is not None and claim.state >= State.DEAD:
            member.died_at = now
            ground.table.set_state(member, State(claim.state))
            return member
        ground.do(MemberJoined(peer))
        for other in ground.table.crowded_out():
            self.forget(other)
        return member

    def forget(self, member: Member) -> None:
        """Drop a member from view."""
        self._clear(member)
        self.prober.drop(member.id)
        self.ground.table.remove(member.id)
        self.ground.do(MemberForgotten(member.id))

    def _alive(self, member: Member, claim: Claim, sender: PeerId, now: float) -> None:
        was = member.state
        member.incarnation = claim.incarnation
        if was is State.SUSPECT:
            self._clear(member)
        if was is not State.ALIVE:
            self.ground.table.set_state(member, State.ALIVE)
            self.ground.do(MemberRecovered(member.id))
        if sender == member.id:
            member.answered_at = now
        if was >= State.DEAD:
            self._returned(member, now)
        self._spread(claim, now, sender)

    def _returned(self, member: Member, now: float) -> None:
        """What it has said meanwhile is asked for: by a few of all, or by us if it was we who were away."""
        if self._is_verifier():
            self.prober.probe(member, now)  # the answer brings what it has said
        if not self.ground.returned:
            self.ground.timers.at(now + self.ground.config.sync_join_s, Due.MEND)
        self.ground.returned[member.id] = None

    def answered(self, member: Member, now: float) -> None:
        """It answered us, itself or through another: whatever we held against it falls."""
        member.answered_at = now
        if member.state is State.SUSPECT:
            self._clear(member)
            self.ground.table.set_state(member, State.ALIVE)
            self.ground.do(MemberRecovered(member.id))

    def _clear(self, member: Member) -> None:
        if self.suspicions.pop(member.id, None) is not None:
            known = self.ground.rumors.get(("", member.id))
            if isinstance(known, Claim) and known.state == State.SUSPECT:
                self.ground.rumors.drop(("", member.id))

    # --- suspected -------------------------------------------------------------------------------------------------

    def _suspected_by(self, member: Member, claim: Claim, by: PeerId, sender: PeerId, now: float) -> None:
        fresh_s = self.ground.config.fresh_s
        member.incarnation = max(member.incarnation, claim.incarnation)
        if now - member.answered_at < fresh_s:
            self.post.tell(member.id, [claim])
            return
        self._suspect(member, by, now)
        self._spread(claim, now, sender)

    def _suspect(self, member: Member, by: PeerId, now: float) -> Suspicion:
        """Start a case against a member, and check it ourselves if few enough would."""
        ground, config = self.ground, self.ground.config
        present = len(ground.table)
        case = Suspicion(now, min(config.confirmations, present - 1))
        self.suspicions[member.id] = case
        if by != member.id:
            case.accusers.add(by)
        ground.table.set_state(member, State.SUSPECT)
        ground.do(MemberSuspected(member.id, by))
        self._schedule(member, case)
        if by != ground.me and self._is_verifier():
            self.prober.probe(member, now)
        return case

    def _is_verifier(self) -> bool:
        """Whether we are among the few that check at once what all have heard."""
        present, verifiers = len(self.ground.table), self.ground.config.verifiers
        return present <= verifiers or self.ground.rng.random() < verifiers / present

    def _schedule(self, member: Member, case: Suspicion) -> None:
        config = self.ground.config
        scale = max(1.0, math.log10(len(self.ground.table) + 1)) * self.ground.patience
        length_s = case.length_s(config.suspicion_min_s * scale, config.suspicion_max_s * scale)
        until = case.started_at + length_s
        if until < case.until:
            case.until = until
            self.ground.timers.at(until, Due.VERDICT, member.id)

    def _confirm(self, member: Member, by: PeerId, now: float) -> None:
        case = self.suspicions.get(member.id)
        if case is None or by in case.accusers or len(case.accusers) > case.quorum:
            return
        case.accusers.add(by)
        self._schedule(member, case)
        if by != self.ground.me:
            self._spread(Claim(member.raw, State.SUSPECT, member.incarnation, raw_of(by)), now, by)

    def probe_failed(self, member: Member, now: float) -> None:
        """A probe of ours has failed."""
        case = self.suspicions.get(member.id)
        first = case is None or not case.failed
        if case is None:
            case = self._suspect(member, self.ground.me, now)
        case.failed = True
        if first:
            claim = Claim(member.raw, State.SUSPECT, member.incarnation, self.ground.raw)
            case.accusers.add(self.ground.me)
            self._schedule(member, case)
            self._spread(claim, now)
            self.post.tell(member.id, [claim])
            self.post.tell(member.id, [claim], reliable=True)
        if now >= case.until:
            self._die(member, Why.UNRESPONSIVE, now)
        else:
            self.prober.probe(member, now)

    def verdict(self, peer: PeerId, now: float) -> None:
        """A suspect's time is over."""
        case = self.suspicions.get(peer)
        member = self.ground.table.members.get(peer)
        if case is None or member is None or now < case.until:
            return
        if case.failed:
            self._die(member, Why.UNRESPONSIVE, now)
        else:
            self.prober.probe(member, now)

    # --- dead and gone ---------------------------------------------------------------------------------------------

    def _dead_by(self, member: Member, claim: Claim, sender: PeerId, now: float, synced: bool) -> None:
        """Somebody says it is dead: believe it, unless it answered us lately."""
        why = Why(claim.why) if claim.why else Why.UNRESPONSIVE
        config = self.ground.config
        lately = now - member.answered_at < (config.fresh_s if why is Why.REFUSED else config.belief_s)
        doubt = synced or (lately and (member.linked or why is Why.UNRESPONSIVE))
        if member.state is State.ALIVE and doubt:
            member.incarnation = max(member.incarnation, claim.incarnation)
            self.post.tell(member.id, [claim])
            self.prober.probe(member, now)
            return
        member.incarnation = claim.incarnation
        if why is Why.REFUSED or not member.present:
            self._die(member, why, now, sender)
            return
        # Links that were cut deliver old claims when they are whole again: nobody dies of a claim out of the blue.
        case = self.suspicions.get(member.id) or self._suspect(member, sender, now)
        if case.failed or now - case.started_at >= config.suspicion_min_s / 2:
            self._die(member, why, now, sender)
        else:
            case.certain = True
            self._schedule(member, case)

    def _die(self, member: Member, why: Why, now: float, told_by: PeerId | None = None) -> None:
        self._end(member, State.DEAD, now)
        self.ground.do(MemberDied(member.id, why))
        self._spread(Claim(member.raw, State.DEAD, member.incarnation, b"", int(why)), now, told_by)

    def _left(self, member: Member, now: float, told_by: PeerId | None = None) -> None:
        was_present = member.present
        self._end(member, State.LEFT, now)
        if was_present:
            self.ground.do(MemberLeft(member.id))
        self._spread(Claim(member.raw, State.LEFT, member.incarnation), now, told_by)

    def _end(self, member: Member, state: State, now: float) -> None:
        self._clear(member)
        self.prober.drop(member.id)
        member.died_at = now
        self.ground.table.set_state(member, state)
        for topic in [each for each in member.records if each != "member"]:
            self.ground.rumors.drop((member.id, topic))
            del member.records[topic]
        self.ground.rumors.drop((member.id, "member"))
        member.digest = None
        for other in self.ground.table.oldest_tombstones():
            self.forget(other)

    # --- evidence --------------------------------------------------------------------------------------------------

    def closed(self, member: Member, now: float) -> None:
        """Its link ended without goodbye."""
        member.closed_at = now
        if not member.present:
            return
        if member.state is State.ALIVE:
            self._suspect(member, self.ground.me, now)
            self.suspicions[member.id].accusers.clear()
        self.ground.do(Connect(member.id))
        self.prober.probe(member, now)

    def refused(self, member: Member, now: float) -> None:
        """Nobody listens where it was. That is death if it was linked and has not answered since."""
        if not member.present:
            return
        if member.closed_at > member.answered_at:
            self._die(member, Why.REFUSED, now)
        else:
            self.prober.probe(member, now)

    def goodbye(self, member: Member, now: float) -> None:
        """It said that it goes."""
        if member.state is not State.LEFT:
            self._left(member, now)

    def postpone(self, by_s: float) -> None:
        """We were away for so long: suspects had no chance to object."""
        for case in self.suspicions.values():
            case.until += by_s
            case.started_at += by_s
