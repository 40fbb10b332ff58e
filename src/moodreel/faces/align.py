"""Faces cut out so that eyes and nose lie at fixed places, by similarity transforms smoothed along time.

For STA (its paper, Sec. 3.1, maps landmarks of dlib to fixed pixels so that eyes and nose agree between
frames).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from moodreel.errors import SettingsError
from moodreel.faces.detect import EYES
from moodreel.types import BoolArray, Face, FloatArray, UInt8Array

ComplexArray: TypeAlias = "npt.NDArray[np.complex128]"

NOSE = slice(30, 36)
"""Tip of the nose and the nostrils."""

ANCHORS = np.array([[0.34, 0.32], [0.66, 0.32], [0.5, 0.52]])
"""Where the two eyes and the nose lie in the cut-out, 0-1 of it: a frontal face, whose chin is 1.65 to 1.9
times the distance of its eyes below them, then fits from brows to chin and from ear to ear."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where the cut-outs of one face lie in their frames.

    A cut-out is a square, turned: its place is its centre, its x axis runs along ``side``.

    Attributes:
        centres: [n, 2] pixels of the frame; NaN in a frame without enough points.
        sides: [n, 2] the vector from the middle of the left edge to the middle of the right one, in pixels.
    """

    centres: FloatArray
    sides: FloatArray

    @property
    def found(self) -> BoolArray:
        """[n] whether there is a cut-out."""
        return np.asarray(np.isfinite(self.centres).all(axis=1))

    def place(self, index: int, points: npt.ArrayLike) -> FloatArray:
        """Places of the frame in its cut-out: [..., 2] pixels -> 0-1 of the cut-out."""
        where = _to_complex(np.asarray(points, dtype=np.float64))
        centre, side = _to_complex(self.centres[index]), _to_complex(self.sides[index])
        inside = (where - centre) / side
        return np.stack([inside.real, inside.imag], axis=-1) + 0.5

    def locate(self, index: int, points: npt.ArrayLike) -> FloatArray:
        """Places of the cut-out in its frame, the reverse of :meth:`place`: [..., 2] 0-1 -> pixels."""
        inside = _to_complex(np.asarray(points, dtype=np.float64) - 0.5)
        return _to_pairs(_to_complex(self.centres[index]) + inside * _to_complex(self.sides[index]))


def align_faces(faces: Sequence[Face], times: npt.ArrayLike, smooth: float = 0.1) -> Alignment:
    """Finds the cut-out of each face of a track.

    The similarity transform (shift, turn, one scale; no mirroring) that brings the eyes and the nose nearest
    to :data:`ANCHORS`: least squares, each anchor weighted by the mean confidence of its points (Umeyama,
    1991; in the plane a closed form). Turn, scale and shift are then averaged with a Gaussian over true
    seconds.

    Args:
        faces: n faces of one track.
        times: [n] seconds.
        smooth: standard deviation of the Gaussian in seconds; 0 leaves each frame to itself.

    Returns:
        An Alignment of n cut-outs; NaN for a face of which fewer than two anchors were found.

    Raises:
        SettingsError: lengths do not agree, or smooth is not allowed.
    """
    when = np.asarray(times, dtype=np.float64)
    if when.shape != (len(faces),):
        raise SettingsError("times", list(when.shape), f"[{len(faces)}], one a face")
    if not (np.isfinite(smooth) and smooth >= 0):
        raise SettingsError("smooth", smooth, "seconds, finite and >= 0")
    centres, sides, weight = np.full(len(faces), np.nan, complex), np.full(len(faces), np.nan, complex), []
    for row, face in enumerate(faces):
        places, sure = find_anchors(face)
        weight.append(float(sure.sum()) if (sure > 0).sum() >= 2 else 0.0)
        if weight[-1]:
            centres[row], sides[row] = _fit(places, sure)
    kept = np.array(weight) > 0
    if smooth > 0 and kept.any():
        near = (
            np.exp(-((when[kept, None] - when[None, kept]) ** 2) / (2 * smooth**2)) * np.array(weight)[kept]
        )
        near /= near.sum(axis=1, keepdims=True)
        centres[kept], sides[kept] = near @ centres[kept], near @ sides[kept]
    return Alignment(_to_pairs(centres), _to_pairs(sides))


def find_anchors(face: Face) -> tuple[FloatArray, FloatArray]:
    """Centres of the two eyes and of the nose: ([3, 2] pixels, [3] mean confidence; 0 if missing)."""
    places, sure = np.zeros((3, 2)), np.zeros(3)
    for row, part in enumerate((*EYES, NOSE)):
        weight = face.confidence[part]
        if weight.any():
            places[row] = (weight[:, None] * face.points[part]).sum(axis=0) / weight.sum()
            sure[row] = weight.mean()
    return places, sure


def cut_face(frame: UInt8Array, alignment: Alignment, index: int, size: int = 64) -> UInt8Array:
    """Cuts one face out of its frame.

    Args:
        frame: [H, W, 3] uint8 RGB.
        alignment: of the track.
        index: of the face in the track; it must have a cut-out (``alignment.found``).
        size: of the cut-out, in pixels.

    Returns:
        [size, size, 3] uint8 RGB, bilinear; what lies beyond the frame is black. A face larger than ``size``
        is averaged over whole pixels first.

    Raises:
        SettingsError: there is no cut-out, or size is below 1.
    """
    from PIL import Image

    if size < 1:
        raise SettingsError("size", size, "at least 1")
    if not alignment.found[index]:
        raise SettingsError("index", index, "a face with a cut-out")
    centre, side = alignment.centres[index], alignment.sides[index]
    image = Image.fromarray(frame)
    factor = int(np.hypot(*side) / size)
    if factor > 1:
        reach = np.abs(side).sum() / 2 + 2 * factor  # half the diagonal of the upright square around it
        low = np.maximum(np.floor((centre - reach) / factor) * factor, 0)
        high = np.minimum(centre + reach, [image.width, image.height])
        if (high <= low).any():
            return np.zeros((size, size, 3), dtype=np.uint8)
        box = (int(low[0]), int(low[1]), int(np.ceil(high[0])), int(np.ceil(high[1])))
        image = image.reduce(factor, box)
        centre, side = (centre - low) / factor, side / factor
    x, y = side / size
    corner = centre - (side + np.array([-side[1], side[0]])) / 2
    # Pillow takes the middles of pixels itself, so both sides are edges: 0 is the left edge of the frame.
    matrix = (x, -y, corner[0], y, x, corner[1])
    cut = image.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.array(cut)


def _fit(places: FloatArray, weight: FloatArray) -> tuple[complex, complex]:
    """(centre, side) of the square whose :data:`ANCHORS` are nearest to ``places`` (least squares)."""
    target, source = _to_complex(ANCHORS - 0.5), _to_complex(places)
    share = weight / weight.sum()
    target_mean, source_mean = (share * target).sum(), (share * source).sum()
    spread = target - target_mean
    side = (share * spread.conj() * (source - source_mean)).sum() / (share * abs(spread) ** 2).sum()
    return complex(source_mean - side * target_mean), complex(side)


def _to_complex(pairs: FloatArray) -> ComplexArray:
    return np.asarray(pairs[..., 0] + 1j * pairs[..., 1])


def _to_pairs(values: ComplexArray) -> FloatArray:
    return np.stack([values.real, values.imag], axis=-1)
