"""Who can run a step: what its activities and the script require, and in words why nobody can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from meshwit.bench.requirements import Requirement, all_of, parse_requirement
from meshwit.lang.offer import Activity


def required(activities: Sequence[Activity], expression: str = "") -> Requirement:
    """What a peer must have to run a task that calls these activities, under the script's own expression."""
    return all_of(parse_requirement(text) for text in (expression, *(one.requires for one in activities)))


def nobody_can(activities: Sequence[Activity], requirement: Requirement, capabilities: Mapping[str, object]) -> str:
    """Why the one peer that there is cannot run a step; empty if it can.

    Args:
        activities: that its task calls, the outermost first.
        requirement: theirs and the script's.
        capabilities: of the peer.
    """
    lacks = requirement.lacks(capabilities)
    if not lacks:
        return ""
    unmet = (one for one in activities if not parse_requirement(one.requires).met_by(capabilities))
    culprit = next(unmet, next(iter(activities), None))
    what = f"`{culprit.name}`" if culprit is not None else "this step"
    return f"no peer can run {what}: {'; '.join(lacks)}"
