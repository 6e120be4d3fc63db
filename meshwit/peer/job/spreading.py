"""The running steps of one job and the peers that may work for them: what schedulers decide, made effects. Core.

A peer that comes is offered to every step that it can run; one that goes, freezes, rests or refuses is taken from them.
While the job is paused every peer has no slots: what has not begun comes back, what runs ends. What a peer has of a
step already, for a leader before, it keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, assert_never

from meshwit.ids import PeerId
from meshwit.lang.offer import Activity
from meshwit.lang.wishes import Path
from meshwit.peer.job.early import Early, HeldBatch
from meshwit.peer.job.effects import AskForItems, Assign, DropItems, Effect, EndStep, PrepareStep, StepOver
from meshwit.peer.job.held_back import HeldBack
from meshwit.peer.job.keeping import Keeping
from meshwit.peer.job.software import Owner
from meshwit.peer.job.steps import StepRun, StepSettings, TaskFault
from meshwit.peer.job.workers import Worker, sorted_out
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
        keeping: what is recorded of the job.
        early: what peers have of steps from before.
    """

    def __init__(self, effects: list[Effect], owners: Mapping[str, Owner]) -> None:
        self.steps: dict[int, StepRun] = {}
        self.workers: dict[PeerId, Worker] = {}
        self.names: dict[PeerId, str] = {}
        self.lost: Callable[[StepRun, dict[int, TaskFault]], None] = lambda _step, _faults: None
        self.keeping = Keeping(effects)
        self.early = Early()
        self._held_back = HeldBack()
        self._effects = effects
        self._owners = owners
        self._activities: dict[int, Sequence[Activity]] = {}
        self._paused = False

    def able(self, step: StepRun, activities: Sequence[Activity]) -> list[Worker]:
        """The peers that can run a step, the best first; a single call stays where it is, else at home where it can."""
        asked = (each for each in self.workers.values() if each.id not in step.refused)
        able, step.left_out = sorted_out(asked, activities, step.settings, self._owners)
        step.left_out |= {self.names.get(peer, peer): why for peer, why in step.refused.items()}
        if not step.single:
            return able
        holders = self.early.holders(step.path)
        return (
            sorted((each for each in able if each.id in holders), key=lambda each: holders.index(each.id))
            or [each for each in able if each.home]
            or able
        )

    def holding(self, path: Path, activities: Sequence[Activity], settings: StepSettings) -> set[int]:
        """The items of a step to come that peers have already which may run it."""
        able, _ = sorted_out(self.workers.values(), activities, settings, self._owners)
        batches = [batch for worker in able for batch in self.early.batches(path, worker.id)]
        return {number for batch in batches for number in batch.items.numbers}

    def open(self, step: StepRun, activities: Sequence[Activity], able: Iterable[Worker], now: float) -> None:
        """Begin with a step."""
        self.steps[step.number] = step
        self._activities[step.number] = activities
        if step.fault is None:
            for worker in able:
                self._join(step, worker, now)
            self._carry_out(step, step.scheduler.start(now), now)

    def drop(self, step: StepRun, *, cancel: bool) -> None:
        """Be done with a step."""
        del self.steps[step.number]
        del self._activities[step.number]
        self._held_back.over(step.number)
        for peer in sorted(step.opened):
            self._effects.append(EndStep(peer, step.number, cancel))
        seen = step.scheduler.seen()
        self._effects.append(StepOver(step.number, step.activity, seen, step.items, step.lengths()))

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
        self.early.left(peer)
        for step in list(self.steps.values()):
            step.refused.pop(peer, None)
            if peer in step.workers:
                step.away.add(peer)
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
        step.away.discard(worker.id)
        usable = 0 if self._paused else step.slots_of(worker.slots)
        prior = worker.speed_at(step.activity)
        held = self.early.taken_batches(step.path, worker.id)
        if not held:
            self._carry_out(step, step.scheduler.peer_joined(worker.id, usable, prior, now), now)
            return
        self._carry_out(step, step.scheduler.peer_joined(worker.id, 0, prior, now), now)  # nothing else goes there yet
        self._adopt(step, worker.id, held, now)
        self._carry_out(step, step.scheduler.slots_changed(worker.id, usable, now), now)

    def held(self, step: StepRun, peer: PeerId, now: float) -> None:
        """A peer has batches of a step that runs; if it has not been given any of it, it keeps what is pending."""
        if peer in step.workers:
            held = self.early.taken_batches(step.path, peer)
            if held and peer not in step.opened:
                self._adopt(step, peer, held, now)

    def _adopt(self, step: StepRun, peer: PeerId, held: Sequence[HeldBatch], now: float) -> None:
        adopted: list[tuple[int, int]] = []
        unwanted: list[int] = []
        for batch in held:
            numbers = [number for number in dict.fromkeys(batch.items.numbers) if step.pending(number)]
            number = step.scheduler.adopt(peer, numbers, batch.begun, now) if numbers else None
            if number is not None:
                adopted.append((batch.batch, number))
                unwanted += set(batch.items.numbers) - set(numbers)
        self._prepare(step, peer, adopted)
        if unwanted:
            self._effects.append(DropItems(peer, step.number, unwanted))

    def _prepare(self, step: StepRun, peer: PeerId, adopted: list[tuple[int, int]]) -> None:
        step.opened.add(peer)
        step.given_to.add(peer)
        self._effects.append(
            PrepareStep(
                peer, step.number, step.task, step.captured, step.settings, step.path, step.since, adopted
            )
        )  # fmt: skip

    def _leave(self, step: StepRun, peer: PeerId, now: float) -> None:
        if step.workers.pop(peer, None) is None:
            return
        step.opened.discard(peer)
        self._recall(step, peer, now)
        self._carry_out(step, step.scheduler.peer_left(peer, now), now)
        for worker in self.workers.values():  # one that was too many may take its place
            missing = (step.settings.peers_max or step.single) and worker.id not in step.workers
            if missing and worker in self.able(step, self._activities[step.number]):
                self._join(step, worker, now)

    def _recall(self, step: StepRun, peer: PeerId, now: float) -> None:
        """What was held back for a peer that is gone did not begin there, and goes elsewhere."""
        numbers = self._held_back.taken(step.number, peer)
        if numbers:
            effects = step.scheduler.slots_changed(peer, 0, now)
            effects += step.scheduler.taken_back(peer, numbers, now)
            asked = [each for each in effects if isinstance(each, sched.TakeBack) and each.peer == peer]
            self._carry_out(step, [each for each in effects if each not in asked], now)

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

    def intended(self, number: int, peer: PeerId, items: Sequence[int]) -> None:
        """It is recorded that items go to a peer: they do, if that is still wanted."""
        step = self.steps.get(number)
        assign = self._held_back.released(number, peer, items)
        if step is not None and assign is not None and not all(step.settled(item) for item in assign.numbers):
            self._effects.append(assign)

    def recorded(self, step: StepRun, effects: list[sched.Effect], now: float) -> None:
        """What follows from outcomes that the step has recorded."""
        self._carry_out(step, effects, now)

    def tick(self, now: float) -> None:
        """Time has passed."""
        for step in list(self.steps.values()):
            due = step.scheduler.next_deadline()
            if due is not None and due <= now:
                for peer in self._held_back.peers(step.number):  # it may be silent: it was not told yet
                    self._carry_out(step, step.scheduler.heard(peer, now), now)
                self._carry_out(step, step.scheduler.tick(now), now)

    def next_deadline(self) -> float | None:
        """When `tick` is due."""
        due = (step.scheduler.next_deadline() for step in self.steps.values())
        return min((each for each in due if each is not None), default=None)

    def _carry_out(self, step: StepRun, effects: Sequence[sched.Effect], now: float) -> None:
        further: list[sched.Effect] = []  # after the rest: what is set aside may just have been given again
        returned: list[tuple[PeerId, list[int]]] = []
        for effect in effects:
            match effect:
                case sched.Give():
                    self._give(step, effect)
                case sched.TakeBack(peer=peer, items=numbers):
                    unsent, sent = self._sent(step, peer, numbers)
                    if sent or not unsent:
                        self._effects.append(AskForItems(peer, step.number, sent))
                    returned.append((peer, unsent))
                case sched.Drop(peer=peer, items=numbers):
                    unsent, sent = self._sent(step, peer, numbers)
                    if sent or not unsent:
                        self._effects.append(DropItems(peer, step.number, sent))
                case sched.Lost(peer=peer):
                    faults, dropped = step.lost(effect, self.names.get(peer, peer), now)
                    if faults:
                        self.lost(step, faults)
                    further += dropped
                case sched.StepDone():
                    pass  # the step counts its outcomes itself
                case _:
                    assert_never(effect)
        for peer, unsent in returned:
            further += step.scheduler.taken_back(peer, unsent, now) if unsent else []
        if further:
            self._carry_out(step, further, now)

    def _give(self, step: StepRun, give: sched.Give) -> None:
        if give.peer not in step.opened:
            self._prepare(step, give.peer, [])
        assign = Assign(give.peer, step.number, give.batch, give.items, picked(step.items, give.items))
        if step.settings.once and self.keeping.on:
            self._held_back.hold(assign)
            self.keeping.intended(step.path, step.number, give.peer, give.items)
        else:
            self._effects.append(assign)

    def _sent(self, step: StepRun, peer: PeerId, numbers: Sequence[int]) -> tuple[list[int], Sequence[int]]:
        """Those of a peer's items that were held back for it, and will not go; and the others."""
        unsent = self._held_back.taken(step.number, peer, set(numbers)) if step.settings.once else []
        return unsent, [number for number in numbers if number not in unsent] if unsent else numbers


def picked(items: list[Any], numbers: Sequence[int]) -> list[Any]:
    """The items of those numbers."""
    if isinstance(numbers, range) and numbers.step == 1:
        return items[numbers.start : numbers.stop]
    return [items[number] for number in numbers]
