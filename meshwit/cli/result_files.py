"""Results that are files: where each blob of a result goes, and writing it there.

A blob becomes `<name><suffix>`; several in one value become `<name>/0000<suffix>`, numbered by their place. Each file
is written whole or not at all, replacing what had that name. One that cannot be written stops no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from meshwit.blob import Blob
from meshwit.cli.sources import write_whole
from meshwit.lang.text import NESTING_MAX

FILES_MAX = 1_000_000
"""Files of one result."""
_CHUNK_BYTES = 1 << 20


class Written(NamedTuple):
    """The files of one result, by their blob; `folder` is None for a single file.

    Attributes:
        files: blob -> file, of those that were written.
        written: how many places were written; a blob in two places is two files.
        errors: what went wrong, one line each.
        older: files of the folder that an earlier run left there.
    """

    files: dict[Blob, Path]
    folder: Path | None
    written: int
    errors: list[str]
    older: int


class Place(NamedTuple):
    """A blob within a value, by the positions and field names that lead to it."""

    blob: Blob
    at: tuple[int | str, ...]


def places(value: Any) -> Iterator[Place]:
    """All blobs in a value: in lists, tuples, dictionaries and records, at most `NESTING_MAX` deep."""
    return _places(value, (), {})


def _places(value: Any, at: tuple[int | str, ...], empty: dict[int, Any]) -> Iterator[Place]:
    """`empty` has what was found to hold no blob: `a = [a, a]`, sixty times, is walked through once."""
    if isinstance(value, Blob):
        yield Place(value, at)
        return
    if len(at) >= NESTING_MAX or id(value) in empty:
        return
    found = nested = False
    for key, part in _parts(value):
        if part is not None and not isinstance(part, (int, float, str)):
            nested = True
            for place in _places(part, (*at, key), empty):
                found = True
                yield place
    if nested and not found:
        empty[id(value)] = value  # kept, so that nothing else gets its number


def _parts(value: Any) -> Iterable[tuple[int | str, Any]]:
    match value:
        case list() | tuple():
            return enumerate(value)
        case Mapping():
            return value.items()
        case msgspec.Struct():
            return ((name, getattr(value, name)) for name in value.__struct_fields__)
    return ()


def write_result(name: str, value: Any, out: Path) -> Written | None:
    """Write the blobs of a value below the folder `out`; None if it holds none."""
    found = list(islice(places(value), FILES_MAX + 1))
    if not found:
        return None
    if len(found) > FILES_MAX:
        return Written({}, out / name, 0, [f"`{name}` holds more than {FILES_MAX:,} files: none was written"], 0)
    if isinstance(value, Blob):
        return _write(None, {out / f"{name}{value.suffix}": value})
    folder = out / name
    highest = max((part for place in found for part in place.at if isinstance(part, int)), default=0)
    digits = max(4, len(str(highest)))
    named = {folder / f"{_stem(place.at, digits)}{place.blob.suffix}": place.blob for place in found}
    return _write(folder, named)


def _stem(at: tuple[int | str, ...], digits: int) -> str:
    return "-".join(str(part).zfill(digits) if isinstance(part, int) else part for part in at)


def _write(folder: Path | None, named: dict[Path, Blob]) -> Written:
    files: dict[Blob, Path] = {}
    failed: dict[str, list[Path]] = {}
    count = 0
    for path, blob in named.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_blob(blob, path)
        except OSError as reason:
            failed.setdefault(reason.strerror or str(reason), []).append(path)
        else:
            files.setdefault(blob, path)
            count += 1
    return Written(files, folder, count, list(_errors(failed, len(named))), _older(folder, named))


def _errors(failed: dict[str, list[Path]], total: int) -> Iterator[str]:
    for reason, paths in failed.items():
        more = f", nor {len(paths) - 1} more of {total} files" if len(paths) > 1 else ""
        yield f"cannot write {paths[0]}{more}: {reason}"


def _older(folder: Path | None, named: dict[Path, Blob]) -> int:
    try:
        return 0 if folder is None else sum(one not in named for one in folder.iterdir())
    except OSError:
        return 0


def write_blob(blob: Blob, path: Path) -> None:
    """Copy a blob's bytes to a file, whole or not at all. Raises OSError."""
    with blob.open() as source:
        write_whole(path, iter(lambda: source.read(_CHUNK_BYTES), b""))
