"""Frames to an MP4 file, each with a time stamp of its own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from moodreel.errors import MediaError, SettingsError
from moodreel.media.encode import check_frames, check_times, replacing, round_times
from moodreel.types import UInt8Array

#: Units of time in a second.
_TICKS = 90_000


def write_mp4(
    path: str | os.PathLike[str],
    frames: Iterable[UInt8Array],
    durations: Sequence[float] | npt.NDArray[np.float64],
    quality: int = 20,
) -> None:
    """Writes an MP4 with a time stamp of its own for every frame (1/90000 s), H.264 where PyAV has it.

    An odd width or height gets one more column or row, a copy of the last: the colour format needs even ones.

    Args:
        path: of the file; written beside it and then moved.
        frames: T arrays [H, W, 3] uint8 of one size.
        durations: [T] seconds, each above 0.
        quality: 0 (lossless) to 51, H.264's constant rate factor.

    Raises:
        SettingsError: frames, durations or quality are not allowed.
        MediaError: the file cannot be written.
    """
    import av

    seconds = check_times(durations, 86400.0, None)
    if not (seconds > 0).all():
        raise SettingsError("durations", seconds.tolist()[:8], "seconds above 0")
    if not 0 <= quality <= 51:
        raise SettingsError("quality", quality, "0 to 51")
    ticks = round_times(seconds, _TICKS)
    with replacing(path) as draft:
        try:
            with av.open(str(draft), "w", format="mp4", options={"movflags": "+faststart"}) as container:
                stream: Any = None
                left = iter(ticks)
                start = 0
                for picture, ticked in zip(check_frames(frames, len(ticks)), ticks, strict=True):
                    even = _pad_even(picture[..., :3])
                    if stream is None:
                        stream = _add_video(container, even.shape[1], even.shape[0], quality)
                    shown: Any = av.VideoFrame.from_ndarray(even, format="rgb24")
                    shown = shown.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
                    shown.pts, shown.time_base = start, Fraction(1, _TICKS)
                    start += ticked
                    _mux(container, stream.encode(shown), left)
                _mux(container, stream.encode(), left)
        except av.FFmpegError as error:
            raise MediaError(str(path), f"cannot be written: {error.strerror or error}") from None


def _mux(container: Any, packets: Iterable[Any], durations: Iterator[int]) -> None:
    """Writes packets, one a picture and in order; without its duration the last would last 1/30 s."""
    for packet in packets:
        packet.duration = next(durations)
        container.mux(packet)


def _add_video(container: Any, width: int, height: int, quality: int) -> Any:
    """A video stream in the best codec that this build of libav has."""
    import av

    name = next(
        (name for name in ("libx264", "libopenh264", "mpeg4") if name in av.codecs_available), "mpeg4"
    )
    stream = container.add_stream(name, rate=30)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    context = stream.codec_context
    # Every picture goes out as it came in, so that its duration stays with it.
    context.max_b_frames = 0
    context.time_base = stream.time_base = Fraction(1, _TICKS)
    context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
    context.color_range = 1
    if name == "libx264":
        context.options = {"crf": str(quality), "preset": "veryfast"}
    else:
        context.bit_rate = 4 * width * height
    return stream


def _pad_even(picture: UInt8Array) -> UInt8Array:
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(picture)
