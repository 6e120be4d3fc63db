"""Driving control activities: performing what their generators yield, one operation after the other.

Each operation is counted, and the count is part of the path of whatever that operation runs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import msgspec

from meshwit.lang import program as ir
from meshwit.lang.control import (
    Apply,
    Emit,
    Evaluate,
    Fail,
    Failed,
    Leave,
    Run,
    RunAll,
    RunStatements,
    Sleep,
    Spread,
    Text,
)
from meshwit.lang.evaluate import Code, fail_with
from meshwit.lang.frames import BREATHE, Branch, Fork, Frame, Group, Waiting
from meshwit.lang.meter import Meter
from meshwit.lang.text import short_text
from meshwit.lang.tree import Span
from meshwit.lang.wishes import Leaving, Path, SleepWish, StepWish, Tracing, failed_at


class CompiledBody(NamedTuple):
    """A block of a composite: as one code, or each of its statements by itself, where these are branches."""

    item_slot: int | None
    block: Code
    statements: list[Code]


class ControlParts(NamedTuple):
    """What a control activity may have run, compiled.

    `captured` are the variables that a task behind the arrow takes along; `owned` the variables that only one branch
    touches, as branch, hops and slot.
    """

    lazies: list[Code]
    bodies: list[CompiledBody]
    arrow: Code | None
    captured: list[Code]
    owned: list[tuple[int, int, int]]


class ControlDriver:
    """Drives the generator of one control activity: one instance for each place in the script."""

    def __init__(
        self,
        node: ir.InvokeControl,
        meter: Meter,
        text: Callable[[Any, Span], str],
        parts: ControlParts,
    ) -> None:
        """`text` makes a value the text that people read."""
        self.node = node
        self.meter = meter
        self.text = text
        self.lazies = parts.lazies
        self.bodies = parts.bodies
        self.arrow = parts.arrow
        self.captured = parts.captured
        self.owned = parts.owned
        self.handlers: dict[type, Callable[[Any, Frame, Path], Waiting]] = {
            RunAll: self._run_all,
            RunStatements: self._run_statements,
            Apply: self._apply,
            Spread: self._spread,
        }

    def drive(self, frame: Frame, control: Generator[Any, Any, Any]) -> Waiting:
        """Runs the control activity to its end; gives its signal or value."""
        node, meter, handlers = self.node, self.meter, self.handlers
        span, site = node.span, node.site
        count = 0
        last_sleep: Path | None = None
        answer: Any = None
        failed: Failed | None = None
        while True:
            try:
                operation = control.send(answer) if failed is None else control.throw(failed)
            except StopIteration as stop:
                return stop.value
            except (ValueError, ArithmeticError, LookupError, TypeError) as reason:
                raise fail_with(reason, span, node.activity.name) from reason
            answer = failed = None
            count += 1
            meter.step(span)
            if meter.steps >= meter.breath:
                yield BREATHE
            path = (*frame.path, site, count)
            try:
                match operation:
                    case Run():
                        compiled = self.bodies[operation.body.index]
                        if compiled.item_slot is not None:
                            frame.slots[compiled.item_slot] = operation.item
                        inner = Frame(frame.slots, frame.parent, path, frame.branch, frame.depth)
                        block = compiled.block
                        answer = (yield from block.run(inner)) if block.waits else block.run(inner)
                    case Evaluate():
                        code = self.lazies[operation.lazy.index]
                        inner = Frame(frame.slots, frame.parent, path, frame.branch, frame.depth)
                        answer = (yield from code.run(inner)) if code.waits else code.run(inner)
                        if answer is None:
                            raise failed_at(span, "NULL is no condition: it is neither true nor false")
                    case Sleep(duration_ms=duration, text=text, since_last=since):
                        yield SleepWish(path, duration, text, last_sleep if since else None, span)
                        last_sleep = path
                    case Text(value=value):
                        answer = self.text(value, span)
                    case Emit(text=text):
                        yield Tracing(path, text, span)
                    case Fail(message=message):
                        raise failed_at(span, message, node.activity.name)
                    case Leave(values=values):
                        raise Leaving(values)
                    case _:
                        answer = yield from handlers[type(operation)](operation, frame, path)
            except Failed as reason:
                failed = reason

    def _run_all(self, operation: RunAll, frame: Frame, path: Path) -> Waiting:
        compiled, size, items = self.bodies[operation.body.index], self.node.branch_space_size, operation.items

        def start(index: int) -> Waiting:
            inner = frame.below(size, (*path, index), Branch(group, index, frame.branch))
            if compiled.item_slot is not None:
                inner.slots[compiled.item_slot] = items[index]
            return _as_generator(compiled.block, inner)

        group = Group(len(items), start, many=True)
        return (yield Fork(group))

    def _run_statements(self, operation: RunStatements, frame: Frame, path: Path) -> Waiting:
        codes, size = self.bodies[operation.body.index].statements, self.node.branch_space_size

        def start(index: int) -> Waiting:
            inner = frame.below(size, (*path, index), Branch(group, index, frame.branch))
            return _as_generator(codes[index], inner)

        saved = []
        for index, hops, slot in self.owned:
            slots = frame.above(hops).slots
            saved.append((index, slots, slot, slots[slot]))
        group = Group(len(codes), start, many=False, saved=saved)
        return (yield Fork(group))

    def _apply(self, operation: Apply, frame: Frame, path: Path) -> Waiting:
        assert self.arrow is not None
        assert self.node.arrow is not None
        # An arrow counts as a branch for whoever counts branches, though it runs alone.
        alone = Branch(Group(1, lambda index: iter(()), many=True), 0, frame.branch)  # type: ignore[arg-type, return-value]
        inner = frame.below(self.node.arrow.space_size, path, alone, operation.item)
        return (yield from self.arrow.run(inner)) if self.arrow.waits else self.arrow.run(inner)

    def _spread(self, operation: Spread, frame: Frame, path: Path) -> Waiting:
        node, part, arrow = self.node, self.node.arrow, self.arrow
        assert part is not None
        assert arrow is not None
        items = list(operation.items)
        if part.task is not None:
            captured = [code.run(frame) for code in self.captured]
            return (yield StepWish(path, part.task, items, captured, operation.options, node.type, node.span))

        def attempt(index: int, number: int) -> Waiting:
            place = (*path, index, -number) if number else (*path, index)
            inner = frame.below(part.space_size, place, Branch(group, index, frame.branch), items[index])
            return _as_generator(arrow, inner)

        def start(index: int) -> Waiting:
            return _of_item(index, items[index], operation.options, attempt)

        group = Group(len(items), start, many=True)
        return (yield Fork(group))


def _of_item(index: int, item: Any, options: Any, attempt: Callable[[int, int], Waiting]) -> Waiting:
    """One item of a Grid step at the leader: tried again, skipped and named in its failure as it would be elsewhere."""
    retries, skip = (options.retries, options.on_error == "Skip") if options is not None else (0, False)
    for number in range(retries + 1):
        try:
            return (yield from attempt(index, number))
        except Failed as reason:
            failure = reason.failure
    if skip:
        return None
    if failure.item is None:
        failure = msgspec.structs.replace(failure, item=index, item_text=short_text(item))
    raise Failed(failure)


def _as_generator(code: Code, frame: Frame) -> Waiting:
    if code.waits:
        return (yield from code.run(frame))
    return code.run(frame)
