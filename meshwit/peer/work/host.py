"""What a peer does for leaders, itself among them: which batch goes to its worker processes next. Core.

Each step that a leader opens here has a queue. A batch leaves it when the blobs that it needs are here, the pool has
room and no activity that wants the device for itself is in the way; of several steps the one of highest priority, then
the one that uses least of the slots that it was granted (`granting`). A leader hears of its slots whenever they change,
and gives no more batches than fit; what it gives beyond waits here. So a peer is never overbooked, however many lead.

A step that is kept (`Open.epoch`) goes on without its leader (`orphans`), and its results are held until they outlive
the leader (`retained`). Whoever takes the job over is told both, and goes on with the batches that its `Open` adopts.
Only the highest term that is known of a job is obeyed.

It trusts no leader: a message about a step that is not that leader's does nothing, what cannot be is `Misbehaved` by
its shell, and the number of steps and of batches that wait is limited.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from meshwit.codec import Buffer
from meshwit.ids import PeerId
from meshwit.peer.work.awaited import AwaitedBlobs
from meshwit.peer.work.effects import Effect, End, Forget, Prepare, Recall, Say, Submit
from meshwit.peer.work.granting import Granting, idle
from meshwit.peer.work.hosted import JOB_CHARS_MAX, HostedStep, Running, Term, Waiting, keeps, next_step, same_call
from meshwit.peer.work.inheriting import begun_of, gone_since, keep_adopted, may_adopt, said_since, told_of
from meshwit.peer.work.messages import (
    AskBack,
    Assigned,
    Begun,
    Close,
    Done,
    Durable,
    GivenBack,
    Open,
    Refused,
    Unwanted,
    span,
)
from meshwit.peer.work.orphans import Orphans
from meshwit.peer.work.retained import Retained

STEPS_MAX: Final = 1024
"""Of one leader at a time."""
QUEUE_MAX: Final = 65_536
"""Batches of one step that wait: by the rules two for each slot; Balanced gives all at once."""


class TaskHost:
    """See the module.

    Args:
        me: this peer: its own jobs run even while its owner lets it do nothing for others.
        slots: tasks at the same time.

    Attributes:
        granting: who may use how many of the slots.
        retained: results that whoever takes a job over is told.
    """

    def __init__(self, me: PeerId, slots: int) -> None:
        self.me = me
        self.granting = Granting(me, slots, self._all)
        self._numbers = itertools.count(1)
        self._steps: dict[tuple[PeerId, int], HostedStep] = {}
        self._by_number: dict[int, HostedStep] = {}
        self._batches: dict[int, HostedStep] = {}
        self._orphans = Orphans()
        self.retained = Retained()
        self._fetching = AwaitedBlobs(self._numbers)
        self._effects: list[Effect] = []

    # --- what leaders say --------------------------------------------------------------------------------------

    def open(self, leader: PeerId, opened: Open, buffers: Sequence[Buffer], now: float) -> list[Effect]:
        """A step begins here."""
        if (leader, opened.step) in self._steps:
            return []
        if sum(key[0] == leader for key in self._steps) >= STEPS_MAX:
            return [Say(leader, Refused(opened.step, f"it has {STEPS_MAX} steps of this leader already"))]
        if keeps(opened):
            return self._open_kept(leader, opened, buffers, now)
        self._begin(leader, opened, buffers, now)
        self._share(now)
        return self._taken()

    def assigned(self, leader: PeerId, batch: Assigned, buffers: Sequence[Buffer], now: float) -> list[Effect]:
        """A batch for a step."""
        step = self._steps.get((leader, batch.step))
        if step is None or not batch.items.sane:
            return []
        if len(step.queue) >= QUEUE_MAX:
            return self.refuse(step.number, f"more than {QUEUE_MAX} batches wait", now)
        waiting = Waiting(next(self._numbers), batch, buffers)
        step.queue.append(waiting)
        if batch.blobs:
            self._effects.append(self._fetching.fetch(step, waiting, batch.blobs, batch.holders))
        was_idle = idle(step, now)
        step.active_at = now
        if was_idle:
            self._share(now)
        return self._taken()

    def ask_back(self, leader: PeerId, asked: AskBack) -> list[Effect]:
        """A leader wants items that have not begun."""
        step = self._steps.get((leader, asked.step))
        if step is None or not asked.items.sane:
            return [Say(leader, GivenBack(asked.step, span(())))]
        wanted = set(asked.items.numbers)
        queued: list[int] = []
        for waiting in list(step.queue):
            numbers = waiting.batch.items.numbers
            if not wanted.isdisjoint(numbers):
                step.queue.remove(waiting)
                queued += numbers
        left = wanted.difference(queued)
        return [Recall(step.number, list(step.running), sorted(left), queued)]

    def unwanted(self, leader: PeerId, said: Unwanted) -> list[Effect]:
        """Items are settled elsewhere."""
        step = self._steps.get((leader, said.step))
        if step is None or not said.items.sane:
            return []
        dropped = set(said.items.numbers)
        for waiting in list(step.queue):
            if dropped.issuperset(waiting.batch.items.numbers):
                step.queue.remove(waiting)
        if step.kept:
            for batch in step.running.values():
                batch.over.update(dropped.intersection(batch.items))
        numbers = sorted(dropped)
        return [Forget(number, numbers) for number in step.running]

    def close(self, leader: PeerId, closed: Close, now: float) -> list[Effect]:
        """A step is over."""
        step = self._steps.get((leader, closed.step))
        if step is not None:
            self._drop(step, cancel=closed.cancel or bool(step.running), replace=not closed.cancel)
            self._share(now)
        return self._taken()

    def durable(self, leader: PeerId, said: Durable) -> list[Effect]:
        """Results outlive their leader."""
        meant = self._orphans.meant(leader, said.step)
        if meant is not None and said.upto > 0:
            self.retained.durable(meant[0], (meant[1], said.upto))
        return []

    # --- who leads ---------------------------------------------------------------------------------------------

    def leader_left(self, leader: PeerId, now: float) -> list[Effect]:
        """A leader is gone: what is kept goes on without it, what else runs for it nobody wants."""
        for step in [step for key, step in self._steps.items() if key[0] == leader]:
            self._lose_leader(step, now)
        self._orphans.leader_left(leader, now)
        self.retained.leader_left(leader)
        self._share(now)
        return self._taken()

    def took_over(self, job: str, epoch: int, rank: int, leader: PeerId, now: float) -> list[Effect]:
        """A leader has taken a job over: it hears what is here of it."""
        term = (epoch, rank, leader)
        if epoch <= 0 or len(job) > JOB_CHARS_MAX or self._orphans.outranks(job, term):
            return []
        self._led_by(job, term, now)
        self._share(now)
        return self._taken() + told_of(job, term, self._orphans, self.retained)

    def resend(self, job: str, leader: PeerId, epoch: int, now: float) -> list[Effect]:
        """The leader of a job, whose link was lost for a moment, wants to hear what is here of it."""
        known = self._orphans.term(job)
        if known is not None and (known[0], known[2]) != (epoch, leader):
            return []
        return self.took_over(job, epoch, 0 if known is None else known[1], leader, now)

    def job_over(self, job: str, now: float) -> list[Effect]:
        """A job has its outcome: nobody wants anything of it."""
        for orphan in self._orphans.take_job(job):
            self._end(orphan, cancel=orphan.busy)
        for step in [step for step in self._steps.values() if step.kept and step.opened.job == job]:
            self._drop(step, cancel=bool(step.running))
        self.retained.forget(job)
        self._share(now)
        return self._taken()

    # --- what happens here -------------------------------------------------------------------------------------

    def refuse(self, number: int, why: str, now: float) -> list[Effect]:
        """A step cannot run here."""
        step = self._by_number.get(number)
        if step is not None:
            self._drop(step, cancel=True)
            if step.orphaned_at is None:
                self._effects.append(Say(step.leader, Refused(step.opened.step, why)))
            self._share(now)
        return self._taken()

    def fetched(self, key: int, why: str, now: float) -> list[Effect]:
        """Blobs are here; or they cannot be had, and why."""
        found = self._fetching.ended(key)
        if found is None or found[0].number not in self._by_number:
            return []
        step, waiting = found
        if why and step.orphaned_at is not None and waiting is not None:
            step.queue = deque(each for each in step.queue if each is not waiting)
            return []
        if why:
            return self.refuse(step.number, why, now)
        if waiting is None:
            step.missing = False
        else:
            waiting.missing = False
        return self._taken()

    def next_batches(self, room: int) -> list[Effect]:
        """Batches for a pool that has room for so many more."""
        while room > 0:
            step = next_step(list(self._all()), self.granting.rests_for)
            if step is None:
                break
            waiting = next(each for each in step.queue if not each.missing)
            step.queue.remove(waiting)
            step.running[waiting.number] = Running(waiting.batch.batch, waiting.batch.items.numbers)
            self._batches[waiting.number] = step
            self._effects.append(Submit(waiting.number, step.number, waiting.batch, waiting.buffers))
            room -= 1
        return self._taken()

    def begun(self, number: int) -> list[Effect]:
        """A worker process began with a batch."""
        step = self._batches.get(number)
        if step is None:
            return []
        batch = step.running[number]
        batch.begun = True
        if step.orphaned_at is not None or not batch.wanted:
            return []
        return [Say(step.leader, Begun(step.opened.step, [batch.number]))]

    def number_of(self, number: int) -> int:
        """The number here of the step that a batch is of; 0 for none."""
        step = self._batches.get(number)
        return 0 if step is None else step.number

    def done(self, number: int, done: Done, buffers: Sequence[Buffer]) -> list[Effect]:
        """Items of a batch ended; `done` as its leader will hear it, whose step and number are not known yet."""
        step = self._batches.get(number)
        if step is None or not step.running[number].wanted:
            return []
        sent = 0
        if step.kept:
            step.running[number].over.update(done.items.numbers)
            if not done.failures:
                sent = step.sent = step.sent + 1
                said_to = step.term if step.orphaned_at is None else None
                self.retained.add(step.key, (step.opening, sent), done, buffers, said_to, step.origin)
        if step.orphaned_at is not None:
            return []
        return [Say(step.leader, msgspec.structs.replace(done, step=step.opened.step, number=sent), buffers)]

    def taken_back(self, number: int, items: Iterable[int]) -> None:
        """Items of a batch are with the pool no more; `recalled` follows."""
        step = self._batches.get(number)
        if step is not None and step.kept:
            step.running[number].over.update(items)

    def batch_ended(self, number: int, now: float) -> None:
        """Nothing more comes of a batch."""
        step = self._batches.pop(number, None)
        if step is not None:
            step.running.pop(number, None)
            step.active_at = now

    def recalled(self, number: int, items: Sequence[int], now: float) -> list[Effect]:
        """The answer to `Recall`: these had not begun."""
        step = self._by_number.get(number)
        if step is None or step.orphaned_at is not None:
            return []
        step.active_at = now
        return [Say(step.leader, GivenBack(step.opened.step, span(items)))]

    def step_of(self, number: int) -> tuple[PeerId, int] | None:
        """The leader of a step of the pool, and its number there; None also if it has none."""
        step = self._by_number.get(number)
        return None if step is None or step.orphaned_at is not None else (step.leader, step.opened.step)

    def rest(self, resting: bool, now: float) -> list[Effect]:
        """The owner lets the device work for others, or no more."""
        if resting != self.granting.resting:
            self.granting.resting = resting
            self._share(now)
        return self._taken()

    def tick(self, now: float) -> list[Effect]:
        """Time has passed."""
        self.granting.turn(now)
        for orphan in self._orphans.take_due(now):
            self._end(orphan, cancel=orphan.busy)
        self._share(now)
        return self._taken()

    def leaders(self) -> list[PeerId]:
        """Those that have batches here: they should hear that this peer lives."""
        return sorted({step.leader for step in self._steps.values() if step.queue or step.running})

    @property
    def unserved(self) -> bool:
        """Whether a step waits for its turn for slots, or has no leader: time must pass here, though nothing runs."""
        waits = any(step.granted <= 0 and not self.granting.rests_for(step) for step in self._steps.values())
        return waits or len(self._orphans) > 0

    @property
    def free_slots(self) -> int:
        """Slots that nobody uses."""
        return self.granting.free

    def jobs(self) -> set[tuple[PeerId, str]]:
        """The jobs that have steps here."""
        return {(step.leader, step.opened.job) for step in self._all()}

    def check(self) -> None:
        """Invariants."""
        for number, step in self._batches.items():
            assert number in step.running and self._by_number[step.number] is step
        assert set(self._by_number) == {number for step in self._all() for number in (*step.before, step.number)}
        assert all(step.orphaned_at is None for step in self._steps.values())
        assert all(step.orphaned_at is not None and step.kept for step in self._orphans)
        self.retained.check()

    # --- changing hands ----------------------------------------------------------------------------------------

    def _lose_leader(self, step: HostedStep, now: float) -> None:
        if not step.kept or not step.busy:
            self._drop(step, cancel=True)
            return
        del self._steps[step.leader, step.opened.step]
        for dropped in self._orphans.add(step, now):
            self._end(dropped, cancel=True)

    def _led_by(self, job: str, term: Term, now: float) -> None:
        """None but that leader leads a job from now on."""
        if self._orphans.led_by(job, term, now):
            for step in list(self._steps.values()):
                if step.opened.job == job and step.kept and step.term < term:
                    self._lose_leader(step, now)

    def _open_kept(self, leader: PeerId, opened: Open, buffers: Sequence[Buffer], now: float) -> list[Effect]:
        key, term = (opened.job, opened.path), (opened.epoch, opened.rank, leader)
        if self._orphans.outranks(opened.job, term):
            return [Say(leader, Refused(opened.step, "another peer leads this job now"))]
        self._led_by(opened.job, term, now)
        orphan, told = self._orphans.take(key, leader)
        gone: Sequence[int] = ()
        before = orphan.opened if orphan is not None else opened if told is None else told.opened
        same = same_call(before, opened)
        if not same:  # what came of another call is not what comes of this one
            self.retained.forget_step(key)
        if orphan is not None and not (same and opened.adopted):
            self._end(orphan, cancel=orphan.busy)
            orphan = None
        if not may_adopt(told, opened):
            if orphan is not None:
                self._end(orphan, cancel=True)
            # It would wait for ever for what came of those before.
            self._effects.append(Say(leader, Refused(opened.step, "it does not have the batches that were adopted")))
            self._share(now)
            return self._taken()
        if told is not None:
            gone = gone_since(orphan, told, opened)
        step = orphan
        if step is None:
            step = self._begin(leader, opened, buffers, now)
        else:
            self._adopt(step, leader, opened, buffers, now)
        self._orphans.opened(step)
        self._share(now)
        self._effects += begun_of(step)
        if told is not None:
            self._effects += said_since(step, told, gone, self.retained)
        return self._taken()

    def _begin(self, leader: PeerId, opened: Open, buffers: Sequence[Buffer], now: float) -> HostedStep:
        step = HostedStep(next(self._numbers), leader, opened, now)
        self._steps[leader, opened.step] = step
        self._by_number[step.number] = step
        self._effects.append(Prepare(step.number, leader, opened, buffers))
        if opened.needed:
            self._effects.append(self._fetching.fetch(step, None, opened.needed, opened.holders))
        return step

    def _adopt(self, step: HostedStep, leader: PeerId, opened: Open, buffers: Sequence[Buffer], now: float) -> None:
        """Go on with an orphan for whoever has taken its job over: with the batches that it adopts, and no others."""
        changed = (step.leader == self.me) != (leader == self.me)
        needed = opened.needed if changed else [*dict.fromkeys((*step.opened.needed, *opened.needed))]
        unwanted = keep_adopted(step, opened)
        step.led_by(leader, opened, next(self._numbers), now)
        self._steps[leader, opened.step] = step
        if changed:  # own jobs may do what those of others may not
            step.before.append(step.number)
            step.number = next(self._numbers)
            self._by_number[step.number] = step
            step.missing |= bool(opened.shared)
            self._effects.append(Prepare(step.number, leader, opened, buffers))
            step.missing = bool(needed)
        self._effects += unwanted  # after the step is known: the pool may want more at once
        self._effects += self._fetching.fetch_anew(step, needed)

    # --- inside ------------------------------------------------------------------------------------------------

    def _all(self) -> Iterable[HostedStep]:
        return itertools.chain(self._steps.values(), self._orphans)

    def _drop(self, step: HostedStep, *, cancel: bool, replace: bool = False) -> None:
        if step.orphaned_at is None:
            del self._steps[step.leader, step.opened.step]
        else:
            self._orphans.remove(step)
        self._end(step, cancel=cancel, replace=replace)

    def _end(self, step: HostedStep, *, cancel: bool, replace: bool = False) -> None:
        for number in step.running:
            self._batches.pop(number, None)
        for number in (*step.before, step.number):
            del self._by_number[number]
            self._effects.append(End(number, cancel, cancel and replace))

    def _share(self, now: float) -> None:
        self._effects += self.granting.share(now)

    def _taken(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects
