"""What this device is and has, as names that requirement expressions ask for.

    os           linux, macos or windows             gpu          whether there is one that NVML shows
    os.version   of the kernel; macOS: of macOS      gpu.count    how many
    arch         x86_64, arm64 or as the system says gpu.name     of the one with most memory
    cpu.cores    usable: quota, affinity             gpu.memory   bytes of that one
    memory       usable bytes: control groups        gpu.cuda     newest CUDA of the driver, "12.4"
    python       3.11.7                              gpu.metal    macOS on arm64
    hostname     as the system says it               gpu.opencl   an OpenCL loader is installed

What of `gpu` is a text or a size is absent where there is none, `gpu.metal` and `gpu.opencl` where they are not so:
these two do not change what `gpu` says. The owner's own properties stand beside all of them.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from types import MappingProxyType

from meshwit.bench.cores import usable_cores
from meshwit.bench.gpu_interfaces import has_metal, has_opencl
from meshwit.bench.memory import usable_memory_bytes
from meshwit.bench.nvml import probe_gpus
from meshwit.bench.requirements import is_name

_OS_NAMES = {"linux": "linux", "win32": "windows", "darwin": "macos"}
"""By what Python calls them; another system has the name that Python gives it."""
_MEASURED = ("os", "arch", "cpu", "memory", "gpu", "python", "hostname")
_NO_PROPERTIES: Mapping[str, str] = MappingProxyType({})
_ARCHITECTURES = {"amd64": "x86_64", "x64": "x86_64", "aarch64": "arm64"}


def capabilities(properties: Mapping[str, str] = _NO_PROPERTIES) -> dict[str, object]:
    """What this device is and has: texts, whole numbers and truth values. Below 5 ms without a GPU.

    Args:
        properties: the owner's own, by names that nothing measured has.

    Raises:
        ValueError: a property has a name that no requirement can write, or that something measured has.
    """
    return {**_system(), **_gpus(), **checked_properties(properties)}


def checked_properties(properties: Mapping[str, str]) -> dict[str, str]:
    """The owner's properties, if requirements can ask for them. Raises ValueError."""
    for name in properties:
        if not is_name(name):
            raise ValueError(f'"{name}" cannot be the name of a property: write letters, digits, _, - and dots')
        if name.split(".", 1)[0] in _MEASURED:
            raise ValueError(f"`{name}` is measured and cannot be a property: choose another name")
    return dict(properties)


def _system() -> dict[str, object]:
    machine = platform.machine().lower()
    return {
        "os": _OS_NAMES.get(sys.platform, sys.platform),
        "os.version": _os_version(),
        "arch": _ARCHITECTURES.get(machine, machine),
        "cpu.cores": usable_cores(),
        "memory": usable_memory_bytes(),
        "python": platform.python_version(),
        "hostname": platform.node(),
    }


def _os_version() -> str:
    if sys.platform == "win32":
        # Not platform.version(): since Python 3.12 that asks WMI, which takes its time.
        return ".".join(str(part) for part in sys.getwindowsversion().platform_version)
    if sys.platform == "darwin":
        return platform.mac_ver()[0]
    return platform.release()


def _gpus() -> dict[str, object]:
    probed = probe_gpus()
    interfaces: dict[str, object] = {}
    if has_metal():
        interfaces["gpu.metal"] = True
    if has_opencl():
        interfaces["gpu.opencl"] = True
    if not probed.found:
        return {"gpu": False, "gpu.count": 0, **interfaces}
    largest = max(probed.found, key=lambda gpu: gpu.memory)
    found: dict[str, object] = {"gpu": True, "gpu.count": len(probed.found), "gpu.name": largest.name, **interfaces}
    if largest.memory:
        found["gpu.memory"] = largest.memory
    if probed.cuda:
        found["gpu.cuda"] = probed.cuda
    return found
