"""The script types of Blender rendering, with WitEngine's names.

`RenderSceneRef` is a blob that holds a `.blend` file. A `RenderTask` is a frame of it, or one tile of a grid laid over
the frame; how many pixels that is, the peer that opens the file finds out. A `RenderResult` says where its pixels lie.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from meshwit.blob import Blob as BlobHandle
from meshwit.plugins.annotations import Blob, Bool, Double, Int, Script, String
from meshwit.plugins.image.types import Image
from meshwit.plugins.structs import StructType
from meshwit.plugins.variables.simple import BlobType

BLEND_MEDIA_TYPE = "application/x-blender"
_MAGIC = (b"BLENDER", b"\x28\xb5\x2f\xfd", b"\x1f\x8b")
"""Of a plain, a Zstandard and (until 2.93) a gzip compressed `.blend`."""

FORMATS = ("PNG", "JPEG")
ENGINES = ("Cycles", "Eevee", "Workbench")
BLEND_MODES = ("CenterPriorityCrop", "AlphaBlend")

RenderSceneRef = Annotated[Any, Script("RenderSceneRef")]


def checked_blend(blob: BlobHandle) -> BlobHandle:
    """The blob as a scene, if it begins like a `.blend` file. Raises ValueError."""
    with blob.open() as file:
        head = file.read(7)
    if not head.startswith(_MAGIC):
        raise ValueError(f"{blob} is no .blend file: it begins with {head!r}")
    return blob.retyped(BLEND_MEDIA_TYPE)


class RenderSceneRefType(BlobType):
    """A `.blend` file; blobs of unknown kind become one where they begin like one."""

    name = "RenderSceneRef"
    media_prefix = BLEND_MEDIA_TYPE
    natural_media_type = BLEND_MEDIA_TYPE
    widens_to = frozenset({"Blob"})
    literal_forms = "a .blend file's path on the command line"

    def coerce(self, value: object) -> object:
        """The value as a scene. Raises ValueError."""
        if isinstance(value, BlobHandle) and value.media_type == BlobType.natural_media_type:
            return checked_blend(value)
        return super().coerce(value)


class RenderOptionsValue(msgspec.Struct, frozen=True):
    """How frames are to be rendered.

    Attributes:
        format: of the pictures, one of `FORMATS`.
        engine: one of `ENGINES`, for `Render.Frame`.
        samples: light paths per pixel; 0 for what the file says.
        resolution_x: width of the frame, pixels; 0 for what the file says, or what keeps the proportions.
        resolution_y: height, likewise.
        denoise: always false, see `Render`.
    """

    format: String = "PNG"
    engine: String = "Cycles"
    samples: Int = 0
    resolution_x: Int = 0
    resolution_y: Int = 0
    denoise: Bool = False


RenderOptions = Annotated[RenderOptionsValue, Script("RenderOptions")]


class TileOptionsValue(msgspec.Struct, frozen=True):
    """How tiles are to be joined. Tiles here are exact parts of the frame, so there is nothing to blend.

    Attributes:
        overlap_px: kept for WitEngine's scripts, without effect.
        blend_mode: likewise, one of `BLEND_MODES`.
    """

    overlap_px: Int = 0
    blend_mode: String = "CenterPriorityCrop"


TileOptions = Annotated[TileOptionsValue, Script("TileOptions")]


class VideoOptionsValue(msgspec.Struct, frozen=True):
    """How a film is to be encoded: frames per second, and x264's constant rate factor, 0 (best) to 51 (smallest)."""

    frame_rate: Double = 24.0
    constant_rate_factor: Int = 23


VideoOptions = Annotated[VideoOptionsValue, Script("VideoOptions")]


class RenderTaskValue(msgspec.Struct, frozen=True):
    """One frame of a scene, or the tile in column `tile_x` and row `tile_y` of a grid over it, from the upper left."""

    scene: Blob
    frame: Int
    task_index: Int = 0
    options: RenderOptions = RenderOptionsValue()
    tile_x: Int = 0
    tile_y: Int = 0
    tiles_x: Int = 1
    tiles_y: Int = 1


RenderTask = Annotated[RenderTaskValue, Script("RenderTask")]
RenderTaskCollection = Annotated[list[RenderTaskValue], Script("RenderTaskCollection")]


class RenderResultValue(msgspec.Struct, frozen=True):
    """A rendered frame, or tile with its upper left corner at (x, y) of a frame of `width` by `height` pixels."""

    index: Int
    frame: Int
    image: Image
    x: Int
    y: Int
    width: Int
    height: Int
    options: RenderOptions = RenderOptionsValue()


RenderResult = Annotated[RenderResultValue, Script("RenderResult")]
RenderResultCollection = Annotated[list[RenderResultValue], Script("RenderResultCollection")]


class RenderSceneInfoValue(msgspec.Struct, frozen=True):
    """What a `.blend` file says of itself."""

    frame_start: Int
    frame_end: Int
    frame_step: Int
    width: Int
    height: Int
    fps: Double
    engine: String
    samples: Int


RenderSceneInfo = Annotated[RenderSceneInfoValue, Script("RenderSceneInfo")]

TYPES = (
    RenderSceneRefType(),
    StructType("RenderOptions", RenderOptionsValue),
    StructType("TileOptions", TileOptionsValue),
    StructType("VideoOptions", VideoOptionsValue),
    StructType("RenderTask", RenderTaskValue, "what Render.Split gives"),
    StructType("RenderResult", RenderResultValue, "what Render.Frame gives"),
    StructType("RenderSceneInfo", RenderSceneInfoValue, "what Render.SceneInfo gives"),
)
