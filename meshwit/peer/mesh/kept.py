"""What a peer remembers of itself from one start to the next, and what tells that two peers are of one device.

Small and of no worth to others: a file that is damaged is as good as none.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

import msgspec

from meshwit.peer.trust.errors import TrustError
from meshwit.peer.trust.files import read_private, write_private

FILE: Final = "peer.json"
DEVICE_FILE: Final = "device"
_DEVICE_BYTES: Final = 10
_FILE_BYTES_MAX: Final = 64 * 1024


class Kept(msgspec.Struct, frozen=True):
    """What the last start was told or came to.

    Attributes:
        name: that the owner chose; empty if none.
        port: where it listened; 0 if it never has.
    """

    name: str = ""
    port: int = 0


def load_kept(folder: Path) -> Kept:
    """What is remembered in a profile's folder."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes()[:_FILE_BYTES_MAX], type=Kept)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return Kept()


def save_kept(folder: Path, kept: Kept) -> None:
    """Remembers it; a full disk is no reason to fail."""
    with contextlib.suppress(OSError, TrustError):
        write_private(folder / FILE, msgspec.json.encode(kept))


def device_id(home: Path) -> str:
    """The same for all peers of one home, another for every other; made at random the first time."""
    path = home / DEVICE_FILE
    with contextlib.suppress(OSError, TrustError):
        found = read_private(path)
        if found is None:
            write_private(path, os.urandom(_DEVICE_BYTES).hex().encode(), replace=False)
            found = read_private(path)
        if found is not None and found.isalnum():
            return found.decode("ascii", "replace")[: 2 * _DEVICE_BYTES]
    return ""
