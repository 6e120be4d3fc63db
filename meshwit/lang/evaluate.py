"""Expressions as Python closures.

An expression that asks for nothing becomes a plain function of the frame; one that may wish becomes a generator
function. Which of the two is known when it is made, so that plain arithmetic costs no generator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from meshwit.lang import program as ir
from meshwit.lang.control import Failed
from meshwit.lang.frames import Frame, Waiting
from meshwit.lang.meter import Meter
from meshwit.lang.offer import Offer
from meshwit.lang.sameness import same
from meshwit.lang.text import text_of
from meshwit.lang.tree import Span
from meshwit.lang.types import COLLECTION_ITEMS_MAX, OBJECT, ScriptType, describe
from meshwit.lang.wishes import failed_at

Plain = Callable[[Frame], Any]
NULL_HAS_NO_VALUE = "NULL has no value to compute with"


class Code:
    """A compiled expression or statement; `waits` tells whether `run` is a generator function."""

    __slots__ = ("run", "waits")

    def __init__(self, run: Callable[[Frame], Any], *, waits: bool = False) -> None:
        self.run = run
        self.waits = waits


class Calls(Protocol):
    """How calls are compiled: by the interpreter as wishes, in a worker process as plain function calls."""

    def compile_call(self, node: ir.Invoke | ir.InvokeJob | ir.InvokeControl) -> Code:
        """The code of a call."""
        ...


class Evaluator:
    """Compiles expressions."""

    def __init__(self, offer: Offer, calls: Calls, meter: Meter | None = None) -> None:
        """With a meter operations on large values are counted; tasks in worker processes have a time limit instead."""
        self.offer = offer
        self.calls = calls
        self.meter = meter

    def compile(self, node: ir.Expression) -> Code:
        """The code of an expression."""
        match node:
            case ir.Constant(value=value):
                return Code(lambda frame: value)
            case ir.Load():
                return Code(load(node))
            case ir.Temporary(index=index):
                return Code(partial(_temporary, index))
            case ir.Invoke() | ir.InvokeJob() | ir.InvokeControl():
                return self.calls.compile_call(node)
            case ir.Convert():
                kind = self.offer.types[node.type]
                return self.combine([node.operand], lambda value: _convert(kind, value), node.span)
            case ir.Operate(left=None):
                apply = node.apply or self._dynamic_sign(node.symbol)
                return self.combine([node.right], lambda right: apply(None, right), node.span)
            case ir.Operate():
                assert node.left is not None
                both = node.apply or self._dynamic_operator(node.symbol, node.left.type, node.right.type)
                if self._may_be_large(node.left.type) or self._may_be_large(node.right.type):
                    both = self._weighed(both, node.span)
                return self.combine([node.left, node.right], both, node.span)
            case ir.Logic():
                return self._logic(node)
            case ir.MemberOf():
                get = node.get or self._dynamic_member(node.name)
                return self.combine([node.target], lambda value: get(_known(value)), node.span)
            case ir.ItemAt():
                return self.combine([node.target, node.index], self._item_of(node.target_type), node.span)
            case ir.MakeArray():
                return self.combine(node.items, lambda *items: list(items), (0, 0))
        raise AssertionError(f"{type(node).__name__} cannot be evaluated")

    def combine(
        self, parts: Sequence[ir.Expression], function: Callable[..., Any], span: Span, activity: str = ""
    ) -> Code:
        """Code that evaluates the parts in order and hands them to a function whose errors fail the script here."""
        codes = [self.compile(part) for part in parts]
        if any(code.waits for code in codes):
            return Code(_combined_waiting(codes, function, span, activity), waits=True)
        return Code(_combined([code.run for code in codes], function, span, activity))

    def _may_be_large(self, type: str) -> bool:
        return type in ("String", OBJECT) or self.offer.types[type].element is not None

    def _weighed(self, function: Callable[[Any, Any], Any], span: Span) -> Callable[[Any, Any], Any]:
        meter = self.meter
        if meter is None:
            return function

        def weighed(left: Any, right: Any) -> Any:
            meter.weigh(left, span)
            meter.weigh(right, span)
            return function(left, right)

        return weighed

    def _logic(self, node: ir.Logic) -> Code:
        left, right = self.compile(node.left), self.compile(node.right)
        decisive = node.symbol == "||"
        if not (left.waits or right.waits):
            first, second = left.run, right.run
            if decisive:
                return Code(lambda frame: _truth(first(frame), node.span) or _truth(second(frame), node.span))
            return Code(lambda frame: _truth(first(frame), node.span) and _truth(second(frame), node.span))

        def run(frame: Frame) -> Waiting:
            value = (yield from left.run(frame)) if left.waits else left.run(frame)
            if _truth(value, node.span) is decisive:
                return decisive
            value = (yield from right.run(frame)) if right.waits else right.run(frame)
            return _truth(value, node.span)

        return Code(run, waits=True)

    # --- what only the values tell -----------------------------------------------------------------------------

    def _dynamic_operator(self, symbol: str, left_type: str, right_type: str) -> Callable[[Any, Any], Any]:
        offer = self.offer

        def apply(left: Any, right: Any) -> Any:
            a, b = self._operand(left_type, left, right_type), self._operand(right_type, right, left_type)
            if symbol in ("==", "!="):
                return _equal(offer, left, right, a, b) is (symbol == "==")
            for types in ((a.name, b.name), (a.name, OBJECT), (OBJECT, b.name)):
                found = offer.operators.get((symbol, *types))
                if found is not None and found.apply is not None:
                    return found.apply(left, right)
            raise ValueError(f"`{symbol}` does not work between {describe(left)} and {describe(right)}")

        return apply

    def _operand(self, type: str, value: Any, other: str) -> ScriptType:
        """The type of an operand: as declared, else that of the other side if it holds it; a whole number is a Long."""
        if type != OBJECT:
            return self.offer.types[type]
        if other != OBJECT and value is not None and self.offer.types[other].holds(value):
            return self.offer.types[other]
        found = self.offer.type_of(value)
        return self.offer.types["Long"] if found.name == "Int" else found

    def _dynamic_sign(self, symbol: str) -> Callable[[Any, Any], Any]:
        offer = self.offer

        def apply(_: Any, right: Any) -> Any:
            found = offer.operators.get((symbol, "", offer.type_of(right).name))
            if found is None or found.apply is None:
                raise ValueError(f"`{symbol}` does not work on {describe(right)}")
            return found.apply(None, right)

        return apply

    def _dynamic_member(self, name: str) -> Callable[[Any], Any]:
        offer = self.offer

        def get(value: Any) -> Any:
            kind = offer.type_of(value)
            found = kind.member(name)
            if found is None:
                raise ValueError(f"{describe(value)} has no member `{name}`")
            return found.get(value)

        return get

    def _item_of(self, type: str) -> Callable[[Any, int], Any]:
        offer = self.offer
        known = offer.types[type]

        def item(value: Any, index: int) -> Any:
            kind = offer.type_of(_known(value)) if type == OBJECT else known
            if kind.element is None:
                raise ValueError(f"{describe(value)} has no items to pick")
            if index is None or index < 0:
                raise ValueError(f"an index counts from 0, it is {describe(index)}")
            try:
                return kind.item(_known(value), index)
            except IndexError:
                size = len(value)
                raise ValueError(f"index {index} is outside: there are {size} items, 0 to {size - 1}") from None

        return item

    def text(self, value: Any, span: Span) -> str:
        """The text of a value in the form of its script type, as far as the value tells which that is."""
        try:
            text = text_of(value, self._text_in)
        except ValueError as reason:
            raise failed_at(span, str(reason)) from None
        if self.meter is not None:
            self.meter.weigh(text, span)
        return text

    def _text_in(self, value: Any) -> str:
        return self.offer.type_of(value).text(value)

    def walk(self, type: str, value: Any, span: Span) -> list[Any]:
        """The items of a source of `item in source`."""
        if value is None:
            raise failed_at(span, "NULL cannot be walked through")
        kind = self.offer.type_of(value) if type == OBJECT else self.offer.types[type]
        if kind.element is None or kind.name == OBJECT:
            raise failed_at(span, f"{describe(value)} cannot be walked through")
        items = list(kind.items(value))
        if len(items) > COLLECTION_ITEMS_MAX:
            raise failed_at(span, f"at most {COLLECTION_ITEMS_MAX:,} items can be walked through")
        if self.meter is not None:
            self.meter.weigh(items, span)
        return items


def _temporary(index: int, frame: Frame) -> Any:
    value = frame.temporaries[index]
    if isinstance(value, Failed):
        raise value
    return value


def load(node: ir.Load) -> Plain:
    """Code that reads a variable."""
    slot, hops, name, span = node.slot, node.hops, node.name, node.span
    if hops == 0 and not node.checked:
        return lambda frame: frame.slots[slot]

    def run(frame: Frame) -> Any:
        for _ in range(hops):
            assert frame.parent is not None
            frame = frame.parent
        value = frame.slots[slot]
        if value is ir.UNSET:
            raise failed_at(span, f"`{name}` is read before it has a value")
        return value

    return run


def fail_with(reason: BaseException, span: Span, activity: str) -> Failed:
    """What went wrong in an evaluation, at its place in the script."""
    if isinstance(reason, SystemExit):
        return failed_at(span, f"SystemExit: the activity called sys.exit({reason.code})", activity)
    if isinstance(reason, (ValueError, ArithmeticError, LookupError, OSError)):
        return failed_at(span, str(reason) or type(reason).__name__, activity)
    return failed_at(span, f"{type(reason).__name__}: {reason}", activity)


def _why(reason: BaseException, values: list[Any], span: Span, activity: str) -> Failed:
    if isinstance(reason, TypeError) and any(value is None for value in values):
        return failed_at(span, NULL_HAS_NO_VALUE, activity)
    return fail_with(reason, span, activity)


def _combined(parts: list[Plain], function: Callable[..., Any], span: Span, activity: str) -> Plain:
    match parts:
        case [only]:

            def run(frame: Frame) -> Any:
                value = only(frame)
                try:
                    return function(value)
                except (Exception, SystemExit) as reason:
                    if value is None and not isinstance(reason, ValueError):
                        raise failed_at(span, NULL_HAS_NO_VALUE, activity) from reason
                    raise fail_with(reason, span, activity) from reason

        case [left, right]:

            def run(frame: Frame) -> Any:
                a, b = left(frame), right(frame)
                try:
                    return function(a, b)
                except (Exception, SystemExit) as reason:
                    # An activity that takes NULL says itself what is wrong, an operator cannot.
                    if (a is None or b is None) and not (activity and isinstance(reason, ValueError)):
                        raise failed_at(span, NULL_HAS_NO_VALUE, activity) from reason
                    raise fail_with(reason, span, activity) from reason

        case _:

            def run(frame: Frame) -> Any:
                values = [part(frame) for part in parts]
                try:
                    return function(*values)
                except (Exception, SystemExit) as reason:
                    raise _why(reason, values, span, activity) from reason

    return run


def _combined_waiting(
    codes: list[Code], function: Callable[..., Any], span: Span, activity: str
) -> Callable[[Frame], Waiting]:
    def run(frame: Frame) -> Waiting:
        values = []
        for code in codes:
            values.append((yield from code.run(frame)) if code.waits else code.run(frame))
        try:
            return function(*values)
        except (Exception, SystemExit) as reason:
            raise _why(reason, values, span, activity) from reason

    return run


def _convert(kind: ScriptType, value: Any) -> Any:
    return None if value is None else kind.coerce(value)


def _known(value: Any) -> Any:
    if value is None:
        raise ValueError("NULL has no members and no items")
    return value


def _truth(value: Any, span: Span) -> bool:
    if isinstance(value, bool):
        return value
    raise failed_at(span, f"a condition must be a Bool, this is {describe(value)}")


def _equal(offer: Offer, left: Any, right: Any, a: ScriptType, b: ScriptType) -> bool:
    if left is None or right is None:
        return left is right
    if a is b or offer.widens(b.name, a.name):
        return a.equals(left, right)
    return b.equals(left, right) if offer.widens(a.name, b.name) else same(left, right)
