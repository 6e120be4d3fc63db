"""A call of one activity as a task, for items that come from a program instead of a script.

Scripts are checked before they run; such items are not, so each is made a value of its parameter's type where it runs,
and one that is none fails there.
"""

from __future__ import annotations

from meshwit.lang import program as ir
from meshwit.lang.offer import Form, Offer, Role
from meshwit.lang.types import OBJECT

_NOWHERE = (0, 0)


def item_call(offer: Offer, name: str, arguments: int | None = None) -> ir.Invoke:
    """The task that calls an activity with an item: as its argument, or with the parts of a tuple as its arguments.

    Args:
        offer: knows the activity.
        name: of the activity.
        arguments: how many parts each item has, with 0 for an item that is no tuple but the one argument; by default
            as many as the first form needs, where that is more than one.

    Raises:
        ValueError: there is no such activity, it cannot be a task, or none of its forms takes so many.
    """
    activity = offer.activities.get(name)
    if activity is None:
        raise ValueError(f"there is no activity `{name}`")
    if activity.missing:
        raise ValueError(f"`{name}` needs something that is not installed: {activity.missing}")
    if activity.control or activity.local:
        raise ValueError(f"`{name}` runs where a script runs: it cannot be called for items")
    if arguments is None:
        needed = _needed(activity.forms[0])
        arguments = needed if needed > 1 else 0
    count = arguments or 1
    for number, form in enumerate(activity.forms):
        plain = all(one.role is Role.VALUE and not one.rest for one in form.parameters)
        if plain and _needed(form) <= count <= len(form.parameters):
            return ir.Invoke(
                activity, number, _arguments(form, arguments), form.returns or OBJECT, 0, _NOWHERE
            )  # fmt: skip
    raise ValueError(f"`{name}` cannot be called with {count} argument{'s' if count > 1 else ''}")


def _needed(form: Form) -> int:
    return sum(not one.optional for one in form.parameters)


def _arguments(form: Form, parts: int) -> tuple[ir.Expression, ...]:
    item = ir.Load(0, 0, 0, "Array" if parts else OBJECT, "item", False, _NOWHERE)
    found: list[ir.Expression] = []
    for place, parameter in enumerate(form.parameters):
        value: ir.Expression = item
        if place >= (parts or 1):
            found.append(ir.Constant(parameter.default, parameter.type))
            continue
        if parts:
            value = ir.ItemAt(item, ir.Constant(place, "Int"), "Array", OBJECT, _NOWHERE)
        found.append(value if parameter.type == OBJECT else ir.Convert(value, parameter.type, _NOWHERE))
    return tuple(found)
