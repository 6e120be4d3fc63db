"""Rectangles of an image: how a frame is cut into tiles and put together again.

Decides where tiles lie; knows nothing of renderers. Tiles of one grid cover each pixel exactly once, and `assemble`
refuses anything else, so a missing or doubled tile never passes as a finished frame. The origin is the upper left
pixel, x to the right, y down.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from meshwit.lazy import lazy_module

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = lazy_module("numpy")


class Tile(NamedTuple):
    """A rectangle of pixels: upper left corner and size."""

    x: int
    y: int
    width: int
    height: int


def tile_grid(width: int, height: int, rows: int, columns: int, align: int = 1) -> list[Tile]:
    """Cuts an image into `rows` by `columns` tiles of about equal size, row by row.

    Args:
        width: of the image, pixels.
        height: of the image, pixels.
        rows: at least 1.
        columns: at least 1.
        align: inner edges lie on multiples of it. Where the image has no room for as many tiles, fewer come back.

    Raises:
        ValueError: a size or count below 1.
    """
    for name, value in (("width", width), ("height", height), ("rows", rows), ("columns", columns), ("align", align)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    xs, ys = _edges(width, columns, align), _edges(height, rows, align)
    return [Tile(left, top, right - left, bottom - top) for top, bottom in pairwise(ys) for left, right in pairwise(xs)]


def checked_tile(tile: tuple[int, int, int, int], width: int, height: int) -> Tile:
    """The tile, known to lie within an image of `width` by `height` pixels and not to be empty; else `ValueError`."""
    x, y, w, h = tile
    if x < 0 or y < 0 or w < 1 or h < 1 or x + w > width or y + h > height:
        raise ValueError(f"tile (x={x}, y={y}, width={w}, height={h}) does not lie within the {width}x{height} frame")
    return Tile(x, y, w, h)


def assemble(
    tiles: Iterable[tuple[tuple[int, int, int, int], NDArray[np.uint8]]], width: int, height: int
) -> NDArray[np.uint8]:
    """Puts tiles together to one frame.

    Args:
        tiles: pairs of tile and its pixels, uint8 of shape (tile height, tile width, 3), in any order.
        width: of the frame, pixels.
        height: of the frame, pixels.

    Returns:
        uint8 of shape (height, width, 3).

    Raises:
        ValueError: a tile outside the frame, pixels that do not fit their tile, a pixel covered twice or not at all.
    """
    frame = np.zeros((height, width, 3), np.uint8)
    covered = np.zeros((height, width), np.bool_)
    for rectangle, pixels in tiles:
        tile = checked_tile(rectangle, width, height)
        if pixels.shape != (tile.height, tile.width, 3):
            raise ValueError(f"pixels of shape {pixels.shape} do not fit {tile}")
        area = (slice(tile.y, tile.y + tile.height), slice(tile.x, tile.x + tile.width))
        if covered[area].any():
            raise ValueError(f"{tile} covers pixels that another tile covers already")
        frame[area] = pixels
        covered[area] = True
    if not covered.all():
        y, x = (int(i) for i in np.argwhere(~covered)[0])
        missing = int((~covered).sum())
        raise ValueError(f"{missing} of {width * height} pixels are covered by no tile, the first at x={x}, y={y}")
    return frame


def _edges(length: int, parts: int, align: int) -> list[int]:
    steps = -(-length // align)
    return sorted({min(length, steps * part // parts * align) for part in range(parts + 1)})
