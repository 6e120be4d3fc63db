"""What a job leader asks of its shell, and what it is told. All plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from meshwit.events import JobEvent
from meshwit.ids import PeerId
from meshwit.lang import program as ir
from meshwit.lang.control import Failure
from meshwit.lang.wishes import Path
from meshwit.peer.job.journal import Known
from meshwit.peer.job.steps import StepSettings, TaskFault
from meshwit.peer.sched.estimates import Seen


class PrepareStep(msgspec.Struct, frozen=True):
    """Make a step known to a peer, before its first batch there."""

    peer: PeerId
    step: int
    task: ir.Expression
    captured: list[Any]
    settings: StepSettings
    path: Path = ()
    since: int = 0
    adopted: list[tuple[int, int]] = []
    """Batches that the peer holds already: their numbers with the leader before, and with this one."""


class Assign(msgspec.Struct, frozen=True):
    """Have a peer run these items of a step."""

    peer: PeerId
    step: int
    batch: int
    numbers: Sequence[int]
    items: list[Any]


class AskForItems(msgspec.Struct, frozen=True):
    """Ask a peer for items that it has not begun."""

    peer: PeerId
    step: int
    numbers: Sequence[int]


class DropItems(msgspec.Struct, frozen=True):
    """Tell a peer that items are settled elsewhere."""

    peer: PeerId
    step: int
    numbers: Sequence[int]


class EndStep(msgspec.Struct, frozen=True):
    """Tell a peer that a step is over; with `cancel`, what runs of it is killed."""

    peer: PeerId
    step: int
    cancel: bool


class StepOver(msgspec.Struct, frozen=True):
    """Forget a step; what was seen of its peers is worth keeping.

    Attributes:
        seen: of each peer, how fast it was.
        lengths: of its items relative to each other; empty where that was not noted.
    """

    step: int
    activity: str
    seen: dict[PeerId, Seen]
    items: list[Any] = []
    lengths: list[float] = []


class RunInline(msgspec.Struct, frozen=True):
    """Call an inline activity in this process and answer at once: it asks for the time or for chance."""

    path: Path
    call: ir.Invoke
    arguments: tuple[Any, ...]


class Emit(msgspec.Struct, frozen=True):
    """Tell whoever watches."""

    event: JobEvent


class Deliver(msgspec.Struct, frozen=True):
    """Hand outcomes of a stream to whoever gave the items: of each number its value, or why it has none."""

    outcomes: list[tuple[int, Any | TaskFault]]


class KeepAnswer(msgspec.Struct, frozen=True):
    """Record the answer to a wish: its value, or why it failed. `since` as in `succession.records`."""

    path: Path
    since: int
    known: Known


class KeepResults(msgspec.Struct, frozen=True):
    """Record results of items of a Grid step; all of them came in one report of that peer unless it is empty."""

    path: Path
    since: int
    step: int
    peer: PeerId
    numbers: Sequence[int]
    values: Sequence[Any]


class KeepConcluded(msgspec.Struct, frozen=True):
    """Record that a Grid step has ended; its results have been recorded."""

    path: Path
    since: int
    failure: Failure | None = None


class KeepIntent(msgspec.Struct, frozen=True):
    """Record, so that it outlives this leader, that items which must not run twice go to a peer; answered by
    `JobLeader.intended`, and only then they go."""

    path: Path
    since: int
    step: int
    peer: PeerId
    numbers: Sequence[int]


class KeepSleep(msgspec.Struct, frozen=True):
    """Record that a wait ends `until` seconds after the start of the job."""

    path: Path
    since: int
    until: float


class JobEnded(msgspec.Struct, frozen=True):
    """The job has its outcome."""


Keep: TypeAlias = KeepAnswer | KeepResults | KeepConcluded | KeepIntent | KeepSleep
Effect: TypeAlias = (
    PrepareStep | Assign | AskForItems | DropItems | EndStep | StepOver | RunInline | Emit | Deliver | JobEnded | Keep
)
