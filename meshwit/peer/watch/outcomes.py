"""What a job came to, as it crosses from one peer to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from meshwit.codec import Buffer, Codec, CodecError
from meshwit.outcome import JobError, Outcome
from meshwit.peer.control.job_script import JobScript
from meshwit.peer.watch.messages import OutcomeTold

_blobs: Final = msgspec.msgpack.Decoder(list[tuple[str, int]])


def outcome_told(key: int, script: JobScript, outcome: Outcome, codec: Codec) -> tuple[OutcomeTold, list[Any]]:
    """The message, and the buffers beside it: those of its values, and the list of their blobs."""
    partial = {name: {str(number): value for number, value in items.items()} for name, items in outcome.partial.items()}
    values = [outcome.variables, outcome.returned, partial, outcome.trace]
    try:
        header, buffers, blobs = codec.encode_with_blobs(values)
    except (CodecError, OSError) as reason:
        return OutcomeTold(key, why=f"the results cannot cross: {reason}"), []
    error = outcome.error
    told = OutcomeTold(
        key, outcome.state, header, error.failure if error is not None else None,
        error.line if error is not None else 0, script.text, script.filename, script.job,
    )  # fmt: skip
    return told, [*buffers, msgspec.msgpack.encode(blobs)]


def outcome_of(told: OutcomeTold, buffers: Sequence[Buffer], codec: Codec) -> Outcome:
    """Its reverse, for what has no `why`. Raises CodecError."""
    values = codec.decode(told.header, buffers[:-1])
    match values:
        case [dict() as variables, list() as returned, dict() as partial, list() as trace]:
            error = None
            if told.failure is not None:
                error = JobError(told.failure.message, told.error_line, told.failure, told.filename)
            return Outcome(told.state, variables, returned, [str(text) for text in trace], error, _numbered(partial))
    raise CodecError("what was sent is no outcome")


def blobs_of(buffers: Sequence[Buffer]) -> list[tuple[str, int]]:
    """The blobs that an outcome refers to, which are to be had of whoever told it. Raises CodecError."""
    try:
        return _blobs.decode(buffers[-1])
    except (IndexError, msgspec.DecodeError, UnicodeDecodeError) as reason:
        raise CodecError(f"what was sent is no outcome: {reason}") from None


def _numbered(partial: dict[str, Any]) -> dict[str, dict[int, Any]]:
    """Maps have texts as keys where values cross. Raises CodecError."""
    try:
        return {name: {int(number): value for number, value in items.items()} for name, items in partial.items()}
    except (AttributeError, ValueError):
        raise CodecError("what was sent is no outcome") from None
