"""One method as several forms of an activity: the same code for dense and sparse, declared as a table of signatures."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeVar

import msgspec

from meshwit.plugins.annotations import Script
from meshwit.plugins.controller import Declared

F = TypeVar("F", bound=Callable[..., Any])


def forms(*signatures: str) -> Callable[[F], F]:
    """Declare the forms of the activity below `@activity`: `"Matrix, Int -> Vector"`, in order of preference.

    Types follow the parameters in order; a parameter's default makes it optional in each form.
    """

    def note(method: F) -> F:
        method.__forms__ = signatures  # type: ignore[attr-defined]
        return method

    return note


def each_form(method: Callable[..., Any], note: Declared) -> Iterator[tuple[Callable[..., Any], Declared]]:
    """The method once per declared form, or as it is where it declares none."""
    signatures: tuple[str, ...] = getattr(method, "__forms__", ())
    if not signatures:
        yield method, note
    for position, signature in enumerate(signatures):
        # The arguments of the standard call are of the first form's types.
        yield _with_types(method, signature), note if not position else msgspec.structs.replace(note, benchmark=None)


def _with_types(method: Callable[..., Any], signature: str) -> Callable[..., Any]:
    types, _, returns = signature.partition(" -> ")
    given = list(inspect.signature(method).parameters.values())
    annotations = [_annotation(name) for name in types.split(", ")]
    parameters = [one.replace(annotation=mark) for one, mark in zip(given, annotations, strict=True)]

    def form(*values: Any, **named: Any) -> Any:
        return method(*values, **named)

    functools.update_wrapper(form, method)
    form.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        parameters, return_annotation=_annotation(returns)
    )
    return form


def _annotation(name: str) -> Any:
    return Annotated[Any, Script(name)]
