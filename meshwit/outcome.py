"""What a job came to."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from meshwit.lang.control import Failure


class JobState(enum.StrEnum):
    """Where a job stands; equal to its name as a text."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    HELD = "held"


class JobError(msgspec.Struct, frozen=True):
    """Why a job failed.

    Attributes:
        message: what happened.
        line: of the script, counted from 1; 0 where there is none.
        failure: all that is known: activity, item, peer, worker, remote traceback, output.
        filename: of the script.
    """

    message: str
    line: int
    failure: Failure
    filename: str = ""

    def __str__(self) -> str:
        failure = self.failure
        lines = [f"{self.filename}:{self.line}: {self.message}" if self.line else self.message]
        if failure.item is not None:
            lines.append(f"  item {failure.item}: {failure.item_text}")
        where = [f"activity {failure.activity}" if failure.activity else ""]
        where += [f"worker {failure.worker}" if failure.worker is not None else ""]
        where += [f"peer {failure.peer}" if failure.peer else ""]
        if any(where):
            lines.append("  in " + ", ".join(part for part in where if part))
        return "\n".join(lines)


class Outcome(msgspec.Struct, frozen=True):
    """What a job came to.

    Attributes:
        state: `completed`, `failed` or `cancelled`; `held` if the job has stopped with a question, which is its error.
        variables: of the job's outer block, by name; None without a value.
        returned: the values that `Return` sent.
        trace: the texts that `Trace` sent, in order.
        error: why it failed.
        partial: results of Grid steps that did not finish: variable (or line) -> item -> value.
    """

    state: JobState
    variables: dict[str, Any]
    returned: list[Any]
    trace: list[str]
    error: JobError | None = None
    partial: dict[str, dict[int, Any]] = {}
