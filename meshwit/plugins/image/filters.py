"""What `Image.Filter` can do to a picture, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from meshwit.lazy import lazy_module
from meshwit.plugins.image.coding import Picture

if TYPE_CHECKING:
    from PIL import Image, ImageFilter, ImageOps
else:
    Image = lazy_module("PIL.Image")
    ImageFilter = lazy_module("PIL.ImageFilter")
    ImageOps = lazy_module("PIL.ImageOps")

_SEPIA = (0.393, 0.769, 0.189, 0.0, 0.349, 0.686, 0.168, 0.0, 0.272, 0.534, 0.131, 0.0)

FILTERS: dict[str, Callable[[Picture], Picture]] = {
    "Blur": lambda image: image.filter(ImageFilter.GaussianBlur(max(1.0, min(image.size) / 200))),
    "Sharpen": lambda image: image.filter(ImageFilter.SHARPEN),
    "Contour": lambda image: image.filter(ImageFilter.CONTOUR),
    "Edges": lambda image: image.filter(ImageFilter.FIND_EDGES),
    "Emboss": lambda image: image.filter(ImageFilter.EMBOSS),
    "Detail": lambda image: image.filter(ImageFilter.DETAIL),
    "Smooth": lambda image: image.filter(ImageFilter.SMOOTH_MORE),
    "Grayscale": lambda image: image.convert("L"),
    "Sepia": lambda image: image.convert("RGB").convert("RGB", _SEPIA),
    "Invert": lambda image: ImageOps.invert(image),
    "Autocontrast": lambda image: ImageOps.autocontrast(image, cutoff=1),
    "Equalize": lambda image: ImageOps.equalize(image),
}
_BY_LOWER_NAME = {name.lower(): change for name, change in FILTERS.items()}


def apply_filter(image: Picture, name: str) -> Picture:
    """The picture, changed; what is transparent stays so. Raises ValueError, which lists the names there are."""
    change = _BY_LOWER_NAME.get(name.lower())
    if change is None:
        raise ValueError(f'unknown filter "{name}": there are {", ".join(FILTERS)}')
    if image.mode != "RGBA":
        return change(image)
    changed = change(image.convert("RGB")).convert("RGB")
    changed.putalpha(image.getchannel("A"))
    return changed
