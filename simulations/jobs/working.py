"""A simulated peer at work: a `TaskHost` bound to a virtual pool, as `peer.work.working` binds it to a real one."""

from __future__ import annotations

import array
from collections.abc import Sequence
from typing import Any, assert_never

from meshwit.codec import Buffer, CodecError
from meshwit.ids import PeerId
from meshwit.peer.exec.messages import TaskFailure
from meshwit.peer.work import effects as do
from meshwit.peer.work.host import TaskHost
from meshwit.peer.work.messages import (
    AskBack,
    Assigned,
    Beat,
    Close,
    Done,
    Durable,
    Open,
    ToPeer,
    Unwanted,
    span,
)
from simulations.jobs.clock import Clock
from simulations.jobs.lab import CODEC, LAB, task_of
from simulations.jobs.pool import Batch, VirtualPool
from simulations.jobs.surroundings import Say, Watching

RECALL_S = 0.002


class Working:
    """See the module.

    Args:
        lab: it has the controller of simulated jobs.
    """

    def __init__(
        self, me: PeerId, clock: Clock, slots: int, speed: float, say: Say, watch: Watching, *, lab: bool = True
    ) -> None:
        self.host = TaskHost(me, slots)
        self.pool = VirtualPool(clock.simulation, slots, speed, self._begun, self._item_begun, self._results)
        self._me = me
        self._clock = clock
        self._say = say
        self._watch = watch
        self._lab = lab
        self._left: dict[int, int] = {}
        self._jobs: dict[int, Open] = {}
        self._runs: dict[tuple[int, int], int] = {}

    def received(self, leader: PeerId, message: ToPeer, buffers: Sequence[Buffer]) -> None:
        """A leader said something."""
        now = self._clock.now
        match message:
            case Open():
                effects = self.host.open(leader, message, buffers, now)
                self._watch.opened(self._me, leader, message, effects)
                self._perform(effects)
            case Assigned():
                self._perform(self.host.assigned(leader, message, buffers, now))
            case AskBack():
                self._perform(self.host.ask_back(leader, message))
            case Unwanted():
                self._perform(self.host.unwanted(leader, message))
            case Close():
                self._perform(self.host.close(leader, message, now))
            case Durable():
                self._perform(self.host.durable(leader, message))
            case _:
                assert_never(message)
        self.feed()

    def leader_left(self, leader: PeerId) -> None:
        """A leader is gone."""
        self._perform(self.host.leader_left(leader, self._clock.now))
        self.feed()

    def took_over(self, job: str, epoch: int, rank: int, leader: PeerId) -> None:
        """A peer has taken a job over."""
        self._watch.obeyed(self._me, job, (epoch, rank, leader))
        self._perform(self.host.took_over(job, epoch, rank, leader, self._clock.now))
        self.feed()

    def resend(self, job: str, leader: PeerId, epoch: int) -> None:
        """The leader of a job is back."""
        self._perform(self.host.resend(job, leader, epoch, self._clock.now))
        self.feed()

    def job_over(self, job: str) -> None:
        """A job has its outcome."""
        self._perform(self.host.job_over(job, self._clock.now))
        self.feed()

    def beat(self) -> None:
        """Tell leaders that this peer lives."""
        for leader in sorted(self.host.leaders()):
            self._say(leader, Beat())
        self._perform(self.host.tick(self._clock.now))
        self.feed()

    def feed(self) -> None:
        """Fill the pool."""
        room = self.pool.wants_more()
        if room > 0:
            self._perform(self.host.next_batches(room))

    # --- performing --------------------------------------------------------------------------------------------------

    def _perform(self, effects: Sequence[do.Effect]) -> None:
        for effect in effects:
            match effect:
                case do.Say(leader=leader, message=message, buffers=buffers):
                    self._say(leader, message, buffers)
                case do.Prepare():
                    self._prepare(effect)
                case do.Submit():
                    self._submit(effect)
                case do.Fetch():
                    raise AssertionError("values of simulated jobs have no blobs")
                case do.Recall():
                    self._clock.later(RECALL_S, self._recall, effect)
                case do.Forget(number=number, items=items):
                    self.pool.drop(number, items)
                case do.End(number=number, cancel=cancel):
                    self._jobs.pop(number, None)
                    if cancel:
                        self.pool.cancel(number)
                    else:
                        self._clock.soon(self.pool.cancel, number)
                case _:
                    assert_never(effect)

    def _prepare(self, effect: do.Prepare) -> None:
        try:
            if not self._lab:
                raise ValueError("has no such activity")
            task_of(effect.opened.header)
        except (ValueError, KeyError, TypeError, CodecError) as reason:
            self._clock.soon(self._refuse, effect.number, str(reason))
            return
        self._jobs[effect.number] = effect.opened

    def _refuse(self, number: int, why: str) -> None:
        self._perform(self.host.refuse(number, why, self._clock.now))
        self.feed()

    def _submit(self, effect: do.Submit) -> None:
        opened = self._jobs.get(effect.step)
        numbers = effect.batch.items.numbers
        try:
            items = CODEC.decode(effect.batch.header)
        except CodecError:
            items = []
        if opened is None or len(items) != len(numbers):
            self._clock.soon(self._refuse, effect.step, "a batch that nobody can run")
            return
        self._left[effect.number] = len(numbers)
        task, values = task_of(opened.header), dict(zip(numbers, items, strict=True))

        def run(number: int) -> Any:
            LAB.run = self._runs.pop((effect.number, number), 0)
            try:
                return task(values[number])
            except Exception as reason:
                return TaskFailure("raised", "ValueError", str(reason))

        works = [self._watch.work_of(opened.job, opened.path, number) for number in numbers]
        self.pool.submit(Batch(effect.step, effect.number, numbers, works, run))

    def _item_begun(self, batch: Batch, number: int) -> None:
        opened = self._jobs.get(batch.step)
        if opened is not None:
            self._runs[batch.number, number] = self._watch.begun(self._me, opened, number)

    def _begun(self, number: int) -> None:
        self._perform(self.host.begun(number))

    def _results(self, batch: Batch, found: list[tuple[int, Any, float]], over: bool) -> None:
        if found:
            numbers = [number for number, _, _ in found]
            failures = {number: value for number, value, _ in found if isinstance(value, TaskFailure)}
            values = [None if number in failures else value for number, value, _ in found]
            header = b"" if len(failures) == len(found) else CODEC.encode_with_blobs(values)[0]
            seconds = array.array("f", [took for _, _, took in found]).tobytes()
            self._perform(
                self.host.done(batch.number, Done(0, span(numbers), header, seconds, 0, failures), [])
            )  # fmt: skip
        self._ended(batch.number, len(found), over=over)
        self.feed()

    def _ended(self, number: int, count: int, *, over: bool = False) -> None:
        left = self._left.get(number, 0) - count
        if over or left <= 0:
            self._left.pop(number, None)
            self.host.batch_ended(number, self._clock.now)
        else:
            self._left[number] = left

    def _recall(self, effect: do.Recall) -> None:
        back = list(effect.queued)
        for number in effect.batches if effect.items else ():
            if number in self._left:
                taken = self.pool.take_back(number, effect.items)
                self.host.taken_back(number, taken)
                self._ended(number, len(taken))
                back += taken
        self._perform(self.host.recalled(effect.step, back, self._clock.now))
        self.feed()
