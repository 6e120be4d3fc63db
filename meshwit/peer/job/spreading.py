"""The running steps of one job and the peers that may work for them: what schedulers decide, made effects. Core.

A peer that comes is offered to every step that it can run; one that goes, freezes, rests or refuses is taken from them.
While the job is paused every peer has no slots: what has not begun comes back, what runs ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, assert_never

from meshwit.ids import PeerId
from meshwit.lang.offer import Activity
from meshwit.peer.job.effects import AskForItems, Assign, DropItems, Effect, EndStep, PrepareStep, StepOver
from meshwit.peer.job.steps import StepRun, TaskFault
from meshwit.peer.job.workers import Owner, Worker, sorted_out
from meshwit.peer.sched import effects as sched


class Spreading:
    """See the module.

    Args:
        effects: where effects go.
        owners: the controller of each activity here.

    Attributes:
        steps: those that run, by number.
        workers: the peers, by id.
        names: of all that ever came.
        lost: told of items that are given up because peers were lost while they ran.
    """

    def __init__(self, effects: list[Effect], owners: Mapping[str, Owner]) -> None:
        self.steps: dict[int, StepRun] = {}
        self.workers: dict[PeerId, Worker] = {}
        self.names: dict[PeerId, str] = {}
        self.lost: Callable[[StepRun, dict[int, TaskFault]], None] = lambda _step, _faults: None
        self._effects = effects
        self._owners = owners
        self._activities: dict[int, Sequence[Activity]] = {}
        self._paused = False

    def able(self, step: StepRun, activities: Sequence[Activity]) -> list[Worker]:
        """The peers that can run a step, the best first; a single call stays at home where it can."""
        asked = (each for each in self.workers.values() if each.id not in step.refused)
        able, step.left_out = sorted_out(asked, activities, step.settings, self._owners)
        step.left_out |= {self.names.get(peer, peer): why for peer, why in step.refused.items()}
        home = [each for each in able if each.home] if step.single else []
        return home or able

    def open(self, step: StepRun, activities: Sequence[Activity], able: Iterable[Worker], now: float) -> None:
        """Begin with a step."""
        self.steps[step.number] = step
        self._activities[step.number] = activities
        for worker in able:
            self._join(step, worker, now)
        self._carry_out(step, step.scheduler.start(now), now)

    def drop(self, step: StepRun, *, cancel: bool) -> None:
        """Be done with a step."""
        del self.steps[step.number]
        del self._activities[step.number]
        for peer in step.opened:
            self._effects.append(EndStep(peer, step.number, cancel))
        rates = step.scheduler.rates()
        self._effects.append(StepOver(step.number, step.activity, rates, step.items, step.lengths()))

    # --- peers -------------------------------------------------------------------------------------------------

    def joined(self, worker: Worker, now: float) -> None:
        """A peer offers to work, or says anew what it can."""
        known = self.workers.get(worker.id)
        self.workers[worker.id] = worker
        self.names[worker.id] = worker.name
        changed = known is not None and (
            (known.capabilities, known.controllers) != (worker.capabilities, worker.controllers)
        )
        for step in list(self.steps.values()):
            if changed:
                step.refused.pop(worker.id, None)
            if worker.id in step.workers:
                if known is not None and known.slots != worker.slots:
                    self.granted(step.number, worker.id, worker.slots, now)
                continue
            if worker in self.able(step, self._activities[step.number]):
                self._join(step, worker, now)

    def left(self, peer: PeerId, now: float) -> None:
        """A peer is gone."""
        self.workers.pop(peer, None)
        for step in list(self.steps.values()):
            step.refused.pop(peer, None)
            self._leave(step, peer, now)

    def refused(self, number: int, peer: PeerId, why: str, now: float) -> bool:
        """A peer does not run a step; whether it was to."""
        step = self.steps.get(number)
        if step is None or peer not in step.workers:
            return False
        step.refused[peer] = step.left_out[self.names.get(peer, peer)] = why
        step.opened.discard(peer)
        self._leave(step, peer, now)
        return True

    def granted(self, number: int, peer: PeerId, slots: int, now: float) -> None:
        """A peer says how many slots a step has there."""
        step = self.steps.get(number)
        if step is None or peer not in step.workers:
            return
        step.workers[peer] = slots
        usable = 0 if self._paused else step.slots_of(slots)
        self._carry_out(step, step.scheduler.slots_changed(peer, usable, now), now)

    def heard(self, peer: PeerId, now: float) -> None:
        """A sign of life."""
        for step in list(self.steps.values()):
            if peer in step.workers:
                self._carry_out(step, step.scheduler.heard(peer, now), now)

    def pause(self, paused: bool, now: float) -> None:
        """Begin nothing more; or go on."""
        self._paused = paused
        for step in list(self.steps.values()):
            for peer, slots in list(step.workers.items()):
                usable = 0 if paused else step.slots_of(slots)
                self._carry_out(step, step.scheduler.slots_changed(peer, usable, now), now)

    def _join(self, step: StepRun, worker: Worker, now: float) -> None:
        peers_max = step.settings.peers_max
        if peers_max and len(step.workers) >= peers_max:
            return
        step.workers[worker.id] = worker.slots
        usable = 0 if self._paused else step.slots_of(worker.slots)
        prior = worker.speed_at(step.activity)
        self._carry_out(step, step.scheduler.peer_joined(worker.id, usable, prior, now), now)

    def _leave(self, step: StepRun, peer: PeerId, now: float) -> None:
        if step.workers.pop(peer, None) is None:
            return
        step.opened.discard(peer)
        self._carry_out(step, step.scheduler.peer_left(peer, now), now)
        for worker in self.workers.values():  # one that was too many may take its place
            missing = step.settings.peers_max and worker.id not in step.workers
            if missing and worker in self.able(step, self._activities[step.number]):
                self._join(step, worker, now)

    # --- reports -----------------------------------------------------------------------------------------------

    def begun(self, number: int, peer: PeerId, batches: Iterable[int], now: float) -> None:
        """A peer began with batches."""
        step = self.steps.get(number)
        if step is not None:
            for batch in batches:
                self._carry_out(step, step.scheduler.batch_started(peer, batch, now), now)

    def given_back(self, number: int, peer: PeerId, items: Sequence[int], now: float) -> None:
        """A peer gave items back that it had not begun."""
        step = self.steps.get(number)
        if step is not None:
            self._carry_out(step, step.scheduler.taken_back(peer, items, now), now)

    def recorded(self, step: StepRun, effects: list[sched.Effect], now: float) -> None:
        """What follows from outcomes that the step has recorded."""
        self._carry_out(step, effects, now)

    def tick(self, now: float) -> None:
        """Time has passed."""
        for step in list(self.steps.values()):
            due = step.scheduler.next_deadline()
            if due is not None and due <= now:
                self._carry_out(step, step.scheduler.tick(now), now)

    def next_deadline(self) -> float | None:
        """When `tick` is due."""
        due = (step.scheduler.next_deadline() for step in self.steps.values())
        return min((each for each in due if each is not None), default=None)

    def _carry_out(self, step: StepRun, effects: Sequence[sched.Effect], now: float) -> None:
        further: list[sched.Effect] = []  # after the rest: what is set aside may just have been given again
        for effect in effects:
            match effect:
                case sched.Give(peer=peer, batch=batch, items=numbers):
                    if peer not in step.opened:
                        step.opened.add(peer)
                        step.given_to.add(peer)
                        self._effects.append(PrepareStep(peer, step.number, step.task, step.captured, step.settings))
                    self._effects.append(Assign(peer, step.number, batch, numbers, picked(step.items, numbers)))
                case sched.TakeBack(peer=peer, items=numbers):
                    self._effects.append(AskForItems(peer, step.number, numbers))
                case sched.Drop(peer=peer, items=numbers):
                    self._effects.append(DropItems(peer, step.number, numbers))
                case sched.Lost(peer=peer):
                    faults, dropped = step.lost(effect, self.names.get(peer, peer), now)
                    if faults:
                        self.lost(step, faults)
                    further += dropped
                case sched.StepDone():
                    pass  # the step counts its outcomes itself
                case _:
                    assert_never(effect)
        if further:
            self._carry_out(step, further, now)


def picked(items: list[Any], numbers: Sequence[int]) -> list[Any]:
    """The items of those numbers."""
    if isinstance(numbers, range) and numbers.step == 1:
        return items[numbers.start : numbers.stop]
    return [items[number] for number in numbers]
