"""A job as one peer knows it: who leads it, who stands by, what of its history is where. Core."""

from __future__ import annotations

import enum
from typing import Final

from meshwit.ids import PeerId
from meshwit.outcome import JobState
from meshwit.peer.succession.records import Term, Versions
from meshwit.peer.succession.settings import STANDBYS_MAX

RESTORED_MAX: Final = 256
"""Of the jobs found on disk when it began, a peer asks others about so many, the latest ones, though they are over."""


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
        over: the outcome's state, once there is one.
        parted: peers that stood by or led when the connection to them ended: they may lead on, or tell another end.
    """

    __slots__ = (
        "asked", "coming", "durable", "followers", "gathers", "heard_at", "led", "left_at", "origin", "over", "parted",
        "refused", "role", "standbys", "stored", "term", "unwritable", "versions", "wanted",
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
        self.parted: set[PeerId] = set()
        self.wanted = 0
        self.stored = self.durable = 0
        self.unwritable = False
        self.origin = self.heard_at = now
        self.left_at: float | None = None
        self.led = self.asked = self.gathers = False

    @property
    def is_finished(self) -> bool:
        """Whether this peer led it to its end, and all of it lies on its disk and at all standbys."""
        led_to_end = self.role is Role.LEADING and self.over is not None and not self.unwritable
        return led_to_end and self.durable == self.versions.get(self.term.log, 0)


def sane(term: Term) -> bool:
    """Whether a term can be meant."""
    return 1 <= term.epoch < 2**31 and 0 <= term.rank <= STANDBYS_MAX and bool(term.leader)
