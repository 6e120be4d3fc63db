"""Turning the call behind `=>` into a task: an expression that needs nothing but its item and what it captured.

In a task, slot 0 is the item and the captured variables follow. What cannot be a task runs at the leader: calls of
jobs, of `local` activities and of control activities. Its wire form is plain lists, so that any peer can read it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from meshwit.lang import program as ir


class _NotATaskError(Exception):
    """The expression must run at the leader."""


def task_arrow(call: ir.Expression) -> tuple[ir.Expression | None, tuple[ir.Load, ...]]:
    """The call as a task and what it captures; (None, ()) if it must run at the leader."""
    captured: dict[int, ir.Load] = {}
    try:
        task = _rewrite(call, captured)
    except _NotATaskError:
        return None, ()
    # The captured loads run where the transform stands, one space above the arrow's own.
    outer = tuple(msgspec.structs.replace(load, hops=load.hops - 1) for load in captured.values())
    return task, outer


def _rewrite(node: ir.Expression, captured: dict[int, ir.Load]) -> ir.Expression:
    match node:
        case ir.Constant():
            return node
        case ir.Load(hops=0):
            return node
        case ir.Load():
            captured.setdefault(node.variable, node)
            slot = 1 + list(captured).index(node.variable)
            return msgspec.structs.replace(node, hops=0, slot=slot, checked=False)
        case ir.Convert():
            return msgspec.structs.replace(node, operand=_rewrite(node.operand, captured))
        case ir.Operate():
            left = None if node.left is None else _rewrite(node.left, captured)
            return msgspec.structs.replace(node, left=left, right=_rewrite(node.right, captured))
        case ir.Logic():
            left, right = _rewrite(node.left, captured), _rewrite(node.right, captured)
            return msgspec.structs.replace(node, left=left, right=right)
        case ir.MemberOf():
            return msgspec.structs.replace(node, target=_rewrite(node.target, captured))
        case ir.ItemAt():
            target, index = _rewrite(node.target, captured), _rewrite(node.index, captured)
            return msgspec.structs.replace(node, target=target, index=index)
        case ir.MakeArray():
            return msgspec.structs.replace(node, items=tuple(_rewrite(item, captured) for item in node.items))
        case ir.Invoke() if not (node.activity.local or node.activity.control):
            return msgspec.structs.replace(node, arguments=tuple(_rewrite(one, captured) for one in node.arguments))
        case _:
            raise _NotATaskError


def activities_in(node: ir.Expression) -> list[ir.Invoke]:
    """All activity calls of a task, the outermost first."""
    found: list[ir.Invoke] = []
    pending: list[ir.Expression | None] = [node]
    while pending:
        match pending.pop():
            case ir.Invoke() as call:
                found.append(call)
                pending += call.arguments
            case ir.Convert(operand=operand):
                pending.append(operand)
            case ir.Operate(left=left, right=right) | ir.Logic(left=left, right=right):
                pending += [left, right]
            case ir.MemberOf(target=target):
                pending.append(target)
            case ir.ItemAt(target=target, index=index):
                pending += [target, index]
            case ir.MakeArray(items=items):
                pending += items
            case _:
                pass
    return found


def pack(node: ir.Expression) -> list[Any]:
    """The wire form of a task."""
    match node:
        case ir.Constant():
            return ["constant", node.value, node.type]
        case ir.Load():
            return ["load", node.slot, node.type, node.name]
        case ir.Convert():
            return ["convert", pack(node.operand), node.type]
        case ir.Operate():
            left = None if node.left is None else pack(node.left)
            sides = [getattr(side, "type", "") if side is not None else "" for side in (node.left, node.right)]
            return ["operate", node.symbol, left, pack(node.right), node.type, sides if node.apply else None]
        case ir.Logic():
            return ["logic", node.symbol, pack(node.left), pack(node.right)]
        case ir.MemberOf():
            return ["member", pack(node.target), node.name, node.target.type if node.get else None, node.type]
        case ir.ItemAt():
            return ["item", pack(node.target), pack(node.index), node.target_type, node.type]
        case ir.MakeArray():
            return ["array", [pack(item) for item in node.items], node.type]
        case ir.Invoke():
            return ["invoke", node.activity.name, node.form, [pack(one) for one in node.arguments], node.type]
    raise TypeError(f"{type(node).__name__} is no part of a task")
