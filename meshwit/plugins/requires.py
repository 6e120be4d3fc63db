"""Decorators that say what a device must have to run an activity.

    @requires_memory(min="8GiB")
    @activity
    def Simulate(self, ...): ...

They stack, in any order among themselves and around `@activity`, and on a `Controller` they hold for all of its
activities that run on workers. `meshwit.bench.requirements` tells what an expression may say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from meshwit.bench.requirements import all_of, is_name, parse_requirement
from meshwit.bench.sizes import parse_size

T = TypeVar("T", bound=Callable[..., Any])  # a class is one too
_OS_NAMES = ("linux", "windows", "macos")


def requires(expression: str) -> Callable[[T], T]:
    """Add a condition, `"gpu.cuda and site == 'berlin'"`. It is read when the controller is."""
    if not isinstance(expression, str):
        raise TypeError(f"@requires takes an expression in quotes, not {expression!r}")

    def note(wanted: T) -> T:
        wanted.__requires__ = (expression, *expressions_of(wanted))  # type: ignore[attr-defined]
        return wanted

    return note


def requires_cpu(min_logical_cores: int) -> Callable[[T], T]:
    """At least so many logical cores that a peer may use. Raises ValueError."""
    return requires(f"cpu.cores >= {_positive(min_logical_cores, 'min_logical_cores')}")


def requires_memory(min: str | int) -> Callable[[T], T]:
    """At least so much memory that a peer may use: `"8GiB"`, or bytes. Raises ValueError."""
    return requires(f"memory >= {_size(min)}")


def requires_gpu(min_vram: str | int | None = None, features: Sequence[str] = ()) -> Callable[[T], T]:
    """A GPU.

    Args:
        min_vram: memory that the largest must have: `"8GiB"`, or bytes.
        features: `"cuda"` for `gpu.cuda` and so on.

    Raises:
        ValueError: one of them cannot be.
    """
    conditions = ["gpu"]
    if min_vram is not None:
        conditions.append(f"gpu.memory >= {_size(min_vram)}")
    for feature in (features,) if isinstance(features, str) else features:
        if not is_name(f"gpu.{feature}"):
            raise ValueError(f'"{feature}" cannot be a feature of a GPU: write such as "cuda"')
        conditions.append(f"gpu.{feature}")
    return requires(" and ".join(conditions))


def requires_os(*names: str) -> Callable[[T], T]:
    """One of these systems: `"linux"`, `"windows"`, `"macos"`. Raises ValueError."""
    unknown = [name for name in names if name not in _OS_NAMES]
    if unknown or not names:
        told = f'"{unknown[0]}" is no system' if unknown else "no system is named"
        raise ValueError(f"{told}: there are {', '.join(_OS_NAMES)}")
    return requires(" or ".join(f"os == '{name}'" for name in names))


def expressions_of(wanted: object) -> tuple[str, ...]:
    """What the decorators added to a method or class, the uppermost first."""
    found: tuple[str, ...] = getattr(wanted, "__requires__", ())
    return found


def joined(activity: str, expressions: Iterable[str]) -> str:
    """The expressions with `and` between them, each read by itself. Raises TypeError naming the activity."""
    try:
        # The whole is read again: it has limits too.
        return str(parse_requirement(str(all_of(parse_requirement(one) for one in expressions))))
    except ValueError as reason:
        raise TypeError(f"{activity}: {reason}") from None


def _positive(number: int, name: str) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ValueError(f"{name} must be a whole number above 0, it is {number!r}")
    return number


def _size(size: str | int) -> str:
    return f"{parse_size(size) if isinstance(size, str) else _positive(size, 'a size')}B"
