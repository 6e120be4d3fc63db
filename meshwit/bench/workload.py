"""The standard work that probes do: one unit of CPU work, and one copy of memory.

A unit is a mix of what tasks are made of, each about a third of the time on the reference device: Python interpreted
(calls, dictionaries, lists, texts), floats in numpy (elementwise and small products, in cache, so that no BLAS starts
threads of its own), bytes (hashed, compressed). It never changes within one `PROBE_VERSION`: rates would not compare.
"""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from meshwit.lazy import lazy_module

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = lazy_module("numpy")

PROBE_VERSION = 1
"""Goes up whenever the work or its measuring changes."""
_LENGTH = 8192
_TEXT = b"".join(b"frame %d of %d: pixel %d is #%06x\n" % (n, 240, n * n, n * 7919 % 2**24) for n in range(1000))


class Mix:
    """The work, with its arrays made once."""

    def __init__(self) -> None:
        steps = np.arange(_LENGTH, dtype=np.float64)
        self._left: NDArray[np.float64] = np.sin(steps) + 1.5
        self._right: NDArray[np.float64] = np.cos(steps * 0.5) + 1.5
        self._small: NDArray[np.float64] = self._left.reshape(8, 32, 32) / 32

    def unit(self) -> tuple[int, float, int]:
        """Do one unit; what it gives is the same every time and on every device, up to rounding."""
        return interpreted(), self.floats(), digested(_TEXT)

    def floats(self) -> float:
        """The part in numpy."""
        total, left = 0.0, self._left
        for _ in range(18):
            left = np.sqrt(left * self._right + 0.5)
            total += float(np.add.reduce(np.exp(-left)))
            total += float(np.matmul(self._small, self._small)[0, 0, 0])
        return total


class _Cell:
    __slots__ = ("count", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0

    def add(self, amount: int) -> int:
        self.count = (self.count * 31 + amount) % 1_000_003
        return self.count


def interpreted() -> int:
    """The part in Python."""
    cells: dict[str, _Cell] = {}
    order: list[int] = []
    for number in range(2_000):
        name = f"cell {number % 97}"
        cell = cells.get(name)
        if cell is None:
            cell = cells[name] = _Cell(name)
        order.append(cell.add(number))
    order.sort()
    return sum(order[::7]) + sum(one.count for one in cells.values())


def digested(text: bytes) -> int:
    """The part over bytes."""
    found = 0
    for turn in range(8):
        found ^= int.from_bytes(hashlib.sha256(text + bytes([turn])).digest()[:4], "big")
    return found ^ zlib.crc32(zlib.decompress(zlib.compress(text, 4)))


def unit_rounds(unit: Callable[[], Any], count: int, round_s: float, limit_s: float) -> list[float]:
    """Units per second in each round of `round_s`; at least one, then `count` of them or as many as `limit_s` allows.

    One unit before them warms up and does not count.
    """
    unit()
    rates: list[float] = []
    until = time.perf_counter() + limit_s
    while not rates or (len(rates) < count and time.perf_counter() < until):
        done, began = 0, time.perf_counter()
        ended = began
        while ended - began < round_s:
            unit()
            done += 1
            ended = time.perf_counter()
        rates.append(done / (ended - began))
    return rates


def copy_rounds(array_bytes: int, count: int, limit_s: float) -> list[float]:
    """GB/s, read and written, in each of at most `count` copies between two arrays; at least one, then until the limit.

    What the processor reads only to overwrite it is not counted, as in STREAM.
    """
    source = np.ones(max(1, array_bytes // 8))
    target = np.zeros_like(source)
    np.copyto(target, source)  # the pages are there from now on
    rates: list[float] = []
    started = time.perf_counter()
    while len(rates) < count:
        began = time.perf_counter()
        if rates and began - started >= limit_s:
            break
        np.copyto(target, source)
        rates.append(2 * source.nbytes / max(1e-9, time.perf_counter() - began) / 1e9)
    return rates
