"""Who leads which job, who stands by, and what each has of its history. Core, one for each peer.

Theory of operation. A leader appoints standbys and streams its log to them; they beat the drum both ways: the leader
says that it lives, they say what they have. A standby whose leader's connection ended, or that hears nothing of it,
takes the next epoch unless one before it does; the higher term wins wherever two meet, and the lower one steps down and
hands over what it alone has. Nothing waits for a majority: one holder of a history is enough to go on, and two who both
go on do work twice but lose none. What a history means is not known here, only how long each of its logs is.

It trusts members as far as a mesh does: one that lies about a term can take a job over, none can change what was
recorded by others. What it says beyond sense does nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from meshwit.ids import PeerId
from meshwit.outcome import JobState
from meshwit.peer.succession import effects as do
from meshwit.peer.succession.known import RESTORED_MAX, Follower, Known, KnownJobs, Role, Signs, sane
from meshwit.peer.succession.messages import (
    LOGS_MAX,
    AskJob,
    CannotStandBy,
    Have,
    LeaderBeat,
    Leads,
    SuccessionMessage,
    counts_of,
)
from meshwit.peer.succession.records import LogId, Term, Versions
from meshwit.peer.succession.settings import BEAT_S, STANDBYS_MAX


class Succession:
    """See the module; `me` is this peer.

    Attributes:
        jobs: known ones, by id.
        candidates: linked peers that may stand by, the best first; change them by `rank`.
        signs: of life, that are no words of leaders.
    """

    def __init__(self, me: PeerId) -> None:
        self.me = me
        self.jobs = KnownJobs()
        self.signs = Signs()
        self.candidates: tuple[PeerId, ...] = ()
        self._linked: set[PeerId] = set()
        self._restored: deque[str] = deque(maxlen=RESTORED_MAX)
        self._beat_due = float("-inf")
        self._effects: list[do.Effect] = []

    # --- leading -----------------------------------------------------------------------------------------------------

    def lead(self, job: str, standbys: int, now: float) -> list[do.Effect]:
        """Lead a new job; its first record is written."""
        known = self.jobs[job] = Known(Term(1, 0, self.me), now)
        self._begin(job, known, standbys, now, took_over=False)
        return self._taken()

    def resume(self, job: str, elapsed: float, standbys: int, now: float, *, to_end: bool = False) -> list[do.Effect]:
        """Lead a job on that nobody leads, from its history here; or only end it."""
        known = self.jobs[job]
        known.cancelled = to_end
        if known.role is not Role.LEADING and known.versions:
            known.origin = now - elapsed
            known.wanted = standbys
            self._take_over(job, known, now)
        return self._taken()

    def gather(self, job: str) -> list[do.Effect]:
        """Before a job is resumed: ask all for what they have of it, and take it."""
        if job in self.jobs:
            self.jobs[job].gathers = True
            for peer in sorted(self._linked):
                self._say(peer, AskJob(job))
        return self._taken()

    def written(self, job: str, count: int, now: float) -> list[do.Effect]:
        """The own log has grown to so many records: they can be sent."""
        known = self.jobs.get(job)
        if known is not None and known.role is Role.LEADING:
            known.versions[known.term.log] = max(count, known.versions.get(known.term.log, 0))
            for peer in known.followers:
                self._send_missing(job, known, peer)
        return self._taken()

    def unwritable(self, job: str) -> list[do.Effect]:
        """This device's disk does not take the log: what standbys have must do."""
        known = self.jobs.get(job)
        if known is not None:
            known.unwritable = True
            self._see_durable(job, known)
        return self._taken()

    def ended(self, job: str, state: JobState, now: float) -> list[do.Effect]:
        """A job that this peer leads has its outcome, which is written; or it is held, and led by nobody."""
        known = self.jobs.get(job)
        if known is not None and known.role is Role.LEADING:
            known.over = state
            self._announce(job, known)
            if state is JobState.HELD:  # until somebody resumes it
                known.role = Role.AWARE
                known.led = False
                known.followers = {}
        return self._taken()

    def rank(self, candidates: Iterable[PeerId], now: float) -> list[do.Effect]:
        """The peers that may stand by, the best first, have changed."""
        self.candidates = tuple(peer for peer in candidates if peer != self.me)
        for job, known in self.jobs.timed.items():
            if known.role is Role.LEADING and known.over is None:
                self._appoint(job, known)
        return self._taken()

    # --- standing by -------------------------------------------------------------------------------------------------

    def restore(self, job: str, versions: Versions, term: Term, over: JobState | None, now: float) -> None:
        """A job's history was found on disk. Nobody is known to lead it."""
        known = self.jobs[job] = Known(term, now)
        known.versions = dict(versions)
        known.coming = dict(versions)
        known.over = over
        self._restored.append(job)

    def standing_by(self, job: str, term: Term, versions: Versions, now: float) -> list[do.Effect]:
        """The specification of a job was taken from its leader; so much of its history is here already."""
        known = self.jobs.get(job)
        if known is None or known.term != term or known.role is Role.LEADING:
            return []
        known.role = Role.STANDING_BY
        self.jobs.time(job)
        known.heard_at = now
        known.left_at = None if term.leader in self._linked else now
        known.versions = dict(versions)
        known.coming = dict(versions)
        self._say(term.leader, Have(job, counts_of(known.versions), ask=True))
        return self._taken()

    def may_stand_by(self, peer: PeerId, job: str, term: Term, now: float) -> tuple[bool, list[do.Effect]]:
        """Whether an appointment counts: it is its leader's, and none by a higher term is known."""
        if peer == term.leader and sane(term):
            self._leads(peer, Leads(job, term, list(self.jobs[job].standbys) if job in self.jobs else []), now)
            if self.jobs[job].term == term:
                return True, self._taken()
        return False, self._taken()

    def may_append(
        self, peer: PeerId, job: str, log: LogId, first: int, count: int, now: float
    ) -> tuple[bool, list[do.Effect]]:
        """Whether records are welcome: a leader's at its standbys, anybody's at a leader; and they continue a log."""
        known = self.jobs.get(job)
        welcome = known is not None and (known.role is Role.LEADING or known.gathers or known.term.leader == peer)
        if known is None or log[0] < 1 or not welcome:
            return False, []
        if known.role is Role.LEADING and log == known.term.log:
            return False, []  # nobody else writes it
        if log not in known.versions and len(known.versions) >= LOGS_MAX:
            return False, []
        if first > known.coming.get(log, 0):
            self._say(peer, Have(job, counts_of(known.versions), ask=True))
            return False, self._taken()
        known.coming[log] = max(first + count, known.coming.get(log, 0))
        if peer == known.term.leader:  # its beats may wait behind what it sends
            known.heard_at = now
        return True, []

    def not_stored(self, job: str, why: str) -> list[do.Effect]:
        """Records or the specification of a job could not be stored: this peer is no standby of it."""
        known = self.jobs.get(job)
        if known is not None:
            known.coming = dict(known.versions)
            if known.role is not Role.LEADING:
                known.role = Role.AWARE
                self._say(known.term.leader, CannotStandBy(job, why[:400]))
        return self._taken()

    def stored(self, job: str, log: LogId, count: int, over: JobState | None, now: float) -> list[do.Effect]:
        """So many records of a log lie on disk, with their blobs; `over` as one of them says."""
        known = self.jobs.get(job)
        if known is None:
            return []
        if known.role is Role.LEADING and log == known.term.log:
            known.unwritable = False
            known.stored = max(known.stored, count)
            self._see_durable(job, known)
            return self._taken()
        grown = count > known.versions.get(log, 0)
        known.versions[log] = max(count, known.versions.get(log, 0))
        known.coming[log] = max(count, known.coming.get(log, 0))
        if known.role is Role.LEADING:
            if grown:
                self._effects.append(do.Learned(job))
            for peer in known.followers:
                self._send_missing(job, known, peer)
        else:
            if log == known.term.log:  # an outcome by an earlier one is overruled
                known.over = over or known.over
            self._say(known.term.leader, Have(job, counts_of(known.versions)))
        return self._taken()

    def give_up(self, job: str) -> None:
        """This peer cannot lead a job: it is as if it had never heard of it."""
        self.jobs.drop(job)

    def forget(self, job: str) -> None:
        """A job is kept here no longer."""
        known = self.jobs.get(job)
        if known is not None and (known.role is not Role.LEADING or known.over is not None):
            self.jobs.drop(job)

    # --- what others say ---------------------------------------------------------------------------------------------

    def receive(self, peer: PeerId, message: SuccessionMessage, now: float) -> list[do.Effect]:
        """A peer said something; `StandBy` and `Append` go by `may_stand_by` and `may_append`."""
        match message:
            case Leads():
                self._leads(peer, message, now)
            case LeaderBeat(jobs=jobs):
                self._beaten(peer, jobs, now)
            case Have():
                self._has(peer, message)
            case CannotStandBy(job=job, why=why):
                self._cannot(peer, job, why)
            case AskJob(job=job):
                known = self.jobs.get(job)
                if known is not None:
                    self._say(peer, self._leads_of(job, known))
                    if known.versions:
                        self._say(peer, Have(job, counts_of(known.versions)))
        return self._taken()

    def linked(self, peer: PeerId, now: float) -> list[do.Effect]:
        """There is a connection to a peer: it is told of the jobs led here, and asked about those that nobody leads."""
        self._linked.add(peer)
        for job, known in self.jobs.items():
            if known.term.leader == peer:
                known.left_at = None
                known.heard_at = now
                if known.versions and known.role is not Role.LEADING:
                    self._say(peer, Have(job, counts_of(known.versions)))  # it may lack some of it
            if known.role is Role.LEADING and (known.over is None or peer in known.parted):
                known.parted -= {peer}
                self._say(peer, self._leads_of(job, known))
            elif known.versions and known.role is Role.AWARE and (known.over is None or job in self._restored):
                self._say(peer, AskJob(job))  # it may know of a later end
        return self._taken()

    def unlinked(self, peer: PeerId, now: float) -> list[do.Effect]:
        """The connection to a peer has ended, or it is known to be dead."""
        self._linked.discard(peer)
        self.signs.gone(peer)
        for job, known in self.jobs.items():
            if known.term.leader == peer and known.left_at is None:
                known.left_at = now
                known.led = False  # until it says so again: it may begin anew
            if known.role is Role.LEADING and known.followers.pop(peer, None) is not None:
                known.parted |= {peer}
                known.standbys = tuple(each for each in known.standbys if each != peer)
                if known.over is None:
                    self._appoint(job, known, changed=True)
                self._see_durable(job, known)
            known.refused.pop(peer, None)
        return self._taken()

    def overslept(self, now: float, *, suspended: bool = False) -> None:
        """This peer itself did not run for a while: the silence of leaders says nothing. After a device was `suspended`
        its network takes its time."""
        self.signs.overslept(self.jobs.values(), now, suspended=suspended)

    # --- time --------------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[do.Effect]:
        """Time has passed: a leader beats, a standby looks whether its leader lives."""
        if now >= self._beat_due:
            self._beat_due = now + BEAT_S
            self._beat(now)
        for job, known in list(self.jobs.timed.items()):
            due = known.takeover_due(self.me, self._linked, self.signs)
            if due is not None and due <= now:
                self._take_over(job, known, now)
        return self._taken()

    def next_deadline(self) -> float | None:
        """When `tick` is due."""
        timed = self.jobs.timed.values()
        due = [known.takeover_due(self.me, self._linked, self.signs) for known in timed]
        if any(known.beats for known in timed):
            due.append(self._beat_due)
        return min((each for each in due if each is not None), default=None)

    def check(self) -> None:
        """Invariants; simulations call it after every event."""
        for known in self.jobs.values():
            known.check(self.me, self._linked)
        self.jobs.check()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _begin(self, job: str, known: Known, standbys: int, now: float, *, took_over: bool) -> None:
        known.role = Role.LEADING
        self.jobs.time(job)
        known.led, known.gathers = True, False
        known.wanted = min(standbys, STANDBYS_MAX)
        known.stored = known.durable = 0
        known.versions[known.term.log] = 1
        known.followers = {}
        known.left_at = None
        # Those that stood by before have most of the history: they come first.
        before, known.standbys = known.standbys, ()
        self._appoint(job, known, before, silent=True)
        self._effects.append(do.Led(job, known.term, took_over))
        self._announce(job, known, took_over=took_over)
        self.jobs.make_room(job)

    def _take_over(self, job: str, known: Known, now: float) -> None:
        rank = known.standbys.index(self.me) + 1 if self.me in known.standbys else 0
        highest = max((epoch for epoch, _ in known.versions), default=0)
        before = {known.term.leader, *known.standbys, *(leader for _, leader in known.versions)}
        known.term = Term(max(known.term.epoch, highest) + 1, rank, self.me)
        known.over = known.told_over = None
        known.parted |= {each for each in before if each != self.me and each not in self._linked}
        self._effects.append(do.TakeOver(job, known.term, now - known.origin, known.cancelled))
        self._begin(job, known, known.wanted or len(known.standbys), now, took_over=True)

    def _appoint(
        self, job: str, known: Known, first: Sequence[PeerId] = (), *, changed: bool = False, silent: bool = False
    ) -> None:
        """Have as many standbys as are wanted, if there are so many."""
        able = [peer for peer in (*first, *self.candidates) if peer in self._linked and peer in self.candidates]
        for peer in dict.fromkeys(able):
            if len(known.followers) >= known.wanted:
                break
            if peer not in known.followers and peer not in known.refused:
                known.followers[peer] = Follower()
                known.standbys = (*known.standbys, peer)
                self._effects.append(do.SendSpec(peer, job, known.term))
                changed = True
        if changed and not silent:
            self._announce(job, known)

    def _announce(self, job: str, known: Known, *, took_over: bool = False) -> None:
        message = self._leads_of(job, known, took_over=took_over)
        for peer in sorted(self._linked):
            self._say(peer, message)

    def _leads_of(self, job: str, known: Known, *, took_over: bool = False) -> Leads:
        left = known.role is not Role.LEADING and (known.term.leader == self.me or not (known.led or known.ended))
        return Leads(job, known.term, list(known.standbys), took_over, known.ended, left)

    def _leads(self, peer: PeerId, said: Leads, now: float) -> None:
        if not sane(said.term) or len(said.standbys) > STANDBYS_MAX:
            return
        known = self.jobs.get(said.job)
        if known is None:
            known = self.jobs[said.job] = Known(said.term, now)
            self.jobs.make_room(said.job)
            known.asked = said.took_over
            self._effects.append(do.Led(said.job, said.term, said.took_over))
        elif said.term < known.term:
            self._say(peer, self._leads_of(said.job, known))
            return
        elif said.term > known.term and said.left and said.over is None and known.role is Role.LEADING:
            self._lead_above(said, known, now)
            return
        elif said.term > known.term:
            self._led_by_other(said, known, now)
            self._named(known, said)
            if peer != said.term.leader and known.versions and said.term.leader in self._linked:
                self._say(said.term.leader, AskJob(said.job))
        if said.term == known.term:
            known.told(said.over, by_leader=peer == known.term.leader)
        if peer != known.term.leader or known.role is Role.LEADING:
            return
        if said.left and said.over is None:
            known.led = False
            return
        if said.took_over and not known.asked:  # somebody else had told who leads
            known.asked = True
            self._effects.append(do.Led(said.job, said.term, took_over=True))
        self._named(known, said)
        known.heard_at = now
        known.left_at = None
        if not known.versions or said.over is JobState.HELD:
            known.over = said.over
            self.jobs.time(said.job)
        ended = said.over is not None and said.over is not JobState.HELD
        if ended and known.versions and known.role is Role.AWARE:  # what lies here tells the same end
            self._say(peer, Have(said.job, counts_of(known.versions), ask=True))

    def _named(self, known: Known, said: Leads) -> None:
        """These stand by."""
        known.standbys = tuple(PeerId(each) for each in said.standbys)
        if known.role is Role.STANDING_BY and self.me not in known.standbys:
            known.role = Role.AWARE

    def _led_by_other(self, said: Leads, known: Known, now: float) -> None:
        if known.role is Role.LEADING:
            self._effects.append(do.StepDown(said.job, said.term))
            for each in known.standbys:  # the other leader may not know that they stood by
                if each in self._linked:
                    self._say(each, said)
            known.step_down()
        linked = said.term.leader in self._linked
        known.led_by_other(said.term, took_over=said.took_over, linked=linked, now=now)
        self.jobs.time(said.job)
        self._effects.append(do.Led(said.job, said.term, said.took_over))
        if known.versions and linked:
            self._say(said.term.leader, Have(said.job, counts_of(known.versions)))

    def _lead_above(self, said: Leads, known: Known, now: float) -> None:
        """By a term above one that nobody leads by any more: whoever took it ended, and came back or left word."""
        self._effects.append(do.StepDown(said.job, said.term))
        standbys, cancelled = known.standbys, known.cancelled or known.over is JobState.CANCELLED
        known.step_down()
        known.led_by_other(said.term, took_over=False, linked=said.term.leader in self._linked, now=now)
        known.standbys, known.cancelled = standbys, cancelled
        self._take_over(said.job, known, now)

    def _beaten(self, peer: PeerId, jobs: dict[str, tuple[int, float]], now: float) -> None:
        for job, (epoch, elapsed) in jobs.items():
            known = self.jobs.get(job)
            if known is None:
                continue
            if known.term.leader == peer and known.term.epoch == epoch:
                known.heard_at = now
                known.origin = now - max(0.0, elapsed)
            elif epoch < known.term.epoch or (epoch == known.term.epoch and peer != known.term.leader):
                self._say(peer, self._leads_of(job, known))

    def _has(self, peer: PeerId, said: Have) -> None:
        known = self.jobs.get(said.job)
        if known is None or len(said.counts) > LOGS_MAX:
            return
        theirs = said.versions
        if said.ask and peer not in known.followers:
            self._send(said.job, known, peer, theirs)
        if known.role is not Role.LEADING and not known.gathers:
            return
        follower = known.followers.get(peer)
        if follower is not None:
            # What a follower has only grows while it is one: a lesser word that asks for nothing comes late.
            before = {} if said.ask else follower.has
            follower.has = {log: max(before.get(log, 0), theirs.get(log, 0)) for log in before | theirs}
            if said.ask or follower.sent is None:
                follower.sent = dict(theirs)
            self._send_missing(said.job, known, peer)
            self._see_durable(said.job, known)
        own = known.term.log if known.role is Role.LEADING else None
        if any(count > known.versions.get(log, 0) for log, count in theirs.items() if log != own):
            self._say(peer, Have(said.job, counts_of(known.versions), ask=True))

    def _cannot(self, peer: PeerId, job: str, why: str) -> None:
        known = self.jobs.get(job)
        if known is not None and known.followers.pop(peer, None) is not None:
            known.refused[peer] = why[:400]
            known.standbys = tuple(each for each in known.standbys if each != peer)
            self._appoint(job, known, changed=True)
            self._see_durable(job, known)

    def _send_missing(self, job: str, known: Known, peer: PeerId) -> None:
        follower = known.followers[peer]
        if follower.sent is not None:
            self._send(job, known, peer, follower.sent)
            follower.sent = dict(known.versions)

    def _send(self, job: str, known: Known, peer: PeerId, theirs: Versions) -> None:
        for log, count in sorted(known.versions.items()):
            first = max(0, theirs.get(log, 0))
            if first < count:
                self._effects.append(do.SendRecords(peer, job, log, first, count))

    def _see_durable(self, job: str, known: Known) -> None:
        if known.role is not Role.LEADING:
            return
        upto = known.safe
        if upto > known.durable:
            known.durable = upto
            self._effects.append(do.Durable(job, upto))
        if known.just_finished():
            self._effects.append(do.Finished(job))

    def _beat(self, now: float) -> None:
        told: dict[PeerId, dict[str, tuple[int, float]]] = {}
        for job, known in self.jobs.items():
            if not known.beats:
                continue
            for peer in known.followers:
                told.setdefault(peer, {})[job] = (known.term.epoch, now - known.origin)
        for peer, jobs in told.items():
            self._say(peer, LeaderBeat(jobs))

    def _say(self, peer: PeerId, message: SuccessionMessage) -> None:
        self._effects.append(do.Send(peer, message))

    def _taken(self) -> list[do.Effect]:
        effects, self._effects = self._effects, []
        return effects
