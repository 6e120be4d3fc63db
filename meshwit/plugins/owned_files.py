"""Files that scripts name: inside the folders that the owner of a device allows, written whole or not at all."""

from __future__ import annotations

import mimetypes
import os
import shutil
import stat
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import BinaryIO

from meshwit.blob import SUFFIXES, Blob
from meshwit.plugins.context import Context

DEFAULT_MEDIA_TYPE = "application/octet-stream"
# What Python's own table lacks, or has only from some version on.
_OTHER_TYPES = {".exr": "image/x-exr", ".hdr": "image/vnd.radiance", ".md": "text/markdown", ".wit": "text/plain"}
_PACKED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


@cache
def _known_types() -> tuple[dict[str, str], mimetypes.MimeTypes]:
    # A table of its own: the global one also reads files of the device, and the same name would mean different types.
    own = _OTHER_TYPES | {suffix: media_type for media_type, suffix in SUFFIXES.items()}
    return own, mimetypes.MimeTypes()


def media_type_of(name: str) -> str:
    """The media type that a file's name promises; `application/octet-stream` where it promises nothing."""
    own, usual = _known_types()
    found = own.get(Path(name).suffix.lower())
    if found is not None:
        return found
    guessed, packed = usual.guess_type(name.lower(), strict=False)
    return _PACKED.get(packed, DEFAULT_MEDIA_TYPE) if packed else guessed or DEFAULT_MEDIA_TYPE


def inside(context: Context, path: str) -> Path:
    """The absolute path, links followed. Raises PermissionError outside the roots, ValueError for no path at all."""
    if not path or "\0" in path:
        raise ValueError("the path is empty" if not path else "the path has a NUL character")
    try:
        return context.inside_roots(path)
    except PermissionError:
        raise
    except (OSError, RuntimeError) as reason:  # a loop of links is the one or the other, by version
        raise ValueError(f'"{path}" is no path: {reason}') from None


def existing_file(context: Context, path: str) -> Path:
    """The ordinary file that a script names; a pipe or a device would never end.

    Raises:
        PermissionError: outside the roots.
        ValueError: it is no file.
        FileNotFoundError: there is none.
    """
    file = inside(context, path)
    if file.is_file():
        return file
    if file.exists():
        raise ValueError(f'"{path}" is a {"folder" if file.is_dir() else "device"}, not a file')
    raise FileNotFoundError(f'there is no file "{path}" ({file})')


def write_file(context: Context, path: str, fill: Callable[[BinaryIO], object]) -> str:
    """Write a file whole or not at all, its folder with it; returns its path relative to the first root.

    Raises:
        PermissionError: outside the roots.
        ValueError: the path is that of a folder.
        OSError: the path leads through a file, or the disk does not take it; an older file of that name is as it was.
    """
    file = inside(context, path)
    if path.endswith(("/", os.sep)) or file.is_dir():
        raise ValueError(f'"{path}" is a folder: the name of a file is needed')
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise OSError(f'"{path}" leads through what is no folder') from None
    part = file.parent / f".{uuid.uuid4().hex}.part"
    try:
        with part.open("xb") as out:
            fill(out)
            out.flush()
            os.fsync(out.fileno())
        if file.exists():
            part.chmod(stat.S_IMODE(file.stat().st_mode))
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    first = context.roots[0]
    return (file.relative_to(first) if file.is_relative_to(first) else file).as_posix()


def save(context: Context, path: str, content: Blob | bytes) -> str:
    """`write_file` of a blob or of bytes."""
    if isinstance(content, bytes):
        return write_file(context, path, lambda file: file.write(content))
    with content.open() as source:
        return write_file(context, path, lambda file: shutil.copyfileobj(source, file, 1 << 20))
