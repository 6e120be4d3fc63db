"""The blob store of one device: a folder of files named by the hash of their bytes.

All processes of a device share it without a lock: a file appears under its name only when it is whole (written
beside, then renamed), and two that write the same bytes write the same file. Eviction removes the least recently
used files, never one that was used within the last hour or is pinned.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import secrets
import shutil
import stat
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from meshwit.blob import Blob
from meshwit.codec import WireType
from meshwit.lazy import lazy_module

if TYPE_CHECKING:
    import platformdirs
else:
    platformdirs = lazy_module("platformdirs")  # worker processes are told a folder

USER_BYTES_MAX = 20 * 10**9
"""What a peer leaves of the blobs of its user."""
DEFAULT_MEDIA_TYPE = "application/octet-stream"
_CHUNK_BYTES = 1 << 20
_FRESH_S = 3600.0


def user_folder() -> Path:
    """Where all processes of a user keep the bytes of blobs, unless they are told another folder."""
    return Path(platformdirs.user_cache_dir("meshwit", appauthor=False)) / "blobs"


class BlobStore:
    """Puts bytes into a folder and finds them again.

    Attributes:
        folder: where the files are; made if it is not there.
        bytes_max: what `evict` leaves, if it is not told; None: everything.
    """

    def __init__(self, folder: Path, bytes_max: int | None = None) -> None:
        self.folder = folder
        self.bytes_max = bytes_max
        self._pins: Counter[str] = Counter()
        self._pins_lock = threading.Lock()
        self._held = False
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
        if self.find(blob.hash, blob.size) is None:
            raise FileNotFoundError(f"the bytes of {blob} are not on this device")
        return path

    def bind(self, hash: str, size: int, media_type: str) -> Blob:
        """A handle to bytes that are, or will be, in this store."""
        return Blob(hash, size, media_type, self)

    def wire_type(self) -> WireType:
        """How handles cross between processes: by name; they come back bound to this store."""
        return WireType(
            "Blob",
            Blob,
            lambda blob: [blob.hash, blob.size, blob.media_type],
            lambda data: self.bind(*data),
            blob=lambda blob: (blob.hash, blob.size),
        )

    def pin(self, hash: str) -> None:
        """This process needs a blob, or what there is of it: it is not evicted until as many `unpin`."""
        with self._pins_lock:
            self._pins[hash] += 1

    def unpin(self, hash: str) -> None:
        """Takes one `pin` back; more than there were do nothing."""
        with self._pins_lock:
            self._pins[hash] -= 1
            if self._pins[hash] <= 0:
                del self._pins[hash]

    def hold(self) -> None:
        """Evict nothing until `let_go`: what is needed is not pinned yet."""
        self._held = True

    def let_go(self) -> None:
        """All that is needed is pinned."""
        self._held = False

    def find(self, hash: str, size: int = -1) -> Path | None:
        """The file of a blob, None if it is not here; counts as a use. Where its size is known, a file of another one
        is none: power was cut before all of it was on disk."""
        place = self._place(hash)
        with contextlib.suppress(OSError):
            if size >= 0 and place.stat().st_size != size:
                return None
        try:
            os.utime(place)
        except OSError:
            return place if place.is_file() else None
        return place

    def view(self, hash: str) -> memoryview:
        """The bytes of a blob, mapped into memory for reading. Raises OSError where they are not here."""
        with self._place(hash).open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def adopt(self, folder: Path, hash: str, size: int) -> Path | None:
        """The file of a blob that lies in another store of this device and user, taken over into this one.

        By another name for the same file where both stores are on one file system, else by a copy; hashed before it is
        seen here. None where it is not there, or is not what it should be. Never raises.
        """
        source, place = BlobStore.place_in(folder, hash), self._place(hash)
        name = place.with_name(f".{hash[2:]}.{secrets.token_hex(6)}.part")
        try:
            about = source.lstat()
            if about.st_size != size or not stat.S_ISREG(about.st_mode):
                return None
            place.parent.mkdir(exist_ok=True)
            try:
                os.link(source, name)
            except OSError:
                shutil.copyfile(source, name)
            with name.open("rb") as file:
                if file_hash(file) != hash:
                    return None
            os.replace(name, place)
            os.utime(place)
        except OSError:
            return None
        finally:
            with contextlib.suppress(OSError):
                name.unlink(missing_ok=True)
        return place

    def part_path(self, hash: str) -> Path:
        """Where the bytes of a blob lie while they come in."""
        return self._place(hash).with_name(f".{hash[2:]}.part")

    def evict(self, bytes_max: int | None = None) -> int:
        """Remove least recently used files until at most `bytes_max` bytes are left; returns how many were removed."""
        if bytes_max is None:
            bytes_max = self.bytes_max
        if bytes_max is None or self._held:
            return 0
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
            if self._pinned(path):
                continue
            with contextlib.suppress(OSError):
                path.unlink()
                excess -= size
                removed += 1
        return removed

    def _pinned(self, path: Path) -> bool:
        digest = path.parent.name + path.name.removeprefix(".").partition(".")[0]
        with self._pins_lock:
            return digest in self._pins

    def _place(self, digest: str) -> Path:
        return self.place_in(self.folder, digest)

    @staticmethod
    def place_in(folder: Path, hash: str) -> Path:
        """Where a store in that folder has a blob, if it has it."""
        return folder / hash[:2] / hash[2:]

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


def file_hash(file: BinaryIO) -> str:
    """BLAKE2b-256 of what is left of a file. Raises OSError."""
    digest = hashlib.blake2b(digest_size=32)
    while piece := file.read(_CHUNK_BYTES):
        digest.update(piece)
    return digest.hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
