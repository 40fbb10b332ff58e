"""Keypoints that follow what is done to their frames. Places are 0-1 of the frame, from the left and the top.

Resizing a whole frame, whatever becomes of its shape, leaves such places as they are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from moodreel.errors import SettingsError
from moodreel.types import POINTS, FloatArray, IntArray


def crop_points(points: npt.ArrayLike, window: npt.ArrayLike) -> FloatArray:
    """Places in a part of the frame.

    A point beyond the window stays, with a place below 0 or above 1: its Gaussian reaches into the part, as
    it did into the frame.

    Args:
        points: [..., 2] (x, y).
        window: [..., 4] left, top, right, bottom of the part, 0-1 of the frame; may reach beyond it. Without
            the points' axis: [T, 4] for points [T, 70, 2], or [4] for all.

    Returns:
        [..., 2], 0-1 of the part.

    Raises:
        SettingsError: a window has no width or height.
    """
    corners = np.asarray(window, dtype=np.float64)
    if corners.shape[-1:] != (4,) or (corners[..., 2:] <= corners[..., :2]).any():
        raise SettingsError(
            "window", corners.tolist(), "[left, top, right, bottom] with left < right, top < bottom"
        )
    if corners.ndim > 1:
        corners = corners[..., None, :]
    moved: FloatArray = (np.asarray(points, float) - corners[..., :2]) / (corners[..., 2:] - corners[..., :2])
    return moved


def flip_points(points: npt.ArrayLike, confidence: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Places in the mirrored frame (left and right exchanged).

    The order of points names sides of the picture (36-41 is the eye on the left of an upright face), so each
    point also changes places with its twin: a mirrored face is a face like any other. The heatmap does not
    feel it, as twins are both on the lips or both not.

    Args:
        points: [..., 70, 2] (x, y).
        confidence: [..., 70].

    Returns:
        (points, confidence) of the same shapes.
    """
    places = np.asarray(points, dtype=np.float64)[..., TWINS, :]
    mirrored = np.stack([1 - places[..., 0], places[..., 1]], axis=-1)
    return mirrored, np.asarray(confidence, dtype=np.float64)[..., TWINS]


def _pair_points() -> IntArray:
    """[70] the twin of each point."""
    rows = [
        range(17),  # jaw
        range(17, 27),  # brows
        *([point] for point in range(27, 31)),  # bridge of the nose
        range(31, 36),  # nostrils
        [36, 37, 38, 39, 42, 43, 44, 45],  # upper lids
        [41, 40, 47, 46],  # lower lids
        range(48, 55),  # lips, outside, above
        range(59, 54, -1),  # and below
        range(60, 65),  # inside, above
        range(67, 64, -1),  # and below
        [68, 69],  # pupils
    ]
    twins = np.full(POINTS, -1)
    for row in rows:
        twins[list(row)] = list(row)[::-1]
    return twins


TWINS = _pair_points()
"""[70] for each point the one on the other side of the face; itself on the middle line."""
