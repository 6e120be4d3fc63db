"""Pictures to a film: H.264 in MP4 that any player opens, streamed with one picture in memory at a time.

The same pictures give the same bytes with the same version of PyAV: a fixed number of threads and the same arithmetic
whatever the device has, bit-exact colour conversion, no dates and no names of programs in the file. Colours are BT.709,
and the file says so.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshwit.lazy import lazy_module
from meshwit.plugins.image.coding import Picture, checked_size, flattened

if TYPE_CHECKING:
    import av
    import numpy as np
    from av.codec import context as codec_context
    from av.video import reformatter
    from PIL import Image
else:
    av = lazy_module("av")
    np = lazy_module("numpy")
    codec_context = lazy_module("av.codec.context")
    reformatter = lazy_module("av.video.reformatter")
    Image = lazy_module("PIL.Image")

SIDE_MAX = 16384
THREADS = 4
"""Of the encoder. x264 gives other bytes for another number, so it does not depend on the device."""
EXACT = "cpu-independent=1"
"""Without it x264 computes its rate control as is quickest on the processor, which rounds otherwise on another; and on
one with AVX-512 what comes of it depends on what lay in memory before, so that even one process made other bytes."""
MUXING = {"movflags": "+faststart", "fflags": "+bitexact"}
_BT709, _LIMITED, _FULL = 1, 1, 2
_ENCODERS = ("libx264", "libopenh264", "mpeg4")
_MPEG4_QUANTISER_MAX = 31


def checked_fps(fps: float) -> Fraction:
    """Frames per second as an exact fraction: 23.976 and 29.97 mean 24000/1001 and 30000/1001. Raises ValueError."""
    if not 0.01 <= fps <= 1000:  # false for NaN too
        raise ValueError(f"fps must be from 0.01 to 1000 frames per second, got {fps}")
    ntsc = Fraction(round(fps * 1.001) * 1000, 1001)
    if fps != round(fps) and abs(fps - ntsc) < 0.002:
        return ntsc
    return Fraction(fps).limit_denominator(1000)


def encode_film(
    pictures: Iterable[tuple[str, Picture]],
    path: Path,
    fps: Fraction,
    crf: int,
    width: int | None = None,
    height: int | None = None,
) -> int:
    """Write a film.

    Args:
        pictures: what errors call a picture, and its pixels; what is transparent becomes black.
        path: of the MP4 to write.
        fps: frames per second.
        crf: 0 (best) to 51 (smallest); x264's constant rate factor.
        width: of the film; None for that of the pictures, or what keeps the proportions.
        height: likewise.

    Returns:
        The number of frames. An odd width or height gets one more row or column, a copy of the last, since 4:2:0 video
        has even sides.

    Raises:
        ValueError: no pictures, pictures of different sizes, a number out of range, a size the encoder refuses.
        OSError: the disk is full.
    """
    if not 0 <= crf <= 51:
        raise ValueError(f"crf must be from 0 (best) to 51 (smallest), got {crf}")
    count = 0
    first: tuple[int, int] | None = None
    with av.open(str(path), "w", format="mp4", container_options=MUXING) as container:
        stream: Any = None
        for name, picture in pictures:
            if first is None:
                first = picture.size
                size = _film_size(picture.size, width, height)
                stream = _stream(container, fps, crf, size)
            if picture.size != first:
                raise ValueError(
                    f"{name} has {picture.width} x {picture.height} pixels, the first has {first[0]} x {first[1]}: "
                    "all pictures of a film must have one size"
                )
            frame = _frame(picture, size)
            frame.pts, frame.time_base = count, 1 / fps
            container.mux(stream.encode(frame))
            count += 1
        if stream is None:
            raise ValueError("a film of no pictures: at least 1 is needed")
        container.mux(stream.encode(None))
    return count


def _film_size(size: tuple[int, int], width: int | None, height: int | None) -> tuple[int, int]:
    if width is None and height is None:
        width, height = size
    elif width is None:
        width = max(1, round(size[0] * (height or 1) / size[1]))
    elif height is None:
        height = max(1, round(size[1] * width / size[0]))
    checked_size(width, height or 0, "a film")
    if max(width, height or 0) > SIDE_MAX:
        raise ValueError(f"a film of {width} x {height} pixels: at most {SIDE_MAX} along a side are allowed")
    return width, height or 0


def _stream(container: Any, fps: Fraction, crf: int, size: tuple[int, int]) -> Any:
    encoder = next((name for name in _ENCODERS if name in av.codecs_available), None)
    if encoder is None:
        raise RuntimeError(f"this build of PyAV ({av.__version__}) has none of the encoders {', '.join(_ENCODERS)}")
    stream = container.add_stream(encoder, rate=fps)
    stream.width, stream.height = size[0] + size[0] % 2, size[1] + size[1] % 2
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.thread_count = THREADS
    context.thread_type = "FRAME"  # PyAV's own choice, slices, makes files a third larger.
    context.flags |= codec_context.Flags.bitexact
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED
    if encoder == "libx264":
        context.options = {"crf": str(crf), "preset": "medium", "x264-params": EXACT}
        return stream
    print(f"this build of PyAV has no libx264, so {encoder} is used: larger files of lower quality", file=sys.stderr)
    quantiser = max(2, min(_MPEG4_QUANTISER_MAX, round(crf / 51 * _MPEG4_QUANTISER_MAX)))
    context.qmin = context.qmax = quantiser
    return stream


def _frame(picture: Picture, size: tuple[int, int]) -> Any:
    opaque = flattened(picture, 0, 0, 0).convert("RGB")
    if opaque.size != size:
        opaque = opaque.resize(size, Image.Resampling.LANCZOS)
    pixels = np.asarray(opaque)
    if size[0] % 2 or size[1] % 2:
        pixels = np.pad(pixels, ((0, size[1] % 2), (0, size[0] % 2), (0, 0)), mode="edge")
    kind = reformatter.Interpolation
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
    return frame.reformat(
        format="yuv420p",
        src_colorspace=_BT709,
        dst_colorspace=_BT709,
        src_color_range=_FULL,
        dst_color_range=_LIMITED,
        interpolation=kind.BICUBIC | kind.ACCURATE_RND | kind.BITEXACT,
        threads=1,
    )


def join_films(sources: list[Path], path: Path) -> None:
    """Write films one after the other without encoding them anew; they must be alike (`decoding.alike`)."""
    with av.open(str(path), "w", format="mp4", container_options=MUXING) as target:
        out: Any = None
        offset = 0
        for source in sources:
            with av.open(str(source)) as film:
                stream = film.streams.video[0]
                if out is None:
                    out = target.add_stream_from_template(stream)
                end = 0
                for packet in _packets(film, stream):
                    end = max(end, packet.pts + packet.duration)
                    packet.pts += offset
                    packet.dts += offset
                    packet.stream = out
                    target.mux(packet)
                offset += end


def _packets(film: Any, stream: Any) -> Iterator[Any]:
    for packet in film.demux(stream):
        if packet.dts is not None and packet.pts is not None:
            yield packet
