"""The adapter to NVML, NVIDIA's management library: which GPUs the driver shows.

The distribution `nvidia-ml-py` is optional. Whatever goes wrong, from a missing driver to one of another version,
means "no GPU" here, and nowhere else is it looked at.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from meshwit.lazy import is_installed, lazy_module

if TYPE_CHECKING:
    import pynvml
else:
    pynvml = lazy_module("pynvml")


class Gpu(msgspec.Struct, frozen=True):
    """One GPU, as far as the driver tells; 0 for what it does not.

    Attributes:
        name: its model.
        memory: bytes; 0 also where it has none of its own, as in a system on a chip.
        cores: CUDA cores.
        clock_mhz: of the cores, at most.
        memory_clock_mhz: likewise.
        memory_bus_bits: width of the way to its memory.
    """

    name: str
    memory: int
    cores: int = 0
    clock_mhz: int = 0
    memory_clock_mhz: int = 0
    memory_bus_bits: int = 0

    @property
    def tflops(self) -> float:
        """Peak of 32 bit floats: each core does one multiply-add, two operations, per clock."""
        return 2 * self.cores * self.clock_mhz / 1e6

    @property
    def memory_gb_s(self) -> float:
        """Peak of its memory: two transfers per clock, as NVML tells the clock of GDDR and HBM alike."""
        return 2 * self.memory_clock_mhz * self.memory_bus_bits / 8 / 1e3


class Gpus(msgspec.Struct, frozen=True):
    """All GPUs of the device, in the driver's order; `cuda` is the newest CUDA that the driver runs, `12.4`."""

    found: tuple[Gpu, ...] = ()
    cuda: str = ""


def probe_gpus() -> Gpus:
    """Ask the driver; never raises. Below a millisecond where there is none: then `pynvml` is not even imported."""
    if not (_driver_is_there() and is_installed("pynvml")):
        return Gpus()
    try:
        pynvml.nvmlInit()
        try:
            return _probe()
        finally:
            pynvml.nvmlShutdown()
    except Exception:  # besides NVMLError: imports that fail, functions that a version of the driver lacks
        return Gpus()


@cache
def known_gpus() -> Gpus:
    """What was found when this was first asked: a driver that has let its GPUs sleep takes a second to look."""
    return probe_gpus()


def _probe() -> Gpus:
    found = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        with contextlib.suppress(pynvml.NVMLError):  # fallen off the bus, or not ours to look at
            found.append(_gpu(pynvml.nvmlDeviceGetHandleByIndex(index)))
    return Gpus(tuple(found), _cuda() if found else "")


def _driver_is_there() -> bool:
    """Whether NVML itself is there, as far as it costs nothing to know."""
    if sys.platform == "linux":
        try:
            ctypes.CDLL("libnvidia-ml.so.1")
        except OSError:
            return False
        return True
    return sys.platform != "darwin"


def _gpu(handle: Any) -> Gpu:
    name = pynvml.nvmlDeviceGetName(handle)  # bytes before nvidia-ml-py 11.510
    memory = 0
    with contextlib.suppress(pynvml.NVMLError):
        memory = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    return Gpu(
        name.decode(errors="replace") if isinstance(name, bytes) else str(name),
        memory,
        _told(lambda: pynvml.nvmlDeviceGetNumGpuCores(handle)),
        _told(lambda: pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM)),
        _told(lambda: pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_MEM)),
        _told(lambda: pynvml.nvmlDeviceGetMemoryBusWidth(handle)),
    )


def _told(ask: Callable[[], Any]) -> int:
    """What an optional function answers; 0 where the driver, the GPU or the Python binding does not have it."""
    with contextlib.suppress(pynvml.NVMLError, AttributeError, TypeError, ValueError):
        return max(0, int(ask()))
    return 0


def _cuda() -> str:
    with contextlib.suppress(pynvml.NVMLError):
        number = int(pynvml.nvmlSystemGetCudaDriverVersion_v2())  # 1000 * major + 10 * minor
        return f"{number // 1000}.{number % 1000 // 10}"
    return ""
