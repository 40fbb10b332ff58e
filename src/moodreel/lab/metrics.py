"""Scores, in float64 numpy, each defined where its input is degenerate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from moodreel.emotions import GIFGIF_17

Floats = NDArray[np.float64]


def accuracy(predicted: ArrayLike, label: ArrayLike) -> float:
    """Share of rows where the two [N] int arrays agree; NaN for no rows."""
    predicted, label = np.asarray(predicted), np.asarray(label)
    return float((predicted == label).mean()) if len(label) else float("nan")


def confusion_matrix(predicted: ArrayLike, label: ArrayLike, classes: int) -> NDArray[np.int64]:
    """[classes, classes] counts; row: true class, column: predicted class."""
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (np.asarray(label), np.asarray(predicted)), 1)
    return matrix


def class_f1(predicted: ArrayLike, label: ArrayLike, classes: int) -> Floats:
    """[classes] F1; NaN for a class that neither occurs nor is predicted."""
    matrix = confusion_matrix(predicted, label, classes).astype(float)
    both = matrix.sum(axis=0) + matrix.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return 2 * matrix.diagonal() / np.where(both > 0, both, np.nan)


def macro_f1(predicted: ArrayLike, label: ArrayLike, classes: int, minimum: int = 1) -> float:
    """Mean F1 over the classes with at least ``minimum`` true rows; NaN when there is none."""
    counts = np.bincount(np.asarray(label), minlength=classes)
    chosen = class_f1(predicted, label, classes)[counts >= minimum]
    return float(chosen.mean()) if len(chosen) else float("nan")


def war_uar(predicted: ArrayLike, label: ArrayLike, classes: int) -> tuple[float, float]:
    """Weighted and unweighted average recall: accuracy, and the mean recall of the classes that occur.

    NaN both for no rows.

    Args:
        predicted, label: [N] int.
        classes: how many.
    """
    if not len(np.asarray(label)):
        return float("nan"), float("nan")
    matrix = confusion_matrix(predicted, label, classes).astype(float)
    rows = matrix.sum(axis=1)
    there = rows > 0
    recall = matrix.diagonal()[there] / rows[there]
    return float(matrix.trace() / rows.sum()), float(recall.mean())


def average_precision(score: ArrayLike, positive: ArrayLike) -> float:
    """Sum over thresholds of precision times gain in recall, without interpolation; NaN without a positive.

    Rows of one score stand or fall together, so their order does not matter.

    Args:
        score: [N].
        positive: [N] bool.
    """
    score, positive = np.asarray(score, float), np.asarray(positive, bool)
    if not positive.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)  # of its score
    found = np.cumsum(positive[order])[last]
    precision = found / (np.flatnonzero(last) + 1)
    return float((precision * np.diff(found, prepend=0)).sum() / found[-1])


def mean_average_precision(probabilities: ArrayLike, label: ArrayLike) -> float:
    """mAP: the mean of :func:`average_precision` over the classes that occur; the others are left out.

    NaN for no rows.

    Args:
        probabilities: [N, C].
        label: [N] int in [0, C).
    """
    probabilities, label = np.asarray(probabilities, float), np.asarray(label)
    there = np.unique(label)
    values = [average_precision(probabilities[:, k], label == k) for k in there]
    return float(np.mean(values)) if values else float("nan")


def spearman(predicted: ArrayLike, target: ArrayLike) -> float:
    """Rank correlation of two [N] arrays with mid-ranks for ties; 0 when either is constant.

    NaN for fewer than two rows.
    """
    a, b = np.asarray(predicted, float), np.asarray(target, float)
    if len(a) < 2:
        return float("nan")
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(stats.spearmanr(a, b).statistic)


def concordance(predicted: ArrayLike, target: ArrayLike) -> float:
    """Share of pairs with different targets that are ordered rightly; a predicted tie counts half.

    The area under the ROC curve where targets have two values, and its extension to graded ones (Harrell's
    C). Unlike a rank correlation it can reach 1 whatever the share of positives. NaN without such a pair.

    Args:
        predicted, target: [N].
    """
    a, b = np.asarray(predicted, float), np.asarray(target, float)
    right = pairs = 0.0
    for level in np.unique(b)[1:]:  # pairs whose higher target is this level
        high, low = np.sort(a[b == level]), a[b < level]
        below = np.searchsorted(high, low, side="left"), np.searchsorted(high, low, side="right")
        right += float((2 * len(high) - below[0] - below[1]).sum()) / 2
        pairs += len(high) * len(low)
    return right / pairs if pairs else float("nan")


def nmse(predicted: ArrayLike, target: ArrayLike, mask: ArrayLike) -> Floats:
    """Normalised mean squared error per emotion (KAVAN Sec. 3.3), with the scored split's own variance.

    Args:
        predicted, target: [N, E].
        mask: [N, E] bool, True where the target is known.

    Returns:
        [E]; NaN where no target is known or all are equal.
    """
    predicted, target, mask = np.asarray(predicted, float), np.asarray(target, float), np.asarray(mask, bool)
    out = np.full(target.shape[1], np.nan)
    for e in range(target.shape[1]):
        y, f = target[mask[:, e], e], predicted[mask[:, e], e]
        if len(y) and y.var() > 0:
            out[e] = ((f - y) ** 2).mean() / y.var()
    return out


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 10) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by count; NaN for no rows.

    Guo et al. 2017, Eq. 3.
    """
    confidence, correct = np.asarray(confidence, float), np.asarray(correct, float)
    if not len(confidence):
        return float("nan")
    place = np.clip((confidence * bins).astype(int), 0, bins - 1)
    gaps = [
        abs(confidence[place == b].mean() - correct[place == b].mean()) * (place == b).mean()
        for b in range(bins)
        if (place == b).any()
    ]
    return float(sum(gaps))


def calibration_floor(confidence: ArrayLike, bins: int = 10, rounds: int = 200, seed: int = 0) -> float:
    """The calibration error that as many rows show by chance, were every confidence right; NaN for none.

    Args:
        confidence: [n] in [0, 1].
        bins: as of :func:`expected_calibration_error`.
        rounds: draws of outcomes; their mean error is the floor.
        seed: of the draws.
    """
    confidence = np.asarray(confidence, float)
    draws = np.random.default_rng(seed).random((rounds, len(confidence))) < confidence
    return float(np.mean([expected_calibration_error(confidence, draw, bins) for draw in draws]))


def bootstrap_interval(
    statistic: Callable[[NDArray[np.int64]], float],
    groups: ArrayLike,
    level: float = 0.95,
    rounds: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a statistic of rows, resampling whole groups.

    Args:
        statistic: of the rows with these indices [n].
        groups: [N] group of each row.
        level: of the interval.
        rounds: resamplings.
        seed: of the resampling.
    """
    values = [statistic(rows) for rows in resample_groups(groups, rounds, seed)]
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resample_groups(groups: ArrayLike, rounds: int, seed: int = 0) -> Iterator[NDArray[np.int64]]:
    """Rows of as many groups as there are, drawn with replacement, ``rounds`` times.

    Args:
        groups: [N] group of each row.
        rounds: resamplings.
        seed: of the resampling; the same seed draws the same groups.
    """
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    order = np.argsort(place, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(place[order])) + 1)
    rng = np.random.default_rng(seed)
    for _ in range(rounds):
        yield np.concatenate([members[g] for g in rng.integers(len(members), size=len(members))])


def tell_apart(
    predicted: ArrayLike, target: ArrayLike, known: ArrayLike, pairs: Sequence[tuple[str, str]]
) -> list[tuple[int, bool]]:
    """Which member of a pair of emotions a clip shows: the one with the higher prediction.

    Args:
        predicted, target: [N, 17] intensities.
        known: [N, 17] bool.
        pairs: of emotions that, say, only the order of the frames tells apart; each in one pair at most.

    Returns:
        (row, whether rightly told) of every clip whose strongest known emotion belongs to a pair and is above
        all others, in order. Two equal predictions tell nothing apart: wrong.
    """
    partner = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    predicted, target = np.asarray(predicted, float), np.asarray(target, float)
    strengths = np.where(np.asarray(known, bool), target, -np.inf)
    told = []
    for row in range(len(target)):
        shown = int(strengths[row].argmax())
        if np.count_nonzero(strengths[row] == strengths[row, shown]) > 1:
            continue  # a neutral face, or nothing known
        other = partner.get(GIFGIF_17[shown])
        if other is not None:
            told.append((row, bool(predicted[row, shown] > predicted[row, GIFGIF_17.index(other)])))
    return told
