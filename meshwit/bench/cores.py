"""How many cores this process may use: affinity, container quota and ``PYTHON_CPU_COUNT`` respected."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from pathlib import Path

from meshwit.bench.cgroups import own_groups


def usable_cores() -> int:
    """Return the number of cores that this process can keep busy, at least 1.

    The least of: ``PYTHON_CPU_COUNT`` (as Python 3.13 reads it), the scheduler's affinity mask, and the CPU quota of
    every enclosing control group, rounded up: with 1.5 cores' worth of time, two workers finish sooner than one.
    """
    counts = [_affinity()]
    with contextlib.suppress(KeyError, ValueError):
        counts.append(int(os.environ["PYTHON_CPU_COUNT"]))
    if sys.platform == "linux":
        counts += [math.ceil(quota) for folder in own_groups("cpu") if (quota := _quota(folder)) is not None]
    return max(1, min(counts))


def _affinity() -> int:
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return len(os.sched_getaffinity(0))
    # Windows and macOS: all logical processors; Windows' own processor groups are seen by Python as a whole.
    return os.cpu_count() or 1


def _quota(folder: Path) -> float | None:
    """Cores' worth of time that a control group grants: version 2 in one file, version 1 in two; None for no limit."""
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota_us = int((folder / "cpu.cfs_quota_us").read_text())
        return None if quota_us <= 0 else quota_us / int((folder / "cpu.cfs_period_us").read_text())
    return None
