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
    """

    step: int
    items: Span
    header: bytes
    seconds: bytes
    worker: int = -1
    failures: dict[int, TaskFailure] = {}
    outputs: dict[int, str] = {}
    blobs: list[BlobRef] = []


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


ToPeer: TypeAlias = Open | Assigned | AskBack | Unwanted | Close
ToLeader: TypeAlias = Refused | Granted | Begun | Done | GivenBack | Beat | Died
JobMessage: TypeAlias = ToPeer | ToLeader
