"""A controller whose activities misbehave, each in its own way, where their argument is 3; and some that wait."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

from meshwit.plugins import Controller, Int, Object, String, activity


class OddError(Exception):
    """Its text cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError("no text either")


class Mischief(Controller):
    """What controllers of others may do."""

    @activity
    def Double(self, x: Int) -> Int:
        """Does nothing wrong."""
        return x * 2

    @activity
    def Raise(self, x: Int) -> Int:
        """Raises."""
        if x == 3:
            raise RuntimeError("no such luck")
        return x

    @activity
    def RaiseOddly(self, x: Int) -> Int:
        """Raises what cannot be shown."""
        if x == 3:
            raise OddError
        return x

    @activity
    def Interrupt(self, x: Int) -> Int:
        """Raises what only the keyboard should."""
        if x == 3:
            raise KeyboardInterrupt
        return x

    @activity
    def Recurse(self, x: Int) -> Int:
        """Calls itself for ever."""
        return self.Recurse(x) if x == 3 else x

    @activity
    def WrongType(self, x: Int) -> Int:
        """Returns a text where an Int was promised."""
        return "three" if x == 3 else x  # type: ignore[return-value]

    @activity
    def Unsendable(self, x: Int) -> Object:
        """Returns what cannot cross between processes."""
        return sys if x == 3 else x

    @activity
    def Print(self, x: Int) -> Int:
        """Prints to stdout, also behind Python's back."""
        print("item", x)
        os.write(1, b"raw\n")
        return x

    @activity
    def PrintAndRaise(self, x: Int) -> Int:
        """Prints, then raises."""
        if x == 3:
            print("on my way down")
            raise RuntimeError("no such luck")
        return x

    @activity
    def SysExit(self, x: Int) -> Int:
        """Calls `sys.exit`."""
        if x == 3:
            sys.exit("enough")
        return x

    @activity
    def HardExit(self, x: Int) -> Int:
        """Calls `os._exit`."""
        if x == 3:
            os._exit(7)
        return x

    @activity
    def Crash(self, x: Int) -> Int:
        """Reads address 0."""
        if x == 3:
            ctypes.string_at(0)
        return x

    @activity
    def Spin(self, x: Int) -> Int:
        """Never ends."""
        while x == 3:
            pass
        return x

    @activity
    def Hoard(self, x: Int) -> Int:
        """Takes 600 MB and keeps them."""
        hoard = bytearray(0)
        while x == 3:
            if len(hoard) < 600_000_000:
                hoard += b"x" * 10_000_000
        return x

    @activity
    def WaitFor(self, path: String, x: Int = 0) -> Int:
        """Waits for a file to appear."""
        while not Path(path).exists():
            time.sleep(0.002)
        return x

    @activity
    def WaitAt(self, x: Int, at: Int, path: String) -> Int:
        """Waits for a file where `x` is `at`."""
        return self.WaitFor(path, x) if x == at else x

    @activity
    def Touch(self, path: String) -> Int:
        """Makes a file."""
        Path(path).touch()
        return 1

    @activity
    def StartChild(self, path: String) -> Int:
        """Starts a process, notes its number and that of its own process, and waits for it for ever."""
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        note = Path(f"{path}.part")
        note.write_text(f"{os.getpid()} {child.pid}")
        note.rename(path)
        return child.wait()
