"""Faces drawn so that a fake detector finds them again, and knows where their eyes and nose are."""

import numpy as np

from moodreel.faces.align import ANCHORS, NOSE
from moodreel.faces.detect import EYES
from moodreel.types import Face


def make_face(left, top, side, sure=1.0):
    """A face whose aligned cut-out is exactly the square (left, top, side)."""
    points, confidence = np.zeros((70, 2)), np.zeros(70)
    for anchor, part in zip(ANCHORS, (*EYES, NOSE), strict=True):
        points[part] = np.array([left, top]) + anchor * side
        confidence[part] = sure
    return Face(np.array([left, top, left + side, top + side], float), points, confidence)


def draw(size, *squares):
    """[H, W, 3] black, with squares (left, top, side, (red, green)); blue 255 marks a face."""
    frame = np.zeros((*size, 3), np.uint8)
    for left, top, side, (red, green) in squares:
        frame[top : top + side, left : left + side] = (red, green, 255)
    return frame


def find(frame, time=0.0):
    """The squares of a frame that do not touch: runs of blue along its middle rows."""
    blue = frame[..., 2] > 128
    columns = np.flatnonzero(np.diff(np.concatenate([[0], blue.any(axis=0).astype(int), [0]])))
    faces = []
    for left, right in columns.reshape(-1, 2).tolist():
        rows = np.flatnonzero(blue[:, left:right].any(axis=1))
        faces.append(make_face(left, int(rows[0]), right - left))
    return faces


class Squares:
    """The finder above as a detector of clips."""

    name = "squares"

    def detect(self, media, indices):
        for _, frame in media.read(indices):
            yield find(frame)
