"""A job and its leader, without peers or processes: tests say what happens and look at what is then to be done."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from meshwit import events
from meshwit.lang.arrows import pack
from meshwit.lang.checker import compile_script
from meshwit.lang.limits import DEFAULT_LIMITS, JobLimits
from meshwit.lang.task import load_task
from meshwit.peer.job.effects import Assign, Effect, Emit, EndStep, JobEnded, PrepareStep, RunInline
from meshwit.peer.job.journal import Journal, Known
from meshwit.peer.job.leader import JobLeader
from meshwit.peer.job.steps import StepSettings, TaskFault
from meshwit.plugins import Controller, Int, activity
from meshwit.plugins.grid import Grid
from meshwit.plugins.registry import Registry
from meshwit.plugins.special import Parallel, Special, Transform
from meshwit.plugins.variables import Variables


class Lab(Controller):
    """Activities to lead."""

    @activity
    def Double(self, x: Int) -> Int:
        """Twice as much."""
        return x * 2

    @activity(work=float)
    def Weigh(self, x: Int) -> Int:
        """Takes as long as its argument is large."""
        return -x


REGISTRY = Registry([Variables(), Special(), Parallel(), Transform(), Grid(), Lab()])
OFFER = REGISTRY.offer


def options(strategy: str = "Balanced", **fields: object) -> str:
    """`ProcessingOptions` as a script writes it."""
    named = [f", {name}: {str(value).lower() if isinstance(value, bool) else value}" for name, value in fields.items()]
    return f'ProcessingOptions("{strategy}"{"".join(named)})'


def grid(count: int, call: str = "Lab.Double(x)", **fields: object) -> str:
    """A Grid step over 0, 1, ..., in equal shares, whose results are `ys`."""
    return f"IntCollection:ys = Grid.ForEach(x in Int.Range(0, {count}), {options(**fields)}) => {call};"


class LedJob:
    """A job that is led; every word checks the leader's invariants.

    Attributes:
        told: all events so far.
        ended_steps: (step, cancelled) of the steps that are to be forgotten.
        prepared: what was to be made known, by step.
    """

    def __init__(
        self,
        body: str,
        *,
        slots: int = 2,
        journal: Journal | None = None,
        limits: JobLimits = DEFAULT_LIMITS,
        defaults: StepSettings = StepSettings(),  # noqa: B008 - frozen
        jobs: str = "",
    ) -> None:
        text = f"Job:Main()\n{{\n{body}\n}}\n{jobs}"
        self.program = compile_script(text, OFFER)
        self.now = 0.0
        self.told: list[events.JobEvent] = []
        self.prepared: dict[int, PrepareStep] = {}
        self.ended_steps: list[tuple[int, bool]] = []
        self.inline: list[RunInline] = []
        self.over = False
        self.leader = JobLeader(
            self.program,
            "Main",
            [],
            slots=slots,
            numbers=itertools.count(1),
            peer="here",
            limits=limits,
            defaults=defaults,
            journal=journal,
            work_of=self._work_of,
        )
        self.hears(self.leader.start(0.0))

    @staticmethod
    def _work_of(call: Any, item: Any) -> float | None:
        work = REGISTRY.implementations[call.activity.name, call.form].work
        return None if work is None else work(item)

    def hears(self, effects: list[Effect]) -> list[Assign]:
        """Takes note of effects; gives what is to be run."""
        self.leader.check()
        assigned = []
        for effect in effects:
            assert not self.over, "nothing is asked for after the end"
            match effect:
                case Emit(event=event):
                    assert event.at == self.now
                    self.told.append(event)
                case PrepareStep():
                    self.prepared[effect.step] = effect
                case Assign():
                    assert effect.step in self.prepared
                    assigned.append(effect)
                case EndStep():
                    self.ended_steps.append((effect.step, effect.cancel))
                case RunInline():
                    self.inline.append(effect)
                case JobEnded():
                    self.over = True
        return assigned

    # --- what happens ----------------------------------------------------------------------------------------

    def takes(self, room: int = 100) -> list[Assign]:
        """A peer has room for so many batches."""
        return self.hears(self.leader.assign(room, self.now))

    def takes_one(self) -> Assign:
        """A peer takes a batch, and there is one."""
        (batch,) = self.takes(1)
        return batch

    def returns(
        self,
        batch: Assign,
        *,
        only: slice = slice(None),
        failing: dict[int, str] | None = None,
        kind: str = "raised",
        seconds: float = 0.001,
        printed: dict[int, str] | None = None,
    ) -> None:
        """A batch, or a part of it, comes back; `failing` says why by item number."""
        numbers, items = batch.numbers[only], batch.items[only]
        faults = {n: TaskFault(kind, why, "Traceback", "", 1) for n, why in (failing or {}).items() if n in numbers}
        compute = self.function(batch.step)
        values = [None if n in faults else compute(item) for n, item in zip(numbers, items, strict=True)]
        took = [seconds] * len(values)
        effects = self.leader.results(batch.batch, numbers, values, took, faults, printed or {}, 1, self.now)
        self.hears(effects)

    def function(self, step: int) -> Callable[[Any], Any]:
        """What a worker process would make of a step."""
        prepared = self.prepared[step]
        return load_task(pack(prepared.task), prepared.captured, OFFER, OFFER.implementation)

    def works(self) -> LedJob:
        """Peers take and return batches for as long as there are any."""
        while batches := self.takes(1):
            self.returns(batches[0])
        return self

    def puts_back(self, batch: Assign, numbers: list[int]) -> None:
        self.leader.put_back(batch.batch, numbers)
        self.leader.check()

    def at(self, now: float) -> LedJob:
        """The clock stands at `now`, and the leader is woken if it asked for that."""
        self.now = now
        deadline = self.leader.next_deadline()
        if deadline is not None and deadline <= now:
            self.hears(self.leader.tick(now))
        return self

    def sleeps_on(self) -> LedJob:
        """The clock goes from deadline to deadline until there is none."""
        while (deadline := self.leader.next_deadline()) is not None:
            self.at(deadline)
        return self

    def pauses(self) -> None:
        self.hears(self.leader.pause(self.now))

    def resumes(self) -> None:
        self.hears(self.leader.resume(self.now))

    def is_cancelled(self) -> None:
        self.hears(self.leader.cancel(self.now))

    def answers_inline(self, value: object) -> None:
        effect = self.inline.pop(0)
        self.hears(self.leader.inline_answered(effect.path, Known(value), self.now))

    # --- what is to be seen ----------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        return self.leader.state.value

    @property
    def variables(self) -> dict[str, Any]:
        return self.leader.variables()

    def told_of(self, *kinds: type) -> list[Any]:
        """The events of these kinds, in order."""
        return [event for event in self.told if isinstance(event, kinds)]
