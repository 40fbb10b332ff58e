"""Brows, eyes and mouth of a toon face, in face units, from its action units."""

from __future__ import annotations

import numpy as np

from moodreel.lab.data.toon_look import Look
from moodreel.types import FloatArray


def one_sided(a: dict[str, float], unit: str, side: float) -> float:
    """An action unit's value on one side of the picture, -1 left to 1 right, as ``skew`` says."""
    return a[unit] * (1 - float(np.clip(-a["skew"] * side, 0, 1)))


def bend_brow(look: Look, a: dict[str, float], side: int, t: FloatArray) -> FloatArray:
    """[N, 2] along a brow; t from -1 (outer end) to 1 (inner end)."""
    inner, outer = (t + 1) / 2, (1 - t) / 2
    down, oblique = one_sided(a, "AU4", -side), a["AU1"] * a["AU4"]
    x = side * (look.eye_x + 0.02 - t * look.brow_w - 0.07 * a["AU4"] * inner)
    y = look.brow_y - 0.05 * (1 - t**2) * (1 - 0.8 * a["AU4"])
    y = y - 0.19 * a["AU1"] * inner**1.4 - 0.21 * one_sided(a, "AU2", side) * (1 - 0.6 * inner**2)
    y = (
        y
        + down * (0.05 + 0.19 * inner**1.2 * (1 - a["AU1"]))
        + 0.14 * oblique * outer
        - 0.1 * oblique * inner
    )
    y = y + 0.05 * a["AU9"] * inner - 0.02 * a["AU5"] - 0.03 * a["AU6"] * (1 - a["AU4"])
    return np.column_stack([x, y])


class Lids:
    """One eye: its lids and pupil in face units; t from -1 (outer corner) to 1 (inner corner)."""

    def __init__(self, look: Look, a: dict[str, float], side: int) -> None:
        self.look, self.a, self.side = look, a, side
        self.is_dot = look.style in ("emoji", "bear")
        glide = 1.0 if self.is_dot else 0.0  # such an eye has no white: the whole of it moves
        self.x = side * look.eye_x + glide * 0.1 * a["gaze_x"]
        self.y = look.eye_y + glide * 0.1 * a["gaze_y"]
        self.height = look.eye_h

    def upper(self, t: FloatArray) -> FloatArray:
        """Upper lid."""
        a, round_ = self.a, np.sqrt(np.clip(1 - t**2, 0, 1))
        high = 1 + 0.35 * a["AU5"] - 0.3 * a["AU7"] - 0.22 * a["AU6"]
        angry = max(0.0, a["AU4"] * (1 - a["AU1"]))
        sad = a["AU1"] * max(a["AU4"], a["AU15"]) * (1 - 0.7 * a["AU5"])
        y = (
            -high
            + 0.95 * angry * np.clip((t + 0.5) / 1.5, 0, 1)
            + 0.75 * sad * np.clip((0.5 - t) / 1.5, 0, 1)
        )
        low = self._low(t)
        y = y * round_ * self.height
        y = np.minimum(y + min(1.0, a["AU43"]) * (low - y), low)
        return np.column_stack([self._across(t), self.y + y])

    def lower(self, t: FloatArray) -> FloatArray:
        """Lower lid."""
        return np.column_stack([self._across(t), self.y + self._low(t)])

    def white(self) -> FloatArray:
        """The white that shows around an eye drawn as a dot when it is torn open."""
        angle = np.linspace(0, 2 * np.pi, 25)[:-1]
        size = 0.2 + 0.8 * self.a["AU5"]
        x = self.x + 1.6 * size * self.look.eye_w * np.cos(angle)
        return np.column_stack([x, self.y + 1.25 * size * self.height * np.sin(angle)])

    def cheek(self) -> FloatArray:
        """The fold under the eye that a raised cheek makes."""
        t = np.linspace(-0.8, 0.8, 9)
        return np.column_stack(
            [self._across(t), self.y + self.height * (1.15 - 0.35 * self.a["AU6"] * (1 - t**2))]
        )

    def pupil(self) -> FloatArray:
        """[1, 2] middle of the pupil, kept inside the opening."""
        a = self.a
        t = np.array([0.0 if self.is_dot else -0.5 * self.side * float(np.clip(a["gaze_x"], -1, 1))])
        high, low = self.upper(t)[0, 1], self.lower(t)[0, 1]
        want = (
            (high + low) / 2
            if self.is_dot
            else self.y + 0.5 * self.height * float(np.clip(a["gaze_y"], -1, 1))
        )
        return np.array([[self._across(t)[0], np.clip(want, high, low)]])

    def _low(self, t: FloatArray) -> FloatArray:
        a = self.a
        depth = (
            0.85
            - (1.15 if self.is_dot else 0.8) * a["AU6"]
            - 0.35 * a["AU7"]
            - 0.45 * a["AU6"] * a["AU43"]
            + 0.1 * a["AU5"]
        )
        low: FloatArray = depth * self.height * np.sqrt(np.clip(1 - t**2, 0, 1))
        return low

    def _across(self, t: FloatArray) -> FloatArray:
        shrink = 0.7 if self.is_dot and self.a["AU5"] > 0.3 else 1.0
        across: FloatArray = self.x - self.side * t * self.look.eye_w * shrink
        return across


class Mouth:
    """The mouth in face units; s from -1 (picture's left corner) to 1."""

    def __init__(self, look: Look, a: dict[str, float]) -> None:
        self.look, self.a = look, a
        smile = (one_sided(a, "AU12", -1) + one_sided(a, "AU12", 1)) / 2
        round_ = a["AU26"] * a["AU25"] * (1 - a["AU12"]) * (1 - a["AU20"]) * (1 - 0.8 * a["AU10"])
        wide = 1 + 0.25 * smile + 0.3 * a["AU20"] + 0.1 * a["AU10"] - 0.55 * a["AU18"] - 0.16 * a["AU24"]
        self.wide = look.mouth_w * (wide - 0.08 * a["AU23"] - 0.1 * a["AU17"] - 0.42 * round_)
        self.tall = 0.35 + 0.65 * look.mouth_w / 0.34  # a small mouth moves less
        self.gap = self.tall * a["AU25"] * (0.06 + 0.4 * a["AU26"] + 0.12 * a["AU20"] + 0.08 * a["AU10"])
        self.up = 0.42 - 0.34 * a["AU12"] * (1 - 0.5 * a["AU20"])
        self.bend = 0.5 - 0.3 * max(a["AU20"], a["AU10"] * a["AU25"])
        self.smile = smile
        self.thick = look.lip * (1 - 0.75 * a["AU24"]) * (1 - 0.4 * a["AU23"]) * (1 + 0.8 * a["AU18"])

    def middle(self, s: FloatArray) -> FloatArray:
        """Height of the line between the lips."""
        a = self.a
        right = (s + 1) / 2
        smile = one_sided(a, "AU12", -1) * (1 - right) + one_sided(a, "AU12", 1) * right
        tight = one_sided(a, "AU14", -1) * (1 - right) + one_sided(a, "AU14", 1) * right
        corner = -0.2 * smile - 0.05 * tight + 0.2 * a["AU15"] + 0.06 * a["AU20"] + 0.05 * a["AU23"]
        centre = 0.07 * self.smile - 0.11 * a["AU15"] - 0.07 * a["AU17"] - 0.07 * a["AU10"] - 0.03 * a["AU20"]
        wobble = 0.018 * a["AU20"] * np.sin(2.5 * np.pi * s)
        bow = corner * np.abs(s) ** 1.7 + centre * (1 - s**2) + wobble
        middle: FloatArray = self.look.mouth_y + self.tall * bow
        return middle

    def top(self, s: FloatArray) -> FloatArray:
        """Lower edge of the upper lip."""
        return self._curve(s, -self.gap * self.up * self._profile(s) - 0.04 * self.a["AU10"] * (1 - s**4))

    def bottom(self, s: FloatArray) -> FloatArray:
        """Upper edge of the lower lip."""
        return self._curve(s, self.gap * (1 - self.up) * self._profile(s))

    def outer_top(self, s: FloatArray) -> FloatArray:
        """Upper edge of the upper lip."""
        return self.top(s) - self._lip(s, 1.0)

    def outer_bottom(self, s: FloatArray) -> FloatArray:
        """Lower edge of the lower lip."""
        return self.bottom(s) + self._lip(s, 1.25)

    def low(self) -> float:
        """Lowest point of the mouth."""
        return float(self.outer_bottom(np.zeros(1))[0, 1])

    def _profile(self, s: FloatArray) -> FloatArray:
        profile: FloatArray = np.clip(1 - s**2, 0, 1) ** self.bend
        return profile

    def _lip(self, s: FloatArray, share: float) -> FloatArray:
        return np.column_stack([np.zeros_like(s), share * self.thick * (1 - np.abs(s) ** 3)])

    def _curve(self, s: FloatArray, off: FloatArray) -> FloatArray:
        lopsided = 0.05 * self.a["skew"] * self.a["AU12"]
        return np.column_stack([self.wide * s + lopsided, self.middle(s) + off])
