"""What a pool and its worker processes say to each other: the vocabulary, and how a message becomes bytes.

Pool to worker: `Prepare` a step, `Run` some of its items, `Recall` those not started, `Flush` what is finished,
`Release` a step, `Stop`. Worker to pool: `Ready`, `Results`, `Recalled`. Both: `Freed` segments.

Values cross as `Encoded`; a worker never learns item numbers, it counts positions within the run.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec


class SegmentRef(msgspec.Struct, frozen=True, array_like=True):
    """Bytes ``offset`` to ``offset + size`` of the segment file ``name``."""

    name: str
    offset: int
    size: int


Place: TypeAlias = int | SegmentRef
"""Where a buffer is: in this frame behind the message (its size in bytes), or in a segment."""


class Encoded(msgspec.Struct, frozen=True, array_like=True):
    """A value by `meshwit.codec`: its header, and where its buffers are, in order."""

    header: bytes
    places: list[Place] = []


FailureKind: TypeAlias = Literal["raised", "unencodable", "unloadable", "killed", "timeout", "memory", "unstartable"]


class TaskFailure(msgspec.Struct, frozen=True, array_like=True):
    """Why an item has no value.

    Attributes:
        kind: ``raised`` by the activity; item or value ``unencodable``; step ``unloadable``; the worker ``killed``
            twice by it; over its ``timeout`` or ``memory`` limit; ``unstartable`` workers.
        type: qualified name of the exception, empty where there was none.
        message: in words, for people.
        traceback: last lines, frames of the activity only; may be empty.
    """

    kind: FailureKind
    type: str
    message: str
    traceback: str = ""


class Prepare(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The program of a step; loaded when it arrives, and kept until `Release`."""

    step: int
    program: Encoded


class Run(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Run ``count`` items (a list) through the program of ``step``. ``serial`` is never used twice by a pool."""

    serial: int
    step: int
    count: int
    items: Encoded


class Recall(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Give back what is not started of a run; answered by `Recalled`, also while a task runs."""

    serial: int


class Flush(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Send the results held back so far; also while a task runs."""


class Release(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Forget the program of a step."""

    step: int


class Stop(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """End after the runs already given."""


class Freed(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Nobody on this side looks at these segments of yours any more."""

    names: list[str]


class Ready(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """The worker has started."""

    pid: int
    versions: dict[str, str]


class Results(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """Outcomes of positions ``first`` to ``first + count - 1`` of a run.

    Attributes:
        values: a list, None where the position failed.
        seconds: float32 wall time of each.
        failures: by position in the run.
        outputs: what was printed, by position in the run; absent where nothing was.
        finished: no more will come for this run; positions beyond were recalled.
        blobs: hash and size of those that the values refer to.
    """

    serial: int
    first: int
    count: int
    values: Encoded
    seconds: bytes
    failures: dict[int, TaskFailure] = {}
    outputs: dict[int, str] = {}
    finished: bool = False
    blobs: list[tuple[str, int]] = []


class Recalled(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """Positions from ``first`` on were not started and never will be; its size if all were."""

    serial: int
    first: int


ToWorker: TypeAlias = Prepare | Run | Recall | Flush | Release | Stop | Freed
FromWorker: TypeAlias = Ready | Results | Recalled | Freed

_encoder: Final = msgspec.msgpack.Encoder()
_to_worker: Final[msgspec.msgpack.Decoder[ToWorker]] = msgspec.msgpack.Decoder(ToWorker)
_from_worker: Final[msgspec.msgpack.Decoder[FromWorker]] = msgspec.msgpack.Decoder(FromWorker)


def write_message(message: ToWorker | FromWorker) -> bytes:
    """Return the message as bytes."""
    return _encoder.encode(message)


def read_to_worker(data: bytes | memoryview) -> ToWorker:
    """Return a message to a worker. Raises `msgspec.MsgspecError`."""
    return _to_worker.decode(data)


def read_from_worker(data: bytes | memoryview) -> FromWorker:
    """Return a message from a worker. Raises `msgspec.MsgspecError`."""
    return _from_worker.decode(data)
