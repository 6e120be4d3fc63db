"""What the exchange of blobs wants done; returned from every call, performed by the shell in order."""

from __future__ import annotations

from enum import Enum, auto
from typing import TypeAlias

import msgspec

from meshwit.ids import PeerId
from meshwit.peer.blobs.messages import Message


class Kept(Enum):
    """What became of a `KeepChunk`."""

    KEPT = auto()
    CORRUPT = auto()
    """The bytes are not those of the hash; nothing was written."""
    FAILED = auto()
    """This device's disk did not take them."""


class Given(Enum):
    """What became of a `GiveChunk`."""

    GIVEN = auto()
    GONE = auto()
    """The file is not there any more."""
    CLOGGED = auto()
    """The link took no more for too long."""


class Send(msgspec.Struct, frozen=True):
    """Send a message over the link to a peer; it may be lost."""

    peer: PeerId
    message: Message


class GiveChunk(msgspec.Struct, frozen=True):
    """Read a chunk and send it; answered by `chunk_given`."""

    peer: PeerId
    hash: bytes
    index: int


class LookUp(msgspec.Struct, frozen=True):
    """Look whether the store has the blob, and hash its chunks; answered by `looked_up`."""

    hash: bytes


class KeepManifest(msgspec.Struct, frozen=True):
    """Begin a partial file that has no chunk yet, in place of any other of this blob."""

    hash: bytes
    size: int
    hashes: bytes


class KeepChunk(msgspec.Struct, frozen=True):
    """Compare a chunk with its hash and write it into the partial file; answered by `chunk_kept`."""

    hash: bytes
    index: int
    data: bytes
    digest: bytes


class CheckWhole(msgspec.Struct, frozen=True):
    """Hash the partial file and make it the blob if it is; answered by `whole_checked`."""

    hash: bytes


class DropPart(msgspec.Struct, frozen=True):
    """Remove the partial file."""

    hash: bytes


class Fetched(msgspec.Struct, frozen=True):
    """The blob is in the store."""

    hash: bytes


class FetchFailed(msgspec.Struct, frozen=True):
    """It is not to be had; why is a sentence for people. What was fetched is kept for a later attempt."""

    hash: bytes
    why: str


class Misbehaved(msgspec.Struct, frozen=True):
    """A peer sent what no honest peer sends."""

    peer: PeerId
    why: str


Effect: TypeAlias = (
    Send | GiveChunk | LookUp | KeepManifest | KeepChunk | CheckWhole | DropPart | Fetched | FetchFailed | Misbehaved
)
