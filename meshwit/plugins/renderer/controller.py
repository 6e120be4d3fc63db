"""Activities that render animated scenes with Mitsuba, frame by frame or tile by tile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from meshwit.blob import Blob as BlobHandle
from meshwit.lazy import lazy_module
from meshwit.plugins.annotations import Blob, Int, String
from meshwit.plugins.context import Context
from meshwit.plugins.controller import Controller, activity
from meshwit.plugins.image import Image, load_image, store_image
from meshwit.plugins.owned_files import existing_file
from meshwit.plugins.renderer import scene as engine
from meshwit.plugins.renderer.tiles import assemble, checked_tile
from meshwit.plugins.renderer.types import (
    FRAME,
    HEIGHT,
    LOOP_FRAMES,
    NUMBER_MAX,
    SAMPLES,
    TILE,
    TILE_IMAGE,
    WIDTH,
    Frame,
    FrameCollection,
    FrameValue,
    Tile,
    TileCollection,
    TileImage,
    TileImageCollection,
    TileImageValue,
    TileValue,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = lazy_module("numpy")

_FRAMES_MAX = 1_000_000


def _frame_work(frame: Any, width: int | None = None, height: int | None = None, samples: int | None = None) -> float:
    return float((width or frame.width) * (height or frame.height) * (samples or frame.samples))


def _tile_work(tile: Any) -> float:
    return float(tile.width * tile.height * tile.frame.samples)


def _standard_frame() -> list[Any]:
    return [FrameValue(1, 24, 96, 54, 8)]


class Renderer(Controller):
    """Films of a built-in or a Mitsuba scene: the same pixels on every device, in whole frames or in tiles."""

    types = (FRAME, TILE, TILE_IMAGE)
    modules = ("mitsuba", "PIL")
    extra = "render"

    @activity(inline=True, name="Renderer.Frames")
    def frames_between(
        self,
        first: Int,
        last: Int,
        width: Int = WIDTH,
        height: Int = HEIGHT,
        samples: Int = SAMPLES,
        scene: Blob | None = None,
        count: Int | None = None,
    ) -> FrameCollection:
        """The frames from `first` to `last`, both included, of a film of `count` frames; by default `last` ends it.

        Without a `scene` (see `Renderer.Scene`) it shows the built-in one, which loops over the film.
        """
        count = last if count is None else count
        if not 1 <= first <= last <= count:
            raise ValueError(f"frames are numbered from 1 to {count}, got first {first} and last {last}")
        if last - first >= _FRAMES_MAX:
            raise ValueError(f"{last - first + 1:,} frames: at most {_FRAMES_MAX:,} are allowed in one collection")
        checked_render(width, height, samples)
        return [FrameValue(number, count, width, height, samples, scene) for number in range(first, last + 1)]

    @activity(inline=True)
    def Frames(
        self, count: Int, width: Int = WIDTH, height: Int = HEIGHT, samples: Int = SAMPLES, scene: Blob | None = None
    ) -> FrameCollection:
        """The frames of a film, 1 to `count`; name the others: `Renderer.Frames(48, width: 640, height: 360)`."""
        if not 1 <= count <= _FRAMES_MAX:
            raise ValueError(f"a film has from 1 to {_FRAMES_MAX:,} frames, got {count}")
        return self.frames_between(1, count, width, height, samples, scene)

    @activity(inline=True, name="Frame")
    def frame(
        self,
        number: Int,
        count: Int = 0,
        width: Int = WIDTH,
        height: Int = HEIGHT,
        samples: Int = SAMPLES,
        scene: Blob | None = None,
    ) -> Frame:
        """One frame of a film of `count` frames; 0 for a film that loops over 240."""
        if not (1 <= number <= NUMBER_MAX and 0 <= count <= NUMBER_MAX) or (count and number > count):
            raise ValueError(f"frames are numbered from 1 to {count or NUMBER_MAX}, got {number}")
        checked_render(width, height, samples)
        return FrameValue(number, count, width, height, samples, scene)

    @activity(inline=True, name="Tile")
    def tile(self, frame: Frame, x: Int, y: Int, width: Int, height: Int) -> Tile:
        """A rectangle of a frame, which must lie within it; x and y are its upper left corner."""
        return TileValue(frame, *checked_tile((x, y, width, height), frame.width, frame.height))

    @activity(inline=True, name="TileImage")
    def tile_image(self, tile: Tile, image: Image) -> TileImage:
        """A tile with its pixels, such as `Renderer.RenderTile` gives."""
        return TileImageValue(tile, image)

    @activity(work=_frame_work, benchmark=_standard_frame)
    def RenderFrame(
        self, frame: Frame, width: Int | None = None, height: Int | None = None, samples: Int | None = None
    ) -> Image:
        """The picture of a frame; `width`, `height` and `samples` take the place of the frame's own."""
        given = {"width": width, "height": height, "samples": samples}
        changed = {name: value for name, value in given.items() if value is not None}
        return _render(msgspec.structs.replace(frame, **changed))

    @activity(inline=True)
    def SplitTiles(self, frame: Frame, columns: Int, rows: Int) -> TileCollection:
        """The frame cut into tiles of about equal size, row by row; a small frame gives fewer."""
        if not (1 <= columns <= 1000 and 1 <= rows <= 1000):
            raise ValueError(f"columns and rows must be from 1 to 1000, got {columns} and {rows}")
        cut = engine.frame_tiles(frame.width, frame.height, rows, columns)
        return [TileValue(frame, *tile) for tile in cut]

    @activity(work=_tile_work, benchmark=lambda: [TileValue(_standard_frame()[0], 0, 0, 96, 54)])
    def RenderTile(self, context: Context, tile: Tile) -> TileImage:
        """The pixels of a tile: those of the same place in the whole frame."""
        pixels = _render(tile.frame, _place(tile))
        return TileImageValue(tile, store_image(pixels, context.blobs))

    @activity
    def AssembleTiles(self, tiles: TileImageCollection) -> Image:
        """The frame that the tiles make up, in any order; fails if one is missing, doubled or of another frame."""
        if not tiles or None in tiles:
            what = f"tiles[{tiles.index(None)}] is NULL" if tiles else "there are no tiles"  # type: ignore[arg-type]
            raise ValueError(f"no frame can be made of these tiles: {what}")
        frame = tiles[0].tile.frame
        for position, one in enumerate(tiles):
            if one.tile.frame != frame:
                numbers = f"{one.tile.frame.number}, that of tiles[0] is {frame.number}"
                raise ValueError(f"tiles[{position}] belongs to another frame: its number is {numbers}")
        parts = ((_place(one.tile), np.asarray(load_image(one.image).convert("RGB"))) for one in tiles)
        return assemble(parts, frame.width, frame.height)

    @activity(local=True, volatile=True)
    def Scene(self, context: Context, path: String) -> Blob:
        """A Mitsuba scene, `.xml`, with the meshes and textures it names, from an allowed folder of the leading device.

        It may use `$frame`, `$frames`, `$time` (0 to 1 over the film) and `$angle` (360 times that) for its animation.
        """
        packed = engine.load_scene(existing_file(context, path))
        return context.blobs.put(packed, "application/zip" if packed[:2] == b"PK" else "application/xml")

    @activity(volatile=True)
    def Version(self) -> String:
        """The version of Mitsuba on the device that answers, such as "3.9.0 scalar_rgb"."""
        found = engine.probe()
        return f"{found.version} {found.variant}"


def _place(tile: TileValue) -> tuple[int, int, int, int]:
    return tile.x, tile.y, tile.width, tile.height


def checked_render(width: int, height: int, samples: int) -> None:
    """Raises ValueError for what no frame can have, before a thousand tasks do."""
    for name, value, largest in (
        ("width", width, engine.SIZE_MAX),
        ("height", height, engine.SIZE_MAX),
        ("samples", samples, engine.SAMPLES_MAX),
    ):
        if not 1 <= value <= largest:
            raise ValueError(f"{name} must be from 1 to {largest}, got {value}")


def _render(frame: FrameValue, tile: tuple[int, int, int, int] | None = None) -> NDArray[np.uint8]:
    count = frame.count or LOOP_FRAMES
    number = frame.number if frame.count else (frame.number - 1) % LOOP_FRAMES + 1
    scene = frame.scene.read() if isinstance(frame.scene, BlobHandle) else None
    return engine.render_frame(scene, number, count, frame.width, frame.height, frame.samples, tile)
