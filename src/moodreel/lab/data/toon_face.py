"""The geometry of a toon face: from who it is and what it does to curves in pixels and 70 keypoints.

A face is made in its own units (crown at y = -1, chin at y = 1, y down), its features on an ellipsoid that is
turned by pan and tilt, so that they shift against the outline as on a real head; then roll, scale, place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moodreel.lab.data.toon_features import Lids, Mouth, bend_brow
from moodreel.lab.data.toon_look import Look
from moodreel.lab.data.toon_poses import CHANNELS, INDEX
from moodreel.types import FloatArray

_FULL_TURN = np.pi / 4
_MOST_TURN = 0.8


@dataclass(frozen=True, eq=False)
class Shape:
    """A face in pixels.

    Attributes:
        points: [70, 2] keypoints in OpenPose order (0-67 as iBUG 68, 68 and 69 the pupils).
        box: left, top, right, bottom around the head's outline and all points.
        parts: name -> [N, 2] curve to draw.
        state: [C] channels the face was made from.
        scale: pixels a unit (half of the head's height).
        centre: of the head.
        roll: in radians.
    """

    points: FloatArray
    box: tuple[float, float, float, float]
    parts: dict[str, FloatArray]
    state: FloatArray
    scale: float
    centre: tuple[float, float]
    roll: float

    def get(self, channel: str) -> float:
        """Value of a channel."""
        return float(self.state[INDEX[channel]])


def shape_face(look: Look, state: FloatArray, centre: tuple[float, float], scale: float) -> Shape:
    """Geometry of one frame.

    Args:
        look: who.
        state: [C] over CHANNELS.
        centre: of the head at rest, pixels.
        scale: half of the head's height at rest, pixels.
    """
    a = dict(zip(CHANNELS, np.asarray(state, float).tolist(), strict=True))
    head = _Head(look, a, centre, scale)
    parts: dict[str, FloatArray] = {}
    points = np.zeros((70, 2))
    outline = head.outline(np.linspace(0, 2 * np.pi, 65)[:-1])
    parts["outline"] = outline
    points[:17] = head.outline(np.radians(np.linspace(190, -10, 17)))
    for side, brow, eye, pupil in (
        (-1, slice(17, 22), range(36, 42), 68),
        (1, slice(22, 27), range(42, 48), 69),
    ):
        name = "left" if side < 0 else "right"
        t = np.linspace(-1, 1, 5)
        curve = head.project(bend_brow(look, a, side, t))
        points[brow] = curve if side < 0 else curve[::-1]
        parts[f"{name}_brow"] = head.project(bend_brow(look, a, side, np.linspace(-1, 1, 9)))
        lids = Lids(look, a, side)
        parts[f"{name}_upper"] = head.project(lids.upper(np.linspace(-1, 1, 17)))
        parts[f"{name}_lower"] = head.project(lids.lower(np.linspace(-1, 1, 17)))
        parts[f"{name}_white"] = head.project(lids.white())
        parts[f"{name}_cheek"] = head.project(lids.cheek())
        order = np.array([-1.0, -0.4, 0.4, 1.0])  # outer to inner
        around = np.concatenate([lids.upper(order), lids.lower(np.array([0.4, -0.4]))])
        if side > 0:  # 42 is the inner corner of the picture's right eye
            around = around[[3, 2, 1, 0, 5, 4]]
        points[list(eye)] = head.project(around)
        points[pupil] = head.project(lids.pupil())[0]
        parts[f"{name}_pupil"] = points[pupil : pupil + 1]
    bridge = np.column_stack([np.zeros(4), np.linspace(look.eye_y, look.eye_y + look.nose + 0.14, 4)])
    bridge[:, 1] -= 0.03 * a["AU9"]
    points[27:31] = head.project(bridge, np.linspace(0.02, 0.16, 4))
    across = np.linspace(-1, 1, 5) * 0.11 * (1 + 0.3 * a["AU9"] + 0.15 * a["AU10"])
    low = bridge[3, 1] + 0.06 - 0.05 * a["AU9"] + 0.02 * (1 - (across / across[-1]) ** 2)
    points[31:36] = head.project(np.column_stack([across, low]), np.full(5, 0.08))
    parts["bridge"], parts["nostrils"] = points[27:31], points[31:36]
    mouth = Mouth(look, a)
    s = np.linspace(-1, 1, 21)
    for name in ("outer_top", "top", "bottom", "outer_bottom"):
        parts[name] = head.project(getattr(mouth, name)(s))
    sevenths = np.linspace(-1, 1, 7)
    points[48:55] = head.project(mouth.outer_top(sevenths))
    points[55:60] = head.project(mouth.outer_bottom(sevenths[5:0:-1]))
    points[60:65] = head.project(mouth.top(np.array([-0.85, -0.45, 0, 0.45, 0.85])))
    points[65:68] = head.project(mouth.bottom(np.array([0.45, 0, -0.45])))
    corners = np.array([-1.0, 1.0])
    parts["dimples"] = head.project(mouth.outer_top(corners) + np.array([[-0.07, 0], [0.07, 0]]))
    parts["chin"] = head.project(np.column_stack([s * 0.13, mouth.low() + 0.1 + 0.05 * s**2]))
    parts["muzzle"] = head.ellipse(0.0, look.mouth_y - 0.02, 0.44, 0.36)
    parts["hairline"] = head.project(_hairline(look))
    everything = np.concatenate([outline, points])
    low_x, low_y = everything.min(axis=0).tolist()
    high_x, high_y = everything.max(axis=0).tolist()
    box = (low_x, low_y, high_x, high_y)
    return Shape(points, box, parts, np.asarray(state, float), head.scale, head.centre, head.roll)


class _Head:
    """The head's place and turn: from face units to pixels."""

    def __init__(self, look: Look, a: dict[str, float], centre: tuple[float, float], scale: float) -> None:
        self.look = look
        self.scale = scale * (1 + a["lean"])
        self.centre = (centre[0] + 2 * scale * a["shift_x"], centre[1] + 2 * scale * a["shift_y"])
        self.pan = float(np.clip(a["pan"], -_MOST_TURN, _MOST_TURN)) * _FULL_TURN
        self.tilt = float(np.clip(a["tilt"], -_MOST_TURN, _MOST_TURN)) * _FULL_TURN
        self.roll = a["roll"] * _FULL_TURN
        self.jaw_drop = a["AU26"] * a["AU25"]

    def project(self, local: FloatArray, lift: npt.ArrayLike = 0.0) -> FloatArray:
        """[N, 2] face units on the head's surface (or ``lift`` above it) to pixels."""
        x, y = local.T
        wide = self.look.wide
        z = 0.9 * wide * np.sqrt(np.clip(1 - (x / wide) ** 2 - y**2, 0, 1)) + np.asarray(lift, float)
        x, z = x * np.cos(self.pan) + z * np.sin(self.pan), z * np.cos(self.pan) - x * np.sin(self.pan)
        y = y * np.cos(self.tilt) + z * np.sin(self.tilt)
        return self._place(x * self._narrow(y), y)

    def outline(self, angle: FloatArray) -> FloatArray:
        """[N, 2] pixels of the head's outline; 0 is the right, 90 degrees the chin."""
        x, y = self.look.wide * np.cos(angle), np.sin(angle)
        return self._place(x * self._narrow(y), np.where(y > 0, y * (1 + 0.12 * self.jaw_drop), y))

    def ellipse(self, x: float, y: float, rx: float, ry: float) -> FloatArray:
        """[N, 2] pixels of an ellipse drawn on the head's surface."""
        angle = np.linspace(0, 2 * np.pi, 25)[:-1]
        return self.project(np.column_stack([x + rx * np.cos(angle), y + ry * np.sin(angle)]))

    def _narrow(self, y: FloatArray) -> FloatArray:
        narrowed: FloatArray = 1 - self.look.jaw * np.clip(y, 0, 1) ** 2
        return narrowed

    def _place(self, x: FloatArray, y: FloatArray) -> FloatArray:
        cos, sin = np.cos(self.roll), np.sin(self.roll)
        return np.column_stack(
            [
                self.centre[0] + self.scale * (x * cos - y * sin),
                self.centre[1] + self.scale * (x * sin + y * cos),
            ]
        )


def _hairline(look: Look) -> FloatArray:
    """[N, 2] lower edge of the hair over the forehead, from the picture's left to its right."""
    x = np.linspace(-1, 1, 33)
    lowest = max(-0.8, min(look.brow_y - 0.26, -0.5))
    y = {
        "short": lowest - 0.1 + 0.25 * x**4,
        "long": lowest - 0.18 * np.cos(2.2 * (x - 0.4)) + 0.35 * x**4,
        "bun": lowest - 0.2 + 0.3 * x**4,
        "curly": lowest - 0.05 + 0.05 * np.cos(12 * x) + 0.3 * x**4,
        "spiky": lowest + 0.09 * np.abs((x * 3.5) % 1 - 0.5) * 2 - 0.1 + 0.3 * x**4,
        "bob": lowest + 0.5 * x**6,
        "bald": np.full_like(x, -0.9),
    }[look.hair_kind]
    return np.column_stack([x * look.wide * 0.999, np.maximum(y, -0.95)])
