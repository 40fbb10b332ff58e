"""Times to frames. All but :func:`sample_media` is pure arithmetic on seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from moodreel.errors import SettingsError
from moodreel.media.base import Media
from moodreel.types import FloatArray, Sample, UInt8Array

IndexArray = npt.NDArray[np.int64]


def segment_times(duration: float, count: int, rng: np.random.Generator | None = None) -> FloatArray:
    """One instant from each of ``count`` equal segments of time (TSN, Wang et al., ECCV 2016).

    Args:
        duration: seconds, >= 0; 0 (a still) gives zeros.
        count: segments, >= 1.
        rng: given, one uniform draw inside each segment (training); else each middle (evaluation).

    Returns:
        [count] seconds, non-decreasing, in [0, duration).

    Raises:
        SettingsError: a duration or count that is not allowed.
    """
    if not (np.isfinite(duration) and duration >= 0):
        raise SettingsError("duration", duration, "seconds, finite and >= 0")
    if count < 1:
        raise SettingsError("count", count, "at least 1")
    within = np.full(count, 0.5) if rng is None else rng.random(count)
    return np.asarray((np.arange(count) + within) * (duration / count), dtype=np.float64)


def rate_times(duration: float, fps: float, offset: float = 0.0, limit: int | None = None) -> FloatArray:
    """Ticks of a clock: ``offset + k / fps`` while below ``duration``, at least one.

    Args:
        duration: seconds, >= 0.
        fps: ticks a second, > 0.
        offset: seconds of the first tick.
        limit: at most so many ticks; None for no bound.

    Returns:
        [n] seconds, n >= 1. A still, or an offset past the end, gives [offset].

    Raises:
        SettingsError: an argument that is not allowed.
    """
    if not (np.isfinite(duration) and duration >= 0):
        raise SettingsError("duration", duration, "seconds, finite and >= 0")
    if not (np.isfinite(fps) and fps > 0):
        raise SettingsError("fps", fps, "frames a second, finite and > 0")
    if not (np.isfinite(offset) and offset >= 0):
        raise SettingsError("offset", offset, "seconds, finite and >= 0")
    if limit is not None and limit < 1:
        raise SettingsError("limit", limit, "at least 1, or None")
    count = max(1, int(np.ceil((duration - offset) * fps)) + 1)
    if limit is not None:
        count = min(count, limit)
    ticks = offset + np.arange(count) / fps
    # A tick that equals the duration but for rounding is past the end: 3 ticks of 1/3 s fill one second.
    inside = ticks < duration - 1e-9
    inside[0] = True
    return np.asarray(ticks[inside], dtype=np.float64)


def frames_showing(starts: npt.ArrayLike, times: npt.ArrayLike) -> IndexArray:
    """Which frame is on screen at each time.

    Args:
        starts: [T] seconds, non-decreasing.
        times: [n] seconds, in any order; one before the first start gets the first frame.

    Returns:
        [n] indices in [0, T). Of several frames that start at once, the last.
    """
    index = np.searchsorted(np.asarray(starts, dtype=np.float64), np.asarray(times), side="right") - 1
    return np.maximum(index, 0).astype(np.int64)


def frames_nearest(starts: npt.ArrayLike, times: npt.ArrayLike) -> IndexArray:
    """Which frame starts nearest to each time; of two equally near, the earlier.

    Args:
        starts: [T] seconds, non-decreasing.
        times: [n] seconds, in any order.

    Returns:
        [n] indices in [0, T).
    """
    begin = np.asarray(starts, dtype=np.float64)
    when = np.asarray(times, dtype=np.float64)
    # side="left": of several frames that start at once, the first, as for any other tie.
    after = np.clip(np.searchsorted(begin, when, side="left"), 0, len(begin) - 1)
    before = np.maximum(after - 1, 0)
    # 1e-9: a tick halfway between two frames must not be tipped over by rounding.
    nearer_after = begin[after] - when < when - begin[before] - 1e-9
    picked = np.where(nearer_after | (before == after), after, before)
    first = np.searchsorted(begin, begin[picked], side="left")
    return first.astype(np.int64)


def sample_media(
    media: Media,
    times: npt.ArrayLike,
    size: tuple[int, int] | None = None,
    pick: Literal["showing", "nearest"] = "showing",
) -> Sample:
    """Takes the frames at some instants and decodes no more of the file than they need.

    Each frame is resized as soon as it is decoded, so a long 4k video never keeps full frames. A frame
    that several instants hit is decoded once and stands several times. A still is repeated.

    Args:
        media: from :func:`moodreel.media.open_media`.
        times: [n] seconds, in any order, n >= 1.
        size: (height, width) in pixels; None keeps the full size.
        pick: "showing" takes the frame on screen (GIF, TSN segments), "nearest" the one whose start is
            nearest (video at a fixed rate).

    Returns:
        A Sample with frames [n, height, width, 3] uint8.

    Raises:
        SettingsError: times, size or pick are not allowed.
        MediaError: the content is broken.
    """
    when = np.atleast_1d(np.asarray(times, dtype=np.float64))
    if when.ndim != 1 or len(when) == 0 or not np.isfinite(when).all():
        raise SettingsError("times", when.tolist()[:8], "at least one finite second, in a list")
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise SettingsError("size", size, "(height, width), each at least 1")
    if pick not in ("showing", "nearest"):
        raise SettingsError("pick", pick, '"showing" or "nearest"')
    choose = frames_showing if pick == "showing" else frames_nearest
    indices = choose(media.timeline.starts, when)
    slots: dict[int, list[int]] = {}
    for slot, index in enumerate(indices.tolist()):
        slots.setdefault(index, []).append(slot)
    wanted: Sequence[int] = sorted(slots)
    height, width = (media.height, media.width) if size is None else size
    frames: UInt8Array = np.empty((len(when), height, width, 3), dtype=np.uint8)
    found = media.read(wanted) if size is None else media.read_resized(wanted, (height, width))
    for index, frame in found:
        frames[slots[index]] = frame
    return Sample(
        frames=frames,
        times=when,
        width=media.width,
        height=media.height,
        frame_count=len(media),
        duration=media.duration,
        source=media.source,
    )
