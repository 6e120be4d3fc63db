"""What the branches of parallel blocks share, and how little of a statement has to wait for its turn.

`total = total + F(i)` in a parallel block touches `total`, which other branches touch too. It must wait until the
branches before it have ended; the call `F(i)` need not, and is lifted out and made first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from meshwit.lang import program as ir


def children(node: Any) -> Iterator[ir.Expression]:
    """The direct parts of an expression that are evaluated with it; not what a composite evaluates on demand."""
    match node:
        case ir.Convert(operand=operand):
            yield operand
        case ir.Operate(left=left, right=right) | ir.Logic(left=left, right=right):
            if left is not None:
                yield left
            yield right
        case ir.MemberOf(target=target):
            yield target
        case ir.ItemAt(target=target, index=index):
            yield from (target, index)
        case ir.MakeArray(items=items):
            yield from items
        case ir.Invoke(arguments=arguments) | ir.InvokeJob(arguments=arguments):
            yield from arguments
        case ir.InvokeControl(arguments=arguments):
            yield from (part for part in arguments if part is not None and not isinstance(part, int))


def touched(node: ir.Expression) -> set[int]:
    """The variables that an expression reads itself."""
    found: set[int] = set()
    pending: list[ir.Expression] = [node]
    while pending:
        part = pending.pop()
        if isinstance(part, ir.Load):
            found.add(part.variable)
        elif isinstance(part, ir.InvokeControl) and part.arrow is not None:
            pending.append(part.arrow.call)
        pending.extend(children(part))
    return found


def lift(node: Any, shared: frozenset[int], lifted: list[ir.Expression]) -> Any:
    """The expression with its calls that touch nothing shared replaced by temporaries, and those calls in `lifted`."""
    match node:
        case ir.Invoke() | ir.InvokeJob() | ir.InvokeControl() if not touched(node) & shared:
            if isinstance(node, ir.Invoke) and node.activity.inline and not node.activity.volatile:
                return node
            lifted.append(node)
            return ir.Temporary(len(lifted) - 1, node.type)
        case ir.Convert(operand=operand):
            return msgspec.structs.replace(node, operand=lift(operand, shared, lifted))
        case ir.Operate(left=left, right=right):
            first = None if left is None else lift(left, shared, lifted)
            return msgspec.structs.replace(node, left=first, right=lift(right, shared, lifted))
        case ir.Logic(left=left):
            return msgspec.structs.replace(node, left=lift(left, shared, lifted))
        case ir.MemberOf(target=target):
            return msgspec.structs.replace(node, target=lift(target, shared, lifted))
        case ir.ItemAt(target=target, index=index):
            return msgspec.structs.replace(node, target=lift(target, shared, lifted), index=lift(index, shared, lifted))
        case ir.MakeArray(items=items):
            return msgspec.structs.replace(node, items=tuple(lift(item, shared, lifted) for item in items))
        case ir.Invoke(arguments=arguments) | ir.InvokeJob(arguments=arguments):
            return msgspec.structs.replace(node, arguments=tuple(lift(one, shared, lifted) for one in arguments))
    return node
