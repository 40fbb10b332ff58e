"""Faces: who finds them, tracks, alignment, heatmaps. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Needs(NamedTuple):
    """What a detector needs: the module that must be installed, and the extra that brings it."""

    module: str
    extra: str


DETECTORS: Mapping[str, Needs] = {
    "dlib": Needs("dlib", "faces"),
    "mediapipe": Needs("mediapipe", "mediapipe"),
}
"""Detectors that look at pictures; ``auto`` takes the first that is installed."""
