"""Draws the example animations: ``python examples/draw.py [DIR]`` (default: this folder).

Small cartoon faces with uneven delays, made by this file alone; the same code gives the same bytes.
"""

import math
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from moodreel.media import write_gif

SIZE = 192
SCALE = 3  # drawn larger, then reduced: smooth edges
SKIN, INK, WHITE, RED = (255, 205, 80), (70, 45, 20), (255, 255, 255), (200, 60, 60)


def draw_face(
    background, *, smile, brows=0.0, worry=0.0, eyes=1.0, gape=0.0, tilt=0.0, lift=0.0, skin=SKIN, tear=0.0
):
    """One frame [SIZE, SIZE, 3] uint8.

    In [-1, 1]: smile, brows (lowered to raised), worry (inner ends down to up). In [0, 1]: eyes, gape, tear.
    """
    image = Image.new("RGB", (SIZE * SCALE,) * 2, background)
    pen = ImageDraw.Draw(image)
    centre, radius = SIZE * SCALE / 2, SIZE * SCALE * 0.36
    cos, sin = math.cos(tilt), math.sin(tilt)

    def at(x, y):
        return centre + radius * (x * cos - y * sin), centre + radius * (x * sin + y * cos - lift)

    def oval(x, y, rx, ry, fill):
        angles = [a / 20 * math.pi for a in range(40)]
        pen.polygon([at(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles], fill)

    def line(points, width):
        pen.line([at(*p) for p in points], INK, int(width * radius), joint="curve")

    oval(0, 0, 1, 1, skin)
    for side in (-1, 1):
        if eyes < 0.2:  # closed: an arch when smiling, a line otherwise
            arch = 0.12 * max(smile, 0)
            line([(side * 0.36 + x / 25, -0.14 - arch * (1 - (x / 4) ** 2)) for x in range(-4, 5)], 0.07)
        else:
            oval(side * 0.36, -0.18, 0.17, 0.04 + 0.16 * eyes, WHITE)
            oval(side * 0.36, -0.16, 0.09, 0.09, INK)
        height = -0.5 - 0.12 * brows
        ends = height - 0.13 * worry, height + 0.1 * worry
        line([(side * 0.16, ends[0]), (side * 0.36, height - 0.04), (side * 0.56, ends[1])], 0.07)
    if gape > 0.05 and smile > 0.3:
        width = [x / 10 for x in range(-5, 6)]
        upper = [(x, 0.28 + 0.1 * (1 - (x / 0.5) ** 2)) for x in width]
        lower = [(x, 0.28 + (0.25 + 0.4 * gape) * (1 - (x / 0.5) ** 2)) for x in reversed(width)]
        pen.polygon([at(*p) for p in upper + lower], RED)
    elif gape > 0.05:
        oval(0, 0.48, 0.2, 0.05 + 0.27 * gape, RED)
    else:
        curve = [(x / 10, 0.45 + smile * 0.28 * (1 - (x / 5) ** 2)) for x in range(-5, 6)]
        line(curve, 0.07)
    if tear > 0:
        oval(0.4, 0.02 + 0.6 * tear, 0.06, 0.1, (90, 160, 240))
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX))


def laugh(t):
    shake = abs(math.sin(3 * math.pi * t))
    return dict(smile=1, brows=0.6, eyes=0.0, gape=0.2 + 0.6 * shake, lift=0.12 * shake)


def cry(t):
    return dict(smile=-0.9, worry=1, eyes=0.4, lift=-0.05 * math.sin(2 * math.pi * t), tear=t, tilt=0.08)


def gasp(t):
    wide = min(1.0, 3 * t)
    return dict(smile=0, brows=wide, eyes=0.5 + 0.6 * wide, gape=0.9 * wide, lift=0.08 * wide)


def rage(t):
    red = 0.5 - 0.5 * math.cos(2 * math.pi * t)
    skin = tuple(round(a + (b - a) * red) for a, b in zip(SKIN, (225, 75, 50), strict=True))
    return dict(smile=-0.8, brows=-0.5, worry=-1, eyes=0.5, skin=skin, tilt=0.06 * math.sin(12 * math.pi * t))


def calm(t):
    return dict(smile=0.3, eyes=0.1 if 0.45 < t < 0.6 else 0.9, tilt=0.05 * math.sin(2 * math.pi * t))


PROGRAMMES = {
    "laugh.gif": (laugh, (240, 248, 255), 18, (0.05, 0.08)),
    "cry.gif": (cry, (205, 215, 230), 16, (0.1, 0.1)),
    "gasp.gif": (gasp, (250, 245, 225), 12, (0.06, 0.2)),
    "rage.gif": (rage, (60, 40, 45), 16, (0.04, 0.04)),
    "calm.gif": (calm, (225, 240, 225), 14, (0.12, 0.12)),
}
"""file -> (expression over t in [0, 1], background, frames, first and last delay in seconds)."""


def main(folder):
    for name, (programme, background, count, (first, last)) in PROGRAMMES.items():
        frames = np.stack([draw_face(background, **programme(i / count)) for i in range(count)])
        write_gif(folder / name, frames, np.linspace(first, last, count))
        print(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
