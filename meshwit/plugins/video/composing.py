"""A film from a collection of images: where it is written, and what becomes of images that are missing."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from meshwit.blob import Blob
from meshwit.plugins.context import Context
from meshwit.plugins.image.coding import Picture, load_image
from meshwit.plugins.video.encoding import checked_fps, encode_film

_MISSING = ("Fail", "Hold", "Skip")


def compose(
    context: Context,
    images: Sequence[Blob | None],
    fps: float,
    crf: int,
    width: int | None = None,
    height: int | None = None,
    missing: str = "Fail",
) -> Blob:
    """An MP4 of the images in their order; the arguments are those of `Video.Compose`. Raises ValueError."""
    pictures = _pictures(images, missing)
    with new_film(context) as path:
        encode_film(pictures, path, checked_fps(fps), crf, width, height)
        return context.blobs.put_file(path, "video/mp4")


@contextlib.contextmanager
def new_film(context: Context) -> Iterator[Path]:
    """A path for a film under way: the MP4 writer goes back to its beginning, so it cannot write to memory."""
    with tempfile.TemporaryDirectory(dir=context.scratch) as folder:
        yield Path(folder) / "film.mp4"


def _pictures(images: Sequence[Blob | None], missing: str) -> Iterator[tuple[str, Picture]]:
    if missing not in _MISSING:
        raise ValueError(f'unknown value "{missing}" of missing: there are {", ".join(_MISSING)}')
    gaps = [position for position, image in enumerate(images) if image is None]
    if gaps and missing == "Fail":
        shown = ", ".join(f"images[{position}]" for position in gaps[:5]) + (", …" if len(gaps) > 5 else "")
        raise ValueError(
            f"{len(gaps)} of {len(images)} pictures are NULL ({shown}): "
            'render them again, or give missing: "Hold" or missing: "Skip"'
        )
    if len(gaps) == len(images):
        raise ValueError("a film of no pictures: at least 1 is needed")
    return _loaded(images, hold=missing == "Hold")


def _loaded(images: Sequence[Blob | None], *, hold: bool) -> Iterator[tuple[str, Picture]]:
    # What is missing at the very beginning shows the first picture there is.
    before = next(image for image in images if image is not None)
    for position, image in enumerate(images):
        if image is None and not hold:
            continue
        before = image or before
        yield f"images[{position}]", load_image(before)
