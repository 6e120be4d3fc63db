"""A job as one peer knows it: who leads it, who stands by, what of its history is where. Core."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Set
from typing import Final

from meshwit.ids import PeerId
from meshwit.outcome import JobState
from meshwit.peer.succession.records import Term, Versions
from meshwit.peer.succession.settings import (
    BUSY_S,
    GRACE_S,
    KNOWN_MAX,
    SILENCE_S,
    STAGGER_S,
    STANDBYS_MAX,
    TIMED_MIN,
    WAKE_S,
)

RESTORED_MAX: Final = 256
"""Of the jobs found on disk when it began, a peer asks others about so many, the latest ones, though they are over."""
_NONE: Final[frozenset[PeerId]] = frozenset()


class Role(enum.Enum):
    """What this peer is to a job."""

    LEADING = "leading"
    STANDING_BY = "standing by"
    AWARE = "aware"
    """It knows who leads; it may have a copy of the history all the same."""


class Follower:
    """A standby as its leader knows it.

    Attributes:
        sent: records sent, by log; None until it has said what it has.
        has: records that it has.
    """

    __slots__ = ("has", "sent")

    def __init__(self) -> None:
        self.sent: Versions | None = None
        self.has: Versions = {}


class Known:
    """A job as this peer knows it.

    Attributes:
        versions: of the history that lies here, own log included as far as it is written.
        coming: the same, with what has come and is being stored.
        stored: how much of the own log lies on disk; `durable`, how much of it was told to be durable.
        origin: when the job began, by this peer's clock.
        led: its leader said itself that it leads; `asked`, that it has taken over, and wants to know what workers hold.
        gathers: what others have of its history is taken, whoever leads it: it is about to be resumed here.
        heard_at: when its leader was last heard; `left_at`, when the connection to it ended.
        over: the outcome's state, once there is one; `closed`, `is_finished` as it was asked last.
        cancelled: its leader said that it is, though the record of that may not be here.
        told_over: the same as somebody said it, though the record of it may not be here.
        parted: peers that stood by or led when the connection to them ended: they may lead on, or tell another end.
    """

    __slots__ = (
        "asked", "cancelled", "closed", "coming", "durable", "followers", "gathers", "heard_at", "led", "left_at",
        "origin", "over", "parted", "refused", "role", "standbys", "stored", "term", "told_over", "unwritable",
        "versions", "wanted",
    )  # fmt: skip

    def __init__(self, term: Term, now: float) -> None:
        self.term = term
        self.role = Role.AWARE
        self.standbys: tuple[PeerId, ...] = ()
        self.over: JobState | None = None
        self.told_over: JobState | None = None
        self.versions: Versions = {}
        self.coming: Versions = {}
        self.followers: dict[PeerId, Follower] = {}
        self.refused: dict[PeerId, str] = {}
        self.parted = _NONE
        self.wanted = 0
        self.stored = self.durable = 0
        self.unwritable = self.closed = False
        self.origin = self.heard_at = now
        self.left_at: float | None = None
        self.led = self.asked = self.gathers = self.cancelled = False

    @property
    def is_timed(self) -> bool:
        """Whether its leader beats for it, or its standby listens."""
        if self.role is Role.STANDING_BY:
            return self.over is None
        return self.role is Role.LEADING and not self.is_finished

    @property
    def is_over(self) -> bool:
        """Whether it has its outcome: one that is held has not."""
        return self.over not in (None, JobState.HELD)

    @property
    def is_finished(self) -> bool:
        """Whether this peer led it to its end, and all of it lies on its disk and at all standbys."""
        led_to_end = self.role is Role.LEADING and self.over is not None and not self.unwritable
        return led_to_end and self.durable == self.versions.get(self.term.log, 0)

    @property
    def beats(self) -> bool:
        """Whether its standbys are to hear that this peer lives: until they have all of it."""
        return bool(self.followers) and (self.over is None or self.durable != self.versions.get(self.term.log, 0))

    def just_finished(self) -> bool:
        """Whether it is finished since this was asked last: nobody lacks anything, so of its standbys only the names
        are of use."""
        before, self.closed = self.closed, self.is_finished
        if self.closed and not before:
            self.followers = {}
            self.refused = {}
        return self.closed and not before

    @property
    def safe(self) -> int:
        """How much of the own log lies here, where the disk takes it, and at all standbys."""
        own = self.term.log
        has = [follower.has.get(own, 0) for follower in self.followers.values()]
        has += [] if self.unwritable else [self.stored]
        return min(min(has, default=0), self.versions[own])

    def step_down(self) -> None:
        """Another peer leads it. What the disk did not take of the own log goes with the leadership."""
        self.followers = {}
        self.role = Role.AWARE
        self.versions[self.term.log] = self.stored
        self.coming = dict(self.versions)

    def led_by_other(self, term: Term, *, took_over: bool, linked: bool, now: float) -> None:
        """By a higher term; `linked`, if there is a connection to its leader."""
        self.term = term
        self.led = self.cancelled = False
        self.asked = took_over
        self.over = self.told_over = None  # of a question somebody has decided; an outcome is overruled
        self.heard_at = now
        self.left_at = None if linked else now

    @property
    def ended(self) -> JobState | None:
        """How it ended, as what lies here says, or somebody else."""
        return self.over or self.told_over

    def told(self, over: JobState | None, *, by_leader: bool) -> None:
        """Its leader, or somebody else, says that it ended so, or has not."""
        if over is not None or by_leader:
            self.told_over = over
        if by_leader:
            self.led = over is None
            self.cancelled |= over is JobState.CANCELLED

    def takeover_due(self, me: PeerId, linked: Set[PeerId], signs: Signs) -> float | None:
        """When this peer, `me`, takes the job over, if nothing changes; `linked` are the peers it is connected to."""
        if self.role is not Role.STANDING_BY or self.over is not None:
            return None
        # Who was appointed and had not heard of that when the leader was lost comes after those that are named.
        ahead = self.standbys[: self.standbys.index(me)] if me in self.standbys else self.standbys
        wait = STAGGER_S * sum(peer in linked for peer in ahead)
        spoke_at = min(signs.spoke_at.get(self.term.leader, self.heard_at), self.heard_at + BUSY_S)
        silent = max(self.heard_at, spoke_at) + SILENCE_S + wait
        due = silent if self.left_at is None else min(silent, self.left_at + GRACE_S + wait)
        return due if self.heard_at > signs.woke_at else max(due, signs.woke_at + WAKE_S + wait)

    def check(self, me: PeerId, linked: Set[PeerId]) -> None:
        """Invariants."""
        leads = self.role is Role.LEADING
        assert not leads or self.term.leader == me
        assert self.role is not Role.STANDING_BY or self.term.leader != me
        assert leads or not self.followers
        assert set(self.followers) <= linked
        assert self.durable <= self.versions.get(self.term.log, 0) or not leads


class Signs:
    """What says that the silence of a leader means less than it seems.

    Attributes:
        spoke_at: when something came of a peer last, be it a piece of what takes long: its beats may wait behind that.
        woke_at: when this device was suspended last.
    """

    def __init__(self) -> None:
        self.spoke_at: dict[PeerId, float] = {}
        self.woke_at = float("-inf")

    def spoke(self, peer: PeerId, now: float) -> None:
        """Something came of a peer."""
        self.spoke_at[peer] = now

    def gone(self, peer: PeerId) -> None:
        """The connection to a peer has ended."""
        self.spoke_at.pop(peer, None)

    def overslept(self, jobs: Iterable[Known], now: float, *, suspended: bool) -> None:
        """This peer did not run for a while. Whom it waits for since its device woke it waits for still."""
        for known in jobs:
            if suspended or known.heard_at > self.woke_at:
                known.heard_at = now
            if known.left_at is not None:
                known.left_at = now
        if suspended:
            self.woke_at = now


class KnownJobs(dict[str, Known]):
    """All that a peer knows, by id.

    Attributes:
        timed: those for which time matters, and some for which it does no more.
    """

    def __init__(self) -> None:
        super().__init__()
        self.timed: dict[str, Known] = {}
        self._timed_max = TIMED_MIN

    def time(self, job: str) -> None:
        """Time may matter for a job from now on."""
        known = self[job]
        if known.is_timed:
            self.timed[job] = known
        if len(self.timed) > self._timed_max:
            self.timed = {job: known for job, known in self.timed.items() if known.is_timed}
            self._timed_max = max(TIMED_MIN, 2 * len(self.timed))

    def is_led(self, job: str) -> bool:
        """Whether somebody leads a job, as far as is known here."""
        known = self.get(job)
        return known is not None and known.led and known.left_at is None and known.over is None

    def is_followed(self, job: str) -> bool:
        """Whether somebody could lead on a job that this peer leads: he has some of its log."""
        known = self.get(job)
        return known is not None and any(each.has.get(known.term.log, 0) for each in known.followers.values())

    @property
    def owed(self) -> int:
        """How many jobs have ended here whose standbys do not have all of them yet."""
        return sum(known.beats and known.is_over for known in self.timed.values())

    def drop(self, job: str) -> None:
        """Know nothing of a job any more."""
        self.pop(job, None)
        self.timed.pop(job, None)

    def make_room(self, new: str) -> None:
        """Forget what matters least, where too many are known: not a `new` one."""
        if len(self) > KNOWN_MAX:
            idle = [
                job for job, known in self.items() if known.role is Role.AWARE and not known.versions and job != new
            ]
            for job in idle[: len(self) - KNOWN_MAX]:
                self.drop(job)

    def check(self) -> None:
        """Invariants."""
        assert all(self.get(job) is known for job, known in self.timed.items())
        assert all(job in self.timed for job, known in self.items() if known.is_timed)


def sane(term: Term) -> bool:
    """Whether a term can be meant."""
    return 1 <= term.epoch < 2**31 and 0 <= term.rank <= STANDBYS_MAX and bool(term.leader)
