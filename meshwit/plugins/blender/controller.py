"""Activities that render `.blend` files with Blender, with WitEngine's names."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec

from meshwit.plugins.annotations import Blob, BlobCollection, Bool, Double, Int, String
from meshwit.plugins.blender import engine
from meshwit.plugins.blender import results as rendered
from meshwit.plugins.blender.demo import build_demo_scene
from meshwit.plugins.blender.types import (
    BLEND_MEDIA_TYPE,
    BLEND_MODES,
    ENGINES,
    FORMATS,
    TYPES,
    RenderOptions,
    RenderOptionsValue,
    RenderResult,
    RenderResultCollection,
    RenderResultValue,
    RenderSceneInfo,
    RenderSceneInfoValue,
    RenderSceneRef,
    RenderTask,
    RenderTaskCollection,
    RenderTaskValue,
    TileOptions,
    TileOptionsValue,
    VideoOptions,
    VideoOptionsValue,
    checked_blend,
)
from meshwit.plugins.context import Context
from meshwit.plugins.controller import Controller, activity
from meshwit.plugins.image import Image, ImageCollection
from meshwit.plugins.image.coding import load_image, put_image_bytes
from meshwit.plugins.owned_files import existing_file
from meshwit.plugins.renderer.tiles import tile_grid
from meshwit.plugins.video import Video
from meshwit.plugins.video.composing import compose
from meshwit.plugins.video.encoding import checked_fps

FRAME_MAX = 1_048_574
_OPTIONS, _TILE_OPTIONS, _VIDEO_OPTIONS = RenderOptionsValue(), TileOptionsValue(), VideoOptionsValue()
_PIXELS_USUAL, _SAMPLES_USUAL = 1920 * 1080, 128


def _task_work(task: Any) -> float:
    options = task.options
    pixels = options.resolution_x * options.resolution_y or _PIXELS_USUAL
    return float(pixels * (options.samples or _SAMPLES_USUAL) / (task.tiles_x * task.tiles_y))


class Render(Controller):
    """Films and stills of `.blend` files. Textures and the like must be packed into the file, simulations baked.

    With Cycles the same task gives the same pixels on every device, whole or in tiles. So there is no denoising, which
    would not, and tiles need no overlap.
    """

    types = TYPES
    modules = ("bpy", "PIL", "av")
    extra = "blender"

    @activity(local=True, volatile=True)
    def Scene(self, context: Context, path: String) -> RenderSceneRef:
        """A `.blend` file of the device that leads the job; the file must be in an allowed folder."""
        return checked_blend(context.blobs.put_file(existing_file(context, path), BLEND_MEDIA_TYPE))

    @activity(name="RenderSceneRef")
    def scene_ref(self, blend: Blob) -> RenderSceneRef:
        """The `.blend` file that a blob holds, such as `Files.Read` gives."""
        return checked_blend(blend)

    @activity
    def BuildBlendFromRefs(self, scene: RenderSceneRef) -> Blob:
        """The scene as a blob; all activities take either."""
        return checked_blend(scene)

    @activity(volatile=True)
    def DemoScene(
        self, context: Context, frames: Int = 48, width: Int = 320, height: Int = 180, samples: Int = 16
    ) -> RenderSceneRef:
        """A small animated scene to try things with: balls running through a golden ring, frames 1 to `frames`."""
        if not 2 <= frames <= FRAME_MAX:
            raise ValueError(f"frames must be from 2 to {FRAME_MAX}, got {frames}")
        _checked(samples=samples, width=width, height=height)
        with tempfile.TemporaryDirectory(dir=context.scratch) as folder:
            path = build_demo_scene(Path(folder) / "demo.blend", frames, width, height, samples)
            return context.blobs.put_file(path, BLEND_MEDIA_TYPE)

    @activity
    def SceneInfo(self, scene: Blob) -> RenderSceneInfo:
        """What a `.blend` file says of itself: FrameStart, FrameEnd, FrameStep, Width, Height, Fps, Engine, Samples."""
        return RenderSceneInfoValue(*engine.scene_info(checked_blend(scene).path))

    @activity(inline=True)
    def Split(
        self,
        scene: Blob,
        startFrame: Int,
        endFrame: Int,
        options: RenderOptions = _OPTIONS,
        samples: Int | None = None,
        width: Int | None = None,
        height: Int | None = None,
        engine: String | None = None,
        step: Int = 1,
    ) -> RenderTaskCollection:
        """A task for every frame from `startFrame` to `endFrame`, both included.

        `samples`, `width`, `height` and `engine` take the place of those in `options`.
        """
        if not 0 <= startFrame <= endFrame <= FRAME_MAX or step < 1:
            raise ValueError(
                f"frames run from a start of at least 0 to an end not before it, in steps of at least 1: "
                f"got {startFrame} to {endFrame}, step {step}"
            )
        chosen = _changed(options, samples, width, height, engine)
        numbers = range(startFrame, endFrame + 1, step)
        return [RenderTaskValue(scene, number, index, chosen) for index, number in enumerate(numbers)]

    @activity(inline=True)
    def SplitTiles(
        self,
        scene: Blob,
        frame: Int,
        tilesX: Int,
        tilesY: Int,
        options: RenderOptions = _OPTIONS,
        tileOptions: TileOptions = _TILE_OPTIONS,
        samples: Int | None = None,
        width: Int | None = None,
        height: Int | None = None,
        engine: String | None = None,
    ) -> RenderTaskCollection:
        """A task for every tile of one frame, `tilesX` beside each other and `tilesY` below each other, row by row."""
        if not (1 <= tilesX <= 1000 and 1 <= tilesY <= 1000):
            raise ValueError(f"tilesX and tilesY must be from 1 to 1000, got {tilesX} and {tilesY}")
        if not 0 <= frame <= FRAME_MAX:
            raise ValueError(f"frame must be from 0 to {FRAME_MAX}, got {frame}")
        chosen = _changed(options, samples, width, height, engine)
        return [
            RenderTaskValue(scene, frame, y * tilesX + x, chosen, x, y, tilesX, tilesY)
            for y in range(tilesY)
            for x in range(tilesX)
        ]

    @activity(work=_task_work)
    def Frame(self, context: Context, task: RenderTask) -> RenderResult:
        """Renders a task with the engine that its options name."""
        return _render(context, task, task.options.engine)

    @activity(name="Render.Frame.Cycles", work=_task_work)
    def frame_cycles(self, context: Context, task: RenderTask) -> RenderResult:
        """Renders a task with Cycles."""
        return _render(context, task, "Cycles")

    @activity(name="Render.Frame.Eevee", work=_task_work)
    def frame_eevee(self, context: Context, task: RenderTask) -> RenderResult:
        """Renders a task with Eevee, which needs a graphics device."""
        return _render(context, task, "Eevee")

    @activity
    def Collect(
        self, context: Context, results: RenderResultCollection, options: RenderOptions | None = None
    ) -> ImageCollection:
        """The rendered frames by frame number; tiles are put together. `options` are those of the tasks anyway."""
        return rendered.frames(results, context.blobs)

    @activity
    def CollectStill(
        self, context: Context, results: RenderResultCollection, options: RenderOptions | None = None
    ) -> Image:
        """The picture of the one frame that was rendered; fails if there are more."""
        found = rendered.frames(results, context.blobs)
        if len(found) != 1:
            raise ValueError(f"a still is one frame, there are {len(found)}: use Render.Collect")
        return found[0]

    @activity
    def CollectTiles(
        self,
        context: Context,
        results: RenderResultCollection,
        options: RenderOptions | None = None,
        tileOptions: TileOptions | None = None,
    ) -> Image:
        """The frame that the tiles make up, in any order; fails if one is missing, doubled or of another frame."""
        return rendered.frame(rendered.present(results), context.blobs)

    @activity
    def EncodeVideo(self, context: Context, frames: BlobCollection, video: VideoOptions = _VIDEO_OPTIONS) -> Video:
        """A film of the pictures in their order, H.264 in MP4."""
        return compose(context, frames, video.frame_rate, video.constant_rate_factor)

    @activity(name="Render.EncodeVideo")
    def encode_results(
        self, context: Context, results: RenderResultCollection, video: VideoOptions = _VIDEO_OPTIONS
    ) -> Video:
        """A film of the rendered frames by frame number, H.264 in MP4."""
        images = rendered.frames(results, context.blobs)
        return compose(context, images, video.frame_rate, video.constant_rate_factor)

    @activity(volatile=True)
    def BlenderVersion(self) -> String:
        """The version of Blender on the device that answers, such as "5.0.1"."""
        return engine.blender_version()

    @activity(inline=True, name="RenderOptions")
    def render_options(
        self,
        format: String = "PNG",
        engine: String = "Cycles",
        samples: Int = 0,
        resolutionX: Int = 0,
        resolutionY: Int = 0,
        denoise: Bool = False,
    ) -> RenderOptions:
        """How to render: format PNG or JPEG; engine Cycles, Eevee or Workbench; 0 stands for what the file says."""
        _checked(samples=samples, width=resolutionX, height=resolutionY)
        if denoise:
            raise ValueError("denoise is not available: pixels would differ between devices. Take more samples")
        return RenderOptionsValue(
            _one_of("format", format, FORMATS), _one_of("engine", engine, ENGINES), samples, resolutionX, resolutionY
        )

    @activity(inline=True, name="TileOptions")
    def tile_options(self, overlapPx: Int = 0, blendMode: String = "CenterPriorityCrop") -> TileOptions:
        """For scripts that name an overlap; tiles are exact parts of the frame, so it has no effect."""
        if not 0 <= overlapPx <= engine.SIZE_MAX:
            raise ValueError(f"overlapPx must be from 0 to {engine.SIZE_MAX}, got {overlapPx}")
        return TileOptionsValue(overlapPx, _one_of("blendMode", blendMode, BLEND_MODES))

    @activity(inline=True, name="VideoOptions")
    def video_options(self, frameRate: Double = 24.0, constantRateFactor: Int = 23) -> VideoOptions:
        """How to encode: frames per second, and quality from 0 (best) to 51 (smallest file)."""
        checked_fps(frameRate)
        if not 0 <= constantRateFactor <= 51:
            raise ValueError(f"constantRateFactor must be from 0 to 51, got {constantRateFactor}")
        return VideoOptionsValue(frameRate, constantRateFactor)

    @activity(inline=True, name="RenderTask")
    def task(self, scene: Blob, frame: Int, taskIndex: Int = 0, options: RenderOptions = _OPTIONS) -> RenderTask:
        """A task of one frame; `Render.Split` and `Render.SplitTiles` make many."""
        if not 0 <= frame <= FRAME_MAX:
            raise ValueError(f"frame must be from 0 to {FRAME_MAX}, got {frame}")
        return RenderTaskValue(scene, frame, taskIndex, options)

    @activity(name="RenderResult")
    def result(self, index: Int, image: Image) -> RenderResult:
        """A frame that was rendered otherwise, as the frame of number `index`, to be collected with others."""
        width, height = load_image(image).size
        return RenderResultValue(index, index, image, 0, 0, width, height)


def _one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    for one in known:
        if one.lower() == value.lower():
            return one
    raise ValueError(f'unknown {name} "{value}": there are {", ".join(known)}')


def _checked(**given: int) -> None:
    largest = {"samples": engine.SAMPLES_MAX, "width": engine.SIZE_MAX, "height": engine.SIZE_MAX}
    for name, value in given.items():
        if not 0 <= value <= largest[name]:
            raise ValueError(f"{name} must be from 1 to {largest[name]}, or 0 for what the file says, got {value}")


def _changed(
    options: RenderOptionsValue, samples: int | None, width: int | None, height: int | None, kind: str | None
) -> RenderOptionsValue:
    given: dict[str, Any] = {"samples": samples, "resolution_x": width, "resolution_y": height}
    given = {name: value for name, value in given.items() if value is not None}
    if kind is not None:
        given["engine"] = _one_of("engine", kind, ENGINES)
    chosen = msgspec.structs.replace(options, **given)
    _checked(samples=chosen.samples, width=chosen.resolution_x, height=chosen.resolution_y)
    return chosen


def _render(context: Context, task: RenderTaskValue, kind: str) -> RenderResultValue:
    path = checked_blend(task.scene).path  # Its name is the hash of its content, by which Blender keeps it open.
    info = engine.scene_info(path)
    options = task.options
    width, height = _frame_size(options.resolution_x, options.resolution_y, info.width, info.height)
    tile = None
    if task.tiles_x * task.tiles_y > 1:
        tiles = tile_grid(width, height, task.tiles_y, task.tiles_x)
        if len(tiles) != task.tiles_x * task.tiles_y:
            raise ValueError(f"a frame of {width} x {height} pixels has no {task.tiles_x} x {task.tiles_y} tiles")
        tile = tiles[task.tile_y * task.tiles_x + task.tile_x]
    png = engine.render(
        path,
        engine.FrameTask(task.frame, tile),
        engine.Engine[kind.upper()],
        width,
        height,
        options.samples or None,
    )
    image = put_image_bytes(png, context.blobs)
    if options.format != "PNG" and tile is None:
        image = rendered.in_format(load_image(image), options.format, context.blobs)
    x, y = (0, 0) if tile is None else (tile.x, tile.y)
    return RenderResultValue(task.task_index, task.frame, image, x, y, width, height, options)


def _frame_size(width: int, height: int, own_width: int, own_height: int) -> tuple[int, int]:
    """The size asked for; where one side is 0 it keeps the file's proportions."""
    if width and not height:
        height = max(1, round(own_height * width / own_width))
    elif height and not width:
        width = max(1, round(own_width * height / own_height))
    return width or own_width, height or own_height
