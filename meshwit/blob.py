"""A blob: a handle to bytes that the mesh holds under their content hash, of any size."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Protocol


class BlobSource(Protocol):
    """Where the bytes of blobs are kept: every process of a peer has one."""

    def put(self, data: bytes | bytearray | memoryview, media_type: str = ...) -> Blob:
        """Store bytes; returns their handle. Raises OSError if there is no room."""
        ...

    def put_file(self, path: Path, media_type: str = ...) -> Blob:
        """Store a copy of a file; returns its handle. Raises OSError."""
        ...

    def path(self, blob: Blob) -> Path:
        """The file that holds the bytes. Raises FileNotFoundError if they are not here."""
        ...


class Blob:
    """A handle: equal where the bytes and their media type are equal.

    Attributes:
        hash: BLAKE2b-256 of the bytes, 64 hex digits.
        size: in bytes.
        media_type: such as `image/png`; `application/octet-stream` where nothing better is known.
    """

    __slots__ = ("_source", "hash", "media_type", "size")

    def __init__(self, hash: str, size: int, media_type: str, source: BlobSource | None = None) -> None:
        self.hash = hash
        self.size = size
        self.media_type = media_type
        self._source = source

    @property
    def path(self) -> Path:
        """The file that holds the bytes: for reading only. Raises FileNotFoundError."""
        if self._source is None:
            raise FileNotFoundError(f"{self} is not bound to a store")
        return self._source.path(self)

    def read(self) -> bytes:
        """All bytes. Raises OSError."""
        return self.path.read_bytes()

    def open(self) -> BinaryIO:
        """The bytes as a file open for reading. Raises OSError."""
        return self.path.open("rb")

    def retyped(self, media_type: str) -> Blob:
        """A handle to the same bytes, known by another media type."""
        return self if media_type == self.media_type else Blob(self.hash, self.size, media_type, self._source)

    @property
    def suffix(self) -> str:
        """The usual file name extension for the media type, with its dot."""
        return SUFFIXES.get(self.media_type, ".bin")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blob) and (self.hash, self.media_type) == (other.hash, other.media_type)

    def __hash__(self) -> int:
        return hash((self.hash, self.media_type))

    def __repr__(self) -> str:
        return f"<blob {self.hash[:10]} {self.media_type} {size_text(self.size)}>"


SUFFIXES = {
    "application/octet-stream": ".bin",
    "application/json": ".json",
    "application/x-blender": ".blend",
    "application/x-numpy": ".npy",
    "application/xml": ".xml",
    "application/zip": ".zip",
    "image/avif": ".avif",
    "image/bmp": ".bmp",
    "image/gif": ".gif",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/tiff": ".tiff",
    "image/webp": ".webp",
    "text/plain": ".txt",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
    "video/x-matroska": ".mkv",
    "video/x-msvideo": ".avi",
}


def size_text(size: int) -> str:
    """A size in bytes for people: `1.2 MB`."""
    if size < 1000:
        return f"{size} B"
    value = float(size)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 1000:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"
