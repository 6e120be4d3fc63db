"""The books of a step at the peer that works for its leader: which batches wait and which run. Core."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from meshwit.codec import Buffer
from meshwit.ids import PeerId
from meshwit.peer.work.messages import Assigned, Open

JOB_CHARS_MAX: Final = 256
PATH_LENGTH_MAX: Final = 1024
"""Of jobs and paths that are longer nothing is kept: names are remembered for long, so they must be short."""
Key: TypeAlias = tuple[str, tuple[int, ...]]
"""A step whoever leads it: its job, and its path there."""
Term: TypeAlias = tuple[int, int, PeerId]
"""Epoch, rank and leader: of two who say that they lead a job, the higher one does."""


class Origin(msgspec.Struct, frozen=True):
    """For whom something is computed, and how many answers that leader had recorded when it wished for it."""

    epoch: int
    leader: PeerId
    since: int


NOBODY: Final = Origin(0, PeerId(""), 0)


class Waiting:
    """A batch in its queue; `missing` while blobs of it are being fetched."""

    __slots__ = ("batch", "buffers", "missing", "number")

    def __init__(self, number: int, batch: Assigned, buffers: Sequence[Buffer]) -> None:
        self.number = number
        self.batch = batch
        self.buffers = buffers
        self.missing = False


class Running:
    """A batch in the pool.

    Attributes:
        number: its leader's.
        begun: a worker process has it.
        over: those of its items of which nothing more will come; only of steps that are kept.
        wanted: false if its step was adopted without it.
    """

    __slots__ = ("begun", "items", "number", "over", "wanted")

    def __init__(self, number: int, items: Sequence[int]) -> None:
        self.number = number
        self.items = items
        self.begun = False
        self.over: set[int] = set()
        self.wanted = True

    def left(self) -> Sequence[int]:
        """The items of which something is still to come."""
        return [item for item in self.items if item not in self.over] if self.over else self.items


class HostedStep:
    """A step of a leader, at this peer.

    Attributes:
        number: of the step here and in the pool.
        before: its numbers in the pool before it changed hands, as long as batches of then may run.
        granted: slots.
        queue: batches that the pool has not got, in order.
        running: batches in the pool, by its number for each.
        active_at: when it last had a batch here.
        missing: blobs of its captured values are being fetched.
        orphaned_at: since when it has no leader; None while it has.
        opening: counts openings of steps: what one leader numbers of a step is told apart from another's by it.
        sent: results that were numbered since then.
    """

    __slots__ = (
        "active_at", "before", "exclusive", "granted", "leader", "missing", "number", "opened", "opening",
        "orphaned_at", "queue", "running", "sent",
    )  # fmt: skip

    def __init__(self, number: int, leader: PeerId, opened: Open, now: float) -> None:
        self.number = number
        self.before: list[int] = []
        self.queue: deque[Waiting] = deque()
        self.running: dict[int, Running] = {}
        self.missing = False
        self.led_by(leader, opened, number, now)

    def led_by(self, leader: PeerId, opened: Open, opening: int, now: float) -> None:
        """From now on it is that leader's."""
        self.leader = leader
        self.opened = opened
        self.exclusive = frozenset(opened.exclusive)
        self.granted = -1
        self.active_at = now
        self.orphaned_at: float | None = None
        self.opening = opening
        self.sent = 0

    @property
    def slots_max(self) -> int:
        """Slots that it could use."""
        return 1 if self.opened.one_at_a_time or self.exclusive else 1_000_000

    @property
    def kept(self) -> bool:
        """Whether it outlives its leader."""
        return keeps(self.opened)

    @property
    def key(self) -> Key:
        """What it is called, whoever leads it."""
        return self.opened.job, self.opened.path

    @property
    def term(self) -> Term:
        """Of its leader."""
        return self.opened.epoch, self.opened.rank, self.leader

    @property
    def origin(self) -> Origin:
        """For whom it is computed."""
        return Origin(self.opened.epoch, self.leader, self.opened.since)

    @property
    def busy(self) -> bool:
        """Whether it has batches here."""
        return bool(self.queue or self.running)

    def left_of(self, number: int) -> set[int]:
        """What is still to come of the batches that have that number with the leader."""
        left: set[int] = set()
        for waiting in self.queue:
            if waiting.batch.batch == number:
                left.update(waiting.batch.items.numbers)
        for batch in self.running.values():
            if batch.number == number and batch.wanted:
                left.update(batch.left())
        return left


def keeps(opened: Open) -> bool:
    """Whether a step outlives its leader."""
    return opened.epoch > 0 and len(opened.job) <= JOB_CHARS_MAX and len(opened.path) <= PATH_LENGTH_MAX


def same_call(one: Open, other: Open) -> bool:
    """Whether two leaders open the same, as far as it can be seen: the call and what lies in its header, and the
    large buffers that both share."""
    both = one.shared.keys() & other.shared.keys()
    return one.header == other.header and all(one.shared[each] == other.shared[each] for each in both)


def next_step(steps: Sequence[HostedStep], rests: Callable[[HostedStep], bool]) -> HostedStep | None:
    """The one that a batch is taken of next, of those that do not rest; None if none of them can go on."""
    busy = frozenset[str]().union(*(step.exclusive for step in steps if step.running))
    ready = [
        step
        for step in steps
        if not step.missing
        and not rests(step)
        and any(not each.missing for each in step.queue)
        and not (step.exclusive & busy)
        and not (step.opened.one_at_a_time and step.running)
    ]
    return min(
        ready, key=lambda step: (-step.opened.priority, len(step.running) / max(0.5, step.granted)), default=None
    )
