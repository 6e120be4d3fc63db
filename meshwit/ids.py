"""Who is who: the names of peers and meshes, which are hashes of their public keys.

An id is 20 bytes of SHA-256 over an Ed25519 public key, written as 32 letters and digits (base32, lower case): as long
as a Kademlia node id, which it also is.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from typing import Final, NewType

PeerId = NewType("PeerId", str)
"""Of one peer: `abcdefgh...`, 32 characters of a-z2-7."""
MeshId = NewType("MeshId", str)
"""Of one mesh, made like a peer's from the key that founded it."""

ID_BYTES: Final = 20
SHORT_LENGTH: Final = 8
REMEMBERED_MAX: Final = 16384
"""Ids whose other form is remembered: a busy peer turns the same few thousand to and fro all the time."""
_ID: Final = re.compile(r"[a-z2-7]{32}")


@lru_cache(maxsize=REMEMBERED_MAX)
def peer_id(public_key: bytes) -> PeerId:
    """The id of the peer with that Ed25519 public key (32 bytes)."""
    return PeerId(_id(public_key))


def mesh_id(public_key: bytes) -> MeshId:
    """The id of the mesh with that Ed25519 public key (32 bytes)."""
    return MeshId(_id(public_key))


def is_id(text: object) -> bool:
    """Whether it has the form of an id."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def short(any_id: str) -> str:
    """The id as people see it: its first 8 characters, as `abcd-efgh`."""
    return f"{any_id[:4]}-{any_id[4:SHORT_LENGTH]}"


@lru_cache(maxsize=REMEMBERED_MAX)
def id_bytes(any_id: str) -> bytes:
    """The 20 bytes behind an id, the node id in the directory. Raises ValueError if it is none."""
    if not is_id(any_id):
        raise ValueError(f"{any_id[:40]!r} is no id")
    return base64.b32decode(any_id.upper())


@lru_cache(maxsize=REMEMBERED_MAX)
def id_text(raw: bytes) -> str:
    """The id whose bytes these are. Raises ValueError if they are not 20."""
    if len(raw) != ID_BYTES:
        raise ValueError(f"an id has {ID_BYTES} bytes, not {len(raw)}")
    return base64.b32encode(raw).decode().lower()


def _id(public_key: bytes) -> str:
    return id_text(hashlib.sha256(public_key).digest()[:ID_BYTES])
