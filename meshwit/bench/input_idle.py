"""Since when nobody has touched keyboard or mouse, as far as the system tells it to a program without rights.

Windows and macOS count for the session that this process runs in: a service outside of any sees no input, macOS then
says so by an endless time. Linux has no such count that is always there. Terminals (text consoles, ssh, terminal
windows) keep when somebody last typed into them, to 8 seconds; what is typed or clicked elsewhere in a graphical
session is seen by nobody but that session, so while one is in use the answer is None: better unknown than a person
taken for absent. Only the reading of a terminal counts: what programs write there, this one too, is no sign of life.
"""

from __future__ import annotations

import ctypes
import math
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_TERMINALS: Final = ("/dev/pts/[0-9]*", "/dev/tty[0-9]*")
"""Not ttyS and ttyUSB: machines talk there."""
_SESSIONS: Final = Path("/run/systemd/sessions")
_GRAPHICAL: Final = {"TYPE=x11", "TYPE=wayland", "TYPE=mir"}
_ANY_INPUT: Final = 0xFFFFFFFF  # kCGAnyInputEventType
_HARDWARE: Final = 1  # kCGEventSourceStateHIDSystemState

if sys.platform == "win32":

    class _LastInput(ctypes.Structure):
        _fields_ = [("size", ctypes.c_uint32), ("at_ms", ctypes.c_uint32)]

    def _windows_idle_s() -> float | None:
        last = _LastInput(ctypes.sizeof(_LastInput), 0)
        if not ctypes.windll.user32.GetLastInputInfo(ctypes.byref(last)):
            return None
        now_ms = ctypes.windll.kernel32.GetTickCount() & 0xFFFFFFFF
        return float((now_ms - last.at_ms) & 0xFFFFFFFF) / 1000  # both counters start again after 49.7 days


def input_idle_s() -> float | None:
    """Seconds since the last input; None where it is not told. Never raises."""
    try:
        if sys.platform == "win32":
            found: float | None = _windows_idle_s()
        elif sys.platform == "darwin":
            found = _macos_idle_s()
        elif sys.platform == "linux":
            paths = (path for pattern in _TERMINALS for path in Path("/").glob(pattern[1:]))
            found = None if graphical_session(_SESSIONS) else last_read_s(paths, time.time())
        else:
            found = None
    except (OSError, AttributeError, ValueError):
        return None
    return found if found is not None and math.isfinite(found) else None


def last_read_s(terminals: Iterable[Path], now: float) -> float | None:
    """Seconds since one of these terminals was last read from; None without any.

    Args:
        terminals: their device files; those that vanish meanwhile count for nothing.
        now: seconds since 1970.
    """
    newest: float | None = None
    for path in terminals:
        try:
            at = path.stat().st_atime
        except OSError:
            continue
        newest = at if newest is None else max(newest, at)
    return None if newest is None else max(0.0, now - newest)


def graphical_session(folder: Path) -> bool:
    """Whether somebody is logged in at a screen and not switched away, by the files of systemd's login manager."""
    try:
        files = [path for path in folder.iterdir() if not path.name.endswith(".ref")]
    except OSError:
        return False
    return any(_is_graphical(path) for path in files)


def _is_graphical(path: Path) -> bool:
    try:
        lines = set(path.read_text(errors="replace").splitlines())
    except OSError:  # a pipe without a reader, or a session that has just ended
        return False
    return "ACTIVE=1" in lines and "CLASS=user" in lines and bool(lines & _GRAPHICAL)


def _macos_idle_s() -> float | None:
    library = ctypes.CDLL("/System/Library/Frameworks/ApplicationServices.framework/ApplicationServices")
    since = library.CGEventSourceSecondsSinceLastEventType
    since.restype = ctypes.c_double
    since.argtypes = [ctypes.c_int32, ctypes.c_uint32]
    return float(since(_HARDWARE, _ANY_INPUT))
