"""Checking a whole file: jobs, statements, blocks. Source text in; a `Program` or all of its faults out."""

from __future__ import annotations

from typing import Any

from meshwit.lang import program as ir
from meshwit.lang import tree
from meshwit.lang.check_calls import WRONG, Given
from meshwit.lang.check_expressions import ExpressionChecker
from meshwit.lang.collecting import without_collecting
from meshwit.lang.diagnostics import Diagnostic, ScriptError, Severity
from meshwit.lang.findings import Findings, did_you_mean
from meshwit.lang.offer import Activity, Offer, Role, Shape
from meshwit.lang.parser import parse
from meshwit.lang.scope import Region
from meshwit.lang.types import OBJECT


def compile_script(text: str, offer: Offer, filename: str = "script.wit") -> ir.Program:
    """Check a script against what is on offer.

    Raises:
        ScriptError: with every fault of the file.
    """
    with without_collecting():  # which would take half of the time
        program, found = _check(text, offer, filename)
    if any(one.severity is Severity.ERROR for one in found):
        raise ScriptError(found, text, filename)
    return program


def find_faults(text: str, offer: Offer, filename: str = "script.wit") -> list[Diagnostic]:
    """All errors and warnings of a script, in source order; never raises."""
    try:
        return compile_script(text, offer, filename).warnings
    except ScriptError as error:
        return error.diagnostics


def _check(text: str, offer: Offer, filename: str) -> tuple[ir.Program, list[Diagnostic]]:
    file, syntax = parse(text)
    findings = Findings()
    jobs: dict[str, tree.Job] = {}
    for job in file.jobs:
        name = job.name.text
        if name in jobs:
            findings.error("WIT204", f"there are two jobs named `{name}`", job.name.span)
        elif name in offer.activities or name in offer.types:
            findings.error(
                "WIT204", f"`{name}` is the name of an activity", job.name.span, help="choose another name for the job"
            )
        jobs.setdefault(name, job)
    checked: dict[str, ir.CheckedJob] = {}
    for job in file.jobs:
        made = JobChecker(offer, jobs, findings, sound=not syntax).job(job)
        checked.setdefault(made.name, made)
    found = sorted(syntax + _without_echoes(findings.found, syntax, text), key=lambda one: one.span)
    warnings = [one for one in found if one.severity is Severity.WARNING]
    return ir.Program(checked, warnings, text, filename, offer), found


def _without_echoes(found: list[Diagnostic], syntax: list[Diagnostic], text: str) -> list[Diagnostic]:
    """What the checker found, less what stands on the line of a syntax fault: most likely its echo."""
    if not syntax:
        return found
    lines = {text.count("\n", 0, one.span[0]) for one in syntax}
    return [one for one in found if text.count("\n", 0, one.span[0]) not in lines]


class JobChecker:
    """Checks the statements of one job."""

    def __init__(self, offer: Offer, jobs: dict[str, tree.Job], findings: Findings, *, sound: bool) -> None:
        self.offer = offer
        self.findings = findings
        self.expressions = ExpressionChecker(offer, jobs, findings, sound=sound)
        self.scopes = self.expressions.scopes

    def job(self, job: tree.Job) -> ir.CheckedJob:
        """The job, checked."""
        parameters = []
        variables = []
        for parameter in job.parameters:
            type = self._type(parameter.type)
            default: Any = None
            if parameter.default is not None:
                fitted = self.expressions.value(parameter.default, type)
                if not isinstance(fitted, ir.Constant):
                    self.findings.error("WIT301", "a default is a literal", parameter.default.span)
                else:
                    default = fitted.value
            variables.append(self.expressions.declare(parameter.name, type, with_value=True))
            parameters.append(ir.JobParameter(parameter.name.text, type, parameter.default is not None, default))
        self.scopes.push()
        statements = self._statements(job.body)
        outer = self.scopes.pop()
        for parameter_variable in variables:
            if not parameter_variable.read:
                message = f"parameter `{parameter_variable.name}` is never read"
                self.findings.warn("WIT903", message, parameter_variable.span)
        results = tuple((one.name, one.slot, one.type) for one in outer)
        body = ir.Block(tuple(statements))
        return ir.CheckedJob(job.name.text, tuple(parameters), body, self.scopes.space.size, results)

    # --- statements --------------------------------------------------------------------------------------------

    def _block(self, block: tree.Block) -> ir.Block:
        self.scopes.push()
        statements = self._statements(block)
        self._close()
        return ir.Block(tuple(statements))

    def _close(self) -> None:
        for variable in self.scopes.pop():
            if not variable.read:
                self.findings.warn("WIT903", f"`{variable.name}` is never read", variable.span)

    def _statements(self, block: tree.Block, region: Region | None = None) -> list[ir.Statement]:
        """The statements of a block; with a region, each is a branch of its own, in a space of its own."""
        result: list[ir.Statement] = []
        pending = list(block.statements)
        position = 0
        left: tree.Statement | None = None
        while position < len(pending):
            node = pending[position]
            position += 1
            if left is not None and node is not None:
                self.findings.warn(
                    "WIT901",
                    "unreachable: this never runs",
                    node.span,
                    help=f"`{_head(left)}` ends the block before it",
                )
                left = None
            clauses: list[tree.Composite] = []
            if isinstance(node, tree.Composite):
                activity = self.offer.activities.get(node.call.name.text)
                names = {clause.name for clause in activity.clauses} if activity else set()
                while position < len(pending):
                    following = pending[position]
                    if not isinstance(following, tree.Composite) or following.call.name.text not in names:
                        break
                    clauses.append(following)
                    position += 1
            if region is not None:
                region.branch += 1
            result.append(self._statement(node, clauses, in_branch=region is not None))
            if self._leaves(node) and region is None:
                left = node
        return result

    def _leaves(self, node: tree.Statement) -> bool:
        if not isinstance(node, tree.Perform) or not isinstance(node.call, tree.Call):
            return False
        activity = self.offer.activities.get(node.call.name.text)
        return activity is not None and activity.leaves

    def _statement(self, node: tree.Statement, clauses: list[tree.Composite], *, in_branch: bool) -> ir.Statement:
        if in_branch and isinstance(node, (tree.Declaration, tree.Assignment)):
            # The variable belongs to the block around the branches, what its value needs to the branch.
            return self._in_branch_space(node)
        match node:
            case tree.Declaration():
                return self._declaration(node)
            case tree.Assignment():
                return self._assignment(node)
            case tree.Perform():
                return self._perform(node)
            case tree.Composite():
                return ir.Perform(self._composite(node, clauses), node.span)

    def _in_branch_space(self, node: tree.Declaration | tree.Assignment) -> ir.Statement:
        if isinstance(node, tree.Assignment):
            return self._assignment(node)
        type = self._type(node.type)
        branch = self.scopes.space
        self.scopes.space = self._around_branches
        variable = self.expressions.declare(node.name, type, with_value=node.value is not None)
        self.scopes.space = branch
        value = None if node.value is None else self.expressions.value(node.value, type)
        hops = self.scopes.touch(variable, write=True)
        return ir.Store(variable.id, hops, variable.slot, value, node.span)

    def _declaration(self, node: tree.Declaration) -> ir.Store:
        type = self._type(node.type)
        value = None if node.value is None else self.expressions.value(node.value, type)
        variable = self.expressions.declare(node.name, type, with_value=node.value is not None)
        return ir.Store(variable.id, 0, variable.slot, value, node.span)

    def _assignment(self, node: tree.Assignment) -> ir.Statement:
        variable = self.scopes.find(node.name.text)
        if variable is None:
            hint = did_you_mean(node.name.text, self.scopes.names())
            help = f"declare it: `Type:{node.name.text} = ...;`"
            self.findings.error("WIT201", f"unknown variable `{node.name.text}`", node.name.span, hint, help)
            return ir.Perform(self.expressions.check(node.value).expression, node.span)
        value = self.expressions.value(node.value, variable.type)
        variable.assigned = True
        hops = self.scopes.touch(variable, write=True)
        return ir.Store(variable.id, hops, variable.slot, value, node.span)

    def _perform(self, node: tree.Perform) -> ir.Perform:
        checked = self.expressions.check(node.call)
        if checked.type not in (None, WRONG) and isinstance(node.call, tree.Call):
            name = node.call.name.text
            activity = self.offer.activities.get(name)
            if activity is not None and not activity.effect:
                self.findings.warn(
                    "WIT902",
                    f"the result of `{name}` is thrown away",
                    node.span,
                    help=f"keep it: `{checked.type}:result = ...;`",
                )
        return ir.Perform(checked.expression, node.span)

    def _type(self, name: tree.Name) -> str:
        found = self.offer.types.get(name.text)
        if found is None:
            hint = did_you_mean(name.text, self.offer.types)
            self.findings.error("WIT202", f"unknown type `{name.text}`", name.span, hint)
            return OBJECT
        return found.name

    # --- composites --------------------------------------------------------------------------------------------

    _around_branches: Any = None

    def _composite(self, node: tree.Composite, clauses: list[tree.Composite]) -> ir.Expression:
        call, name = node.call, node.call.name.text
        nothing = ir.Constant(None, OBJECT)
        activity = self.expressions.known_activity(call.name)
        if activity is None:
            self._bodies_only(node, clauses)
            return nothing
        shapes = {form.shape for form in activity.forms}
        if Shape.COMPOSITE not in shapes:
            if Shape.CLAUSE in shapes:
                heads = " or ".join(
                    f"`{a.name}`" for a in self.offer.activities.values() if any(c.name == name for c in a.clauses)
                )
                self.findings.error(
                    "WIT401",
                    f"`{name}` follows no {heads}",
                    call.name.span,
                    help=f"it continues the block of {heads}, with nothing between them",
                )
            else:
                self.findings.error(
                    "WIT403", f"`{name}` takes no block", call.name.span, help=f"end it with `;`: `{name}(...);`"
                )
            self._bodies_only(node, clauses)
            return nothing
        self._clause_order(activity, clauses)
        bound = _Bound(self, activity, Shape.COMPOSITE, node)
        for clause in clauses:
            clause_activity = self.expressions.known_activity(clause.call.name)
            if clause_activity is not None:
                bound.add_clause(clause_activity, clause)
        return bound.made()

    def _bodies_only(self, node: tree.Composite, clauses: list[tree.Composite]) -> None:
        """Checks what stands in a composite that is not known, so that all of its faults are told."""
        for one in (node, *clauses):
            self.scopes.push()
            if one.call.binder is not None:
                self.expressions.check(one.call.binder.source)
                self.expressions.declare(one.call.binder.item, OBJECT, with_value=True).read = True
            for argument in one.call.arguments:
                if (
                    argument.name is not None
                    and argument.name.text in self.offer.types
                    and isinstance(argument.value, tree.Variable)
                ):
                    declared = tree.Name(argument.value.name, argument.value.span)
                    self.expressions.declare(declared, self._type(argument.name), with_value=True).read = True
                else:
                    self.expressions.check(argument.value)
            self.scopes.loop_depth += 1
            self._block(one.body)
            self.scopes.loop_depth -= 1
            self.scopes.pop()

    def _clause_order(self, activity: Activity, clauses: list[tree.Composite]) -> None:
        order = [clause.name for clause in activity.clauses]
        many = {clause.name for clause in activity.clauses if clause.many}
        last = -1
        for clause in clauses:
            name = clause.call.name.text
            rank = order.index(name)
            if rank < last or (rank == last and name not in many):
                wanted = ", then ".join(f"`{one}`" for one in order)
                self.findings.error(
                    "WIT401",
                    f"`{name}` comes too late here",
                    clause.call.name.span,
                    help=f"after `{activity.name}` come {wanted}",
                )
            last = max(last, rank)


class _Bound:
    """One composite while its arguments, bodies and clauses are gathered."""

    def __init__(self, checker: JobChecker, activity: Activity, shape: Shape, node: tree.Composite) -> None:
        self.checker = checker
        self.activity = activity
        self.node = node
        self.lazies: list[ir.Expression] = []
        self.bodies: list[ir.BodyPart] = []
        self.clauses: list[ir.ClausePart] = []
        self.contended: frozenset[int] = frozenset()
        self.owned: list[tuple[int, int, int, int]] = []
        self.branch_space_size = 0
        self.form = 0
        self.arguments: list[ir.Expression | int | None] = []
        self._gather(activity, shape, node, self.arguments)

    def add_clause(self, activity: Activity, node: tree.Composite) -> None:
        """A clause that follows."""
        first_lazy = len(self.lazies)
        self._gather(activity, Shape.CLAUSE, node, [])
        lazies = tuple(range(first_lazy, len(self.lazies)))
        self.clauses.append(ir.ClausePart(activity.name, lazies, len(self.bodies) - 1))

    def made(self) -> ir.InvokeControl:
        """The composite, checked."""
        site = next(self.checker.expressions.sites)
        return ir.InvokeControl(
            self.activity,
            self.form,
            tuple(self.arguments),
            tuple(self.lazies),
            tuple(self.bodies),
            tuple(self.clauses),
            None,
            self.contended,
            self.branch_space_size,
            OBJECT,
            site,
            self.node.span,
            tuple(self.owned),
        )

    def _gather(
        self, activity: Activity, shape: Shape, node: tree.Composite, arguments: list[ir.Expression | int | None]
    ) -> None:
        checker, call = self.checker, node.call
        forms = [(i, form) for i, form in enumerate(activity.forms) if form.shape is shape]
        roles = {parameter.role for _, form in forms for parameter in form.parameters}
        source: tuple[ir.Expression, str] | None = None
        misused = False
        if Role.EACH in roles:
            source = checker.expressions.each(call, activity.name)
            misused = source is None
        elif call.binder is not None:
            checker.findings.error(
                "WIT404", f"`{activity.name}` takes no `{call.binder.item.text} in ...`", call.binder.span
            )
            checker.expressions.check(call.binder.source)
            misused = True
        declared, given = self._declared(activity, forms[0][1], call, Role.DECLARES in roles)
        chosen = None if misused else checker.expressions.fitter.choose(call, activity, forms, given)
        index, fitted = chosen if chosen is not None else (forms[0][0], [])
        if shape is Shape.COMPOSITE:
            self.form = index
        values = iter(fitted)
        for parameter in activity.forms[index].parameters:
            match parameter.role:
                case Role.EACH:
                    arguments.append(source[0] if source else None)
                case Role.BODY:
                    item = call.binder.item if call.binder is not None else None
                    arguments.append(len(self.bodies))
                    self._body(activity, node.body, item, source[1] if source else OBJECT, declared)
                case Role.DECLARES:
                    arguments.append(None)
                case Role.LAZY:
                    value = next(values, None)
                    arguments.append(len(self.lazies))
                    self.lazies.append(value if value is not None else ir.Constant(None, OBJECT))
                case _:
                    arguments.append(next(values, None))

    def _declared(
        self, activity: Activity, form: Any, call: tree.Call, declares: bool
    ) -> tuple[tuple[tree.Name, str] | None, list[Given]]:
        """The variable of `Catch(String:error)`, and the arguments that are none."""
        checker = self.checker
        if not declares:
            return None, self._given_with_loops(activity, call)
        parameter = next(one for one in form.parameters if one.role is Role.DECLARES)
        declared: tuple[tree.Name, str] | None = None
        given: list[Given] = []
        for argument in call.arguments:
            if declared is None and argument.name is not None and isinstance(argument.value, tree.Variable):
                type = checker._type(argument.name)
                if type != parameter.type:
                    message = f"the variable of `{activity.name}` is a {parameter.type}"
                    checker.findings.error(
                        "WIT302",
                        message,
                        argument.span,
                        help=f"write `{activity.name}({parameter.type}:{argument.value.name})`",
                    )
                declared = (tree.Name(argument.value.name, argument.value.span), parameter.type)
            elif declared is None and argument.name is None and isinstance(argument.value, tree.Variable):
                message = f"`{activity.name}` declares a variable, with its type"
                checker.findings.error(
                    "WIT302",
                    message,
                    argument.span,
                    help=f"write `{activity.name}({parameter.type}:{argument.value.name})`",
                )
                declared = (tree.Name(argument.value.name, argument.value.span), parameter.type)
            else:
                given.append(Given(argument.name, checker.expressions.check(argument.value), argument.span))
        if declared is None and not parameter.optional:
            checker.findings.error("WIT304", f"`{activity.name}` needs `{parameter.type}:name`", call.span)
        return declared, given

    def _given_with_loops(self, activity: Activity, call: tree.Call) -> list[Given]:
        """The arguments; those of a loop are evaluated in every round, so that a value may come from a round before."""
        self.checker.scopes.loop_depth += activity.loop
        given = self.checker.expressions.given(call)
        self.checker.scopes.loop_depth -= activity.loop
        return given

    def _body(
        self,
        activity: Activity,
        block: tree.Block,
        item: tree.Name | None,
        type: str,
        declared: tuple[tree.Name, str] | None,
    ) -> None:
        checker, scopes = self.checker, self.checker.scopes
        outer_loops = scopes.loop_depth
        scopes.loop_depth = outer_loops + 1 if activity.loop else outer_loops
        around = checker._around_branches
        region = None
        outer = scopes.space
        if activity.parallel:
            region = Region(outer.depth + 1, many=not activity.branches)
            scopes.regions.append(region)
            scopes.enter_space()
            checker._around_branches = outer
        scopes.push()
        slot = None
        if item is not None or declared is not None:
            name, kind = (item, type) if item is not None else declared or (None, OBJECT)
            assert name is not None
            variable = checker.expressions.declare(name, OBJECT if kind == WRONG else kind, with_value=True)
            variable.read = True
            slot = variable.slot
        by_statement = region if region is not None and activity.branches else None
        statements = checker._statements(block, by_statement)
        checker._close()
        if region is not None:
            scopes.regions.pop()
            self.contended |= region.contended()
            for branch, number in region.owned():
                variable = scopes.variables[number]
                self.owned.append((branch, number, outer.depth - variable.space.depth, variable.slot))
            self.branch_space_size = max(self.branch_space_size, scopes.leave_space(outer))
        checker._around_branches = around
        scopes.loop_depth = outer_loops
        self.bodies.append(ir.BodyPart(ir.Block(tuple(statements)), slot))


def _head(node: tree.Statement) -> str:
    call = node.call if isinstance(node, (tree.Perform, tree.Composite)) else None
    return call.name.text if isinstance(call, tree.Call) else "this"
