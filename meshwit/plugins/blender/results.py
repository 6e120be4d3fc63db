"""Rendered frames and tiles put in order and together again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from meshwit.blob import Blob, BlobSource
from meshwit.lazy import lazy_module
from meshwit.plugins.blender.types import RenderResultValue
from meshwit.plugins.image.coding import MEDIA_TYPES, encode_image, load_image, picture_of, store_image
from meshwit.plugins.renderer.tiles import assemble

if TYPE_CHECKING:
    import numpy as np
else:
    np = lazy_module("numpy")


def present(results: Sequence[RenderResultValue | None]) -> list[RenderResultValue]:
    """The results, if there are any and none is missing. Raises ValueError."""
    gaps = [position for position, result in enumerate(results) if result is None]
    if gaps:
        shown = ", ".join(f"results[{position}]" for position in gaps[:5]) + (", …" if len(gaps) > 5 else "")
        raise ValueError(f"{len(gaps)} of {len(results)} results are NULL ({shown}): render them again")
    found = [result for result in results if result is not None]
    if not found:
        raise ValueError("there are no results: at least 1 is needed")
    return found


def frames(results: Sequence[RenderResultValue | None], blobs: BlobSource) -> list[Blob]:
    """One picture per frame, by frame number; tiles are put together.

    Raises:
        ValueError: no results, one missing, a frame that is given twice, lacks a tile or has one too many.
    """
    by_frame: dict[int, list[RenderResultValue]] = {}
    for result in present(results):
        by_frame.setdefault(result.frame, []).append(result)
    return [frame(parts, blobs) for _, parts in sorted(by_frame.items())]


def frame(parts: Sequence[RenderResultValue], blobs: BlobSource) -> Blob:
    """The picture of one frame from all its tiles, in any order. Raises ValueError."""
    first = parts[0]
    for part in parts:
        if (part.frame, part.width, part.height) != (first.frame, first.width, first.height):
            raise ValueError(
                f"tiles of different frames: {part.frame} of {part.width} x {part.height} pixels, "
                f"{first.frame} of {first.width} x {first.height}"
            )
    pixels = [(part, np.asarray(load_image(part.image).convert("RGB"))) for part in parts]
    if len(pixels) == 1 and pixels[0][1].shape[:2] == (first.height, first.width):
        image: Blob = first.image
        return image
    try:
        joined = assemble(
            (((part.x, part.y, tile.shape[1], tile.shape[0]), tile) for part, tile in pixels), first.width, first.height
        )
    except ValueError as reason:
        raise ValueError(f"frame {first.frame}: {reason}") from None
    return in_format(joined, first.options.format, blobs)


def in_format(pixels: Any, kind: str, blobs: BlobSource) -> Blob:
    """Pixels as a picture in the format that `RenderOptions` names."""
    if kind == "PNG":
        return store_image(pixels, blobs)
    return blobs.put(encode_image(picture_of(pixels), kind), MEDIA_TYPES[kind])
