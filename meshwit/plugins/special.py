"""Control flow, time and trace: the composites of the language, each a generator of `control` operations."""

from __future__ import annotations

from typing import Any

from meshwit.lang import control
from meshwit.lang.control import Control, Signal
from meshwit.lang.offer import Clause
from meshwit.plugins.annotations import Arrow, Body, Bool, Condition, DeclaresString, Each, Int, Object, String
from meshwit.plugins.controller import Controller, clause, composite


class Special(Controller):
    """Flow, time and trace."""

    prefix = ""

    @composite(clauses=(Clause("ElseIf", many=True), Clause("Else")))
    def If(self, condition: Condition, body: Body, clauses: tuple[control.ClauseCall, ...] = ()) -> Control:
        """Runs its block if the condition is true, else that of the first `ElseIf` that is, else that of `Else`."""
        if (yield control.Evaluate(condition)):
            return (yield control.Run(body))
        for other in clauses:
            if not other.arguments or (yield control.Evaluate(other.arguments[0])):
                return (yield control.Run(other.body))
        return None

    @clause()
    def ElseIf(self, condition: Condition, body: Body) -> None:
        """Continues `If`: its block runs if its condition is the first that is true."""

    @clause()
    def Else(self, body: Body) -> None:
        """Continues `If`: its block runs if no condition was true."""

    @composite(loop=True)
    def While(self, condition: Condition, body: Body) -> Control:
        """Runs its block as long as the condition is true."""
        while (yield control.Evaluate(condition)):
            if (yield control.Run(body)) is Signal.BREAK:
                break

    @composite(loop=True)
    def Loop(self, times: Int, body: Body) -> Control:
        """Runs its block so many times."""
        if times < 0:
            yield control.Fail(f"Loop cannot run {times} times: the count must not be negative")
        for _ in range(times):
            if (yield control.Run(body)) is Signal.BREAK:
                break

    @composite(loop=True)
    def ForEach(self, each: Each, body: Body) -> Control:
        """Runs its block for every item, in order."""
        for item in each:
            if (yield control.Run(body, item)) is Signal.BREAK:
                break

    @composite(name="ForEach")
    def transform(self, each: Each, arrow: Arrow) -> Control:
        """Applies a call to every item, here and in order; gives the collection of results."""
        return (yield from _in_order(each, arrow))

    @composite()
    def Invoke(self, body: Body) -> Control:
        """Runs its block: statements that belong together."""
        return (yield control.Run(body))

    @composite(inside_loop=True, leaves=True)
    def Break(self) -> Control:
        """Leaves the innermost loop."""
        yield from ()
        return Signal.BREAK

    @composite(inside_loop=True, leaves=True)
    def Continue(self) -> Control:
        """Goes on with the next round of the innermost loop."""
        yield from ()
        return Signal.CONTINUE

    @composite(leaves=True)
    def Return(self, *values: Object) -> Control:
        """Ends the job and sends the values to the caller."""
        yield control.Leave(values)

    @composite(clauses=(Clause("Catch"),))
    def Try(self, body: Body, clauses: tuple[control.ClauseCall, ...] = ()) -> Control:
        """Runs its block; if an activity fails there, runs the block of `Catch` with the reason."""
        try:
            return (yield control.Run(body))
        except control.Failed as failed:
            message = failed.failure.message
        return (yield control.Run(clauses[0].body, message)) if clauses else None

    @clause()
    def Catch(self, body: Body, error: DeclaresString = None) -> None:
        """Continues `Try`: its block runs when the block of `Try` failed; the variable holds the reason."""

    @composite()
    def Pause(self, milliseconds: Int, text: String = "") -> Control:
        """Waits; the text tells the watcher why."""
        yield from _wait("Pause", milliseconds, text)

    @composite(name="Delay", aliases=("Delayed",))
    def delay(self, milliseconds: Int, body: Body) -> Control:
        """Waits, then runs its block once."""
        yield from _wait("Delay", milliseconds, "")
        return (yield control.Run(body))

    @composite(loop=True)
    def Timer(self, interval: Int, body: Body, total: Int | None = None) -> Control:
        """Runs its block every `interval` milliseconds, for `total` milliseconds or until `Break`."""
        if interval <= 0:
            yield control.Fail(f"Timer needs an interval of at least 1 ms, it is {interval}")
        if total is not None and total < 0:
            yield control.Fail(f"Timer cannot run for {total} ms: times must not be negative")
        rounds = 0
        while total is None or (rounds + 1) * interval <= total:
            rounds += 1
            yield control.Sleep(interval, "", since_last=True)
            if (yield control.Run(body)) is Signal.BREAK:
                break

    @composite()
    def Trace(self, value: Object, fail: Bool = False) -> Control:
        """Sends the text of a value to whoever watches; with `fail` the job then fails."""
        text = yield control.Text(value)
        yield control.Emit(text)
        if fail:
            yield control.Fail(text)


class Parallel(Controller):
    """Blocks that run at once."""

    @composite(parallel=True, branches=True)
    def Invoke(self, body: Body) -> Control:
        """Runs the statements of its block at once; ends when all have."""
        return _first_exit((yield control.RunStatements(body)))

    @composite(parallel=True, loop=True)
    def ForEach(self, each: Each, body: Body) -> Control:
        """Runs its block for all items at once; ends when all have."""
        yield control.RunAll(body, each)


class Transform(Controller):
    """Calls applied to collections, here."""

    @composite()
    def ForEach(self, each: Each, arrow: Arrow) -> Control:
        """Applies a call to every item, here and in order; gives the collection of results."""
        return (yield from _in_order(each, arrow))


def _first_exit(signals: list[Signal | None]) -> Signal | None:
    return next((signal for signal in signals if signal is not None), None)


def _in_order(each: Any, arrow: control.Arrow) -> Control:
    results = []
    for item in each:
        results.append((yield control.Apply(arrow, item)))
    return results


def _wait(what: str, milliseconds: int, text: str) -> Control:
    if milliseconds < 0:
        yield control.Fail(f"{what} cannot wait {milliseconds} ms: times must not be negative")
    yield control.Sleep(milliseconds, text)
