"""The script types `Video`, a blob that holds a film, and `VideoInfo`, what a film says of itself."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from meshwit.plugins.annotations import Double, Int, Script, String
from meshwit.plugins.structs import StructType
from meshwit.plugins.variables.simple import BlobType

Video = Annotated[Any, Script("Video")]
VideoCollection = Annotated[list[Any], Script("VideoCollection")]


class VideoType(BlobType):
    """A film; bytes that an activity returns as one are an MP4."""

    name = "Video"
    media_prefix = "video/"
    natural_media_type = "video/mp4"
    widens_to = frozenset({"Blob"})


class VideoInfo(msgspec.Struct, frozen=True):
    """A film's picture track.

    Attributes:
        width: pixels, with the picture upright.
        height: pixels.
        frames: how many there are.
        fps: frames per second, on average.
        duration_seconds: from the start of the first frame to the end of the last.
        codec: as FFmpeg names it, such as `h264`.
    """

    width: Int
    height: Int
    frames: Int
    fps: Double
    duration_seconds: Double
    codec: String


VIDEO = VideoType()
VIDEO_INFO = StructType("VideoInfo", VideoInfo, "what Video.Probe gives")
