"""Strokes and areas in the hand of each art style, over Pillow."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from moodreel.lab.data.toon_face import Shape
from moodreel.lab.data.toon_look import Colour, Look
from moodreel.types import FloatArray

WHITE: Colour = (255, 255, 255)


def mix(a: Colour, b: Colour, part: float) -> Colour:
    """A colour between two: ``part`` 0 is a, 1 is b."""
    r, g, b_ = (round(x + (y - x) * min(1.0, max(0.0, part))) for x, y in zip(a, b, strict=True))
    return r, g, b_


class Pen:
    """Strokes and areas in the hand of a style."""

    def __init__(self, layer: Image.Image, look: Look, shape: Shape, rng: np.random.Generator) -> None:
        self.layer, self.look, self.shape, self.rng = layer, look, shape, rng
        self.draw = ImageDraw.Draw(layer)
        self.scale = shape.scale
        self.line = max(
            1.0, self.scale * {"line": 0.03, "sketch": 0.018, "flat": 0.02}.get(look.style, 0.025)
        )
        self.skin = look.skin
        flush = shape.get("flush")
        if look.style not in ("line", "sketch"):
            self.skin = mix(self.skin, (226, 54, 40), 0.65 * flush)
            self.skin = mix(self.skin, (196, 214, 246), -0.65 * flush)
            self.skin = mix(self.skin, (142, 188, 84), 0.6 * shape.get("green"))

    def area(self, points: FloatArray, fill: Colour, outline: bool = True) -> None:
        """A filled polygon."""
        if len(points) < 3:
            return
        self.draw.polygon(flatten(points), fill=(*fill, 255))
        if outline:
            self.stroke(np.concatenate([points, points[:1]]), self.line, self.look.ink)

    def stroke(self, points: FloatArray, width: float, colour: Colour | None = None) -> None:
        """A line with round ends."""
        colour = self.look.ink if colour is None else colour
        passes = 2 if self.look.style == "sketch" else 1
        for _ in range(passes):
            path = points
            if self.look.style == "sketch":
                path = points + self.rng.normal(0, 0.009 * self.scale, points.shape)
            self.draw.line(flatten(path), fill=(*colour, 255), width=max(1, round(width)), joint="curve")
            if width >= 3:
                for x, y in (path[0], path[-1]):
                    self.dot(x, y, width / 2 - 0.5, colour)

    def dot(self, x: float, y: float, radius: float, colour: Colour, tall: float = 1.0) -> None:
        """A disc."""
        box = (x - radius, y - radius * tall, x + radius, y + radius * tall)
        self.draw.ellipse(box, fill=(*colour, 255))

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Face units that lean with the head but do not turn, to pixels."""
        cos, sin = np.cos(self.shape.roll), np.sin(self.shape.roll)
        return (
            float(self.shape.centre[0] + self.scale * (x * cos - y * sin)),
            float(self.shape.centre[1] + self.scale * (x * sin + y * cos)),
        )

    def curve(self, points: list[tuple[float, float]]) -> FloatArray:
        """:meth:`place` for several points."""
        return np.array([self.place(x, y) for x, y in points])

    def veil(
        self, points: FloatArray, colour: Colour, strength: float, inside: FloatArray | None = None
    ) -> None:
        """A see-through area, cut off where ``inside`` ends."""
        low, size = frame_points(points)
        mask = Image.new("L", size, 0)
        ImageDraw.Draw(mask).polygon(flatten(points - low), fill=round(255 * min(1.0, strength)))
        if inside is not None:
            room = Image.new("L", size, 0)
            ImageDraw.Draw(room).polygon(flatten(inside - low), fill=255)
            mask = ImageChops.darker(mask, room)
        self.layer.paste(colour, (int(low[0]), int(low[1])), mask)

    def window(self, opening: FloatArray) -> tuple[Image.Image, Image.Image, FloatArray]:
        """(tile, mask, corner): what is drawn on the tile shows through the opening only."""
        low, size = frame_points(opening)
        mask = Image.new("L", size, 0)
        ImageDraw.Draw(mask).polygon(flatten(opening - low), fill=255)
        return Image.new("RGB", size, WHITE), mask, low


def flatten(points: FloatArray) -> list[tuple[float, float]]:
    """[N, 2] as Pillow takes it."""
    return [(x, y) for x, y in points.tolist()]


def frame_points(points: FloatArray) -> tuple[FloatArray, tuple[int, int]]:
    """(corner, size) of whole pixels around points."""
    low = np.floor(points.min(axis=0)) - 1
    wide, high = (np.ceil(points.max(axis=0)) - low + 2).astype(int).tolist()
    return low, (wide, high)


def disc(x: float, y: float, rx: float, ry: float) -> tuple[float, float, float, float]:
    """Box of an ellipse, as Pillow takes it."""
    return x - rx, y - ry, x + rx, y + ry


def round_off(points: FloatArray) -> FloatArray:
    """A closed polygon with its corners cut twice (Chaikin)."""
    for _ in range(2):
        after = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], axis=1).reshape(-1, 2)
    return points


def ring_around(x: float, y: float, radius: float) -> FloatArray:
    """[24, 2] points of a circle."""
    angle = np.linspace(0, 2 * np.pi, 25)[:-1]
    return np.column_stack([x + radius * np.cos(angle), y + radius * np.sin(angle)])
