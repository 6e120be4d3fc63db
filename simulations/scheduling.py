"""A Grid step in virtual time: a leader whose every message costs it time, and peers that run batches on their slots.

The scheduler under test is a core with the methods of `meshwit.peer.sched.grid.GridScheduler`. The leader handles one
message after another; what it has for one peer goes in one message. A peer reports at the end of each batch, gives
back what it has not begun, the rest of a batch that runs included, and kills what it is told to drop. It may also
give signs of life. Data that it lacks come over its link before it can begin. Speeds may change, peers freeze, wake,
die and come.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from meshwit.ids import PeerId
from meshwit.peer.sched.effects import Drop, Effect, Give, Lost, StepDone, TakeBack
from meshwit.peer.sched.estimates import RatePrior
from meshwit.peer.sched.nearness import Nearness
from simulations.engine import Simulation

DELAY_S: Final = 0.001
MESSAGE_S: Final = 0.0001
BEAT_S: Final = 0.25
"""Between signs of life of a peer, where it gives any."""
LOSS_NOTICED_S: Final = 0.005
"""From a peer's death to the leader's knowing: its connection closes."""


class Scheduler(Protocol):
    """What is under test."""

    def start(self, now: float) -> list[Effect]: ...
    def peer_joined(self, peer: PeerId, slots: int, prior: RatePrior, now: float) -> list[Effect]: ...
    def peer_left(self, peer: PeerId, now: float) -> list[Effect]: ...
    def batch_started(self, peer: PeerId, batch: int, now: float) -> list[Effect]: ...
    def finished(self, peer: PeerId, items: Sequence[int], seconds: Sequence[float], now: float) -> list[Effect]: ...
    def taken_back(self, peer: PeerId, items: Sequence[int], now: float) -> list[Effect]: ...
    def heard(self, peer: PeerId, now: float) -> list[Effect]: ...
    def tick(self, now: float) -> list[Effect]: ...
    def next_deadline(self) -> float | None: ...
    def check(self) -> None: ...


class Slot:
    """What one slot of a peer runs."""

    __slots__ = ("batch", "begun_at", "done", "items", "place", "version", "work_done")

    def __init__(self) -> None:
        self.batch = -1
        self.items: list[int] = []
        self.done: tuple[list[int], list[float]] = ([], [])
        self.version = 0
        self.place = 0
        self.work_done = 0.0
        self.begun_at = 0.0


class Worker:
    """A peer that runs batches, first in, first out.

    Attributes:
        speed: work per second of one slot.
        busy_work: work that it has done, useful or not.
    """

    def __init__(self, step: Step, peer: PeerId, speed: float, slots: int) -> None:
        self.step = step
        self.peer = peer
        self.speed = speed
        self.slots = [Slot() for _ in range(slots)]
        self.queue: deque[tuple[int, list[int]]] = deque()
        self.ready_at: dict[int, float] = {}
        self.link_free_at = 0.0
        self.frozen = self.dead = False
        self.inbox: list[list[Effect]] = []
        self.busy_work = 0.0
        self.items_done = 0

    def receive(self, effects: list[Effect]) -> None:
        """A message of the leader."""
        if self.dead:
            return
        if self.frozen:
            self.inbox.append(effects)
            return
        for effect in effects:
            match effect:
                case Give():
                    self.queue.append((effect.batch, list(effect.items)))
                    self._fetch(effect)
                case TakeBack():
                    self._give_back(set(effect.items))
                case Drop():
                    self._drop(set(effect.items))
                case _:
                    raise AssertionError(effect)
        for slot in self.slots:
            if slot.batch < 0:
                self._begin_next(slot)

    def change_speed(self, speed: float) -> None:
        """From now on."""
        running = [(slot, self._progress(slot)) for slot in self.slots if slot.batch >= 0]
        self.speed = speed
        for slot, (place, work) in running:
            self._split(slot, place, work)

    def freeze(self) -> None:
        """Nothing moves until `wake`."""
        for slot in self.slots:
            if slot.batch >= 0:
                self._split(slot, *self._progress(slot), resume=False)
        self.frozen = True

    def wake(self) -> None:
        """It goes on where it was, and reads what came meanwhile."""
        self.frozen = False
        inbox, self.inbox = self.inbox, []
        for slot in self.slots:
            if slot.batch >= 0:
                slot.begun_at = self.step.simulation.now
                self._plan(slot)
        for effects in inbox:
            self.receive(effects)
        self._fetched()

    def kill(self) -> None:
        """It is gone, and what it ran with it."""
        self.dead = True
        for slot in self.slots:
            slot.version += 1

    def beat(self) -> None:
        """A sign of life, again and again."""
        if self.dead or self.step.makespan_s < math.inf:
            return
        if not self.frozen:
            self.step.tell(self, "beat")
        self.step.simulation.after(BEAT_S, self.beat)

    def _fetch(self, given: Give) -> None:
        """What it lacks of the data comes one after the other over its link; the batch waits for it."""
        near = self.step.near
        if near is not None:
            moving = sum(near.move_s[item] for item in given.items if self.peer not in near.peers[item])
            if moving:
                now = self.step.simulation.now
                self.link_free_at = self.ready_at[given.batch] = max(now, self.link_free_at) + moving
                self.step.simulation.at(self.link_free_at, self._fetched)

    def _fetched(self) -> None:
        if not self.dead and not self.frozen:
            for slot in self.slots:
                if slot.batch < 0:
                    self._begin_next(slot)

    def _pop_ready(self) -> tuple[int, list[int]] | None:
        """The first batch whose data are here."""
        now = self.step.simulation.now
        for place, (batch, items) in enumerate(self.queue):
            if not self.ready_at or self.ready_at.get(batch, 0.0) <= now:
                del self.queue[place]
                return batch, items
        return None

    def _begin_next(self, slot: Slot) -> None:
        while (ready := self._pop_ready()) is not None:
            batch, items = ready
            if items:
                slot.batch, slot.items, slot.done = batch, items, ([], [])
                slot.place, slot.work_done, slot.begun_at = 0, -MESSAGE_S * self.speed, self.step.simulation.now
                self.step.tell(self, "started", batch)
                self._plan(slot)
                return
        slot.batch = -1

    def _plan(self, slot: Slot) -> None:
        slot.version += 1
        sizes = self.step.sizes
        if len(slot.items) - slot.place == 1:
            rest = float(sizes[slot.items[slot.place]])
        else:
            rest = float(sizes[slot.items[slot.place :]].sum())
        delay = (rest - slot.work_done) / self.speed
        self.step.simulation.after(max(0.0, delay), self._end, slot, slot.version)

    def _end(self, slot: Slot, version: int) -> None:
        if version != slot.version:
            return
        self._note_done(slot, len(slot.items))
        items, seconds = slot.done
        self.items_done += len(items)
        if items:
            self.step.tell(self, "finished", items, seconds)
        self._begin_next(slot)

    def _progress(self, slot: Slot) -> tuple[int, float]:
        """The item that a slot is at, and the work done of it."""
        now, sizes = self.step.simulation.now, self.step.sizes
        work = slot.work_done + (now - slot.begun_at) * self.speed
        place = slot.place
        while place < len(slot.items) - 1 and work >= sizes[slot.items[place]]:
            work -= float(sizes[slot.items[place]])
            place += 1
        return place, work

    def _note_done(self, slot: Slot, place: int) -> None:
        items = slot.items[slot.place : place]
        works = self.step.sizes[items]
        self.busy_work += float(works.sum())
        slot.done[0].extend(items)
        slot.done[1].extend((works / self.speed).tolist())

    def _split(self, slot: Slot, place: int, work: float, *, resume: bool = True) -> None:
        """Take note of what a slot has done; it goes on from there."""
        self._note_done(slot, place)
        slot.place, slot.work_done, slot.begun_at = place, work, self.step.simulation.now
        slot.version += 1
        if resume:
            self._plan(slot)

    def _give_back(self, items: set[int]) -> None:
        back: list[int] = []
        kept: deque[tuple[int, list[int]]] = deque()
        for batch, waiting in self.queue:
            back += [item for item in waiting if item in items]
            kept.append((batch, [item for item in waiting if item not in items]))
        self.queue = kept
        for slot in self.slots:
            if slot.batch >= 0:
                place, work = self._progress(slot)
                tail = [item for item in slot.items[place + 1 :] if item in items]
                if tail:
                    back += tail
                    self._split(slot, place, work, resume=False)
                    slot.items = [item for item in slot.items if item not in set(tail)]
                    self._plan(slot)
        self.step.tell(self, "taken", back)

    def _drop(self, items: set[int]) -> None:
        self.queue = deque((batch, [item for item in waiting if item not in items]) for batch, waiting in self.queue)
        for slot in self.slots:
            if slot.batch < 0 or items.isdisjoint(slot.items):
                continue
            place, work = self._progress(slot)
            self._split(slot, place, work, resume=False)
            rest = [item for item in slot.items[place:] if item not in items]
            if slot.items[place] in items:
                self.busy_work += max(0.0, work)
                slot.work_done = 0.0
            slot.items = slot.items[:place] + rest
            if rest:
                self._plan(slot)
            else:
                done, seconds = slot.done
                if done:
                    self.step.tell(self, "finished", done, seconds)
                self._begin_next(slot)


class Step:
    """One Grid step under one scheduler.

    Attributes:
        makespan_s: when the leader knew all results; infinite before.
        cpu_s: real time that the scheduler took; by the wall clock, since asking for CPU time costs more than a call.
        given_again: items that the leader knew finished, and gave again.
        messages: sent and received by the leader.
    """

    def __init__(
        self,
        simulation: Simulation,
        scheduler: Scheduler,
        sizes: npt.NDArray[np.float64],
        *,
        check_each: int,
        near: Nearness | None = None,
    ) -> None:
        self.simulation = simulation
        self.scheduler = scheduler
        self.sizes = sizes
        self.near = near
        self.workers: dict[PeerId, Worker] = {}
        self.makespan_s = math.inf
        self.cpu_s = 0.0
        self.messages = 0
        self.given_again = 0
        self.counts: dict[PeerId, int] = {}
        self._known = bytearray(len(self.sizes))
        self._check_each = check_each
        self._calls = 0
        self._free_at = 0.0
        self._ticking_at = math.inf

    def join(self, peer: PeerId, speed: float, slots: int, prior: RatePrior) -> Worker:
        """A peer comes."""
        worker = self.workers[peer] = Worker(self, peer, speed, slots)
        self.counts[peer] = 0
        self.call(self.scheduler.peer_joined, peer, slots, prior)
        return worker

    def start(self) -> None:
        """Let it begin."""
        self.call(self.scheduler.start)

    def kill(self, worker: Worker) -> None:
        """A peer dies; the leader learns it soon."""
        worker.kill()
        self.simulation.after(LOSS_NOTICED_S, self.call, self.scheduler.peer_left, worker.peer)

    def tell(self, worker: Worker, kind: str, *content: object) -> None:
        """A worker's message to the leader; what it says at one moment is one message."""
        self.simulation.after(DELAY_S, self._arrive, worker, kind, content)

    def call(self, method: Callable[..., list[Effect]], *arguments: object) -> None:
        """Have the scheduler do something, and do what it wants."""
        now = self.simulation.now
        began = time.perf_counter()
        effects = method(*arguments, now)
        deadline = self.scheduler.next_deadline() if effects or method == self.scheduler.tick else None
        self.cpu_s += time.perf_counter() - began
        self._calls += 1
        if self._check_each and self._calls % self._check_each == 0:
            self.scheduler.check()
        self._perform(effects)
        if deadline is None and self._ticking_at == math.inf:
            deadline = self.scheduler.next_deadline()
        if deadline is not None and deadline < self._ticking_at and self.makespan_s == math.inf:
            self._ticking_at = max(now, deadline)
            self.simulation.at(self._ticking_at, self._tick, self._ticking_at)

    def _tick(self, planned: float) -> None:
        if planned != self._ticking_at or self.makespan_s < math.inf:
            return
        self._ticking_at = math.inf
        due = self.scheduler.next_deadline()
        if due is not None and due <= self.simulation.now + 1e-9:
            self.call(self.scheduler.tick)
        elif due is not None:
            self._ticking_at = due
            self.simulation.at(due, self._tick, due)

    def _arrive(self, worker: Worker, kind: str, content: tuple[object, ...]) -> None:
        self.messages += 1
        cost = 0.0 if kind in ("started", "beat") else MESSAGE_S
        self._free_at = max(self._free_at, self.simulation.now) + cost
        self.simulation.at(self._free_at, self._handle, worker, kind, content)

    def _handle(self, worker: Worker, kind: str, content: tuple[object, ...]) -> None:
        if self.makespan_s < math.inf:
            return
        match kind:
            case "beat":
                self.call(self.scheduler.heard, worker.peer)
            case "started":
                self.call(self.scheduler.batch_started, worker.peer, *content)
            case "finished":
                items, seconds = content
                assert isinstance(items, list)
                for item in items:
                    self._known[item] = 1
                self.counts[worker.peer] += len(items)
                self.call(self.scheduler.finished, worker.peer, items, seconds)
            case _:
                self.call(self.scheduler.taken_back, worker.peer, *content)

    def _perform(self, effects: list[Effect]) -> None:
        outgoing: dict[PeerId, list[Effect]] = {}
        for effect in effects:
            if isinstance(effect, StepDone):
                self.makespan_s = self.simulation.now
                self.simulation.note(f"done in {self.makespan_s!r}")
                continue
            if isinstance(effect, Lost):
                continue
            if isinstance(effect, Give):
                self.given_again += sum(self._known[item] for item in effect.items)
            outgoing.setdefault(effect.peer, []).append(effect)
        for peer, bundle in outgoing.items():
            self.messages += 1
            self._free_at = max(self._free_at, self.simulation.now) + MESSAGE_S
            self.simulation.at(self._free_at + DELAY_S, self.workers[peer].receive, bundle)
