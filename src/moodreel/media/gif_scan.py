"""Reads the blocks of a GIF without decoding a pixel: where each image is, when it shows, how it leaves.

Sources: the GIF89a specification (CompuServe, 1990), and for files that break it what Chrome and Firefox do.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from moodreel.errors import CorruptMedia, LimitExceeded
from moodreel.media.base import Stopwatch, check_canvas, check_frames
from moodreel.media.limits import Limits

KEEP, CLEAR, RESTORE = 1, 2, 3

#: Application extensions that hold a loop count.
LOOP_EXTENSIONS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")

#: Sub-blocks between two looks at the clock: a comment may have a thousand million of them.
BLOCKS_PER_CHECK = 4096


class Rect(NamedTuple):
    """A half-open box in pixels: left <= x < right, top <= y < bottom."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def empty(self) -> bool:
        """Whether no pixel is inside."""
        return self.left >= self.right or self.top >= self.bottom

    def cut(self, other: Rect) -> Rect:
        """The part inside ``other``; may be empty."""
        return Rect(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )

    def join(self, other: Rect) -> Rect:
        """The least box around both; an empty one counts for nothing."""
        if self.empty or other.empty:
            return other if self.empty else self
        return Rect(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )

    def without(self, other: Rect) -> list[Rect]:
        """The part outside ``other`` as at most four disjoint boxes."""
        hole = self.cut(other)
        if hole.empty:
            return [self]
        parts = (
            Rect(self.left, self.top, self.right, hole.top),
            Rect(self.left, hole.bottom, self.right, self.bottom),
            Rect(self.left, hole.top, hole.left, hole.bottom),
            Rect(hole.right, hole.top, self.right, hole.bottom),
        )
        return [part for part in parts if not part.empty]


class GifFrame(NamedTuple):
    """One image of the file.

    Attributes:
        width, height: of the image as stored, before it is cut to the canvas.
        rect: where it shows on the canvas; empty when it lies outside.
        delay: hundredths of a second, as stored.
        disposal: KEEP, CLEAR or RESTORE.
        transparent: palette index that draws nothing, or None.
        palette: (offset, colours) of its colour table in the file; (0, 0) when there is none.
        bits: LZW minimum code size.
        interlaced: rows are stored in four passes.
        start, end: offsets of the LZW sub-blocks; equal when there is nothing to draw.
    """

    width: int
    height: int
    rect: Rect
    delay: int
    disposal: int
    transparent: int | None
    palette: tuple[int, int]
    bits: int
    interlaced: bool
    start: int
    end: int

    @property
    def opaque(self) -> bool:
        """Whether it sets every pixel of its box, provided its LZW data is complete."""
        colours = self.palette[1]
        enough = colours == 0 or colours >= 1 << self.bits  # an index past the table draws nothing
        return self.transparent is None and self.bits <= 8 and enough


class GifScan(NamedTuple):
    """All that a GIF says apart from its pixels."""

    width: int
    height: int
    frames: list[GifFrame]
    loop: int | None


def scan_gif(data: bytes, source: str, limits: Limits, watch: Stopwatch) -> GifScan:
    """Lists the images of a GIF in one pass over its block lengths.

    A file that ends early, or holds something that is no block, is read up to there. An image cut off in
    its data counts when at least one pixel can be decoded.

    Args:
        data: the whole file.
        source: for messages.
        limits: canvas and frame count are checked here.
        watch: counts the time, and runs.

    Returns:
        The scan; ``frames`` is empty for a valid screen without an image.

    Raises:
        CorruptMedia: no screen, an empty one, or images of which none can be drawn.
        LimitExceeded: the canvas, an image, or the number of images is too large, or the time is up.
    """
    if len(data) < 13:
        raise CorruptMedia(source, "the GIF ends inside its header")
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    check_canvas(source, width, height, limits)
    canvas = Rect(0, 0, width, height)
    position = 13
    global_palette = (0, 0)
    if flags & 0x80:
        global_palette = (position, 2 << (flags & 7))
        position += 3 * global_palette[1]
    frames: list[GifFrame] = []
    loop: int | None = None
    delay, disposal, transparent = 0, KEEP, None
    finished = drawable = False
    while position < len(data):
        label = data[position]
        if label == 0x21:
            kind = data[position + 1] if position + 1 < len(data) else -1
            body = position + 2
            if kind == 0xF9 and data[body : body + 1] >= b"\x04" and body + 5 <= len(data):
                delay, disposal, transparent = _control(data, body + 1)
            elif kind == 0xFF and data[body + 1 : body + 12] in LOOP_EXTENSIONS:
                loop = _loop_count(data, body + 1 + data[body], loop)
            position = skip_blocks(data, body, watch)
        elif label == 0x2C:
            if position + 10 > len(data):
                break
            left, top, w, h, packed = struct.unpack_from("<HHHHB", data, position + 1)
            position += 10
            palette = global_palette
            if packed & 0x80:
                palette = (position, 2 << (packed & 7))
                position += 3 * palette[1]
            bits = data[position] if position < len(data) else 0
            start = min(position + 1, len(data))
            position = skip_blocks(data, start, watch)
            if w * h > limits.canvas_pixels:
                raise LimitExceeded(source, f"an image of {w} x {h} pixels inside the GIF (canvas_pixels)")
            draws = w * h > 0 and _first_pixel(data, start, position, bits, watch)
            if position > len(data) and not draws and w * h > 0:
                break  # cut off before its first pixel: browsers show nothing of it either
            drawable = drawable or draws or w * h == 0
            rect = Rect(left, top, left + w, top + h).cut(canvas)
            end = min(position, len(data)) if draws else start
            frames.append(
                GifFrame(
                    w, h, rect, delay, disposal, transparent, palette, bits, bool(packed & 0x40), start, end
                )
            )
            check_frames(source, len(frames), limits)
            delay, disposal, transparent = 0, KEEP, None
        else:
            finished = label == 0x3B
            break
    if frames and not drawable:
        raise CorruptMedia(source, "no image in the GIF can be decoded")
    if not frames and not finished:
        raise CorruptMedia(source, "the GIF ends before its first image")
    return GifScan(width, height, frames, loop)


def skip_blocks(data: bytes, position: int, watch: Stopwatch) -> int:
    """Returns the offset after a chain of sub-blocks; past the end of ``data`` when it is cut off."""
    size = len(data)
    while position < size:
        watch.check()
        for _ in range(BLOCKS_PER_CHECK):
            length = data[position]
            position += length + 1
            if not length:
                return position
            if position >= size:
                break
    return size + 1


def _control(data: bytes, body: int) -> tuple[int, int, int | None]:
    packed, delay, transparent = struct.unpack_from("<BHB", data, body)
    disposal = packed >> 2 & 7
    # Old encoders write 4 for 3, and Chrome and Firefox read it so; 0 and 5 to 7 keep the image.
    disposal = {2: CLEAR, 3: RESTORE, 4: RESTORE}.get(disposal, KEEP)
    return delay, disposal, transparent if packed & 1 else None


def _loop_count(data: bytes, position: int, known: int | None) -> int | None:
    # Walks the extension's sub-blocks: id 1 is the loop count, id 2 a buffer size.
    while position < len(data) and data[position]:
        if data[position] >= 3 and position + 4 <= len(data) and data[position + 1] & 7 == 1:
            return int.from_bytes(data[position + 2 : position + 4], "little")
        position += data[position] + 1
    return known


def _first_pixel(data: bytes, start: int, end: int, bits: int, watch: Stopwatch) -> bool:
    """Whether the LZW stream opens with a colour (after any clear codes): then it draws something."""
    if bits > 11:
        return False
    clear, size = 1 << bits, bits + 1
    buffer = available = 0
    position, stop = start, min(end, len(data))
    while position < stop and data[position]:
        watch.check()
        for byte in data[position + 1 : min(position + 1 + data[position], stop)]:
            buffer |= byte << available
            available += 8
            while available >= size:
                code = buffer & (1 << size) - 1
                if code != clear:
                    return code < clear
                buffer >>= size
                available -= size
        position += data[position] + 1
    return False
