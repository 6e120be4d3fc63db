"""How much memory this process may use: what the machine has, or less where a control group says so."""

from __future__ import annotations

import contextlib
import sys

import psutil

from meshwit.bench.cgroups import own_groups


def usable_memory_bytes() -> int:
    """Return the physical memory of the machine or, on Linux, the least limit of the enclosing control groups."""
    sizes = [int(psutil.virtual_memory().total)]
    if sys.platform == "linux":
        for folder in own_groups("memory"):
            for name in ("memory.max", "memory.limit_in_bytes"):
                with contextlib.suppress(OSError, ValueError):  # "max" is no number
                    sizes.append(int((folder / name).read_text()))
    return min(size for size in sizes if size > 0)
