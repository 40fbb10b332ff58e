"""One result as a page shows it: text and numbers, no markup."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from moodreel.emotions import CIRCUMPLEX, QUADRANT_OF, QUADRANTS
from moodreel.report.colours import find_quadrant, label_name
from moodreel.report.scene import MOST_BARS, lay_bars
from moodreel.report.scene_text import format_share, name_face, tell_apart, tell_moment, tell_scene
from moodreel.report.terminal import clean
from moodreel.types import FloatArray, Result

KEYS: Mapping[str, str] = {name: f"q{k + 1}" for k, name in enumerate(QUADRANTS)}
"""Class of each quadrant in the style sheet; q0 is of what belongs to none."""

_NUMBERS = ("confidence", "valence", "arousal")

MOST_POINTS = 240
"""Points of a trace that are drawn."""


def describe_result(result: Result, number: int, abstain: float | None = None) -> dict[str, Any]:
    """What the template of a clip shows, as text and numbers.

    Args:
        result: of any input.
        number: its place in the report, from 1.
        abstain: the threshold that was asked for.
    """
    path = _clean_path(result.source)
    folder, slash, name = path.rpartition("/")
    is_trace = _is_trace(result)
    is_signed = bool(result.emotions) or is_trace
    category = result.category
    chosen = "no category" if category is None else label_name(category)
    if is_trace:
        chosen = "no face found" if result.valence is None else f"valence {format_signed(result.valence)}"
    elif result.confidence is None and result.ok:
        chosen = "no category: no training source had any"
    elif category is None and abstain is not None and result.ok:
        chosen = f"no category (below {abstain:g})"
    return {
        "number": number,
        "path": path,
        "folder": folder + slash,
        "name": name or path,
        "face": tell_apart(result),
        "error": None if result.error is None else clean(result.error),
        "category": category,
        "chosen": chosen,
        "key": key_of(category),
        "confidence": result.confidence,
        "valence": result.valence,
        "arousal": result.arousal,
        "peak": result.attention_peak,
        "has_attention": result.attention is not None,
        "facts": list(_list_facts(result)),
        "is_signed": is_signed,
        "is_trace": is_trace,
        "groups": list(_group_scores(result)),
        "scene": _describe_scene(result),
        "has_box": result.faces is not None and result.scene is not None and len(result.scene.boxes) > 0,
        "trace": _draw_trace(result),
        "spots": list(_place_spots(result)),
        "strongest": _name_strongest(result),
        "classes": list(result.probabilities.items()),
    }


def choose_columns(clips: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Columns of the list of clips: those that any of them has something for.

    Args:
        clips: as :func:`describe_result` gives them.
    """
    read = [clip for clip in clips if clip["error"] is None]
    is_trace = bool(read) and all(clip["is_trace"] for clip in read)
    shown = {
        "chosen": not is_trace,
        "confidence": not is_trace,
        "valence": any(clip["valence"] is not None for clip in read) or not read,
        "arousal": any(clip["arousal"] is not None for clip in read),
        "strongest": not is_trace,
    }
    return [
        {"key": key, "title": "category" if key == "chosen" else key, "is_number": key in _NUMBERS}
        for key, is_shown in shown.items()
        if is_shown
    ]


def key_of(name: str | None) -> str:
    """Class of the style sheet for a quadrant, an emotion, or anything else."""
    return KEYS.get(find_quadrant(name or "") or name or "", "q0")


def _clean_path(source: str) -> str:
    """A path as text: bytes that are no UTF-8 as ``\\xNN``, what cannot be printed as ``?``."""
    return clean(os.fsencode(source).decode("utf-8", "backslashreplace"))


def _list_facts(result: Result) -> Iterator[tuple[str, str]]:
    if result.width is not None:
        yield "size", f"{result.width} \N{MULTIPLICATION SIGN} {result.height} px"
    if result.frames is not None:
        yield "frames", f"{result.frames}"
    if result.duration:
        yield "duration", f"{result.duration:.2f} s"
    if result.confidence is not None:
        yield "confidence", f"{result.confidence:.2f}"
    if result.valence is not None:
        yield "valence", format_signed(result.valence)
    if result.arousal is not None:
        yield "arousal", format_signed(result.arousal)
    if result.faces is not None:
        yield "faces", f"{result.faces}"
    if result.scene is not None and result.scene.face is not None:
        yield "read", name_face(result) or "the whole frame"
        yield "seen", f"{format_share(result.scene.share)} of instants"
    yield "model", f"{clean(result.model)} {clean(result.model_version)}"


def format_signed(value: float) -> str:
    """A number with its sign, the minus a real one; nothing is minus zero."""
    return f"{round(value, 2) + 0.0:+.2f}".replace("-", "\N{MINUS SIGN}")


def _name_strongest(result: Result) -> str | None:
    scores = result.emotions or result.probabilities
    known = [(score, name) for name, score in scores.items() if score is not None]
    return max(known, key=lambda pair: pair[0])[1] if known else None


def _group_scores(result: Result) -> Iterator[dict[str, Any]]:
    """The rows of the bar chart: emotions by quadrant with the quadrant's probability, or classes."""
    strongest = _name_strongest(result)
    if _is_trace(result):
        if result.valence is not None:
            yield {"title": None, "key": "q0", "share": None, "rows": [_make_valence_bar(result.valence)]}
        return
    if not result.emotions:
        if result.probabilities:
            rows = [_make_bar(k, v, False, strongest) for k, v in result.probabilities.items()]
            yield {"title": None, "key": "q0", "share": None, "rows": rows}
        return
    for quadrant in QUADRANTS:
        names = [name for name in result.emotions if QUADRANT_OF.get(name) == quadrant]
        rows = [_make_bar(name, result.emotions[name], True, strongest) for name in names]
        share = result.probabilities.get(quadrant)
        yield {"title": label_name(quadrant), "key": KEYS[quadrant], "share": share, "rows": rows}


def _make_bar(name: str, score: float | None, is_signed: bool, strongest: str | None) -> dict[str, Any]:
    bar: dict[str, Any] = {
        "name": name,
        "score": score,
        "key": key_of(name),
        "is_strongest": name == strongest,
    }
    if score is not None:
        share = (score + 1) / 2 if is_signed else score  # an intensity of -1 is none at all
        bar["x"] = 0
        bar["width"] = round(max(min(share, 1.0) * 200, 0.8), 1)
        bar["text"] = format_signed(score) if is_signed else f"{score:.2f}"
    return bar


def _is_trace(result: Result) -> bool:
    """Whether the system gives valence and nothing else (STA)."""
    return result.ok and not result.emotions and not result.probabilities


def _make_valence_bar(valence: float) -> dict[str, Any]:
    """From 0, in the middle, to either side."""
    reach = min(max(valence, -1.0), 1.0) * 100
    width = round(max(abs(reach), 0.8), 1)
    x = round(100 - width, 1) if reach < 0 else 100
    bar = {"name": "valence", "score": valence, "key": "q0", "is_strongest": False}
    return {**bar, "x": x, "width": width, "text": format_signed(valence)}


def _describe_scene(result: Result) -> dict[str, Any] | None:
    """What was read, in words, and the moments of the scene as bars in a box of 1000 x 100."""
    told = tell_scene(result)
    if result.scene is None or told is None:
        return None
    bars = lay_bars(result.scene, result.duration or 0.0, MOST_BARS)
    drawn = [] if bars is None else zip(bars.left, bars.right, bars.level, strict=True)
    return {
        "text": clean(told),
        "is_fallback": result.scene.reason is not None,
        "moment": tell_moment(result.scene),
        "bars": [
            {
                "x": round(1000 * left),
                "width": max(2, round(1000 * right) - round(1000 * left) - 2),
                "y": round(100 - 100 * level, 1),
                "height": round(100 * level, 1),
                "opacity": round(0.35 + 0.65 * level, 2),
            }
            for left, right, level in drawn
        ],
        "even": None if bars is None else round(100 - 100 * bars.even, 1),
        "end": f"{result.duration or 0:.2f} s",
    }


def _draw_trace(result: Result) -> dict[str, Any] | None:
    """Valence along time as a line in a box of 1000 x 200, from -1 at the bottom to 1 at the top."""
    values, times = result.per_frame.get("valence"), result.per_frame.get("time_s")
    if not _is_trace(result) or values is None or times is None or len(values) < 2:
        return None
    end = max(result.duration or 0.0, float(times[-1]))
    points = list(_thin_trace(values, times / end))
    return {
        "points": " ".join(f"{1000 * x:.0f},{100 - 100 * min(max(y, -1.0), 1.0):.1f}" for x, y in points),
        "low": format_signed(float(values.min())),
        "high": format_signed(float(values.max())),
        "end": f"{end:.2f} s",
    }


def _thin_trace(values: FloatArray, places: FloatArray) -> Iterator[tuple[float, float]]:
    """Of a long trace, means of stretches: no more than :data:`MOST_POINTS`."""
    step = math.ceil(len(values) / MOST_POINTS)
    for start in range(0, len(values), step):
        part = slice(start, start + step)
        yield float(places[part].mean()), float(values[part].mean())


def _place_spots(result: Result) -> Iterator[dict[str, Any]]:
    """A dot an emotion on the circumplex: its angle, and as far out as it is strong. Radius 100 is +1."""
    for name, score in result.emotions.items():
        if score is not None and name in CIRCUMPLEX:
            far = (min(max(score, -1.0), 1.0) + 1) / 2 * 100
            x, y = CIRCUMPLEX[name]
            yield {"key": key_of(name), "x": round(far * x, 1), "y": round(-far * y, 1), "name": name}
