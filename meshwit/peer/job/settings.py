"""How a step is to be run: what the script says, else what the activities say, else what the peer says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meshwit.bench.requirements import Requirement
from meshwit.lang import program as ir
from meshwit.lang.offer import Activity
from meshwit.peer.job.capable import required
from meshwit.peer.job.steps import StepSettings


def step_settings(calls: Sequence[ir.Invoke], options: Any, defaults: StepSettings) -> StepSettings:
    """Settings of a Grid step whose task calls these activities, with the script's `ProcessingOptions`."""
    activities = [call.activity for call in calls]
    return StepSettings(
        strategy=options.strategy,
        retries=options.retries,
        skip_failed=options.on_error == "Skip",
        priority=options.priority,
        one_at_a_time=not options.can_run_in_parallel_on_client or any(one.exclusive for one in activities),
        exclusive=frozenset(one.name for one in activities if one.exclusive),
        once=any(one.once for one in activities),
        timeout_s=options.time_limit or _shortest(activities) or defaults.timeout_s,
        memory_max_bytes=options.memory_limit or _smallest(activities) or defaults.memory_max_bytes,
        requires=required(activities, options.requires),
        peers_max=options.max_clients,
    )


def step_requirement(activities: Sequence[Activity]) -> Requirement:
    """What the activities of a step require by themselves."""
    return required(activities)


def call_settings(activity: Activity, defaults: StepSettings) -> StepSettings:
    """Settings of a single call; it goes before the tasks of steps, since the script waits for it."""
    return StepSettings(
        priority=1,
        exclusive=frozenset([activity.name] if activity.exclusive else ()),
        once=activity.once,
        timeout_s=activity.timeout_s or defaults.timeout_s,
        memory_max_bytes=activity.memory_max_bytes or defaults.memory_max_bytes,
        requires=required([activity]),
    )


def _shortest(activities: Sequence[Activity]) -> float | None:
    return min((one.timeout_s for one in activities if one.timeout_s is not None), default=None)


def _smallest(activities: Sequence[Activity]) -> int | None:
    return min((one.memory_max_bytes for one in activities if one.memory_max_bytes is not None), default=None)
