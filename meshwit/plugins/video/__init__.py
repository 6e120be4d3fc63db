"""Films: the script type `Video` and its activities, by PyAV."""

from meshwit.plugins.video.types import Video, VideoCollection, VideoInfo

__all__ = ["Video", "VideoCollection", "VideoInfo"]
