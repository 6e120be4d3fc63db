"""A task as a worker process runs it: the packed arrow call, made into one Python function of the item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from meshwit.lang import program as ir
from meshwit.lang.evaluate import Code, Evaluator
from meshwit.lang.frames import Frame
from meshwit.lang.offer import Offer
from meshwit.lang.types import OBJECT

_NOWHERE = (0, 0)


def load_task(
    packed: Sequence[Any], captured: Sequence[Any], offer: Offer, function_of: Callable[[str, int], Callable[..., Any]]
) -> Callable[[Any], Any]:
    """The function that computes one item.

    Args:
        packed: what `arrows.pack` made.
        captured: the values that the call captured.
        offer: types, operators and activities of this process.
        function_of: the Python callable behind an activity's form, its result already of the declared type.

    Raises:
        KeyError: an activity or type is not known here.
        ValueError: `packed` is no task.
    """
    calls = _DirectCalls(offer, function_of)
    evaluator = Evaluator(offer, calls)
    calls.evaluator = evaluator
    expression = _unpack(packed, offer)
    rest = list(captured)
    match expression:
        case ir.Invoke(arguments=(ir.Load(slot=0),)):
            return function_of(expression.activity.name, expression.form)
        case _:
            run = evaluator.compile(expression).run
    frame_of = Frame

    def compute(item: Any) -> Any:
        return run(frame_of([item, *rest], None, (), None, 0))

    return compute


class _DirectCalls:
    """Calls without wishes: whatever a task calls runs in the same process."""

    evaluator: Evaluator

    def __init__(self, offer: Offer, function_of: Callable[[str, int], Callable[..., Any]]) -> None:
        self.offer = offer
        self.function_of = function_of

    def compile_call(self, node: ir.Invoke | ir.InvokeJob | ir.InvokeControl) -> Code:
        """A plain call; errors of the activity pass through, they say more than any wrapper."""
        assert isinstance(node, ir.Invoke)
        function = self.function_of(node.activity.name, node.form)
        parts = [self.evaluator.compile(part).run for part in node.arguments]
        return Code(lambda frame: function(*[part(frame) for part in parts]))


def _unpack(packed: Sequence[Any], offer: Offer) -> ir.Expression:
    match list(packed):
        case ["constant", value, type]:
            return ir.Constant(value, type)
        case ["load", slot, type, name]:
            return ir.Load(slot, 0, slot, type, name, False, _NOWHERE)
        case ["convert", operand, type]:
            return ir.Convert(_unpack(operand, offer), type, _NOWHERE)
        case ["operate", symbol, left, right, type, sides]:
            apply = None
            if sides:
                found = offer.operators.get((symbol, *sides)) or offer.operators.get((symbol, sides[0], OBJECT))
                found = found or offer.operators.get((symbol, OBJECT, sides[1]))
                apply = found.apply if found else None
            first = None if left is None else _unpack(left, offer)
            return ir.Operate(symbol, first, _unpack(right, offer), apply, type, _NOWHERE)
        case ["logic", symbol, left, right]:
            return ir.Logic(symbol, _unpack(left, offer), _unpack(right, offer), "Bool", _NOWHERE)
        case ["member", target, name, target_type, type]:
            member = offer.types[target_type].member(name) if target_type else None
            return ir.MemberOf(_unpack(target, offer), name, member.get if member else None, type, _NOWHERE)
        case ["item", target, index, target_type, type]:
            return ir.ItemAt(_unpack(target, offer), _unpack(index, offer), target_type, type, _NOWHERE)
        case ["array", items, type]:
            return ir.MakeArray(tuple(_unpack(item, offer) for item in items), type)
        case ["invoke", name, form, arguments, type]:
            parts = tuple(_unpack(one, offer) for one in arguments)
            return ir.Invoke(offer.activities[name], form, parts, type, 0, _NOWHERE)
    raise ValueError("this is no task")
