"""Composites GIFs as browsers do, over Pillow's LZW decoder.

A target frame needs few of the images before it: :meth:`GifMedia._plan` walks back from it and leaves out
what a later image or disposal wholly replaces. Stickers (disposal 2) need one image a sampled frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from moodreel.errors import LimitExceeded
from moodreel.media.base import Media, Mode, Stopwatch, Timeline, drop_alpha
from moodreel.media.gif_scan import CLEAR, RESTORE, GifFrame, Rect, scan_gif
from moodreel.media.limits import Limits
from moodreel.types import UInt8Array

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[np.uint32]
Canvas: TypeAlias = npt.NDArray[Any]  # [H, W] Pixels, or uint16 palette indices

#: Boxes that the planner keeps of a region; past it the region is taken too large, which only costs time.
MAX_RECTS = 12

WHITE = np.uint32(0xFFFFFFFF)


class GifMedia(Media):
    """An opened GIF.

    Args:
        data: the whole file.
        source: for messages.
        limits: what it may cost.

    Raises:
        CorruptMedia, LimitExceeded: as :func:`moodreel.media.gif_scan.scan_gif`.
    """

    def __init__(self, data: bytes, source: str, limits: Limits) -> None:
        watch = Stopwatch(source, limits)
        scan = scan_gif(data, source, limits, watch)
        # A screen without an image is one transparent frame.
        delays = [frame.delay for frame in scan.frames] or [0]
        timeline = Timeline.from_ticks(delays, 100, scan.loop)
        super().__init__(source, timeline, scan.width, scan.height, watch)
        self._data = data
        self._frames = scan.frames

    def _read(self, indices: list[int], mode: Mode) -> Iterator[tuple[int, UInt8Array]]:
        for index, canvas in self._canvases(indices, mode):
            yield index, canvas.copy() if mode == "rgba" else drop_alpha(canvas)

    def _pictures(self, indices: list[int]) -> Iterator[tuple[int, Image.Image]]:
        try:
            painter = _Painter(self._data, self._frames, self.width, self.height, "rgb", self._check_time)
            for index in indices:
                yield index, painter.picture(index)
        except MemoryError:
            raise LimitExceeded(self.source, "out of memory while decoding a GIF") from None

    def _canvases(self, indices: list[int], mode: Mode) -> Iterator[tuple[int, UInt8Array]]:
        """Yields (index, canvas [H, W, 4]); the next step may change the canvas."""
        try:
            painter = _Painter(self._data, self._frames, self.width, self.height, mode, self._check_time)
            for index in indices:
                if self._frames:
                    painter.paint(index)
                yield index, painter.show().view(np.uint8).reshape(self.height, self.width, 4)
        except MemoryError:
            raise LimitExceeded(self.source, "out of memory while decoding a GIF") from None


class _Painter:
    """One canvas, and what is on it.

    Most animations have one colour table throughout. Their canvas holds palette indices, 256 standing for
    "nothing", and becomes colours only when shown: half the bytes to move for each image, and no colour
    lookup for the images in between.
    """

    def __init__(
        self,
        data: bytes,
        frames: list[GifFrame],
        width: int,
        height: int,
        mode: Mode,
        check_time: Callable[[], None],
    ) -> None:
        self._check_time = check_time  # raises when it is up
        # In mode "rgb" a transparent pixel is stored as white with alpha 0: over white it is then done.
        nothing = _pack(np.array([255, 255, 255, 0] if mode == "rgb" else [0, 0, 0, 0], np.uint8))[0]
        self._data = data
        self._palettes: dict[tuple[int, int], Pixels] = {}
        self._colours: Pixels | None = None  # given: the canvas holds indices into it
        self._blank: int | np.uint32 = nothing
        if len({frame.palette for frame in frames}) == 1:
            self._blank = 256
            self._colours = np.append(self._palette(frames[0]), nothing)
        kind = np.uint32 if self._colours is None else np.uint16
        self._canvas: Canvas = np.full((height, width), self._blank, kind)
        self._frames = frames
        self._painted = -1  # the frame that is on the canvas, before its disposal
        self._under: Canvas | None = None  # what that frame covered, if its disposal restores it
        self._waiting: int | None = None  # a frame that is on the canvas in name only: it was shown alone
        self._dirty = Rect(0, 0, 0, 0)  # holds all that is not blank, and perhaps some that is
        # Whether complete-looking opaque images are taken to be so: until one turns out to lack pixels.
        self._trusting = True

    def show(self) -> Pixels:
        """The canvas as pixels [H, W]; it may be the canvas itself."""
        if self._colours is None:
            return self._canvas
        # "clip": every index is in range, and the check for it costs a third of the time
        return np.take(self._colours, self._canvas, mode="clip")

    def picture(self, target: int) -> Image.Image:
        """Frame ``target`` over white, RGB or RGBX: for mode "rgb".

        It may be a view of the canvas, which the next call changes.
        """
        from PIL import Image

        if self._frames:
            alone = self._show_alone(target)
            if alone is not None:
                return alone
            self.paint(target)
        height, width = self._canvas.shape
        if self._colours is not None and int(self._canvas.max()) < 256:
            # Nothing shows through: Pillow looks colours up three times faster.
            indices = Image.frombuffer("P", (width, height), self._canvas.astype(np.uint8), "raw", "P", 0, 1)
            return _colour(indices, self._colours[:256])
        # RGBX: a view that Pillow resizes as it is, without a copy to three channels.
        return Image.frombuffer("RGBX", (width, height), self.show().view(np.uint8), "raw", "RGBX", 0, 1)

    def _show_alone(self, target: int) -> Image.Image | None:
        """A frame that is one image over nothing, as most of a sticker's are; None for any other.

        Its palette paints what it leaves clear white, and the canvas is not touched until a later frame
        needs it.
        """
        from PIL import Image

        frame = self._frames[target]
        first, drawn = self._plan(target)
        # on what the canvas holds
        rests = first == self._painted and first >= 0 and not self._goes_blank(first)
        colours = frame.palette[1]
        clear = frame.transparent if frame.transparent is not None else 255
        has_clear = frame.transparent is not None or 0 < colours < 256
        size = self._canvas.shape[::-1]
        fills = frame.rect == (0, 0, *size) and (frame.width, frame.height) == size
        if rests or drawn != {target} or not (fills or has_clear) or frame.bits > 8:
            return None
        indices, missing = _decode(self._data, frame)
        if missing is not None:
            return None
        if not fills:
            whole = Image.new("P", size, clear)
            whole.paste(indices, (frame.rect.left, frame.rect.top))
            indices = whole
        palette = self._palette(frame).copy()
        if 0 < colours < 256:
            palette[colours:] = WHITE
        if frame.transparent is not None:
            palette[clear] = WHITE
        self._painted = self._waiting = target
        self._under = None
        self._dirty = frame.rect
        return _colour(indices, palette)

    def _goes_blank(self, index: int) -> bool:
        """Whether nothing is left when the frame on the canvas is disposed of."""
        frame = self._frames[index]
        return self._dirty.empty or (frame.disposal == CLEAR and self._dirty.cut(frame.rect) == self._dirty)

    def _draw_waiting(self) -> None:
        """Brings to the canvas what was shown alone, as far as something will be left of it."""
        if self._waiting is not None:
            frame, self._waiting = self._frames[self._waiting], None
            self._canvas.fill(self._blank)
            if frame.disposal == CLEAR:
                return
            if frame.disposal == RESTORE:
                self._under = self._box(frame.rect).copy()
            self._draw(frame)

    def paint(self, target: int) -> None:
        """Brings the canvas to frame ``target``, which must not be earlier than the last one."""
        while not self._try(target):
            # Rare: an image with missing pixels stood in for those before it. Start over, trusting none.
            self._trusting = False
            self._painted = -1
            self._under = self._waiting = None
            self._dirty = Rect(0, 0, 0, 0)
            self._canvas.fill(self._blank)

    def _try(self, target: int) -> bool:
        first, drawn = self._plan(target)
        if first == self._painted and first >= 0:
            self._draw_waiting()
            if self._goes_blank(first):
                self._dirty = Rect(0, 0, 0, 0)
            self._dispose(first, self._under)
            first += 1
        elif first >= 0:  # what the canvas held is replaced piece by piece
            self._dirty = Rect(0, 0, *self._canvas.shape[::-1])
        self._under = self._waiting = None
        for index in range(max(first, 0), target + 1):
            frame = self._frames[index]
            if index in drawn:
                self._check_time()
                if index == target and frame.disposal == RESTORE:
                    self._under = self._box(frame.rect).copy()
                self._dirty = self._dirty.join(frame.rect)
                if not self._draw(frame) and frame.opaque and self._trusting:
                    return False
            if index < target:
                if index in drawn and self._goes_blank(index):
                    self._dirty = Rect(0, 0, 0, 0)
                self._dispose(index, None)
        self._painted = target
        return True

    def _plan(self, target: int) -> tuple[int, set[int]]:
        """What must be drawn for ``target``: (first index to handle, indices to decode).

        Walks back with the region whose pixels are still unknown, until it is empty or the canvas as it
        stands supplies the rest.
        """
        height, width = self._canvas.shape
        unknown = [Rect(0, 0, width, height)]
        drawn: set[int] = set()
        index = target
        while index > self._painted:
            frame = self._frames[index]
            settled = False
            if index == target or frame.disposal not in (CLEAR, RESTORE):
                if any(not part.cut(frame.rect).empty for part in unknown):
                    drawn.add(index)
                    # What a restoring target covers is needed again, for the target after it.
                    settled = frame.opaque and self._trusting and frame.disposal != RESTORE
            else:
                settled = frame.disposal == CLEAR
            if settled:
                unknown = _subtract(unknown, frame.rect)
                if not unknown:
                    return index, drawn
            index -= 1
        return index, drawn

    def _dispose(self, index: int, under: Canvas | None) -> None:
        frame = self._frames[index]
        if frame.disposal == CLEAR:
            self._box(frame.rect).fill(self._blank)
        elif frame.disposal == RESTORE and under is not None:
            self._box(frame.rect)[...] = under

    def _draw(self, frame: GifFrame) -> bool:
        """Draws the image; False when its data lacks pixels (they stay as they are)."""
        if frame.rect.empty:
            return True
        image, known = _decode(self._data, frame)
        indices: UInt8Array = np.asarray(image)
        box = self._box(frame.rect)
        height, width = box.shape
        indices = indices[:height, :width]
        visible: npt.NDArray[np.bool_] | None = None
        if frame.transparent is not None:
            visible = indices != frame.transparent
        colours = frame.palette[1]
        if 0 < colours < 256 and (frame.bits > 8 or colours < 1 << frame.bits):
            # An index past the colour table draws nothing, as in Chrome.
            inside = indices < colours
            visible = inside if visible is None else visible & inside
        if known is not None:
            cut = known[:height, :width]
            visible = cut if visible is None else visible & cut
        drawn: Canvas = indices
        if self._colours is None:
            drawn = np.take(self._palette(frame), indices)
        if visible is None:
            box[...] = drawn
        else:
            np.copyto(box, drawn, where=visible)
        return known is None

    def _box(self, rect: Rect) -> Canvas:
        return self._canvas[rect.top : max(rect.bottom, rect.top), rect.left : max(rect.right, rect.left)]

    def _palette(self, frame: GifFrame) -> Pixels:
        """[256] RGBA of the image's colour table; a ramp of grey where the file has none."""
        found = self._palettes.get(frame.palette)
        if found is None:
            offset, count = frame.palette
            table = np.zeros((256, 4), np.uint8)
            table[:, 3] = 255
            if count:
                stored = np.frombuffer(self._data[offset : offset + 3 * count], np.uint8)
                stored = stored[: len(stored) // 3 * 3].reshape(-1, 3)
                table[: len(stored), :3] = stored
            else:
                table[:, :3] = np.arange(256, dtype=np.uint8)[:, None]
            found = _pack(table)
            if len(self._palettes) > 64:  # a hostile file has one a frame
                self._palettes.clear()
            self._palettes[frame.palette] = found
        return found


def _subtract(region: list[Rect], hole: Rect) -> list[Rect]:
    parts = [part for rect in region for part in rect.without(hole)]
    return parts if len(parts) <= MAX_RECTS else region


def _pack(rgba: UInt8Array) -> Pixels:
    """[n, 4] or [4] uint8 as [n] or [1] pixels in the machine's byte order."""
    packed: Pixels = np.ascontiguousarray(rgba).view(np.uint32).reshape(-1)
    return packed


def _colour(indices: Image.Image, palette: Pixels) -> Image.Image:
    """A picture "P" in the colours of [256] RGBA pixels, as "RGB"."""
    indices.putpalette(palette.view(np.uint8).reshape(256, 4)[:, :3].tobytes(), "RGB")
    return indices.convert("RGB")


def _decode(data: bytes, frame: GifFrame) -> tuple[Image.Image, npt.NDArray[np.bool_] | None]:
    """Decodes the LZW data of one image.

    Returns:
        (palette indices, a picture "P" [h, w], None), or with a [h, w] mask of the pixels that the data
        covers when it does not cover all.
    """
    from PIL import Image

    blocks = _blocks(data, frame)
    size = (frame.width, frame.height)
    arguments = (frame.bits, int(frame.interlaced))
    image = Image.new("P", size, 0)
    try:
        image.frombytes(blocks, "gif", arguments)
    except ValueError:
        # Pillow keeps what it decoded but does not say how far it got: decode again over another value.
        other = Image.new("P", size, 255)
        with suppress(ValueError):
            other.frombytes(blocks, "gif", arguments)
        return image, np.asarray(image) == np.asarray(other)
    return image, None


def _blocks(data: bytes, frame: GifFrame) -> bytes:
    """The sub-blocks of an image; where the file is cut off inside one, its length byte is corrected."""
    blocks = data[frame.start : frame.end]
    if frame.end < len(data) or not blocks:
        return blocks
    position = last = 0
    while position < len(blocks):
        last = position
        position += blocks[position] + 1
    if position == len(blocks):
        return blocks
    return blocks[:last] + bytes([len(blocks) - last - 1]) + blocks[last + 1 :]
