"""The adapter to NVML, NVIDIA's management library: which GPUs the driver shows.

The distribution `nvidia-ml-py` is optional. Whatever goes wrong, from a missing driver to one of another version,
means "no GPU" here, and nowhere else is it looked at.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec

from meshwit.lazy import is_installed, lazy_module

if TYPE_CHECKING:
    import pynvml
else:
    pynvml = lazy_module("pynvml")


class Gpu(msgspec.Struct, frozen=True):
    """One GPU: its name, and all of its memory in bytes."""

    name: str
    memory: int


class Gpus(msgspec.Struct, frozen=True):
    """All GPUs of the device, in the driver's order; `cuda` is the newest CUDA that the driver runs, `12.4`."""

    found: tuple[Gpu, ...] = ()
    cuda: str = ""


def probe_gpus() -> Gpus:
    """Ask the driver. Takes microseconds without `nvidia-ml-py`, some 50 ms with a GPU; never raises."""
    if not is_installed("pynvml"):
        return Gpus()
    try:
        pynvml.nvmlInit()
    except Exception:  # an import that fails is "no GPU" as much as an NVMLError
        return Gpus()
    try:
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            with contextlib.suppress(pynvml.NVMLError):  # fallen off the bus, or not ours to look at
                found.append(_gpu(pynvml.nvmlDeviceGetHandleByIndex(index)))
        return Gpus(tuple(found), _cuda() if found else "")
    except pynvml.NVMLError:
        return Gpus()
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _gpu(handle: Any) -> Gpu:
    name = pynvml.nvmlDeviceGetName(handle)  # bytes before nvidia-ml-py 11.510
    text = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
    return Gpu(text, int(pynvml.nvmlDeviceGetMemoryInfo(handle).total))


def _cuda() -> str:
    with contextlib.suppress(pynvml.NVMLError):
        number = int(pynvml.nvmlSystemGetCudaDriverVersion_v2())  # 1000 * major + 10 * minor
        return f"{number // 1000}.{number % 1000 // 10}"
    return ""
