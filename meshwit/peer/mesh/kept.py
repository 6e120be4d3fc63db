"""What a peer remembers of itself from one start to the next, and what tells that two peers are of one device.

Small and of no worth to others: a file that is damaged is as good as none.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

import msgspec

from meshwit.peer.control.runtime_file import FILE_NAME as CONTROL_FILE
from meshwit.peer.control.runtime_file import profile_folders
from meshwit.peer.trust.certificates import clean_name
from meshwit.peer.trust.errors import TrustError
from meshwit.peer.trust.files import read_private, write_private

FILE: Final = "peer.json"
DEVICE_FILE: Final = "device"
_DEVICE_BYTES: Final = 10
_FILE_BYTES_MAX: Final = 64 * 1024


class Remembered(msgspec.Struct, frozen=True):
    """What the last start was told or came to.

    Attributes:
        name: that the owner chose; empty if none.
        port: where it listened; 0 if it never has.
    """

    name: str = ""
    port: int = 0


def load_kept(folder: Path) -> Remembered:
    """What is remembered in a profile's folder."""
    try:
        kept = msgspec.json.decode((folder / FILE).read_bytes()[:_FILE_BYTES_MAX], type=Remembered)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Remembered()
    return Remembered(clean_name(kept.name) if kept.name else "", kept.port if 0 < kept.port < 65536 else 0)


def ports_beside(folder: Path) -> list[int]:
    """Where the peers of the other profiles of a home listen that run now, as far as one can see.

    Args:
        folder: of the profile that is not asked for.
    """
    found = []
    for each in profile_folders(folder.parent.parent):
        if each != folder and (each / CONTROL_FILE).exists():
            found.append(load_kept(each).port)
    return [port for port in found if port]


def save_kept(folder: Path, kept: Remembered) -> None:
    """Remembers it; a full disk is no reason to fail."""
    with contextlib.suppress(OSError, TrustError):
        write_private(folder / FILE, msgspec.json.encode(kept))


def device_id(home: Path) -> str:
    """The same for all peers of one home, another for every other; made at random the first time."""
    path = home / DEVICE_FILE
    with contextlib.suppress(OSError, TrustError):
        found = read_private(path)
        if found is None or not _is_device(found):
            with contextlib.suppress(FileExistsError):  # two peers that start at once: one of them makes it
                write_private(path, os.urandom(_DEVICE_BYTES).hex().encode(), replace=found is not None)
            found = read_private(path)
        if found is not None and _is_device(found):
            return found.decode("ascii")
    return ""


def _is_device(content: bytes) -> bool:
    return len(content) == 2 * _DEVICE_BYTES and content.isalnum()
