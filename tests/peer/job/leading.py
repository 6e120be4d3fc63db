"""A job and its leader, without peers or processes: tests say what happens and look at what is then to be done."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from meshwit import events
from meshwit.ids import PeerId
from meshwit.lang import program as ir
from meshwit.lang.arrows import pack
from meshwit.lang.checker import compile_script
from meshwit.lang.limits import DEFAULT_LIMITS, JobLimits
from meshwit.lang.task import load_task
from meshwit.peer.job.effects import (
    AskForItems,
    Assign,
    DropItems,
    Effect,
    Emit,
    EndStep,
    JobEnded,
    PrepareStep,
    RunInline,
    StepOver,
)
from meshwit.peer.job.guesses import Guesses
from meshwit.peer.job.journal import Journal, Known
from meshwit.peer.job.leader import JobLeader
from meshwit.peer.job.software import Owner
from meshwit.peer.job.steps import StepSettings, TaskFault
from meshwit.peer.job.workers import Worker
from meshwit.plugins import Controller, Int, activity, requires_memory
from meshwit.plugins.grid import Grid
from meshwit.plugins.registry import Registry
from meshwit.plugins.special import Parallel, Special, Transform
from meshwit.plugins.variables import Variables

GIB = 2**30
HERE = PeerId("here")


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

    @activity(local=True)
    def Read(self, x: Int) -> Int:
        """Works on what the leader's device has."""
        return x + 1

    @activity(once=True)
    def Send(self, x: Int) -> Int:
        """Must not happen twice."""
        return x

    @requires_memory("8GiB")
    @activity
    def Heavy(self, x: Int) -> Int:
        """Needs memory."""
        return x * 3


REGISTRY = Registry([Variables(), Special(), Parallel(), Transform(), Grid(), Lab()])
OFFER = REGISTRY.offer


def options(strategy: str = "Balanced", **fields: object) -> str:
    """`ProcessingOptions` as a script writes it."""
    named = [f", {name}: {str(value).lower() if isinstance(value, bool) else value}" for name, value in fields.items()]
    return f'ProcessingOptions("{strategy}"{"".join(named)})'


def grid(count: int, call: str = "Lab.Double(x)", **fields: object) -> str:
    """A Grid step over 0, 1, ..., in equal shares, whose results are `ys`."""
    return f"IntCollection:ys = Grid.ForEach(x in Int.Range(0, {count}), {options(**fields)}) => {call};"


def peer(name: str, slots: int = 1, **more: Any) -> Worker:
    """A peer that may work; `here` is the leader's own."""
    return Worker(PeerId(name), name, slots, home=name == "here", **more)


class LabGuesses(Guesses):
    """Asks the activities."""

    def work(self, call: ir.Invoke, item: Any) -> float | None:
        work = REGISTRY.implementations[call.activity.name, call.form].work
        return None if work is None else work(item)


class LedJob:
    """A job that is led; every word checks the leader's invariants.

    Attributes:
        told: all events so far.
        ended_steps: (step, cancelled) of the steps that are to be forgotten, once for each peer that knows of them.
        prepared: what was to be made known, by step.
        openings: to whom, as (peer, step).
        items: by step and number.
        given: the batches that were not taken yet, in their order.
        held: items by peer and step that it was given and that are not over.
        asked: what was asked back, not yet answered.
        dropped: (peer, item) that it is to forget.
    """

    def __init__(
        self,
        body: str,
        *,
        slots: int = 2,
        workers: Mapping[str, int] | Sequence[Worker] | None = None,
        journal: Journal | None = None,
        limits: JobLimits = DEFAULT_LIMITS,
        defaults: StepSettings = StepSettings(),  # noqa: B008 - frozen
        owners: Mapping[str, Owner] | None = None,
        jobs: str = "",
    ) -> None:
        text = f"Job:Main()\n{{\n{body}\n}}\n{jobs}"
        self.program = compile_script(text, OFFER)
        self.now = 0.0
        self.told: list[events.JobEvent] = []
        self.prepared: dict[int, PrepareStep] = {}
        self.openings: list[tuple[str, int]] = []
        self.items: dict[tuple[int, int], Any] = {}
        self.given: list[Assign] = []
        self.held: dict[tuple[str, int], dict[int, int]] = {}
        self.asked: list[AskForItems] = []
        self.dropped: list[tuple[str, int]] = []
        self.ended_steps: list[tuple[int, bool]] = []
        self.over_steps: list[StepOver] = []
        self.inline: list[RunInline] = []
        self.over = False
        if not isinstance(workers, Sequence):
            workers = [peer(name, count) for name, count in (workers or {"here": slots}).items()]
        self.leader = JobLeader(
            self.program,
            "Main",
            [],
            workers=workers,
            numbers=itertools.count(1),
            peer="here",
            limits=limits,
            defaults=defaults,
            journal=journal,
            guesses=LabGuesses(),
            owners=owners,
        )
        self.hears(self.leader.start(0.0))

    def hears(self, effects: list[Effect]) -> None:
        """Takes note of effects."""
        self.leader.check()
        for effect in effects:
            assert not self.over, "nothing is asked for after the end"
            match effect:
                case Emit(event=event):
                    assert event.at == self.now
                    self.told.append(event)
                case PrepareStep(peer=who, step=step):
                    self.prepared[step] = effect
                    self.openings.append((who, step))
                    self.held[who, step] = {}
                case Assign(peer=who, step=step, batch=batch, numbers=numbers):
                    self.items |= {(step, number): item for number, item in zip(numbers, effect.items, strict=True)}
                    self.held[who, step].update(dict.fromkeys(numbers, batch))
                    self.given.append(effect)
                case AskForItems():
                    self.asked.append(effect)
                case DropItems(peer=who, step=step, numbers=numbers):
                    for number in numbers:
                        self.dropped.append((who, number))
                        self.held.get((who, step), {}).pop(number, None)
                case EndStep(peer=who, step=step):
                    del self.held[who, step]
                    self.ended_steps.append((step, effect.cancel))
                case StepOver():
                    self.over_steps.append(effect)
                    self.given = [each for each in self.given if each.step != effect.step]
                case RunInline():
                    self.inline.append(effect)
                case JobEnded():
                    self.over = True

    # --- what happens ----------------------------------------------------------------------------------------

    def takes(self, *peers: str) -> list[Assign]:
        """The batches that came since the last time; to these peers, or to all."""
        taken = [each for each in self.given if not peers or each.peer in peers]
        self.given = [each for each in self.given if each not in taken]
        return taken

    def begins(self, *batches: Assign) -> None:
        """Peers begin with batches."""
        for batch in batches:
            self.hears(self.leader.begun(batch.step, batch.peer, [batch.batch], self.now))

    def returns(self, *batches: Assign, only: slice = slice(None), **how: Any) -> None:
        """Batches, or a part of each, come back, each for itself."""
        for batch in batches:
            self.begins(batch)
            self.ends(*batch.numbers[only], at=batch.peer, step=batch.step, **how)

    def ends(
        self,
        *numbers: int,
        at: str = "here",
        step: int = 1,
        failing: dict[int, str] | None = None,
        kind: str = "raised",
        seconds: float = 0.001,
        printed: dict[int, str] | None = None,
    ) -> None:
        """Outcomes of items come in one message from a peer; `failing` says why by item number."""
        faults = {n: TaskFault(kind, why, "Traceback", "", 1) for n, why in (failing or {}).items() if n in numbers}
        values = [None if n in faults else self.value(step, n) for n in numbers]
        took = [seconds] * len(values)
        who = PeerId(at)
        for number in numbers:
            self.held.get((at, step), {}).pop(number, None)
        self.hears(self.leader.results(step, who, numbers, values, took, faults, printed or {}, 1, self.now))

    def value(self, step: int, number: int) -> Any:
        """What a worker process makes of an item."""
        return self.function(step)(self.items[step, number])

    def function(self, step: int) -> Callable[[Any], Any]:
        """What a worker process would make of a step."""
        prepared = self.prepared[step]
        return load_task(pack(prepared.task), prepared.captured, OFFER, OFFER.implementation)

    def works(self, *peers: str) -> LedJob:
        """Peers run what they hold, in turn, and answer what they are asked, for as long as there is anything."""
        while True:
            self.answers()
            holding = [each for each, items in self.held.items() if items and (not peers or each[0] in peers)]
            if not holding:
                return self
            for who, step in holding:
                held = self.held.get((who, step))
                if held:
                    number, batch = next(iter(held.items()))
                    self.hears(self.leader.begun(step, PeerId(who), [batch], self.now))
                    self.ends(number, at=who, step=step)

    def answers(self, begun: Mapping[str, Sequence[int]] | None = None) -> None:
        """Peers give back what they were asked for, but for what they have begun."""
        asked, self.asked = self.asked, []
        for ask in asked:
            held = self.held.get((ask.peer, ask.step))
            if held is None:
                continue
            back = [each for each in ask.numbers if each in held and each not in (begun or {}).get(ask.peer, ())]
            for number in back:
                del held[number]
            self.given = [
                each for each in self.given if each.peer != ask.peer or not set(each.numbers) <= set(back)
            ]  # fmt: skip
            self.hears(self.leader.given_back(ask.step, ask.peer, back, self.now))

    def joins(self, name: str, slots: int = 1, **more: Any) -> None:
        """A peer offers to work, or other than before."""
        self.hears(self.leader.worker_joined(peer(name, slots, **more), self.now))

    def leaves(self, name: str) -> None:
        """A peer is gone, and what it had with it."""
        self.held = {key: items for key, items in self.held.items() if key[0] != name}
        self.given = [each for each in self.given if each.peer != name]
        self.asked = [each for each in self.asked if each.peer != name]
        self.hears(self.leader.worker_left(PeerId(name), self.now))

    def refuses(self, name: str, why: str, step: int = 1) -> None:
        """A peer does not run a step."""
        self.held.pop((name, step), None)
        self.given = [each for each in self.given if (each.peer, each.step) != (name, step)]
        self.hears(self.leader.refused(step, PeerId(name), why, self.now))

    def beats(self, *names: str, until: float) -> None:
        """Time passes, and only these peers give signs of life, ten times a second."""
        while self.now < until:
            self.at(min(until, self.now + 0.1))
            for name in names:
                self.hears(self.leader.heard(PeerId(name), self.now))

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

    def holds(self, name: str, step: int = 1) -> list[int]:
        """The items that a peer has."""
        return sorted(self.held.get((name, step), ()))
