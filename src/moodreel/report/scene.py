"""What CACA-RNN read, drawn: the face's box on the frames that show it, and a strip of the scene's moments.

The strip's axis is the time of the clip. A moment is a bar, the higher and the brighter the more it was
attended to; a line marks the even share.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from moodreel.media import frames_nearest
from moodreel.report.panel import GROUND
from moodreel.types import FloatArray, SceneReading, UInt8Array

GAP = 0.5
"""Seconds: between sights so far apart or farther no box is drawn, as no one looked."""

MOST_BARS = 144
"""Bars of a strip in a page; of more moments, the strongest of every second, third, ... stands."""

LIGHT = (255, 255, 255)
"""Of the box and the cursor."""

_DARK = (16, 18, 22)
_TRACK = (36, 40, 48)
_LOW, _HIGH = np.array([70.0, 78.0, 96.0]), np.array([255.0, 214.0, 102.0])
"""Colours of a bar without and with full attention."""

_EVEN = (150, 158, 172)


@dataclass(frozen=True, eq=False)
class Bars:
    """The moments of a scene along a clip.

    Attributes:
        left, right: [n] 0-1 of the clip's time; they do not overlap.
        level: [n] 0-1, attention as a share of ``full``.
        even: 0-1, the even share likewise; at most 0.5.
    """

    left: FloatArray
    right: FloatArray
    level: FloatArray
    even: float


def lay_bars(scene: SceneReading | None, duration: float, most: int | None = None) -> Bars | None:
    """Lays the moments along the clip: each reaches half a step to both sides.

    The strongest has level 1, but never below twice the even share: attention that is nearly even must not
    look like a find.

    Args:
        scene: its ``moments`` [k] at ``moment_times`` [k], ascending.
        duration: seconds, of the clip; 0 of a still.
        most: bars at most; None is one a moment.

    Returns:
        None where there are no moments.
    """
    if scene is None or scene.moments is None or scene.moment_times is None or not len(scene.moments):
        return None
    weights, times = scene.moments.astype(np.float64), scene.moment_times
    even = 1 / len(weights)
    full = max(float(weights.max()), 2 * even)
    if len(times) < 2 or duration <= 0:
        return Bars(np.zeros(1), np.ones(1), np.array([weights.max() / full]), even / full)
    half = float(np.diff(times).min()) / 2
    left = np.clip((times - half) / duration, 0, 1)
    right = np.clip((times + half) / duration, 0, 1)
    if most is not None and len(weights) > most:
        starts = np.arange(0, len(weights), -(-len(weights) // most))
        ends = np.append(starts[1:], len(weights)) - 1
        left, right, weights = left[starts], right[ends], np.maximum.reduceat(weights, starts)
    return Bars(left, right, weights / full, even / full)


def place_boxes(scene: SceneReading, starts: FloatArray, shown: npt.ArrayLike) -> FloatArray:
    """The face's box in some pictures of a clip.

    A picture that was looked at has its own box, one between two sights less than :data:`GAP` apart what is
    linear in time between theirs, any other none.

    Args:
        scene: its ``boxes`` at ``times``.
        starts: [T] seconds, of all pictures of the clip.
        shown: [n] which pictures.

    Returns:
        [n, 4] left, top, right, bottom, 0-1 of the frame; NaN where there is no box.
    """
    wanted = starts[np.asarray(shown, dtype=np.int64)]
    out = np.full((len(wanted), 4), np.nan)
    if not len(scene.times):
        return out
    # a box belongs to the picture that was looked at, which need not begin at the instant itself
    pictures, first = np.unique(frames_nearest(starts, scene.times), return_index=True)
    seen, boxes = starts[pictures], scene.boxes[first]
    after = np.searchsorted(seen, wanted, side="left").clip(max=len(seen) - 1)
    before = np.where(seen[after] == wanted, after, after - 1)
    span = seen[after] - seen[before]
    is_inside = (before >= 0) & (seen[after] >= wanted) & (span < GAP)
    share = np.divide(wanted - seen[before], span, out=np.zeros(len(wanted)), where=span > 0)[:, None]
    mixed = (1 - share) * boxes[before] + share * boxes[after]
    out[is_inside] = mixed[is_inside]
    return out


def draw_box(frame: UInt8Array, box: FloatArray, label: str) -> UInt8Array:
    """Draws a box with a label: a light line inside a dark one, to be seen on any ground.

    Args:
        frame: [H, W, 3] uint8.
        box: [4] left, top, right, bottom, 0-1 of the frame; what reaches beyond it is drawn at its edge.
        label: what stands on a tag above the box; where there is no room below it, else inside.

    Returns:
        [H, W, 3] uint8, a new array. The outermost pixels of the box are light.
    """
    from PIL import Image, ImageDraw, ImageFont

    height, width = frame.shape[:2]
    thick = max(1, round(max(height, width) / 200))
    x, y = np.clip(box[[0, 2]], 0, 1) * width, np.clip(box[[1, 3]], 0, 1) * height
    left, top = min(round(x[0]), width - 1), min(round(y[0]), height - 1)
    right, bottom = max(round(x[1]) - 1, left), max(round(y[1]) - 1, top)
    image = Image.fromarray(frame)
    draw = ImageDraw.Draw(image)
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=_DARK)
    inner = (left + thick, top + thick, right - thick, bottom - thick)
    if inner[0] < inner[2] and inner[1] < inner[3]:
        draw.rectangle(inner, outline=_DARK)
    draw.rectangle((left, top, right, bottom), outline=LIGHT, width=thick)
    font: Any = ImageFont.load_default(max(10, min(16, round(max(height, width) / 28))))
    first, above, last, below = draw.textbbox((0, 0), label, font)
    tag = (round(last - first) + 8, round(below - above) + 6)
    at = max(0, min(left, width - tag[0]))
    if tag[0] <= width and tag[1] <= height:
        places = (top - tag[1], bottom + 1, min(top, height - tag[1]))
        over = next(y for y in places if 0 <= y <= height - tag[1])
        draw.rectangle((at, over, at + tag[0] - 1, over + tag[1] - 1), fill=LIGHT)
        draw.text((at + 4 - first, over + 3 - above), label, fill=_DARK, font=font)
    pixels: UInt8Array = np.array(image)
    return pixels


def attach_strip(frame: UInt8Array, bars: Bars, cursor: float) -> UInt8Array:
    """Puts the strip of moments below a picture, as a player's time line is.

    Args:
        frame: [H, W, 3] uint8.
        bars: of :func:`lay_bars`.
        cursor: current time, 0-1 of the clip's.

    Returns:
        [H', W, 3] uint8. The picture keeps its pixels.
    """
    width = frame.shape[1]
    strip = _draw_strip(bars, width).copy()
    thick = 2 if width >= 320 else 1
    column = min(int(cursor * width), width - thick)
    strip[1:, max(0, column - 1) : column + thick + 1] = _DARK
    strip[1:, column : column + thick] = LIGHT
    return np.concatenate([frame, strip])


@lru_cache(maxsize=4)
def _draw_strip(bars: Bars, width: int) -> UInt8Array:
    """[h, width, 3] without a cursor: a row of ground, then the bars."""
    height = max(16, min(32, round(width / 16)))
    strip: UInt8Array = np.empty((height + 1, width, 3), np.uint8)
    strip[0], strip[1:] = GROUND, _TRACK
    levels = np.zeros(width)
    for left, right, level in zip(bars.left, bars.right, bars.level, strict=True):
        begin = min(round(left * width), width - 1)
        end = max(begin + 1, round(right * width))
        end -= end - begin > 5 and end < width  # wide bars stand apart
        levels[begin:end] = np.maximum(levels[begin:end], level)  # of several in a pixel the strongest stays
    rows = height - np.arange(height)[:, None]  # the lowest is 1
    is_filled = (rows <= np.round(levels * height)) & (levels > 0)
    colours = (_LOW + (_HIGH - _LOW) * levels[:, None]).round().astype(np.uint8)
    strip[1:][is_filled] = np.broadcast_to(colours, (height, width, 3))[is_filled]
    strip[1 + height - max(1, round(bars.even * height)), ::2] = _EVEN
    return strip
