"""Labels of a manifest row in KAVAN's terms: 17 intensities and a quadrant, each where it is known."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from moodreel.emotions import (
    EKMAN_TO_GIFGIF,
    GIFGIF_17,
    QUADRANT_OF,
    QUADRANTS,
    STAND_INS,
    VOCABULARIES,
)
from moodreel.lab.data.manifest import Row
from moodreel.types import Float32Array

WEAKEST_CATEGORY = -0.5
"""Below this strongest intensity a clip expresses too little to have a quadrant: the label is missing."""


def intensities_of(row: Row) -> dict[str, float]:
    """Intensities of a row: its scores, or what an Ekman label says of the six emotions GIFGIF shares.

    A class becomes +1 on its emotion and -1 on the other five; neutral is -1 on all six. The other eleven
    emotions stay unknown: a picture labelled "happiness" says nothing of relief.
    """
    if row.scores or "ekman" not in row.labels:
        return row.scores
    chosen = EKMAN_TO_GIFGIF.get(row.labels["ekman"])
    return {emotion: 1.0 if emotion == chosen else -1.0 for emotion in EKMAN_TO_GIFGIF.values()}


def category_of(row: Row) -> str | None:
    """Quadrant of a row: its label, or that of its strongest emotion (the first in order wins a tie)."""
    if "quadrant" in row.labels:
        return row.labels["quadrant"]
    scores = intensities_of(row)
    if not scores:
        return None
    strongest = max((e for e in GIFGIF_17 if e in scores), key=lambda e: scores[e])
    return QUADRANT_OF[strongest] if scores[strongest] > WEAKEST_CATEGORY else None


def label_arrays(row: Row) -> tuple[Float32Array, np.ndarray[tuple[int], np.dtype[np.bool_]], int]:
    """(intensities [17] with 0 where unknown, known [17] bool, quadrant index or -1)."""
    scores = intensities_of(row)
    values = np.array([scores.get(e, 0.0) for e in GIFGIF_17], np.float32)
    known = np.array([e in scores for e in GIFGIF_17])
    category = category_of(row)
    return values, known, QUADRANTS.index(category) if category is not None else -1


def class_of(row: Row, vocabulary: str) -> int:
    """Index of a row's class in a vocabulary, -1 where it has none.

    A row with a label of another vocabulary alone has the class that :data:`STAND_INS` names, if any.
    """
    label = row.labels.get(vocabulary)
    for other, mapping in STAND_INS.get(vocabulary, {}).items():
        if label is None:
            label = mapping.get(row.labels.get(other, ""))
    return -1 if label is None else VOCABULARIES[vocabulary].index(label)


def find_supervised(rows: Iterable[Row]) -> tuple[frozenset[str], frozenset[str]]:
    """(emotions, quadrants) that these rows supervise.

    An emotion counts when it has labels that differ; a quadrant when some row belongs to it.
    """
    values: dict[str, set[float]] = {}
    categories = set()
    for row in rows:
        for emotion, value in intensities_of(row).items():
            values.setdefault(emotion, set()).add(value)
        category = category_of(row)
        if category is not None:
            categories.add(category)
    return frozenset(e for e, seen in values.items() if len(seen) > 1), frozenset(categories)
