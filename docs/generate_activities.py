"""Writes `docs/activities.md`, the reference of all built-in activities, from the controllers themselves.

    python docs/generate_activities.py

What is said does not depend on which extras are installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from meshwit.lang.offer import Activity, Form, Parameter, Role
from meshwit.lang.text import quote_text, timespan_text
from meshwit.lang.types import CollectionType, ScriptType
from meshwit.plugins.controller import Controller
from meshwit.plugins.discovery import BUILT_IN
from meshwit.plugins.registry import Registry, load_controller

TARGET = Path(__file__).with_name("activities.md")

HEAD = """\
# Activities

All activities and types that ship with meshwit, by controller. Written by `docs/generate_activities.py`: change the
controllers, not this page. `meshwit activities` shows what is installed on a device, other controllers included.

`Int width = 320` may be left out; `[Int top]` as well, and has no value then; `Object values…` takes any number. Each
type has a constructor of its name, and each but `ProcessingOptions` and `Array` a `<Type>Collection`, which takes an
array. What the words behind a signature mean: [controllers.md](controllers.md#what-can-be-declared).
"""


def reference() -> str:
    """The whole page."""
    registry = Registry([load_controller(reference) for reference in BUILT_IN.values()])
    parts = [HEAD]
    for reference_name, controller in registry.controllers.items():
        parts.append("\n".join(_section(registry, reference_name, controller)))
    return "\n".join(parts)


def _section(registry: Registry, reference_name: str, controller: Controller) -> Iterator[str]:
    cls = type(controller)
    yield f"## {cls.__name__}\n"
    yield _paragraphs(cls.__doc__ or "")
    if cls.modules:
        yield f"Needs the extra `{cls.extra}`: `pip install '{cls.distribution}[{cls.extra}]'`.\n"
    kinds = [
        kind for kind in registry.offer.types.values() if registry.owners.get(f"type {kind.name}") == reference_name
    ]
    yield from _types(list(dict.fromkeys(kinds)))
    yield from _operators(registry, controller)
    own = {one.name: one for one in registry.offer.activities.values() if one.controller == reference_name}
    names = [name for name in sorted(own) if not isinstance(registry.offer.types.get(name), CollectionType)]
    aliases = {name: [a for a, one in registry.offer.activities.items() if one.name == name != a] for name in names}
    for name in names:
        yield from _activity(registry, own[name], sorted(aliases[name]))


def _types(kinds: list[ScriptType]) -> Iterator[str]:
    kinds = [kind for kind in kinds if not isinstance(kind, CollectionType)]
    if not kinds:
        return
    yield "| type | literal | members |\n|---|---|---|"
    for kind in kinds:
        members = ", ".join(f"`{name}` ({member.type})" for name, member in kind.members.items())
        names = ", ".join(f"`{name}`" for name in (kind.name, *kind.aliases))
        yield f"| {names} | {_cell(kind.literal_forms)} | {members} |"
    yield ""


def _operators(registry: Registry, controller: Controller) -> Iterator[str]:
    """Operators of the types of a controller, where they are not those of the language itself."""
    own = {kind.name for kind in controller.types}
    found = [one for one in registry.offer.operators.values() if {one.left, one.right} & own]
    if not found or "Int" in own:
        return
    numbers = {name for one in found for name in (one.left, one.right)} - own - {""}

    def side(name: str) -> str:
        return "number" if name in numbers else name

    rows: dict[tuple[str, str, str], dict[str, None]] = {}
    for one in found:
        rows.setdefault((side(one.left), side(one.right), one.returns), {})[one.symbol] = None
    yield "| operands | operators | result |\n|---|---|---|"
    for (left, right, returns), symbols in sorted(rows.items()):
        operands = f"{left}, {right}" if left else right
        shown = " ".join(f"`{symbol}`" for symbol in sorted(symbols))
        yield f"| {operands} | {shown}{'' if left else ' in front'} | {returns} |"
    yield ""


def _activity(registry: Registry, activity: Activity, aliases: list[str]) -> Iterator[str]:
    yield f"### {activity.name}\n"
    yield "```text"
    for form in activity.forms:
        yield signature(registry, activity.name, form)
    yield "```\n"
    if activity.doc:
        yield _paragraphs(activity.doc)
    notes = [word for word in ("local", "once", "exclusive", "volatile", "inline") if getattr(activity, word)]
    if activity.timeout_s is not None:
        notes.append(f"time limit {activity.timeout_s:g} s")
    if activity.memory_max_bytes is not None:
        notes.append(f"memory limit {activity.memory_max_bytes:,} bytes")
    if activity.requires:
        notes.append(f"requires `{activity.requires}`")
    if activity.clauses:
        names = [f"`{clause.name}`{' (any number)' if clause.many else ''}" for clause in activity.clauses]
        notes.append("may be followed by " + ", ".join(names))
    if aliases:
        notes.append("also " + ", ".join(f"`{alias}`" for alias in aliases))
    if notes:
        yield f"*{'; '.join(notes)}*\n"


def signature(registry: Registry, name: str, form: Form) -> str:
    """A form with its defaults: `Video.Compose(ImageCollection images, Double fps = 24.0) -> Video`."""
    before: list[str] = []
    parts: list[str] = []
    tail = ""
    for one in form.parameters:
        match one.role:
            case Role.VALUE | Role.LAZY:
                parts.append(_parameter(registry, one))
            case Role.EACH:
                before.append("item in items")
            case Role.DECLARES:
                before.append(f"{one.type}:{one.name}")
            case Role.BODY:
                tail = " { … }"
            case Role.ARROW:
                tail = " => Call(…)"
    result = "" if form.returns is None else f" -> {form.returns}"
    return f"{name}({', '.join(before + parts)}){tail}{result}"


def _parameter(registry: Registry, one: Parameter) -> str:
    if one.rest:
        return f"{one.type} {one.name}…"
    if not one.optional:
        return f"{one.type} {one.name}"
    kind = registry.offer.types[one.type]
    if one.default is None or kind.name == "ProcessingOptions":
        return f"[{one.type} {one.name}]"
    text = f'"{timespan_text(one.default)}"' if kind.name == "TimeSpan" else quote_text(one.default, kind)
    return f"{one.type} {one.name} = {text}"


def _paragraphs(doc: str) -> str:
    return "\n\n".join(part.strip() for part in doc.strip().split("\n\n")) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
