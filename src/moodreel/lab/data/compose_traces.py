"""Stills as clips with valence along time: from a person's neutral picture to an expression, and back.

The label is weak. Its height is the valence of the still's class on the circumplex (a table of words, no
rating of the picture), its course the blend of two photographs. See docs/sta.md.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from moodreel.emotions import CIRCUMPLEX, EKMAN_TO_GIFGIF
from moodreel.errors import DataError
from moodreel.faces.openpose import format_faces
from moodreel.lab.data.compose import compose_clip, draw_others, draw_rows, face_of, read_still
from moodreel.lab.data.manifest import Row, read_manifest
from moodreel.lab.data.trace_files import Trace, write_trace
from moodreel.media import write_gif
from moodreel.types import FloatArray

SMALLEST = 0.45
"""Height of a face relative to its frame, at least: a trace is read from faces of 48 pixels or more."""


def class_valence(label: str) -> float:
    """Valence of an Ekman class: that of its GIFGIF emotion on the circumplex, 0 for neutral."""
    return CIRCUMPLEX[EKMAN_TO_GIFGIF[label]][0] if label in EKMAN_TO_GIFGIF else 0.0


def draw_weight(times: FloatArray, rng: np.random.Generator) -> FloatArray:
    """[T] in [0, 1]: 0, a rise, 1 for a while, a fall, 0 again; of some clips the end is cut off.

    Args:
        times: [T] seconds.
        rng: source of chance.
    """
    rise, up, hold, down = rng.uniform(0.5, 1.2), *rng.uniform([0.2, 0.5, 0.2], [0.8, 1.4, 0.8])
    knots = np.cumsum([rise, up, hold, down])
    return np.interp(times, knots, [0.0, 1.0, 1.0, 0.0])


def write_traced(
    manifest: Path,
    split: str,
    out: Path,
    limit: int,
    seed: int,
    size: int = 176,
    per_class: int = 0,
) -> list[Row]:
    """Writes clips with traces, composed from the stills of one split.

    A still whose person has a neutral picture in the split goes from it to the expression and back; any other
    is shown throughout, its trace a constant.

    Args:
        manifest: stills with groups and ``label_ekman``.
        split: which rows.
        out: folder; gets ``clips/*.gif``, ``keypoints/*.json`` (the known face, as 70 points) and
            ``traces/*.csv`` (``time_s, valence``, a row a frame).
        limit: clips at most, an even draw; 0 for all.
        seed: of the draw and the clips.
        size: side of the frames, pixels.
        per_class: clips of one class at most, an even draw before ``limit``; 0 for all.

    Raises:
        DataError: the manifest is wrong, or a row is no labelled still.
    """
    everyone = read_manifest(manifest).select(split)
    for row in everyone:
        if "ekman" not in row.labels:
            raise DataError(f"{manifest}: {row.clip.name} has no label_ekman, which its trace is made of")
    rows = draw_rows(everyone, limit, per_class, np.random.default_rng(seed))
    neutral = {row.group: row for row in everyone if row.labels["ekman"] == "neutral"}
    stills = [(row.clip, row.group) for row in everyone]
    written = []
    for i, row in enumerate(rows):
        rng = np.random.default_rng([seed, i])
        label = row.labels["ekman"]
        first = neutral.get(row.group) if label != "neutral" else None
        durations = rng.choice([0.12, 0.16, 0.2], 34)
        durations = durations[: int(np.searchsorted(np.cumsum(durations), rng.uniform(3.0, 4.0)))]
        starts = np.cumsum(durations) - durations
        middles = starts + durations / 2  # what a frame shows is drawn for its middle
        weight = draw_weight(middles, rng) if first else np.ones(len(middles))
        still, start = read_still(row.clip), read_still(first.clip) if first else None
        if still is None or (first and start is None):
            raise DataError(f"{row.clip}: an animation; only stills are composed")
        others = [other for other in map(read_still, draw_others(row, stills, rng)) if other is not None]
        times = middles / durations.sum()
        composed = compose_clip(still, start, times, size, rng, others, weight, SMALLEST)
        name = f"{i:05d}"
        path, keypoints = out / "clips" / f"{name}.gif", out / "keypoints" / f"{name}.json"
        for file in (path, keypoints):
            file.parent.mkdir(parents=True, exist_ok=True)
        write_gif(path, composed.frames, durations)
        keypoints.write_bytes(format_faces(face_of(path.name, composed, durations)))
        trace = out / "traces" / f"{name}.csv"
        write_trace(trace, Trace(starts, {"valence": weight * class_valence(label)}))
        written.append(Row(path, row.group, split, labels=dict(row.labels), keypoints=keypoints, trace=trace))
    return written
