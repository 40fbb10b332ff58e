"""Toon faces put on canvas with Pillow: seven art styles over one geometry."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from moodreel.lab.data.toon_face import Shape
from moodreel.lab.data.toon_look import Colour, Look
from moodreel.lab.data.toon_pen import WHITE, Pen, disc, flatten, mix, ring_around, round_off
from moodreel.types import FloatArray

_HUMAN = ("line", "flat", "anime", "sketch")


def draw_figure(layer: Image.Image, look: Look, shape: Shape, rng: np.random.Generator) -> None:
    """Draws a character: body, hair, head and all that moves in it.

    Args:
        layer: RGBA picture to draw on.
        look: who.
        shape: where and in which state.
        rng: of the unsteady hand of the style "sketch".
    """
    pen = Pen(layer, look, shape, rng)
    if look.style != "emoji":
        _draw_body(pen)
    _draw_back(pen)
    _draw_head(pen)
    for side in ("left", "right"):
        _draw_eye(pen, side)
    _draw_nose(pen)
    _draw_mouth(pen)
    _draw_hair(pen)
    for side in ("left", "right"):
        _draw_brow(pen, side)
    _draw_extras(pen)
    _draw_signs(pen)


def draw_figure_from_behind(layer: Image.Image, look: Look, shape: Shape, rng: np.random.Generator) -> None:
    """Draws a character with its back turned: everything but a face. Arguments as in :func:`draw_figure`."""
    pen = Pen(layer, look, shape, rng)
    if look.style != "emoji":
        _draw_body(pen)
    _draw_back(pen)
    hairy = look.style in _HUMAN and look.hair_kind != "bald"
    pen.area(shape.parts["outline"], look.hair if hairy else pen.skin)


def _draw_body(pen: Pen) -> None:
    shape, look = pen.shape, pen.look
    up = 0.1 * shape.get("shoulders")
    x, y = shape.centre
    x -= pen.scale * 1.2 * np.sin(shape.roll) * 0.3
    unit = pen.scale
    cloth = look.cloth if look.style not in ("line", "sketch") else look.skin
    animal = look.style in ("cat", "bear")
    skin = pen.skin if animal else mix(pen.skin, (120, 70, 50), 0.15)
    neck = [(-0.26, 0.75), (0.26, 0.75), (0.3, 1.3), (-0.3, 1.3)]
    pen.area(np.array([(x + unit * a, y + unit * b) for a, b in neck]), skin)
    half = [
        (0.16, 1.14),
        (0.45, 1.16 - 0.4 * up),
        (0.95, 1.28 - up),
        (1.22, 1.55 - up),
        (1.32, 2.1),
        (1.36, 20.0),
    ]
    left = [(-a, b) for a, b in reversed(half)]
    torso = np.array([(x + unit * a, y + unit * b) for a, b in (*half, *left)])
    pen.area(torso, skin if animal else cloth)


def _draw_back(pen: Pen) -> None:
    look = pen.look
    wide = look.wide
    if look.style == "cat":
        for side in (-1, 1):
            ear = [(side * 0.95 * wide, -0.3), (side * 1.02 * wide, -1.35), (side * 0.22 * wide, -0.86)]
            pen.area(pen.curve(ear), pen.skin)
            inner = [(side * 0.87 * wide, -0.55), (side * 0.93 * wide, -1.1), (side * 0.45 * wide, -0.85)]
            pen.area(pen.curve(inner), (240, 160, 170), outline=False)
    elif look.style == "bear":
        for side in (-1, 1):
            for radius, colour in ((0.34, pen.skin), (0.19, mix(pen.skin, (255, 220, 190), 0.5))):
                x, y = pen.place(side * 0.74 * wide, -0.78)
                pen.area(ring_around(x, y, radius * pen.scale), colour, outline=radius > 0.2)
    elif look.style in _HUMAN:
        for side in (-1, 1):
            x, y = pen.place(side * 1.0 * wide, 0.02)
            pen.area(ring_around(x, y, 0.15 * pen.scale), pen.skin)
        kind = look.hair_kind
        if kind in ("long", "bob"):
            bottom = 1.5 if kind == "long" else 0.75
            half = [
                (0.0, -1.12),
                (0.6 * wide, -1.02),
                (1.1 * wide, -0.55),
                (1.22 * wide, 0.1),
                (1.2 * wide, bottom),
            ]
            left = [(-x, y) for x, y in reversed(half[1:])]
            pen.area(round_off(pen.curve([*half, *left])), look.hair)
        elif kind == "bun":
            pen.area(ring_around(*pen.place(0, -1.15), 0.36 * pen.scale), look.hair)
        elif kind == "curly":
            for angle in np.linspace(0.95 * np.pi, 2.05 * np.pi, 11).tolist():
                x, y = pen.place(1.02 * wide * np.cos(angle), 0.98 * np.sin(angle))
                pen.area(ring_around(x, y, 0.26 * pen.scale), look.hair)
        elif kind == "spiky":
            angles = np.linspace(0.95 * np.pi, 2.05 * np.pi, 19)
            reach = np.where(np.arange(19) % 2, 1.32, 0.95)
            spikes = [(r * wide * np.cos(a), r * np.sin(a)) for r, a in zip(reach, angles, strict=True)]
            pen.area(pen.curve(spikes), look.hair)


def _draw_head(pen: Pen) -> None:
    look, parts = pen.look, pen.shape.parts
    pen.area(parts["outline"], pen.skin)
    if look.style in ("cat", "bear"):
        pen.area(parts["muzzle"], mix(pen.skin, (255, 246, 232), 0.65), outline=False)
    if look.style == "emoji":  # light from above
        inside = parts["outline"] * 0.9 + np.array(pen.place(0.0, -0.12)) * 0.1
        pen.veil(inside, mix(pen.skin, WHITE, 0.45), 0.5)
    if look.style == "sketch":
        low, high = parts["outline"][8], parts["outline"][24]
        for part in np.linspace(0.1, 0.9, 7).tolist():  # hatching on the shaded cheek
            start = low + (high - low) * part * 0.5
            pen.draw.line(flatten(np.array([start, start + pen.scale * np.array([-0.14, 0.1])])),
                          fill=(150, 148, 146, 255), width=max(1, round(pen.line * 0.7)))  # fmt: skip
    blush = pen.shape.get("blush")
    if blush > 0.05:
        colour = (120, 120, 120) if look.style in ("line", "sketch") else (244, 72, 84)
        for side in ("left", "right"):
            x, y = parts[f"{side}_cheek"].mean(axis=0) + np.array([0, 0.1 * pen.scale])
            if look.style in ("line", "sketch"):
                for k in (-1, 0, 1):
                    at = np.array([[x + (0.08 * k + 0.03) * pen.scale, y - 0.05 * pen.scale],
                                   [x + (0.08 * k - 0.03) * pen.scale, y + 0.05 * pen.scale]])  # fmt: skip
                    pen.stroke(at, pen.line * 0.7 * blush, colour)
            else:
                ring = ring_around(0, 0, 1) * pen.scale * np.array([0.24, 0.15]) + np.array([x, y])
                pen.veil(ring, colour, 0.6 * blush, parts["outline"])


def _draw_eye(pen: Pen, side: str) -> None:
    look, parts, shape = pen.look, pen.shape.parts, pen.shape
    upper, lower = parts[f"{side}_upper"], parts[f"{side}_lower"]
    px, py = parts[f"{side}_pupil"][0].tolist()
    opening = np.concatenate([upper, lower[::-1]])
    unit = pen.scale
    wide = shape.get("AU5")
    open_by = float(np.abs(upper[8] - lower[8]).max())
    lid = unit * {"emoji": 0.055, "bear": 0.05, "anime": 0.055, "cat": 0.045}.get(look.style, 0.035)
    if open_by < 0.05 * unit:
        pen.stroke((upper + lower) / 2, max(lid, 1.2))
        return
    if look.style in ("emoji", "bear"):
        if wide > 0.3:
            pen.area(parts[f"{side}_white"], WHITE)
            radius = unit * look.eye_w * (0.75 - 0.25 * wide)
            pen.draw.ellipse(disc(px, py, radius, radius * 1.15), fill=(*look.ink, 255))
        else:
            pen.area(opening, look.ink, outline=False)
            pen.stroke(upper, max(1.0, 0.4 * lid))
        shine = unit * look.eye_w * (0.22 + 0.2 * shape.get("sparkle"))
        if open_by > 0.18 * unit:
            pen.dot(px - 0.35 * unit * look.eye_w, py - 0.25 * open_by, shine, WHITE)
        return
    tile, mask, low = pen.window(opening)
    draw = ImageDraw.Draw(tile)
    x, y = px - float(low[0]), py - float(low[1])
    scared = max(0.0, wide - 0.5 * shape.get("AU12"))
    size = unit * {"anime": 0.2, "cat": 0.2}.get(look.style, 0.12) * (1 - 0.3 * scared)
    if look.style == "cat":
        draw.rectangle((0, 0, *tile.size), fill=mix(look.iris, (250, 240, 120), 0.55))
        narrow = 0.35 + 0.5 * max(wide, shape.get("sparkle"))
        draw.ellipse(disc(x, y, size * narrow, size * 1.05), fill=(14, 12, 16))
    elif look.style == "anime":
        draw.ellipse(disc(x, y, size * 0.85, size * 1.2), fill=mix(look.iris, (10, 10, 20), 0.45))
        draw.ellipse(disc(x, y + 0.25 * size, size * 0.66, size * 0.85), fill=look.iris)
        draw.ellipse(disc(x, y, size * 0.34, size * 0.5), fill=(14, 12, 20))
    else:
        if look.style == "flat":
            draw.ellipse(disc(x, y, size, size), fill=look.iris)
        draw.ellipse(disc(x, y, size * 0.68, size * 0.68), fill=(16, 14, 18))
    shine = size * (0.24 + 0.22 * shape.get("sparkle"))
    if look.style != "line":
        draw.ellipse(disc(x - 0.4 * size, y - 0.45 * size, shine, shine), fill=WHITE)
    pen.layer.paste(tile, (int(low[0]), int(low[1])), mask)
    pen.stroke(upper, max(lid, 1.2))
    pen.stroke(lower, max(0.35 * lid, 1.0))


def _draw_brow(pen: Pen, side: str) -> None:
    look = pen.look
    brow = pen.shape.parts[f"{side}_brow"]
    colour = (
        look.ink if look.style in ("emoji", "cat", "bear", "line") else mix(look.hair, (30, 20, 20), 0.45)
    )
    width = max(1.3, look.brow_thick * pen.scale)
    if look.style in _HUMAN and look.hair_kind != "bald":  # seen through a fringe, as cartoons do
        pen.stroke(brow, width + 1.6 * pen.line, pen.skin)
    pen.stroke(brow, width, colour)


def _draw_nose(pen: Pen) -> None:
    look, parts, shape = pen.look, pen.shape.parts, pen.shape
    bridge, nostrils = parts["bridge"], parts["nostrils"]
    x, y = nostrils[2].tolist()
    if look.style in ("cat", "bear"):
        size = pen.scale * (0.1 if look.style == "cat" else 0.16)
        colour = (226, 120, 130) if look.style == "cat" else (40, 28, 26)
        pen.area(np.array([[x - size, y - size], [x + size, y - size], [x, y + 0.4 * size]]), colour)
    elif look.style == "anime":
        pen.stroke(nostrils[1:3], pen.line * 0.8)
    elif look.style != "emoji":
        pen.stroke(np.concatenate([bridge[2:], nostrils[3:4], nostrils[1:3]]), pen.line * 0.9)
    wrinkle = shape.get("AU9")
    if wrinkle > 0.35:
        x, y = bridge[0].tolist()
        for k in (-1, 0, 1):
            low = y + 0.075 * k * pen.scale
            half = 0.09 * pen.scale
            row = np.array([[x - half, low], [x, low - 0.04 * pen.scale], [x + half, low]])
            pen.stroke(row, max(1.0, pen.line * wrinkle * 0.8))


def _draw_mouth(pen: Pen) -> None:
    look, parts, shape = pen.look, pen.shape.parts, pen.shape
    top, bottom = parts["top"], parts["bottom"]
    ink = look.ink
    width = max(1.3, pen.scale * {"emoji": 0.055, "cat": 0.04, "bear": 0.045}.get(look.style, 0.035))
    lips = np.concatenate([parts["outer_top"], parts["outer_bottom"][::-1]])
    has_lips = look.style in ("flat", "sketch")
    if has_lips:
        lip = mix(pen.skin, (176, 52, 60), 0.5) if look.style == "flat" else (186, 182, 178)
        pen.area(lips, lip, outline=False)
    gap = float(np.linalg.norm(bottom[10] - top[10]))
    if gap > 0.05 * pen.scale:
        _draw_open_mouth(pen, np.concatenate([top, bottom[::-1]]), gap)
        pen.stroke(np.concatenate([top, bottom[::-1], top[:1]]), width * 0.8)
    else:
        pen.stroke((top + bottom) / 2, width * (1.25 if shape.get("AU24") > 0.5 else 1.0))
    for corner, side in ((0, -1), (1, 1)):  # tightened or stretched corners
        tight = shape.get("AU14") * (1 - max(0.0, -shape.get("skew") * side)) + 0.6 * shape.get("AU24")
        if tight > 0.3:
            x, y = parts["dimples"][corner].tolist()
            arc = np.array([(x + side * 0.025 * pen.scale * (1 - t * t), y + 0.07 * pen.scale * t)
                            for t in (-1.0, -0.5, 0.0, 0.5, 1.0)])  # fmt: skip
            pen.stroke(arc, max(1.0, width * 0.7 * min(1.0, tight)))
    if shape.get("AU17") > 0.3:
        pen.stroke(parts["chin"], max(1.0, width * 0.6 * shape.get("AU17")))
    if shape.get("AU10") > 0.4 or (shape.get("AU12") > 0.6 and look.style in ("flat", "sketch", "line")):
        for corner, side in ((0, -1), (-1, 1)):  # fold from the nose to the corner of the mouth
            if shape.get("skew") * side < -0.5:
                continue
            end = top[corner] + np.array([side * 0.1, -0.02]) * pen.scale
            start = parts["nostrils"][corner] + np.array([side * 0.06, 0.0]) * pen.scale
            bow = (start + end) / 2 + np.array([side * 0.05, -0.03]) * pen.scale
            pen.stroke(np.array([start, bow, end]), max(1.0, pen.line * 0.7), mix(ink, pen.skin, 0.3))


def _draw_open_mouth(pen: Pen, opening: FloatArray, gap: float) -> None:
    shape, parts, look = pen.shape, pen.shape.parts, pen.look
    tile, mask, low = pen.window(opening)
    draw = ImageDraw.Draw(tile)
    draw.rectangle((0, 0, *tile.size), fill=(70, 18, 24) if look.style != "sketch" else (60, 58, 58))
    top, bottom = parts["top"] - low, parts["bottom"] - low
    unit = pen.scale
    tongue = (226, 92, 102) if look.style not in ("line", "sketch") else (170, 168, 168)
    clenched = (
        max(shape.get("AU20"), shape.get("AU23"), 0.8 * shape.get("AU10")) > 0.3 and shape.get("AU26") < 0.5
    )
    if clenched and not shape.get("AU19") > 0.3:
        draw.rectangle((0, 0, *tile.size), fill=WHITE)
        seam = flatten((top + bottom) / 2)
        draw.line(seam, fill=(90, 80, 90), width=max(1, round(0.018 * unit)))
        for k in (4, 7, 10, 13, 16):
            tooth = flatten(np.array([top[k], bottom[k]]))
            draw.line(tooth, fill=(120, 110, 120), width=max(1, round(0.012 * unit)))
    else:
        x, y = ((top[10] + 2 * bottom[10]) / 3).tolist()
        draw.ellipse(disc(x, y + 0.36 * gap, 0.2 * unit, 0.34 * gap), fill=tongue)
        if shape.get("AU12") > 0.3 or shape.get("AU10") > 0.3:
            thick = min(0.11 * unit, 0.42 * gap)
            draw.polygon(flatten(np.concatenate([top, top[::-1] + np.array([0, thick])])), fill=WHITE)
    pen.layer.paste(tile, (int(low[0]), int(low[1])), mask)
    if shape.get("AU19") > 0.3:
        x, y = ((top[10] + 2 * bottom[10]) / 3 + low).tolist()
        reach = 0.34 * unit * shape.get("AU19")
        half = [(0.15, 0.0), (0.15, 0.7), (0.08, 1.0)]
        tip = [(x + unit * a, y + reach * b) for a, b in [*half, *((-a, b) for a, b in reversed(half))]]
        pen.area(np.array(tip), tongue)
        pen.stroke(np.array([[x, y + 0.1 * reach], [x, y + 0.7 * reach]]), max(1.0, pen.line * 0.7))


def _draw_hair(pen: Pen) -> None:
    look = pen.look
    if look.style in _HUMAN and look.hair_kind != "bald":
        hairline = pen.shape.parts["hairline"]
        crown = pen.curve([(1.03 * look.wide * np.cos(a), 1.04 * np.sin(a))
                           for a in np.linspace(-0.12 * np.pi, -0.88 * np.pi, 17).tolist()])  # fmt: skip
        pen.area(np.concatenate([hairline, crown]), look.hair)
    if look.hat:
        brim = pen.curve([(-0.95 * look.wide, -0.86), (0.95 * look.wide, -0.86), (0.9 * look.wide, -1.0),
                          (-0.9 * look.wide, -1.0)])  # fmt: skip
        top = pen.curve([(-0.6 * look.wide, -0.98), (0.6 * look.wide, -0.98), (0.5 * look.wide, -1.56),
                         (-0.5 * look.wide, -1.56)])  # fmt: skip
        cloth = look.cloth if look.style not in ("line", "sketch") else WHITE
        pen.area(top, cloth)
        pen.area(brim, mix(cloth, (0, 0, 0), 0.3))


def _draw_extras(pen: Pen) -> None:
    look, parts = pen.look, pen.shape.parts
    if look.style == "cat":
        for side, corner in ((-1, 0), (1, -1)):
            x, y = parts["top"][corner].tolist()
            for k in (-1, 0, 1):
                start = (x + side * 0.16 * pen.scale, y + (0.07 * k - 0.06) * pen.scale)
                end = (x + side * 0.62 * pen.scale, y + (0.16 * k - 0.1) * pen.scale)
                pen.stroke(np.array([start, end]), max(1.0, pen.line * 0.5))
    if look.freckles:
        for name in ("left", "right"):
            for dx, dy in ((-0.07, 0.08), (0.0, 0.11), (0.07, 0.08)):
                x, y = (parts[f"{name}_cheek"][4] + pen.scale * np.array([dx, dy])).tolist()
                pen.dot(x, y, max(0.7, 0.016 * pen.scale), mix(pen.skin, (110, 60, 30), 0.5))
    if look.glasses:
        rims = []
        for name in ("left", "right"):
            x, y = ((parts[f"{name}_upper"][8] + parts[f"{name}_lower"][8]) / 2).tolist()
            rim = ring_around(x, y, 1.45 * look.eye_w * pen.scale)
            pen.stroke(np.concatenate([rim, rim[:1]]), pen.line * 1.1)
            rims.append(np.array([x, y]))
        towards = (rims[1] - rims[0]) / max(1e-6, float(np.linalg.norm(rims[1] - rims[0])))
        reach = 1.45 * look.eye_w * pen.scale
        if float(np.linalg.norm(rims[1] - rims[0])) > 2 * reach:
            pen.stroke(np.array([rims[0] + towards * reach, rims[1] - towards * reach]), pen.line * 1.1)
    if pen.shape.get("AU6") > 0.4 and look.style in ("line", "flat", "sketch"):
        for name in ("left", "right"):
            pen.stroke(parts[f"{name}_cheek"][2:7], max(1.0, pen.line * 0.7 * pen.shape.get("AU6")))


def _draw_signs(pen: Pen) -> None:
    shape, parts, unit = pen.shape, pen.shape.parts, pen.scale
    water, edge = ((120, 190, 250), (60, 120, 200))
    tears = shape.get("tears")
    if tears > 0.15:
        for side, step in (("left", 0), ("right", 1)):
            x, y = parts[f"{side}_cheek"][2].tolist()
            y += unit * 0.12 * step + unit * 0.2 * tears
            _draw_drop(pen, x, y, unit * (0.05 + 0.06 * tears), water, edge)
    sweat = shape.get("sweat")
    if sweat > 0.25:
        x, y = pen.place(0.62 * pen.look.wide, -0.5)
        _draw_drop(pen, x, y, unit * 0.1 * min(1.0, 0.4 + sweat), water, edge)
    breath = shape.get("AU18")
    if breath > 0.4:  # a puff from rounded lips
        x, y = (parts["bottom"][10] + unit * np.array([0.24, 0.1])).tolist()
        for dx, dy, radius in ((0.0, 0.0, 0.1), (0.17, 0.05, 0.16), (0.38, 0.0, 0.13)):
            ring = ring_around(x + dx * unit, y + dy * unit, radius * unit * breath)
            pen.veil(ring, (240, 246, 252), 0.9)
            pen.stroke(np.concatenate([ring, ring[:1]]), max(1.0, 0.6 * pen.line), (130, 150, 175))


def _draw_drop(pen: Pen, x: float, y: float, size: float, fill: Colour, edge: Colour) -> None:
    angle = np.linspace(-0.25 * np.pi, 1.25 * np.pi, 15)
    drop = np.column_stack([x + size * np.cos(angle), y + size * np.sin(angle)])
    drop = np.concatenate([drop, [[x, y - 2.1 * size]]])
    pen.draw.polygon(flatten(drop), fill=(*fill, 255))
    pen.draw.line(
        flatten(np.concatenate([drop, drop[:1]])), fill=(*edge, 255), width=max(1, round(0.4 * pen.line))
    )
