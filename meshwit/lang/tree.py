"""The syntax tree: what was written, with the span of every node, before any name is looked up.

Spans are half-open character offsets `(start, end)` into the source text; lines and columns are computed only
when a diagnostic is shown.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

Span: TypeAlias = tuple[int, int]


class Name(msgspec.Struct, frozen=True, gc=False):
    """A name as written; `text` is dotted where activity names are allowed (`Matrix.GetRow`)."""

    text: str
    span: Span


# --- expressions -----------------------------------------------------------------------------------------------


class Literal(msgspec.Struct, frozen=True, gc=False):
    """`23`, `2.5`, `"text"`, `true`, `NULL`: the Python value int, float, str, bool or None.

    A minus sign before a number literal is folded into it, so `-2147483648` is one literal.
    """

    value: int | float | str | bool | None
    span: Span


class ArrayLiteral(msgspec.Struct, frozen=True):
    """`[1, "a", [2.0, 3.0]]`."""

    items: tuple[Expression, ...]
    span: Span


class Variable(msgspec.Struct, frozen=True, gc=False):
    """A plain name in an expression: always a variable (a call has parentheses)."""

    name: str
    span: Span


class Member(msgspec.Struct, frozen=True):
    """`target.name`, where target is an expression: `t.Item1`, `F(x).Item2`, `xs[0].Item1`."""

    target: Expression
    name: Name
    span: Span


class Index(msgspec.Struct, frozen=True):
    """`target[index]`."""

    target: Expression
    index: Expression
    span: Span


class Unary(msgspec.Struct, frozen=True):
    """`!x` or `-x`."""

    operator: str
    operand: Expression
    span: Span


class Binary(msgspec.Struct, frozen=True):
    """`left operator right`; operator is one of `|| && == != < <= > >= + - * / %`."""

    operator: str
    left: Expression
    right: Expression
    operator_span: Span
    span: Span


class Argument(msgspec.Struct, frozen=True):
    """One argument of a call: positional (`name` is None) or by name (`samples: 64`).

    `Catch(String:error)` parses as an argument named `String` whose value is the variable `error`; the checker
    reads it as a declaration where the activity says that it declares a variable.
    """

    value: Expression
    name: Name | None
    span: Span


class Binder(msgspec.Struct, frozen=True, gc=True):
    """`item in source`: always the first argument of a call that has one."""

    item: Name
    source: Expression
    span: Span


class Call(msgspec.Struct, frozen=True):
    """`Name.Of.Activity(arguments)`. `parenthesised` is False for `Break;`. `binder` is set for `F(x in xs, ...)`."""

    name: Name
    arguments: tuple[Argument, ...]
    binder: Binder | None
    parenthesised: bool
    span: Span


class Transform(msgspec.Struct, frozen=True):
    """`head => arrow`: the arrow's call is applied to every item of the head's binder."""

    head: Call
    arrow: Call
    span: Span


Expression: TypeAlias = Literal | ArrayLiteral | Variable | Member | Index | Unary | Binary | Call | Transform

# --- statements ------------------------------------------------------------------------------------------------


class Declaration(msgspec.Struct, frozen=True):
    """`Type:name;` (value is None) or `Type:name = value;`."""

    type: Name
    name: Name
    value: Expression | None
    span: Span


class Assignment(msgspec.Struct, frozen=True):
    """`name = value;`."""

    name: Name
    value: Expression
    span: Span


class Perform(msgspec.Struct, frozen=True):
    """A call for effect: `Activity(args);`, `Activity;` or `F(x in xs) => A(x);`."""

    call: Call | Transform
    span: Span


class Composite(msgspec.Struct, frozen=True):
    """`Activity(args) { ... }`: control flow; `call` has no block of its own in its span."""

    call: Call
    body: Block
    span: Span


class Block(msgspec.Struct, frozen=True):
    """`{ statements }`."""

    statements: tuple[Statement, ...]
    span: Span


Statement: TypeAlias = Declaration | Assignment | Perform | Composite

# --- a file ----------------------------------------------------------------------------------------------------


class Parameter(msgspec.Struct, frozen=True):
    """A job's parameter `Type:name`, or `Type:name = literal` with a default."""

    type: Name
    name: Name
    default: Expression | None
    span: Span


class Job(msgspec.Struct, frozen=True):
    """`Job:Name(parameters) { statements }`."""

    name: Name
    parameters: tuple[Parameter, ...]
    body: Block
    span: Span


class File(msgspec.Struct, frozen=True):
    """All jobs of one source text, in order; what could not be parsed is missing and has its diagnostic."""

    jobs: tuple[Job, ...]
