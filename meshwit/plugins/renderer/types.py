"""The script types of rendering: `Frame`, `Tile` of a frame, and `TileImage`, a tile that was rendered."""

from __future__ import annotations

from typing import Annotated

import msgspec

from meshwit.lang.types import describe
from meshwit.plugins.annotations import Blob, Int, Script
from meshwit.plugins.image.types import Image
from meshwit.plugins.structs import StructType

WIDTH, HEIGHT, SAMPLES = 320, 180, 16
LOOP_FRAMES = 240
"""The length of a film whose length is not known: frames given as plain numbers loop over it."""
NUMBER_MAX = 2**31 - 1


class FrameValue(msgspec.Struct, frozen=True):
    """One frame of a film, with all that is needed to render it.

    Attributes:
        number: from 1.
        count: frames of the film, over which its animation loops; 0 where it is not known.
        width: pixels.
        height: pixels.
        samples: light paths per pixel.
        scene: what `Renderer.Scene` gave; None for the built-in scene.
    """

    number: Int
    count: Int = 0
    width: Int = WIDTH
    height: Int = HEIGHT
    samples: Int = SAMPLES
    scene: Blob | None = None


Frame = Annotated[FrameValue, Script("Frame")]
FrameCollection = Annotated[list[FrameValue], Script("FrameCollection")]


class TileValue(msgspec.Struct, frozen=True):
    """A rectangle of a frame: x and y are its upper left corner, pixels."""

    frame: Frame
    x: Int
    y: Int
    width: Int
    height: Int


Tile = Annotated[TileValue, Script("Tile")]
TileCollection = Annotated[list[TileValue], Script("TileCollection")]


class TileImageValue(msgspec.Struct, frozen=True):
    """A tile with its pixels."""

    tile: Tile
    image: Image


TileImage = Annotated[TileImageValue, Script("TileImage")]
TileImageCollection = Annotated[list[TileImageValue], Script("TileImageCollection")]


class FrameType(StructType):
    """A frame; a plain number is the frame of that number, with default size and samples."""

    def __init__(self) -> None:
        super().__init__("Frame", FrameValue, "a number from 1, or what Renderer.Frames gives")

    def literal(self, value: object) -> object:
        """The frame that a number stands for. Raises ValueError."""
        if type(value) is not int:
            return self.coerce(value)
        if not 1 <= value <= NUMBER_MAX:
            raise ValueError(f"{describe(value)} is no frame: frames are numbered from 1")
        return FrameValue(value)


FRAME = FrameType()
TILE = StructType("Tile", TileValue, "what Renderer.SplitTiles gives")
TILE_IMAGE = StructType("TileImage", TileImageValue, "what Renderer.RenderTile gives")
