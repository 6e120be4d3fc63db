"""Steps that have lost their leader, and who leads each job now. Core.

A step that is kept goes on without its leader for some time. Whoever takes its job over is told what is under way; what
was told is remembered until that leader opens the step or is no longer the one who leads: of a batch that it adopts it
must hear everything that came of it in between.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

from meshwit.ids import PeerId
from meshwit.peer.work.hosted import HostedStep, Key, Term
from meshwit.peer.work.messages import Held, HeldBatch, Open, span

ORPHAN_S: Final = 60.0
"""So long a step goes on without a leader: much longer than it takes to find another."""
ORPHANS_MAX: Final = 4096
TERMS_MAX: Final = 4096
"""Jobs of which it is remembered who leads them."""
OPENINGS_MAX: Final = 16_384
"""Steps of which it is remembered, also after they were closed, what their leaders call them: until the job is over."""
HELD_NUMBERS_MAX: Final = 50_000
"""In one message, where a single batch has no more: it has to fit a frame."""
_BATCH_NUMBERS: Final = 8
"""What a batch counts for besides the items that are listed."""


class Told:
    """What a new leader was told of a step.

    Attributes:
        opened: the step, as the leader before had it.
        batches: items by the number that the leader before had for their batch.
        serial: of the newest result that was kept by then.
    """

    __slots__ = ("batches", "leader", "opened", "serial")

    def __init__(self, leader: PeerId, opened: Open, serial: int) -> None:
        self.leader = leader
        self.opened = opened
        self.batches: dict[int, list[Sequence[int]]] = {}
        self.serial = serial


class Orphans:
    """See the module. Whatever it gives back to be dropped is no longer in it."""

    def __init__(self) -> None:
        self._steps: OrderedDict[Key, HostedStep] = OrderedDict()
        self._told: OrderedDict[Key, Told] = OrderedDict()
        self._terms: OrderedDict[str, Term] = OrderedDict()
        self._openings: OrderedDict[tuple[PeerId, int], tuple[Key, int, Term]] = OrderedDict()
        self._names: dict[str, set[tuple[PeerId, int]]] = {}

    def __iter__(self) -> Iterator[HostedStep]:
        return iter(self._steps.values())

    def __len__(self) -> int:
        return len(self._steps)

    # --- who leads ---------------------------------------------------------------------------------------------

    def term(self, job: str) -> Term | None:
        """The highest known of a job."""
        return self._terms.get(job)

    def outranks(self, job: str, term: Term) -> bool:
        """Whether a higher term than that is known."""
        known = self._terms.get(job)
        return known is not None and known > term

    def led_by(self, job: str, term: Term, now: float) -> bool:
        """A term of a job that none outranks; whether it is new. What other leaders were told counts no more."""
        new = self._terms.get(job) != term
        self._terms[job] = term
        self._terms.move_to_end(job)
        if len(self._terms) > TERMS_MAX:
            self._terms.popitem(last=False)
        if new:
            for key in [key for key, told in self._told.items() if key[0] == job and told.leader != term[2]]:
                self._unclaim(key, now)
        return new

    def opened(self, step: HostedStep) -> None:
        """A leader opened a step."""
        name = (step.leader, step.opened.step)
        self._forget_opening(name)
        self._openings[name] = (step.key, step.opening, step.term)
        self._names.setdefault(step.key[0], set()).add(name)
        if len(self._openings) > OPENINGS_MAX:
            self._forget_opening(next(iter(self._openings)))

    def meant(self, leader: PeerId, step: int) -> tuple[Key, int] | None:
        """What a leader means by a number: a step and its opening; None if it leads that job no more."""
        key, opening, term = self._openings.get((leader, step), (("", ()), 0, (0, 0, leader)))
        return (key, opening) if opening and not self.outranks(key[0], term) else None

    # --- steps -------------------------------------------------------------------------------------------------

    def add(self, step: HostedStep, now: float) -> list[HostedStep]:
        """A step has lost its leader; those that are to be dropped for its sake."""
        step.orphaned_at = now
        dropped = [each for each in (self._steps.pop(step.key, None),) if each is not None]
        self._steps[step.key] = step
        if len(self._steps) > ORPHANS_MAX:
            dropped.append(self._steps.popitem(last=False)[1])
        return dropped

    def remove(self, step: HostedStep) -> None:
        """A step is no more."""
        if self._steps.get(step.key) is step:
            del self._steps[step.key]

    def take(self, key: Key, leader: PeerId) -> tuple[HostedStep | None, Told | None]:
        """A leader opens a step: the orphan, and what that leader was told of it."""
        told = self._told.pop(key, None)
        return self._steps.pop(key, None), told if told is not None and told.leader == leader else None

    def take_due(self, now: float) -> list[HostedStep]:
        """Those to be dropped: nothing of them is under way, or nobody has come to lead them."""
        due = [
            step
            for key, step in self._steps.items()
            if not step.busy or (key not in self._told and now - (step.orphaned_at or 0.0) >= ORPHAN_S)
        ]
        for step in due:
            del self._steps[step.key]
        return due

    def take_job(self, job: str) -> list[HostedStep]:
        """A job is over."""
        for name in self._names.pop(job, ()):
            del self._openings[name]
        for key in [key for key in self._told if key[0] == job]:
            del self._told[key]
        return [self._steps.pop(key) for key in [key for key in self._steps if key[0] == job]]

    # --- what is told ------------------------------------------------------------------------------------------

    def tell(self, job: str, leader: PeerId, serial: int) -> Iterator[Held]:
        """What whoever leads a job now hears of its orphans."""
        for key, step in self._steps.items():
            if key[0] == job:
                told = self._told.get(key)
                if told is None or told.leader != leader:  # else it may go by what it heard first
                    told = self._told[key] = Told(leader, step.opened, serial)
                self._told.move_to_end(key)
                if len(self._told) > ORPHANS_MAX:
                    self._told.popitem(last=False)
                yield from _told_in_parts(step, list(_held(step)), told)

    def leader_left(self, leader: PeerId, now: float) -> None:
        """What a leader was told is nobody's again."""
        for key in [key for key, told in self._told.items() if told.leader == leader]:
            self._unclaim(key, now)

    def _forget_opening(self, name: tuple[PeerId, int]) -> None:
        if name in self._openings:
            (job, _), _, _ = self._openings.pop(name)
            self._names[job].discard(name)
            if not self._names[job]:
                del self._names[job]

    def _unclaim(self, key: Key, now: float) -> None:
        del self._told[key]
        step = self._steps.get(key)
        if step is not None:
            step.orphaned_at = now


def _held(step: HostedStep) -> Iterator[tuple[int, Sequence[int], bool]]:
    """Number, items and whether it has begun, of each batch: what runs, then what waits."""
    for batch in step.running.values():
        left = batch.left()
        if batch.wanted and len(left):
            yield batch.number, left, batch.begun
    for waiting in step.queue:
        numbers = waiting.batch.items.numbers
        if len(numbers):
            yield waiting.batch.batch, numbers, False


def _told_in_parts(step: HostedStep, batches: list[tuple[int, Sequence[int], bool]], told: Told) -> Iterator[Held]:
    held: list[HeldBatch] = []
    numbers = 0
    known = set(told.batches)
    for number, items, begun in batches:
        batch = HeldBatch(number, span(items), begun)
        if number not in known:
            told.batches.setdefault(number, []).append(items)
        more = len(batch.items.listed) + _BATCH_NUMBERS
        if held and numbers + more > HELD_NUMBERS_MAX:
            yield _held_message(step, held)
            held, numbers = [], 0
        held.append(batch)
        numbers += more
    if held:
        yield _held_message(step, held)


def _held_message(step: HostedStep, held: list[HeldBatch]) -> Held:
    origin = step.origin
    return Held(*step.key, held, origin.epoch, origin.leader, origin.since)
