"""Python: functions of installed packages, called by name.

To call a function that somebody else chooses is to run code that somebody else chooses, so nothing can be called but
what the owner of the device allows: functions of packages that were named (`meshwit up --functions numpy`), and with
`--allow-pickle` everything, since a pickle is a program. A worker process looks at that before it imports anything.

A package is what it defines: a name that leads through a module to another package (`mypackage:os.system`), or to what
the package merely imported, is refused. What the package's own functions do is for the owner of the device to know:
`numpy.testing` has one that runs any text.
"""

from __future__ import annotations

import importlib
import pickle
import traceback
from collections.abc import Callable, Sequence
from types import ModuleType, TracebackType
from typing import Any, Final

from meshwit.plugins.annotations import Array, Object, String
from meshwit.plugins.context import Context
from meshwit.plugins.controller import Controller, activity

TRACEBACK_LINES: Final = 12
NO_PICKLE: Final = "this device takes no pickles: its owner allows them with `meshwit up --allow-pickle`"


class Python(Controller):
    """Functions of Python packages that the owner of a device allows to be called."""

    @activity(requires="python.functions")
    def Call(
        self, context: Context, function: String, arguments: Array | None = None, named: Object | None = None
    ) -> Object:
        """Calls a function of a package that the device allows, `"numpy:hypot"`, with an array of arguments."""
        found = find_function(function, context.functions)
        return found(*(arguments or ()), **(named or {}))

    @activity(requires="python.pickle")
    def CallPickled(self, context: Context, call: Object, buffers: Array | None = None) -> Object:
        """For Python programs: a pickled function with its arguments, where the device allows pickles."""
        if not context.pickles:
            raise PermissionError(NO_PICKLE)
        if not isinstance(call, bytes):
            raise ValueError("a pickle is bytes")
        try:
            function, arguments, named = pickle.loads(call, buffers=buffers or ())
            return (True, *pickled(function(*arguments, **named)))
        except Exception as reason:
            return (False, *_pickled_reason(reason))


def pickled(value: object, dumps: Callable[..., bytes] = pickle.dumps) -> tuple[bytes, list[memoryview]]:
    """A value as a pickle and the large buffers beside it, which are not copied. Raises whatever pickling raises."""
    buffers: list[pickle.PickleBuffer] = []
    head = dumps(value, protocol=5, buffer_callback=buffers.append)
    return head, [each.raw() for each in buffers]


def _pickled_reason(reason: Exception) -> tuple[bytes, list[memoryview]]:
    """An exception with the end of its traceback; its text alone where it cannot cross."""
    text = "".join(traceback.format_exception(reason.with_traceback(_inner(reason)))).rstrip()
    lines = "\n".join(text.splitlines()[-TRACEBACK_LINES:])
    try:
        head, buffers = pickled((reason, lines))
        pickle.loads(head, buffers=buffers)  # some exceptions pickle and cannot be made again
    except Exception:
        return pickled((None, lines))
    return head, buffers


def _inner(reason: Exception) -> TracebackType | None:
    """Its frames but the outermost, which is ours."""
    return reason.__traceback__.tb_next if reason.__traceback__ is not None else None


def find_function(name: str, allowed: Sequence[str] | None) -> Callable[..., Any]:
    """The function `module:qualname`.

    Args:
        name: of the function.
        allowed: packages and modules whose functions may be called; None for all.

    Raises:
        PermissionError: it is none of theirs.
        ValueError: there is no such function.
    """
    module, _, qualname = name.partition(":")
    if not module or not qualname:
        raise ValueError(f"`{name}` names no function: write such as numpy:hypot")
    if not _inside(module, allowed):
        listed = ", ".join(allowed or ()) or "none"
        hint = f"its owner allows them with `meshwit up --functions {module.partition('.')[0]}`"
        raise PermissionError(f"this device does not allow the functions of {module} (allowed: {listed}): {hint}")
    try:
        found: Any = importlib.import_module(module)
        for part in qualname.split("."):
            private = allowed is not None and part.startswith("_")
            found = None if private else getattr(found, part)
            if private or not _inside(_home(found), allowed):
                raise PermissionError(
                    f"`{name}` is not of a package that this device allows: {', '.join(allowed or ())}"
                )
    except (ImportError, AttributeError) as reason:
        raise ValueError(f"there is no function `{name}` here: {reason}") from None
    if not callable(found):
        raise ValueError(f"`{name}` is no function")
    return found  # type: ignore[no-any-return]


def _home(value: object) -> str:
    """The module that defines a function or class, or the class of any other object; empty for a module."""
    if isinstance(value, ModuleType):
        return ""
    home = getattr(value, "__module__", None)
    if isinstance(home, str):
        return home
    owner = getattr(value, "__objclass__", None) or getattr(value, "__self__", None) or type(value)
    if isinstance(owner, ModuleType):
        return owner.__name__
    return str((owner if isinstance(owner, type) else type(owner)).__module__)


def _inside(module: str, allowed: Sequence[str] | None) -> bool:
    return allowed is None or any(module == each or module.startswith(f"{each}.") for each in allowed)
