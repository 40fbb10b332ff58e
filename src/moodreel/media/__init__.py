"""Files to frames with exact times: GIF, APNG, WebP, video, folders of frames, stills, arrays."""

from moodreel.media.base import Media, Timeline
from moodreel.media.decode import (
    MEDIA_SUFFIXES,
    is_frame_folder,
    is_media_path,
    open_media,
    read_clip,
)
from moodreel.media.encode import write_gif
from moodreel.media.limits import Limits
from moodreel.media.sample import (
    frames_nearest,
    frames_showing,
    rate_times,
    sample_media,
    segment_times,
)

__all__ = [
    "MEDIA_SUFFIXES",
    "Limits",
    "Media",
    "Timeline",
    "frames_nearest",
    "frames_showing",
    "is_frame_folder",
    "is_media_path",
    "open_media",
    "rate_times",
    "read_clip",
    "sample_media",
    "segment_times",
    "write_gif",
]
