"""What every opened input offers: a timeline, a size, and frames by index."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from moodreel.errors import CorruptMedia, LimitExceeded, MediaError, MoodreelError, SettingsError
from moodreel.media.limits import Limits
from moodreel.types import FloatArray, UInt8Array

if TYPE_CHECKING:
    from PIL import Image

Mode = Literal["rgb", "rgba"]

#: Delays up to this many seconds play as ``BROWSER_DELAY``: Chrome, Firefox and Safari do so for GIF,
#: APNG and WebP alike.
SHORTEST_DELAY = 0.01
BROWSER_DELAY = 0.1

#: Frames per second of inputs that carry no times (folders of frames, arrays).
DEFAULT_FPS = 10.0


@dataclass(frozen=True, eq=False)
class Timeline:
    """When each frame of a file is on screen.

    Attributes:
        starts: [T] seconds, non-decreasing, the first is 0.
        durations: [T] seconds, as they play.
        raw_durations: [T] seconds, as the file stores them.
        loop: None when the file does not say, 0 for ever, otherwise the count as the file stores it.
    """

    starts: FloatArray
    durations: FloatArray
    raw_durations: FloatArray
    loop: int | None = None

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def duration(self) -> float:
        """Length in seconds: the end of the last frame."""
        return float(self.starts[-1] + self.durations[-1])

    @classmethod
    def from_ticks(cls, ticks: Sequence[int], per_second: int, loop: int | None) -> Timeline:
        """Builds the timeline of an animation from its delays, applying the browsers' rule on short ones.

        Args:
            ticks: [T] delays, in units of 1 / per_second seconds.
            per_second: units in a second.
            loop: as in :class:`Timeline`.
        """
        raw = np.asarray(ticks, dtype=np.int64)
        # Sums in whole ticks: the starts then carry no accumulated rounding.
        played = np.where(raw <= SHORTEST_DELAY * per_second, round(BROWSER_DELAY * per_second), raw)
        starts = np.concatenate([[0], np.cumsum(played)[:-1]])
        return cls(starts / per_second, played / per_second, raw / per_second, loop)

    @classmethod
    def from_delays(cls, delays: Sequence[float], loop: int | None) -> Timeline:
        """As :meth:`from_ticks`, from delays in seconds."""
        raw = np.asarray(delays, dtype=np.float64)
        played = np.where(raw <= SHORTEST_DELAY, BROWSER_DELAY, raw)
        return cls(np.concatenate([[0.0], np.cumsum(played)[:-1]]), played, raw, loop)

    @classmethod
    def from_rate(cls, count: int, fps: float) -> Timeline:
        """Builds the timeline of ``count`` frames at ``fps``; one frame is a still of duration 0."""
        if count == 1:
            return cls(np.zeros(1), np.zeros(1), np.zeros(1))
        starts = np.arange(count) / fps
        durations = np.full(count, 1.0 / fps)
        return cls(starts, durations, durations.copy())


class NoDecoderError(MoodreelError):
    """No process for a decoder can be started (:mod:`moodreel.media.pool`): no fault of any input."""


class Stopwatch:
    """Wall time that one input has taken; it runs from the start, and stands still between ``stop`` and
    ``start``.

    Args:
        source: for messages.
        limits: :attr:`Limits.seconds` is what it may take.
        runs_on: whether it runs all the time: then what is done with the pictures counts, too.
    """

    def __init__(self, source: str, limits: Limits, runs_on: bool = False) -> None:
        self._source, self._most, self._runs_on = source, limits.seconds, runs_on
        self._spent = 0.0
        self._since: float | None = time.monotonic()

    def start(self) -> None:
        """Goes on."""
        if self._since is None:
            self._since = time.monotonic()

    def stop(self) -> None:
        """Stands still, unless it runs on."""
        if self._since is not None and not self._runs_on:
            self._spent += time.monotonic() - self._since
            self._since = None

    def restart(self) -> None:
        """Begins anew, and runs."""
        self._spent, self._since = 0.0, time.monotonic()

    def check(self) -> None:
        """Raises LimitExceeded when the time is used up."""
        running = 0.0 if self._since is None else time.monotonic() - self._since
        if self._spent + running > self._most:
            raise LimitExceeded(self._source, tell_overtime(self._most))


def tell_overtime(seconds: float) -> str:
    """Why an input that took too long was given up."""
    return f"reading it takes longer than the limit of {seconds:g} s (seconds)"


class Media(ABC):
    """An opened input: times and size are known, frames are decoded when asked for.

    Args:
        source, timeline, width, height: as below.
        watch: counts the time that decoding takes, and has run since the input was opened; None counts none.

    Attributes:
        source: the path or a name for the input.
        timeline: when each frame is on screen.
        width, height: of the full frame, in pixels.
    """

    def __init__(
        self, source: str, timeline: Timeline, width: int, height: int, watch: Stopwatch | None = None
    ) -> None:
        self.source = source
        self.timeline = timeline
        self.width = width
        self.height = height
        self._watch = watch
        if watch is not None:
            watch.stop()

    def __len__(self) -> int:
        return len(self.timeline)

    @property
    def duration(self) -> float:
        """Length in seconds; 0 for a still."""
        return self.timeline.duration

    def read(self, indices: Sequence[int], mode: Mode = "rgb") -> Iterator[tuple[int, UInt8Array]]:
        """Decodes the frames asked for, one after another, and no more than they need.

        Args:
            indices: ascending, each at most once, in [0, T).
            mode: "rgb" (transparent parts over white) or "rgba".

        Returns:
            An iterator over (index, [H, W, 3 or 4] uint8); each array is the caller's to keep.

        Raises:
            SettingsError: an index or the mode is not allowed.
            MediaError: while iterating, when the content is broken.
        """
        check_mode(mode)
        return self._timed(self._read(self._check(indices), mode))

    def read_resized(self, indices: Sequence[int], size: tuple[int, int]) -> Iterator[tuple[int, UInt8Array]]:
        """As :meth:`read` in mode "rgb", each frame resized at once.

        Args:
            indices: ascending, each at most once, in [0, T).
            size: (height, width) in pixels.

        Returns:
            An iterator over (index, [height, width, 3] uint8).
        """
        return self._timed(self._read_resized(self._check(indices), size))

    def _timed(self, frames: Iterator[tuple[int, UInt8Array]]) -> Iterator[tuple[int, UInt8Array]]:
        """The same frames, the time between them left out of the limit."""
        while True:
            if self._watch is not None:
                self._watch.start()
            try:
                found = next(frames, None)
                self._check_time()
            finally:
                if self._watch is not None:
                    self._watch.stop()
            if found is None:
                return
            yield found

    def time_by(self, watch: Stopwatch) -> None:
        """Lets another watch count the time from now on."""
        self._watch = watch

    def _check_time(self) -> None:
        """Raises LimitExceeded when decoding has taken too long."""
        if self._watch is not None:
            self._watch.check()

    def read_pictures(self, indices: Sequence[int]) -> Iterator[tuple[int, Image.Image]]:
        """As :meth:`read` in mode "rgb", each frame as Pillow's image, and not the caller's to keep.

        What :meth:`read_resized` resizes, for those who want to see the two apart.

        Args:
            indices: ascending, each at most once, in [0, T).

        Returns:
            An iterator over (index, RGB or RGBX image); the next step may change its pixels.
        """
        return self._pictures(self._check(indices))

    def _check(self, indices: Sequence[int]) -> list[int]:
        wanted = [int(index) for index in indices]
        ascending = all(a < b for a, b in pairwise(wanted))
        if not ascending or (wanted and not 0 <= wanted[0] <= wanted[-1] < len(self)):
            raise SettingsError("indices", wanted[:8], f"ascending, each once, in [0, {len(self)})")
        return wanted

    @abstractmethod
    def _read(self, indices: list[int], mode: Mode) -> Iterator[tuple[int, UInt8Array]]: ...

    def _read_resized(self, indices: list[int], size: tuple[int, int]) -> Iterator[tuple[int, UInt8Array]]:
        for index, picture in self._pictures(indices):
            yield index, resize(picture, size)

    def _pictures(self, indices: list[int]) -> Iterator[tuple[int, Image.Image]]:
        """Frames over white as Pillow's images, RGB or RGBX; the next step may change what they show."""
        from PIL import Image

        for index, frame in self._read(indices, "rgb"):
            yield index, Image.fromarray(frame)


class ArrayMedia(Media):
    """Frames that are already in memory: an array, a Clip, a still.

    Args:
        frames: [T, H, W, 3 or 4] uint8.
        timeline: T entries.
        source: a name for the input.
    """

    def __init__(self, frames: UInt8Array, timeline: Timeline, source: str) -> None:
        super().__init__(source, timeline, int(frames.shape[2]), int(frames.shape[1]))
        self._frames = frames

    def _read(self, indices: list[int], mode: Mode) -> Iterator[tuple[int, UInt8Array]]:
        for index in indices:
            yield index, convert(self._frames[index], mode)


def check_mode(mode: str) -> None:
    """Refuses a mode other than "rgb" and "rgba" with SettingsError."""
    if mode not in ("rgb", "rgba"):
        raise SettingsError("mode", mode, '"rgb" or "rgba"')


def convert(frame: UInt8Array, mode: Mode) -> UInt8Array:
    """Copies [H, W, 3 or 4] into ``mode``; RGBA goes over white to become RGB, rounded to nearest."""
    channels = frame.shape[2]
    if mode == "rgba":
        if channels == 4:
            return frame.copy()
        opaque = np.full((*frame.shape[:2], 4), 255, dtype=np.uint8)
        opaque[..., :3] = frame
        return opaque
    if channels == 3:
        return frame.copy()
    alpha = frame[..., 3:]
    if int(alpha.min()) == 255:
        return drop_alpha(frame)
    weight = alpha.astype(np.uint16)
    mixed = frame[..., :3] * weight + (255 - weight) * np.uint16(255)
    return ((mixed + 127) // 255).astype(np.uint8)


def drop_alpha(frame: UInt8Array) -> UInt8Array:
    """Copies [H, W, 4] to [H, W, 3]; channel by channel, 4 times faster than one strided copy."""
    out: UInt8Array = np.empty((*frame.shape[:2], 3), dtype=np.uint8)
    for channel in range(3):
        out[..., channel] = frame[..., channel]
    return out


def resize(image: Image.Image, size: tuple[int, int]) -> UInt8Array:
    """Resizes an RGB or RGBX image to (height, width); the one resizer of training and prediction.

    Shrinking: Hamming filter after a whole-number box reduction (``reducing_gap=2``). From 512 to 112 px
    that takes 0.6 of plain bilinear's time and comes 3 dB nearer to Lanczos. Enlarging either side:
    bilinear. Fixed-point arithmetic in Pillow, so the same everywhere.

    Returns:
        [height, width, 3] uint8.
    """
    from PIL import Image

    height, width = size
    if image.size != (width, height):
        shrinks = width <= image.width and height <= image.height
        method = Image.Resampling.HAMMING if shrinks else Image.Resampling.BILINEAR
        image = image.resize((width, height), method, reducing_gap=2.0)
    pixels: UInt8Array = np.asarray(image)
    return np.array(pixels[..., :3])  # a fresh, contiguous copy: the image may be a view of a canvas


def check_canvas(source: str, width: int, height: int, limits: Limits) -> None:
    """Raises CorruptMedia for an empty canvas and LimitExceeded for one past ``limits``."""
    if width < 1 or height < 1:
        raise CorruptMedia(source, f"the picture is {width} x {height} pixels: nothing to show")
    if width * height > limits.canvas_pixels:
        raise LimitExceeded(
            source,
            f"{width} x {height} pixels, more than the limit of {limits.canvas_pixels} (canvas_pixels)",
        )


def check_frames(source: str, count: int, limits: Limits) -> None:
    """Raises LimitExceeded for more pictures than ``limits`` allows."""
    if count > limits.frames:
        raise LimitExceeded(source, f"more than {limits.frames} frames (frames)")


def check_decoded(source: str, size: int, limits: Limits) -> None:
    """Raises LimitExceeded for more bytes in memory than ``limits`` allows."""
    if size > limits.decoded_bytes:
        raise LimitExceeded(
            source, f"{size} bytes in memory, more than the limit of {limits.decoded_bytes} (decoded_bytes)"
        )


@contextmanager
def guard(source: str, doing: str) -> Iterator[None]:
    """Turns whatever a third-party parser throws at broken content into a one-line MediaError.

    Catching Exception is meant here: Pillow and libav raise OSError, SyntaxError, ValueError, struct.error,
    KeyError and more on hostile files, and a caller working through a library must get one kind.
    """
    try:
        yield
    except (MediaError, SettingsError):
        raise
    except MemoryError:
        raise LimitExceeded(source, f"out of memory while {doing}") from None
    except Exception as error:
        detail = str(error) or type(error).__name__
        raise CorruptMedia(source, f"error while {doing}: {detail[:200]}") from error
