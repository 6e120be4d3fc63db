"""Between blobs and pixels: which image files are read, what comes out of them, how pixels become files again.

Pixels are always 8 bits per channel in mode L, RGB or RGBA, upright (EXIF orientation applied) and in sRGB (an embedded
colour profile applied), so that activities see pictures and not file formats. The same pixels give the same bytes:
no dates, no metadata. Of an animation the first picture counts.

Only formats that Pillow decodes by itself are read: EPS would start Ghostscript on bytes that came from anywhere.
"""

from __future__ import annotations

import contextlib
import io
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from meshwit.blob import Blob, BlobSource, size_text
from meshwit.lazy import lazy_module

if TYPE_CHECKING:
    import numpy as np
    import PIL
    from numpy.typing import NDArray
    from PIL import Image, ImageCms
else:
    np = lazy_module("numpy")
    PIL = lazy_module("PIL")
    Image = lazy_module("PIL.Image")
    ImageCms = lazy_module("PIL.ImageCms")

Picture: TypeAlias = "Image.Image"

READABLE = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "AVIF")
MEDIA_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "GIF": "image/gif",
    "BMP": "image/bmp",
}
"""Format -> media type, of the formats that are written."""
PIXELS_MAX = 178_956_970
"""Pillow's own bound for a decompression bomb: half a gigabyte of RGB."""
QUALITY = {"JPEG": 90, "WEBP": 90}


def checked_size(width: int, height: int, what: str = "an image") -> tuple[int, int]:
    """The size, known to be one that an image may have. Raises ValueError."""
    if width < 1 or height < 1:
        raise ValueError(f"{what} of {width} x {height} pixels: width and height must be at least 1")
    if width * height > PIXELS_MAX:
        raise ValueError(f"{what} of {width} x {height} pixels: at most {PIXELS_MAX:,} pixels are allowed")
    return width, height


@contextlib.contextmanager
def opened_image(source: Blob | BinaryIO, name: str = "") -> Iterator[Picture]:
    """A picture opened but not yet decoded: size, format and mode are known.

    Args:
        source: a blob or a file open for reading.
        name: what errors call it; by default the blob.

    Raises:
        ValueError: not an image, one of a kind that is not read, or one of more than `PIXELS_MAX` pixels.
        OSError: the blob's bytes are not here.
    """
    shown = name or str(source)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(source.open()) if isinstance(source, Blob) else source
        try:
            with _reading(shown):
                image = stack.enter_context(Image.open(file, formats=_readable()))
        except PIL.UnidentifiedImageError:
            raise ValueError(f"{shown} is no image that can be read: {_content(file)}") from None
        checked_size(*image.size, what=shown)
        yield image


@cache
def _readable() -> list[str]:
    Image.init()
    return [kind for kind in READABLE if kind in Image.OPEN]  # Some builds lack AVIF.


def load_image(source: Blob, scale_to: int | None = None) -> Picture:
    """The pixels of an image: mode L, RGB or RGBA, upright, in sRGB.

    Args:
        source: the image.
        scale_to: decode no larger than needed for this many pixels along each side; JPEG alone can save work by it.

    Raises:
        ValueError: as `opened_image`; truncated or broken.
    """
    with opened_image(source) as image:
        with _reading(str(source)):
            if scale_to is not None:
                image.draft(None, (scale_to, scale_to))
            image.load()
        pixels = _in_srgb(_eight_bits(image, str(source)), image.info.get("icc_profile"))
        turn = _ORIENTATIONS.get(_orientation(image))
        pixels = pixels.copy() if turn is None else pixels.transpose(Image.Transpose[turn])
    pixels.info = {}
    return pixels


_CODING_ERRORS = (struct.error, zlib.error)


@contextlib.contextmanager
def _reading(shown: str) -> Iterator[None]:
    """Maps what Pillow raises for bytes that are at fault."""
    with warnings.catch_warnings():
        # Pillow warns of pictures that good cameras take, long before it refuses any.
        warnings.simplefilter("ignore")
        try:
            yield
        except PIL.UnidentifiedImageError:
            raise
        except Image.DecompressionBombError:
            raise ValueError(f"{shown} is a decompression bomb: more than {PIXELS_MAX:,} pixels") from None
        except (OSError, SyntaxError, ValueError, LookupError, ArithmeticError, TypeError, *_CODING_ERRORS) as why:
            raise ValueError(f"{shown} is broken or cut short: {why}") from None


_ORIENTATIONS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


def _orientation(image: Picture) -> int:
    """How EXIF says that the picture is to be turned, 1 where it says nothing."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:
        return 1  # Damaged metadata is no reason to refuse the picture.


def _eight_bits(image: Picture, shown: str) -> Picture:
    mode = image.mode
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    if mode in ("L", "RGB"):
        return image
    if mode == "1":
        return image.convert("L")
    if mode == "I" or mode.startswith("I;16"):
        # Sixteen bits of grey; Pillow's own conversion cuts off at 255.
        values = np.asarray(image).astype(np.int64)
        return Image.fromarray((np.clip(values, 0, 65535) >> 8).astype(np.uint8))
    if mode == "F":
        raise ValueError(f"{shown} has floating point pixels, whose range is not known: use 8 or 16 bits per channel")
    return image.convert("RGB")


def _in_srgb(image: Picture, profile: bytes | None) -> Picture:
    if profile is None or image.mode == "L":
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != "RGB":
            return image
        found = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=image.mode)
    except (ImageCms.PyCMSError, OSError):
        return image  # A damaged profile is no reason to refuse the picture.
    return found if found is not None else image


def _content(file: BinaryIO) -> str:
    """The first bytes in words, for an error."""
    try:
        file.seek(0)
        head = file.read(24)
        size = file.seek(0, io.SEEK_END)
    except (OSError, ValueError):
        return "its bytes cannot be read"
    return f"it is empty, {size} bytes" if not head else f"{size_text(size)} that begin with {head!r}"


def is_picture(value: object) -> bool:
    """Whether `store_image` takes it. Imports neither Pillow nor numpy: who has not met them has none of theirs."""
    pillow, numpy = sys.modules.get("PIL.Image"), sys.modules.get("numpy")
    return (pillow is not None and isinstance(value, pillow.Image)) or (
        numpy is not None and isinstance(value, numpy.ndarray)
    )


def picture_of(value: Any) -> Picture:
    """A Pillow image, or a uint8 array of shape (h, w), (h, w, 3) or (h, w, 4), as mode L, RGB or RGBA."""
    if isinstance(value, Image.Image):
        return _eight_bits(value, f"a Pillow image of mode {value.mode}")
    pixels: NDArray[Any] = value
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))):
        raise ValueError(
            f"an array of {pixels.dtype} and shape {pixels.shape} is no Image: "
            "uint8 of shape (h, w), (h, w, 3) or (h, w, 4) is needed"
        )
    checked_size(pixels.shape[1], pixels.shape[0])
    return Image.fromarray(np.ascontiguousarray(pixels))


def store_image(value: Any, blobs: BlobSource) -> Blob:
    """Pixels as a PNG, written fast rather than small: what is passed between activities is soon read again."""
    return blobs.put(encode_image(picture_of(value), "PNG", fast=True), MEDIA_TYPES["PNG"])


def put_image_bytes(data: bytes | bytearray | memoryview, blobs: BlobSource) -> Blob:
    """The bytes of an image file as they are, under their own media type. Raises ValueError."""
    return blobs.put(data, identify(io.BytesIO(data), f"a result of {len(data)} bytes"))


def identify(source: Blob | BinaryIO, name: str = "") -> str:
    """The media type of an image that was decoded whole to be sure of it. Raises ValueError as `opened_image`."""
    with opened_image(source, name) as image, _reading(name or str(source)):
        kind = image.format or ""
        image.load()
    # An MPO is a JPEG with further pictures behind the first.
    return "image/jpeg" if kind == "MPO" else Image.MIME.get(kind, f"image/{kind.lower()}")


def encode_image(image: Picture, kind: str, quality: int | None = None, *, fast: bool = False) -> bytes:
    """Pixels as the bytes of a file; transparency becomes white where the format has none.

    Args:
        image: mode L, RGB or RGBA.
        kind: one of `MEDIA_TYPES`.
        quality: 1 to 100, for JPEG and WEBP.
        fast: PNG with little compression.

    Raises:
        ValueError: an unknown format, a quality out of range or for a format that has none, an image too large for
            the format.
    """
    if kind not in MEDIA_TYPES:
        raise ValueError(f'unknown image format "{kind}": there are {", ".join(MEDIA_TYPES)}')
    options: dict[str, Any] = {}
    if kind in QUALITY:
        options["quality"] = QUALITY[kind] if quality is None else quality
        if not 1 <= options["quality"] <= 100:
            raise ValueError(f"quality must be from 1 to 100, got {quality}")
    elif quality is not None:
        raise ValueError(f"{kind} has no quality (it was given {quality}): JPEG and WEBP have")
    if kind == "PNG":
        options["compress_level"] = 1 if fast else 6
    if kind == "TIFF":
        options["compression"] = "tiff_adobe_deflate"
    if kind in ("JPEG", "BMP"):
        image = flattened(image)
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind, **options)
    except (OSError, ValueError) as reason:
        raise ValueError(f"an image of {image.width} x {image.height} pixels cannot be a {kind}: {reason}") from None
    return buffer.getvalue()


def flattened(image: Picture, red: int = 255, green: int = 255, blue: int = 255) -> Picture:
    """The image without transparency, on a ground of one colour, white by default."""
    if image.mode != "RGBA":
        return image
    ground = Image.new("RGBA", image.size, (red, green, blue, 255))
    return Image.alpha_composite(ground, image).convert("RGB")
