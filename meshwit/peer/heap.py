"""Memory that jobs have freed goes back to the system. Adapter.

glibc gives each of the first threads an arena of its own and returns of it only what lies at its end: a peer that now
and then encodes results in threads would keep tens of megabytes for good. With one arena, trimmed now and then, it
keeps what it uses. What Python itself asks for small objects is not concerned.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
import time
from typing import Final

_M_ARENA_MAX: Final = -8
"""Of glibc's `mallopt`."""
PAUSE_S: Final = 0.02
"""A search for cycles that takes longer waits until nothing runs."""


def use_one_arena() -> None:
    """To be called before there are threads; does nothing where the C library is another one."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def keep_what_is_loaded() -> None:
    """What there is by now is not searched for cycles again: a search of all takes a tenth of a second."""
    gc.freeze()


def collect() -> float:
    """Search for cycles that nobody refers to; how many seconds that took.

    By itself a search of all comes once in some thousand small jobs, since each leaves little: that would lie about
    until then.
    """
    began = time.perf_counter()
    gc.collect()
    return time.perf_counter() - began


def trim() -> None:
    """Give back what is free. Some milliseconds for a hundred megabytes, in which other threads may wait for memory."""
    with contextlib.suppress(OSError, AttributeError):
        match sys.platform:
            case "linux":
                ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))
            case "darwin":
                ctypes.CDLL(None).malloc_zone_pressure_relief(None, ctypes.c_size_t(0))
            case "win32":
                ctypes.CDLL("ucrtbase")._heapmin()
