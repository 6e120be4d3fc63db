"""What a device of many lacks for a requirement, as predicates: "lacks gpu", "has memory 4 GiB, 8 GiB are required".

`Requirement.lacks` says the same of "this device"; here the subject stands before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from meshwit.bench.requirements import Compare, Every, Has, Not, Requirement, Size, Some, Text, Truth, described

_LEAST: Final = {">=": "", ">": "more than ", "<=": "at most ", "<": "less than ", "==": "", "!=": "anything but "}


def shortfalls(requirement: Requirement, capabilities: Mapping[str, object]) -> list[str]:
    """What keeps a device of these capabilities from meeting it; empty if and only if it does."""
    return [] if requirement.met_by(capabilities) else _missing(requirement, capabilities)


def _missing(requirement: Requirement, capabilities: Mapping[str, object]) -> list[str]:
    match requirement:
        case Every(parts=parts):
            return [words for part in parts for words in shortfalls(part, capabilities)]
        case Some(parts=parts):
            return [" or else ".join(" and ".join(_missing(part, capabilities)) for part in parts)]
        case Has(name=name):
            return [f"lacks {name}"]
        case Compare(name=name, symbol=symbol, value=value):
            wanted = f"{_LEAST[symbol]}{value} {_is_or_are(requirement)} required"
            given = capabilities.get(name)
            return [f"lacks {name}, {wanted}" if given is None else f"has {name} {described(given, value)}, {wanted}"]
        case Not(part=Has(name=name)):
            return [f"has {name}, which is not wanted"]
        case Not(part=Compare(name=name, value=value) as part):
            return [f"has {name} {described(capabilities.get(name), value)}, {part} is not wanted"]
        case _:
            return [f"does not meet {requirement}"]


def _is_or_are(comparison: Compare) -> str:
    """`8 GiB are`, `8 are`, but `3.11 is`, `'berlin' is`."""
    match comparison.value:
        case Text() | Truth():
            return "is"
        case Size():
            return "are"
    return "are" if str(comparison.value).isdigit() else "is"
