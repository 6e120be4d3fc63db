"""ProcessingOptions: how a Grid step is to be spread."""

from __future__ import annotations

import operator
from typing import Any

import msgspec

from meshwit.bench.requirements import parse_requirement
from meshwit.bench.sizes import parse_size
from meshwit.codec import WireType
from meshwit.lang.findings import did_you_mean
from meshwit.lang.types import Member, ScriptType, describe

STRATEGIES = ("Adaptive", "Queued", "Balanced")
ON_ERROR = ("Fail", "Skip")


class ProcessingOptions(msgspec.Struct, frozen=True, rename="pascal"):
    """How a Grid step is to be spread.

    Attributes:
        strategy: `Adaptive`, `Queued` or `Balanced`.
        max_clients: at most so many peers; 0 for all.
        can_run_in_parallel_on_client: whether one peer may run several tasks at a time.
        retries: how often a task that failed is tried again, elsewhere where possible.
        requires: capability expression that a peer must meet; empty for any.
        on_error: `Fail` ends the step, `Skip` gives NULL for the item.
        priority: jobs and steps of higher priority get slots first; 0 is usual.
        time_limit: seconds that one task may take; 0 for no limit.
        memory_limit: bytes that the worker process of a task may use; 0 for the device's own limit.
    """

    strategy: str = "Adaptive"
    max_clients: int = 0
    can_run_in_parallel_on_client: bool = True
    retries: int = 0
    requires: str = ""
    on_error: str = "Fail"
    priority: int = 0
    time_limit: float = 0.0
    memory_limit: int = 0

    def __post_init__(self) -> None:
        parse_requirement(self.requires)

    def __str__(self) -> str:
        given = msgspec.to_builtins(self)
        plain = msgspec.to_builtins(ProcessingOptions())
        return "ProcessingOptions(" + ", ".join(f"{k}: {v}" for k, v in given.items() if v != plain[k]) + ")"


def make_options(**given: Any) -> ProcessingOptions:
    """Options from the named fields that scripts write. Raises ValueError with the reason."""
    if given.get("Strategy") not in (None, *STRATEGIES):
        raise ValueError(_unknown("strategy", given["Strategy"], STRATEGIES))
    if given.get("OnError") not in (None, *ON_ERROR):
        raise ValueError(_unknown("OnError", given["OnError"], ON_ERROR))
    for field in ("MaxClients", "Retries", "TimeLimit", "MemoryLimit"):
        if isinstance(given.get(field), (int, float)) and given[field] < 0:
            raise ValueError(f"{field} must not be negative, it is {given[field]}")
    if isinstance(given.get("Requires"), str):
        parse_requirement(given["Requires"])
    if isinstance(given.get("MemoryLimit"), str):
        given["MemoryLimit"] = parse_size(given["MemoryLimit"])
    try:
        return msgspec.convert({key: value for key, value in given.items() if value is not None}, ProcessingOptions)
    except msgspec.ValidationError as reason:
        raise ValueError(f"these are no ProcessingOptions: {reason}") from None


def _unknown(what: str, value: object, known: tuple[str, ...]) -> str:
    near = did_you_mean(str(value), known)
    return f"unknown {what} {describe(value)}: " + (near.replace("`", '"') if near else f"there are {', '.join(known)}")


class ProcessingOptionsType(ScriptType):
    """Options of a Grid step; a plain text names the strategy."""

    name = "ProcessingOptions"
    collection = False
    literal_forms = '"Adaptive", "Queued" or "Balanced"'
    members = {
        field.encode_name: Member(kind, operator.attrgetter(field.name))
        for field, kind in zip(
            msgspec.structs.fields(ProcessingOptions),
            ("String", "Int", "Bool", "Int", "String", "String", "Int", "Double", "Long"),
            strict=True,
        )
    }
    wire = WireType(
        "ProcessingOptions",
        ProcessingOptions,
        msgspec.to_builtins,
        lambda data: msgspec.convert(data, ProcessingOptions),
    )

    def holds(self, value: object) -> bool:
        return isinstance(value, ProcessingOptions)

    def literal(self, value: object) -> object:
        if isinstance(value, str):
            return make_options(Strategy=value)
        if isinstance(value, dict):
            return make_options(**value)
        return self.coerce(value)
