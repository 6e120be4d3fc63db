"""Files of the leader's device that scripts name: read and written only inside the folders its owner allows."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from meshwit.blob import Blob
from meshwit.plugins.context import Context


def existing_file(context: Context, path: str) -> Path:
    """The file that a script names.

    Raises:
        PermissionError: outside the allowed folders.
        FileNotFoundError: no such file.
    """
    full = context.inside_roots(path)
    if not full.is_file():
        raise FileNotFoundError(f'there is no file "{full}"')
    return full


def save_atomically(context: Context, path: str, content: Blob | bytes) -> None:
    """Write a file whole or not at all, its folder with it where there is none.

    Raises:
        PermissionError: outside the allowed folders.
        OSError: the disk does not take it; an older file of that name is still as it was.
    """
    target = context.inside_roots(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        if isinstance(content, Blob):
            shutil.copyfile(content.path, part)
        else:
            part.write_bytes(content)
        os.replace(part, target)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
