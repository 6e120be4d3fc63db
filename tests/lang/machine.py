"""Drives the interpreter alone: whoever holds a machine answers its wishes, in any order, or from a recording."""

from __future__ import annotations

import random
import uuid
from typing import Any, NamedTuple

from meshwit.lang.arrows import pack
from meshwit.lang.checker import compile_script
from meshwit.lang.control import Failure
from meshwit.lang.interpreter import Interpreter, State
from meshwit.lang.limits import DEFAULT_LIMITS, JobLimits
from meshwit.lang.program import Program
from meshwit.lang.task import load_task
from meshwit.lang.wishes import CallWish, Path, SleepWish, StepWish, Tracing, Wish, Withdrawal
from meshwit.plugins import Controller, Int, activity
from meshwit.plugins.grid import Grid
from meshwit.plugins.registry import Registry
from meshwit.plugins.special import Parallel, Special, Transform
from meshwit.plugins.variables import Variables


class Work(Controller):
    """Activities that are wishes."""

    @activity
    def Add(self, a: Int, b: Int) -> Int:
        """The sum, kept small."""
        return (a + b) % 97

    @activity
    def Half(self, a: Int) -> Int:
        """Half of an even number; an odd one fails."""
        if a % 2:
            raise ValueError(f"{a} is odd")
        return a // 2


REGISTRY = Registry([Variables(), Special(), Parallel(), Transform(), Grid(), Work()])
OFFER = REGISTRY.offer


class Ending(NamedTuple):
    """What a job came to."""

    state: str
    variables: dict[str, Any]
    returned: list[Any]
    message: str | None


class Answer(NamedTuple):
    """What a wish was answered."""

    value: Any
    failure: Failure | None = None


def compiled(text: str) -> Program:
    """The script, checked against the language and `Work`."""
    return compile_script(text, OFFER)


def main(body: str) -> Program:
    """A script of one job with this body."""
    return compiled(f"Job:Main() {{ {body} }}")


def answer(wish: Wish) -> Answer:
    """What a peer would answer: a function of the wish and of nothing else."""
    try:
        if isinstance(wish, SleepWish):
            return Answer(None)
        if isinstance(wish, StepWish):
            task = load_task(pack(wish.task), wish.captured, OFFER, OFFER.implementation)
            return Answer([task(item) for item in wish.items])
        if wish.call.activity.name == "NewGuid":
            return Answer(uuid.uuid5(uuid.NAMESPACE_OID, str(wish.path)))
        function = OFFER.implementation(wish.call.activity.name, wish.call.form)
        return Answer(function(*wish.arguments))
    except ValueError as reason:
        return Answer(None, Failure(str(reason), wish.span))


class Machine:
    """A job and the wishes that wait for their answers.

    Attributes:
        pending: wishes asked for and not answered, by path, in the order of asking.
        paths: of all wishes ever asked for.
        withdrawn: paths of wishes taken back.
        answered: paths in the order of their answers.
        traced: texts, as they came.
    """

    def __init__(
        self,
        program: Program,
        *arguments: Any,
        known: dict[Path, Answer] | None = None,
        limits: JobLimits = DEFAULT_LIMITS,
    ) -> None:
        self.interpreter = Interpreter(program, next(iter(program.jobs)), arguments, limits=limits)
        self.known = known or {}
        self.pending: dict[Path, Wish] = {}
        self.paths: set[Path] = set()
        self.withdrawn: set[Path] = set()
        self.answered: list[Path] = []
        self.recorded: dict[Path, Answer] = {}
        self.traced: list[str] = []
        self.turns = 0
        self.settle()

    @property
    def running(self) -> bool:
        return self.interpreter.state is State.RUNNING

    def settle(self) -> None:
        """Go on until everything waits for an answer that is not known yet."""
        while self.interpreter.ready:
            self.turns += 1
            self.interpreter.check()
            for request in self.interpreter.advance():
                match request:
                    case Tracing():
                        self.traced.append(request.text)
                    case Withdrawal():
                        del self.pending[request.path]
                        self.withdrawn.add(request.path)
                    case _:
                        assert request.path not in self.paths, "a path is asked for once"
                        self.paths.add(request.path)
                        self.pending[request.path] = request
            self.interpreter.check()
            for path in [path for path in self.pending if path in self.known]:
                self._resume(path, self.known[path])
        assert set(self.pending) == set(self.interpreter.waiting())

    def answer(self, path: Path) -> None:
        """Answer one wish and go on."""
        self._resume(path, answer(self.pending[path]))
        self.settle()

    def answer_call(self, activity: str, *arguments: Any) -> None:
        """Answer the wish for this call."""
        self.answer(
            next(wish.path for wish in self.calls() if (_name(wish), *wish.arguments) == (activity, *arguments))
        )

    def calls(self) -> list[CallWish]:
        """The calls that wait."""
        return [wish for wish in self.pending.values() if isinstance(wish, CallWish)]

    def asks(self) -> list[tuple[Any, ...]]:
        """The calls that wait, as (activity, arguments...)."""
        return [(_name(wish), *wish.arguments) for wish in self.calls()]

    def run(self, order: random.Random | None = None) -> Ending:
        """Answer everything: in the order of asking, or in a random one."""
        while self.running:
            waiting = list(self.pending)
            assert waiting, "the job waits for nothing"
            self.answer(order.choice(waiting) if order is not None else waiting[0])
        return self.ending()

    def ending(self) -> Ending:
        """What the job came to."""
        it = self.interpreter
        message = it.failure.message if it.failure is not None else None
        return Ending(it.state.value, it.variables(), list(it.returned), message)

    def _resume(self, path: Path, given: Answer) -> None:
        del self.pending[path]
        self.answered.append(path)
        self.recorded[path] = given
        if given.failure is not None:
            self.interpreter.fail(path, given.failure)
        else:
            self.interpreter.resolve(path, given.value)


def _name(wish: CallWish) -> str:
    return wish.call.activity.name
