"""What peers say to each other about who leads a job and what is recorded of it.

A leader appoints standbys, brings each what it lacks, and beats; a standby says what it has. Whoever begins to lead
says so to all, and is told a higher term by whoever knows one. The same exchange of `Have` and `Append` serves a new
standby, one that comes back, and a leader that must step down and hands over what it alone has.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from meshwit.ids import PeerId
from meshwit.outcome import JobState
from meshwit.peer.succession.records import LogId, Term
from meshwit.peer.work.messages import BlobRef

LOGS_MAX: Final = 4096
RECORDS_MAX: Final = 4096
"""Of one `Append`."""


class Leads(msgspec.Struct, frozen=True, array_like=True, tag=41):
    """This term is the highest that the sender knows of a job; the standbys in their rank. Its leader says it when it
    begins and when that changes; others answer with it whoever still leads by a lower one.

    Attributes:
        took_over: the leader has just taken the job over: workers tell it what they hold (`Held`).
        over: the job's outcome, once it has one.
        left: the sender led by this term, and began anew since: it does not lead.
    """

    job: str
    term: Term
    standbys: list[PeerId] = []
    took_over: bool = False
    over: JobState | None = None
    left: bool = False


class StandBy(msgspec.Struct, frozen=True, array_like=True, tag=42):
    """Stand by for a job. `header` is its specification (`records.JobSpec`), its buffers those of the arguments;
    answered by `Have`, or `CannotStandBy`."""

    job: str
    term: Term
    header: bytes


class CannotStandBy(msgspec.Struct, frozen=True, array_like=True, tag=43):
    """The sender cannot stand by, and why."""

    job: str
    why: str


class Have(msgspec.Struct, frozen=True, array_like=True, tag=44):
    """The sender has so many records of each log (epoch, leader, count), blobs of theirs included.

    Attributes:
        ask: the sender wants what it lacks.
    """

    job: str
    counts: list[tuple[int, PeerId, int]]
    ask: bool = False

    @property
    def versions(self) -> dict[LogId, int]:
        """The same by log."""
        return {(epoch, leader): count for epoch, leader, count in self.counts}


class Append(msgspec.Struct, frozen=True, array_like=True, tag=45):
    """Records of one log, numbered from `first` on: `header` is the list of their bodies, all their buffers beside."""

    job: str
    epoch: int
    leader: PeerId
    first: int
    header: bytes
    blobs: list[BlobRef] = []


class LeaderBeat(msgspec.Struct, frozen=True, array_like=True, tag=46):
    """The sender lives and leads these jobs: of each its epoch and the seconds since it started."""

    jobs: dict[str, tuple[int, float]]


class AskJob(msgspec.Struct, frozen=True, array_like=True, tag=47):
    """Who leads that job, and what do you have of it? Answered by `Leads` and `Have` where anything is known."""

    job: str


SuccessionMessage: TypeAlias = Leads | StandBy | CannotStandBy | Have | Append | LeaderBeat | AskJob


def counts_of(versions: dict[LogId, int]) -> list[tuple[int, PeerId, int]]:
    """Versions as they cross."""
    return [(epoch, leader, count) for (epoch, leader), count in sorted(versions.items())]
