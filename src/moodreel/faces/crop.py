"""Squares cut out of frames: around faces, and the middle of the frame."""

from __future__ import annotations

import numpy as np
from PIL import Image

from moodreel.media.base import resize
from moodreel.types import FloatArray, UInt8Array

MARGIN = 0.15
"""By how much of its longer side a box grows on each side before it is cut out: points end at the brows."""


def crop_faces(frames: UInt8Array, boxes: FloatArray, size: int) -> UInt8Array:
    """Cuts a square around one box of each frame, larger by :data:`MARGIN`; black beyond the frame's edge.

    Args:
        frames: [n, H, W, 3] uint8.
        boxes: [n, 4] left, top, right, bottom, 0-1 of the frame, each with an area.
        size: side of the result, pixels.

    Returns:
        [n, size, size, 3] uint8.
    """
    crops = np.empty((len(frames), size, size, 3), np.uint8)
    for n, (frame, box) in enumerate(zip(frames, boxes, strict=True)):
        crops[n] = crop_face(frame, box, size)
    return crops


def crop_face(frame: UInt8Array, box: FloatArray, size: int) -> UInt8Array:
    """Cuts one face out of its frame, as :func:`crop_faces` does: [H, W, 3], [4] -> [size, size, 3]."""
    height, width = frame.shape[:2]
    left, top, right, bottom = (box * [width, height, width, height]).tolist()
    half = max(right - left, bottom - top) * (0.5 + MARGIN)
    x, y = (left + right) / 2, (top + bottom) / 2
    # A transform, not a crop: it takes fractions of pixels and places beyond the edge.
    corner, step = (x - half, y - half), 2 * half / size
    image = Image.fromarray(frame)
    if step > 1:  # a transform does not average: shrink first
        image = image.resize(
            (max(1, round(width / step)), max(1, round(height / step))), Image.Resampling.BOX
        )
    scale = image.width / width, image.height / height
    matrix = (step * scale[0], 0, corner[0] * scale[0], 0, step * scale[1], corner[1] * scale[1])
    return np.asarray(
        image.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    )


def crop_centre(frame: UInt8Array, size: int) -> UInt8Array:
    """The largest square in the middle of a frame, scaled: [H, W, 3] -> [size, size, 3] uint8.

    CACA-RNN Sec. V-B: what its context stream sees.
    """
    height, width = frame.shape[:2]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    image = Image.fromarray(frame).crop((left, top, left + side, top + side))
    return resize(image, (size, size))
