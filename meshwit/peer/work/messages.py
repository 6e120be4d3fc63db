"""What the leader of a job and a peer that works for it say to each other: the vocabulary of Channel.JOB.

A leader opens a step at a peer, gives it batches, takes some back, and closes the step. The peer says how many slots it
grants, which batches it has begun, and what came of them. All of a step is named by the number that its leader chose;
numbers of two leaders have nothing to do with each other.

Values cross as `meshwit.codec` encodes them: a message's `header` here, the buffers beside the message (`transfer`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec

from meshwit.peer.exec.messages import TaskFailure

ITEMS_MAX: Final = 1_000_000
"""Items that one message may name."""
BlobRef: TypeAlias = tuple[str, int]
"""Hash and size of a blob."""


class Span(msgspec.Struct, frozen=True, array_like=True):
    """Item numbers: `count` from `first` on, or those listed where they do not lie together."""

    first: int = 0
    count: int = 0
    listed: list[int] = []

    @property
    def numbers(self) -> Sequence[int]:
        """The numbers in their order."""
        return self.listed or range(self.first, self.first + self.count)

    @property
    def sane(self) -> bool:
        """Whether it can be meant: a peer may send anything."""
        if len(self.listed) > ITEMS_MAX or min(self.listed, default=0) < 0:
            return False
        return 0 <= self.count <= ITEMS_MAX and self.first >= 0


def span(numbers: Sequence[int]) -> Span:
    """Numbers as they cross."""
    if isinstance(numbers, range) and numbers.step == 1:
        return Span(numbers.start, len(numbers))
    listed = list(numbers)
    if listed and listed[-1] - listed[0] == len(listed) - 1 and listed == list(range(listed[0], listed[-1] + 1)):
        return Span(listed[0], len(listed))
    return Span(listed=listed)


class Open(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A step begins. `header` holds `task`, the call packed by `lang.arrows`, and `captured`, the values that it uses.

    Attributes:
        job: what distinguishes the job among those of its leader; slots are shared out by jobs.
        blobs: that the captured values refer to, and `holders`, who has them.
        roots: folders for activities; only a peer's own jobs are granted any.
        any_function: functions and pickles of any kind may be run; only a peer's own jobs are granted that.
        path: of the step in its job, the same for every leader of it.
        epoch: of the leader, with its `rank`; 0 where the job ends with its leader.
        since: how many answers the leader had recorded when it wished for the step: what the step rests on.
        adopted: batches that the peer held for the leader before: their numbers then, and now.
        shared: buffers that are not beside the message: by their place among all, the blobs that hold their bytes.
        software: versions of packages, by name, with which alone the task may run.
    """

    step: int
    job: str
    header: bytes
    priority: int = 0
    one_at_a_time: bool = False
    exclusive: list[str] = []
    once: bool = False
    timeout_s: float | None = None
    memory_max_bytes: int | None = None
    blobs: list[BlobRef] = []
    holders: list[str] = []
    roots: list[str] = []
    any_function: bool = False
    path: tuple[int, ...] = ()
    epoch: int = 0
    rank: int = 0
    since: int = 0
    adopted: list[tuple[int, int]] = []
    shared: dict[int, BlobRef] = {}
    software: dict[str, str] = {}

    @property
    def needed(self) -> list[BlobRef]:
        """All blobs that must be here before a task can run."""
        return [*self.blobs, *self.shared.values()]


class Assigned(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Run these items, in this order, after the batches that came before. `header` is the list of them."""

    step: int
    batch: int
    items: Span
    header: bytes
    blobs: list[BlobRef] = []
    holders: list[str] = []


class AskBack(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Give back those of these items that you have not begun; answered by one `GivenBack`."""

    step: int
    items: Span


class Unwanted(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """These items are settled elsewhere."""

    step: int
    items: Span


class Close(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Forget the step; with `cancel`, kill what runs of it."""

    step: int
    cancel: bool = False


class Durable(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """The first `upto` `Done` that the peer sent of the step outlive this leader: they need not be kept any longer."""

    step: int
    upto: int


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """The step does not run here, and why."""

    step: int
    why: str


class Granted(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """So many slots are the step's until this changes."""

    step: int
    slots: int


class Begun(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """Worker processes began with these batches."""

    step: int
    batches: list[int]


class Done(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """What came of some items. `header` is the list of their values, empty where all failed without one.

    Attributes:
        seconds: float32 wall time of each.
        failures: by item number.
        outputs: what they printed, by item number.
        blobs: that the values refer to; this peer has them.
        number: counts the messages of this kind of the step from 1, where they are kept until they are `Durable`.
    """

    step: int
    items: Span
    header: bytes
    seconds: bytes
    worker: int = -1
    failures: dict[int, TaskFailure] = {}
    outputs: dict[int, str] = {}
    blobs: list[BlobRef] = []
    number: int = 0


class GivenBack(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """The answer to `AskBack`: these had not begun and are the leader's again."""

    step: int
    items: Span


class Beat(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """This peer lives and is at work for you."""


class Died(msgspec.Struct, frozen=True, array_like=True, tag=17):
    """A worker process that ran the step died."""

    step: int
    worker: int
    cause: str


class HeldBatch(msgspec.Struct, frozen=True, array_like=True):
    """A batch of a leader that is gone, with its number there; `begun`, if a worker process has it."""

    batch: int
    items: Span
    begun: bool


class Held(msgspec.Struct, frozen=True, array_like=True, tag=18):
    """To whoever took a job over: of one of its steps, this is still under way here. The `leader` that it was given
    by, its epoch and `since` say on what it rests."""

    job: str
    path: tuple[int, ...]
    batches: list[HeldBatch]
    epoch: int = 0
    leader: str = ""
    since: int = 0


class Redone(msgspec.Struct, frozen=True, array_like=True, tag=19):
    """To whoever took a job over: results of one of its steps that may not have outlived the leader before.
    The `leader` that they were computed for, its epoch and `since` say on what they rest."""

    job: str
    path: tuple[int, ...]
    items: Span
    header: bytes
    blobs: list[BlobRef] = []
    epoch: int = 0
    leader: str = ""
    since: int = 0


class Ready(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """To whoever took a job over: all `Held` and `Redone` of it have been sent."""

    job: str
    epoch: int


ToPeer: TypeAlias = Open | Assigned | AskBack | Unwanted | Close | Durable
ToLeader: TypeAlias = Refused | Granted | Begun | Done | GivenBack | Beat | Died
ToSuccessor: TypeAlias = Held | Redone | Ready
JobMessage: TypeAlias = ToPeer | ToLeader | ToSuccessor
