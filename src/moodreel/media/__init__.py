"""Files to frames with exact times: GIF, APNG, WebP, video, folders of frames, stills, arrays."""

from moodreel.media.base import Media, Timeline
from moodreel.media.decode import (
    MEDIA_SUFFIXES,
    is_frame_folder,
    is_media_path,
    open_media,
    read_clip,
)
from moodreel.media.encode import draw_palette, encode_webp, write_gif, write_webp
from moodreel.media.encode_mp4 import write_mp4
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
    "draw_palette",
    "encode_webp",
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
    "write_mp4",
    "write_webp",
]
