"""Who a toon character is: art style, colours and proportions, the same in all of a character's clips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

STYLES = ("emoji", "line", "flat", "anime", "sketch", "cat", "bear")
"""Art styles. The last two are animals; all but the first have a body."""

HAIR = ("short", "long", "bun", "curly", "spiky", "bob", "bald")
"""Kinds of hair of the human styles."""

Colour = tuple[int, int, int]

_SKINS = ((255, 224, 196), (241, 194, 150), (224, 172, 120), (198, 134, 86), (141, 85, 50), (96, 58, 36))
_HAIRS = ((40, 28, 24), (90, 56, 32), (150, 84, 40), (222, 180, 92), (170, 60, 40), (130, 130, 138),
          (60, 80, 170), (220, 110, 160), (70, 150, 110))  # fmt: skip
_IRISES = ((70, 110, 190), (60, 140, 90), (110, 70, 40), (120, 80, 170), (40, 40, 48), (190, 130, 40))
_FURS = {
    "cat": (
        (244, 170, 84),
        (150, 150, 160),
        (245, 240, 230),
        (128, 118, 130),
        (214, 190, 150),
        (190, 140, 110),
    ),
    "bear": (
        (160, 106, 66),
        (200, 156, 110),
        (150, 110, 86),
        (240, 240, 244),
        (140, 116, 108),
        (214, 170, 90),
    ),
}
_YELLOWS = ((255, 204, 77), (255, 214, 92), (252, 191, 60), (255, 222, 120))


@dataclass(frozen=True)
class Look:
    """Who a face is: what stays the same in all clips of a character.

    Attributes:
        style: one of :data:`STYLES`.
        skin, ink, hair, iris, cloth: colours.
        hair_kind: one of :data:`HAIR`; "bald" for animals and emoji.
        wide: half of the head's width.
        jaw: how much the head narrows towards the chin, 0-1.
        eye_x, eye_y, eye_w, eye_h: place and half size of the eyes.
        brow_y, brow_w, brow_thick: height, half width and thickness of the brows.
        mouth_y, mouth_w, lip: place, half width and thickness of the mouth.
        nose: length of the nose.
        glasses, freckles, hat: extras.
    """

    style: str
    skin: Colour
    ink: Colour
    hair: Colour
    iris: Colour
    cloth: Colour
    hair_kind: str
    wide: float
    jaw: float
    eye_x: float
    eye_y: float
    eye_w: float
    eye_h: float
    brow_y: float
    brow_w: float
    brow_thick: float
    mouth_y: float
    mouth_w: float
    lip: float
    nose: float
    glasses: bool
    freckles: bool
    hat: bool


_PROPORTIONS = {
    # wide, jaw, eye_x, eye_y, eye_w, eye_h, brow_y, brow_w, brow_thick, mouth_y, mouth_w, lip
    "emoji": (1.0, 0.0, 0.36, -0.16, 0.15, 0.23, -0.54, 0.2, 0.075, 0.4, 0.42, 0.02),
    "line": (0.82, 0.12, 0.34, -0.1, 0.19, 0.17, -0.43, 0.22, 0.06, 0.5, 0.34, 0.03),
    "flat": (0.8, 0.14, 0.34, -0.06, 0.18, 0.15, -0.36, 0.22, 0.08, 0.52, 0.32, 0.05),
    "anime": (0.82, 0.34, 0.38, 0.06, 0.24, 0.3, -0.42, 0.25, 0.05, 0.6, 0.25, 0.015),
    "sketch": (0.78, 0.2, 0.33, -0.1, 0.18, 0.14, -0.38, 0.21, 0.06, 0.5, 0.32, 0.045),
    "cat": (1.08, 0.05, 0.44, -0.08, 0.24, 0.24, -0.5, 0.23, 0.07, 0.48, 0.32, 0.02),
    "bear": (1.0, 0.0, 0.4, -0.18, 0.15, 0.17, -0.52, 0.22, 0.085, 0.5, 0.34, 0.02),
}


def draw_look(style: str, rng: np.random.Generator) -> Look:
    """A character of a style.

    Args:
        style: one of :data:`STYLES`.
        rng: source of chance.
    """
    proportions = np.array(_PROPORTIONS[style])
    proportions = proportions * np.exp(rng.normal(0, 1, len(proportions)) * 0.055)
    skin = _pick(_SKINS, rng)
    hair = _pick(_HAIRS, rng)
    ink: Colour = (40, 30, 34)
    if style == "emoji":
        skin, ink = _pick(_YELLOWS, rng), (92, 52, 16)
    elif style in _FURS:
        skin = _pick(_FURS[style], rng)
        ink = (30, 24, 26) if sum(skin) > 330 else (16, 12, 14)
    elif style == "line":
        skin, hair, ink = (255, 255, 255), (30, 30, 30), (20, 20, 20)
    elif style == "sketch":
        grey = int(rng.integers(40, 170))
        skin, hair, ink = (236, 234, 228), (grey, grey, grey), (62, 60, 60)
    elif style == "anime":
        skin = _pick(_SKINS[:3], rng)
    human = style in ("line", "flat", "anime", "sketch")
    colours = (skin, ink, hair, _pick(_IRISES, rng), _pick_bright(rng))
    kind = str(rng.choice(HAIR)) if human else "bald"
    nose = 0.2 * float(np.exp(rng.normal(0, 0.15)))
    glasses, freckles, hat = (bool(rng.random() < part) for part in (0.2, 0.2, 0.15))
    rest: list[Any] = [*proportions.tolist(), nose, human and glasses, human and freckles, hat]
    return Look(style, *colours, kind, *rest)


def _pick(colours: tuple[Colour, ...], rng: np.random.Generator) -> Colour:
    base = np.array(colours[int(rng.integers(len(colours)))]) + rng.integers(-8, 9, 3)
    r, g, b = np.clip(base, 0, 255).tolist()
    return r, g, b


def _pick_bright(rng: np.random.Generator) -> Colour:
    r, g, b = np.roll([rng.integers(150, 240), rng.integers(40, 120), rng.integers(40, 220)], rng.integers(3))
    return int(r), int(g), int(b)
