"""A blob that is not whole yet, on disk: `.part` holds its bytes, `.known` what is known of them.

`.known` is a magic, the size, the chunk hashes, and then the numbers of verified chunks, appended as they come: a
torn end is cut off, and a chunk whose bytes did not reach the disk is found out when it is loaded, since every listed
chunk is hashed again. So nothing has to be flushed. Files are open only while they are used: another process of the
device may finish the same blob meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from meshwit.peer.blobs.effects import Kept
from meshwit.peer.blobs.manifest import Manifest, chunk_count, content_hash
from meshwit.peer.blobs.messages import CHUNK_BYTES, HASH_BYTES
from meshwit.peer.blobs.store import BlobStore, file_hash

_MAGIC: Final = b"MWP1"
_NUMBER: Final = struct.Struct("<I")


class PartFile:
    """The partial file of one blob in a store. Its methods block; they raise OSError where not said otherwise."""

    def __init__(self, store: BlobStore, hash: str) -> None:
        self.hash = hash
        self._store = store
        self._path = store.part_path(hash)
        self._known = self._path.with_suffix(".known")

    def load(self) -> tuple[Manifest, list[int]] | None:
        """What an earlier attempt left, each chunk hashed again; None if there is nothing of use. Never raises."""
        try:
            raw = self._known.read_bytes()
            if raw[:4] != _MAGIC or len(raw) < 12:
                return None
            size = int.from_bytes(raw[4:12], "little")
            end = 12 + chunk_count(size) * HASH_BYTES
            if len(raw) < end:
                return None
            manifest = Manifest(size, raw[12:end])
            listed = raw[end : end + (len(raw) - end) // 4 * 4]
            have = {number for (number,) in _NUMBER.iter_unpack(listed) if number < manifest.count}
            with self._path.open("rb") as file:
                return manifest, [index for index in sorted(have) if _right(file, manifest, index)]
        except (OSError, ValueError):
            return None

    def begin(self, manifest: Manifest) -> None:
        """No chunk is here yet."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_bytes(b"")
        self._known.write_bytes(_MAGIC + manifest.size.to_bytes(8, "little") + manifest.hashes)

    def keep(self, index: int, data: bytes, digest: bytes) -> Kept:
        """Write a chunk if it is what it should be. Never raises."""
        if content_hash(data) != digest:
            return Kept.CORRUPT
        try:
            with self._path.open("r+b") as file:
                file.seek(index * CHUNK_BYTES)
                file.write(data)
            with self._known.open("ab") as file:
                file.write(_NUMBER.pack(index))
        except OSError:
            return Kept.FAILED
        return Kept.KEPT

    def finish(self) -> bool:
        """Whether the bytes are the blob's; then they are in the store under their name."""
        with self._path.open("rb") as file:
            if file_hash(file) != self.hash:
                return False
        os.replace(self._path, self._store.part_path(self.hash).with_name(self.hash[2:]))
        with contextlib.suppress(OSError):
            self._known.unlink()
        return True

    def bad(self) -> list[int]:
        """The chunks that did not come back from the disk as they were written. Never raises."""
        loaded = self.load()
        return [] if loaded is None else sorted(set(range(loaded[0].count)) - set(loaded[1]))

    def drop(self) -> None:
        """Remove it. Never raises."""
        for path in (self._path, self._known):
            with contextlib.suppress(OSError):
                path.unlink()


def read_chunk(store: BlobStore, hash: str, index: int) -> bytes | None:
    """A chunk of a blob that is in the store or on its way into it; None if it is not there. Never raises."""
    part = store.part_path(hash)
    for path in (part.with_name(hash[2:]), part):
        with contextlib.suppress(OSError), path.open("rb") as file:
            file.seek(index * CHUNK_BYTES)
            return file.read(CHUNK_BYTES)
    return None


def manifest_of_file(path: Path) -> Manifest:
    """The manifest of a whole blob. Raises OSError; ValueError if it is too large for the exchange."""
    chunk_count(path.stat().st_size)
    size = 0
    hashes = bytearray()
    for piece in _pieces(path):
        size += len(piece)
        hashes += content_hash(piece)
    return Manifest(size, bytes(hashes) or content_hash(b""))


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            yield piece


def _right(file: BinaryIO, manifest: Manifest, index: int) -> bool:
    file.seek(index * CHUNK_BYTES)
    return content_hash(file.read(manifest.bytes_of(index))) == manifest.hash_of(index)
