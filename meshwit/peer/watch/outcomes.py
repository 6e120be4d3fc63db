"""What a job came to, as it crosses from one peer to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meshwit.codec import Buffer, Codec, CodecError
from meshwit.outcome import JobError, Outcome
from meshwit.peer.control.job_script import JobScript
from meshwit.peer.watch.messages import OutcomeTold


def outcome_told(key: int, script: JobScript, outcome: Outcome, codec: Codec) -> tuple[OutcomeTold, list[Any]]:
    """The message, and the buffers beside it."""
    partial = {name: {str(number): value for number, value in items.items()} for name, items in outcome.partial.items()}
    values = [outcome.variables, outcome.returned, partial]
    try:
        header, buffers, blobs = codec.encode_with_blobs(values)
    except (CodecError, OSError) as reason:
        return OutcomeTold(key, why=f"the results cannot cross: {reason}"), []
    error = outcome.error
    told = OutcomeTold(
        key, outcome.state, header, list(blobs), outcome.trace, error.failure if error is not None else None,
        error.line if error is not None else 0, script.text, script.filename, script.job,
    )  # fmt: skip
    return told, list(buffers)


def outcome_of(told: OutcomeTold, buffers: Sequence[Buffer], codec: Codec) -> Outcome:
    """Its reverse. Raises CodecError."""
    values = codec.decode(told.header, buffers)
    match values:
        case [dict() as variables, list() as returned, dict() as partial]:
            error = None
            if told.failure is not None:
                error = JobError(told.failure.message, told.error_line, told.failure, told.filename)
            return Outcome(told.state, variables, returned, told.trace, error, _numbered(partial))
    raise CodecError("what was sent is no outcome")


def _numbered(partial: dict[str, Any]) -> dict[str, dict[int, Any]]:
    """Maps have texts as keys where values cross. Raises CodecError."""
    try:
        return {name: {int(number): value for number, value in items.items()} for name, items in partial.items()}
    except (AttributeError, ValueError):
        raise CodecError("what was sent is no outcome") from None
