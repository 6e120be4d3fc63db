"""What a worker process does with a step: loads the controllers that it names, and makes its task a function.

Controllers are named by `module:class` by the peer that started this process, from its own registry: nothing that
came over a network chooses what is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from meshwit.codec import Codec, WireType
from meshwit.lang.task import load_task
from meshwit.peer.blobs.store import BlobStore
from meshwit.plugins.context import Context
from meshwit.plugins.controller import Controller
from meshwit.plugins.registry import Registry, load_controller


class Workshop(Codec):
    """The controllers, types and stores of one worker process; as a codec, it knows the types of its controllers.

    Args:
        setup: `blobs` and `scratch`, folders; `roots`, folders that activities may use; `tags`, which controller
            brings the type of a wire tag.
    """

    def __init__(self, setup: Mapping[str, Any]) -> None:
        self._blobs = BlobStore(Path(setup["blobs"]))
        super().__init__([self._blobs.wire_type()])
        self._scratch = Path(setup["scratch"])
        self.context = self.context_of(setup["roots"])
        self._tags: dict[str, str] = setup["tags"]
        self._controllers: dict[str, Controller] = {}
        self.registry = Registry(())

    def load(self, references: list[str]) -> None:
        """Make the activities and types of these controllers known. Raises ImportError and whatever they raise."""
        missing = [one for one in references if one not in self._controllers]
        if not missing:
            return
        for reference in missing:
            self._controllers[reference] = load_controller(reference)
        self.registry = Registry(self._controllers.values())
        for wire_type in self.registry.wire_types():
            self.register(wire_type)

    def tagged(self, tag: str) -> WireType:
        """The type of a wire tag, its controller loaded if need be."""
        if tag in self._tags and self._tags[tag] not in self._controllers:
            self.load([self._tags[tag]])
        return super().tagged(tag)

    def context_of(
        self, roots: Iterable[str], functions: Iterable[str] | None = (), *, pickles: bool = False
    ) -> Context:
        """The context of a step whose activities may use those folders and functions."""
        return Context(self._blobs, [Path(root) for root in roots], self._scratch, functions=functions, pickles=pickles)

    def function_of(self, activity: str, form: int, context: Context | None = None) -> Callable[..., Any]:
        """The function behind an activity's form; gives values of the declared type.

        Args:
            activity: its name.
            form: which of its forms.
            context: what it gets where it asks for one; by default that of the process.
        """
        code = self.registry.implementations[self.registry.offer.activities[activity].name, form]
        function, at, context = code.function, code.context_at, context or self.context
        if at is not None:
            inner = function

            def function(*values: Any) -> Any:
                return inner(*values[:at], context, *values[at:])

        if code.returns is None:
            return function
        adopt, blobs = self.registry.offer.types[code.returns].adopt, self._blobs
        finished = function

        def checked(*values: Any) -> Any:
            result = finished(*values)
            try:
                return adopt(result, blobs)
            except ValueError as reason:
                raise TypeError(f"{activity} returned what is no {code.returns}: {reason}") from None

        return checked


_workshop: Workshop | None = None


def make_codec(setup: Mapping[str, Any]) -> Codec:
    """The codec of this worker process."""
    global _workshop
    _workshop = Workshop(setup)
    return _workshop


def load(program: Mapping[str, Any]) -> Callable[[Any], Any]:
    """The function of a step's task.

    Args:
        program: `controllers` to load, the packed `task`, the `captured` values; maybe `roots`, the folders that this
            step may use instead of those of the process, with `functions` and `pickles` as of a `Context`.
    """
    assert _workshop is not None
    _workshop.load(program["controllers"])
    roots = program.get("roots")
    context = (
        _workshop.context
        if roots is None
        else (_workshop.context_of(roots, program.get("functions", ()), pickles=program.get("pickles", False)))
    )
    function_of = partial(_workshop.function_of, context=context)
    return load_task(program["task"], program["captured"], _workshop.registry.offer, function_of)
