"""Results that a peer keeps until they outlive their leader: whoever takes a job over is told them again. Core.

Kept are results of kept steps, also when the step is closed, until the leader says that they are `Durable` or the job
is over. What is kept has a bound in bytes; the oldest goes first, which after a leader's death costs no more than that
it is computed again. A result with failures is not kept: a failed item is not finished, and the values of the others
lie in one encoded list with it. Nothing is remembered of a job of which nothing is kept, so the bound holds for all.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Final, TypeAlias

from meshwit.codec import Buffer
from meshwit.ids import PeerId
from meshwit.peer.work.hosted import NOBODY, Key, Origin, Term
from meshwit.peer.work.messages import Done

BYTES_MAX: Final = 256 * 1024 * 1024
_OVERHEAD_BYTES: Final = 1024
"""Of the objects around a result, roughly."""
_NUMBER_BYTES: Final = 32
Mark: TypeAlias = tuple[int, int]
"""Which opening of its step a result was sent for, and its number there; later openings are higher."""


class Kept:
    """A result.

    Attributes:
        serial: counts all that were ever kept.
        origin: for whom it was computed, and on what that rests.
        said_to: the leader that has heard it, by its term; None if none has over a link that stands.
        size: what it counts for.
    """

    __slots__ = ("buffers", "done", "key", "mark", "origin", "said_to", "serial", "size")

    def __init__(
        self,
        serial: int,
        key: Key,
        mark: Mark,
        done: Done,
        buffers: Sequence[Buffer],
        said_to: Term | None,
        origin: Origin,
    ) -> None:
        self.serial = serial
        self.key = key
        self.origin = origin
        self.mark = mark
        self.done = done
        self.said_to = said_to
        self.buffers = [owned(buffer) for buffer in buffers]
        self.size = _size(key, done) + sum(memoryview(buffer).nbytes for buffer in self.buffers)


class Retained:
    """See the module.

    Attributes:
        bytes: what all of it takes.
        serial: of the newest.
    """

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self.bytes = 0
        self.serial = 0
        self._bytes_max = bytes_max
        self._all: OrderedDict[int, Kept] = OrderedDict()
        self._jobs: dict[str, dict[tuple[int, ...], deque[Kept]]] = {}

    def add(
        self,
        key: Key,
        mark: Mark,
        done: Done,
        buffers: Sequence[Buffer],
        said_to: Term | None = None,
        origin: Origin = NOBODY,
    ) -> None:
        """Keep a result, if it is one to be kept."""
        if done.failures or _size(key, done) + sum(memoryview(each).nbytes for each in buffers) > self._bytes_max:
            return
        self.serial += 1
        kept = Kept(self.serial, key, mark, done, buffers, said_to, origin)
        self._all[kept.serial] = kept
        self._jobs.setdefault(key[0], {}).setdefault(key[1], deque()).append(kept)
        self.bytes += kept.size
        while self.bytes > self._bytes_max:
            self._drop(next(iter(self._all.values())))

    def durable(self, key: Key, upto: Mark) -> None:
        """Those of a step up to a mark outlive the leader. Those of openings before do so too: they were told to it
        before it opened the step, and lie before in what it recorded."""
        kept = self._jobs.get(key[0], {}).get(key[1])
        while kept and kept[0].mark <= upto:
            self._drop(kept[0])

    def of(self, job: str) -> list[Kept]:
        """All of a job, those of a step in their order."""
        return [kept for queue in self._jobs.get(job, {}).values() for kept in queue]

    def unsaid(self, job: str, term: Term) -> list[Kept]:
        """Those of a job that its leader has not heard; from now on it has."""
        found = [kept for kept in self.of(job) if kept.said_to != term]
        for kept in found:
            kept.said_to = term
        return found

    def leader_left(self, leader: PeerId) -> None:
        """A leader may not have heard what was said to it."""
        for kept in self._all.values():
            if kept.said_to is not None and kept.said_to[2] == leader:
                kept.said_to = None

    def since(self, key: Key, serial: int) -> list[Kept]:
        """Those of a step that came after one."""
        return [kept for kept in self._jobs.get(key[0], {}).get(key[1], ()) if kept.serial > serial]

    def forget(self, job: str) -> None:
        """A job is over."""
        for kept in self.of(job):
            self._drop(kept)

    def forget_step(self, key: Key) -> None:
        """What is kept of a step is worth nothing."""
        for kept in self.since(key, -1):
            self._drop(kept)

    def check(self) -> None:
        """Invariants."""
        assert self.bytes == sum(kept.size for kept in self._all.values()) <= self._bytes_max
        assert sum(len(queue) for steps in self._jobs.values() for queue in steps.values()) == len(self._all)
        assert all(steps and all(steps.values()) for steps in self._jobs.values())

    def _drop(self, kept: Kept) -> None:
        """Always the oldest of its step."""
        del self._all[kept.serial]
        self.bytes -= kept.size
        job, path = kept.key
        steps = self._jobs[job]
        steps[path].popleft()
        if not steps[path]:
            del steps[path]
            if not steps:
                del self._jobs[job]


def owned(buffer: Buffer) -> Buffer:
    """A buffer that stands in no memory of others: views of shared memory are copied, since it is short."""
    view = memoryview(buffer)
    return buffer if isinstance(view.obj, bytes) else view.tobytes()


def _size(key: Key, done: Done) -> int:
    names = len(key[0]) + _NUMBER_BYTES * (len(key[1]) + len(done.items.listed) + 2 * len(done.blobs))
    texts = 4 * sum(map(len, done.outputs.values())) + _NUMBER_BYTES * len(done.outputs)
    return _OVERHEAD_BYTES + names + texts + len(done.header) + len(done.seconds)
