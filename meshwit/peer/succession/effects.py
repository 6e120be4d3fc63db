"""What `Succession` asks of its shell. All plain data."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from meshwit.ids import PeerId
from meshwit.peer.succession.messages import SuccessionMessage
from meshwit.peer.succession.records import LogId, Term


class Send(msgspec.Struct, frozen=True):
    """Send a message."""

    peer: PeerId
    message: SuccessionMessage


class SendSpec(msgspec.Struct, frozen=True):
    """Send `StandBy` with the specification of a job."""

    peer: PeerId
    job: str
    term: Term


class SendRecords(msgspec.Struct, frozen=True):
    """Send records of a log by `Append`, in as many messages as it takes."""

    peer: PeerId
    job: str
    log: LogId
    first: int
    stop: int


class TakeOver(msgspec.Struct, frozen=True):
    """Lead a job on from its history here: it has gone on for `elapsed` seconds. Answered by `written`.

    Attributes:
        cancelled: its leader had said so: it is only to be ended.
    """

    job: str
    term: Term
    elapsed: float
    cancelled: bool = False


class StepDown(msgspec.Struct, frozen=True):
    """Lead a job no more: by that term another peer does."""

    job: str
    term: Term


class Durable(msgspec.Struct, frozen=True):
    """So many records of the log that this peer writes lie on its disk and at all standbys."""

    job: str
    upto: int


class Finished(msgspec.Struct, frozen=True):
    """A job that this peer leads has ended, and all of it lies on its disk and at all standbys."""

    job: str


class Learned(msgspec.Struct, frozen=True):
    """Records of other logs have come for a job that this peer leads."""

    job: str


class Led(msgspec.Struct, frozen=True):
    """This term of a job is the highest known; `took_over`, if its leader wants to know what workers hold."""

    job: str
    term: Term
    took_over: bool


Effect: TypeAlias = Send | SendSpec | SendRecords | TakeOver | StepDown | Durable | Finished | Learned | Led
