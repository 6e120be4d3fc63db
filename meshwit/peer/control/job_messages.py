"""What crosses the WebSocket of a job, as MessagePack: its start, its events, its outcome.

The client speaks first: `Submit`, `Attach` or `Plan`. A job is answered with `Accepted`, then told by `Happened` as it
goes, and ends with its outcome: `Piece`s, then `Ended`; or with `Refused` where nobody has its outcome any more. Large
values are cut into pieces, so that no outcome is too large for a message. Whoever closes the connection before that is
told no more; the job goes on.

A stream begins with `OpenStream`; then `Items` go one way and `Outcomes` the other, until after `CloseStream` all have
theirs and `StreamEnded` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from meshwit.codec import Codec, CodecError
from meshwit.events import JobEvent
from meshwit.lang.diagnostics import Diagnostic
from meshwit.lang.text import short_text
from meshwit.outcome import JobError, JobState, Outcome
from meshwit.peer.control.job_script import JobScript
from meshwit.peer.job.steps import TaskFault

MESSAGE_BYTES_MAX: Final = 256 * 1024 * 1024
PIECE_BYTES: Final = 4 * 1024 * 1024
TEXT_CHARS: Final = 200
"""Of a value that only its text stands for."""

RETURNED: Final = "returned"
"""Stands for what `Return` sent, where results are asked for by name."""
UNACKNOWLEDGED_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of a stream's items; one message may exceed it."""

Refusal = Literal["peer", "script", "parameter"]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it is to be led.

    Attributes:
        text: of the script; `filename` is what messages call it.
        job: its name in the script.
        arguments: the list of the values of its parameters, encoded; blobs in it are in the user's blob store.
        buffers: of the arguments.
        roots: absolute paths of the folders that activities may read and write.
        time_limit_s: for one item.
        memory_max_bytes: for one worker process.
    """

    text: str
    filename: str
    job: str
    arguments: bytes
    buffers: list[bytes] = []
    roots: list[str] = []
    time_limit_s: float | None = None
    memory_max_bytes: int | None = None


class Submit(Asked, frozen=True, kw_only=True, tag="submit"):
    """Lead this job.

    Attributes:
        keep_s: how long its outcome is kept after its end.
        standbys: how many peers stand by to lead it on.
        only: see `wanted`.
    """

    keep_s: float = 86400.0
    standbys: int = 2
    only: list[str] | None = None


class Attach(msgspec.Struct, frozen=True, kw_only=True, tag="attach"):
    """Tell of this job of the mesh from now on, by its whole id; `only` as `wanted` has it. First message."""

    job: str
    only: list[str] | None = None


class Plan(Asked, frozen=True, kw_only=True, tag="plan"):
    """Say how this job would be shared out; nothing is run."""


class Pause(msgspec.Struct, frozen=True, tag="pause"):
    """Start no new task."""


class Resume(msgspec.Struct, frozen=True, tag="resume"):
    """Start tasks again."""


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """End the job; its outcome is still told."""


class OpenStream(msgspec.Struct, frozen=True, kw_only=True, tag="open_stream"):
    """Lead a stream: the call of one activity for items that follow. First message; `Accepted` or `Refused` answers.

    Attributes:
        activity: its name.
        arguments: how many parts each item has for the activity's arguments, see `lang.item_calls`.
        requires: of the peers.
        retries: of a failed task.
    """

    activity: str
    arguments: int | None = None
    requires: str = ""
    retries: int = 0


class Items(msgspec.Struct, frozen=True, tag="items"):
    """A list of items, encoded; they are numbered from `first` on, one after another over all messages.

    While more than `UNACKNOWLEDGED_BYTES_MAX` of items have no outcome, none may be sent.
    """

    first: int
    header: bytes
    buffers: list[memoryview] = []


class CloseStream(msgspec.Struct, frozen=True, tag="close_stream"):
    """No more items will come."""


ToPeer: TypeAlias = Submit | Attach | Plan | Pause | Resume | Cancel | OpenStream | Items | CloseStream


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """The job is led; of a stream, `slots` tasks of it may run at the same time. `script` is told for `Attach`."""

    job_id: str
    slots: int = 0
    script: JobScript | None = None


class NotDone(msgspec.Struct, frozen=True, tag="not_done"):
    """`Pause`, `Resume` or `Cancel` was not done, and why; the job goes on."""

    message: str
    hint: str = ""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """It is not: the peer cannot, the script has errors (`diagnostics`), or a parameter is wrong. Of a job that was
    accepted: its outcome cannot be had. Last message."""

    message: str
    hint: str = ""
    diagnostics: list[Diagnostic] = []
    reason: Refusal = "peer"


class Planned(msgspec.Struct, frozen=True, tag="planned"):
    """How it would be shared out, for people. Last message."""

    lines: list[str]


class Happened(msgspec.Struct, frozen=True, tag="happened"):
    """An event, encoded by itself: a client that does not know it passes it over."""

    event: msgspec.Raw


class Piece(msgspec.Struct, frozen=True, tag="piece"):
    """A part of the outcome's values: of their header first, then of each buffer; `last` ends one of them."""

    data: memoryview
    last: bool


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The job came to this, with the values of the pieces before. Last message."""

    state: JobState
    trace: list[str]
    error: JobError | None = None


class Outcomes(msgspec.Struct, frozen=True, tag="outcomes"):
    """What became of items of a stream: the list of their values, None where one failed, and why that was."""

    numbers: list[int]
    header: bytes
    buffers: list[memoryview] = []
    failures: dict[int, TaskFault] = {}
    slots: int = 0


class StreamEnded(msgspec.Struct, frozen=True, tag="stream_ended"):
    """No more outcomes will come; why, where items have none. Last message."""

    why: str = ""


ToClient: TypeAlias = Accepted | NotDone | Refused | Planned | Happened | Piece | Ended | Outcomes | StreamEnded

_ENCODER: Final = msgspec.msgpack.Encoder()
_TO_PEER: Final[msgspec.msgpack.Decoder[Any]] = msgspec.msgpack.Decoder(ToPeer)
_TO_CLIENT: Final[msgspec.msgpack.Decoder[Any]] = msgspec.msgpack.Decoder(ToClient)
_EVENT: Final[msgspec.msgpack.Decoder[JobEvent]] = msgspec.msgpack.Decoder(JobEvent)


def encode(message: ToPeer | ToClient | JobEvent) -> bytes:
    """The message as bytes. What is no Unicode in its texts becomes `?`: activities print whatever they like."""
    try:
        return _ENCODER.encode(message)
    except UnicodeEncodeError:
        return _ENCODER.encode(_printable(msgspec.to_builtins(message, builtin_types=(bytes, memoryview))))


def _printable(value: Any) -> Any:
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case list() | tuple():
            return [_printable(each) for each in value]
        case dict():
            return {_printable(key): _printable(each) for key, each in value.items()}
    return value


def decode_to_peer(data: bytes) -> ToPeer:
    """What a client says. Raises ValueError."""
    message: ToPeer = _decoded(_TO_PEER, data)
    return message


def decode_to_client(data: bytes) -> ToClient:
    """What a peer says. Raises ValueError."""
    message: ToClient = _decoded(_TO_CLIENT, data)
    return message


def _decoded(decoder: msgspec.msgpack.Decoder[Any], data: bytes) -> Any:
    try:
        return decoder.decode(data)
    except RecursionError:
        raise ValueError("the message is nested too deeply") from None


def happened(event: JobEvent) -> bytes:
    """An event as a message."""
    return encode(Happened(msgspec.Raw(encode(event))))


def event_of(message: Happened) -> JobEvent | None:
    """The event; None for one that this version does not know."""
    return decode_event(message.event)


def decode_event(data: bytes | msgspec.Raw) -> JobEvent | None:
    """An event that `encode` gave; None for one that this version does not know."""
    try:
        return _EVENT.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


# --- outcomes ----------------------------------------------------------------------------------------------------


def wanted(outcome: Outcome, only: Sequence[str] | None) -> Outcome:
    """The outcome with no other values than those of these names, `RETURNED` among them; with all for None."""
    if only is None:
        return outcome
    return msgspec.structs.replace(
        outcome,
        variables={name: value for name, value in outcome.variables.items() if name in only},
        returned=outcome.returned if RETURNED in only else [],
        partial={name: items for name, items in outcome.partial.items() if name in only},
    )


def outcome_messages(outcome: Outcome, codec: Codec) -> Iterator[bytes]:
    """An outcome as messages. A value that cannot cross is told as its text, as it is where results are written."""
    partial = {name: {str(number): value for number, value in items.items()} for name, items in outcome.partial.items()}
    values = {"variables": outcome.variables, "returned": outcome.returned, "partial": partial}
    try:
        header, buffers = codec.encode(values)
    except CodecError:
        header, buffers = codec.encode(
            {
                "variables": {name: _crossing(value, codec) for name, value in outcome.variables.items()},
                "returned": [_crossing(value, codec) for value in outcome.returned],
                "partial": {
                    name: {number: _crossing(value, codec) for number, value in items.items()}
                    for name, items in partial.items()
                },
            }
        )
    for block in (memoryview(header), *buffers):
        for at in range(0, max(block.nbytes, 1), PIECE_BYTES):
            yield encode(Piece(block[at : at + PIECE_BYTES], at + PIECE_BYTES >= block.nbytes))
    yield encode(Ended(outcome.state, outcome.trace, outcome.error))


def _crossing(value: Any, codec: Codec) -> Any:
    try:
        codec.encode(value)
    except CodecError:
        return short_text(value, TEXT_CHARS)
    return value


def outcome_of(ended: Ended, blocks: Sequence[bytes | bytearray], codec: Codec) -> Outcome:
    """The outcome that was told. Raises CodecError."""
    if not blocks:
        raise CodecError("the values of the outcome did not arrive")
    values = codec.decode(blocks[0], blocks[1:])
    try:
        partial = {name: {int(n): value for n, value in items.items()} for name, items in values["partial"].items()}
        return Outcome(
            ended.state, dict(values["variables"]), list(values["returned"]), ended.trace, ended.error, partial
        )
    except (LookupError, TypeError, ValueError, AttributeError) as reason:
        raise CodecError(f"what arrived is no outcome: {reason}") from None
