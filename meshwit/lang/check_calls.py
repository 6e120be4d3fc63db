"""Fitting arguments to the forms of an activity: by place, by name, by overload.

An argument is checked once, before the form is known: literals stay literals until a parameter says what they are
to be, everything else has its type. The first form in which all fit is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from meshwit.lang import program as ir
from meshwit.lang import tree
from meshwit.lang.findings import Findings, did_you_mean
from meshwit.lang.offer import Activity, Form, Offer, Parameter, Role
from meshwit.lang.tree import Span
from meshwit.lang.types import OBJECT

WRONG = "?"
"""The type of an expression that already has its diagnostic; fits everywhere, so that one fault is told once."""


class Checked(msgspec.Struct, frozen=True):
    """An expression with its type; `literal` where it is one and may still become another type.

    `type` is None for a call that has no value.
    """

    expression: ir.Expression
    type: str | None
    literal: tree.Literal | tree.ArrayLiteral | None = None


POISON = Checked(ir.Constant(None, OBJECT), WRONG)
"""What stands for an expression that already has its diagnostic."""


class Given(msgspec.Struct, frozen=True):
    """One argument of a call, checked."""

    name: tree.Name | None
    value: Checked
    span: Span


def no_value(call: Checked) -> str:
    """What to say of a call that stands where a value is needed."""
    made = call.expression
    name = made.activity.name if isinstance(made, (ir.Invoke, ir.InvokeControl)) else ""
    return f"`{name}` gives no value" if name else "this call gives no value"


def report_missing(activity: Activity, span: Span, findings: Findings) -> None:
    """Reports an activity that is known, though what it needs is not installed."""
    if activity.missing:
        message = f"`{activity.name}` cannot run here: what it needs is not installed"
        findings.error("WIT405", message, span, help=activity.missing)


def literal_value(node: tree.Expression) -> object:
    """The Python value of a literal made of literals only; raises TypeError for anything else."""
    if isinstance(node, tree.Literal):
        return node.value
    if isinstance(node, tree.ArrayLiteral):
        return [literal_value(item) for item in node.items]
    raise TypeError("not a literal")


class Fitter:
    """Fits values to types and arguments to parameters."""

    def __init__(self, offer: Offer, findings: Findings) -> None:
        self.offer = offer
        self.findings = findings

    def fit(self, value: Checked, wanted: str, span: Span) -> tuple[ir.Expression | None, str, Span]:
        """The expression as a value of type `wanted`.

        Returns:
            the expression, or None with the reason and the span of what does not fit.
        """
        if WRONG in (value.type, wanted):
            return value.expression, "", span
        if value.type is None:
            return None, no_value(value), span
        if value.literal is not None and wanted != OBJECT:
            return self._fit_literal(value.literal, wanted)
        if value.type == wanted or wanted == OBJECT:
            return value.expression, "", span
        if isinstance(value.expression, ir.Constant) and value.expression.value is None:
            return value.expression, "", span
        if not self.offer.assignable(value.type, wanted):
            return (
                None,
                f"{article(value.type)} {value.type} is no {wanted}{self._conversion_hint(value.type, wanted)}",
                span,
            )
        return ir.Convert(value.expression, wanted, span), "", span

    def _conversion_hint(self, given: str, wanted: str) -> str:
        if self.offer.assignable(wanted, given) and wanted in self.offer.activities:
            return f": write {wanted}(...) if that is meant"
        return ""

    def _fit_literal(
        self, node: tree.Literal | tree.ArrayLiteral, wanted: str
    ) -> tuple[ir.Expression | None, str, Span]:
        kind = self.offer.types[wanted]
        if isinstance(node, tree.Literal):
            if node.value is None:
                return ir.Constant(None, wanted), "", node.span
            try:
                return ir.Constant(kind.literal(node.value), wanted), "", node.span
            except ValueError as reason:
                return None, str(reason), node.span
        if kind.element is not None and wanted == f"{kind.element}Collection":
            values = []
            for item in node.items:
                assert isinstance(item, (tree.Literal, tree.ArrayLiteral))
                fitted, reason_text, span = self._fit_literal(item, kind.element)
                if fitted is None:
                    return None, reason_text, span
                assert isinstance(fitted, ir.Constant)
                values.append(fitted.value)
            return ir.Constant(values, wanted), "", node.span
        try:
            return ir.Constant(kind.literal(literal_value(node)), wanted), "", node.span
        except ValueError as reason:
            return None, str(reason), node.span

    def choose(
        self, call: tree.Call, activity: Activity, forms: Sequence[tuple[int, Form]], given: Sequence[Given]
    ) -> tuple[int, list[ir.Expression | None]] | None:
        """The first form that all arguments fit, with its VALUE and LAZY arguments in order of parameters.

        Omitted optional ones are None. Reports what is wrong and returns None if no form fits.
        """
        if len(forms) == 1:
            index, form = forms[0]
            fitted = self._arrange(call, activity, form, given, report=True)
            return None if fitted is None else (index, fitted)
        for index, form in forms:
            fitted = self._arrange(call, activity, form, given, report=False)
            if fitted is not None:
                return index, fitted
        self._report_no_form(call, activity, forms, given)
        return None

    def _report_no_form(
        self, call: tree.Call, activity: Activity, forms: Sequence[tuple[int, Form]], given: Sequence[Given]
    ) -> None:
        listed = "; ".join(describe_form(activity.name, form) for _, form in forms)
        right_count = [form for _, form in forms if self._count_fits(form, given)]
        if len(right_count) == 1:
            self._arrange(call, activity, right_count[0], given, report=True, help=f"the forms are: {listed}")
            return
        types = ", ".join(one.value.type or "nothing" for one in given)
        message = f"`{activity.name}` cannot be called with ({types})"
        if not given:
            message = f"`{activity.name}` needs arguments"
        elif not right_count:
            message = f"`{activity.name}` cannot be called with {count_text(len(given), 'argument')}"
        self.findings.error("WIT304", message, call.span, help=f"the forms are: {listed}")

    @staticmethod
    def _count_fits(form: Form, given: Sequence[Given]) -> bool:
        wanted = _takes(form)
        needed = sum(1 for one in wanted if not one.optional and not one.rest)
        return needed <= len(given) and (len(given) <= len(wanted) or any(one.rest for one in wanted))

    def _arrange(
        self,
        call: tree.Call,
        activity: Activity,
        form: Form,
        given: Sequence[Given],
        *,
        report: bool,
        help: str = "",
    ) -> list[ir.Expression | None] | None:
        wanted = _takes(form)
        placed: list[tuple[Parameter, Given] | None] = [None] * len(wanted)
        rest: list[tuple[Parameter, Given]] = []
        problems: list[tuple[str, str, Span, str]] = []
        help = help or f"write {describe_form(activity.name, form)}"
        for position, one in enumerate(given):
            slot = position
            if one.name is not None:
                slot = next((i for i, p in enumerate(wanted) if p.name.lower() == one.name.text.lower()), -1)
                if slot < 0:
                    hint = did_you_mean(one.name.text, [p.name for p in wanted])
                    problems.append(
                        ("WIT206", f"`{activity.name}` has no argument `{one.name.text}`", one.name.span, hint)
                    )
                    continue
                if placed[slot] is not None:
                    problems.append(("WIT304", f"argument `{one.name.text}` is given twice", one.span, ""))
                    continue
            elif slot >= len(wanted) or wanted[slot].rest:
                if wanted and wanted[-1].rest:
                    rest.append((wanted[-1], one))
                else:
                    number = f"{len(given)} {'was' if len(given) == 1 else 'were'}"
                    message = f"`{activity.name}` takes {_count_of(wanted)}, {number} given"
                    problems.append(("WIT304", message, one.span, "one too many"))
                    break
                continue
            placed[slot] = (wanted[slot], one)
        for parameter, found in zip(wanted, placed, strict=True):
            if found is None and not parameter.optional and not parameter.rest and not problems:
                message = f"`{activity.name}` needs `{parameter.name}`, {article(parameter.type)} {parameter.type}"
                problems.append(("WIT304", message, call.span, ""))
        result: list[ir.Expression | None] = []
        for entry in [*[p for p, w in zip(placed, wanted, strict=True) if not w.rest], *rest]:
            if entry is None:
                result.append(None)
                continue
            parameter, one = entry
            fitted, reason, span = self.fit(one.value, parameter.type, one.span)
            if fitted is None:
                where = "" if parameter.rest else f" `{parameter.name}`"
                problems.append(("WIT305", f"wrong argument{where} of `{activity.name}`: {reason}", span, ""))
            result.append(fitted)
        if not problems:
            return result
        if report:
            for code, message, span, label in problems:
                self.findings.error(code, message, span, label, help)
        return None


def _takes(form: Form) -> list[Parameter]:
    return [one for one in form.parameters if one.role in (Role.VALUE, Role.LAZY)]


def _count_of(wanted: list[Parameter]) -> str:
    needed = sum(1 for one in wanted if not one.optional)
    if needed == len(wanted):
        return count_text(needed, "argument")
    return f"{needed} to {len(wanted)} arguments"


def article(noun: str) -> str:
    """`a` or `an`."""
    return "an" if noun[:1] in "AEIOaeio" else "a"


def count_text(count: int, noun: str) -> str:
    """`no arguments`, `1 argument`, `2 arguments`."""
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"


def describe_form(name: str, form: Form) -> str:
    """A form as a script would write it: `Color(Int red, Int green[, Int alpha])`."""
    parts: list[str] = []
    tail = ""
    for one in form.parameters:
        match one.role:
            case Role.VALUE | Role.LAZY if one.rest:
                parts.append(f"{one.type} {one.name}…")
            case Role.VALUE | Role.LAZY:
                parts.append(f"[{one.type} {one.name}]" if one.optional else f"{one.type} {one.name}")
            case Role.EACH:
                parts.insert(0, "item in items")
            case Role.DECLARES:
                parts.insert(0, f"{one.type}:{one.name}")
            case Role.BODY:
                tail = " { … }"
            case Role.ARROW:
                tail = " => Call(…)"
    return f"{name}({', '.join(parts)}){tail}"
