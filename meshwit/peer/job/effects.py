"""What a job leader asks of its shell, and what it is told. All plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from meshwit.events import JobEvent
from meshwit.lang import program as ir
from meshwit.lang.wishes import Path
from meshwit.peer.job.steps import StepSettings


class PrepareStep(msgspec.Struct, frozen=True):
    """Make a step known to the workers."""

    step: int
    task: ir.Expression
    captured: list[Any]
    settings: StepSettings


class Assign(msgspec.Struct, frozen=True):
    """Run these items of a step."""

    step: int
    batch: int
    numbers: Sequence[int]
    items: list[Any]
    exclusive: frozenset[str] = frozenset()


class EndStep(msgspec.Struct, frozen=True):
    """Forget a step; with `cancel`, kill what runs of it."""

    step: int
    cancel: bool


class RunInline(msgspec.Struct, frozen=True):
    """Call an inline activity in this process and answer at once: it asks for the time or for chance."""

    path: Path
    call: ir.Invoke
    arguments: tuple[Any, ...]


class Emit(msgspec.Struct, frozen=True):
    """Tell whoever watches."""

    event: JobEvent


class JobEnded(msgspec.Struct, frozen=True):
    """The job has its outcome."""


Effect: TypeAlias = PrepareStep | Assign | EndStep | RunInline | Emit | JobEnded
