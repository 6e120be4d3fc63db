"""All controllers of a process, joined into one offer; and the code behind each activity.

A name has one owner: two controllers that claim it are an error that names both, found when the registry is
built and not when a script happens to use it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

from meshwit.codec import Codec, WireType
from meshwit.lang.offer import Activity, Form, Offer, Operator, Parameter
from meshwit.lang.types import CollectionType, ScriptType
from meshwit.plugins.controller import Controller, Implementation, read_controller

OWN = "meshwit.plugins."
"""What ships here is tested to give what it declares."""


class ControllerClash(Exception):  # noqa: N818 - the name says it
    """Two controllers claim one name."""


class Registry:
    """Controllers by reference (`module:class`), with everything that they bring.

    Attributes:
        offer: what scripts are compiled against.
        owners: activity or type name -> reference of the controller that brings it.
    """

    def __init__(self, controllers: Iterable[Controller]) -> None:
        self.controllers: dict[str, Controller] = {}
        self.owners: dict[str, str] = {}
        self.implementations: dict[tuple[str, int], Implementation] = {}
        types: list[ScriptType] = []
        activities: list[Activity] = []
        operators: list[Operator] = []
        aliases: dict[str, str] = {}
        for controller in controllers:
            reference = f"{type(controller).__module__}:{type(controller).__qualname__}"
            if reference in self.controllers:
                continue
            self.controllers[reference] = controller
            found, code, renamed, symbols = read_controller(controller)
            for kind in controller.types:
                self._claim(f"type {kind.name}", reference)
            for name in [one.name for one in found] + list(renamed):
                self._claim(name, reference)
            types += controller.types
            activities += found
            operators += controller.operators
            aliases |= renamed
            self.implementations |= code
            for signature, name in symbols.items():
                symbol, left, right = signature.split()
                forms = next(one for one in found if one.name == name).forms
                form = next(one for one in forms if [each.type for each in one.parameters[:2]] == [left, right])
                operators.append(Operator(symbol, left, right, form.returns or "Object", activity=name))
        for kind in types:
            if kind.collection:
                self._add_collection(kind, activities)
        inline = {one.name for one in activities if one.inline}
        functions = {
            key: self._checked(code) if key[0] in inline and not self.owners[key[0]].startswith(OWN) else code.function
            for key, code in self.implementations.items()
        }
        self.offer = Offer(types, activities, operators, functions, aliases)

    def _checked(self, code: Implementation) -> Callable[..., Any]:
        """An inline activity whose result is made sure to be of its type; other results are where they are computed."""
        function, returns = code.function, code.returns
        if returns is None:
            return function

        def call(*values: Any) -> Any:
            return self.offer.types[returns].adopt(function(*values), None)

        return call

    def _add_collection(self, element: ScriptType, activities: list[Activity]) -> None:
        """The constructor that every collection type has."""
        kind = CollectionType(element)
        doc = f"A collection of {element.name} values, from an array."
        owner = self.owners[f"type {element.name}"]
        form = Form((Parameter("values", "Array"),), kind.name)
        for name in (kind.name, *kind.aliases):
            self._claim(name, owner)
            activities.append(Activity(name, (form,), owner, doc=doc, inline=True))
            self.implementations[name, 0] = Implementation(kind.literal, None, kind.name)

    def _claim(self, name: str, reference: str) -> None:
        owner = self.owners.setdefault(name, reference)
        if owner != reference:
            raise ControllerClash(f"`{name}` is claimed by two controllers, {owner} and {reference}: uninstall one")

    def wire_types(self) -> list[WireType]:
        """How the values of all types cross between processes."""
        return [kind.wire for kind in self.offer.types.values() if kind.wire is not None]

    def codec(self, *more: WireType) -> Codec:
        """For the values of all types; `more`: how others cross, as blobs do by where their bytes lie."""
        return Codec([*self.wire_types(), *more])


def load_controller(reference: str) -> Controller:
    """The controller named `module:class`. Raises ImportError or TypeError with the reference."""
    module, _, qualname = reference.partition(":")
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    if not (isinstance(found, type) and issubclass(found, Controller)):
        raise TypeError(f"{reference} is no controller: it must be a subclass of meshwit.plugins.Controller")
    make: Callable[[], Controller] = found
    return make()
