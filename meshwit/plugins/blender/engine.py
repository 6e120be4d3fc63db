"""Renders frames and tiles of a `.blend` file with Blender, without display and on one thread.

Decides how a file is cut into tasks, how a task becomes a PNG and how PNGs become frames again; which file is open is
`session`'s business, who renders which task the caller's.

Same inputs, same bytes, with Cycles on the processor: fixed seed varied by frame, one thread, no adaptive sampling, no
denoising, no path guiding, no dithering, no metadata in the PNG. Cycles draws each pixel's samples from its place in
the whole frame, so tiles put together equal the whole frame pixel for pixel. Two limits: a simulation must be baked
into the file, since a peer jumps to a frame without playing the ones before; compositing looks across tile edges, so
tiles of a file that uses it are refused.

Workbench and Eevee draw with OpenGL, which needs no display but EGL (Debian: libegl1, libegl-mesa0). In software
Workbench takes 0.1 s a frame, Eevee half a minute and more, so it is refused without a graphics device.

Measured on one core of an EPYC with the demo scene at 16 samples: import 0.5 s (2 s from a cold disk), opening the file
0.02 s, a frame of 160 x 90 pixels 0.6 s, of 320 x 180 1.7 s, the least cost of a frame 0.02 s.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from meshwit.lazy import lazy_module
from meshwit.plugins.blender.session import (
    SceneInfo,
    blender,
    blender_version,
    open_blend,
    opengl,
    plain,
    quiet_stdout,
)
from meshwit.plugins.renderer.tiles import Tile, assemble, checked_tile, tile_grid

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
else:
    np = lazy_module("numpy")
    Image = lazy_module("PIL.Image")

__all__ = [
    "Engine",
    "FrameTask",
    "SceneInfo",
    "blender_version",
    "collect",
    "render",
    "scene_info",
    "split_frames",
    "split_tiles",
]

SIZE_MAX = 16384
SAMPLES_MAX = 65536
_PNG_CHUNKS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"cICP", b"cHRM", b"gAMA", b"iCCP", b"sRGB"})


class Engine(Enum):
    """What turns the scene into pixels; the values are Blender's names."""

    CYCLES = "CYCLES"
    WORKBENCH = "BLENDER_WORKBENCH"
    EEVEE = "BLENDER_EEVEE"


class FrameTask(NamedTuple):
    """One task: a frame, or a tile of it."""

    frame: int
    tile: Tile | None = None


def scene_info(blend: str | Path) -> SceneInfo:
    """Frame range, size, speed, engine and samples that the file itself asks for."""
    return open_blend(blend)


def split_frames(start: int, end: int, step: int = 1) -> list[FrameTask]:
    """A task for each frame from `start` to `end`, both included as in Blender, in steps of `step`."""
    if step < 1:
        raise ValueError(f"step must be at least 1, got {step}")
    if start < 0 or end < start:
        raise ValueError(f"frames run from a start of at least 0 to an end not before it, got {start} to {end}")
    return [FrameTask(frame) for frame in range(start, end + 1, step)]


def split_tiles(frame: int, rows: int, columns: int, width: int, height: int) -> list[FrameTask]:
    """A task for each tile of one frame of `width` by `height` pixels, row by row."""
    return [FrameTask(frame, tile) for tile in tile_grid(width, height, rows, columns)]


def render(
    blend: str | Path,
    task: FrameTask,
    engine: Engine = Engine.CYCLES,
    width: int | None = None,
    height: int | None = None,
    samples: int | None = None,
    seed: int = 0,
) -> bytes:
    """Renders one task.

    Args:
        blend: path of the file; it stays open for the next call.
        task: frame and, if it is not the whole, tile.
        engine: Cycles always works; see the module for the others.
        width: of the whole frame, pixels; the file's own if None.
        height: of the whole frame, pixels; the file's own if None.
        samples: Cycles' light paths per pixel; the file's own if None. Other engines keep theirs.
        seed: of Cycles' noise, which also differs from frame to frame.

    Returns:
        A PNG, 8 bits per channel RGB, of the tile's size.

    Raises:
        ValueError: an unreadable file, one without camera, an argument out of range.
        RuntimeError: Blender failed, or cannot use this engine here.
    """
    info = open_blend(blend)
    width = info.width if width is None else width
    height = info.height if height is None else height
    samples = info.samples if samples is None else samples
    for name, value, smallest, largest in (
        ("width", width, 4, SIZE_MAX),
        ("height", height, 4, SIZE_MAX),
        ("samples", samples, 1, SAMPLES_MAX),
        ("frame", task.frame, 0, 1048574),
        ("seed", seed, 0, (1 << 31) - 1),
    ):
        if not smallest <= value <= largest:
            raise ValueError(f"{name} must be from {smallest} to {largest}, got {value}")
    tile = None if task.tile is None else checked_tile(task.tile, width, height)
    _require(engine)
    scene = blender().context.scene
    if scene.camera is None:
        raise ValueError(f"{blend}: the scene {scene.name!r} has no camera")
    if tile is not None and _composites(scene):
        raise ValueError(f"{blend}: the scene {scene.name!r} uses compositing, so it cannot be rendered in tiles")
    _set_output(scene.render, width, height, tile)
    scene.render.engine = engine.value
    if engine is Engine.CYCLES:
        _set_cycles(scene, samples, seed)
    png = _render_file(scene, task.frame)
    size = (width, height) if tile is None else (tile.width, tile.height)
    with Image.open(io.BytesIO(png)) as image:
        if image.size != size:
            raise RuntimeError(f"Blender gave {image.size} pixels for {task}, not {size}")
    return png


def collect(results: Iterable[tuple[FrameTask, bytes]], width: int, height: int) -> list[tuple[int, bytes]]:
    """Puts rendered tasks in order: whole frames as they are, tiles assembled.

    Args:
        results: tasks with their PNGs, in any order.
        width: of a frame, pixels.
        height: of a frame, pixels.

    Returns:
        (frame, PNG) by frame number.

    Raises:
        ValueError: a frame that is given twice, lacks a tile or has one too many.
    """
    tiles: dict[int, list[tuple[Tile, bytes]]] = {}
    for task, png in results:
        tiles.setdefault(task.frame, []).append((task.tile or Tile(0, 0, width, height), png))
    return [(frame, _join(frame, parts, width, height)) for frame, parts in sorted(tiles.items())]


def _join(frame: int, parts: list[tuple[Tile, bytes]], width: int, height: int) -> bytes:
    if len(parts) == 1 and parts[0][0] == (0, 0, width, height):
        return parts[0][1]
    try:
        pixels = assemble(
            ((tile, np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))) for tile, png in parts), width, height
        )
    except ValueError as error:
        raise ValueError(f"frame {frame}: {error}") from error
    joined = io.BytesIO()
    Image.fromarray(pixels).save(joined, "PNG")
    return joined.getvalue()


def _require(engine: Engine) -> None:
    if engine is Engine.CYCLES:
        return
    found = opengl()
    if found is None:
        raise RuntimeError(f"{engine.name.title()} draws with OpenGL, which does not work here: use Cycles")
    if engine is Engine.EEVEE and not found.hardware:
        raise RuntimeError(f"Eevee needs a graphics device, here is only {found.renderer}: use Cycles or Workbench")


def _composites(scene: Any) -> bool:
    if hasattr(scene, "compositing_node_group"):
        return bool(scene.render.use_compositing and scene.compositing_node_group)
    return bool(scene.render.use_compositing and scene.use_nodes)


def _set_output(render: Any, width: int, height: int, tile: Tile | None) -> None:
    render.resolution_x, render.resolution_y, render.resolution_percentage = width, height, 100
    render.threads_mode, render.threads = "FIXED", 1
    render.use_persistent_data = True
    render.use_sequencer = False
    render.use_multiview = False
    render.dither_intensity = 0.0
    if hasattr(render.image_settings, "media_type"):  # from 5.0 on, and to be set before the format
        render.image_settings.media_type = "IMAGE"
    render.image_settings.file_format = "PNG"
    render.image_settings.color_mode = "RGB"
    render.image_settings.color_depth = "8"
    for name in dir(render):
        # Each is a line of metadata (date, host, seconds taken, ...), so that no two PNGs would be the same.
        if name.startswith("use_stamp"):
            setattr(render, name, False)
    render.use_border = render.use_crop_to_border = tile is not None
    if tile is not None:
        # Blender's y runs upwards. A quarter pixel inwards survives rounding as well as truncation to whole pixels.
        render.border_min_x = (tile.x + 0.25) / width
        render.border_max_x = (tile.x + tile.width + 0.25) / width
        render.border_min_y = (height - tile.y - tile.height + 0.25) / height
        render.border_max_y = (height - tile.y + 0.25) / height


def _set_cycles(scene: Any, samples: int, seed: int) -> None:
    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.samples = samples
    cycles.seed, cycles.use_animated_seed = seed, True
    cycles.sampling_pattern = "TABULATED_SOBOL"
    cycles.time_limit = 0
    for switch in ("use_adaptive_sampling", "use_denoising", "use_guiding", "use_sample_subset"):
        if hasattr(cycles, switch):
            setattr(cycles, switch, False)
    if hasattr(cycles, "use_layer_samples"):
        cycles.use_layer_samples = "IGNORE"


def _render_file(scene: Any, frame: int) -> bytes:
    with tempfile.TemporaryDirectory(prefix="meshwit-blender-") as folder:
        target = Path(folder) / "frame.png"
        scene.render.filepath = str(target)
        try:
            with quiet_stdout():
                scene.frame_set(frame)
                done = blender().ops.render.render(write_still=True, scene=scene.name)
        except RuntimeError as error:
            raise RuntimeError(f"Blender failed at frame {frame}: {plain(error)}") from error
        if "FINISHED" not in done or not target.is_file():
            raise RuntimeError(f"Blender gave no image of frame {frame}: {', '.join(sorted(done))}")
        return _without_metadata(target.read_bytes())


def _without_metadata(png: bytes) -> bytes:
    """The PNG's pixels and colour space alone: Cycles writes seconds taken into it whatever the settings say."""
    kept, at = [png[:8]], 8
    while at < len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4], "big")
        if png[at + 4 : at + 8] in _PNG_CHUNKS:
            kept.append(png[at:end])
        at = end
    return b"".join(kept)
