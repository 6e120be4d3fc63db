"""Checking expressions: every name found, every member and call decided, every literal given its type."""

from __future__ import annotations

import itertools

from meshwit.lang import program as ir
from meshwit.lang import tree
from meshwit.lang.arrows import task_arrow
from meshwit.lang.check_calls import (
    POISON,
    WRONG,
    Checked,
    Fitter,
    Given,
    article,
    describe_form,
    literal_value,
    no_value,
    report_missing,
)
from meshwit.lang.check_operators import OperatorChecker
from meshwit.lang.findings import Findings, did_you_mean
from meshwit.lang.offer import Activity, Form, Offer, Parameter, Role, Shape
from meshwit.lang.scope import Scopes, Variable
from meshwit.lang.tree import Span
from meshwit.lang.types import OBJECT


class ExpressionChecker:
    """Checks the expressions of one job."""

    def __init__(self, offer: Offer, jobs: dict[str, tree.Job], findings: Findings, *, sound: bool) -> None:
        self.offer = offer
        self.jobs = jobs
        self.findings = findings
        self.scopes = Scopes()
        self.fitter = Fitter(offer, findings)
        self.sites = itertools.count(1)
        self.operators = OperatorChecker(offer, self.fitter, self.sites, findings)
        self.sound = sound
        """Whether the syntax had no fault: otherwise a value may be missing because it could not be read."""

    # --- entry points ------------------------------------------------------------------------------------------

    def value(self, node: tree.Expression, wanted: str, *, code: str = "WIT302", what: str = "") -> ir.Expression:
        """The node as a value of type `wanted`; reports and returns a stand-in if it is none."""
        checked = self.check(node)
        fitted, reason, span = self.fitter.fit(checked, wanted, node.span)
        if fitted is None:
            code = "WIT301" if checked.literal is not None and code == "WIT302" else code
            code = "WIT306" if checked.type is None else code
            kind = self.offer.types[wanted]
            help = f"{wanted} is written as {kind.literal_forms}" if checked.literal and kind.literal_forms else ""
            self.findings.error(code, f"{what}{reason}", span, help=help)
            return ir.Constant(None, wanted)
        return fitted

    def check(self, node: tree.Expression) -> Checked:
        """The node with its type."""
        match node:
            case tree.Variable():
                return self._variable(node)
            case tree.Literal():
                return self._literal(node)
            case tree.Call():
                return self.call(node)
            case tree.Binary():
                return self._binary(node)
            case tree.Member():
                return self._member(node)
            case tree.Index():
                return self._index(node)
            case tree.ArrayLiteral():
                return self._array(node)
            case tree.Unary():
                return self._unary(node)
            case tree.Transform():
                return self.transform(node)

    # --- leaves ------------------------------------------------------------------------------------------------

    def _literal(self, node: tree.Literal) -> Checked:
        value: object = node.value
        kind = self.offer.type_of(value)
        if type(value) is int and kind.name == OBJECT:
            kind = self.offer.types["Decimal"]
            try:
                value = kind.literal(value)
            except ValueError as reason:
                self.findings.error("WIT301", str(reason), node.span)
                return POISON
        return Checked(ir.Constant(value, kind.name), kind.name, node)

    def _array(self, node: tree.ArrayLiteral) -> Checked:
        items = [self.check(item) for item in node.items]
        if all(item.literal is not None for item in items):
            try:
                return Checked(ir.Constant(literal_value(node), "Array"), "Array", node)
            except TypeError:
                pass
        parts: list[ir.Expression] = []
        for item, source in zip(items, node.items, strict=True):
            fitted, reason, span = self.fitter.fit(item, OBJECT, source.span)
            if fitted is None:
                self.findings.error("WIT306", reason, span)
                return POISON
            parts.append(fitted)
        return Checked(ir.MakeArray(tuple(parts), "Array"), "Array")

    def _variable(self, node: tree.Variable) -> Checked:
        found = self.scopes.find(node.name)
        if found is None:
            hint = did_you_mean(node.name, self.scopes.names())
            help = ""
            if node.name in self.offer.activities or node.name in self.jobs:
                help = f"a call has parentheses: `{node.name}(...)`"
            self.findings.error("WIT201", f"unknown variable `{node.name}`", node.span, hint, help)
            return POISON
        found.read = True
        if not found.assigned and found.loop_depth == self.scopes.loop_depth and self.sound:
            message = f"`{found.name}` is read before it has a value"
            self.findings.error(
                "WIT307",
                message,
                node.span,
                help=f"give it one where it is declared: `{found.type}:{found.name} = ...;`",
            )
            found.assigned = True
        return Checked(self.load(found, node.span), found.type)

    def load(self, variable: Variable, span: Span) -> ir.Load:
        """The value of a variable, noted as touched."""
        hops = self.scopes.touch(variable, write=False)
        return ir.Load(variable.id, hops, variable.slot, variable.type, variable.name, not variable.always_set, span)

    def _valued(self, node: tree.Expression) -> Checked:
        """The node with its type, which is `WRONG` if it gives no value; reports that."""
        checked = self.check(node)
        if checked.type is not None:
            return checked
        self.findings.error("WIT306", no_value(checked), node.span)
        return POISON

    # --- operators ---------------------------------------------------------------------------------------------

    def _binary(self, node: tree.Binary) -> Checked:
        symbol = node.operator
        if symbol in ("&&", "||"):
            left = self.value(node.left, "Bool", what=f"`{symbol}` joins Bools: ")
            right = self.value(node.right, "Bool", what=f"`{symbol}` joins Bools: ")
            return Checked(ir.Logic(symbol, left, right, "Bool", node.span), "Bool")
        return self.operators.binary(node, self.check(node.left), self.check(node.right))

    def _unary(self, node: tree.Unary) -> Checked:
        return self.operators.unary(node, self._valued(node.operand))

    # --- parts -------------------------------------------------------------------------------------------------

    def _member(self, node: tree.Member) -> Checked:
        target = self._valued(node.target)
        name = node.name.text
        if target.type == WRONG:
            return POISON
        assert target.type is not None
        if target.type == OBJECT:
            return Checked(ir.MemberOf(target.expression, name, None, OBJECT, node.span), OBJECT)
        kind = self.offer.types[target.type]
        found = kind.member(name)
        if found is None:
            hint = did_you_mean(name, kind.members)
            known = ", ".join(f"`{member}`" for member in kind.members)
            help = f"{target.type} has {known}" if known else f"{target.type} has no members"
            self.findings.error("WIT207", f"{target.type} has no member `{name}`", node.name.span, hint, help)
            return POISON
        return Checked(ir.MemberOf(target.expression, name, found.get, found.type, node.span), found.type)

    def _index(self, node: tree.Index) -> Checked:
        target = self._valued(node.target)
        index = self.value(node.index, "Int", what="an index is a whole number: ")
        if target.type == WRONG:
            return POISON
        assert target.type is not None
        element = self.offer.types[target.type].element
        if element is None:
            self.findings.error(
                "WIT309", f"{article(target.type)} {target.type} has no items to pick with `[...]`", node.target.span
            )
            return POISON
        return Checked(ir.ItemAt(target.expression, index, target.type, element, node.span), element)

    # --- calls -------------------------------------------------------------------------------------------------

    def call(self, node: tree.Call) -> Checked:
        """A call that is no composite and no head of a transform."""
        name = node.name.text
        if name in self.jobs:
            return self._job_call(node, self.jobs[name])
        activity = self.known_activity(node.name)
        if activity is None:
            self._check_arguments_only(node)
            return POISON
        forms = [(i, form) for i, form in enumerate(activity.forms) if form.shape is Shape.CALL]
        if not forms:
            self._wrong_shape(node, activity)
            self._check_arguments_only(node)
            return POISON
        if node.binder is not None:
            self.findings.error("WIT404", f"`{name}` takes no `{node.binder.item.text} in ...`", node.binder.span)
            return POISON
        given = self.given(node)
        if not given and name in self.offer.types:
            listed = "; ".join(describe_form(name, form) for _, form in forms)
            self.findings.error("WIT304", f"`{name}` needs arguments", node.span, help=f"the forms are: {listed}")
            return POISON
        chosen = self.fitter.choose(node, activity, forms, given)
        if activity.inside_loop and self.scopes.loop_depth == 0:
            self.findings.error(
                "WIT402",
                f"`{name}` stands outside of a loop",
                node.span,
                help="it belongs into the block of a loop: While, Loop, ForEach, Parallel.ForEach or Timer",
            )
        if chosen is None:
            returns = forms[0][1].returns
            return Checked(ir.Constant(None, OBJECT), WRONG if returns else None)
        index, fitted = chosen
        form = activity.forms[index]
        report_missing(activity, node.name.span, self.findings)
        if activity.control:
            made: ir.Expression = self._control(activity, index, fitted, node)
            return Checked(made, None)
        arguments = self._filled(form, fitted)
        type = form.returns
        made = ir.Invoke(activity, index, arguments, type or OBJECT, next(self.sites), node.span)
        return Checked(self._folded(made), type)

    def _filled(self, form: Form, fitted: list[ir.Expression | None]) -> tuple[ir.Expression, ...]:
        """Arguments up to the last one given, gaps filled with the defaults."""
        while fitted and fitted[-1] is None:
            fitted = fitted[:-1]
        return tuple(
            ir.Constant(form.parameters[i].default, form.parameters[i].type) if one is None else one
            for i, one in enumerate(fitted)
        )

    def _folded(self, made: ir.Invoke) -> ir.Expression:
        """A constructor of constants is evaluated now, so that its faults are told before anything runs."""
        if made.activity.name not in self.offer.types or not made.activity.inline or made.activity.volatile:
            return made
        if not all(isinstance(one, ir.Constant) for one in made.arguments):
            return made
        function = self.offer.implementation(made.activity.name, made.form)
        values = [one.value for one in made.arguments if isinstance(one, ir.Constant)]
        # None is a gap before a named argument, or NULL, which is for the activity itself to judge when it runs.
        parameters = made.activity.forms[made.form].parameters
        may_be_gap = itertools.chain(
            (one.optional and one.default is None for one in parameters), itertools.repeat(False)
        )
        if function is None or any(value is None and not gap for value, gap in zip(values, may_be_gap, strict=False)):
            return made
        try:
            return ir.Constant(function(*values), made.type)
        except (ValueError, TypeError, ArithmeticError) as reason:
            forms = "; ".join(describe_form(made.activity.name, form) for form in made.activity.forms)
            self.findings.error("WIT301", f"{reason}", made.span, help=f"the forms are: {forms}")
            return made

    def known_activity(self, name: tree.Name) -> Activity | None:
        """The activity of that name; reports if there is none."""
        found = self.offer.activities.get(name.text)
        if found is None:
            hint = did_you_mean(name.text, [*self.offer.activities, *self.jobs])
            self.findings.error("WIT203", f"unknown activity `{name.text}`", name.span, hint)
        return found

    def _wrong_shape(self, node: tree.Call, activity: Activity) -> None:
        forms = " or ".join(f"`{describe_form(activity.name, form)}`" for form in activity.forms)
        self.findings.error("WIT403", f"`{activity.name}` is not called like this", node.span, help=f"write {forms}")

    def _check_arguments_only(self, node: tree.Call) -> None:
        for argument in node.arguments:
            self.check(argument.value)
        if node.binder is not None:
            self.check(node.binder.source)

    def given(self, node: tree.Call) -> list[Given]:
        """The arguments of a call, checked."""
        return [Given(one.name, self.check(one.value), one.span) for one in node.arguments]

    def _job_call(self, node: tree.Call, job: tree.Job) -> Checked:
        if node.binder is not None:
            self.findings.error(
                "WIT404", f"`{job.name.text}` takes no `{node.binder.item.text} in ...`", node.binder.span
            )
            return POISON
        types = [(p, p.type.text if p.type.text in self.offer.types else OBJECT) for p in job.parameters]
        parameters = tuple(ir.JobParameter(p.name.text, type, p.default is not None, None) for p, type in types)
        form = job_form(parameters)
        shown = Activity(job.name.text, (form,), "script")
        chosen = self.fitter.choose(node, shown, [(0, form)], self.given(node))
        if chosen is None:
            return POISON
        arguments: list[ir.Expression] = []
        for fitted, (parameter, type) in zip(chosen[1], types, strict=True):
            if fitted is not None:
                arguments.append(fitted)
            elif parameter.default is not None:
                arguments.append(self.value(parameter.default, type))
        return Checked(ir.InvokeJob(job.name.text, tuple(arguments), OBJECT, next(self.sites), node.span), OBJECT)

    def _control(
        self, activity: Activity, form: int, fitted: list[ir.Expression | None], node: tree.Call
    ) -> ir.InvokeControl:
        return ir.InvokeControl(
            activity, form, tuple(fitted), (), (), (), None, frozenset(), 0, OBJECT, next(self.sites), node.span
        )

    # --- transforms --------------------------------------------------------------------------------------------

    def each(self, node: tree.Call, name: str) -> tuple[ir.Expression, str] | None:
        """The source of `item in source` and the type of its items."""
        if node.binder is None:
            self.findings.error(
                "WIT404", f"`{name}` needs `item in items`", node.span, help=f"write `{name}(item in items) ...`"
            )
            return None
        source = self.check(node.binder.source)
        if source.type is None:
            self.findings.error("WIT306", no_value(source), node.binder.source.span)
            return None
        if source.type == WRONG:
            return source.expression, WRONG
        element = self.offer.types[source.type].element
        if element is None:
            message = f"{article(source.type)} {source.type} cannot be walked through"
            self.findings.error("WIT308", message, node.binder.source.span, help="a collection or an Array is needed")
            return source.expression, WRONG
        if source.literal is not None and isinstance(source.literal, tree.ArrayLiteral):
            element = self._common_element(source.literal)
        return source.expression, element

    def _common_element(self, node: tree.ArrayLiteral) -> str:
        types = {self.offer.type_of(one.value).name if isinstance(one, tree.Literal) else "Array" for one in node.items}
        return types.pop() if len(types) == 1 else OBJECT

    def transform(self, node: tree.Transform) -> Checked:
        """`F(x in xs) => A(x)`."""
        head, name = node.head, node.head.name.text
        activity = self.known_activity(head.name)
        if activity is None:
            return POISON
        forms = [(i, form) for i, form in enumerate(activity.forms) if form.shape is Shape.TRANSFORM]
        if not forms:
            self._wrong_shape(head, activity)
            return POISON
        source = self.each(head, name)
        if source is None or head.binder is None:
            return POISON
        chosen = self.fitter.choose(head, activity, forms, self.given(head))
        expression, element = source
        arrow, returns = self._arrow(node.arrow, head.binder.item, OBJECT if element == WRONG else element)
        if chosen is None or arrow is None or element == WRONG:
            return POISON
        index, fitted = chosen
        values = iter(fitted)
        arguments: list[ir.Expression | int | None] = []
        for parameter in activity.forms[index].parameters:
            match parameter.role:
                case Role.EACH:
                    arguments.append(expression)
                case Role.ARROW:
                    arguments.append(None)
                case _:
                    arguments.append(next(values, None))
        type = self.offer.collection_of(returns) if returns else "Array"
        made = ir.InvokeControl(
            activity, index, tuple(arguments), (), (), (), arrow, frozenset(), 0, type, next(self.sites), node.span
        )
        return Checked(made, type if returns else None)

    def _arrow(self, call: tree.Call, item: tree.Name, type: str) -> tuple[ir.ArrowPart | None, str | None]:
        outer = self.scopes.enter_space()
        self.scopes.push()
        self.declare(item, type, with_value=True).read = True
        checked = self.call(call)
        self.scopes.pop()
        size = self.scopes.leave_space(outer)
        if checked.type == WRONG:
            return None, None
        task, captured = task_arrow(checked.expression)
        return ir.ArrowPart(checked.expression, size, task, captured), checked.type

    def declare(self, name: tree.Name, type: str, *, with_value: bool) -> Variable:
        """A new variable; reports a name that is taken."""
        known = self.scopes.find(name.text)
        if known is not None:
            self.findings.error(
                "WIT204",
                f"`{name.text}` is already declared",
                name.span,
                help="names of blocks around it stay taken: choose another",
            )
        return self.scopes.declare(name.text, type, name.span, with_value=with_value)


def job_form(parameters: tuple[ir.JobParameter, ...]) -> Form:
    """A job's parameters as the form of an activity."""
    return Form(
        tuple(Parameter(one.name, one.type, optional=one.optional, default=one.default) for one in parameters), OBJECT
    )
