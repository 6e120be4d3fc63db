"""Scripts from files, folders and stdin; files written whole or not at all."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from meshwit.cli.exit_codes import CommandError

STDIN = "-"


class Source(NamedTuple):
    """The text of a script and how messages name it; `path` is None for stdin."""

    text: str
    name: str
    path: Path | None


def read_source(name: str) -> Source:
    """Read a script; `-` is stdin. Raises CommandError if there is none or it is no text."""
    if name == STDIN:
        return Source(_decoded(sys.stdin.buffer.read(), "stdin"), "<stdin>", None)
    path = Path(name)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CommandError(f"there is no file {name}", _near_files(path)) from None
    except IsADirectoryError:
        raise CommandError(f"{name} is a folder, a script is needed", _scripts_of(path)) from None
    except OSError as reason:
        raise CommandError(f"cannot read {name}: {reason.strerror}") from None
    return Source(_decoded(data, name), name, path)


def expand_folders(names: Sequence[str]) -> list[str]:
    """Files as they are, folders as the scripts in them, sorted. Raises CommandError for a folder without scripts."""
    found: list[str] = []
    for name in names:
        if name != STDIN and Path(name).is_dir():
            scripts = sorted(str(path) for path in Path(name).rglob("*.wit"))
            if not scripts:
                raise CommandError(f"there is no .wit file in the folder {name}")
            found += scripts
        else:
            found.append(name)
    return list(dict.fromkeys(found))


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as reason:
        raise CommandError(f"{name} is no UTF-8 text: byte {reason.start} is {data[reason.start]:#04x}") from None


def _near_files(path: Path) -> str:
    try:
        names = [one.name for one in path.parent.glob("*.wit")]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {path.parent / near[0]}?" if near else ""


def _scripts_of(folder: Path) -> str:
    names = sorted(str(one) for one in folder.glob("*.wit"))
    return f"there is {', '.join(names[:5])}" if names else ""


def write_whole(path: Path, source: Iterable[bytes]) -> None:
    """Write a file so that nobody ever sees half of it: to a temporary file beside it, then renamed.

    A file that was there keeps its permissions; a link stays a link. Raises OSError; then nothing has changed.
    """
    target = path.resolve()
    partial = target.with_name(f".{target.name[:200]}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            file.writelines(source)
        if target.exists():
            partial.chmod(target.stat().st_mode & 0o7777)
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
