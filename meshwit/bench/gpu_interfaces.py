"""Which interfaces to GPUs the system has besides CUDA, told without importing or starting any of them."""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache

_OPENCL_LOADERS = {
    "linux": ("libOpenCL.so.1",),
    "win32": ("OpenCL.dll",),
    "darwin": ("/System/Library/Frameworks/OpenCL.framework/OpenCL",),
}


def has_metal() -> bool:
    """Whether Metal is there: on macOS with an Apple chip it always is."""
    return sys.platform == "darwin" and platform.machine() == "arm64"


def has_opencl() -> bool:
    """Whether OpenCL's loader is installed. Which devices it has, perhaps a CPU, is not asked: that takes long."""
    return any(_loads(library) for library in _OPENCL_LOADERS.get(sys.platform, ()))


@cache
def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
