"""The peers that may work for a job, as its leader knows them, and which of them can run a step. Core."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from meshwit.bench.shortfalls import shortfalls
from meshwit.ids import PeerId
from meshwit.lang.offer import Activity
from meshwit.peer.job.capable import PEERS_NAMED_MAX, nobody_can
from meshwit.peer.job.software import Owner, unlike
from meshwit.peer.job.steps import StepRun, StepSettings
from meshwit.peer.sched.estimates import RatePrior

UNKNOWN_SPEED = RatePrior(1.0, 0.7)


class Worker(msgspec.Struct, frozen=True, eq=False):
    """A peer that may run tasks.

    Attributes:
        name: for people.
        slots: tasks at the same time, until the peer says what it grants.
        capabilities: what requirements are asked of; None where they are not known, so that every step may run on it.
        controllers: versions of its controllers by reference; None where they are not asked for.
        speed_at: what is believed of its speed at an activity, per slot.
        home: the leader's own device: where `local` activities run, and single calls if they can.
    """

    id: PeerId
    name: str
    slots: int
    capabilities: Mapping[str, object] | None = None
    controllers: Mapping[str, str] | None = None
    speed_at: Callable[[str], RatePrior] = lambda _activity: UNKNOWN_SPEED
    home: bool = False


def sorted_out(
    workers: Iterable[Worker], activities: Sequence[Activity], settings: StepSettings, owners: Mapping[str, Owner]
) -> tuple[list[Worker], dict[str, str]]:
    """The peers that can run a step, fastest first and at most as many as it may use; of the others why not, by name.

    Args:
        activities: that its task calls.
        owners: the controller of each activity here, which others must have in a compatible version.
    """
    able: list[Worker] = []
    left_out: dict[str, str] = {}
    for worker in workers:
        why = _shortfall(worker, activities, settings, owners)
        if why:
            left_out[worker.name] = why
        else:
            able.append(worker)
    name = activities[0].name if activities else ""
    able.sort(key=lambda each: (-each.speed_at(name).per_s * each.slots, not each.home))
    if settings.peers_max and len(able) > settings.peers_max:
        for worker in able[settings.peers_max :]:
            left_out[worker.name] = f"the step uses at most {settings.peers_max} peers"
        able = able[: settings.peers_max]
    return able, left_out


def _shortfall(
    worker: Worker, activities: Sequence[Activity], settings: StepSettings, owners: Mapping[str, Owner]
) -> str:
    if not worker.home and any(each.local for each in activities):
        return "the step works on files of the device that leads it"
    if worker.controllers is not None:
        for activity in activities:
            owner = owners.get(activity.name)
            if owner is None:
                continue
            there = worker.controllers.get(owner.reference)
            if there is None:
                return f"has no controller {activity.controller}, or misses what that needs"
            if why := unlike({owner.package: there}, {owner.package: owner.version}):
                return why
    if worker.capabilities is not None:
        return " and ".join(shortfalls(settings.requires, worker.capabilities))
    return ""


def nobody_runs(workers: Iterable[Worker], activities: Sequence[Activity], step: StepRun) -> str:
    """Why no peer can run a step, for people."""
    local = any(each.local for each in activities)
    peers = {
        each.name: each.capabilities for each in workers if each.capabilities is not None and (each.home or not local)
    }
    message = nobody_can(activities, step.settings.requires, peers)
    if message:
        return message
    named = f"`{activities[0].name}`" if activities else "this step"
    reasons = "; ".join(f"{name} {why}" for name, why in list(step.left_out.items())[:PEERS_NAMED_MAX])
    return f"no peer can run {named}: {reasons or 'there is no peer'}"
