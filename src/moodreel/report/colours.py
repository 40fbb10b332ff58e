"""Colours and signs of the quadrants: one table for the terminal, the page, the overlay and the plots.

The four stay apart with any of the three colour blindnesses; a test computes it (Machado et al., 2009).
Colour never stands alone: each has a sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from moodreel.emotions import QUADRANT_OF


class Colour(NamedTuple):
    """One colour on every kind of ground.

    Attributes:
        ansi: code in a terminal.
        light: on white, at least 3:1.
        dark: on nearly black, at least 4.5:1.
        sign: of its points, a matplotlib marker: "o" circle, "^" triangle, "s" square, "D" diamond.
    """

    ansi: str
    light: str
    dark: str
    sign: str


PALETTE: Mapping[str, Colour] = {
    "pleasure_arousal": Colour("33", "#a88613", "#fbc42f", "o"),  # yellow
    "misery_arousal": Colour("31", "#96203c", "#ff4668", "^"),  # red
    "misery_sleepiness": Colour("34", "#173fb0", "#8b9afe", "s"),  # blue
    "pleasure_sleepiness": Colour("32", "#1d8480", "#35e6d4", "D"),  # green
}
"""Of each quadrant."""

NEUTRAL = Colour("0", "#6a7078", "#9aa1ab", "o")
"""Of what belongs to no quadrant."""


CLASS_QUADRANTS: Mapping[str, str] = {
    "happy": "pleasure_arousal",
    "angry": "misery_arousal",
    "worried": "misery_arousal",
    "anxious": "misery_arousal",
    "sad": "misery_sleepiness",
}
"""Quadrant of the classes of MEC 2017 that are no emotion of GIFGIF: for their colour, no score follows."""


def find_quadrant(name: str) -> str | None:
    """The quadrant of an emotion or a class; None where it belongs to none."""
    return QUADRANT_OF.get(name, CLASS_QUADRANTS.get(name))


def find_colour(name: str) -> Colour:
    """The colour of a quadrant, of an emotion (its quadrant's), or of anything else (neutral)."""
    return PALETTE.get(find_quadrant(name) or name, NEUTRAL)


def label_name(name: str) -> str:
    """A class or an emotion in words: ``pleasure_arousal`` is "pleasure-arousal"."""
    return name.replace("_", "-")
