"""A lock between processes that the system takes back by itself when its holder dies."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Final

from meshwit.peer.trust.errors import TrustError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_LOCKED_BYTE: Final = 1 << 20
"""On Windows a locked byte cannot be read, so one far behind the content is taken."""


class FileLock:
    """Holds a file; use `take`."""

    def __init__(self, handle: int) -> None:
        self._handle: int | None = handle

    @classmethod
    def take(cls, path: Path) -> FileLock | None:
        """The lock, None if another process, or another holder in this one, has it. Raises TrustError."""
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            protected = error.errno == errno.EROFS
            hint = "set MESHWIT_HOME to another folder" if protected else "does it belong to another user?"
            raise TrustError(f"{path} cannot be opened ({error.strerror})", hint) from error
        try:
            _lock(handle)
        except (BlockingIOError, PermissionError):
            os.close(handle)
            return None
        except OSError as error:
            os.close(handle)
            if sys.platform == "win32":  # says "deadlock avoided" when the byte is taken
                return None
            raise TrustError(
                f"{path} cannot be locked ({error.strerror})", "keep MESHWIT_HOME on a local disk"
            ) from error
        return cls(handle)

    def release(self) -> None:
        """Gives it back; once more does no harm. The file stays, for removing it would race."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    @property
    def held(self) -> bool:
        """Whether it is."""
        return self._handle is not None


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
