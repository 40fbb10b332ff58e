"""Traces of several raters -> one gold standard, and how far the raters agree.

The evaluator weighted estimator is of Grimm and Kroschel, *Evaluation of natural emotions using self
assessment manikins*, ASRU 2005: a mean in which each rater weighs as much as they correlate with the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from moodreel.errors import DataError, require
from moodreel.labels.lags import Lags
from moodreel.labels.traces import Clock, Traces, make_clock, sample_series, sample_traces
from moodreel.types import FloatArray

METHODS = ("ewe", "mean")
"""Evaluator weighted estimator, or the plain mean."""


@dataclass(frozen=True)
class GoldSettings:
    """How a gold standard is made.

    Attributes:
        method: of :data:`METHODS`.
        delay: seconds by which all raters together are late, taken off in addition to their lags.
        clock: instants of the gold standard.

    Raises:
        SettingsError: a field has another value.
    """

    method: str = "ewe"
    delay: float = 0.0
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        require(self.method in METHODS, "method", self.method, " or ".join(METHODS))
        ok = math.isfinite(self.delay) and 0 <= self.delay <= 60
        require(ok, "delay", self.delay, "seconds from 0 to 60")


@dataclass(frozen=True, eq=False)
class PairAgreement:
    """How far R raters agree, pair by pair.

    Attributes:
        cc, ccc: [R, R] Pearson's correlation and Lin's concordance over the instants both have, population
            moments; 1 on the diagonal; 0 where one is constant there or they share fewer than 2 instants.
        mean_cc, mean_ccc: over the pairs; NaN for fewer than two raters.
    """

    cc: FloatArray
    ccc: FloatArray
    mean_cc: float
    mean_ccc: float


@dataclass(frozen=True)
class Fit:
    """How near a trace is to the truth, over the instants both have.

    Attributes:
        instants: how many those are.
        rmse: root of the mean squared error.
        cc, ccc: as in :class:`PairAgreement`.
    """

    instants: int
    rmse: float
    cc: float
    ccc: float


@dataclass(frozen=True, eq=False)
class Gold:
    """A gold standard and what it was made of.

    Attributes:
        source: the file.
        times: [T] seconds, even.
        values: [T] the gold standard; NaN where no rater counts.
        raters: R names.
        aligned: [T, R] what each rater said of the instant: read later by lag and delay; NaN where missing.
        before: [T, R] the same without lag and delay.
        late: [R] seconds that were taken off, lag and delay.
        weights: [R] they sum to 1.
        constant: raters who never moved; their weight is 0 under ``ewe``.
        missing: [R] share of the instants without a value, in ``before``.
        agreement_before, agreement: of ``before`` and ``aligned``.
        truth: [T] where the file has one, NaN where missing; None otherwise.
        fits: against the truth, where the file has one: ``plain_mean`` (of ``before``) and ``gold``.
    """

    source: str
    times: FloatArray
    values: FloatArray
    raters: tuple[str, ...]
    aligned: FloatArray
    before: FloatArray
    late: FloatArray
    weights: FloatArray
    constant: tuple[str, ...]
    missing: FloatArray
    agreement_before: PairAgreement
    agreement: PairAgreement
    truth: FloatArray | None = None
    fits: dict[str, Fit] | None = None


def make_gold(
    traces: Traces,
    lags: Lags | None = None,
    settings: GoldSettings = GoldSettings(),
) -> Gold:
    """One trace from those of several raters.

    Args:
        traces: of at least one rater.
        lags: what is taken off each rater, counted from the earliest; None: nothing. Its raters must be
            those of the traces, in any order.
        settings: how.

    Raises:
        DataError: there is no rater, or nobody said anything.
        SettingsError: the lags are of other raters, or the step is too small.
    """
    if not traces.raters:
        raise DataError(f"{traces.source}: no raters")
    late = np.full(len(traces.raters), float(settings.delay))
    if lags is not None:
        same = sorted(lags.raters) == sorted(traces.raters)
        require(same, "lags.raters", lags.raters, f"those of the traces, {', '.join(traces.raters)}")
        seconds = dict(zip(lags.raters, lags.from_earliest().tolist(), strict=True))
        late += np.array([seconds[name] for name in traces.raters])
    times = make_clock(traces, settings.clock)
    before = sample_traces(traces, times, None, settings.clock)
    aligned = sample_traces(traces, times, late, settings.clock)
    if not np.isfinite(aligned).any():
        raise DataError(f"{traces.source}: no values" + (" behind the delay" if settings.delay else ""))
    constant = [_is_constant(aligned[:, k]) for k in range(len(traces.raters))]
    weights = weigh_raters(aligned) if settings.method == "ewe" else _share_evenly(aligned)
    values = fuse_raters(aligned, weights)
    truth = fits = None
    if traces.truth is not None:
        known = np.isfinite(traces.truth)
        truth = sample_series(traces.times[known], traces.truth[known], times, settings.clock.max_gap)
        plain = fuse_raters(before, _share_evenly(before))
        fits = {"plain_mean": _compare(plain, truth), "gold": _compare(values, truth)}
    return Gold(
        source=traces.source,
        times=times,
        values=values,
        raters=traces.raters,
        aligned=aligned,
        before=before,
        late=late,
        weights=weights,
        constant=tuple(name for name, is_so in zip(traces.raters, constant, strict=True) if is_so),
        missing=1 - np.isfinite(before).mean(axis=0),
        agreement_before=compare_raters(before),
        agreement=compare_raters(aligned),
        truth=truth,
        fits=fits,
    )


def weigh_raters(values: FloatArray) -> FloatArray:
    """[R] weights of the evaluator weighted estimator; they sum to 1.

    A rater's is the correlation with the mean of the *others* (in the paper the mean has the rater in it, so
    that among few raters noise earns weight), negative ones count as 0, so do those of constant raters. Where
    none is above 0, or there is one rater only, all who said anything weigh the same.

    Args:
        values: [T, R], NaN where missing.
    """
    count = values.shape[1]
    weights = np.zeros(count)
    for k in range(count):
        rest = fuse_raters(np.delete(values, k, axis=1), np.ones(count - 1))
        weights[k] = max(0.0, measure_agreement(values[:, k], rest)[0])
    return weights / weights.sum() if weights.sum() > 0 else _share_evenly(values)


def fuse_raters(values: FloatArray, weights: FloatArray) -> FloatArray:
    """[T] weighted mean of the raters; NaN where none of them counts.

    Where all said something this is the plain weighted mean. Where some are missing, their usual distance
    from the others stands in for them: values are taken as gold(t) + offset(rater), fitted by turns. Without
    that the mean would jump whenever a rater of another level drops out.

    Args:
        values: [T, R], NaN where missing.
        weights: [R], not negative.
    """
    seen = np.isfinite(values) & (weights > 0)
    filled = np.where(seen, values, 0.0)
    shares = seen * weights
    total = shares.sum(axis=1)
    counts = total > 0
    if not counts.any():
        return np.full(len(values), np.nan)
    offsets = np.zeros(values.shape[1])
    gold = np.zeros(len(values))
    for _ in range(200):
        gold = (shares * (filled - offsets)).sum(axis=1) / np.where(counts, total, 1.0)
        if seen.sum() == counts.sum() * (weights > 0).sum():
            break  # nothing is missing where anyone is there
        rest = np.where(seen, filled - gold[:, None], 0.0)
        moved = rest.sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
        moved -= (weights * moved).sum() / weights.sum()
        if np.abs(moved - offsets).max() < 1e-9:
            break
        offsets = moved
    return np.where(counts, gold, np.nan)


def compare_raters(values: FloatArray) -> PairAgreement:
    """How far raters agree.

    Args:
        values: [T, R], NaN where missing.
    """
    count = values.shape[1]
    cc, ccc = np.eye(count), np.eye(count)
    for a in range(count):
        for b in range(a + 1, count):
            cc[a, b], ccc[a, b] = measure_agreement(values[:, a], values[:, b])
            cc[b, a], ccc[b, a] = cc[a, b], ccc[a, b]
    pairs = np.triu_indices(count, 1)
    if count < 2:
        return PairAgreement(cc, ccc, math.nan, math.nan)
    return PairAgreement(cc, ccc, float(cc[pairs].mean()), float(ccc[pairs].mean()))


def measure_agreement(one: FloatArray, other: FloatArray) -> tuple[float, float]:
    """(CC, CCC) of two series over the instants both have, population moments.

    0 for both where one of them is constant, or they share fewer than 2 instants. CCC as in Lin, *A
    concordance correlation coefficient to evaluate reproducibility*, Biometrics 1989.

    Args:
        one, other: [T], NaN where missing.
    """
    both = np.isfinite(one) & np.isfinite(other)
    one, other = one[both], other[both]
    if _is_constant(one) or _is_constant(other):
        return 0.0, 0.0
    covariance = float(((one - one.mean()) * (other - other.mean())).mean())
    spread = math.sqrt(float(one.var() * other.var()))
    apart = float(one.var() + other.var() + (one.mean() - other.mean()) ** 2)
    return min(1.0, max(-1.0, covariance / spread)), 2 * covariance / apart


def _is_constant(values: FloatArray) -> bool:
    present = values[np.isfinite(values)]
    return len(present) < 2 or float(np.ptp(present)) <= 1e-12 * max(1.0, float(np.abs(present).max()))


def _share_evenly(values: FloatArray) -> FloatArray:
    """[R] the same weight for everyone who said anything."""
    said = np.isfinite(values).any(axis=0).astype(np.float64)
    return np.asarray(said / max(1.0, float(said.sum())))


def _compare(trace: FloatArray, truth: FloatArray) -> Fit:
    both = np.isfinite(trace) & np.isfinite(truth)
    rmse = float(np.sqrt(((trace[both] - truth[both]) ** 2).mean())) if both.any() else math.nan
    return Fit(int(both.sum()), rmse, *measure_agreement(trace, truth))
