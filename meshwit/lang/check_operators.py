"""Deciding operators: which one two checked operands have, and what becomes of them so that it fits.

The operands are checked before, and the two that may leave out their right side, `&&` and `||`, are decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from meshwit.lang import program as ir
from meshwit.lang import tree
from meshwit.lang.check_calls import POISON, WRONG, Checked, Fitter, article, no_value, report_missing
from meshwit.lang.findings import Findings
from meshwit.lang.offer import Offer, Operator
from meshwit.lang.types import OBJECT


class OperatorChecker:
    """Decides the operators of one job."""

    def __init__(self, offer: Offer, fitter: Fitter, sites: Iterator[int], findings: Findings) -> None:
        """`sites` numbers the calls of the job: an operator may be an activity."""
        self.offer = offer
        self.fitter = fitter
        self.sites = sites
        self.findings = findings

    def unary(self, node: tree.Unary, operand: Checked) -> Checked:
        """`-operand` or `!operand`, of an operand that has a value."""
        if operand.type == WRONG:
            return POISON
        assert operand.type is not None
        found = self.offer.operators.get((node.operator, "", operand.type))
        if found is None and operand.type != OBJECT:
            wanted = "a Bool" if node.operator == "!" else "a number"
            message = f"`{node.operator}` needs {wanted}, this is {article(operand.type)} {operand.type}"
            self.findings.error("WIT303", message, node.operand.span)
            return POISON
        type = found.returns if found else ("Bool" if node.operator == "!" else OBJECT)
        apply = found.apply if found else None
        return Checked(ir.Operate(node.operator, None, operand.expression, apply, type, node.span), type)

    def binary(self, node: tree.Binary, left: Checked, right: Checked) -> Checked:
        """`left operator right`."""
        for side, source in ((left, node.left), (right, node.right)):
            if side.type is None:
                self.findings.error("WIT306", no_value(side), source.span)
                return POISON
        if WRONG in (left.type, right.type):
            return POISON
        left, right = self._adapted(left, right), self._adapted(right, left)
        assert left.type is not None and right.type is not None
        found = self._find(node.operator, left.type, right.type)
        if found is None:
            return self._without_rule(node, left, right)
        return self._by_rule(found, node, left, right)

    def _adapted(self, value: Checked, other: Checked) -> Checked:
        """A literal beside a value takes that value's type, if it can."""
        if value.literal is None or other.literal is not None or other.type in (None, OBJECT, WRONG, value.type):
            return value
        assert other.type is not None
        fitted, _, _ = self.fitter.fit(value, other.type, value.literal.span)
        if fitted is None or (type(getattr(value.literal, "value", None)) is float and _is_integer(fitted)):
            return value  # `n / 2.0` is meant in Double, though 2.0 would fit an Int
        return Checked(fitted, other.type)

    def _find(self, symbol: str, left: str, right: str) -> Operator | None:
        """The operator for these types, or for what they widen to."""
        offer, operators = self.offer, self.offer.operators
        found = operators.get((symbol, left, right))
        if found is not None or OBJECT in (left, right):
            return found
        for a, b in ((right, right), (left, left), (left, OBJECT), (OBJECT, right)):
            candidate = operators.get((symbol, a, b))
            if candidate and offer.widens(left, a) and offer.widens(right, b):
                return candidate
        return None

    def _by_rule(self, found: Operator, node: tree.Binary, left: Checked, right: Checked) -> Checked:
        given, other = left.type or OBJECT, right.type or OBJECT
        sides = []
        for side, type, wanted in ((left, given, found.left), (right, other, found.right)):
            plain = wanted in (type, OBJECT)
            sides.append(side.expression if plain else ir.Convert(side.expression, wanted, node.span))
        if not found.activity:
            apply = self._joining(found, given, other)
            made = ir.Operate(node.operator, sides[0], sides[1], apply, found.returns, node.span)
            return Checked(made, found.returns)
        activity = self.offer.activities[found.activity]
        form = next(
            i
            for i, f in enumerate(activity.forms)
            if (f.parameters[0].type, f.parameters[1].type) == (found.left, found.right)
        )
        report_missing(activity, node.operator_span, self.findings)
        call = ir.Invoke(activity, form, tuple(sides), found.returns, next(self.sites), node.span)
        return Checked(call, found.returns)

    def _without_rule(self, node: tree.Binary, left: Checked, right: Checked) -> Checked:
        """What no operator is for: equality of all that may be equal, and what only the run knows the types of."""
        symbol, given, other = node.operator, left.type or OBJECT, right.type or OBJECT
        dynamic = OBJECT in (given, other)
        null = any(isinstance(side.expression, ir.Constant) and side.expression.value is None for side in (left, right))
        if symbol in ("==", "!="):
            if dynamic or null or self.offer.assignable(given, other) or self.offer.assignable(other, given):
                return Checked(ir.Operate(symbol, left.expression, right.expression, None, "Bool", node.span), "Bool")
        elif dynamic and not null:
            result = "Bool" if symbol in ("<", "<=", ">", ">=") else OBJECT
            return Checked(ir.Operate(symbol, left.expression, right.expression, None, result, node.span), result)
        message = f"`{symbol}` does not work between {given} and {other}"
        convert = {given, other} >= {"Decimal"} and given != other
        help = f"convert one of them: `{other}(...)` or `{given}(...)`" if convert else ""
        self.findings.error("WIT303", message, node.operator_span, help=help)
        return POISON

    def _joining(self, found: Operator, left: str, right: str) -> Callable[[Any, Any], Any] | None:
        """A text joined to a value takes the value's text in the form of its type."""
        apply = found.apply
        if apply is None or found.symbol != "+" or found.returns != "String" or left == right:
            return apply
        left_text, right_text = (self.offer.types[name].text for name in (left, right))
        if found.left == OBJECT and left != OBJECT:
            return lambda a, b: apply(a if a is None else left_text(a), b)
        if found.right == OBJECT and right != OBJECT:
            return lambda a, b: apply(a, b if b is None else right_text(b))
        return apply


def _is_integer(fitted: ir.Expression) -> bool:
    return isinstance(fitted, ir.Constant) and type(fitted.value) is int
