"""Measuring this device: single core, all usable cores, memory, disk, GPU. About two seconds, at most some ten.

Blocks; call it on a thread of its own. What cannot be measured is 0, nothing raises.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

from meshwit.bench.cores import usable_cores
from meshwit.bench.crew import Crew, together
from meshwit.bench.disk import probe_disk
from meshwit.bench.load import busy_share, cpu_seconds, visible_cores
from meshwit.bench.memory import usable_memory_bytes
from meshwit.bench.nvml import known_gpus
from meshwit.bench.probe_process import Compute, Copy
from meshwit.bench.scores import Measured, median_of_maxima, settled
from meshwit.bench.workload import Mix, unit_rounds

SINGLE: Final = Compute(count=200, round_s=0.001, limit_s=0.5)
"""One unit each: so short that many of them run between two interruptions, also while others use all cores."""
ALL: Final = Compute(count=6, round_s=0.1, limit_s=2.0)
"""The period of Linux's CPU quotas: in any shorter round a throttled group could run at full speed."""
CREW_LIMIT_S: Final = 12.0
"""For the processes that measure; three seconds or less unless the device is overloaded."""
COPY_BYTES_MAX: Final = 64 << 20
"""Of each of two arrays: beyond the cache that one core sees, also where that is 96 MiB."""
COPIES: Final = 6
COPY_S: Final = 0.2

OnProbe = Callable[[str, float | None], None]
"""Told a class and None when its probe begins, and its measured value when it has ended."""


def measure(folder: Path, on_probe: OnProbe | None = None) -> Measured:
    """Measure everything.

    Args:
        folder: on the disk to measure.
        on_probe: called on this thread.
    """
    tell = on_probe or _nobody
    began = time.perf_counter()
    cores = usable_cores()
    tell("single", None)
    single, everything, memory, others = _processors(cores, tell)
    tell("disk", None)
    disk = probe_disk(folder)
    tell("disk", disk)
    tell("gpu", None)
    tflops = sum((gpu.tflops for gpu in known_gpus().found), 0.0)
    tell("gpu", tflops)
    single, everything = settled(single, everything, others if _sees_our_cores_alone(cores) else 0.0, cores)
    return Measured(
        single_per_s=single,
        all_per_s=everything,
        memory_gb_s=memory,
        disk_mb_s=disk,
        gpu_tflops=tflops,
        cores=cores,
        measured_at=time.time(),
        took_s=time.perf_counter() - began,
        others=others,
    )


def _processors(cores: int, tell: OnProbe) -> tuple[float, float, float, float]:
    """Units/s of one core and of all, GB/s, others' share. Where no processes can be had, this one stands for all."""
    single = everything = memory = others = 0.0
    try:
        with Crew(cores, CREW_LIMIT_S) as crew:
            single = median_of_maxima(crew.measured(SINGLE, 1)[0])
            tell("single", single)
            tell("all", None)
            before, ours = cpu_seconds(), crew.cpu_s()
            everything = median_of_maxima(together(crew.measured(ALL)))
            others = others_share(before, cpu_seconds(), crew.cpu_s() - ours)
            tell("all", everything)
            tell("memory", None)
            memory = median_of_maxima(crew.measured(Copy(copy_bytes(), COPIES, COPY_S), 1)[0])
            tell("memory", memory)
    except OSError:
        if not single:
            single = median_of_maxima(unit_rounds(Mix().unit, SINGLE.count, SINGLE.round_s, SINGLE.limit_s))
            tell("single", single)
    return single, everything, memory, others


def _sees_our_cores_alone(cores: int) -> bool:
    """Whether the cores whose time is seen are those that we may use, and not also those of a larger host."""
    return cores == visible_cores()


def others_share(before: tuple[float, float], after: tuple[float, float], ours_s: float) -> float:
    """Which part of the cores' time between two looks was busy, but not for us. A look is (seconds busy, in all)."""
    return busy_share(before, (after[0] - ours_s, after[1]))


def copy_bytes() -> int:
    """How large each of the two arrays may be: both together at most an eighth of what is available."""
    available = min(psutil.virtual_memory().available, usable_memory_bytes())
    return int(min(COPY_BYTES_MAX, max(1 << 20, available // 16)))


def _nobody(name: str, value: float | None) -> None:
    pass
