"""The folder in which a peer shares memory with others of its user and device. Adapter.

Only this user may enter it, and a secret lies there. What a peer names as its folder is taken for one only if it is a
folder where such are made, of this user, and closed to all others: so nobody has a file read that is none of these.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import tempfile
import weakref
from pathlib import Path
from typing import Final

from meshwit.peer.device.messages import SECRET_BYTES
from meshwit.peer.exec.directories import NAME, make_directory, memory_root, sweep

_SECRET: Final = "secret"
_FLAGS: Final[int] = getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class OwnFolder:
    """The folder of this process; it goes with it, or with the next sweep if it is killed. Raises OSError.

    Attributes:
        path: where it is.
        secret: what lies in it.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.path = make_directory(root or memory_root())
        self._remove = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
        self.secret = secrets.token_bytes(SECRET_BYTES)
        handle = os.open(self.path / _SECRET, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _FLAGS, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(self.secret)

    def close(self) -> None:
        """Remove it; what others have mapped stays valid for them."""
        self._remove()


def find(name: str) -> tuple[Path, bytes] | None:
    """The folder of that name, which another process of this user and device made, and its secret; None if there is
    none that may be read. Blocks; never raises."""
    if NAME.fullmatch(name) is None:
        return None
    for root in {memory_root(), Path("/dev/shm"), Path(tempfile.gettempdir())}:
        with contextlib.suppress(OSError):
            path = root / name
            if not _private(path.lstat()):
                continue
            with os.fdopen(os.open(path / _SECRET, os.O_RDONLY | _FLAGS), "rb") as file:
                about = os.fstat(file.fileno())
                if stat.S_ISREG(about.st_mode) and about.st_size == SECRET_BYTES:
                    return path, file.read(SECRET_BYTES)
    return None


def sweep_beside(path: Path) -> None:
    """Remove folders of processes that are gone, where that one lies. Blocks; never raises."""
    sweep(path.parent)


def _private(about: os.stat_result) -> bool:
    if not stat.S_ISDIR(about.st_mode):
        return False
    if os.name == "nt":  # the folder for temporary files is its user's own there
        return True
    return about.st_uid == os.geteuid() and not stat.S_IMODE(about.st_mode) & 0o077
