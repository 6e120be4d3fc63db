"""What an activity may use of the device it runs on, besides its arguments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from meshwit.blob import BlobSource


class Context:
    """Given to an activity that has a parameter annotated `Context`; scripts do not see that parameter.

    Attributes:
        blobs: stores bytes and gives handles.
        roots: the folders of this device that activities may read and write, as its owner allowed.
        scratch: a folder for temporary files, emptied when the worker process ends.
        functions: packages whose functions may be called by name; None for every one that can be imported.
        pickles: pickles may be read, which is to run any code.
    """

    def __init__(
        self,
        blobs: BlobSource,
        roots: Sequence[Path],
        scratch: Path,
        *,
        functions: Iterable[str] | None = (),
        pickles: bool = False,
    ) -> None:
        self.blobs = blobs
        self.roots = tuple(root.resolve() for root in roots)
        self.functions = None if functions is None else tuple(functions)
        self.pickles = pickles
        self._scratch = scratch

    @property
    def scratch(self) -> Path:
        self._scratch.mkdir(parents=True, exist_ok=True)
        return self._scratch

    def inside_roots(self, path: str) -> Path:
        """The absolute path, if it lies inside an allowed root (links followed). Raises PermissionError otherwise.

        A relative path is taken from the first root.
        """
        if not self.roots:
            raise PermissionError("this device allows no folder: its owner names them with `--root FOLDER`")
        full = (self.roots[0] / path).resolve()
        if any(full.is_relative_to(root) for root in self.roots):
            return full
        allowed = ", ".join(str(root) for root in self.roots)
        raise PermissionError(f"{full} lies outside the folders that this device allows: {allowed}")
