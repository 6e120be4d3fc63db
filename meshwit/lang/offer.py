"""What is on offer to a script: types, activities and operators, as signatures, with what the leader itself runs.

The language never sees a controller class. A mesh offers the union of what its peers have; `implementation` is
None where only other peers can run an activity, and `missing` tells what to install where none can yet.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from meshwit.lang.types import OBJECT, CollectionType, ScriptType


class Role(enum.Enum):
    """What a parameter takes from the call."""

    VALUE = "value"
    LAZY = "lazy"
    """An expression, evaluated each time the activity asks for it: the condition of `While`."""
    EACH = "each"
    """`item in source`."""
    DECLARES = "declares"
    """`Type:name`: a variable that the body can read."""
    BODY = "body"
    ARROW = "arrow"


class Shape(enum.Enum):
    """How a call of the activity looks."""

    CALL = "call"
    COMPOSITE = "composite"
    TRANSFORM = "transform"
    CLAUSE = "clause"
    """A composite that only continues another: `Else`, `Catch`."""


class Parameter(msgspec.Struct, frozen=True):
    """One parameter of a form. `rest` takes any number of further positional arguments."""

    name: str
    type: str
    role: Role = Role.VALUE
    optional: bool = False
    default: Any = None
    rest: bool = False


class Form(msgspec.Struct, frozen=True):
    """One way to call an activity. `returns` is None where the call has no value."""

    parameters: tuple[Parameter, ...]
    returns: str | None
    shape: Shape = Shape.CALL


class Clause(msgspec.Struct, frozen=True):
    """A continuation that a composite accepts, in order: `ElseIf` many times, then `Else` once."""

    name: str
    many: bool = False


class Activity(msgspec.Struct, frozen=True):
    """An activity as scripts and schedulers see it.

    Attributes:
        name: dotted.
        forms: the ways to call it; the first that fits is taken.
        controller: who brings it.
        doc: for people.
        control: its implementation is a generator of `control` operations that the interpreter drives.
        inline: takes microseconds and touches nothing: runs in the leader's own process.
        volatile: the result depends on when or where it runs, so it is recorded even if inline.
        local: runs on the leader's device.
        once: must never run twice; journaled as intent before it starts.
        loop: `Break` and `Continue` may stand in its body.
        inside_loop: may stand only in the body of a loop.
        leaves: what follows it in its block is never reached.
        parallel: its bodies run at once, one per item, or with `branches` one per statement.
        clauses: the composites that may follow it.
        requires: capability expression, or empty.
        timeout_s: limit for one task; None for no limit.
        memory_max_bytes: limit for the worker process that runs a task; None for the device's own.
        effect: called for what it does: its result may be thrown away.
        exclusive: not two at a time on one device.
        missing: empty, or what to install before it can run.
    """

    name: str
    forms: tuple[Form, ...]
    controller: str
    doc: str = ""
    control: bool = False
    inline: bool = False
    volatile: bool = False
    local: bool = False
    once: bool = False
    effect: bool = False
    exclusive: bool = False
    loop: bool = False
    inside_loop: bool = False
    leaves: bool = False
    parallel: bool = False
    branches: bool = False
    clauses: tuple[Clause, ...] = ()
    requires: str = ""
    timeout_s: float | None = None
    memory_max_bytes: int | None = None
    missing: str = ""


class Operator(msgspec.Struct, frozen=True):
    """`left symbol right`: evaluated by `apply` (raises ValueError with the reason), or by calling `activity`."""

    symbol: str
    left: str
    right: str
    returns: str
    apply: Callable[[Any, Any], Any] | None = None
    activity: str = ""


class Offer:
    """Types, activities and operators by name. Built once by a plugin registry; immutable afterwards."""

    def __init__(
        self,
        types: Iterable[ScriptType],
        activities: Iterable[Activity],
        operators: Iterable[Operator],
        implementations: dict[tuple[str, int], Callable[..., Any]],
        aliases: dict[str, str] | None = None,
    ) -> None:
        self.types: dict[str, ScriptType] = {}
        for base in types:
            for kind in (base, CollectionType(base)) if base.collection else (base,):
                for name in (kind.name, *kind.aliases):
                    self.types[name] = kind
        self.activities = {activity.name: activity for activity in activities}
        for alias, name in (aliases or {}).items():
            self.activities.setdefault(alias, self.activities[name])
        self.operators = {(op.symbol, op.left, op.right): op for op in operators}
        self._implementations = implementations
        self._assignable: dict[tuple[str, str], bool] = {}

    def implementation(self, activity: str, form: int) -> Callable[..., Any] | None:
        """The Python callable behind a form, or None if this process has none."""
        return self._implementations.get((activity, form))

    def type(self, name: str) -> ScriptType:
        """The type of that name or alias; KeyError if there is none."""
        return self.types[name]

    def collection_of(self, element: str | None) -> str:
        """The name of the collection that holds results of type `element`; `Array` where there is none."""
        name = f"{element}Collection"
        return name if name in self.types else "Array"

    def widens(self, source: str, target: str) -> bool:
        """Whether every value of `source` is, or becomes with nothing lost, a value of `target`."""
        if source == target or target == OBJECT:
            return True
        return source in self.types[target].widens_from or target in self.types[source].widens_to

    def assignable(self, source: str, target: str) -> bool:
        """Whether a `source` may be given where a `target` is wanted, perhaps checked when it happens."""
        key = (source, target)
        known = self._assignable.get(key)
        if known is None:
            known = self._assignable[key] = self._is_assignable(source, target)
        return known

    def _is_assignable(self, source: str, target: str) -> bool:
        if source == OBJECT or self.widens(source, target):
            return True
        given, wanted = self.types[source], self.types[target]
        if isinstance(wanted, CollectionType):
            if source == "Array":
                return True
            return isinstance(given, CollectionType) and self.assignable(
                given.element or OBJECT, wanted.element or OBJECT
            )
        return target == "Array" and isinstance(given, CollectionType)

    def type_of(self, value: object) -> ScriptType:
        """The script type of a value that only its Python class tells, for `Object` operands."""
        match value:
            case bool():
                return self.types["Bool"]
            case int():
                for name in ("Int", "Long", "ULong"):
                    if self.types[name].holds(value):
                        return self.types[name]
            case float():
                return self.types["Double"]
            case str():
                return self.types["String"]
            case list():
                return self.types["Array"]
            case tuple():
                return self.types["Tuple"]
        for kind in self.types.values():
            if kind.name != OBJECT and not isinstance(kind, CollectionType) and kind.holds(value):
                return kind
        return self.types[OBJECT]
