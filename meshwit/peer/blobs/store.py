"""The blob store of one device: a folder of files named by the hash of their bytes.

All processes of a device share it without a lock: a file appears under its name only when it is whole (written
beside, then renamed), and two that write the same bytes write the same file. Eviction removes the least recently
used files, never one that was used within the last hour.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from meshwit.blob import Blob
from meshwit.codec import WireType

DEFAULT_MEDIA_TYPE = "application/octet-stream"
_CHUNK_BYTES = 1 << 20
_FRESH_S = 3600.0


class BlobStore:
    """Puts bytes into a folder and finds them again.

    Attributes:
        folder: where the files are; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes | bytearray | memoryview, media_type: str = DEFAULT_MEDIA_TYPE) -> Blob:
        """Store bytes. Raises OSError where the disk does not take them; nothing half-written is ever seen."""
        view = memoryview(data).cast("B")
        digest = hashlib.blake2b(view, digest_size=32).hexdigest()
        return self._keep(digest, len(view), media_type, iter([view]))

    def put_file(self, path: Path, media_type: str = DEFAULT_MEDIA_TYPE) -> Blob:
        """Store a copy of a file. Raises OSError."""
        digest = hashlib.blake2b(digest_size=32)
        size = 0
        for chunk in _chunks(path):
            digest.update(chunk)
            size += len(chunk)
        return self._keep(digest.hexdigest(), size, media_type, _chunks(path))

    def path(self, blob: Blob) -> Path:
        """The file that holds the bytes. Raises FileNotFoundError."""
        path = self._place(blob.hash)
        if not path.is_file():
            raise FileNotFoundError(f"the bytes of {blob} are not on this device")
        return path

    def bind(self, hash: str, size: int, media_type: str) -> Blob:
        """A handle to bytes that are, or will be, in this store."""
        return Blob(hash, size, media_type, self)

    def wire_type(self) -> WireType:
        """How handles cross between processes: by name; they come back bound to this store."""
        return WireType(
            "Blob", Blob, lambda blob: [blob.hash, blob.size, blob.media_type], lambda data: self.bind(*data)
        )

    def evict(self, bytes_max: int) -> int:
        """Remove least recently used files until at most `bytes_max` bytes are left; returns how many were removed."""
        files: list[tuple[float, int, Path]] = []
        for path in self.folder.glob("??/*"):
            with contextlib.suppress(OSError):
                known = path.stat()
                files.append((max(known.st_atime, known.st_mtime), known.st_size, path))
        excess = sum(size for _, size, _ in files) - bytes_max
        removed = 0
        for used, size, path in sorted(files):
            if excess <= 0 or time.time() - used < _FRESH_S:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                excess -= size
                removed += 1
        return removed

    def _place(self, digest: str) -> Path:
        return self.folder / digest[:2] / digest[2:]

    def _keep(self, digest: str, size: int, media_type: str, chunks: Iterator[memoryview | bytes]) -> Blob:
        blob = self.bind(digest, size, media_type)
        place = self._place(digest)
        with contextlib.suppress(OSError):
            if place.stat().st_size == size:
                os.utime(place)
                return blob
        place.parent.mkdir(exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
            os.replace(name, place)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
        return blob


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
