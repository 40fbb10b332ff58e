"""Networks joined by linear weights on their outputs (CACA-RNN Sec. VI: "CACA-RNN+2D-3D-CNN")."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moodreel.errors import DataError
from moodreel.lab.metrics import accuracy, mean_average_precision

STEPS = 20
"""Steps of the grid along each edge of the simplex: weights are multiples of 0.05."""

MOST = 20_000
"""Points of the grid at most; above, the grid is made coarser."""


def fit_ensemble(
    probabilities: Sequence[ArrayLike], labels: ArrayLike, steps: int = STEPS
) -> NDArray[np.float64]:
    """Chooses weights on validation: the largest mAP, then the largest accuracy.

    Every point of a grid on the simplex is tried. Where several are best, the one nearest to equal weights is
    chosen, and of those that of the larger first weights: so the result is always the same, and equal weights
    as far as the grid has them where nothing tells the networks apart. Values that differ by less than 1e-9
    count as equal.

    Args:
        probabilities: of each network, [n, C].
        labels: [n] int in [0, C).
        steps: of the grid; with so many networks that it has more than :data:`MOST` points, fewer.

    Returns:
        [networks], at least 0, sums to 1; equal weights where there is no row, 1 where there is one network.

    Raises:
        DataError: there is no network, shapes disagree, or a value is not finite.
    """
    label = np.asarray(labels)
    if not probabilities:
        raise DataError("an ensemble needs the probabilities of at least one network")
    tables = [np.asarray(table, float) for table in probabilities]
    for place, table in enumerate(tables):
        if table.ndim != 2 or table.shape != tables[0].shape or len(table) != len(label):
            expected = f"[{len(label)}, {tables[0].shape[-1]}]"
            raise DataError(f"network {place} of the ensemble: expected {expected}, got {list(table.shape)}")
        if not np.isfinite(table).all():
            raise DataError(f"network {place} of the ensemble: a probability is not finite")
    count = len(tables)
    if count == 1 or not len(label):
        return np.full(count, 1 / count)
    while math.comb(steps + count - 1, count - 1) > MOST and steps > 1:
        steps -= 1
    stacked = np.stack(tables)  # [networks, n, C]
    best, chosen = (-1.0, -1.0, 0.0), np.zeros(count)
    for parts in _points(count, steps):
        weights = np.array(parts) / steps
        joined = np.tensordot(weights, stacked, axes=1)
        even = -float(((weights - 1 / count) ** 2).sum())
        values = mean_average_precision(joined, label), accuracy(joined.argmax(axis=1), label), even
        ranked = tuple(round(value, 9) for value in values)
        if ranked > best:
            best, chosen = ranked, weights  # type: ignore[assignment]
    return chosen


def _points(count: int, total: int) -> Iterator[tuple[int, ...]]:
    """All tuples of ``count`` whole numbers that sum to ``total``, larger first numbers first."""
    if count == 1:
        yield (total,)
        return
    for first in range(total, -1, -1):
        for rest in _points(count - 1, total - first):
            yield (first, *rest)
