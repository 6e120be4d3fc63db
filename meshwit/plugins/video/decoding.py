"""A film to pictures: which video files are read, what they say of themselves, and their frames by number.

Frames are numbered from 0 in the order in which they are shown. They come out upright (phones note a rotation) and in
sRGB. Only containers that hold their own bytes are read: playlists and the like would have FFmpeg open other files and
addresses on the word of whoever wrote them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshwit.blob import Blob
from meshwit.lazy import lazy_module
from meshwit.plugins.image.coding import Picture
from meshwit.plugins.video.types import VideoInfo

if TYPE_CHECKING:
    import av
else:
    av = lazy_module("av")

_READABLE = "mov,matroska,avi,mpegts,mpeg,ogg,flv"
_MEDIA_TYPES = {
    "mov": "video/mp4",
    "avi": "video/x-msvideo",
    "mpegts": "video/mp2t",
    "mpeg": "video/mpeg",
    "ogg": "video/ogg",
    "flv": "video/x-flv",
}
_WEBM_CODECS = frozenset({"vp8", "vp9", "av1"})


@contextlib.contextmanager
def opened_film(source: Blob | Path) -> Iterator[tuple[Any, Any]]:
    """A container and its picture track. Raises ValueError where the bytes are at fault, also inside the `with`."""
    path = source.path if isinstance(source, Blob) else source
    options = {"format_whitelist": _READABLE, "protocol_whitelist": "file"}
    try:
        with av.open(str(path), "r", container_options=options, metadata_errors="ignore") as container:
            if not container.streams.video:
                raise ValueError(f"{source} has no pictures: its tracks are {_tracks(container)}")
            yield container, container.streams.video[0]
    except av.FFmpegError as reason:
        raise ValueError(f"{source} is no video that can be read, or is broken: {reason.strerror}") from None


def _tracks(container: Any) -> str:
    return ", ".join(stream.type for stream in container.streams) or "none"


def identify(source: Blob | Path) -> str:
    """The media type of a film whose first frame was decoded to be sure of it. Raises ValueError."""
    with opened_film(source) as (container, stream):
        _first_frame(source, container, stream)
        kind = str(container.format.name).split(",", 1)[0]
        if kind == "matroska":
            codecs = {one.codec_context.name for one in container.streams.video}
            return "video/webm" if codecs <= _WEBM_CODECS else "video/x-matroska"
        return _MEDIA_TYPES.get(kind, "video/mp4")


def _first_frame(source: Blob | Path, container: Any, stream: Any) -> Any:
    for frame in container.decode(stream):
        return frame
    raise ValueError(f"{source} has no frame that can be decoded")


def probe(source: Blob) -> VideoInfo:
    """What a film says of itself; frames are counted, not believed. Raises ValueError."""
    with opened_film(source) as (container, stream):
        first = _first_frame(source, container, stream)
        turned = first.rotation % 180 != 0
        codec = str(stream.codec_context.name)
        rate, time_base = stream.average_rate or stream.base_rate, stream.time_base
    times = frame_times(source)
    known = [time for time, _ in times if time is not None]
    fps = float(rate) if rate else 0.0
    duration = len(times) / fps if fps else 0.0
    if len(known) == len(times) and time_base is not None:
        duration = float((times[-1][0] + times[-1][1] - known[0]) * time_base)
    width, height = (first.height, first.width) if turned else (first.width, first.height)
    return VideoInfo(width, height, len(times), fps, duration, codec)


def frame_times(source: Blob) -> list[tuple[Any, int]]:
    """Time stamp (None where the file gives none) and duration of every frame, in the order they are shown."""
    times: list[tuple[Any, int]] = []
    with opened_film(source) as (container, stream):
        for packet in container.demux(stream):
            if packet.size and not packet.is_discard:
                times.append((packet.pts, packet.duration or 0))
    if not times:
        raise ValueError(f"{source} has no frames")
    if all(time is not None for time, _ in times):
        times.sort()
    return times


def frames(source: Blob, wanted: range, times: list[tuple[Any, int]] | None = None) -> Iterator[Picture]:
    """The frames of these numbers (ascending), each decoded when it is asked for.

    Args:
        source: the film.
        wanted: numbers from 0.
        times: `frame_times`, where it is known already.

    Raises:
        ValueError: a number beyond the last, a frame that cannot be decoded.
    """
    times = times or frame_times(source)
    if not wanted:
        return
    if wanted[0] < 0 or wanted[-1] >= len(times):
        number = wanted[0] if wanted[0] < 0 else wanted[-1]
        raise ValueError(f"{source} has the frames 0 to {len(times) - 1}, there is no frame {number}")
    with opened_film(source) as (container, stream):
        stamped = all(time is not None for time, _ in times)
        left = iter(wanted)
        number = next(left)
        if stamped and number:
            container.seek(times[number][0], stream=stream)
        for position, frame in enumerate(container.decode(stream)):
            # A decoder may drop or repeat broken frames: with stamps each is known, without them they are counted.
            if (frame.pts < times[number][0]) if stamped else (position < number):
                continue
            if stamped and frame.pts > times[number][0]:
                break
            yield _picture(frame)
            following = next(left, None)
            if following is None:
                return
            number = following
    raise ValueError(f"{source} is broken: frame {number} cannot be decoded")


def _picture(frame: Any) -> Picture:
    rgb = frame.reformat(format="rgb24", interpolation="BICUBIC", threads=1)
    picture: Picture = rgb.to_image()
    return picture.rotate(frame.rotation, expand=True) if frame.rotation % 360 else picture


def alike(sources: list[Blob]) -> bool:
    """Whether films came from one encoder with the same settings, so that they can be joined without encoding anew."""
    seen = set()
    for source in sources:
        with opened_film(source) as (container, stream):
            context = stream.codec_context
            seen.add((context.name, bytes(context.extradata or b""), stream.time_base, stream.average_rate))
            simple = str(container.format.name).startswith("mov") and len(container.streams) == 1
        if not simple:
            return False
    return len(seen) == 1
