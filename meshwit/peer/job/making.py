"""Wishes made steps: a call is a step of one item, a Grid step one of many. Core."""

from __future__ import annotations

from typing import Any

import msgspec

from meshwit.lang import program as ir
from meshwit.lang.arrows import activities_in
from meshwit.lang.offer import Activity
from meshwit.lang.wishes import CallWish, StepWish
from meshwit.peer.job.guesses import Guesses, expected_works
from meshwit.peer.job.settings import call_settings, step_settings
from meshwit.peer.job.steps import StepRun, StepSettings


def activities_of(wish: CallWish | StepWish) -> list[Activity]:
    """The activities that a wish calls, the outermost first."""
    if isinstance(wish, CallWish):
        return [wish.call.activity]
    return [call.activity for call in activities_in(wish.task)]


def settings_of(wish: CallWish | StepWish, defaults: StepSettings) -> StepSettings:
    """How its step is to be run."""
    if isinstance(wish, CallWish):
        return call_settings(wish.call.activity, defaults)
    return step_settings(activities_in(wish.task), wish.options, defaults)


def call_step(wish: CallWish, number: int, defaults: StepSettings) -> StepRun:
    """The step of a call."""
    loads = tuple(
        ir.Load(0, 0, slot, argument.type, "", False, wish.span)
        for slot, argument in enumerate(wish.call.arguments, start=1)
    )
    return StepRun(
        number, wish.path, msgspec.structs.replace(wish.call, arguments=loads), list(wish.arguments), [None],
        settings_of(wish, defaults), activity=wish.call.activity.name, span=wish.span, single=True,
    )  # fmt: skip


def grid_step(wish: StepWish, number: int, defaults: StepSettings, guesses: Guesses, known: dict[int, Any]) -> StepRun:
    """The step of a Grid step, of whose items some are known."""
    activities = activities_of(wish)
    name = activities[0].name if activities else ""
    return StepRun(
        number, wish.path, wish.task, wish.captured, wish.items, settings_of(wish, defaults),
        activity=name, span=wish.span, single=False, works=expected_works(guesses, name, wish), known=known,
        batch_items_max=guesses.batch_items_max(wish.items), near=guesses.near(wish.items),
    )  # fmt: skip
