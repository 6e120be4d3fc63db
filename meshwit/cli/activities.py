"""`meshwit activities`: what scripts can call here, from the installed controllers, with signatures and docs."""

from __future__ import annotations

import fnmatch
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer

from meshwit.cli.compiling import installed_registry
from meshwit.cli.exit_codes import CommandError
from meshwit.cli.terminal import count_text, painted
from meshwit.lang.check_calls import describe_form
from meshwit.lang.findings import did_you_mean
from meshwit.lang.offer import Activity, Form
from meshwit.lang.types import CollectionType, ScriptType
from meshwit.plugins.registry import Registry

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_FLAGS = ("inline", "volatile", "local", "once", "exclusive")


@app.command()
def activities(
    pattern: Annotated[
        str, typer.Argument(metavar="[PATTERN]", help="A whole name for its documentation, a part of one, or `Grid.*`.")
    ] = "",
    controller: Annotated[str, typer.Option(metavar="NAME", help="Only what this controller brings.")] = "",
    types: Annotated[bool, typer.Option("--types", help="The types, and how literals of them look.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show which activities and types scripts can use, and what to install for those that cannot run yet."""
    registry = installed_registry()
    owner = _controller(registry, controller) if controller else ""
    if types:
        _list_types(registry, pattern, owner, as_json=as_json)
    else:
        _list_activities(registry, pattern, owner, as_json=as_json)


def controller_name(reference: str) -> str:
    """The class of `module:class`, by which people know a controller."""
    return reference.rpartition(":")[2]


def _controller(registry: Registry, name: str) -> str:
    known = {(one.prefix or "").casefold(): reference for reference, one in registry.controllers.items()}
    known |= {controller_name(reference).casefold(): reference for reference in registry.controllers}
    if name.casefold() not in known:
        names = sorted(controller_name(reference) for reference in registry.controllers)
        hint = f"{did_you_mean(name, names)}\ninstalled: {', '.join(names)}".strip()
        raise CommandError(f"there is no controller `{name}`", hint)
    return known[name.casefold()]


def matches(name: str, pattern: str) -> bool:
    """Whether a name has the pattern in it, or fits it where it has wildcards; case does not matter."""
    name, pattern = name.casefold(), pattern.casefold()
    return fnmatch.fnmatchcase(name, pattern) if set(pattern) & set("*?[") else pattern in name


def _nothing(what: str, pattern: str, known: Iterable[str]) -> CommandError:
    return CommandError(f"there is no {what} `{pattern}`", did_you_mean(pattern, known))


# --- activities ------------------------------------------------------------------------------------------------


def _list_activities(registry: Registry, pattern: str, owner: str, *, as_json: bool) -> None:
    offered = registry.offer.activities
    by_name: dict[str, Activity] = {one.name: one for one in offered.values()}
    aliases: dict[str, list[str]] = {}
    for name, one in offered.items():
        if name != one.name:
            aliases.setdefault(one.name, []).append(name)
    exact = offered.get(pattern)
    if exact is not None and not as_json:
        print("\n".join(_page(exact, aliases.get(exact.name, []))))
        return
    if exact is not None:
        by_name = {exact.name: exact}
    chosen = [
        one
        for name, one in sorted(by_name.items())
        if any(matches(known, pattern) for known in (name, *aliases.get(name, ()))) and owner in ("", one.controller)
    ]
    if not chosen:
        raise _nothing("activity", pattern, offered)
    if as_json:
        print(json.dumps({"activities": [_activity_json(one, aliases.get(one.name, [])) for one in chosen]}))
        return
    for reference in registry.controllers:
        own = [one for one in chosen if one.controller == reference]
        if own:
            print("\n".join(_section(reference, registry, own)), end="\n\n")
    count = count_text(len(chosen), "activity", "activities")
    print(f"{count}; a whole name shows its documentation", file=sys.stderr)


def signature(name: str, form: Form) -> str:
    """A form as a script writes it, with what it gives: `Matrix.GetRow(Matrix matrix, Int index) -> Vector`."""
    text = describe_form(name, form)
    return text if form.returns is None else f"{text} -> {form.returns}"


def _section(reference: str, registry: Registry, own: list[Activity]) -> Iterator[str]:
    about = summary(type(registry.controllers[reference]).__doc__ or "")
    yield painted(controller_name(reference), "bold", sys.stdout) + (f"  {about}" if about else "")
    missing = next((one.missing for one in own if one.missing), "")
    if missing:
        yield f"  cannot run yet: {missing}"
    for one in own:
        for form in one.forms:
            yield f"  {signature(one.name, form)}"
        if one.doc:
            yield f"      {summary(one.doc)}"


def summary(doc: str) -> str:
    """The first paragraph of a documentation, on one line."""
    return " ".join(doc.strip().partition("\n\n")[0].split())


def _page(activity: Activity, aliases: list[str]) -> Iterator[str]:
    """Everything about one activity."""
    for form in activity.forms:
        yield painted(signature(activity.name, form), "bold", sys.stdout)
    if activity.doc:
        yield ""
        yield from (f"  {line}".rstrip() for line in activity.doc.splitlines())
    yield ""
    yield f"  controller: {controller_name(activity.controller)} ({activity.controller.partition(':')[0]})"
    if aliases:
        yield f"  also: {', '.join(aliases)}"
    if activity.clauses:
        yield f"  may be followed by: {', '.join(clause.name for clause in activity.clauses)}"
    if activity.requires:
        yield f"  requires: {activity.requires}"
    notes = [flag for flag in _FLAGS if getattr(activity, flag)]
    if notes:
        yield f"  runs: {', '.join(notes)}"
    if activity.timeout_s is not None:
        yield f"  time limit: {activity.timeout_s:g} s"
    if activity.missing:
        yield f"  cannot run yet: {activity.missing}"


def _activity_json(activity: Activity, aliases: list[str]) -> dict[str, Any]:
    return {
        "name": activity.name,
        "aliases": aliases,
        "controller": controller_name(activity.controller),
        "forms": [_form_json(activity.name, form) for form in activity.forms],
        "doc": activity.doc,
        "requires": activity.requires,
        "missing": activity.missing,
        **{flag: getattr(activity, flag) for flag in _FLAGS},
    }


def _form_json(name: str, form: Form) -> dict[str, Any]:
    return {
        "signature": signature(name, form),
        "shape": form.shape.value,
        "parameters": [
            {"name": one.name, "type": one.type, "role": one.role.value, "optional": one.optional, "rest": one.rest}
            for one in form.parameters
        ],
        "returns": form.returns,
    }


# --- types -----------------------------------------------------------------------------------------------------


def _list_types(registry: Registry, pattern: str, owner: str, *, as_json: bool) -> None:
    known = registry.offer.types
    exact = [one for one in known.values() if one.name == pattern][:1]
    chosen = exact or [
        one
        for one in dict.fromkeys(known.values())
        if not isinstance(one, CollectionType)
        and any(matches(name, pattern) for name in (one.name, *one.aliases))
        and owner in ("", registry.owners.get(f"type {one.name}"))
    ]
    if not chosen:
        raise _nothing("type", pattern, known)
    if as_json:
        print(json.dumps({"types": [_type_json(one, registry) for one in chosen]}))
        return
    width = max(len(one.name) for one in chosen)
    for one in chosen:
        print("\n".join(_type_lines(one, width, registry)))


def _type_lines(kind: ScriptType, width: int, registry: Registry) -> Iterator[str]:
    indent = " " * (width + 2)
    yield f"{painted(kind.name.ljust(width), 'bold', sys.stdout)}  {kind.literal_forms}".rstrip()
    if kind.aliases:
        yield f"{indent}also: {', '.join(kind.aliases)}"
    constructor = registry.offer.activities.get(kind.name)
    for form in constructor.forms if constructor else ():
        yield f"{indent}{describe_form(kind.name, form)}"
    if kind.members:
        members = (f"{name} ({member.type})" for name, member in kind.members.items())
        yield f"{indent}members: {', '.join(members)}"


def _type_json(kind: ScriptType, registry: Registry) -> dict[str, Any]:
    constructor = registry.offer.activities.get(kind.name)
    return {
        "name": kind.name,
        "aliases": list(kind.aliases),
        "literal": kind.literal_forms,
        "constructors": [describe_form(kind.name, form) for form in constructor.forms] if constructor else [],
        "members": {name: member.type for name, member in kind.members.items()},
        "collection": registry.offer.collection_of(kind.name) if kind.collection else None,
        "controller": controller_name(registry.owners.get(f"type {kind.name}", "")),
    }
