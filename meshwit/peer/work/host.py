"""What a peer does for leaders, itself among them: which batch goes to its worker processes next. Core.

Each step that a leader opens here has a queue. A batch leaves it when the blobs that it needs are here, the pool has
room and no activity that wants the device for itself is in the way; of several steps the one of highest priority, then
the one that uses least of the slots that it was granted (`sharing`). A leader hears of its slots whenever they change,
and gives no more batches than fit; what it gives beyond waits here. So a peer is never overbooked, however many lead.

It trusts no leader: a message about a step that is not that leader's does nothing, what cannot be is `Misbehaved` by
its shell, and the number of steps and of batches that wait is limited.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from typing import Final

from meshwit.codec import Buffer
from meshwit.ids import PeerId
from meshwit.peer.work.effects import Effect, End, Fetch, Forget, Prepare, Recall, Say, Submit
from meshwit.peer.work.messages import (
    AskBack,
    Assigned,
    Begun,
    Close,
    GivenBack,
    Granted,
    Open,
    Refused,
    Unwanted,
    span,
)
from meshwit.peer.work.sharing import Claim, shared_out

STEPS_MAX: Final = 1024
"""Of one leader at a time."""
QUEUE_MAX: Final = 65_536
"""Batches of one step that wait: by the rules two for each slot; Balanced gives all at once."""
TURN_S: Final = 1.0
"""Where there are more steps than slots, the turn goes round so often: shorter costs messages, longer makes wait."""
IDLE_S: Final = 0.25
"""A step that has had nothing here for so long keeps no slots from others."""


class Waiting:
    """A batch in its queue; `missing` while blobs of it are being fetched."""

    __slots__ = ("batch", "buffers", "missing", "number")

    def __init__(self, number: int, batch: Assigned, buffers: Sequence[Buffer]) -> None:
        self.number = number
        self.batch = batch
        self.buffers = buffers
        self.missing = False


class HostedStep:
    """A step of a leader, at this peer.

    Attributes:
        number: of the step here and in the pool.
        granted: slots.
        queue: batches that the pool has not got, in order.
        running: batches in the pool: its number for each -> the leader's.
        active_at: when it last had a batch here.
        missing: blobs of its captured values are being fetched.
    """

    __slots__ = ("active_at", "exclusive", "granted", "leader", "missing", "number", "opened", "queue", "running")

    def __init__(self, number: int, leader: PeerId, opened: Open, now: float) -> None:
        self.number = number
        self.leader = leader
        self.opened = opened
        self.exclusive = frozenset(opened.exclusive)
        self.granted = -1
        self.queue: deque[Waiting] = deque()
        self.running: dict[int, int] = {}
        self.active_at = now
        self.missing = False

    @property
    def slots_max(self) -> int:
        """Slots that it could use."""
        return 1 if self.opened.one_at_a_time or self.exclusive else 1_000_000


class TaskHost:
    """See the module.

    Args:
        me: this peer: its own jobs run even while its owner lets it do nothing for others.
        slots: tasks at the same time.
    """

    def __init__(self, me: PeerId, slots: int) -> None:
        self.me = me
        self.slots = slots
        self.resting = False
        self._numbers = itertools.count(1)
        self._steps: dict[tuple[PeerId, int], HostedStep] = {}
        self._by_number: dict[int, HostedStep] = {}
        self._batches: dict[int, HostedStep] = {}
        self._fetching: dict[int, tuple[HostedStep, Waiting | None]] = {}
        self._turn = 0
        self._turned_at = 0.0
        self._effects: list[Effect] = []

    # --- what leaders say --------------------------------------------------------------------------------------

    def open(self, leader: PeerId, opened: Open, buffers: Sequence[Buffer], now: float) -> list[Effect]:
        """A step begins here."""
        if (leader, opened.step) in self._steps:
            return []
        if sum(key[0] == leader for key in self._steps) >= STEPS_MAX:
            return [Say(leader, Refused(opened.step, f"it has {STEPS_MAX} steps of this leader already"))]
        step = HostedStep(next(self._numbers), leader, opened, now)
        self._steps[leader, opened.step] = step
        self._by_number[step.number] = step
        self._effects.append(Prepare(step.number, leader, opened, buffers))
        if opened.blobs:
            step.missing = True
            self._fetch(step, None, opened.blobs, opened.holders)
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
            waiting.missing = True
            self._fetch(step, waiting, batch.blobs, batch.holders)
        idle = now - step.active_at > IDLE_S
        step.active_at = now
        if idle:
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
        numbers = sorted(dropped)
        return [Forget(number, numbers) for number in step.running]

    def close(self, leader: PeerId, closed: Close, now: float) -> list[Effect]:
        """A step is over."""
        step = self._steps.get((leader, closed.step))
        if step is not None:
            self._drop(step, cancel=closed.cancel or bool(step.running), replace=not closed.cancel)
            self._share(now)
        return self._taken()

    def leader_left(self, leader: PeerId, now: float) -> list[Effect]:
        """A leader is gone: nobody wants what runs for it."""
        for key in [key for key in self._steps if key[0] == leader]:
            self._drop(self._steps[key], cancel=True)
        self._share(now)
        return self._taken()

    # --- what happens here -------------------------------------------------------------------------------------

    def refuse(self, number: int, why: str, now: float) -> list[Effect]:
        """A step cannot run here."""
        step = self._by_number.get(number)
        if step is not None:
            self._drop(step, cancel=True)
            self._effects.append(Say(step.leader, Refused(step.opened.step, why)))
            self._share(now)
        return self._taken()

    def fetched(self, key: int, why: str, now: float) -> list[Effect]:
        """Blobs are here; or they cannot be had, and why."""
        step, waiting = self._fetching.pop(key, (None, None))
        if step is None or step.number not in self._by_number:
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
            step = self._next_step()
            if step is None:
                break
            waiting = next(each for each in step.queue if not each.missing)
            step.queue.remove(waiting)
            step.running[waiting.number] = waiting.batch.batch
            self._batches[waiting.number] = step
            self._effects.append(Submit(waiting.number, step.number, waiting.batch, waiting.buffers))
            room -= 1
        return self._taken()

    def begun(self, number: int) -> list[Effect]:
        """A worker process began with a batch."""
        step = self._batches.get(number)
        if step is None:
            return []
        return [Say(step.leader, Begun(step.opened.step, [step.running[number]]))]

    def owner(self, number: int) -> tuple[PeerId, int] | None:
        """The leader of a batch of the pool, and its step there."""
        step = self._batches.get(number)
        return None if step is None else (step.leader, step.opened.step)

    def batch_ended(self, number: int, now: float) -> None:
        """Nothing more comes of a batch."""
        step = self._batches.pop(number, None)
        if step is not None:
            step.running.pop(number, None)
            step.active_at = now

    def recalled(self, number: int, items: Sequence[int], now: float) -> list[Effect]:
        """The answer to `Recall`: these had not begun."""
        step = self._by_number.get(number)
        if step is None:
            return []
        step.active_at = now
        return [Say(step.leader, GivenBack(step.opened.step, span(items)))]

    def step_of(self, number: int) -> tuple[PeerId, int] | None:
        """The leader of a step of the pool, and its number there."""
        step = self._by_number.get(number)
        return None if step is None else (step.leader, step.opened.step)

    def rest(self, resting: bool, now: float) -> list[Effect]:
        """The owner lets the device work for others, or no more."""
        if resting != self.resting:
            self.resting = resting
            self._share(now)
        return self._taken()

    def tick(self, now: float) -> list[Effect]:
        """Time has passed."""
        if now - self._turned_at >= TURN_S:
            self._turned_at = now
            self._turn += 1
        self._share(now)
        return self._taken()

    def leaders(self) -> set[PeerId]:
        """Those that have batches here: they should hear that this peer lives."""
        return {step.leader for step in self._steps.values() if step.queue or step.running}

    @property
    def unserved(self) -> bool:
        """Whether a step has no slots and waits for its turn: time must pass here, though nothing runs."""
        return any(step.granted <= 0 and not self._rests_for(step) for step in self._steps.values())

    @property
    def free_slots(self) -> int:
        """Slots that nobody uses."""
        return max(0, self.slots - sum(min(len(step.running), step.slots_max) for step in self._steps.values()))

    def jobs(self) -> set[tuple[PeerId, str]]:
        """The jobs that have steps here."""
        return {(step.leader, step.opened.job) for step in self._steps.values()}

    def check(self) -> None:
        """Invariants."""
        for number, step in self._batches.items():
            assert number in step.running and step.number in self._by_number
        assert len(self._by_number) == len(self._steps)

    # --- inside ------------------------------------------------------------------------------------------------

    def _next_step(self) -> HostedStep | None:
        busy = frozenset[str]().union(*(step.exclusive for step in self._steps.values() if step.running))
        ready = [
            step
            for step in self._steps.values()
            if not step.missing
            and not self._rests_for(step)
            and any(not each.missing for each in step.queue)
            and not (step.exclusive & busy)
            and not (step.opened.one_at_a_time and step.running)
        ]
        return min(
            ready, key=lambda step: (-step.opened.priority, len(step.running) / max(0.5, step.granted)), default=None
        )

    def _rests_for(self, step: HostedStep) -> bool:
        return self.resting and step.leader != self.me

    def _fetch(
        self, step: HostedStep, waiting: Waiting | None, blobs: Sequence[tuple[str, int]], holders: list[str]
    ) -> None:
        key = next(self._numbers)
        self._fetching[key] = (step, waiting)
        self._effects.append(Fetch(key, blobs, [PeerId(each) for each in (*holders, step.leader)]))

    def _drop(self, step: HostedStep, *, cancel: bool, replace: bool = False) -> None:
        del self._steps[step.leader, step.opened.step]
        del self._by_number[step.number]
        for number in step.running:
            self._batches.pop(number, None)
        self._effects.append(End(step.number, cancel, cancel and replace))

    def _share(self, now: float) -> None:
        """Share the slots out anew, and tell each leader whose number changed."""
        claims = {
            key: Claim((step.leader, step.opened.job), step.opened.priority, step.slots_max)
            for key, step in self._steps.items()
            # One without slots is given nothing for that very reason: it has its turn, to show whether it wants any.
            if (step.queue or step.running or step.granted <= 0 or now - step.active_at <= IDLE_S)
            and not self._rests_for(step)
        }
        granted = shared_out(self.slots, claims, self._turn)
        for key, step in self._steps.items():
            # A step that rests here keeps no slot from others; its leader may go on believing in its own.
            slots = granted.get(key, 0 if self._rests_for(step) else step.granted)
            if key in claims or slots == 0:
                if slots != step.granted:
                    self._effects.append(Say(step.leader, Granted(step.opened.step, slots)))
                if step.granted <= 0 < slots:
                    step.active_at = now
                step.granted = slots

    def _taken(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects
