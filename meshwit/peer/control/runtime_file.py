"""`control.json` in a profile folder: where a running peer answers, and the token that it wants to see.

Whoever can read the file may control the peer: the owner's account alone. The token is new at every start.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from meshwit.peer.home import default_folder

FILE_NAME: Final = "control.json"
FILE_BYTES_MAX: Final = 4096
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class RuntimeFile(msgspec.Struct, frozen=True):
    """What the file says."""

    port: int
    token: str
    pid: int


def home_folder(home: Path | None = None) -> Path:
    """The folder of the configuration: as given, MESHWIT_HOME, or the user's own."""
    return default_folder() if home is None else home


def new_token() -> str:
    """256 bits, as text."""
    return os.urandom(32).hex()


def write(folder: Path, content: RuntimeFile) -> None:
    """Write the file whole or not at all, and for the owner's eyes only from its first byte on."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f"{FILE_NAME}.{os.urandom(8).hex()}"
    descriptor = os.open(beside, _FLAGS, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(msgspec.json.encode(content))
        beside.replace(folder / FILE_NAME)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def read(folder: Path) -> RuntimeFile | None:
    """What the file of a profile folder says; None if there is none that makes sense."""
    try:
        with open(folder / FILE_NAME, "rb") as file:
            found = msgspec.json.decode(file.read(FILE_BYTES_MAX), type=RuntimeFile)
    except (OSError, ValueError):
        return None
    return found if 0 < found.port < 65536 and found.pid > 0 else None


def remove(folder: Path, content: RuntimeFile) -> None:
    """Remove the file, unless another peer has written its own since."""
    if read(folder) == content:
        (folder / FILE_NAME).unlink(missing_ok=True)


def profile_folders(home: Path) -> list[Path]:
    """Of all profiles in a home, running or not."""
    try:
        return sorted(folder for folder in (home / "peers").iterdir() if folder.is_dir())
    except OSError:
        return []


def own_folder(home: Path) -> Path | None:
    """The profile folder of the peer that runs in this very process."""
    for folder in profile_folders(home):
        found = read(folder)
        if found is not None and found.pid == os.getpid():
            return folder
    return None
