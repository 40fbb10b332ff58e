"""One result as a page shows it: text and numbers, no markup."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from moodreel.emotions import CIRCUMPLEX, QUADRANT_OF, QUADRANTS
from moodreel.report.colours import label_name
from moodreel.report.terminal import clean
from moodreel.types import Result

KEYS: Mapping[str, str] = {name: f"q{k + 1}" for k, name in enumerate(QUADRANTS)}
"""Class of each quadrant in the style sheet; q0 is of what belongs to none."""


def describe_result(result: Result, number: int, abstain: float | None = None) -> dict[str, Any]:
    """What the template of a clip shows, as text and numbers.

    Args:
        result: of any input.
        number: its place in the report, from 1.
        abstain: the threshold that was asked for.
    """
    path = _clean_path(result.source)
    folder, slash, name = path.rpartition("/")
    is_trace = result.ok and not result.emotions and not result.probabilities  # sta: valence is all it has
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
        "spots": list(_place_spots(result)),
        "strongest": _name_strongest(result),
        "classes": list(result.probabilities.items()),
    }


def key_of(name: str | None) -> str:
    """Class of the style sheet for a quadrant, an emotion, or anything else."""
    return KEYS.get(QUADRANT_OF.get(name or "", name or ""), "q0")


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
    if not result.emotions:
        if result.probabilities:
            rows = [_make_bar(k, v, False, strongest) for k, v in result.probabilities.items()]
            yield {"title": None, "key": "q0", "share": None, "rows": rows}
        elif result.valence is not None:
            row = _make_bar("valence", result.valence, True, None)
            yield {"title": None, "key": "q0", "share": None, "rows": [row]}
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
        bar["width"] = round(max(min(share, 1.0) * 200, 0.8), 1)
        bar["text"] = format_signed(score) if is_signed else f"{score:.2f}"
    return bar


def _place_spots(result: Result) -> Iterator[dict[str, Any]]:
    """A dot an emotion on the circumplex: its angle, and as far out as it is strong. Radius 100 is +1."""
    for name, score in result.emotions.items():
        if score is not None and name in CIRCUMPLEX:
            far = (min(max(score, -1.0), 1.0) + 1) / 2 * 100
            x, y = CIRCUMPLEX[name]
            yield {"key": key_of(name), "x": round(far * x, 1), "y": round(-far * y, 1), "name": name}
