"""The event stream of a job: what happened, as past participles. The command line, Python and the dashboard read it.

Every event says when (`at`, seconds since the job started). Values stand in events as text; results are in the
outcome.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from meshwit.lang.control import Failure


class Event(msgspec.Struct, frozen=True, tag_field="event", kw_only=True):
    """One thing that happened to a job."""

    at: float


class JobStarted(Event, frozen=True, tag="started"):
    """The job began. `job` is its name in the script, `workers` how many worker processes it may use."""

    job: str
    workers: int


class StatementReached(Event, frozen=True, tag="statement"):
    """A statement that asks for work, waits or traces was reached; `line` counts from 1."""

    line: int
    text: str


class Traced(Event, frozen=True, tag="trace"):
    """`Trace` sent a text."""

    text: str
    line: int


class StepStarted(Event, frozen=True, tag="step"):
    """A Grid step began: `step` numbers it within the job, `activity` is what is applied to `total` items."""

    step: int
    activity: str
    line: int
    total: int


class Progressed(Event, frozen=True, tag="progress"):
    """How far a Grid step is; at most ten times a second, and once at its end.

    Attributes:
        done: items finished, `failed` of them skipped with an error.
        rate: items per second, lately; 0 until known.
        peers: items finished by the name of the peer that ran them.
        remaining_s: the estimate of what is left, with a range that holds it 9 times in 10; None until known.
    """

    step: int
    done: int
    failed: int
    total: int
    rate: float
    remaining_s: float | None = None
    remaining_low_s: float | None = None
    remaining_high_s: float | None = None
    peers: dict[str, int] = {}


class PeersLeftOut(Event, frozen=True, tag="left-out"):
    """These peers do not work for a Grid step: the reason by name."""

    activity: str
    peers: dict[str, str]


class Lane(msgspec.Struct, frozen=True):
    """What one worker process does: `state` is `idle`, `running` or `starting`; `item` is being computed."""

    worker: int
    state: str
    activity: str = ""
    item: int | None = None
    tasks_done: int = 0
    busy_s: float = 0.0


class LanesChanged(Event, frozen=True, tag="lanes"):
    """What the worker processes do; at most ten times a second."""

    lanes: tuple[Lane, ...]


class Printed(Event, frozen=True, tag="output"):
    """An activity printed something, perhaps shortened."""

    activity: str
    item: int | None
    worker: int
    text: str
    peer: str = ""


class ItemFailed(Event, frozen=True, tag="item-failed"):
    """An item of a Grid step failed; with `retried` it runs again, otherwise it is skipped or ends the step."""

    failure: Failure
    retried: bool


class WorkerDied(Event, frozen=True, tag="worker-died"):
    """A worker process died; `cause` in words. It is replaced."""

    worker: int
    cause: str
    peer: str = ""


class Waited(Event, frozen=True, tag="wait"):
    """The script waits for `duration_ms`; `text` says why."""

    duration_ms: int
    text: str


class Returned(Event, frozen=True, tag="returned"):
    """`Return` sent these values, as text."""

    values: tuple[str, ...]


class LeaderChanged(Event, frozen=True, tag="leader"):
    """Another peer leads the job from now on, `leader` by name. Steps that have not ended are told anew."""

    leader: str


class Paused(Event, frozen=True, tag="paused"):
    """No new task starts until `Resumed`."""


class Resumed(Event, frozen=True, tag="resumed"):
    """Tasks start again."""


class Cancelled(Event, frozen=True, tag="cancelled"):
    """The job was cancelled; last event."""


class JobFailed(Event, frozen=True, tag="failed"):
    """The job failed; last event."""

    failure: Failure


class JobHeld(Event, frozen=True, tag="held"):
    """The job has stopped with a question, which is its failure; last event until it is resumed."""

    failure: Failure


class Completed(Event, frozen=True, tag="completed"):
    """The job ended well; last event."""


JobEvent: TypeAlias = (
    JobStarted
    | StatementReached
    | Traced
    | StepStarted
    | Progressed
    | LanesChanged
    | PeersLeftOut
    | Printed
    | ItemFailed
    | WorkerDied
    | Waited
    | Returned
    | LeaderChanged
    | Paused
    | Resumed
    | Cancelled
    | JobFailed
    | JobHeld
    | Completed
)
