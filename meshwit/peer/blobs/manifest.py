"""The manifest of a blob: its size and the hashes of its chunks. Core.

It is vouched for by nobody but who gave it: the id of a blob is the hash of all bytes. A blob of one chunk is its own
manifest, and needs none.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Protocol

import msgspec

from meshwit.peer.blobs.messages import CHUNK_BYTES, CHUNKS_MAX, HASH_BYTES


class Manifest(msgspec.Struct, frozen=True, dict=True):
    """Size in bytes, bytes of a chunk (all but the last), and the chunk hashes one after another."""

    size: int
    hashes: bytes
    chunk_bytes: int = CHUNK_BYTES

    @cached_property
    def digest(self) -> bytes:
        """What tells two manifests of one blob apart."""
        return content_hash(self.hashes)

    @property
    def count(self) -> int:
        """How many chunks."""
        return len(self.hashes) // HASH_BYTES

    def hash_of(self, index: int) -> bytes:
        """The hash of one chunk."""
        return self.hashes[index * HASH_BYTES : (index + 1) * HASH_BYTES]

    def bytes_of(self, index: int) -> int:
        """How long a chunk is."""
        return min(self.chunk_bytes, self.size - index * self.chunk_bytes)


def content_hash(data: bytes | bytearray | memoryview) -> bytes:
    """BLAKE2b-256: the id of a blob, and of a chunk."""
    return hashlib.blake2b(data, digest_size=HASH_BYTES).digest()


def chunk_count(size: int, chunk_bytes: int = CHUNK_BYTES) -> int:
    """How many chunks so many bytes are; no bytes are one empty chunk. Raises ValueError if they are too many."""
    count = max(1, -(-size // chunk_bytes))
    if size < 0 or count > CHUNKS_MAX:
        raise ValueError(
            f"{size} bytes are no size of a blob: it has at most {CHUNKS_MAX} chunks of {chunk_bytes} bytes"
        )
    return count


class Chance(Protocol):
    """What the core uses of `random.Random`."""

    def random(self) -> float:
        """From 0 up to 1."""

    def shuffle(self, x: list[int]) -> None:
        """Bring them into any order."""

    def sample(self, population: list[str], k: int) -> list[str]:
        """Several of them, each at most once."""
