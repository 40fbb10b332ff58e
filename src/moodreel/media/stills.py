"""PNG, APNG, WebP, JPEG and BMP: Pillow decodes, the times come from the file's own chunks.

The plugins are called by class, never through ``Image.open``: content decides which one, no other format
is tried, and Pillow's process-wide bomb check stays out of the way of our limits.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from moodreel.errors import CorruptMedia
from moodreel.media.base import (
    ArrayMedia,
    Media,
    Mode,
    Stopwatch,
    Timeline,
    check_canvas,
    check_frames,
    convert,
    guard,
)
from moodreel.media.limits import Limits
from moodreel.types import UInt8Array

#: Pillow transpositions (by name) that undo EXIF orientations 2 to 8.
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


FRAMES_PER_CHECK = 32
"""Frames of an animation between two looks at the clock."""

_PILLOW_BOUND = threading.Lock()


class Animation(NamedTuple):
    """What the chunks of a PNG or WebP say.

    Attributes:
        width, height: of the canvas, in pixels.
        delays: [T] seconds, one for each complete animation frame; empty for a still.
        loop: None when the file does not say, 0 for ever, n times otherwise.
        skip: pictures that Pillow counts before the first animation frame.
    """

    width: int
    height: int
    delays: list[float]
    loop: int | None
    skip: int = 0


def open_still(data: bytes, kind: str, source: str, limits: Limits) -> Media:
    """Opens a PNG, APNG, WebP, JPEG or BMP file.

    Args:
        data: the whole file.
        kind: "png", "webp", "jpeg" or "bmp", as sniffed.
        source: for messages.
        limits: canvas and frames are checked before anything is decoded.

    Returns:
        A Media; a still is decoded at once, with its EXIF orientation applied.

    Raises:
        CorruptMedia: the content is broken.
        LimitExceeded: a limit would be broken.
    """
    animation = None
    if kind in ("png", "webp"):
        watch = Stopwatch(source, limits)
        with guard(source, f"reading the {kind.upper()} chunks"):
            animation = (scan_png if kind == "png" else scan_webp)(data, source, limits, watch)
        check_canvas(source, animation.width, animation.height, limits)
        if animation.delays:
            return _AnimationMedia(data, kind, source, animation, watch)
    with guard(source, f"decoding the {kind.upper()}"), _plugin(kind, data) as image:
        check_canvas(source, image.width, image.height, limits)
        frame = to_array(_upright(image))
    return ArrayMedia(frame[None], Timeline.from_rate(1, 1.0), source)


def to_array(image: Any) -> UInt8Array:
    """Copies a Pillow image of any mode to [H, W, 3] uint8, or [H, W, 4] where it has transparency."""
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion to 8 bits clips instead of scaling.
        grey = np.asarray(image).astype(np.int64)
        narrow = (np.clip(grey, 0, 65535) >> 8).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(narrow[..., None], (*narrow.shape, 3)))
    clear = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    return np.array(image.convert("RGBA" if clear else "RGB"))


def scan_png(data: bytes, source: str, limits: Limits, watch: Stopwatch) -> Animation:
    """Lists the frames of a PNG from its chunks (APNG 1.0: acTL, fcTL, fdAT).

    Only frames whose data is complete count; a delay denominator of 0 means 1/100 s.
    """
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise CorruptMedia(source, "the PNG does not start with its header chunk")
    width, height = struct.unpack_from(">II", data, 16)
    delays: list[float] = []
    animated = before_image = False
    loop: int | None = None
    pending: float | None = None
    complete = False
    position = 8
    while position + 8 <= len(data):
        watch.check()
        size, name = struct.unpack_from(">I4s", data, position)
        body, position = position + 8, position + 12 + size
        if position > len(data):
            complete = False
            break
        if name == b"acTL" and size >= 8:
            animated = True
            loop = struct.unpack_from(">I", data, body + 4)[0]
        elif name in (b"fcTL", b"IEND"):
            if pending is not None and complete:
                delays.append(pending)
                check_frames(source, len(delays), limits)
            pending, complete = None, False
            if name == b"IEND":
                break
            if size >= 26:
                numerator, denominator = struct.unpack_from(">HH", data, body + 20)
                pending = numerator / (denominator or 100)
        elif name in (b"IDAT", b"fdAT"):
            if name == b"IDAT" and pending is not None:
                before_image = True
            complete = pending is not None
    else:
        # No end chunk: the last frame counts if the file stopped right behind its data.
        if pending is not None and complete:
            delays.append(pending)
    # A default image without a frame control chunk is for viewers that know no APNG.
    return Animation(width, height, delays if animated else [], loop, 0 if before_image else 1)


def scan_webp(data: bytes, source: str, limits: Limits, watch: Stopwatch) -> Animation:
    """Lists the frames of a WebP from its RIFF chunks (VP8X, ANIM, ANMF)."""
    width = height = 0
    delays: list[float] = []
    loop: int | None = None
    position = 12
    while position + 8 <= len(data):
        watch.check()
        name, size = struct.unpack_from("<4sI", data, position)
        body, position = position + 8, position + 8 + size + (size & 1)
        if name == b"VP8X":
            width = 1 + int.from_bytes(data[body + 4 : body + 7], "little")
            height = 1 + int.from_bytes(data[body + 7 : body + 10], "little")
        elif name == b"ANIM":
            loop = struct.unpack_from("<H", data, body + 4)[0]
        elif name == b"ANMF":
            delays.append(int.from_bytes(data[body + 12 : body + 15], "little") / 1000)
            check_frames(source, len(delays), limits)
        elif name == b"VP8 " and not width:
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, body + 6))
        elif name == b"VP8L" and not width:
            packed = struct.unpack_from("<I", data, body + 1)[0]
            width, height = 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    return Animation(width, height, delays, loop)


class _AnimationMedia(Media):
    """An APNG or animated WebP, decoded front to back by Pillow."""

    def __init__(self, data: bytes, kind: str, source: str, animation: Animation, watch: Stopwatch) -> None:
        timeline = Timeline.from_delays(animation.delays, animation.loop)
        super().__init__(source, timeline, animation.width, animation.height, watch)
        self._data = data
        self._kind = kind
        self._skip = animation.skip
        self._parts = list_webp_frames(data) if kind == "webp" else []
        with guard(source, f"decoding the {kind.upper()}"), _plugin(kind, data) as image:
            if image.size != (self.width, self.height):
                raise CorruptMedia(source, f"the {kind.upper()} states two sizes")

    def _read(self, indices: list[int], mode: Mode) -> Iterator[tuple[int, UInt8Array]]:
        starts = self._starts(indices)
        if not starts:
            yield from self._decode(self._data, 0, indices, mode)
            return
        # A WebP as several shorter ones, each from a frame that replaces all before it: libwebp composites
        # each as it would the whole, so that the pixels are the same.
        for start in sorted(set(starts.values())):
            members = [index for index in indices if starts[index] == start]
            yield from self._decode(
                _cut_webp(self._data, self._parts, start, members[-1]), start, members, mode
            )

    def _decode(
        self, data: bytes, start: int, indices: list[int], mode: Mode
    ) -> Iterator[tuple[int, UInt8Array]]:
        """Decodes frames front to back.

        Args:
            data: the file, or a part of it that is one.
            start: the frame that is its first.
            indices, mode: as in :meth:`Media.read`.
        """
        if not indices:
            return
        name = self._kind.upper()
        with guard(self.source, f"decoding the {name}"):
            image = _plugin(self._kind, data)
        reached = start
        with image:
            for index in indices:
                with guard(self.source, f"decoding frame {index} of the {name}"):
                    # Pillow decodes all that lies between; in steps, so that the clock is looked at.
                    for step in range(reached + FRAMES_PER_CHECK, index, FRAMES_PER_CHECK):
                        image.seek(step - start + self._skip)
                        image.load()
                        self._check_time()
                    image.seek(index - start + self._skip)
                    reached = index
                    frame = convert(to_array(image), mode)
                yield index, frame

    def _starts(self, indices: list[int]) -> dict[int, int]:
        """Where decoding can start for each frame of a WebP; empty where that leaves out nothing."""
        if len(self._parts) != len(self):
            return {}
        starts, last = {}, 0
        for index, part in enumerate(self._parts):
            last = index if part.alone or (index and self._parts[index - 1].clears) else last
            starts[index] = last
        chosen = {index: starts[index] for index in indices}
        before = [-1, *indices[:-1]]
        skipped = sum(max(0, chosen[b] - a - 1) for a, b in zip(before, indices, strict=True))
        return chosen if skipped else {}


class WebPFrame(NamedTuple):
    """One frame of an animated WebP.

    Attributes:
        begin, end: offsets of its chunk.
        alone: whether it sets every pixel of the canvas, whatever was there.
        clears: whether it is taken away after it was shown, all of the canvas.
    """

    begin: int
    end: int
    alone: bool
    clears: bool


def list_webp_frames(data: bytes) -> list[WebPFrame]:
    """The frames of an animated WebP, and which of them depend on none before; empty where there are none."""
    frames: list[WebPFrame] = []
    canvas = (0, 0)
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        body = position + 8
        end = body + size + (size & 1)
        if name == b"VP8X" and size >= 10:
            sides = data[body + 4 : body + 10]
            canvas = (1 + int.from_bytes(sides[:3], "little"), 1 + int.from_bytes(sides[3:], "little"))
        elif name == b"ANMF":
            if size < 24 or end > len(data):
                return []  # cut off: left to libwebp as it is
            numbers = [int.from_bytes(data[body + at : body + at + 3], "little") for at in (0, 3, 6, 9)]
            fills = numbers[:2] == [0, 0] and (numbers[2] + 1, numbers[3] + 1) == canvas
            flags = data[body + 15]
            opaque = data[body + 16 : body + 20] == b"VP8 "  # lossy without an ALPH chunk before it
            frames.append(
                WebPFrame(position, end, fills and (bool(flags & 2) or opaque), fills and flags & 1 == 1)
            )
        position = end
    return frames


def _cut_webp(data: bytes, frames: list[WebPFrame], first: int, last: int) -> bytes:
    """The same animation with only some of its frames."""
    body = data[12 : frames[0].begin] + data[frames[first].begin : frames[last].end]
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


@cache
def _quieten() -> None:
    """Keeps Pillow's remarks on broken EXIF data off standard error: the picture is read all the same."""
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def _plugin(kind: str, data: bytes) -> Any:
    _quieten()
    stream = io.BytesIO(data)
    if kind == "png":
        from PIL.PngImagePlugin import PngImageFile

        return PngImageFile(stream)
    if kind == "webp":
        return _open_webp(stream)
    if kind == "jpeg":
        from PIL.JpegImagePlugin import JpegImageFile

        return JpegImageFile(stream)
    from PIL.BmpImagePlugin import BmpImageFile

    return BmpImageFile(stream)


def _open_webp(stream: io.BytesIO) -> Any:
    from PIL import Image
    from PIL.WebPImagePlugin import WebPImageFile

    # The one plugin that applies Pillow's process-wide bound by itself; ours was applied before.
    with _PILLOW_BOUND:
        bound = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            return WebPImageFile(stream)
        finally:
            Image.MAX_IMAGE_PIXELS = bound


def _upright(image: Any) -> Any:
    from PIL import Image

    image.load()
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # broken EXIF is no reason to refuse the picture
        return image
    name = _UPRIGHT.get(orientation)
    return image if name is None else image.transpose(Image.Transpose[name])
