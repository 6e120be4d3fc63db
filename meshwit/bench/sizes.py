"""Sizes of memory as people write them: `8GiB`, `500 MB`."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

UNITS: Final = {
    "TiB": 2**40,
    "TB": 10**12,
    "GiB": 2**30,
    "GB": 10**9,
    "MiB": 2**20,
    "MB": 10**6,
    "KiB": 2**10,
    "KB": 10**3,
    "B": 1,
}
_BY_CAPITALS: Final = {unit.upper(): size for unit, size in UNITS.items()} | {"": 1}
_SIZE: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


def parse_size(text: str) -> int:
    """`"2GiB"`, `"500 MB"` or `"1000"` in bytes; the case of the unit is free. Raises ValueError."""
    found = _SIZE.fullmatch(text)
    if found is None or len(text) > 100 or found[2].upper() not in _BY_CAPITALS:
        shown = text if len(text) <= 40 else f"{text[:39]}…"
        raise ValueError(f'"{shown}" is no size: write "500MB" or "2GiB"')
    return int(Fraction(found[1]) * _BY_CAPITALS[found[2].upper()])


def exact_size(size: int) -> str:
    """The size in the largest unit that loses nothing; `parse_size` reads the same number back."""
    unit = next((unit for unit, bytes_each in UNITS.items() if size and size % bytes_each == 0), "B")
    return f"{size // UNITS[unit]} {unit}"


def rough_size(size: float, digits: int = 1) -> str:
    """The size for people, in a binary unit: `4.0 GiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size >= UNITS[unit]:
            return f"{size / UNITS[unit]:.{digits}f} {unit}"
    return f"{size:.0f} B"
