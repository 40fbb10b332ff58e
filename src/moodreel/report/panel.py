"""The strongest scores as a strip of picture, below or beside an animation's frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from moodreel.report.colours import NEUTRAL, find_colour, label_name
from moodreel.report.scene_text import tell_scene
from moodreel.types import Result, UInt8Array

TOP = 5
"""Scores in the strip."""

GROUND = (22, 24, 29)
_INK = (240, 242, 245)
_DIM = NEUTRAL.dark
_TRACK = (52, 57, 66)

_WIDTH = 240
"""Pixels of a strip beside the picture, and the least of one below."""


def attach_panel(frame: UInt8Array, result: Result, note: str | None = None) -> UInt8Array:
    """Puts the strip below the picture, or to its right where the picture is tall.

    Args:
        frame: [H, W, 3] uint8.
        result: of one input, without an error.
        note: a further line.

    Returns:
        [H', W', 3] uint8; of frames of one size, always one size. The picture keeps its pixels.
    """
    height, width = frame.shape[:2]
    is_beside = height > 1.15 * width
    lines = _list_lines(result, note)
    if is_beside:
        panel = _draw_panel(lines, _WIDTH, height, 1.0)
        total_height, total_width = panel.shape[0], width + _WIDTH
        top, left = (total_height - height) // 2, 0
        place = (slice(None), slice(width, None))
    else:
        total_width = max(width, _WIDTH)
        panel = _draw_panel(lines, total_width, 0, min(1.6, max(1.0, total_width / 360)))
        total_height = height + panel.shape[0]
        top, left = 0, (total_width - width) // 2
        place = (slice(height, None), slice(None))
    canvas: UInt8Array = np.empty((total_height, total_width, 3), dtype=np.uint8)
    canvas[:] = GROUND
    canvas[place] = panel
    canvas[top : top + height, left : left + width] = frame
    return canvas


_Line = tuple[str, float | None, bool, str]
"""Text, score (None for a line of text), whether scores reach from -1, and a colour as #rrggbb."""


def _list_lines(result: Result, note: str | None) -> tuple[_Line, ...]:
    signed = bool(result.emotions) or not result.probabilities
    scores = result.emotions or result.probabilities or {"valence": result.valence}  # sta has no other
    known = sorted(((v, k) for k, v in scores.items() if v is not None), key=lambda pair: -pair[0])
    lines: list[_Line] = []
    if signed and result.confidence is not None:
        colour = find_colour(result.category or "").dark
        lines.append(
            (f"{label_name(result.category or 'none')}  {result.confidence:.2f}", None, True, colour)
        )
    lines += [(label_name(name), score, signed, find_colour(name).dark) for score, name in known[:TOP]]
    lines += [(text, None, True, _DIM) for text in (tell_scene(result), note) if text]
    return tuple(lines)


def _wrap_notes(lines: tuple[_Line, ...], fits: Callable[[str], bool]) -> Iterator[_Line]:
    """Cuts notes that are too long between words."""
    for text, score, signed, colour in lines:
        part = ""
        for word in text.split(" ") if score is None and colour == _DIM else ():
            if part and not fits(f"{part} {word}"):
                yield part, score, signed, colour
                part = word
            else:
                part = f"{part} {word}" if part else word
        yield part or text, score, signed, colour


@lru_cache(maxsize=4)
def _draw_panel(lines: tuple[_Line, ...], width: int, least_height: int, zoom: float) -> UInt8Array:
    from PIL import Image, ImageDraw, ImageFont

    size = round(13 * zoom)
    step, edge = round(size * 1.5), round(size * 0.75)
    font: Any = ImageFont.load_default(size)
    lines = tuple(_wrap_notes(lines, lambda text: font.getlength(text) <= width - 2 * edge))
    height = max(least_height, step * len(lines) + 2 * edge)
    image = Image.new("RGB", (width, height), GROUND)
    draw = ImageDraw.Draw(image)
    name_width = round(
        max((draw.textlength(text, font) for text, score, _, _ in lines if score is not None), default=0)
    )
    number_width = round(draw.textlength("+0.00", font))
    begin = edge + name_width + round(size * 0.8)
    end = width - edge - number_width - round(size * 0.8)
    y = edge + (height - step * len(lines) - 2 * edge) // 2
    for text, score, signed, colour in lines:
        middle = y + step / 2
        if score is None:
            side = round(size * 0.34)
            is_note = colour == _DIM
            x = edge
            if not is_note:
                draw.ellipse((x, middle - side, x + 2 * side, middle + side), fill=colour)
                x += round(size * 1.1)
            draw.text((x, middle), text, fill=_DIM if is_note else _INK, font=font, anchor="lm")
        else:
            draw.text((edge, middle), text, fill=_INK, font=font, anchor="lm")
            thick = size * 0.32
            draw.rectangle((begin, middle - thick, end, middle + thick), fill=_TRACK)
            zero = (begin + end) / 2 if signed else begin
            reach = zero + min(max(score, -1.0), 1.0) * (end - zero)
            left, right = min(zero, reach), max(zero, reach)
            draw.rectangle((left, middle - thick, right, middle + thick), fill=colour)
            draw.line((zero, middle - 2 * thick, zero, middle + 2 * thick), fill=_DIM)
            number = f"{round(score, 2) + 0.0:+.2f}" if signed else f"{score:.2f}"
            draw.text((width - edge, middle), number, fill=_INK, font=font, anchor="rm")
        y += step
    pixels: UInt8Array = np.array(image)
    return pixels
