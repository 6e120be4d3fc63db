"""What a job must come to: its syntax tree walked statement by statement, in one thread, with no mesh and no journal.

Knows integers, texts and collections, and of the activities those that the scripts of the examiner use. `Parallel.X`
is `X`, a Grid step is a loop. Of the product only the parser is used.
"""

from __future__ import annotations

import operator
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from meshwit.lang import tree
from meshwit.lang.parser import parse

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "*": operator.mul, "%": operator.mod, "-": operator.sub, "<": operator.lt, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
CLAUSES = ("ElseIf", "Else", "Catch")


class Ending(NamedTuple):
    """What a job came to; `message` says why it failed."""

    state: str
    variables: dict[str, Any]
    returned: list[Any]
    message: str | None


class Expected(NamedTuple):
    """How a job must end, and which calls of activities it must have made: how often each, by what they note."""

    ending: Ending
    calls: Counter[str]


class TooLong(Exception):
    """The script makes more calls than it may."""


class Broken(Exception):
    """Something failed."""


class Left(Exception):
    """`Return`."""


class Calls:
    """The activities, each call noted.

    Args:
        limit: more calls than that are too many.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.made: Counter[str] = Counter()
        self.count = 0

    def call(self, name: str, *arguments: Any) -> Any:
        """What an activity gives. Raises Broken and TooLong."""
        match name, arguments:
            case "Int.Range", (start, stop):
                return list(range(start, stop))
            case "Int", (value,):
                return int(value)
            case "String", (value,):
                return str(value)
            case "NewGuid", ():
                return uuid.uuid4()
            case "Exam.Echo", (tag, site, item, text):
                self.note(tag, site, item)
                return text
        self.note(*arguments)
        match name, arguments[2:]:
            case "Exam.Add", (a, b):
                return (a + b) % 97
            case "Exam.Half", (a,):
                return a // 2 if a % 2 == 0 else _fail(f"{a} is odd")
            case "Exam.Unless", (a, bad):
                return (a * 7 + bad) % 97 if a != bad else _fail(f"{a} is bad")
            case "Exam.Second", (a,):
                return (a * 5 + 1) % 97  # by its second try
        raise TypeError(f"{name} is not used here")

    def note(self, *arguments: Any) -> None:
        self.made[" ".join(map(str, arguments))] += 1
        self.count += 1
        if self.count > self.limit:
            raise TooLong


def _fail(message: str) -> Any:
    raise Broken(message)


def run_serially(text: str, arguments: tuple[Any, ...], limit: int = 10_000) -> Expected:
    """What the first job of a script comes to. Raises TooLong."""
    file, found = parse(text)
    assert not found
    first = file.jobs[0]
    calls = Calls(limit)
    run = JobRun({job.name.text: job for job in file.jobs}, first, arguments, calls)
    names = [each.name.text for each in first.body.statements if isinstance(each, tree.Declaration)]
    state, returned, message = "completed", [], None
    try:
        run.block(first.body)
    except Left as left:
        returned = list(left.args)
    except Broken as broken:
        state, message = "failed", str(broken)
    ending = Ending(state, {name: run.values.get(name) for name in names}, returned, message)
    return Expected(ending, calls.made)


class JobRun:
    """One call of a job. No name hides another, so one dictionary holds all variables."""

    def __init__(self, jobs: dict[str, tree.Job], job: tree.Job, arguments: tuple[Any, ...], calls: Calls) -> None:
        self.jobs = jobs
        self.calls = calls
        self.values = dict(zip((each.name.text for each in job.parameters), arguments, strict=True))

    def block(self, block: tree.Block) -> str | None:
        """Runs statements; "Break" or "Continue" if one of them says so."""
        statements = list(block.statements)
        while statements:
            node = statements.pop(0)
            clauses = []
            while statements and _head(statements[0]) in CLAUSES:
                clauses.append(statements.pop(0))
            signal = self.statement(node, clauses)
            if signal is not None:
                return signal
        return None

    def statement(self, node: tree.Statement, clauses: list[Any]) -> str | None:
        """One statement, with the clauses that belong to it."""
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
        """Control flow."""
        name = _head(node).removeprefix("Parallel.")
        match name:
            case "If":
                for one in (node, *clauses):
                    if not one.call.arguments or self.value(one.call.arguments[0].value):
                        return self.block(one.body)
                return None
            case "Invoke":
                return self.block(node.body)
            case "Try":
                return self.guarded(node, clauses)
            case "While":
                while self.value(node.call.arguments[0].value):
                    if self.block(node.body) == "Break":
                        break
                return None
        return self.rounds(name, node)

    def guarded(self, node: tree.Composite, clauses: list[Any]) -> str | None:
        """`Try`, with its `Catch` if it has one."""
        try:
            return self.block(node.body)
        except Broken as broken:
            if not clauses:
                return None
            self.values[clauses[0].call.arguments[0].value.name] = str(broken)
        return self.block(clauses[0].body)

    def rounds(self, name: str, node: tree.Composite) -> str | None:
        """Loops whose number of rounds is known at their beginning."""
        call, names = node.call, []
        if name == "ForEach":
            items, names = self.value(call.binder.source), [call.binder.item.text]
        elif name == "Loop":
            items = range(self.value(call.arguments[0].value))
        elif name == "Timer":
            interval, total = (self.value(each.value) for each in call.arguments)
            items = range(total // interval)
        else:
            raise TypeError(f"{name} is not used here")
        for item in items:
            self.values.update(dict.fromkeys(names, item))
            if self.block(node.body) == "Break":
                break
        return None

    def value(self, node: tree.Expression) -> Any:
        """What an expression comes to."""
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
                return self.transform(node)
        raise TypeError(f"{type(node).__name__} is not used here")

    def transform(self, node: tree.Transform) -> list[Any]:
        """A Grid step: where it skips, what fails is None. None of the calls of one that fails need have been made."""
        skips = any(_skips(each.value) for each in node.head.arguments)
        before = self.calls.made.copy()
        results = []
        for item in self.value(node.head.binder.source):
            self.values[node.head.binder.item.text] = item
            try:
                results.append(self.call(node.arrow))
            except Broken:
                if not skips:
                    self.calls.made = before
                    raise
                results.append(None)
        return results

    def call(self, node: tree.Call) -> Any:
        """A call of an activity or of a job."""
        arguments = tuple(self.value(each.value) for each in node.arguments)
        job = self.jobs.get(node.name.text)
        if job is None:
            return self.calls.call(node.name.text, *arguments)
        try:
            JobRun(self.jobs, job, arguments, self.calls).block(job.body)
        except Left as left:
            return left.args[0]
        return None


def _skips(options: tree.Expression) -> bool:
    if not isinstance(options, tree.Call):
        return False
    named = {each.name.text: each.value for each in options.arguments if each.name is not None}
    return "OnError" in named and named["OnError"].value == "Skip"


def _head(node: Any) -> str:
    return node.call.name.text if isinstance(node, tree.Composite | tree.Perform) else ""
