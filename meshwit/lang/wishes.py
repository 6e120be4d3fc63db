"""What a running job asks for: wishes, each with the path at which it stands.

A path is the chain of sites and counters that leads to a call: the same on every replay, whatever happened meanwhile.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from meshwit.lang import program as ir
from meshwit.lang.control import Failed, Failure
from meshwit.lang.tree import Span

Path: TypeAlias = tuple[int, ...]


class CallWish(msgspec.Struct, frozen=True):
    """Run one activity with these arguments."""

    path: Path
    call: ir.Invoke
    arguments: tuple[Any, ...]
    span: Span


class StepWish(msgspec.Struct, frozen=True):
    """Apply a task to every item, anywhere; answered with the list of results in order."""

    path: Path
    task: ir.Expression
    items: list[Any]
    captured: list[Any]
    options: Any
    type: str
    """The script type of the list of results."""
    span: Span


class SleepWish(msgspec.Struct, frozen=True):
    """Wait so long; with `since`, counted from the end of the wish of that path."""

    path: Path
    duration_ms: int
    text: str
    since: Path | None
    span: Span


class Tracing(msgspec.Struct, frozen=True):
    """A text for the watcher; not answered. A replay sends it again under the same path."""

    path: Path
    text: str
    span: Span


class Withdrawal(msgspec.Struct, frozen=True):
    """The wish of that path is no longer needed: do not answer it."""

    path: Path


Wish: TypeAlias = CallWish | StepWish | SleepWish
Request: TypeAlias = Wish | Tracing | Withdrawal


class Leaving(BaseException):
    """`Return` unwinds the job with its values."""

    def __init__(self, values: tuple[Any, ...]) -> None:
        super().__init__()
        self.values = values


class Exceeded(BaseException):
    """A limit of the job was reached; not to be caught by `Try`."""

    def __init__(self, message: str, span: Span) -> None:
        super().__init__(message)
        self.failure = Failure(message, span)


def failed_at(span: Span, message: str, activity: str = "") -> Failed:
    """A failure at a place of the script."""
    return Failed(Failure(message, span, activity))
