"""Files that only their owner may read, written whole or not at all.

The content goes to a new file that is private from its first moment, reaches the disk, and then takes the name.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from pathlib import Path
from typing import Final

from meshwit.peer.trust.errors import TrustError

POSIX: Final = os.name == "posix"
FILE_BYTES_MAX: Final = 64 * 1024 * 1024
_REPLACE_TRIES: Final = 20
_REPLACE_WAIT_S: Final = 0.01
_BINARY: Final[int] = getattr(os, "O_BINARY", 0)


def private_folder(folder: Path) -> None:
    """Makes the folder and what is missing above it; the folder itself is closed to others."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise TrustError(
            f"the folder {folder} cannot be made ({error.strerror})", "set MESHWIT_HOME to another"
        ) from error


def write_private(path: Path, content: bytes, *, replace: bool = True) -> None:
    """Writes a file with mode 0600 atomically. Raises FileExistsError if it exists and `replace` is false."""
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    try:
        _write_new(temporary, content)
        if replace:
            _replace(temporary, path)
        else:
            _take_name(temporary, path)
    except FileExistsError:
        raise
    except OSError as error:
        raise TrustError(
            f"{path} cannot be written ({error.strerror})", "is the disk full or write protected?"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def read_private(path: Path) -> bytes | None:
    """What the file holds, None if there is none. Raises TrustError if others may read it or it cannot be read."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if POSIX and stat.S_IMODE(status.st_mode) & 0o077:
                raise TrustError(f"{path} can be read by other users of this device", f"run: chmod 600 '{path}'")
            if status.st_size > FILE_BYTES_MAX:
                raise TrustError(f"{path} is too large to be ours ({status.st_size} bytes)")
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TrustError(f"{path} cannot be read ({error.strerror})", "does it belong to another user?") from error


def _write_new(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _take_name(temporary: Path, path: Path) -> None:
    """Gives the file its name unless something has it. Where there are no hard links, the last moment is checked."""
    if not POSIX:
        temporary.rename(path)  # refuses to replace on Windows
        return
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        if path.exists():
            raise FileExistsError(str(path)) from None
        os.replace(temporary, path)


def _replace(temporary: Path, path: Path) -> None:
    """On Windows a file that somebody reads at this moment cannot be replaced: reading takes an instant, so wait."""
    for _ in range(_REPLACE_TRIES):
        try:
            os.replace(temporary, path)
        except PermissionError:
            if POSIX:
                raise
            time.sleep(_REPLACE_WAIT_S)
        else:
            return
    os.replace(temporary, path)


def _sync_folder(folder: Path) -> None:
    """So that the new name survives a power cut. Windows has no such call and some file systems refuse it."""
    if not POSIX:
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
