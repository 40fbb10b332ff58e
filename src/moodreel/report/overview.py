"""What is known of all results together: counts, and a bounded number of points and errors."""

from __future__ import annotations

from collections import Counter
from typing import Any

from moodreel.emotions import QUADRANTS
from moodreel.report.colours import label_name
from moodreel.report.describe import format_signed, key_of

MOST_POINTS = 2000
"""Points in the scatter; of more clips, every second, fourth, ... is drawn."""

MOST_ERRORS = 100
"""Errors listed; all are at their places."""


class Overview:
    """Grows with the clips; its memory does not.

    Attributes:
        total: results so far; a clip whose faces were read one by one has several.
    """

    def __init__(self) -> None:
        self.total = self._clips = 0
        self._faces: tuple[str, set[int | None]] = ("", set())  # path of the clip in work, its faces so far
        self._valence: tuple[float, float, float, int] = (1.0, -1.0, 0.0, 0)  # least, most, sum, number
        self._failed = 0
        self._counts: Counter[str | None] = Counter()
        self._classes: dict[str, bool] = {}
        self._points: list[dict[str, Any]] = []
        self._step = 1
        self._placed = 0
        self._errors: list[dict[str, Any]] = []
        self._first: dict[str, Any] | None = None
        self._models: dict[str, None] = {}
        self._is_signed = self._has_attention = self._has_moments = self._is_trace = False

    def add(self, clip: dict[str, Any]) -> None:
        """Counts one clip, as :func:`describe_result` gives it, with its page."""
        self.total += 1
        path, faces = self._faces
        if clip["face"] is None or clip["path"] != path or clip["face"] in faces:
            self._clips += 1
            self._faces = (clip["path"], {clip["face"]})
        else:
            faces.add(clip["face"])
        place = {key: clip[key] for key in ("number", "page", "path", "name", "face", "key", "chosen")}
        self._first = self._first or {**place, "error": clip["error"]}
        self._models[dict(clip["facts"])["model"]] = None
        if clip["error"] is not None:
            self._failed += 1
            if len(self._errors) < MOST_ERRORS:
                self._errors.append({**place, "error": clip["error"]})
            return
        self._counts[clip["category"]] += 1
        self._is_signed |= clip["is_signed"]
        self._has_attention |= clip["has_attention"]
        self._has_moments |= bool(clip["scene"] and clip["scene"]["bars"])
        self._is_trace |= clip["is_trace"]
        if clip["is_trace"] and clip["valence"] is not None:
            least, most, total, count = self._valence
            value = clip["valence"]
            self._valence = (min(least, value), max(most, value), total + value, count + 1)
        for name, share in clip["classes"]:
            self._classes[name] = self._classes.get(name, False) or share is not None
        if clip["valence"] is not None and clip["arousal"] is not None:
            if self._placed % self._step == 0:
                self._points.append({**place, "valence": clip["valence"], "arousal": clip["arousal"]})
            self._placed += 1
            if len(self._points) > MOST_POINTS:
                self._points, self._step = self._points[::2], self._step * 2

    def describe(self) -> dict[str, Any]:
        """What the template of the overview shows."""
        read = self.total - self._failed
        rows = [
            {
                "label": label_name(name),
                "key": key_of(name),
                "count": self._counts[name],
                "is_scored": scored,
                "width": round(200 * self._counts[name] / max(1, *self._counts.values()), 1),
            }
            for name, scored in self._classes.items()
        ]
        if self._counts[None] and any(self._classes.values()):
            width = round(200 * self._counts[None] / max(self._counts.values()), 1)
            rows.append(
                {"label": "none", "key": "q0", "count": self._counts[None], "is_scored": True, "width": width}
            )
        reach = _round_up(max((max(abs(p["valence"]), abs(p["arousal"])) for p in self._points), default=0.0))
        points = [
            {**p, "x": round(100 * p["valence"] / reach, 1), "y": round(-100 * p["arousal"] / reach, 1)}
            for p in self._points
        ]
        return {
            "total": self.total,
            "clips": self._clips,
            "read": read,
            "failed": self._failed,
            "is_signed": self._is_signed,
            "has_attention": self._has_attention,
            "has_moments": self._has_moments,
            "is_trace": self._is_trace,
            "valence": self._describe_valence(),
            "rows": rows,
            "is_quadrants": set(self._classes) == set(QUADRANTS),
            "points": points,
            "placed": self._placed,
            "reach": f"{reach:g}",
            "errors": self._errors,
            "first": self._first,
            "models": list(self._models),
        }

    def _describe_valence(self) -> str | None:
        """Of a system that gives nothing else: its range and mean, in words."""
        least, most, total, count = self._valence
        if not count:
            return None
        told = " to ".join(dict.fromkeys((format_signed(least), format_signed(most))))
        which = "1 clip" if count == 1 else f"{count} clips, mean {format_signed(total / count)}"
        return f"Valence {told} over {which}"


def _round_up(value: float) -> float:
    """The end of an axis that holds ``value`` with some room."""
    return next((end for end in (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0) if value <= 0.95 * end), 1.0)
