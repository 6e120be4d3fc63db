"""Calls activities as a worker process does, without one: arguments fitted to a form, values through the codec."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from meshwit.peer.blobs.store import BlobStore
from meshwit.plugins.context import Context
from meshwit.plugins.controller import Controller
from meshwit.plugins.registry import Registry
from meshwit.plugins.variables import Variables


def photo_file(name: str) -> Path:
    """A photograph that scikit-learn ships, `china.jpg` or `flower.jpg`; skips the module where it is not installed."""
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        pytest.skip("the photographs are scikit-learn's", allow_module_level=True)
    return Path(found.origin).parent / "datasets" / "images" / name


class Desk:
    """A device with a few controllers: `desk("Image.Width", photo)`."""

    def __init__(self, folder, *controllers: Controller) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.blobs = BlobStore(folder / "blobs")
        self.context = Context(self.blobs, [self.root], folder / "scratch")
        self.registry = Registry([Variables(), *controllers])
        self.offer = self.registry.offer
        self.codec = self.registry.codec(self.blobs.wire_type())

    def __call__(self, activity: str, *args: Any, **named: Any) -> Any:
        reasons = []
        for index, form in enumerate(self.offer.activities[activity].forms):
            try:
                given = self._fitted(form.parameters, args, named)
            except (ValueError, TypeError) as reason:
                reasons.append(str(reason))
                continue
            code = self.registry.implementations[activity, index]
            if code.work is not None:
                assert code.work(*given) >= 0
            context = {"context": self.context} if code.takes_context else {}
            parameters = dict(zip((p.name for p in form.parameters), given, strict=True))
            result = code.function(**context, **parameters)
            if form.returns is None:
                assert result is None
                return None
            return self.through(self.offer.type(form.returns).adopt(result, self.blobs))
        raise TypeError(f"{activity}: no form fits: {reasons}")

    def through(self, value: Any) -> Any:
        """What another process gets."""
        header, buffers = self.codec.encode(value)
        return self.codec.decode(header, buffers)

    def text(self, type_name: str, value: Any) -> str:
        return self.offer.type(type_name).text(value)

    def member(self, type_name: str, value: Any, name: str) -> Any:
        found = self.offer.type(type_name).member(name)
        assert found is not None
        result = found.get(value)
        assert result is None or self.offer.type(found.type).holds(result)
        return result

    def _fitted(self, parameters, args, named):
        if len(args) > len(parameters):
            raise TypeError("too many arguments")
        rest = {key.lower(): value for key, value in named.items()}
        given = list(args)
        for parameter in parameters[len(args) :]:
            if parameter.name.lower() in rest:
                given.append(rest.pop(parameter.name.lower()))
            elif parameter.optional:
                given.append(None)
            else:
                raise TypeError(f"needs {parameter.name}")
        if rest:
            raise TypeError(f"no argument {', '.join(rest)}")
        fitted = [
            parameter.default if value is None else self.offer.type(parameter.type).literal(value)
            for parameter, value in zip(parameters, given, strict=True)
        ]
        return [self.through(value) for value in fitted]
