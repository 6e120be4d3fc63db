"""Activities on films."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import PurePath
from typing import Annotated, Any

from meshwit.blob import Blob as BlobHandle
from meshwit.plugins.annotations import Blob, Double, Int, Script, String
from meshwit.plugins.context import Context
from meshwit.plugins.controller import Controller, activity
from meshwit.plugins.image import Image, ImageCollection, store_image
from meshwit.plugins.image.coding import Picture
from meshwit.plugins.owned_files import existing_file, save
from meshwit.plugins.video import decoding, encoding
from meshwit.plugins.video.composing import compose, new_film
from meshwit.plugins.video.types import VIDEO, VIDEO_INFO, Video, VideoCollection, VideoInfo

_SUFFIXES = {
    "video/mp4": (".mp4", ".m4v", ".mov"),
    "video/webm": (".webm",),
    "video/x-matroska": (".mkv",),
    "video/x-msvideo": (".avi",),
    "video/mp2t": (".ts",),
    "video/mpeg": (".mpg", ".mpeg"),
    "video/ogg": (".ogv",),
    "video/x-flv": (".flv",),
}

Info = Annotated[VideoInfo, Script("VideoInfo")]


def _count(items: Any, *_: Any) -> float:
    return float(len(items))


def _bytes_of(video: Any, *_: Any) -> float:
    return float(video.size)


class Videos(Controller):
    """Films: made of pictures, taken apart into pictures, joined. Sound is not kept."""

    prefix = "Video"
    types = (VIDEO, VIDEO_INFO)
    modules = ("av", "PIL")
    extra = "media"

    @activity(work=_count)
    def Compose(
        self,
        context: Context,
        images: ImageCollection,
        fps: Double = 24.0,
        crf: Int = 20,
        width: Int | None = None,
        height: Int | None = None,
        missing: String = "Fail",
    ) -> Video:
        """A film of the pictures in their order, H.264 in MP4; all must have one size.

        `crf` is the quality, from 0 (best) to 51 (smallest file). `width` and `height` scale the film; one alone keeps
        the proportions. `missing` says what becomes of pictures that are NULL because their task was skipped: "Fail"
        names them, "Hold" shows the picture before for longer, so that the film keeps its length, "Skip" leaves
        them out.
        """
        return compose(context, images, fps, crf, width, height, missing)

    @activity(work=_bytes_of)
    def Probe(self, video: Video) -> Info:
        """What the film says of itself: Width, Height, Frames, Fps, DurationSeconds and Codec."""
        return decoding.probe(video)

    @activity(work=_bytes_of)
    def ExtractFrame(self, video: Video, index: Int) -> Image:
        """One picture of the film; the first has the index 0."""
        return next(decoding.frames(video, range(index, index + 1)))

    @activity(work=_bytes_of)
    def ExtractFrames(
        self, context: Context, video: Video, start: Int = 0, stop: Int | None = None, step: Int = 1
    ) -> ImageCollection:
        """The pictures of the film from `start` (the first is 0), by `step`, up to but without `stop` or to the end."""
        if step < 1:
            raise ValueError(f"step must be at least 1, got {step}")
        times = decoding.frame_times(video)
        wanted = range(start, len(times) if stop is None else stop, step)
        return [store_image(picture, context.blobs) for picture in decoding.frames(video, wanted, times)]

    @activity(work=_count)
    def Concatenate(self, context: Context, videos: VideoCollection) -> Video:
        """The films one after the other. Those that `Video.Compose` made in one way are joined without loss; others
        are encoded anew at the speed of the first, and must have one size.
        """
        if not videos or None in videos:
            what = f"videos[{videos.index(None)}] is NULL" if videos else "there are none"
            raise ValueError(f"no film can be made of these videos: {what}")
        with new_film(context) as path:
            if decoding.alike(videos):
                encoding.join_films([video.path for video in videos], path)
            else:
                fps = Fraction(decoding.probe(videos[0]).fps).limit_denominator(1001)
                encoding.encode_film(_all_pictures(videos), path, fps, crf=18)
            return context.blobs.put_file(path, "video/mp4")

    @activity(local=True, volatile=True)
    def Open(self, context: Context, path: String) -> Video:
        """The film in a file of the device that leads the job, as it is; the file must be in an allowed folder."""
        file = existing_file(context, path)
        return context.blobs.put_file(file, decoding.identify(file))

    @activity(work=_bytes_of, aliases=("Video",))
    def FromBlob(self, blob: Blob) -> Video:
        """The film that a blob holds, such as `Files.Read` gives; fails if it is none, or is broken."""
        return blob.retyped(decoding.identify(blob))

    @activity(local=True, effect=True)
    def Save(self, context: Context, video: Video, path: String) -> None:
        """Writes the film to a file of the device that leads the job; its name must end as the film's format does."""
        endings = _SUFFIXES.get(video.media_type, (video.suffix,))
        if PurePath(path).suffix.lower() not in endings:
            raise ValueError(f'"{path}" does not end like a file of type {video.media_type}: {", ".join(endings)}')
        save(context, path, video)


def _all_pictures(videos: list[BlobHandle]) -> Iterator[tuple[str, Picture]]:
    for position, video in enumerate(videos):
        times = decoding.frame_times(video)
        for picture in decoding.frames(video, range(len(times)), times):
            yield f"videos[{position}]", picture
