"""What the owner of a device lets others run on it besides activities, as names that requirement expressions ask for.

    python.functions      the packages, "numpy,scipy.signal"
    python.functions.X    for each of them
    python.pickle         whether pickles are taken

What is not allowed is absent, so that nothing is met by it.
"""

from __future__ import annotations

from collections.abc import Sequence


def allowances(functions: Sequence[str], *, pickle: bool) -> dict[str, object]:
    """The capabilities of a device that allows the functions of these packages, and perhaps pickles."""
    found: dict[str, object] = {f"python.functions.{package}": True for package in functions}
    if functions:
        found["python.functions"] = ",".join(functions)
    if pickle:
        found["python.pickle"] = True
    return found


def needed_for(module: str) -> str:
    """What a device must have to run the functions of a module for others."""
    parts = module.split(".")
    return " or ".join(f"python.functions.{'.'.join(parts[:count])}" for count in range(1, len(parts) + 1))
