"""Parts of a test split by how large the face is and how it is drawn, so that a mean hides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from moodreel.faces.openpose import read_keypoints
from moodreel.lab.data.manifest import Row
from moodreel.lab.data.toon_truth import read_truths

FACE_SHARES = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Bounds of the share of the frame that a face's box fills."""

ENOUGH_CLIPS = 10
"""A part with fewer clips is left out."""


def slice_rows(manifest: Path, rows: Sequence[Row]) -> dict[str, dict[str, list[int]]]:
    """Parts of rows that are worth a score of their own.

    Args:
        manifest: the rows' file.
        rows: of one split.

    Returns:
        kind ("face" where rows name keypoints, "style" of a toon set) -> part -> places in ``rows``, parts of
        at least ``ENOUGH_CLIPS``. A clip without a known face is in no part by face.
    """
    kinds: dict[str, dict[str, list[int]]] = {}
    shares = [find_face_share(row) for row in rows]
    for low, high in pairwise(FACE_SHARES):
        places = [k for k, share in enumerate(shares) if share is not None and low < share <= high]
        if len(places) >= ENOUGH_CLIPS:
            kinds.setdefault("face", {})[f"{low:.0%} to {high:.0%} of the frame"] = places
    truths = read_truths(manifest, rows)
    for style in sorted({truth.style for truth in truths or ()}):
        places = [k for k, truth in enumerate(truths or ()) if truth.style == style]
        if len(places) >= ENOUGH_CLIPS:
            kinds.setdefault("style", {})[style] = places
    return kinds


def find_face_share(row: Row) -> float | None:
    """Share of the frame that the known face's box fills, on average over frames that show it; None without.

    Raises:
        DataError: the row's file cannot be read.
    """
    if row.keypoints is None:
        return None
    stream = read_keypoints(row.keypoints)
    if not stream.found.any():
        return None
    left, top, right, bottom = stream.boxes[stream.found].clip(0, 1).T
    return float(np.mean((right - left) * (bottom - top)))
