"""Why a process ended, in words for people."""

from __future__ import annotations

import signal
from typing import Final

_WINDOWS: Final = {
    0xC0000005: "an access violation",
    0xC0000017: "lack of memory",
    0xC000001D: "an illegal instruction",
    0xC0000094: "an integer division by zero",
    0xC00000FD: "a stack overflow",
    0xC0000135: "a missing DLL",
    0xC000013A: "Ctrl-C",
    0xC0000374: "heap corruption",
    0xC0000409: "a stack buffer overrun or an abort",
    0xC0000142: "a DLL that failed to initialise",
}
_HINTS: Final = {"SIGKILL": " (perhaps out of memory)", "SIGSEGV": " (invalid memory access)", "SIGABRT": " (abort)"}


def exit_cause(returncode: int) -> str:
    """Return "killed by SIGSEGV ...", "exit code 3 (os._exit)" and the like for a `subprocess.Popen.returncode`."""
    if returncode < 0:
        try:
            name = signal.Signals(-returncode).name
        except ValueError:
            name = f"signal {-returncode}"
        return f"killed by {name}{_HINTS.get(name, '')}"
    if returncode >= 0xC0000000:
        return f"killed by {_WINDOWS.get(returncode, 'an exception')} (0x{returncode:08X})"
    return f"exit code {returncode} (os._exit)"
