"""How systems are compared: random splits that keep groups whole, and intervals over splits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray
from scipy import stats

from moodreel.errors import DataError, SettingsError

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of one random split; the three are disjoint, share no group and hold every row.

    Attributes:
        train: [n] indices.
        val: [n], taken from what is not test; empty where no share was asked for.
        test: [n].
    """

    train: Indices
    val: Indices
    test: Indices


def split_groups(groups: Sequence[str], number: int, seed: int, val: float = 0.1, test: float = 0.2) -> Split:
    """The split with this number: groups in random order fill the test part, then validation.

    It depends on the groups, the seed and the number alone: not on the order of the rows, nor on how many
    splits there are. A group that would leave a part farther from its share is passed over, so the shares of
    large groups are not exact.

    Args:
        groups: [N] group of each row.
        number: which of the random splits, from 0.
        seed: of all of them.
        val, test: shares of all rows.

    Raises:
        SettingsError: a share is not in [0, 1), or nothing is left to train on.
        DataError: too few groups to fill each part that has a share.
    """
    for name, share in (("val", val), ("test", test)):
        if not 0 <= share < 1:
            raise SettingsError(name, share, "in [0, 1)")
    if val + test >= 1:
        raise SettingsError("val + test", val + test, "below 1")
    names, place, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    order = np.random.default_rng([seed, number]).permutation(len(names))
    part = np.zeros(len(names), np.int64)
    for which, share in ((2, test), (1, val)):
        lacking = share * len(place)
        for group in order[part[order] == 0].tolist():
            if abs(lacking - counts[group]) < lacking:
                part[group] = which
                lacking -= counts[group]
    row_part = part[place]
    split = Split(*(np.flatnonzero(row_part == which) for which in (0, 1, 2)))
    for name, share, rows in (("train", 1, split.train), ("val", val, split.val), ("test", test, split.test)):
        if share and not len(rows):
            raise DataError(f"{len(names)} groups are too few: the {name} part of split {number} is empty")
    return split


@dataclass(frozen=True)
class Interval:
    """A mean over splits with what is known of it.

    Attributes:
        mean: of the values.
        deviation: sample standard deviation, NaN for one value.
        count: of the values.
        low, high: 95 % interval of Student's t; infinite for one value.
        wide_low, wide_high: the same, corrected for splits that share rows.
    """

    mean: float
    deviation: float
    count: int
    low: float
    high: float
    wide_low: float
    wide_high: float


def t_interval(values: npt.ArrayLike, test_share: float = 0.2, level: float = 0.95) -> Interval:
    """Student's interval of the mean of values of several random splits, say of paired differences.

    Random splits share rows, so their values are not independent and the plain interval is too narrow. The
    corrected one takes (1/n + r) s^2 for s^2 / n, r = test rows over training rows (Nadeau and Bengio:
    Inference for the generalization error, Machine Learning 2003).

    Args:
        values: [n], n >= 1, finite.
        test_share: rows that are in the test part; the rest counts as training.
        level: of both intervals.

    Raises:
        DataError: no value, or one that is not finite.
    """
    x = np.asarray(values, float)
    if x.ndim != 1 or not len(x) or not np.isfinite(x).all():
        raise DataError(f"an interval needs finite values, got {x.tolist()}")
    mean, n = float(x.mean()), len(x)
    if n == 1:
        return Interval(mean, math.nan, 1, -math.inf, math.inf, -math.inf, math.inf)
    deviation = float(x.std(ddof=1))
    quantile = float(stats.t.ppf((1 + level) / 2, n - 1))
    plain = quantile * deviation * math.sqrt(1 / n)
    wide = quantile * deviation * math.sqrt(1 / n + test_share / (1 - test_share))
    return Interval(mean, deviation, n, mean - plain, mean + plain, mean - wide, mean + wide)


def judge(difference: float, bounds: Sequence[tuple[float, float]], count: int, unit: str = "split") -> str:
    """Whether an ordering that a paper reports holds here.

    Args:
        difference: mean, positive where the one that the paper has ahead is ahead.
        bounds: intervals of the difference; it is told from chance when each excludes 0.
        count: how many values the mean is of.
        unit: what one of them is called.
    """
    verdict = "holds" if difference > 0 else "does not hold"
    if count == 1:
        return f"{verdict} (one {unit})"
    excluded = all(low * high > 0 for low, high in bounds)
    return verdict if excluded else f"{verdict} (interval includes 0)"
