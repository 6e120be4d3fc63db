"""Files of the device that submitted the job, inside the folders that its owner allows.

A path in a script means that device and no other, so all of these run there (`local`): what other devices are to work
on is read into a blob, which travels. A relative path is taken from the first allowed folder, and paths given back are
relative to it, with `/` between their parts, on every system. Links are followed, but never out of the folders.
Nothing is ever deleted.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from meshwit.blob import size_text
from meshwit.plugins.annotations import Blob, Bool, Long, String, StringCollection
from meshwit.plugins.context import Context
from meshwit.plugins.controller import Controller, activity
from meshwit.plugins.owned_files import existing_file, inside, media_type_of, save
from meshwit.plugins.text import TEXT_BYTES_MAX, decode_text

FOUND_MAX = 100_000
"""Files that one pattern may find."""
LOOKED_AT_MAX = 1_000_000
"""Names that one pattern may look at."""
HASHES = ("sha256", "sha512", "sha1", "md5", "blake2b", "blake2s", "sha3_256")


class Files(Controller):
    """Files of the device that submitted the job."""

    @activity(local=True, volatile=True)
    def Glob(self, context: Context, pattern: String) -> StringCollection:
        """The paths of all files that match a pattern such as `photos/**/*.jpg`, in order.

        `*` is any part of a name, `?` one character, `[a-z]` one of several, `**` any number of folders. Names that
        begin with a dot are found only where the pattern says the dot; names that are no Unicode are passed over.
        Raises for more than 100,000 files.
        """
        parts = _pattern_parts(pattern)
        root = inside(context, ".")
        found: set[str] = set()
        for path in _Walk(context).matches(root, parts):
            if len(found) >= FOUND_MAX:
                raise ValueError(f'"{pattern}" matches more than {FOUND_MAX:,} files: make it narrower')
            found.add(path.relative_to(root).as_posix())
        return sorted(found)

    @activity(local=True, volatile=True)
    def Read(self, context: Context, path: String) -> Blob:
        """The content of a file as a blob; its media type follows from the name."""
        file = existing_file(context, path)
        return context.blobs.put_file(file, media_type_of(file.name))

    @activity(local=True, volatile=True)
    def ReadText(self, context: Context, path: String, encoding: String = "utf-8") -> String:
        """The content of a file as a text of at most 16 million characters."""
        file = existing_file(context, path)
        size = file.stat().st_size
        if size > TEXT_BYTES_MAX:
            raise ValueError(
                f"{path} has {size_text(size)}, more than a String holds: use Files.Read, which has no limit"
            )
        return decode_text(file.read_bytes(), encoding, path)

    @activity(local=True, effect=True)
    def Write(self, context: Context, path: String, blob: Blob) -> String:
        """Writes a blob to a file and returns its path; makes folders, replaces a file of that name as a whole."""
        return save(context, path, blob)

    @activity(local=True, effect=True)
    def WriteText(self, context: Context, path: String, text: String, encoding: String = "utf-8") -> String:
        """Writes a text to a file and returns its path; makes folders, replaces a file of that name as a whole."""
        try:
            data = text.encode(encoding)
        except LookupError:
            raise ValueError(f'"{encoding}" is no text encoding: there are "utf-8", "latin-1" and others') from None
        except UnicodeError as reason:
            raise ValueError(f"the text cannot be written in {encoding}: {reason}") from None
        return save(context, path, data)

    @activity(local=True, volatile=True)
    def Hash(self, context: Context, path: String, algorithm: String = "sha256") -> String:
        """The hash of a file's content in hex digits: sha256, sha512, sha1, md5, blake2b, blake2s or sha3_256."""
        if algorithm not in HASHES:
            raise ValueError(f'there is no hash "{algorithm}" here: there are {", ".join(HASHES)}')
        with existing_file(context, path).open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()

    @activity(local=True, volatile=True)
    def Size(self, context: Context, path: String) -> Long:
        """The size of a file in bytes."""
        return existing_file(context, path).stat().st_size

    @activity(local=True, volatile=True)
    def Exists(self, context: Context, path: String) -> Bool:
        """Whether there is a file or folder of that name."""
        return inside(context, path).exists()

    @activity(inline=True)
    def Name(self, path: String) -> String:
        """The last part of a path: `cat.jpg` of `photos/cat.jpg`."""
        return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def _pattern_parts(pattern: str) -> list[str]:
    parts = [part for part in pattern.replace(os.sep, "/").split("/") if part not in ("", ".")]
    if not parts or ".." in parts or pattern.startswith("/") or Path(pattern).is_absolute():
        raise ValueError(f'the pattern "{pattern}" must be relative to the first allowed folder, without `..`')
    # `**/**` means no more than `**`, and would look at each folder many times.
    single = [part for part, after in zip(parts, [*parts[1:], ""], strict=True) if (part, after) != ("**", "**")]
    return [*single, "*"] if single[-1] == "**" else single


def _is_folder(entry: os.DirEntry[str], *, follow: bool = True) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:  # a link to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _is_text(name: str) -> bool:
    """Whether a name can be a String: on Linux it may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Walk:
    """One search: counts what it looks at, and leaves out what leads outside."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._looked_at = 0

    def matches(self, folder: Path, parts: list[str]) -> Iterator[Path]:
        """The files below `folder` that the parts of a pattern describe; `**` does not follow links to folders."""
        part, rest = parts[0], parts[1:]
        if part == "**":
            yield from self.matches(folder, rest)
            for entry in self._entries(folder, "*"):
                if _is_folder(entry, follow=False):
                    yield from self.matches(Path(entry.path), parts)
            return
        for entry in self._entries(folder, part):
            if rest:
                if _is_folder(entry) and self._isinside(entry):
                    yield from self.matches(Path(entry.path), rest)
            elif _is_file(entry) and self._isinside(entry):
                yield Path(entry.path)

    def _entries(self, folder: Path, part: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as listing:
                entries = list(listing)
        except OSError:  # a folder that may not be read, or is gone meanwhile
            return []
        self._looked_at += len(entries)
        if self._looked_at > LOOKED_AT_MAX:
            raise ValueError(f"the pattern looks at more than {LOOKED_AT_MAX:,} names: make it narrower")
        hidden = part.startswith(".")
        found = [e for e in entries if fnmatch.fnmatchcase(e.name, part) and (hidden or not e.name.startswith("."))]
        return [entry for entry in found if _is_text(entry.name)]

    def _isinside(self, entry: os.DirEntry[str]) -> bool:
        if not entry.is_symlink():
            return True
        try:
            self._context.inside_roots(entry.path)
        except (OSError, RuntimeError):
            return False
        return True
