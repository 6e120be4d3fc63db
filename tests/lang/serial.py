"""The language once more, as plainly as can be: walks the syntax tree, one statement after another.

Knows integers, texts and collections, and of the activities only those that the scripts of `random_scripts` use.
`Parallel.X` is `X`, a Grid step is a loop: what any faster way of running a script has to equal.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from machine import Ending

from meshwit.lang import tree
from meshwit.lang.parser import parse

ACTIVITIES: dict[str, Callable[..., Any]] = {
    "Int.Range": lambda start, stop: list(range(start, stop)),
    "Int": int,
    "Work.Add": lambda a, b: (a + b) % 97,
    "Work.Half": lambda a: a // 2 if a % 2 == 0 else _fail(f"{a} is odd"),
}
OPERATORS = {
    "*": operator.mul,
    "%": operator.mod,
    "-": operator.sub,
    "==": operator.eq,
    "<": operator.lt,
}


class Broken(Exception):
    """An activity failed."""


class Left(Exception):
    """`Return`."""


def _fail(message: str) -> Any:
    raise Broken(message)


def run_serially(text: str, *arguments: Any) -> Ending:
    """What the first job of a script comes to."""
    file, found = parse(text)
    assert not found
    first = file.jobs[0]
    run = JobRun({job.name.text: job for job in file.jobs}, first, arguments)
    names = [each.name.text for each in first.body.statements if isinstance(each, tree.Declaration)]
    state, returned, message = "completed", [], None
    try:
        run.block(first.body)
    except Left as left:
        returned = list(left.args)
    except Broken as broken:
        state, message = "failed", str(broken)
    return Ending(state, {name: run.values.get(name) for name in names}, returned, message)


class JobRun:
    """One call of a job. No name hides another, so one dictionary holds all variables."""

    def __init__(self, jobs: dict[str, tree.Job], job: tree.Job, arguments: tuple[Any, ...]) -> None:
        self.jobs = jobs
        self.values = dict(zip((each.name.text for each in job.parameters), arguments, strict=True))

    def block(self, block: tree.Block) -> str | None:
        """Runs statements; "Break" or "Continue" if one of them says so."""
        statements = list(block.statements)
        while statements:
            node = statements.pop(0)
            clauses = []
            while statements and _head(statements[0]) in ("ElseIf", "Else", "Catch"):
                clauses.append(statements.pop(0))
            signal = self.statement(node, clauses)
            if signal is not None:
                return signal
        return None

    def statement(self, node: tree.Statement, clauses: list[Any]) -> str | None:
        if isinstance(node, tree.Declaration | tree.Assignment):
            self.values[node.name.text] = self.value(node.value)
            return None
        if isinstance(node, tree.Composite):
            return self.composite(node, clauses)
        name = _head(node)
        arguments = [self.value(each.value) for each in node.call.arguments]
        if name in ("Break", "Continue"):
            return name
        if name == "Return":
            raise Left(*arguments)
        if name == "Trace" and arguments[1:] == [True]:
            raise Broken(arguments[0])
        return None

    def composite(self, node: tree.Composite, clauses: list[Any]) -> str | None:
        name, call = _head(node).removeprefix("Parallel."), node.call
        match name:
            case "If":
                for one in (node, *clauses):
                    if not one.call.arguments or self.value(one.call.arguments[0].value):
                        return self.block(one.body)
                return None
            case "Invoke":
                return self.block(node.body)
            case "Delay":
                return self.block(node.body)
            case "Try":
                try:
                    return self.block(node.body)
                except Broken as broken:
                    if not clauses:
                        return None
                    self.values[clauses[0].call.arguments[0].value.name] = str(broken)
                return self.block(clauses[0].body)
            case "While":
                while self.value(call.arguments[0].value):
                    if self.block(node.body) == "Break":
                        break
                return None
            case "ForEach":
                items, names = self.value(call.binder.source), [call.binder.item.text]
            case "Loop":
                items, names = range(self.value(call.arguments[0].value)), []
            case "Timer":
                interval, total = (self.value(each.value) for each in call.arguments)
                items, names = range(total // interval), []
        for item in items:
            self.values.update(dict.fromkeys(names, item))
            if self.block(node.body) == "Break":
                break
        return None

    def value(self, node: tree.Expression) -> Any:
        match node:
            case tree.Literal():
                return node.value
            case tree.Variable():
                return self.values[node.name]
            case tree.Index():
                return self.value(node.target)[self.value(node.index)]
            case tree.Binary(operator="&&"):
                return self.value(node.left) and self.value(node.right)
            case tree.Binary(operator="||"):
                return self.value(node.left) or self.value(node.right)
            case tree.Binary(operator="+"):
                left, right = self.value(node.left), self.value(node.right)
                return left + right if isinstance(left, int) and isinstance(right, int) else f"{left}{right}"
            case tree.Binary():
                left = self.value(node.left)
                return OPERATORS[node.operator](left, self.value(node.right))
            case tree.Call():
                return self.call(node)
            case tree.Transform():
                results = []
                for item in self.value(node.head.binder.source):
                    self.values[node.head.binder.item.text] = item
                    results.append(self.call(node.arrow))
                return results
        raise TypeError(f"{type(node).__name__} is not used here")

    def call(self, node: tree.Call) -> Any:
        arguments = tuple(self.value(each.value) for each in node.arguments)
        job = self.jobs.get(node.name.text)
        if job is None:
            return ACTIVITIES[node.name.text](*arguments)
        try:
            JobRun(self.jobs, job, arguments).block(job.body)
        except Left as left:
            return left.args[0]
        return None


def _head(node: Any) -> str:
    return node.call.name.text if isinstance(node, tree.Composite | tree.Perform) else ""
