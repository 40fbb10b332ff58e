"""Two bundles on the same rows: differences with intervals, so that "better" can be told from chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moodreel.emotions import EKMAN_7, GIFGIF_17, QUADRANTS, VOCABULARIES
from moodreel.errors import DataError
from moodreel.lab import metrics
from moodreel.lab.data.labels import class_of, label_arrays
from moodreel.lab.data.manifest import Row, read_manifest
from moodreel.lab.evaluate import ENOUGH_OTHER, name_manifest, open_target, predict_rows, strongest_class
from moodreel.runtime.schema import SYSTEMS
from moodreel.types import FloatArray, Result

Indices = NDArray[np.int64]
ROUNDS = 400
"""Resamplings for an interval."""


@dataclass(frozen=True, eq=False)
class Measure:
    """A score of either side.

    Attributes:
        name: of the score.
        rows: [n] rows it is defined for.
        statistic: (side 0 or 1, some of these rows) -> score.
    """

    name: str
    rows: Indices
    statistic: Callable[[int, Indices], float]


def compare(target: str, other: str, data: Sequence[Path], split: str = "test") -> dict[str, Any]:
    """Scores two runs or bundles on the same rows.

    Args:
        target, other: run folder, bundle folder or zip, or the name of a bundle that ships; of one system.
        data: manifests.
        split: which rows; "all" takes every one.

    Returns:
        manifest name -> ``clips``, ``groups``, ``failed`` and ``scores``: name -> ``score``, ``other``,
        ``difference`` (target minus other), ``interval`` (of the difference, 95 %, bootstrap over groups) and
        ``clips``. For kavan: mean Spearman over the emotions that both score and of whose targets enough
        differ, quadrant accuracy, seven-class accuracy by the strongest emotion. For face and
        caca-rnn: accuracy.

    Raises:
        DataError, BundleError: a manifest, the target or the other is wrong, or their systems differ.
    """
    sides = open_target(target), open_target(other)
    systems = [side.info.system for side in sides]
    if systems[0] != systems[1]:
        raise DataError(f"{target} is of {systems[0]}, {other} of {systems[1]}: nothing to compare")
    if systems[0] == "sta":
        raise DataError("two bundles of sta are not compared: evaluate each of them")
    out: dict[str, Any] = {}
    for manifest in map(read_manifest, data):
        rows = list(manifest.rows) if split == "all" else manifest.select(split)
        given = [{id(row): r for row, r in predict_rows(side, rows)} for side in sides]
        kept = [row for row in rows if all(id(row) in results for results in given)]
        measures = _list_measures(systems[0], kept, [[side[id(row)] for row in kept] for side in given])
        if not measures:
            raise DataError(f"{manifest.path}: no row of {len(rows)} with a label that both score")
        groups = np.array([row.group for row in kept])
        out[name_manifest(manifest, out)] = {
            "clips": len(kept),
            "groups": len(set(groups.tolist())),
            "failed": len(rows) - len(kept),
            "scores": {measure.name: _say_difference(measure, groups) for measure in measures},
        }
    return out


def _say_difference(measure: Measure, groups: NDArray[np.str_]) -> dict[str, Any]:
    def difference(drawn: Indices) -> float:
        return measure.statistic(0, measure.rows[drawn]) - measure.statistic(1, measure.rows[drawn])

    return {
        "score": measure.statistic(0, measure.rows),
        "other": measure.statistic(1, measure.rows),
        "difference": difference(np.arange(len(measure.rows))),
        "interval": metrics.bootstrap_interval(difference, groups[measure.rows], rounds=ROUNDS),
        "clips": len(measure.rows),
    }


def _list_measures(system: str, rows: Sequence[Row], sides: Sequence[Sequence[Result]]) -> list[Measure]:
    if not SYSTEMS[system].emotions:  # classes alone
        names = SYSTEMS[system].categories
        vocabulary = next(key for key, classes in VOCABULARIES.items() if classes == names)
        truth = [class_of(row, vocabulary) for row in rows]
        labels = [names[place] if place >= 0 else None for place in truth]
        return _rate("accuracy", labels, [[r.category for r in side] for side in sides])
    classes = [row.labels.get("ekman") for row in rows]
    arrays = [label_arrays(row) for row in rows]
    quadrants = [QUADRANTS[category] if category >= 0 else None for _, _, category in arrays]
    target = np.stack([values for values, _, _ in arrays]).astype(float) if arrays else np.zeros((0, 17))
    known = np.stack([mask for _, mask, _ in arrays]) if arrays else np.zeros((0, 17), bool)
    predicted = [np.array([[r.emotions[e] for e in GIFGIF_17] for r in side], float) for side in sides]
    return [
        *_order(target, known, predicted),
        *_rate("quadrant_accuracy", quadrants, [[r.category for r in side] for side in sides]),
        *_rate("accuracy", classes, [[EKMAN_7[strongest_class(r)] for r in side] for side in sides]),
    ]


def _rate(name: str, truth: Sequence[str | None], said: Sequence[Sequence[str | None]]) -> list[Measure]:
    """The share of labelled rows where a side says the truth."""
    labelled = np.array([i for i, label in enumerate(truth) if label is not None], np.int64)
    right = np.array([[a == b for a, b in zip(truth, side, strict=True)] for side in said])
    if not len(labelled):
        return []
    return [Measure(name, labelled, lambda side, rows: float(right[side, rows].mean()))]


def _order(target: FloatArray, known: NDArray[np.bool_], predicted: Sequence[FloatArray]) -> list[Measure]:
    """Mean Spearman over emotions; what either side leaves out is left out of both."""
    if not len(target):
        return []
    known = known & ~np.isnan(predicted[0]) & ~np.isnan(predicted[1])
    columns = []
    for e in range(len(GIFGIF_17)):
        _, counts = np.unique(target[known[:, e], e], return_counts=True)
        if len(counts) and counts.sum() - counts.max() >= ENOUGH_OTHER:
            columns.append(e)
    if not columns:
        return []
    statistic = partial(_mean_spearman, target, known, predicted, columns)
    return [Measure("mean_spearman", np.flatnonzero(known[:, columns].any(axis=1)), statistic)]


def _mean_spearman(
    target: FloatArray,
    known: NDArray[np.bool_],
    predicted: Sequence[FloatArray],
    columns: Sequence[int],
    side: int,
    rows: Indices,
) -> float:
    values = []
    for e in columns:
        used = rows[known[rows, e]]
        if len(used) > 1 and np.ptp(target[used, e]) > 0:
            values.append(metrics.spearman(predicted[side][used, e], target[used, e]))
    return float(np.mean(values)) if values else float("nan")
