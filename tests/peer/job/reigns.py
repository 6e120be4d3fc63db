"""Leaders of one job that lead in turn, and peers that do what they are told: for tests of takeovers.

What each leader wants kept is cut where a log might end when its peer dies; the next one begins with what all logs hold
up to their cuts.
"""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Sequence
from typing import Any

from leading import OFFER, LabGuesses

from meshwit.ids import PeerId
from meshwit.lang.arrows import pack
from meshwit.lang.checker import compile_script
from meshwit.lang.control import Failed
from meshwit.lang.program import Program
from meshwit.lang.task import load_task
from meshwit.peer.job.effects import (
    AskForItems,
    Assign,
    DropItems,
    Effect,
    Emit,
    EndStep,
    JobEnded,
    KeepAnswer,
    KeepConcluded,
    KeepIntent,
    KeepResults,
    KeepSleep,
    PrepareStep,
    RunInline,
    StepOver,
)
from meshwit.peer.job.journal import Journal, Known
from meshwit.peer.job.leader import JobLeader
from meshwit.peer.job.steps import TaskFault
from meshwit.peer.job.workers import Worker
from meshwit.peer.work.messages import HeldBatch, span

DEN = PeerId("den")
ACTS_MAX = 5_000


def lab(body: str, jobs: str = "") -> Program:
    """A script of one job, and more."""
    return compile_script(f"Job:Main()\n{{\n{body}\n}}\n{jobs}", OFFER)


def journal_of(kept: Sequence[Any]) -> Journal:
    """What a history comes to."""
    journal = Journal()
    for each in kept:
        match each:
            case KeepAnswer():
                journal.record(each.path, each.known)
            case KeepResults():
                journal.record_items(each.path, list(each.numbers), list(each.values))
            case KeepConcluded():
                journal.conclude(each.path, each.failure)
            case KeepSleep():
                journal.sleep(each.path, each.until)
            case KeepIntent():
                journal.intend(each.path, each.numbers, each.peer)
    return journal


class Reign:
    """One leader and its peers: they do what they are told, in the order that is asked of them.

    Attributes:
        kept: what the leader wanted kept, in order.
        work: by peer and step, then batch: its items that are left, by number.
        begun: (peer, step, batch) that worker processes have.
        ran: (path, item) in the order in which they were computed.
        intents: not yet durable.
        told: the events.
    """

    def __init__(
        self,
        program: Program,
        arguments: Sequence[Any] = (),
        *,
        offer: Any = OFFER,
        home: str = "here",
        others: Sequence[str] = ("den",),
        view: Sequence[Any] = (),
        journal: Journal | None = None,
        now: float = 0.0,
        **more: Any,
    ) -> None:
        self.program, self.arguments, self.offer = program, arguments, offer
        self.now = now
        self.home = home
        self.view = list(view)
        self.kept: list[Any] = []
        self.answered: set[tuple[int, ...]] = set()
        self.functions: dict[int, Any] = {}
        self.work: dict[tuple[str, int], dict[int, dict[int, Any]]] = {}
        self.prepared: dict[int, PrepareStep] = {}
        self.openings: list[PrepareStep] = []
        self.begun: set[tuple[str, int, int]] = set()
        self.held: dict[tuple[str, tuple[int, ...], int], dict[int, Any]] = {}
        self.ran: list[tuple[tuple[int, ...], int]] = []
        self.asked_inline: list[tuple[int, ...]] = []
        self.intents: list[KeepIntent] = []
        self.sent: list[Assign] = []
        self.ended: list[EndStep] = []
        self.dropped: list[DropItems] = []
        self.told: list[Any] = []
        self.over = False
        self.view_told = self.view
        self.leader = JobLeader(
            program, next(iter(program.jobs)), arguments, numbers=itertools.count(1), peer=home, guesses=LabGuesses(),
            workers=[Worker(PeerId(name), name, 2, home=name == home) for name in (home, *others)],
            journal=journal_of(view) if journal is None else journal, kept=True, **more,
        )  # fmt: skip

    def starts(self, elapsed: float = 0.0) -> Reign:
        self.hears(self.leader.start(self.now, elapsed))
        return self

    def hears(self, effects: list[Effect]) -> None:
        """Does what the leader wants."""
        pending = list(effects)
        while pending:
            effect = pending.pop(0)
            assert not self.over, "nothing is asked for after the end"
            match effect:
                case PrepareStep(peer=who, step=step, path=path, adopted=adopted):
                    self.prepared[step] = effect
                    self.openings.append(effect)
                    work = self.work.setdefault((who, step), {})
                    for old, new in adopted:
                        work[new] = self.held.pop((who, path, old))
                case Assign(peer=who, step=step, batch=batch):
                    self.sent.append(effect)
                    items = dict(zip(effect.numbers, effect.items, strict=True))
                    self.work[who, step].setdefault(batch, {}).update(items)
                case AskForItems(peer=who, step=step):
                    pending += self._gives_back(who, step, effect.numbers)
                case DropItems(peer=who, step=step):
                    self.dropped.append(effect)
                    self._takes(who, step, effect.numbers)
                case EndStep(peer=who, step=step):
                    self.ended.append(effect)
                    self.work.pop((who, step))
                case RunInline(path=path):
                    self.asked_inline.append(path)
                    known = Known(drawn(effect))
                    pending += self.leader.inline_answered(path, known, self.now)
                case KeepIntent():
                    self.kept.append(effect)
                    self.intents.append(effect)
                case KeepAnswer() | KeepResults() | KeepConcluded() | KeepSleep():
                    self._note(effect)
                case Emit(event=event):
                    self.told.append(event)
                case JobEnded():
                    self.over = True
                case StepOver():
                    pass
        self.leader.check()

    def _note(self, effect: Any) -> None:
        assert 0 <= effect.since <= len(self.answered)
        assert effect.path not in self.answered, "results come before the conclusion, and answers once"
        if isinstance(effect, KeepAnswer | KeepConcluded):
            self.answered.add(effect.path)
        self.kept.append(effect)

    def _gives_back(self, who: str, step: int, numbers: Sequence[int]) -> list[Effect]:
        back = []
        for batch, items in self.work.get((who, step), {}).items():
            if (who, step, batch) not in self.begun:
                back += [number for number in numbers if number in items]
        self._takes(who, step, back)
        return self.leader.given_back(step, PeerId(who), back, self.now)

    def _takes(self, who: str, step: int, numbers: Sequence[int]) -> None:
        for items in self.work.get((who, step), {}).values():
            for number in numbers:
                items.pop(number, None)

    # --- what happens ----------------------------------------------------------------------------------------

    def finishes(self, who: str, step: int, batch: int, number: int) -> None:
        """A worker process ends an item."""
        if (who, step, batch) not in self.begun:
            self.begun.add((who, step, batch))
            self.hears(self.leader.begun(step, PeerId(who), [batch], self.now))
        item = self.work[who, step][batch].pop(number)
        prepared = self.prepared[step]
        self.ran.append((prepared.path, number))
        if step not in self.functions:
            task = pack(prepared.task)
            self.functions[step] = load_task(task, prepared.captured, self.offer, self.offer.implementation)
        faults, value = {}, None
        try:
            value = self.functions[step](item)
        except (ValueError, Failed) as reason:
            faults = {number: TaskFault("raised", str(reason))}
        self.hears(self.leader.results(step, PeerId(who), [number], [value], [0.01], faults, {}, 0, self.now))

    def durable(self) -> None:
        """What was intended so far is recorded."""
        intents, self.intents = self.intents, []
        for each in intents:
            self.hears(self.leader.intended(each.step, each.peer, each.numbers, self.now))

    def could(self) -> list[tuple[str, int, int, int]]:
        """The items that peers have."""
        return [
            (who, step, batch, number)
            for (who, step), batches in self.work.items()
            for batch, items in batches.items()
            for number in items
        ]

    def acts(self, rng: random.Random) -> bool:
        """Something happens; False if nothing can."""
        self.durable()
        while self.leader.wants_turn:
            self.hears(self.leader.turn(self.now))
        due = self.leader.next_deadline()
        could = self.could()
        if could and (due is None or rng.random() < 0.8):
            _, step, _, _ = rng.choice(could)  # of its items the first, so that the same one fails first
            self.finishes(*min((each for each in could if each[1] == step), key=lambda each: each[3]))
        elif due is not None:
            self.passes(due - self.now)
        return not self.over and (due is not None or bool(could))

    def passes(self, seconds: float) -> None:
        """Time goes by; all peers live."""
        self.now += max(0.0, seconds)
        for name in list(self.leader.names):
            self.hears(self.leader.heard(name, self.now))
        self.hears(self.leader.tick(self.now))

    def loses(self, name: str) -> None:
        """A peer is gone."""
        self.work = {key: batches for key, batches in self.work.items() if key[0] != name}
        self.hears(self.leader.worker_left(PeerId(name), self.now))

    def ends(self, rng: random.Random | None = None) -> Reign:
        """All that is to happen does."""
        rng = rng or random.Random(0)
        for _ in range(ACTS_MAX):
            if self.over or not self.acts(rng):
                return self
        raise AssertionError(f"the job does not end: {self.could()}, {self.leader.next_deadline()} at {self.now}")

    # --- what is left ----------------------------------------------------------------------------------------

    def follows(self, home: str, *, cut: int | None = None, now: float = 0.0, **more: Any) -> Reign:
        """The peer of this leader dies; the next one has the first `cut` of what was to be kept."""
        view = self.view + (self.kept if cut is None else self.kept[:cut])
        others = [name for name in self.leader.names if name not in (home, self.home)]
        return Reign(
            self.program, self.arguments, offer=self.offer, home=home, others=others, view=view, now=now, **more
        )  # fmt: skip

    def tells(self, successor: Reign) -> None:
        """The peers tell whoever follows what they still have."""
        for (who, step), batches in self.work.items():
            path = self.prepared[step].path
            held = []
            for batch, items in batches.items():
                if items and who != self.home:
                    held.append(HeldBatch(batch, span(list(items)), (who, step, batch) in self.begun))
                    successor.held[who, path, batch] = dict(items)
            successor.hears(successor.leader.held(PeerId(who), path, held, successor.now))

    @property
    def elapsed(self) -> float:
        return self.leader.elapsed(self.now)

    def told_of(self, kind: type) -> list[Any]:
        """The events of a kind, in order."""
        return [event for event in self.told if isinstance(event, kind)]

    def ending(self) -> tuple[Any, ...]:
        """What the job came to."""
        it = self.leader
        return it.state.value, it.variables(), it.returned, it.failure.message if it.failure is not None else None


def drawn(effect: RunInline) -> Any:
    """Chance, as a function of the place."""
    name, function = effect.call.activity.name, OFFER.implementation(effect.call.activity.name, effect.call.form)
    if name == "NewGuid":
        return uuid.uuid5(uuid.NAMESPACE_OID, str(effect.path))
    return function(*effect.arguments)


def recorded(kept: Sequence[Any]) -> set[tuple[tuple[int, ...], int]]:
    """The items, and calls as item 0, that need not run any more."""
    found = {(each.path, number) for each in kept if isinstance(each, KeepResults) for number in each.numbers}
    return found | {(each.path, 0) for each in kept if isinstance(each, KeepAnswer)}


def succession(program: Program, arguments: Sequence[Any], offer: Any, rng: random.Random, reigns: int) -> Reign:
    """A job with so many leaders, each of which dies at some point; what is recorded never runs again."""
    reign = Reign(program, arguments, offer=offer, home="p0", others=["p1", "p2", "p3"]).starts()
    for number in range(1, reigns):
        for _ in range(rng.choice((0, 1, 3, 10, 30))):
            if reign.over or not reign.acts(rng):
                break
        cut = rng.randint(0, len(reign.kept))
        elapsed = reign.elapsed
        after = reign.follows(f"p{number}", cut=cut, now=rng.choice((0.0, 1000.0)))
        told = list(after.view)
        for each in reign.kept[cut:]:  # what a worker still knew, or what reached another peer
            if isinstance(each, KeepResults) and rng.random() < 0.5:
                told.append(each)
                after.hears(after.leader.learned(each.path, each.numbers, each.values, after.now))
        if rng.random() < 0.7:
            reign.tells(after)
        reign = after.starts(elapsed + rng.choice((0.0, 0.5)))
        reign.view_told = told
    reign.ends(rng)
    return reign


def checked(reign: Reign) -> None:
    assert not set(reign.ran) & recorded(reign.view_told)
    answered = {each.path for each in reign.view if isinstance(each, KeepAnswer)}
    assert not set(reign.asked_inline) & answered
    own = {each.path for each in reign.kept if isinstance(each, KeepAnswer | KeepConcluded)}
    assert not own & {each.path for each in reign.view if isinstance(each, KeepAnswer | KeepConcluded)}
