"""Pictures made of others: contact sheets, and text on a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from meshwit.lazy import lazy_module
from meshwit.plugins.image.coding import Picture, checked_size
from meshwit.plugins.variables.simple import Color

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont
else:
    Image = lazy_module("PIL.Image")
    ImageDraw = lazy_module("PIL.ImageDraw")
    ImageFont = lazy_module("PIL.ImageFont")

CELL_MIN, CELL_MAX = 16, 4096


def contact_sheet(
    count: int,
    picture: Callable[[int], Picture | None],
    columns: int,
    cell: int,
    captions: Sequence[str | None],
    ground: Color,
) -> Picture:
    """Pictures in rows, each fitted into a square cell, with a caption below it.

    Args:
        count: of pictures.
        picture: gives the picture at a position when its turn comes, so that one is in memory at a time; None leaves
            the cell empty.
        columns: 0 for as many as make the sheet about square.
        cell: pixels along a side.
        captions: as many as pictures, or none.
        ground: behind the pictures.

    Raises:
        ValueError: no pictures, a size or count out of range, a sheet that would be too large.
    """
    if count < 1:
        raise ValueError("a contact sheet of no images: at least 1 is needed")
    if not 0 <= columns <= 10_000:
        raise ValueError(f"columns must be from 1 to 10000, or 0 for a sheet that is about square, got {columns}")
    if not CELL_MIN <= cell <= CELL_MAX:
        raise ValueError(f"cell must be from {CELL_MIN} to {CELL_MAX} pixels, got {cell}")
    if captions and len(captions) != count:
        raise ValueError(f"{len(captions)} captions for {count} images: there must be one for each")
    columns = min(count, columns or math.ceil(math.sqrt(count)))
    rows = -(-count // columns)
    gap = max(2, cell // 16)
    letters = max(9, cell // 13)
    line = letters + gap if captions else 0
    size = checked_size(columns * (cell + gap) + gap, rows * (cell + gap + line) + gap, "a contact sheet")
    sheet = Image.new("RGB", size, (ground.r, ground.g, ground.b))
    for position in range(count):
        left = gap + position % columns * (cell + gap)
        top = gap + position // columns * (cell + gap + line)
        one = picture(position)
        if one is not None:
            one.thumbnail((cell, cell), Image.Resampling.LANCZOS)
            place = left + (cell - one.width) // 2, top + (cell - one.height) // 2
            sheet.paste(one, place, one if one.mode == "RGBA" else None)
        if captions:
            middle = left + cell // 2, top + cell + line // 2
            _caption(sheet, captions[position] or "", middle, cell, letters, ink_on(ground))
    return sheet


def _caption(sheet: Picture, text: str, middle: tuple[int, int], width: int, size: int, ink: Color) -> None:
    font = ImageFont.load_default(size)
    text = " ".join(text.split())
    shown, kept = text, len(text)
    while kept > 1 and font.getlength(shown) > width:
        kept -= 1
        shown = text[:kept].rstrip() + "…"
    ImageDraw.Draw(sheet).text(middle, shown, (ink.r, ink.g, ink.b), font, anchor="mm")


def ink_on(ground: Color) -> Color:
    """Black or white, whichever reads better on a colour."""
    return Color(0, 0, 0) if ground.r * 299 + ground.g * 587 + ground.b * 114 > 128_000 else Color(255, 255, 255)


def write_text(image: Picture, text: str, x: int, y: int, size: int, ink: Color) -> Picture:
    """Text with its upper left corner at (x, y); lines break where it says so. Raises ValueError."""
    if not 4 <= size <= 2048:
        raise ValueError(f"size must be from 4 to 2048 pixels, got {size}")
    wide = image.convert("RGBA")
    layer = Image.new("RGBA", image.size, (ink.r, ink.g, ink.b, 0))
    ImageDraw.Draw(layer).multiline_text((x, y), text, (ink.r, ink.g, ink.b, ink.a), ImageFont.load_default(size))
    written = Image.alpha_composite(wide, layer)
    return written if image.mode == "RGBA" else written.convert("RGB")
