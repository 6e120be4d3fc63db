"""The checked program: what is left when every name, type and argument is known. No syntax, no undecided question.

Variables are slots of a *space*. A job has one space; every branch of a parallel block and every application of an
arrow has one of its own below it, so that branches do not share what they declare. A load or store names how many
spaces up (`hops`) and which slot.

A *site* numbers every call within its job. Sites and counters of control flow make the path of a wish, which is the
same on every replay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from meshwit.lang.diagnostics import Diagnostic
from meshwit.lang.offer import Activity, Offer
from meshwit.lang.tree import Span

UNSET: Any = msgspec.UNSET


class Constant(msgspec.Struct, frozen=True):
    """A value known before the job runs; never changed in place."""

    value: Any
    type: str


class Load(msgspec.Struct, frozen=True):
    """The value of a variable; `checked` where it may not have one yet."""

    variable: int
    hops: int
    slot: int
    type: str
    name: str
    checked: bool
    span: Span


class Convert(msgspec.Struct, frozen=True):
    """The operand as a value of another type: `ScriptType.coerce`."""

    operand: Expression
    type: str
    span: Span


class Operate(msgspec.Struct, frozen=True):
    """`left symbol right`; `left` is None for a sign. `apply` is None where only the values tell the types."""

    symbol: str
    left: Expression | None
    right: Expression
    apply: Callable[[Any, Any], Any] | None
    type: str
    span: Span


class Logic(msgspec.Struct, frozen=True):
    """`&&` or `||`: the right side is evaluated only if needed."""

    symbol: str
    left: Expression
    right: Expression
    type: str
    span: Span


class MemberOf(msgspec.Struct, frozen=True):
    """`target.name`; `get` is None where only the value tells the type."""

    target: Expression
    name: str
    get: Callable[[Any], object] | None
    type: str
    span: Span


class ItemAt(msgspec.Struct, frozen=True):
    """`target[index]`."""

    target: Expression
    index: Expression
    target_type: str
    type: str
    span: Span


class MakeArray(msgspec.Struct, frozen=True):
    """An array with parts that are not constant."""

    items: tuple[Expression, ...]
    type: str


class Invoke(msgspec.Struct, frozen=True):
    """A call of an activity."""

    activity: Activity
    form: int
    arguments: tuple[Expression, ...]
    type: str
    site: int
    span: Span


class InvokeJob(msgspec.Struct, frozen=True):
    """A call of another job of the file."""

    job: str
    arguments: tuple[Expression, ...]
    type: str
    site: int
    span: Span


class BodyPart(msgspec.Struct, frozen=True):
    """A block of a composite: `item_slot` takes the item or declared variable, in the space where the body runs."""

    block: Block
    item_slot: int | None


class ClausePart(msgspec.Struct, frozen=True):
    """A clause with the indexes of its lazy arguments and of its body."""

    name: str
    lazies: tuple[int, ...]
    body: int


class ArrowPart(msgspec.Struct, frozen=True):
    """The call behind `=>`, in a space of its own whose slot 0 is the item.

    `task` is the same call for a worker process, with what it captures in the slots after the item; None where it
    must run at the leader (it calls a job or a `local` activity).
    """

    call: Expression
    space_size: int
    task: Expression | None
    captured: tuple[Load, ...]


class InvokeControl(msgspec.Struct, frozen=True):
    """A call of a control activity.

    `arguments` follow the form's parameters: an expression for a value or a source, an int (index into `lazies` or
    `bodies`) for a lazy argument or body, None for the arrow or an omitted optional one.
    `contended` are the variables that branches share, so that only one may touch them at a time, in order.
    `owned` are the others that a branch writes: the branch, the variable, how many spaces up it is and in which slot.
    """

    activity: Activity
    form: int
    arguments: tuple[Expression | int | None, ...]
    lazies: tuple[Expression, ...]
    bodies: tuple[BodyPart, ...]
    clauses: tuple[ClausePart, ...]
    arrow: ArrowPart | None
    contended: frozenset[int]
    branch_space_size: int
    type: str
    site: int
    span: Span
    owned: tuple[tuple[int, int, int, int], ...] = ()


class Temporary(msgspec.Struct, frozen=True):
    """A value computed before the rest of its statement (`contention`)."""

    index: int
    type: str


Expression: TypeAlias = (
    Constant
    | Temporary
    | Load
    | Convert
    | Operate
    | Logic
    | MemberOf
    | ItemAt
    | MakeArray
    | Invoke
    | InvokeJob
    | InvokeControl
)


class Store(msgspec.Struct, frozen=True):
    """A declaration or assignment; `value` None leaves the variable without a value."""

    variable: int
    hops: int
    slot: int
    value: Expression | None
    span: Span


class Perform(msgspec.Struct, frozen=True):
    """A call for effect, composites included."""

    call: Expression
    span: Span


Statement: TypeAlias = Store | Perform


class Block(msgspec.Struct, frozen=True):
    """Statements in order."""

    statements: tuple[Statement, ...]


class JobParameter(msgspec.Struct, frozen=True):
    """A parameter of a job; `default` stands where `optional`."""

    name: str
    type: str
    optional: bool
    default: Any


class CheckedJob(msgspec.Struct, frozen=True):
    """A job ready to run. Its parameters are the first slots."""

    name: str
    parameters: tuple[JobParameter, ...]
    body: Block
    space_size: int
    results: tuple[tuple[str, int, str], ...]
    """(name, slot, type) of each variable of the outer block."""


class Program(msgspec.Struct, frozen=True, dict=True):
    """All jobs of a source text, checked against an offer. The first job is the entry point.

    Attributes:
        jobs: by name, in source order.
        warnings: findings that stop nothing.
        text: the source; spans point into it.
    """

    jobs: dict[str, CheckedJob]
    warnings: list[Diagnostic]
    text: str
    filename: str
    offer: Offer

    def line_of(self, span: Span) -> int:
        """The line of a span, counted from 1."""
        return self.text.count("\n", 0, span[0]) + 1
