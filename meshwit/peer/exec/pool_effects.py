"""What `PoolCore` wants done: one list of these from each of its methods, performed in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from meshwit.peer.exec.messages import TaskFailure


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a worker process in a slot."""

    slot: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End a worker and all that it started, within a second."""

    slot: int


@dataclass(frozen=True, slots=True)
class StopWorker:
    """Ask an idle worker to end."""

    slot: int


@dataclass(frozen=True, slots=True)
class SendPrepare:
    """Send a step's program."""

    slot: int
    step_id: int


@dataclass(frozen=True, slots=True)
class SendRun:
    """Send the items at those positions of a batch."""

    slot: int
    serial: int
    batch_id: int
    step_id: int
    positions: Sequence[int]


@dataclass(frozen=True, slots=True)
class SendRecall:
    """Ask for what is not started of a run."""

    slot: int
    serial: int


@dataclass(frozen=True, slots=True)
class SendFlush:
    """Ask for the results held back."""

    slot: int


@dataclass(frozen=True, slots=True)
class SendRelease:
    """Let the worker forget a step."""

    slot: int
    step_id: int


@dataclass(frozen=True, slots=True)
class Started:
    """Say that a worker begins with a batch: once for each, before its first `Deliver`."""

    batch_id: int


@dataclass(frozen=True, slots=True)
class Finished:
    """Say that nothing is left of a batch, what was open having been dropped."""

    batch_id: int


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand over the results that just came from that slot, for those positions; ``finished``: the batch has no more."""

    batch_id: int
    positions: Sequence[int]
    slot: int
    finished: bool


@dataclass(frozen=True, slots=True)
class Fail:
    """Hand over one failure for all those positions."""

    batch_id: int
    positions: Sequence[int]
    failure: TaskFailure
    slot: int
    finished: bool


@dataclass(frozen=True, slots=True)
class TakenBack:
    """Positions handed back unstarted; ``settled``: no more will be for this request; ``finished``: nothing is left."""

    batch_id: int
    positions: Sequence[int]
    settled: bool
    finished: bool


Effect: TypeAlias = (
    Spawn
    | Kill
    | StopWorker
    | SendPrepare
    | SendRun
    | SendRecall
    | SendFlush
    | SendRelease
    | Started
    | Finished
    | Deliver
    | Fail
    | TakenBack
)
