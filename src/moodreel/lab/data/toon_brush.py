"""A brush for things in a square of their own: places from -1 to 1, nothing leaves the square."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from moodreel.lab.data.toon_look import Colour

INK: Colour = (34, 28, 34)
"""Outlines."""

Points = Sequence[tuple[float, float]]


class Brush:
    """Draws on a transparent square; what lies outside is cut off.

    Args:
        side: of the square, pixels.
        paints: colours of the thing, as many as it asks for.
        mirrored: left and right exchanged (writing is not).
        grow: size of everything, 1 fills the square.
        drop: everything that much lower, 2 is out of sight.
    """

    def __init__(
        self, side: int, paints: Sequence[Colour], mirrored: bool, grow: float = 1.0, drop: float = 0.0
    ) -> None:
        # Twice the size, where edges are drawn before they are smoothed.
        self.tile = Image.new("RGBA", (2 * side, 2 * side), (0, 0, 0, 0))
        self.paints = tuple(paints)
        self._draw = ImageDraw.Draw(self.tile)
        self._half, self._grow, self._drop = float(side), 0.96 * grow, drop
        self._sign = -1 if mirrored else 1
        self._edge = max(2, round(0.045 * side * grow))

    def finish(self, opacity: float) -> Image.Image:
        """The square at its own size: RGBA, its alpha times ``opacity``."""
        tile = self.tile.reduce(2)
        if opacity < 1:
            tile.putalpha(tile.getchannel("A").point(lambda alpha: round(alpha * opacity)))
        return tile

    def disc(self, x: float, y: float, rx: float, ry: float, fill: Colour, outline: bool = True) -> None:
        """An ellipse."""
        (left, top), (right, bottom) = self._place([(x - rx, y - ry), (x + rx, y + ry)])
        box = (min(left, right), top, max(left, right), bottom)
        self._draw.ellipse(box, fill=(*fill, 255))
        if outline:
            self._draw.ellipse(box, outline=(*INK, 255), width=self._edge)

    def area(self, points: Points, fill: Colour, outline: bool = True) -> None:
        """A polygon."""
        self._draw.polygon(self._place(points), fill=(*fill, 255))
        if outline:
            self.line([*points, points[0]])

    def block(self, left: float, top: float, right: float, bottom: float, fill: Colour) -> None:
        """A rectangle with an outline."""
        self.area([(left, top), (right, top), (right, bottom), (left, bottom)], fill)

    def line(self, points: Points, width: float = 1.0, colour: Colour = INK) -> None:
        """A line, ``width`` times as thick as the outlines."""
        thick = max(1, round(self._edge * width))
        self._draw.line(self._place(points), fill=(*colour, 255), width=thick, joint="curve")

    def wave(self, x: float, top: float, bottom: float, time: float, colour: Colour) -> None:
        """A rising wisp: steam or stench."""
        y = np.linspace(top, bottom, 12)
        across = x + 0.07 * np.sin(9 * y + 5 * time)
        self.line(list(zip(across.tolist(), y.tolist(), strict=True)), 1.4, colour)

    def write(self, x: float, y: float, text: str, height: float, fill: Colour) -> None:
        """Letters about a point."""
        size = max(4.0, self._half * self._grow * height)
        ((px, py),) = self._place([(x, y)])
        edge = max(1, round(size / 22))
        self._draw.text((px, py), text, fill=(*fill, 255), font=ImageFont.load_default(size), anchor="mm",
                        stroke_width=edge, stroke_fill=(*fill, 255))  # fmt: skip

    def _place(self, points: Points) -> list[tuple[float, float]]:
        return [
            (self._half * (1 + self._sign * self._grow * x), self._half * (1 + self._grow * y + self._drop))
            for x, y in points
        ]
