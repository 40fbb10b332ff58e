"""Scores of traces: RMSE, CC and CCC over concatenated sequences (STA, Sec. 3.2), in float64 numpy.

The CCC is Lin's concordance correlation coefficient; ``metrics.concordance``, a share of ordered pairs, is
another thing of a similar name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from moodreel.errors import DataError
from moodreel.types import FloatArray


@dataclass(frozen=True)
class TraceScores:
    """Scores of a set of traces, all values of all traces taken together.

    Attributes:
        rmse: root mean squared error; NaN for no values.
        cc: Pearson's correlation coefficient, population moments; 0 where a side is constant.
        ccc: concordance correlation coefficient (Eq. 4); 0 where a side is constant.
        count: values that were compared.
        constant: whether the predictions or the targets did not vary, so that cc and ccc say nothing.
    """

    rmse: float
    cc: float
    ccc: float
    count: int
    constant: bool


def score_traces(
    predicted: Sequence[ArrayLike], target: Sequence[ArrayLike], known: Sequence[ArrayLike] | None = None
) -> TraceScores:
    """Scores traces together.

    Args:
        predicted, target: arrays of values, one a trace, each pair of one length.
        known: arrays of bool, True where the target counts; None: wherever the target is not NaN.

    Raises:
        DataError: lengths do not agree, or a value that counts is not finite.
    """
    x, y = join_traces(predicted, target, known)
    if not len(x):
        return TraceScores(float("nan"), 0.0, 0.0, 0, True)
    constant = bool(np.ptp(x) == 0 or np.ptp(y) == 0)
    error = float(np.sqrt(((x - y) ** 2).mean()))
    if constant:  # decided on the values, not on moments that rounding moves off 0
        return TraceScores(error, 0.0, 0.0, len(x), True)
    covariance = float(((x - x.mean()) * (y - y.mean())).mean())
    spread = float(x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    # CC, and CCC after Eq. 4
    return TraceScores(error, covariance / float(x.std() * y.std()), 2 * covariance / spread, len(x), False)


def join_traces(
    predicted: Sequence[ArrayLike], target: Sequence[ArrayLike], known: Sequence[ArrayLike] | None = None
) -> tuple[FloatArray, FloatArray]:
    """All values that count, in order: (predicted [n], target [n]).

    Raises:
        DataError: as :func:`score_traces`.
    """
    masks = [None] * len(target) if known is None else list(known)
    if not len(predicted) == len(target) == len(masks):
        raise DataError(f"{len(predicted)} predicted traces, {len(target)} targets, {len(masks)} masks")
    xs, ys = [np.zeros(0)], [np.zeros(0)]
    for place, (a, b, mask) in enumerate(zip(predicted, target, masks, strict=True)):
        x, y = np.asarray(a, dtype=np.float64).ravel(), np.asarray(b, dtype=np.float64).ravel()
        counts = ~np.isnan(y) if mask is None else np.asarray(mask, dtype=bool).ravel()
        if not len(x) == len(y) == len(counts):
            raise DataError(
                f"trace {place}: {len(x)} predicted values, {len(y)} targets, {len(counts)} masks"
            )
        x, y = x[counts], y[counts]
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise DataError(f"trace {place}: a value that counts is not finite")
        xs.append(x)
        ys.append(y)
    return np.concatenate(xs), np.concatenate(ys)
