"""Activities on single pictures, and contact sheets of many."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from meshwit.blob import Blob as BlobHandle
from meshwit.lazy import lazy_module
from meshwit.plugins.annotations import Blob, Bool, Double, Int, String, StringCollection
from meshwit.plugins.context import Context
from meshwit.plugins.controller import Controller, activity
from meshwit.plugins.image.coding import (
    MEDIA_TYPES,
    Picture,
    checked_size,
    encode_image,
    identify,
    load_image,
    opened_image,
)
from meshwit.plugins.image.filters import apply_filter
from meshwit.plugins.image.sheet import contact_sheet, write_text
from meshwit.plugins.image.types import IMAGE, Image, ImageCollection
from meshwit.plugins.owned_files import existing_file, save
from meshwit.plugins.variables.controller import ColorValue
from meshwit.plugins.variables.simple import Color

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image as Pillow
    from PIL import ImageEnhance
else:
    np = lazy_module("numpy")
    Pillow = lazy_module("PIL.Image")
    ImageEnhance = lazy_module("PIL.ImageEnhance")

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".gif": "GIF",
    ".bmp": "BMP",
}
_BLACK, _WHITE, _DARK = Color(0, 0, 0), Color(255, 255, 255), Color(32, 32, 36)


def _bytes_of(image: Any, *_: Any) -> float:
    return float(image.size) if isinstance(image, BlobHandle) else 0.0


def _bytes_of_all(images: Any, *_: Any) -> float:
    return sum(_bytes_of(image) for image in images)


class Images(Controller):
    """Pictures: reading, sizes, filters, formats, contact sheets. All results are PNG unless converted."""

    prefix = "Image"
    types = (IMAGE,)
    modules = ("PIL",)
    extra = "media"

    @activity(local=True, volatile=True)
    def Open(self, context: Context, path: String) -> Image:
        """The picture in a file of the device that leads the job, as it is; the file must be in an allowed folder."""
        file = existing_file(context, path)
        with file.open("rb") as content:
            media_type = identify(content, str(file))
        return context.blobs.put_file(file, media_type)

    @activity(work=_bytes_of, aliases=("Image",))
    def FromBlob(self, blob: Blob) -> Image:
        """The picture that a blob holds, such as `Files.Read` gives; fails if it is none, or is broken."""
        return blob.retyped(identify(blob))

    @activity
    def Width(self, image: Image) -> Int:
        """Pixels from left to right, with the picture upright."""
        return _size(image)[0]

    @activity
    def Height(self, image: Image) -> Int:
        """Pixels from top to bottom, with the picture upright."""
        return _size(image)[1]

    @activity(work=_bytes_of)
    def Resize(self, image: Image, width: Int, height: Int | None = None) -> Image:
        """The picture in another size; without a height its proportions stay as they are."""
        pixels = load_image(image)
        if height is None:
            height = max(1, round(pixels.height * width / pixels.width))
        return pixels.resize(checked_size(width, height), Pillow.Resampling.LANCZOS)

    @activity(work=_bytes_of)
    def Thumbnail(self, image: Image, size: Int) -> Image:
        """The picture made to fit a square of `size` pixels, proportions kept; a smaller one stays as it is."""
        return _fitted(image, size, size)

    @activity(name="Image.Thumbnail")
    def thumbnail_in_box(self, image: Image, width: Int, height: Int) -> Image:
        """The picture made to fit a box, proportions kept; a smaller one stays as it is."""
        return _fitted(image, width, height)

    @activity(work=_bytes_of)
    def Crop(self, image: Image, x: Int, y: Int, width: Int, height: Int) -> Image:
        """A part of the picture; x and y are its upper left corner, and it must lie within the picture."""
        pixels = load_image(image)
        checked_size(width, height, "a part")
        if x < 0 or y < 0 or x + width > pixels.width or y + height > pixels.height:
            raise ValueError(
                f"the part at ({x}, {y}) of {width} x {height} pixels does not lie within the picture "
                f"of {pixels.width} x {pixels.height}"
            )
        return pixels.crop((x, y, x + width, y + height))

    @activity(work=_bytes_of)
    def Rotate(self, image: Image, degrees: Double, expand: Bool = True, background: ColorValue = _BLACK) -> Image:
        """The picture turned counterclockwise; with `expand` it grows to hold its corners, else it keeps its size."""
        if not math.isfinite(degrees):
            raise ValueError(f"degrees must be a finite number, got {degrees}")
        pixels = load_image(image)
        parts = (background.r, background.g, background.b, background.a)
        if pixels.mode == "L":
            pixels = pixels.convert("RGB")
        ground = parts[: len(pixels.getbands())]
        return pixels.rotate(degrees, Pillow.Resampling.BICUBIC, expand=expand, fillcolor=ground)

    @activity(work=_bytes_of)
    def Filter(self, image: Image, name: String) -> Image:
        """The picture changed by a filter: Blur, Sharpen, Contour, Edges, Emboss, Detail, Smooth, Grayscale, Sepia,
        Invert, Autocontrast or Equalize.
        """
        return apply_filter(load_image(image), name)

    @activity(work=_bytes_of)
    def Brightness(self, image: Image, factor: Double) -> Image:
        """The picture made brighter; 0 is black, 1 leaves it as it is, 2 is twice as bright."""
        return _enhanced(image, lambda: ImageEnhance.Brightness, factor)

    @activity(work=_bytes_of)
    def Contrast(self, image: Image, factor: Double) -> Image:
        """The picture with more contrast; 0 is plain grey, 1 leaves it as it is."""
        return _enhanced(image, lambda: ImageEnhance.Contrast, factor)

    @activity(work=_bytes_of)
    def Saturation(self, image: Image, factor: Double) -> Image:
        """The picture with stronger colours; 0 is black and white, 1 leaves it as it is."""
        return _enhanced(image, lambda: ImageEnhance.Color, factor)

    @activity(work=_bytes_of)
    def Convert(self, context: Context, image: Image, format: String, quality: Int | None = None) -> Image:
        """The picture as PNG, JPEG, WEBP, TIFF, GIF or BMP; `quality` is from 1 to 100, for JPEG and WEBP."""
        kind = {"JPG": "JPEG", "TIF": "TIFF"}.get(format.upper(), format.upper())
        return context.blobs.put(encode_image(load_image(image), kind, quality), MEDIA_TYPES[kind])

    @activity(work=_bytes_of_all)
    def ContactSheet(
        self,
        images: ImageCollection,
        columns: Int = 0,
        cell: Int = 192,
        captions: StringCollection | None = None,
        background: ColorValue = _DARK,
    ) -> Image:
        """All pictures on one, in rows; each fits a square of `cell` pixels. Without `columns` it is about square.

        The place of a picture that is NULL (its task was skipped) stays empty.
        """

        def picture(position: int) -> Picture | None:
            image = images[position]
            return None if image is None else load_image(image, scale_to=2 * cell)

        return contact_sheet(len(images), picture, columns, cell, captions or (), background)

    @activity(work=_bytes_of)
    def Text(
        self, image: Image, text: String, x: Int = 8, y: Int = 8, size: Int = 24, color: ColorValue = _WHITE
    ) -> Image:
        """The picture with a text on it; x and y are the text's upper left corner, `size` its height in pixels."""
        return write_text(load_image(image), text, x, y, size, color)

    @activity
    def Difference(self, a: Image, b: Image) -> Double:
        """How far two pictures of one size differ: the mean over all channels, from 0 (the same) to 255."""
        left, right = load_image(a), load_image(b)
        if left.size != right.size:
            raise ValueError(
                f"pictures of {left.width} x {left.height} and {right.width} x {right.height} pixels cannot be "
                "compared: they must have one size"
            )
        mode = "RGBA" if "RGBA" in (left.mode, right.mode) else "RGB"
        first, second = (np.asarray(one.convert(mode), dtype=np.int16) for one in (left, right))
        return float(np.abs(first - second).mean())

    @activity
    def Color(self, width: Int, height: Int, color: ColorValue) -> Image:
        """A picture of one colour."""
        size = checked_size(width, height)
        if color.a == 255:
            return Pillow.new("RGB", size, (color.r, color.g, color.b))
        return Pillow.new("RGBA", size, (color.r, color.g, color.b, color.a))

    @activity(local=True, effect=True)
    def Save(self, context: Context, image: Image, path: String) -> None:
        """Writes the picture to a file of the device that leads the job, in the format that the file's name ends in."""
        kind = _FORMATS.get(PurePath(path).suffix.lower())
        if kind is None:
            raise ValueError(f'"{path}" does not end like an image file: {", ".join(_FORMATS)}')
        same = image.media_type == MEDIA_TYPES[kind]
        save(context, path, image if same else encode_image(load_image(image), kind))


def _size(image: BlobHandle) -> tuple[int, int]:
    with opened_image(image) as found:
        turned = found.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        return (found.height, found.width) if turned else (found.width, found.height)


def _fitted(image: BlobHandle, width: int, height: int) -> Picture:
    checked_size(width, height, "a box")
    pixels = load_image(image, scale_to=2 * max(width, height))
    pixels.thumbnail((width, height), Pillow.Resampling.LANCZOS)
    return pixels


def _enhanced(image: BlobHandle, kind: Callable[[], Any], factor: float) -> Picture:
    if not (math.isfinite(factor) and 0 <= factor <= 1000):
        raise ValueError(f"factor must be from 0 to 1000, got {factor}")
    changed: Picture = kind()(load_image(image)).enhance(factor)
    return changed
