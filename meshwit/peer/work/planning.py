"""What is intended before anything runs: which peer would do what part of a Grid step. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from meshwit.lang.offer import Activity
from meshwit.peer.job.settings import step_requirement
from meshwit.peer.job.software import Owner
from meshwit.peer.job.steps import StepSettings
from meshwit.peer.job.workers import Worker, sorted_out


def intended_shares(
    workers: Iterable[Worker], activities: Sequence[Activity], owners: Mapping[str, Owner]
) -> tuple[list[tuple[str, float]], dict[str, str]]:
    """The share of each peer that can run such a step, the largest first, and why the others cannot.

    Shares are 0 to 1. What a script asks for at run time (`Requires`, `MaxClients`) is not known before.
    """
    able, left_out = sorted_out(workers, activities, StepSettings(requires=step_requirement(activities)), owners)
    name = activities[0].name if activities else ""
    speeds = [(each.name, each.slots * each.speed_at(name).per_s) for each in able]
    total = sum(speed for _, speed in speeds)
    shares = [(peer, speed / total if total else 1 / len(speeds)) for peer, speed in speeds]
    return sorted(shares, key=lambda each: -each[1]), left_out


def plan_lines(
    line: int, activities: Sequence[Activity], shares: Sequence[tuple[str, float]], left_out: Mapping[str, str]
) -> list[str]:
    """A plan for people: `line 4, Renderer.RenderFrame: den 42 %, attic 31 %`."""
    what = activities[0].name if activities else "Grid.ForEach"
    told = ", ".join(f"{name} {share:.0%}".replace("%", " %") for name, share in shares) or "no peer can run it"
    return [f"line {line}, {what}: {told}", *(f"  without {name}: {why}" for name, why in left_out.items())]
