"""What peers say to each other about jobs that one of them leads, or has kept, and the other one's owner asks about.

Every question has a key, that its answers carry. Events cross as the control API tells them, so that a peer which does
not know one can pass it on.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from meshwit.lang.control import Failure
from meshwit.outcome import JobState

EVENTS_MAX: Final = 1024
"""Of one message; beyond EVENTS_BYTES bytes the next begins."""
EVENTS_BYTES: Final = 256 * 1024
EVENT_BYTES_MAX: Final = 1024 * 1024
"""A longer one, a text of that length, is not told: the outcome has it."""
LINES_MAX: Final = 10_000


class AskJobs(msgspec.Struct, frozen=True, array_like=True, tag=61):
    """Which jobs do you lead, or keep, that a person may mean who says `like`? Answered by `JobsTold`."""

    key: int
    like: str = ""


class JobsTold(msgspec.Struct, frozen=True, array_like=True, tag=62):
    """`header` is the list of them, as `control.api.JobView`."""

    key: int
    header: bytes


class Watch(msgspec.Struct, frozen=True, array_like=True, tag=63):
    """Tell me of a job from now on, until `Unwatch` or its outcome; answered by `Watched`, or at once by
    `OutcomeTold`."""

    key: int
    job: str


class Watched(msgspec.Struct, frozen=True, array_like=True, tag=64):
    """The sender leads it: events follow, then the outcome. What it runs is told with it."""

    key: int
    text: str
    filename: str
    name: str


class Told(msgspec.Struct, frozen=True, array_like=True, tag=65):
    """Events of a job, each encoded by itself."""

    key: int
    events: list[bytes]


class OutcomeTold(msgspec.Struct, frozen=True, array_like=True, tag=66):
    """What a job came to: `header` is the list of variables, returned values, partial results and traces; its buffers
    are beside, and last the list of the blobs that it refers to, which are to be had of the sender. Or `why` there is
    none here.

    Attributes:
        error_line: of the script, and `error_file`, where there is a `failure`.
    """

    key: int
    state: JobState = JobState.RUNNING
    header: bytes = b""
    failure: Failure | None = None
    error_line: int = 0
    text: str = ""
    filename: str = ""
    name: str = ""
    why: str = ""


class Unwatch(msgspec.Struct, frozen=True, array_like=True, tag=67):
    """Tell me no more."""

    key: int


class Steer(msgspec.Struct, frozen=True, array_like=True, tag=68):
    """Do that with a job: `pause`, `resume`, `cancel`. Answered by `Answered`."""

    key: int
    job: str
    what: str


class AskWhy(msgspec.Struct, frozen=True, array_like=True, tag=69):
    """Why is a job, or one item of it (-1: none), where it is? Answered by `Answered`."""

    key: int
    job: str
    item: int


class Answered(msgspec.Struct, frozen=True, array_like=True, tag=70):
    """It is done, or these lines are the answer; or why not, with a hint."""

    key: int
    lines: list[str] = []
    why: str = ""
    hint: str = ""


WatchMessage: TypeAlias = (
    AskJobs | JobsTold | Watch | Watched | Told | OutcomeTold | Unwatch | Steer | AskWhy | Answered
)
