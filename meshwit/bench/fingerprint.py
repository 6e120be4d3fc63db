"""The hardware fingerprint: what makes measurements of a device comparable with earlier ones of its own.

CPU model, usable cores, memory, GPUs, system, Python's minor version, and the version of the probes. Not a name of the
device: two of one kind have the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import math
import platform
import sys
from functools import cache
from pathlib import Path

import msgspec

from meshwit.bench.cores import usable_cores
from meshwit.bench.memory import usable_memory_bytes
from meshwit.bench.nvml import known_gpus
from meshwit.bench.workload import PROBE_VERSION

if sys.platform == "win32":
    import winreg

    def _windows() -> str:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0") as key:
            return str(winreg.QueryValueEx(key, "ProcessorNameString")[0])


class Hardware(msgspec.Struct, frozen=True):
    """What the fingerprint is made of."""

    cpu: str
    cores: int
    memory: int
    gpus: tuple[str, ...]
    system: str
    python: str
    probes: int = PROBE_VERSION

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits.

        Memory counts in quarters of a power of two: what the system keeps for itself differs from start to start, and
        the sizes that are sold (12, 16, 24, 32 GB) lie in the middle of such a step.
        """
        rough = msgspec.structs.replace(self, memory=round(4 * math.log2(max(1, self.memory))))
        return hashlib.sha256(msgspec.json.encode(rough)).hexdigest()[:16]


def hardware() -> Hardware:
    """Of this device; some milliseconds, more where a driver is asked for its GPUs."""
    return Hardware(
        cpu=cpu_model(),
        cores=usable_cores(),
        memory=usable_memory_bytes(),
        gpus=tuple(f"{gpu.name} {gpu.memory >> 30}" for gpu in known_gpus().found),
        system=f"{sys.platform} {platform.machine().lower()}",
        python=f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}",
    )


@cache
def cpu_model() -> str:
    """As the system names it, such as `AMD Ryzen 7 5800X 8-Core Processor`; the architecture where it does not."""
    found = ""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if sys.platform == "win32":
            found = _windows()
        elif sys.platform == "darwin":
            found = _macos()
        else:
            found = _linux(Path("/proc/cpuinfo").read_text(errors="replace"))
    return " ".join(found.split()) or platform.machine() or "unknown"


def _linux(cpuinfo: str) -> str:
    """x86 names its model; ARM has the board's, or else the numbers of implementer and part."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    for name in ("model name", "Model", "Hardware", "cpu model"):
        if fields.get(name):
            return fields[name]
    parts = (fields.get("CPU implementer", ""), fields.get("CPU part", ""))
    return f"cpu {' '.join(parts)}" if any(parts) else ""


def _macos() -> str:
    system = ctypes.CDLL("/usr/lib/libSystem.B.dylib")
    text = ctypes.create_string_buffer(256)
    size = ctypes.c_size_t(len(text))
    if system.sysctlbyname(b"machdep.cpu.brand_string", text, ctypes.byref(size), None, ctypes.c_size_t(0)) != 0:
        return ""
    return text.value.decode(errors="replace")
