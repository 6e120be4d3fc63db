"""Renders frames and tiles of an animated scene with Mitsuba 3, on the processor.

Decides how a frame becomes pixels; not what it shows (`demo`, `scene_file`) nor who renders which frame.

Same inputs, same bits. Each frame is computed in cells of 32 x 32 pixels on a fixed grid, each cell with a seed of its
own made from frame and cell, and the film's box filter lets no pixel reach into another. A tile is rendered as the
cells it touches, so tiles put together equal the whole frame bit for bit; tiles on the grid (`frame_tiles`) waste
nothing, others pay for the cells they cut through.

Facts about Mitsuba that shaped this module:
- Variant `scalar_rgb`, always. The `llvm_*` variants look for a shared LLVM library on the device and end the whole
  process, with no exception to catch, when it is one they cannot use (LLVM 14 and 15 with Mitsuba 3.9); they also
  generate code for the processor at hand, so that two devices would not agree on the bits.
- One thread, set for the whole process: worker processes share a device, one per core.
- Parameters that a scene does not use are errors, so only the used ones are passed (`scene_file`).
- The import takes 0.5 s and happens on first use.
"""

from __future__ import annotations

import importlib
import struct
import zlib
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from meshwit.lazy import lazy_module
from meshwit.plugins.renderer import demo, scene_file
from meshwit.plugins.renderer.tiles import Tile, assemble, checked_tile, tile_grid

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = lazy_module("numpy")

__all__ = ["Probe", "Tile", "assemble", "frame_tiles", "frames", "load_scene", "probe", "render_frame"]

WIDTH = 320
HEIGHT = 180
SAMPLES = 16
CELL = 32
SIZE_MAX = 16384
SAMPLES_MAX = 65536
VARIANT = "scalar_rgb"


class Probe(NamedTuple):
    """What renders here."""

    version: str
    variant: str
    threads: int


def probe() -> Probe:
    """Loads Mitsuba and says what it is. `RuntimeError` where it is not installed or does not load."""
    mi = _mitsuba()
    return Probe(version=str(mi.__version__), variant=str(mi.variant()), threads=1)


def frames(count: int) -> list[int]:
    """The frame numbers of a film: 1 to `count`."""
    if count < 1:
        raise ValueError(f"a film has at least 1 frame, got {count}")
    return list(range(1, count + 1))


def frame_tiles(width: int, height: int, rows: int, columns: int) -> list[Tile]:
    """Cuts a frame into tiles that lie on the cell grid, so that none costs more than its pixels.

    Returns:
        `rows * columns` tiles row by row; fewer where the frame has fewer cells.
    """
    return tile_grid(width, height, rows, columns, align=CELL)


def load_scene(path: str | Path) -> bytes:
    """Reads a scene (`.xml`, or `.zip` of one) with the meshes and textures it names, for `render_frame`."""
    return scene_file.pack(Path(path))


def render_frame(
    scene: bytes | None,
    frame: int,
    frames: int,
    width: int = WIDTH,
    height: int = HEIGHT,
    samples: int = SAMPLES,
    tile: tuple[int, int, int, int] | None = None,
) -> NDArray[np.uint8]:
    """Renders a frame or a tile of it.

    Args:
        scene: what `load_scene` gave, or None for the built-in scene.
        frame: number, 1 to `frames`.
        frames: length of the film; the built-in scene loops over it.
        width: of the whole frame, pixels.
        height: of the whole frame, pixels.
        samples: light paths per pixel; time grows with it, noise falls with its square root. Samplers that need a
            certain number (a square, say) round it up.
        tile: (x, y, width, height) within the frame, pixels; None for the whole.

    Returns:
        uint8 of shape (tile height, tile width, 3), sRGB.

    Raises:
        ValueError: an argument out of range, or a scene that is broken or not whole in itself.
        RuntimeError: Mitsuba failed.
    """
    for name, value, largest in (
        ("frames", frames, 1 << 31),
        ("frame", frame, frames),
        ("width", width, SIZE_MAX),
        ("height", height, SIZE_MAX),
        ("samples", samples, SAMPLES_MAX),
    ):
        if not 1 <= value <= largest:
            raise ValueError(f"{name} must be from 1 to {largest}, got {value}")
    area = checked_tile(tile or (0, 0, width, height), width, height)
    loaded = _load(scene, frame, frames, width, height)
    pixels = np.zeros((area.height, area.width, 3), np.uint8)
    columns = -(-width // CELL)
    for row in range(area.y // CELL, -(-(area.y + area.height) // CELL)):
        for column in range(area.x // CELL, -(-(area.x + area.width) // CELL)):
            x, y = column * CELL, row * CELL
            cell = Tile(x, y, min(CELL, width - x), min(CELL, height - y))
            _paste(pixels, area, cell, _render_cell(loaded, cell, samples, _seed(frame, row * columns + column)))
    return pixels


@cache
def _mitsuba() -> Any:
    try:
        mi = importlib.import_module("mitsuba")
        drjit = importlib.import_module("drjit")
    except ImportError as error:
        raise RuntimeError(f"mitsuba does not load ({error}): pip install 'meshwit[render]'") from error
    mi.set_variant(VARIANT)
    mi.set_log_level(mi.LogLevel.Error)
    drjit.set_thread_count(1)
    return mi


@lru_cache(maxsize=2)
def _load(scene: bytes | None, frame: int, frames: int, width: int, height: int) -> tuple[Any, Any]:
    """The scene of one frame, with the handle by which its film's crop is set. Kept for the frame's other tiles."""
    mi = _mitsuba()
    if scene is None:
        description = demo.demo_scene(mi, (frame - 1) / frames)
        description["sensor"]["sampler"] = {"type": "multijitter"}
        description["sensor"]["film"] = {
            "type": "hdrfilm",
            "width": width,
            "height": height,
            "pixel_format": "rgb",
            "component_format": "float32",
            "rfilter": {"type": "box"},
        }
        loaded = mi.load_dict(description)
    else:
        xml, values = scene_file.renderable_xml(scene, frame, frames, width, height)
        try:
            loaded = mi.load_string(xml, **values)
        except Exception as error:
            raise ValueError(f"Mitsuba does not accept the scene: {_plain(error)}") from error
    integrator = loaded.integrator()
    if not isinstance(integrator, mi.SamplingIntegrator):
        kind = type(integrator).__name__
        raise ValueError(f"the scene's integrator ({kind}) does not work pixel by pixel: use path, volpath or direct")
    return loaded, mi.traverse(loaded.sensors()[0])


def _render_cell(loaded: tuple[Any, Any], cell: Tile, samples: int, seed: int) -> NDArray[np.uint8]:
    mi = _mitsuba()
    scene, sensor = loaded
    sensor["film.crop_offset"] = mi.ScalarPoint2u(cell.x, cell.y)
    sensor["film.crop_size"] = mi.ScalarVector2u(cell.width, cell.height)
    sensor.update()
    try:
        image = mi.render(scene, sensor=0, spp=samples, seed=seed)
    except Exception as error:
        raise RuntimeError(f"Mitsuba failed in the cell at {cell.x}, {cell.y}: {_plain(error)}") from error
    return _to_srgb(np.asarray(image, dtype=np.float32)[..., :3])


def _seed(frame: int, cell: int) -> int:
    # Mitsuba numbers a cell's pixels on from the seed: a hash keeps the runs of neighbouring cells and frames apart.
    return zlib.crc32(struct.pack("<II", frame & 0xFFFFFFFF, cell))


def _paste(pixels: NDArray[np.uint8], area: Tile, cell: Tile, content: NDArray[np.uint8]) -> None:
    left, top = max(area.x, cell.x), max(area.y, cell.y)
    right = min(area.x + area.width, cell.x + cell.width)
    bottom = min(area.y + area.height, cell.y + cell.height)
    part = content[top - cell.y : bottom - cell.y, left - cell.x : right - cell.x]
    pixels[top - area.y : bottom - area.y, left - area.x : right - area.x] = part


@cache
def _srgb_steps() -> NDArray[np.float32]:
    """The 255 linear values at which the rounded sRGB byte steps up."""
    encoded = [(byte + 0.5) / 255 for byte in range(255)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in encoded]
    return np.array(linear, dtype=np.float32)


def _to_srgb(linear: NDArray[np.float32]) -> NDArray[np.uint8]:
    # A table of steps, since numpy's vectorised power differs in the last bit between processors.
    finite = np.nan_to_num(linear, nan=0.0, posinf=1.0, neginf=0.0)
    return np.searchsorted(_srgb_steps(), finite, side="right").astype(np.uint8)


def _plain(error: Exception) -> str:
    """Mitsuba's message without its source positions and line breaks."""
    words = " ".join(str(error).split())
    return words.split("] ", 1)[1] if words.startswith("[") and "] " in words else words
