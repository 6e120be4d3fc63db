"""A job as one peer knows it: who leads it, who stands by, what of its history is where. Core."""

from __future__ import annotations

import enum
from collections.abc import Set
from typing import Final

from meshwit.ids import PeerId
from meshwit.outcome import JobState
from meshwit.peer.succession.records import Term, Versions
from meshwit.peer.succession.settings import GRACE_S, KNOWN_MAX, SILENCE_S, STAGGER_S, STANDBYS_MAX, TIMED_MIN

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
        parted: peers that stood by or led when the connection to them ended: they may lead on, or tell another end.
    """

    __slots__ = (
        "asked", "closed", "coming", "durable", "followers", "gathers", "heard_at", "led", "left_at", "origin", "over",
        "parted", "refused", "role", "standbys", "stored", "term", "unwritable", "versions", "wanted",
    )  # fmt: skip

    def __init__(self, term: Term, now: float) -> None:
        self.term = term
        self.role = Role.AWARE
        self.standbys: tuple[PeerId, ...] = ()
        self.over: JobState | None = None
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
        self.led = self.asked = self.gathers = False

    @property
    def is_timed(self) -> bool:
        """Whether its leader beats for it, or its standby listens."""
        if self.role is Role.STANDING_BY:
            return self.over is None
        return self.role is Role.LEADING and not self.is_finished

    @property
    def is_finished(self) -> bool:
        """Whether this peer led it to its end, and all of it lies on its disk and at all standbys."""
        led_to_end = self.role is Role.LEADING and self.over is not None and not self.unwritable
        return led_to_end and self.durable == self.versions.get(self.term.log, 0)

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

    def takeover_due(self, me: PeerId, linked: Set[PeerId]) -> float | None:
        """When this peer, `me`, takes the job over, if nothing changes; `linked` are the peers it is connected to."""
        if self.role is not Role.STANDING_BY or self.over is not None:
            return None
        # Who was appointed and had not heard of that when the leader was lost comes after those that are named.
        ahead = self.standbys[: self.standbys.index(me)] if me in self.standbys else self.standbys
        wait = STAGGER_S * sum(peer in linked for peer in ahead)
        silent = self.heard_at + SILENCE_S + wait
        return silent if self.left_at is None else min(silent, self.left_at + GRACE_S + wait)


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

    def drop(self, job: str) -> None:
        """Know nothing of a job any more."""
        self.pop(job, None)
        self.timed.pop(job, None)

    def make_room(self) -> None:
        """Forget what matters least, where too many are known."""
        if len(self) > KNOWN_MAX:
            idle = [job for job, known in self.items() if known.role is Role.AWARE and not known.versions]
            for job in idle[: len(self) - KNOWN_MAX]:
                self.drop(job)

    def check(self) -> None:
        """Invariants."""
        assert all(self.get(job) is known for job, known in self.timed.items())
        assert all(job in self.timed for job, known in self.items() if known.is_timed)


def sane(term: Term) -> bool:
    """Whether a term can be meant."""
    return 1 <= term.epoch < 2**31 and 0 <= term.rank <= STANDBYS_MAX and bool(term.leader)
