"""What is recorded of a job: the records of its logs, as they lie on disk and cross to standbys. Core.

Each leader of a job writes one log, under its epoch and its id, in order; nobody else ever adds to it. So what a peer
holds of a log is a prefix, a job's history is the union of its logs, and two copies of it merge by exchanging what each
lacks: in any order, as often as one likes (a grow-only set; Shapiro et al., "Conflict-free replicated data types", SSS
2011). What a history means is decided when it is read (`history`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec

from meshwit.codec import Buffer
from meshwit.ids import PeerId
from meshwit.lang.control import Failure
from meshwit.lang.wishes import Path
from meshwit.outcome import JobState
from meshwit.peer.work.messages import BlobRef, Span

LogId: TypeAlias = tuple[int, PeerId]
"""Epoch and leader."""
Versions: TypeAlias = dict[LogId, int]
"""How many records of each log."""
RECORD_BYTES_MAX: Final = 64 * 1024 * 1024
"""A chunk of results is closed when it holds so many bytes; a single larger value makes a larger one."""


class Term(msgspec.Struct, frozen=True, order=True, array_like=True):
    """Who leads a job, since when: of two that both say they lead it, the higher one does."""

    epoch: int
    rank: int
    leader: PeerId

    @property
    def log(self) -> LogId:
        """The log that it writes."""
        return self.epoch, self.leader


class Content(msgspec.Struct, frozen=True, array_like=True):
    """A value as `meshwit.codec` encodes it: its header here, `buffers` of so many bytes each beside the record."""

    header: bytes
    sizes: list[int] = []
    blobs: list[BlobRef] = []


_NOTHING: Final = Content(b"")


class Part(msgspec.Struct, frozen=True, array_like=True):
    """Results of items that came together: `content` is the list of their values."""

    items: Span
    content: Content


class Began(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The first record of a log: what its leader had of the others when it began. Nothing of them beyond counts
    for it, unless it would have come to the same (`history`)."""

    basis: list[tuple[int, PeerId, int]] = []
    rank: int = 0


class Answered(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A call, a wait or a question to the leader's own process has its answer: a value, or a failure.

    Attributes:
        since: how many answers this log had when the wish was made.
    """

    path: Path
    since: int
    content: Content | None = None
    failure: Failure | None = None


class Results(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A chunk of results of items of a Grid step."""

    path: Path
    since: int
    parts: list[Part]


class Concluded(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """A Grid step has ended: its answer are the results recorded, none for items without; or it failed."""

    path: Path
    since: int
    failure: Failure | None = None


class Intended(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Items that must not run twice are about to be given to a peer, by name."""

    path: Path
    since: int
    items: Span
    peer: str


class Slept(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """A wait has begun, that ends `until` seconds after the start of the job."""

    path: Path
    since: int
    until: float


class Decided(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """A person said what becomes of intended items of which nobody knows whether they ran: they run again, or fail."""

    path: Path
    items: Span
    again: bool


class Paused(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """The job was paused, or goes on: whoever leads it next does not begin what was stopped."""

    paused: bool


class Over(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The job has its outcome; its values follow from the history."""

    state: JobState
    ended_at: float
    failure: Failure | None = None


Body: TypeAlias = Began | Answered | Results | Concluded | Intended | Slept | Decided | Paused | Over


class Record(msgspec.Struct, frozen=True):
    """A record with the buffers of its contents, in their order."""

    body: Body
    buffers: Sequence[Buffer] = ()

    @property
    def blobs(self) -> list[BlobRef]:
        """The blobs that its values refer to."""
        match self.body:
            case Answered(content=Content(blobs=blobs)):
                return blobs
            case Results(parts=parts):
                return [blob for part in parts for blob in part.content.blobs]
        return []


class JobSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it was submitted: all that a peer needs to lead it, besides its history.

    Attributes:
        id: tells it from all other jobs of the mesh.
        text: of the script; `filename` is what messages call it.
        name: of the job in its script.
        arguments: the list of the values of its parameters; its buffers lie beside.
        submitter: the peer that was asked to run it, and what it is called.
        started_at: seconds since 1970.
        keep_s: how long its results are kept after its end.
        standbys: how many peers stand by.
        software: versions of packages, by name, with which alone it may be led on.
    """

    id: str
    text: str
    filename: str
    name: str
    arguments: Content
    submitter: PeerId
    submitter_name: str
    started_at: float
    time_limit_s: float | None = None
    memory_max_bytes: int | None = None
    keep_s: float = 86_400.0
    standbys: int = 2
    software: dict[str, str] | None = None

    @property
    def listed(self) -> JobSpec:
        """Without script and arguments: what is held in memory of a job that is over. Texts that many jobs have in
        common are held once."""
        blobs = self.arguments.blobs
        return msgspec.structs.replace(
            self, text="", software=None, arguments=Content(b"", [], blobs) if blobs else _NOTHING,
            filename=sys.intern(self.filename), name=sys.intern(self.name),
            submitter=PeerId(sys.intern(self.submitter)), submitter_name=sys.intern(self.submitter_name),
        )  # fmt: skip


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Body)
_spec_decoder: Final = msgspec.msgpack.Decoder(JobSpec)


def encode_body(body: Body) -> bytes:
    """A record's body as it lies on disk and crosses."""
    return _encoder.encode(body)


def decode_body(data: Buffer) -> Body:
    """Its reverse. Raises ValueError for what is none."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"no record: {error}") from None


def encode_spec(spec: JobSpec) -> bytes:
    """A job's specification as it lies on disk and crosses."""
    return _encoder.encode(spec)


def decode_spec(data: Buffer) -> JobSpec:
    """Its reverse. Raises ValueError for what is none."""
    try:
        return _spec_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"no job: {error}") from None
