"""The controller SDK: a controller is a class, an activity is one of its methods.

    class Primes(Controller):
        '''Prime numbers.'''

        @activity
        def Count(self, start: Int, stop: Int) -> Int:
            '''How many primes lie in [start, stop).'''
            ...

brings `Primes.Count` to every script. Types come from the annotations, the documentation from the docstrings.
The same name declared twice in one controller is two forms of one activity.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar, overload

import msgspec

from meshwit.lang.offer import Activity, Form, Operator, Parameter, Role, Shape
from meshwit.lang.types import ScriptType
from meshwit.lazy import is_installed
from meshwit.plugins.annotations import Script, Takes, read_annotation
from meshwit.plugins.context import Context
from meshwit.plugins.requires import expressions_of, joined

F = TypeVar("F", bound=Callable[..., Any])


class Declared(msgspec.Struct, frozen=True):
    """What a decorator noted on a method."""

    name: str = ""
    aliases: tuple[str, ...] = ()
    properties: dict[str, Any] = {}
    operator: str = ""
    work: Callable[..., float] | None = None
    benchmark: Callable[[], Sequence[Any]] | None = None
    clause: bool = False


@overload
def activity(function: F, /) -> F: ...
@overload
def activity(
    *,
    name: str = "",
    aliases: tuple[str, ...] = (),
    inline: bool = False,
    volatile: bool = False,
    local: bool = False,
    once: bool = False,
    effect: bool = False,
    exclusive: bool = False,
    requires: str = "",
    timeout_s: float | None = None,
    memory_max_bytes: int | None = None,
    operator: str = "",
    work: Callable[..., float] | None = None,
    benchmark: Callable[[], Sequence[Any]] | None = None,
) -> Callable[[F], F]: ...
def activity(function: Any = None, /, **options: Any) -> Any:
    """Make a method an activity.

    Args:
        function: the method, where the decorator stands without parentheses.
        options: any of
            name: as scripts write it, instead of `<Controller>.<method>`;
            aliases: further names;
            inline: takes microseconds and touches nothing, runs in the leader's process;
            volatile: the result depends on when or where it runs;
            local: runs on the leader's device;
            once: must never run twice;
            effect: called for what it does, its result may be thrown away (a written file's path);
            exclusive: not two at a time on one device (not parallel safe);
            requires: capability expression, `"gpu.cuda and memory >= 8GiB"`;
            timeout_s, memory_max_bytes: limits for one task;
            operator: `"+"`, so that `a + b` calls it;
            work: called with the arguments, estimates the work of one call in any unit, for placing long calls first;
            benchmark: gives the arguments of one standard call, to measure a device with.
    """

    def note(method: F) -> F:
        given = dict(options)
        own = {key: given.pop(key) for key in ("name", "aliases", "operator", "work", "benchmark") if key in given}
        method.__activity__ = Declared(properties=given, **own)  # type: ignore[attr-defined]
        return method

    return note if function is None else note(function)


def composite(*, name: str = "", aliases: tuple[str, ...] = (), **properties: Any) -> Callable[[F], F]:
    """Make a generator method a control activity: it yields `meshwit.lang.control` operations.

    Args:
        name: as scripts write it.
        aliases: further names.
        properties: `loop`, `inside_loop`, `leaves`, `parallel`, `branches`, `clauses` of `Activity`.
    """

    def note(method: F) -> F:
        method.__activity__ = Declared(name, aliases, {**properties, "control": True})  # type: ignore[attr-defined]
        return method

    return note


def clause(*, name: str = "") -> Callable[[F], F]:
    """Make a method the signature of a continuation such as `Else`: the composite that it follows runs it."""

    def note(method: F) -> F:
        method.__activity__ = Declared(name, properties={"control": True}, clause=True)  # type: ignore[attr-defined]
        return method

    return note


class Controller:
    """Base of all controllers. Attributes are declared on the class.

    Attributes:
        prefix: what stands before the dot of its activities' names; by default the class name, `""` for none.
        types: the script types it brings.
        operators: operators of those types that the leader evaluates itself.
        modules: import names that its activities need.
        extra: the extra of the distribution that installs them.
        distribution: what to install; meshwit itself for what ships with it.
    """

    prefix: ClassVar[str | None] = None
    types: ClassVar[Sequence[ScriptType]] = ()
    operators: ClassVar[Sequence[Operator]] = ()
    modules: ClassVar[Sequence[str]] = ()
    extra: ClassVar[str] = ""
    distribution: ClassVar[str] = "meshwit"

    def declared(self) -> Iterator[tuple[Callable[..., Any], Declared]]:
        """Every activity form with its bound method. Override to add ones made in a loop."""
        for member in dir(type(self)):
            method = getattr(type(self), member)
            note = getattr(method, "__activity__", None)
            if note is not None:
                yield getattr(self, member), note

    @classmethod
    def missing(cls) -> str:
        """What to install before its activities can run, or empty."""
        if all(is_installed(module) for module in cls.modules):
            return ""
        wanted = f"'{cls.distribution}[{cls.extra}]'" if cls.extra else " ".join(cls.modules)
        return f"pip install {wanted}"


class Implementation(msgspec.Struct, frozen=True):
    """The Python side of one form."""

    function: Callable[..., Any]
    context_at: int | None
    returns: str | None
    work: Callable[..., float] | None = None
    benchmark: Callable[[], Sequence[Any]] | None = None

    @property
    def takes_context(self) -> bool:
        """Whether one of its parameters is a `Context`."""
        return self.context_at is not None


def read_controller(
    controller: Controller,
) -> tuple[list[Activity], dict[tuple[str, int], Implementation], dict[str, str], dict[str, str]]:
    """The activities of a controller, the code behind each form, aliases, and operators by symbol and name.

    Returns:
        activities; (name, form index) -> implementation; alias -> name; "symbol left right" -> activity name.

    Raises:
        TypeError: an annotation is missing or means nothing to the language, or a requirement cannot be read.
    """
    cls = type(controller)
    prefix = cls.__name__ if cls.prefix is None else cls.prefix
    missing = cls.missing()
    activities: dict[str, Activity] = {}
    implementations: dict[tuple[str, int], Implementation] = {}
    aliases: dict[str, str] = {}
    operators: dict[str, str] = {}
    required: dict[str, list[str]] = {}
    for method, note in sorted(controller.declared(), key=lambda pair: _line(pair[0])):
        name = note.name or (f"{prefix}.{method.__name__}" if prefix else method.__name__)
        form, context_at = read_form(method, note)
        if context_at is not None and note.properties.get("inline"):
            raise TypeError(f"{method.__qualname__}: an inline activity touches nothing: it can take no Context")
        earlier = activities.get(name)
        properties = {key: value for key, value in note.properties.items() if value not in (None, "", False, ())}
        if earlier is None:
            doc = inspect.getdoc(method) or ""
            made = Activity(
                name, (form,), f"{cls.__module__}:{cls.__qualname__}", doc=doc, missing=missing, **properties
            )
        else:
            made = msgspec.structs.replace(earlier, forms=(*earlier.forms, form), **properties)
        activities[name] = made
        required.setdefault(name, []).extend((note.properties.get("requires", ""), *expressions_of(method)))
        index = len(made.forms) - 1
        implementations[name, index] = Implementation(method, context_at, form.returns, note.work, note.benchmark)
        aliases.update(dict.fromkeys(note.aliases, name))
        if note.operator:
            left, right = form.parameters[0].type, form.parameters[1].type
            operators[f"{note.operator} {left} {right}"] = name
    of_all = expressions_of(cls)
    found = [_requiring(made, required[name], of_all) for name, made in activities.items()]
    return found, implementations, aliases, operators


def _requiring(made: Activity, own: Sequence[str], of_all: Sequence[str]) -> Activity:
    """The activity with its own requirements and those of its controller. Raises TypeError."""
    if made.inline or made.control:
        if any(own):
            raise TypeError(f"{made.name}: it runs in the leader's own process, so it can require nothing of a peer")
        return made
    return msgspec.structs.replace(made, requires=joined(made.name, (*of_all, *own)))


def _line(method: Callable[..., Any]) -> int:
    code = getattr(inspect.unwrap(method), "__code__", None)
    return code.co_firstlineno if code is not None else 0


def read_form(method: Callable[..., Any], note: Declared) -> tuple[Form, int | None]:
    """The form that a method's signature describes, and which parameter takes the `Context`. Raises TypeError."""
    control = bool(note.properties.get("control"))
    try:
        signature = inspect.signature(method, eval_str=True)
    except NameError as reason:
        raise TypeError(f"{method.__qualname__}: an annotation cannot be read: {reason}") from None
    parameters: list[Parameter] = []
    context_at: int | None = None
    roles: set[Role] = set()
    for position, given in enumerate(signature.parameters.values()):
        if given.annotation is Context:
            context_at = position
            continue
        if given.annotation is inspect.Parameter.empty:
            raise TypeError(f"{method.__qualname__}: parameter `{given.name}` has no annotation")
        if control and given.name == "clauses":
            continue
        mark = _read(method, given.annotation, given.name)
        if mark is None:
            raise TypeError(f"{method.__qualname__}: parameter `{given.name}` is annotated as None")
        optional = given.default is not inspect.Parameter.empty
        rest = given.kind is inspect.Parameter.VAR_POSITIONAL
        role = mark.role if isinstance(mark, Takes) else Role.VALUE
        roles.add(role)
        kind = mark.type if isinstance(mark, Takes) else mark.name
        default = given.default if optional else None
        parameters.append(Parameter(given.name, kind, role, optional, default, rest))
    returns: str | None = None
    if not control:
        if signature.return_annotation is inspect.Signature.empty:
            raise TypeError(f"{method.__qualname__}: what it returns has no annotation; `-> None` if it is nothing")
        result = _read(method, signature.return_annotation)
        returns = result.name if isinstance(result, Script) else None
    shape = Shape.TRANSFORM if Role.ARROW in roles else Shape.COMPOSITE if Role.BODY in roles else Shape.CALL
    if note.clause:
        shape = Shape.CLAUSE
    return Form(tuple(parameters), returns, shape), context_at


def _read(method: Callable[..., Any], annotation: Any, parameter: str = "") -> Script | Takes | None:
    try:
        return read_annotation(annotation, result=not parameter)
    except TypeError as reason:
        what = f"parameter `{parameter}`" if parameter else "what it returns"
        raise TypeError(f"{method.__qualname__}: {what}: {reason}") from None
