"""How the things look that stand in the scene of a toon clip: one function each.

All take a brush, the seconds since the thing came, and the part 0-1 of its stay that has passed. Each is
legible at any instant, and moves besides.
"""

from __future__ import annotations

import numpy as np

from moodreel.lab.data.toon_brush import INK, Brush
from moodreel.lab.data.toon_look import Colour
from moodreel.lab.data.toon_pen import WHITE, mix

BLACK: Colour = (24, 20, 30)


def draw_balloons(b: Brush, time: float, part: float) -> None:
    """Three balloons on strings."""
    for i, (x, y) in enumerate(((-0.55, -0.3), (0.55, -0.36), (0.0, -0.55))):
        x += 0.07 * np.sin(2.5 * time + 2 * i)
        b.line([(x, y + 0.35), (0.2 * x, 0.55), (0.0, 1.0)], 0.6)
        b.disc(x, y, 0.32, 0.4, b.paints[i])
        b.disc(x - 0.1, y - 0.15, 0.06, 0.1, WHITE, outline=False)


def draw_gift(b: Brush, time: float, part: float) -> None:
    """A gift whose lid hops."""
    lift = 0.12 * abs(np.sin(4 * time))
    b.block(-0.62, 0.0, 0.62, 0.95, b.paints[0])
    b.block(-0.12, 0.0, 0.12, 0.95, b.paints[1])
    b.block(-0.72, -0.25 - lift, 0.72, 0.02 - lift, mix(b.paints[0], WHITE, 0.25))
    b.block(-0.12, -0.25 - lift, 0.12, 0.02 - lift, b.paints[1])
    for side in (-1, 1):
        b.disc(side * 0.24, -0.45 - lift, 0.24, 0.17, b.paints[1])
    for i in range(5):
        angle = np.pi * (0.1 + 0.2 * i)
        reach = 0.75 + 0.2 * np.sin(5 * time + 2 * i)
        x, y = reach * np.cos(angle), -0.25 - 0.7 * reach * np.sin(angle)
        b.disc(x, y, 0.06, 0.06, (255, 216, 60), outline=False)


def draw_cake(b: Brush, time: float, part: float) -> None:
    """A cake with burning candles."""
    b.disc(0, 0.85, 0.95, 0.12, (225, 225, 235))
    b.block(-0.75, 0.25, 0.75, 0.85, b.paints[0])
    b.block(-0.5, -0.2, 0.5, 0.25, b.paints[1])
    for x in np.linspace(-0.6, 0.6, 5).tolist():
        b.disc(x, 0.3, 0.13, 0.12, WHITE, outline=False)
    for i, x in enumerate((-0.3, 0.0, 0.3)):
        b.line([(x, -0.2), (x, -0.55)], 2.2, b.paints[2])
        tall = 0.17 + 0.04 * np.sin(11 * time + 2 * i)
        b.area([(x - 0.08, -0.6), (x + 0.08, -0.6), (x, -0.65 - tall)], (255, 190, 30))


def draw_rain(b: Brush, time: float, part: float) -> None:
    """A cloud; rain falls."""
    for i in range(9):
        x = -0.75 + 0.19 * i
        y = (0.37 * i + 1.3 * time) % 1
        b.line([(x, y), (x - 0.07, y + 0.2)], 1.3, b.paints[1])
    for x, y, r in ((-0.45, -0.3, 0.38), (0.45, -0.3, 0.4), (0.0, -0.5, 0.45), (0.0, -0.2, 0.4)):
        b.disc(x, y, r, 0.8 * r, b.paints[0], outline=False)
    b.line([(-0.75, -0.02), (0.75, -0.02)], 1.2, mix(b.paints[0], BLACK, 0.4))


def draw_heart(b: Brush, time: float, part: float) -> None:
    """A broken heart, its halves drifting apart."""
    gap = 0.1 + 0.12 * part
    crack = [(0.0, -0.45), (0.14, -0.2), (-0.12, 0.1), (0.12, 0.4), (0.0, 0.85)]
    angle = np.linspace(0, np.pi, 13)
    for side in (-1, 1):
        lobe = zip((0.42 - 0.42 * np.cos(angle)).tolist(), (-0.4 - 0.4 * np.sin(angle)).tolist(), strict=True)
        outer = [(side * x + side * gap, y + 0.1 * part * (side > 0)) for x, y in lobe]
        inner = [(x + side * gap, y + 0.1 * part * (side > 0)) for x, y in reversed(crack)]
        b.area([*outer, *inner], b.paints[0])
    for i in range(2):  # drops
        y = (0.5 * i + 0.7 * time) % 1
        b.disc((-0.5, 0.55)[i], 0.2 + 0.7 * y, 0.07, 0.11, b.paints[1], outline=False)


def draw_wilted(b: Brush, time: float, part: float) -> None:
    """A flower that hangs its head and loses petals."""
    droop = 0.1 * np.sin(1.5 * time)
    x, y = 0.62, 0.18 + 0.1 * part + droop / 2
    b.line(
        [(-0.2, 0.45), (-0.22, -0.3), (-0.05, -0.68), (0.3, -0.66), (0.55, -0.3), (x, y)], 1.8, b.paints[1]
    )
    b.area([(-0.2, 0.2), (-0.6, 0.15), (-0.85, 0.42), (-0.5, 0.36)], b.paints[1])
    for i in range(5):
        turn = np.pi * (0.1 + 0.2 * i)
        b.disc(x + 0.22 * np.cos(turn), y + 0.2 * np.sin(turn), 0.1, 0.16, b.paints[0])
    b.disc(x, y, 0.13, 0.13, (110, 80, 40))
    b.area([(-0.6, 0.45), (0.2, 0.45), (0.08, 0.98), (-0.48, 0.98)], (150, 104, 84))
    fall = (0.6 * time) % 1
    b.disc(0.42, 0.45 + 0.5 * fall, 0.09, 0.05, b.paints[0])


def draw_swearing(b: Brush, time: float, part: float) -> None:
    """A jagged balloon of symbols, as comics swear."""
    shake = 0.05 * np.sin(21 * time)
    spikes = [
        ((0.98 if k % 2 else 0.72) * np.cos(a) + shake, (0.9 if k % 2 else 0.58) * np.sin(a) - 0.05)
        for k, a in enumerate(np.linspace(0, 2 * np.pi, 25)[:-1].tolist())
    ]
    b.area(spikes, b.paints[1])
    b.area([(-0.3, 0.5), (0.0, 0.55), (-0.6, 0.98)], b.paints[1])
    b.write(shake, -0.22, "@#!", 0.55, b.paints[0])
    b.write(-shake, 0.22, "$%*", 0.5, b.paints[0])


def draw_fist(b: Brush, time: float, part: float) -> None:
    """A fist that pounds."""
    y = 0.16 * np.sin(14 * time)
    b.block(-0.28, 0.35 + y, 0.3, 1.1 + y, b.paints[1])
    b.block(-0.5, -0.35 + y, 0.5, 0.45 + y, b.paints[0])
    for i in range(4):
        x = -0.375 + 0.25 * i
        b.disc(x, -0.33 + y, 0.14, 0.24, b.paints[0])
    b.disc(-0.1, 0.14 + y, 0.44, 0.14, b.paints[0])
    for angle in (0.15, 0.32, 0.5, 0.68, 0.85):
        c, s = np.cos(np.pi * angle), -np.sin(np.pi * angle)
        b.line([(0.72 * c, 0.7 * s + y), (0.98 * c, 0.95 * s + y)], 2.0, (226, 40, 30))


def draw_volcano(b: Brush, time: float, part: float) -> None:
    """A volcano that spits."""
    for i in range(9):
        go = (0.31 * i + 1.1 * time) % 1
        x = (i / 4 - 1) * go
        y = -0.25 - 1.6 * go + 1.5 * go**2
        b.disc(x, y, 0.11, 0.11, b.paints[0], outline=False)
    b.area([(-0.1, 0.0), (-0.22, -0.85), (0.0, -0.7), (0.2, -0.9), (0.14, 0.0)], b.paints[0])
    b.area([(-0.95, 0.95), (-0.3, -0.15), (0.3, -0.15), (0.95, 0.95)], b.paints[1])
    b.area([(-0.3, -0.15), (0.3, -0.15), (0.38, 0.3), (0.2, 0.12), (0.05, 0.55), (-0.1, 0.1), (-0.35, 0.3)],
           b.paints[0])  # fmt: skip


def draw_jack(b: Brush, time: float, part: float) -> None:
    """A jack-in-the-box on its spring."""
    top = -0.5 + 0.14 * np.sin(9 * time) * max(0.25, 1 - part)
    coil = [((-0.2, 0.2)[k % 2], 0.3 + (top - 0.1) * k / 8) for k in range(9)]
    b.line(coil, 1.6, (110, 110, 125))
    b.disc(0, top, 0.3, 0.3, b.paints[1])
    b.area([(-0.22, top - 0.2), (0.22, top - 0.2), (0.05, top - 0.55)], b.paints[2])
    b.write(0, top, "!", 0.5, INK)
    b.block(-0.6, 0.25, 0.6, 0.97, b.paints[0])
    b.area([(-0.6, 0.25), (-0.95, -0.15), (-0.85, -0.25), (-0.45, 0.15)], b.paints[0])
    b.write(0, 0.62, "?", 0.6, WHITE)


def draw_rabbit(b: Brush, time: float, part: float) -> None:
    """A rabbit looks out of a hat."""
    up = 0.07 * np.sin(6 * time)
    for side in (-1, 1):
        b.disc(side * 0.17, -0.62 + up, 0.12, 0.34, WHITE)
        b.disc(side * 0.17, -0.6 + up, 0.05, 0.22, b.paints[1], outline=False)
    b.disc(0, -0.05 + up, 0.34, 0.34, WHITE)
    b.block(-0.48, 0.12, 0.48, 0.95, b.paints[0])
    b.block(-0.48, 0.2, 0.48, 0.38, b.paints[1])
    b.block(-0.8, 0.02, 0.8, 0.16, b.paints[0])
    for i in range(6):
        turn = np.pi * (0.05 + 0.18 * i)
        reach = 0.88 + 0.08 * np.sin(8 * time + i)
        x, y = reach * np.cos(turn), 0.05 - reach * np.sin(turn)
        for dx, dy in ((0.09, 0.0), (0.0, 0.09)):
            b.line([(x - dx, y - dy), (x + dx, y + dy)], 1.2, (250, 200, 40))


def draw_burst(b: Brush, time: float, part: float) -> None:
    """A burst with ?! in it."""
    swell = 0.92 + 0.07 * np.sin(10 * time)
    for reach, paint in ((1.0, b.paints[0]), (0.72, b.paints[1])):
        turns = np.linspace(0, 2 * np.pi, 29)[:-1].tolist()
        ray = [swell * reach * (1.0 if k % 2 else 0.66) for k in range(28)]
        b.area([(r * np.cos(a), r * np.sin(a)) for r, a in zip(ray, turns, strict=True)], paint)
    b.write(0, 0, "?!", 0.8, INK)


def _flies(b: Brush, time: float, high: float) -> None:
    for i in range(4):
        turn = 3.2 * time + 1.6 * i
        x, y = 0.7 * np.cos(turn + i), high + 0.22 * np.sin(1.7 * turn)
        b.disc(x - 0.06, y - 0.06, 0.07, 0.04, (190, 200, 215), outline=False)
        b.disc(x, y, 0.055, 0.05, BLACK, outline=False)


def draw_bin(b: Brush, time: float, part: float) -> None:
    """A bin of rubbish, with stench and flies."""
    for x in (-0.35, 0.0, 0.35):
        b.wave(x, -0.95, -0.3, time, b.paints[1])
    b.disc(-0.2, -0.1, 0.2, 0.2, (150, 110, 60))
    b.area([(0.0, 0.0), (0.1, -0.4), (0.3, -0.35), (0.35, 0.0)], b.paints[1])
    b.area([(-0.55, 0.0), (0.55, 0.0), (0.42, 0.97), (-0.42, 0.97)], b.paints[0])
    for x in (-0.22, 0.0, 0.22):
        b.line([(x, 0.15), (0.85 * x, 0.85)], 1.0)
    b.area([(-0.65, -0.05), (-0.95, -0.45), (-0.85, -0.52), (-0.5, -0.1)], b.paints[0])
    _flies(b, time, -0.5)


def draw_slime(b: Brush, time: float, part: float) -> None:
    """Slime drips into a puddle."""
    dark = mix(b.paints[0], BLACK, 0.35)
    for i, x in enumerate((-0.72, -0.35, 0.02, 0.4, 0.75)):
        low = -0.25 + 0.25 * np.sin(2.1 * i) + 0.35 * part + 0.06 * np.sin(3 * time + i)
        b.line([(x, -0.8), (x, low)], 5.5, b.paints[0])
        b.disc(x, low, 0.15, 0.18, b.paints[0], outline=False)
        b.disc(x - 0.04, low, 0.04, 0.06, mix(b.paints[0], WHITE, 0.6), outline=False)
    b.block(-0.95, -0.97, 0.95, -0.72, b.paints[0])
    b.disc(0, 0.8, 0.9, 0.18, b.paints[0])
    for i, x in enumerate((-0.5, -0.05, 0.45)):
        r = 0.05 + 0.07 * ((0.4 * i + 0.8 * time) % 1)
        b.disc(x, 0.76, r, r, dark, outline=False)
    _flies(b, time, 0.35)


def draw_fishbone(b: Brush, time: float, part: float) -> None:
    """What is left of a fish, with stench and flies."""
    for x in (-0.45, 0.0, 0.45):
        b.wave(x, -0.95, -0.35, time, b.paints[1])
    b.disc(0, 0.55, 0.98, 0.36, b.paints[1])
    bone: Colour = b.paints[0]
    b.line([(-0.6, 0.3), (0.75, 0.3)], 3.0)
    b.line([(-0.6, 0.3), (0.75, 0.3)], 1.6, bone)
    for x in (-0.2, 0.02, 0.24, 0.44):
        b.line([(x + 0.1, 0.0), (x, 0.3), (x + 0.1, 0.6)], 2.4)
        b.line([(x + 0.1, 0.0), (x, 0.3), (x + 0.1, 0.6)], 1.2, bone)
    b.area([(0.7, 0.3), (0.97, 0.0), (0.9, 0.3), (0.97, 0.6)], bone)
    b.area([(-0.35, -0.02), (-0.7, 0.05), (-0.95, 0.35), (-0.7, 0.58), (-0.35, 0.62)], bone)
    for dx, dy in ((0.07, 0.07), (0.07, -0.07)):
        b.line([(-0.65 - dx, 0.22 - dy), (-0.65 + dx, 0.22 + dy)], 1.0)
    _flies(b, time, -0.25)


def draw_chart(b: Brush, time: float, part: float) -> None:
    """A line that falls."""
    b.block(-0.95, -0.8, 0.95, 0.85, (250, 250, 246))
    for y in (-0.4, 0.0, 0.4):
        b.line([(-0.85, y), (0.85, y)], 0.5, (190, 195, 205))
    b.line([(-0.8, -0.7), (-0.8, 0.7), (0.85, 0.7)], 1.2)
    path = [
        (-0.75, -0.5),
        (-0.45, -0.62),
        (-0.2, -0.1),
        (0.05, -0.28),
        (0.45, 0.45 + 0.06 * np.sin(7 * time)),
    ]
    x, y = path[-1]
    b.line([*path, (x + 0.1, y)], 2.6, b.paints[0])
    b.area([(x - 0.2, y - 0.02), (x + 0.22, y - 0.2), (x + 0.14, y + 0.26)], b.paints[0])


def draw_ambulance(b: Brush, time: float, part: float) -> None:
    """An ambulance, its light flashing."""
    y = 0.03 * np.sin(17 * time)
    lit = int(6 * time) % 2 == 0
    b.block(-0.95, -0.4 + y, 0.35, 0.55 + y, (248, 248, 250))
    b.area([(0.35, -0.15 + y), (0.7, -0.15 + y), (0.95, 0.2 + y), (0.95, 0.55 + y), (0.35, 0.55 + y)],
           (248, 248, 250))  # fmt: skip
    b.area([(0.45, -0.05 + y), (0.66, -0.05 + y), (0.82, 0.2 + y), (0.45, 0.2 + y)], (150, 200, 230))
    b.block(-0.95, 0.32 + y, 0.95, 0.42 + y, b.paints[0])
    b.block(-0.4, -0.3 + y, -0.2, 0.26 + y, b.paints[0])
    b.block(-0.58, -0.12 + y, -0.02, 0.08 + y, b.paints[0])
    b.disc(0.1, -0.5 + y, 0.16, 0.15, b.paints[1] if lit else mix(b.paints[1], BLACK, 0.6))
    if lit:
        for angle in (0.2, 0.4, 0.6, 0.8):
            c, s = np.cos(np.pi * angle), -np.sin(np.pi * angle)
            b.line([(0.1 + 0.25 * c, -0.5 + 0.25 * s), (0.1 + 0.45 * c, -0.5 + 0.42 * s)], 1.3, b.paints[1])
    for x in (-0.55, 0.58):
        b.disc(x, 0.62, 0.22, 0.22, (50, 50, 56))
        b.disc(x, 0.62, 0.09, 0.09, (200, 200, 205))


def draw_exam(b: Brush, time: float, part: float) -> None:
    """A failed exam."""
    tilt = 0.04 * np.sin(3 * time)
    b.area([(-0.62, -0.92 + tilt), (0.66, -0.95 - tilt), (0.7, 0.92), (-0.6, 0.95)], (252, 252, 244))
    for i in range(7):
        y = -0.2 + 0.16 * i
        b.line([(-0.5, y), (0.3 + 0.25 * np.cos(5 * i), y)], 0.8, (130, 140, 165))
    b.write(0.05, -0.52 + tilt, "F -", 0.62, b.paints[0])
    for x, y in ((-0.3, 0.15), (0.35, 0.45)):
        for s in (-1, 1):
            b.line([(x - 0.13, y - 0.13 * s), (x + 0.13, y + 0.13 * s)], 1.8, b.paints[0])


def draw_spider(b: Brush, time: float, part: float) -> None:
    """A spider drops on its thread."""
    y = 0.25 + 0.12 * np.sin(3 * time) - 0.5 * max(0.0, 1 - time / 0.6)
    b.line([(0, -1.05), (0, y)], 0.7, (120, 120, 130))
    for side in (-1, 1):
        for i in range(4):
            kick = 0.06 * np.sin(9 * time + 2 * i + side)
            knee = (side * (0.5 + 0.05 * i), y - 0.42 + 0.22 * i + kick)
            foot = (side * (0.85 - 0.04 * i), y - 0.1 + 0.24 * i + kick)
            b.line([(side * 0.15, y - 0.05 + 0.06 * i), knee, foot], 1.5, b.paints[0])
    b.disc(0, y + 0.1, 0.32, 0.34, b.paints[0])
    b.disc(0, y - 0.22, 0.2, 0.18, b.paints[0])
    b.area([(-0.1, y), (0.1, y), (-0.1, y + 0.24), (0.1, y + 0.24)], b.paints[1], outline=False)


def draw_alarm(b: Brush, time: float, part: float) -> None:
    """An alarm clock rings."""
    x = 0.05 * np.sin(31 * time)
    for side in (-1, 1):
        b.line([(side * 0.4 + x, 0.7), (side * 0.55 + x, 0.95)], 2.0)
        b.disc(side * 0.42 + x, -0.55, 0.26, 0.2, b.paints[0])
        for k in (0, 1):
            far = 0.75 + 0.15 * k
            b.line(
                [(side * far, -0.85 + 0.1 * k), (side * (far + 0.06), -0.6), (side * far, -0.35 - 0.1 * k)],
                1.4,
                (220, 50, 40),
            )
    b.disc(x, 0.12, 0.66, 0.66, b.paints[0])
    b.disc(x, 0.12, 0.5, 0.5, (252, 250, 240))
    for hand, reach in ((7 * time, 0.4), (0.6 * time - 0.7, 0.28)):
        b.line([(x, 0.12), (x + reach * np.sin(hand), 0.12 - reach * np.cos(hand))], 1.4)


def draw_shadow(b: Brush, time: float, part: float) -> None:
    """A shadow with claws and burning eyes moves across."""
    x = -0.12 + 0.24 * part + 0.05 * np.sin(4 * time)
    b.area([(x - 0.6, 1.1), (x - 0.48, -0.2), (x - 0.34, -0.75), (x - 0.12, -0.55), (x + 0.12, -0.55),
            (x + 0.34, -0.75), (x + 0.48, -0.2), (x + 0.6, 1.1)], b.paints[0])  # fmt: skip
    for side in (-1, 1):
        wrist = (x + side * 0.72, -0.1 + 0.08 * np.sin(6 * time + side))
        b.line([(x + side * 0.4, 0.3), wrist], 3.5, b.paints[0])
        for dx in (-0.12, 0.02, 0.16):
            b.line([wrist, (wrist[0] + side * dx, wrist[1] - 0.32)], 1.6, b.paints[0])
        b.area([(x + side * 0.34, -0.4), (x + side * 0.1, -0.22), (x + side * 0.28, -0.18)], b.paints[1],
               outline=False)  # fmt: skip


def draw_mug(b: Brush, time: float, part: float) -> None:
    """A steaming mug."""
    for x in (-0.25, 0.05, 0.35):
        b.wave(x, -0.9, -0.25, 0.5 * time, (222, 226, 232))
    b.disc(0.55, 0.3, 0.32, 0.3, b.paints[0])
    b.disc(0.55, 0.3, 0.17, 0.16, mix(b.paints[0], WHITE, 0.7))
    b.block(-0.55, -0.1, 0.5, 0.78, b.paints[0])
    b.disc(-0.02, -0.1, 0.52, 0.12, (96, 60, 36))
    b.disc(0, 0.85, 0.85, 0.11, mix(b.paints[0], WHITE, 0.5))


def draw_plant(b: Brush, time: float, part: float) -> None:
    """A pot plant."""
    sway = 0.03 * np.sin(1.3 * time)
    for x, y in ((-0.75, -0.35), (0.75, -0.35), (-0.4, -0.8), (0.4, -0.8), (0.0, -0.95)):
        tip = (x + sway, y)
        side = (0.16, 0.12 * np.sign(x))
        b.area([(0.0, 0.4), (x / 2 - side[0], y / 2 + side[1]), tip, (x / 2 + side[0], y / 2 - side[1])],
               b.paints[1])  # fmt: skip
    b.area([(-0.45, 0.35), (0.45, 0.35), (0.32, 0.95), (-0.32, 0.95)], b.paints[0])


def draw_book(b: Brush, time: float, part: float) -> None:
    """A book whose page turns."""
    for side in (-1, 1):
        b.area([(0, 0.6), (side * 0.97, 0.45), (side * 0.97, -0.5), (0, -0.35)], b.paints[0])
        b.area([(0, 0.5), (side * 0.88, 0.35), (side * 0.88, -0.58), (0, -0.42)], (250, 248, 238))
        for i in range(4):
            y = -0.28 + 0.17 * i
            b.line([(side * 0.14, y), (side * 0.74, y - 0.1)], 0.6, (150, 150, 158))
    turn = np.cos(np.pi * ((0.35 * time) % 1))
    b.area([(0, 0.5), (0.86 * turn, 0.2), (0.86 * turn, -0.75), (0, -0.42)], (240, 236, 222))


def draw_ball(b: Brush, time: float, part: float) -> None:
    """A ball that bounces."""
    y = 0.4 - 0.7 * abs(np.sin(2.6 * time))
    b.disc(0, y, 0.52, 0.52, b.paints[0])
    angle = 2 * time
    b.line(
        [(-0.45 * np.cos(angle), y - 0.45 * np.sin(angle)), (0.45 * np.cos(angle), y + 0.45 * np.sin(angle))],
        1.5,
        b.paints[1],
    )


def draw_square(b: Brush, time: float, part: float) -> None:
    """A square in a square, turning."""
    for reach, paint in ((0.95, b.paints[0]), (0.5, b.paints[1])):
        turns = 0.8 * time + np.pi / 2 * np.arange(4)
        b.area([(reach * np.cos(a), reach * np.sin(a)) for a in turns.tolist()], paint)


def draw_rings(b: Brush, time: float, part: float) -> None:
    """Rings that swell."""
    for i, r in enumerate((0.85, 0.6, 0.35)):
        swell = r * (1 + 0.1 * np.sin(3 * time + i))
        b.disc(0, 0, swell, swell, b.paints[i % 2])


def draw_stripes(b: Brush, time: float, part: float) -> None:
    """Bars that bob."""
    for i in range(6):
        left = -0.9 + 0.3 * i
        y = 0.12 * np.sin(2.5 * time + i)
        b.block(left, -0.7 + y, left + 0.3, 0.7 + y, b.paints[i % 2])
