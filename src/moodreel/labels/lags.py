"""How late each rater reacts: lags from cross-correlation with the mean of the others.

What raters say of each other tells lags only relative to each other: a delay that all share leaves no mark in
their traces.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moodreel.errors import SettingsError, require
from moodreel.labels.traces import Clock, Traces, make_clock, sample_traces
from moodreel.types import FloatArray, IntArray

BASES = ("slope", "level")
"""What is correlated: how fast the traces change, or the traces themselves.

On traces with known lags both are equally exact where much happens; where nothing does, slopes seldom find
a lag, levels often a wrong one (docs/ratings.md).
"""

LONGEST = 4.0
"""Seconds searched to either side at most, where no bound is given."""

SHARE = 0.25
"""Of a trace's duration (of several, the median), searched to either side at most, likewise."""

OVERLAP = 0.5
"""Of the instants that two traces share without a lag: so many must be left with one."""

ROUNDS = 20
"""Iterations at most."""


@dataclass(frozen=True)
class LagSettings:
    """How lags are sought.

    Attributes:
        longest: seconds searched to either side of the mean of the others; None: :data:`LONGEST`, but not
            more than :data:`SHARE` of the traces' duration.
        basis: of :data:`BASES`.
        least: a peak whose correlation is lower than this is none: the rater's lag stays unknown.

    Raises:
        SettingsError: a field has another value.
    """

    longest: float | None = None
    basis: str = "slope"
    least: float = 0.5

    def __post_init__(self) -> None:
        ok = self.longest is None or (math.isfinite(self.longest) and self.longest > 0)
        require(ok, "longest", self.longest, "a number of seconds above 0")
        require(self.basis in BASES, "basis", self.basis, " or ".join(BASES))
        require(0 <= self.least < 1, "least", self.least, "a correlation from 0 to below 1")


@dataclass(frozen=True, eq=False)
class Lags:
    """How late each of R raters is.

    Attributes:
        raters: names.
        seconds: [R] relative to the mean of those that are known; 0 where unknown.
        known: R times whether there is a peak: inside the range that was searched, and high enough.
        peak: [R] correlation with the mean of the others at the lag.
        files: traces that the lags come from.
    """

    raters: tuple[str, ...]
    seconds: FloatArray
    known: tuple[bool, ...]
    peak: FloatArray
    files: int

    def from_earliest(self) -> FloatArray:
        """[R] seconds behind the rater who reacts first; where unknown, the mean lag of the others.

        Nobody reacts before there is anything to react to, so that this much of each lag is a delay for
        certain (but for the error of the estimate).
        """
        known = self.seconds[np.array(self.known, bool)]
        return np.asarray(self.seconds - (known.min() if len(known) else 0.0))


def estimate_lags(
    files: Sequence[Traces],
    settings: LagSettings = LagSettings(),
    clock: Clock = Clock(),  # noqa: B008 frozen
) -> Lags:
    """Lags that a group of raters has in one file, or in several together.

    Each rater in turn is shifted against the mean of the others, these shifted by their lags as known so far;
    the shift with the highest correlation, refined by a parabola through it and its neighbours, is the new
    lag. Repeated until no lag moves by a twentieth of a step. Over several files covariances and variances
    around each file's own means are summed, so that files in which more happens count for more.

    Args:
        files: at least one; of the same raters, in any order of columns.
        settings: of the search.
        clock: on which instants traces are compared. Of several files the shortest step is used for all.

    Raises:
        SettingsError: there are no files, or their raters differ.
    """
    require(bool(files), "files", 0, "at least one trace file")
    raters = files[0].raters
    ordered = [_order_raters(traces, raters) for traces in files]
    grids = [make_clock(traces, clock) for traces in ordered]
    steps = [float(grid[1] - grid[0]) for grid in grids if len(grid) > 1]
    if len(raters) < 2 or not steps:
        return Lags(raters, np.zeros(len(raters)), (False,) * len(raters), np.zeros(len(raters)), len(files))
    step = min(steps)
    if any(abs(other - step) > 1e-3 * step for other in steps):
        clock = Clock(step, clock.max_gap)
        grids = [make_clock(traces, clock) for traces in ordered]
    longest = settings.longest
    if longest is None:
        longest = min(LONGEST, SHARE * float(np.median([traces.duration for traces in files])))
    reach = max(1, round(longest / step))
    return _Search(ordered, grids, clock, settings, step, reach).run(raters)


def _order_raters(traces: Traces, raters: tuple[str, ...]) -> Traces:
    if traces.raters == raters:
        return traces
    if sorted(traces.raters) != sorted(raters):
        raise SettingsError("files", f"{traces.source} with raters {', '.join(traces.raters)}",
                            f"the same raters in all: {', '.join(raters)}")  # fmt: skip
    places = [traces.raters.index(name) for name in raters]
    return Traces(traces.source, traces.times, raters, traces.values[:, places], traces.truth, traces.gold)


class _Search:
    """One estimate: the grids of its files, and the range of shifts."""

    def __init__(
        self,
        files: Sequence[Traces],
        grids: Sequence[FloatArray],
        clock: Clock,
        settings: LagSettings,
        step: float,
        reach: int,
    ) -> None:
        self._files, self._grids, self._clock, self._settings = files, grids, clock, settings
        self._step, self._reach = step, reach
        self._still = [self._look(traces, grid, None) for traces, grid in zip(files, grids, strict=True)]

    def run(self, raters: tuple[str, ...]) -> Lags:
        count = len(raters)
        lags, peaks, known = np.zeros(count), np.zeros(count), np.zeros(count, bool)
        for _ in range(ROUNDS):
            before = lags.copy()
            for rater in range(count):
                lags[rater], peaks[rater], known[rater] = self._place(rater, lags)
            if known.any():
                lags[known] -= lags[known].mean()
            if np.abs(lags - before).max() < self._step / 20:
                break
        return Lags(raters, lags, tuple(known.tolist()), peaks, len(self._files))

    def _look(self, traces: Traces, grid: FloatArray, late: FloatArray | None) -> FloatArray:
        """[T, R] what is correlated, shifted."""
        values = sample_traces(traces, grid, late, self._clock)
        if self._settings.basis == "level" or len(grid) < 2:
            return values
        return np.asarray(np.gradient(values, self._step, axis=0))

    def _place(self, rater: int, lags: FloatArray) -> tuple[float, float, bool]:
        """(lag, its correlation, whether it is a peak) of one rater, the others' lags given."""
        shifts = np.arange(-self._reach, self._reach + 1)
        sums = np.zeros((len(shifts), 3))
        others = [k for k in range(len(lags)) if k != rater]
        for traces, grid, still in zip(self._files, self._grids, self._still, strict=True):
            shifted = self._look(traces, grid, lags)[:, others]
            sums += correlate_shifted(still[:, rater], mean_present(shifted), shifts)
        power = np.sqrt(sums[:, 1] * sums[:, 2])
        moves = power > 1e-12
        if not moves.any():
            return 0.0, 0.0, False
        curve = np.where(moves, sums[:, 0] / np.where(moves, power, 1.0), -np.inf)
        best = int(curve.argmax())
        inside = 0 < best < len(curve) - 1 and moves[best - 1 : best + 2].all()
        if not inside or curve[best] < max(self._settings.least, 1e-9):
            return 0.0, float(curve[best]), False
        left, top, right = curve[best - 1 : best + 2].tolist()
        bend = left - 2 * top + right
        part = 0.5 * (left - right) / bend if bend < 0 else 0.0
        return (int(shifts[best]) + part) * self._step, top, True


def correlate_shifted(late: FloatArray, reference: FloatArray, shifts: IntArray) -> FloatArray:
    """[S, 3] covariance and the two variances (sums, not means) of ``late[t + s]`` and ``reference[t]``.

    Args:
        late, reference: [T], NaN where missing.
        shifts: [S] instants.

    Returns:
        Zeros where fewer than :data:`OVERLAP` of the instants that both have unshifted remain, or fewer
        than 3.
    """
    count = len(late)
    out = np.zeros((len(shifts), 3))
    least = max(3, math.ceil(OVERLAP * int((np.isfinite(late) & np.isfinite(reference)).sum())))
    for place, shift in enumerate(shifts.tolist()):
        if abs(shift) >= count:
            continue
        one = late[max(shift, 0) : count + min(shift, 0)]
        other = reference[max(-shift, 0) : count - max(shift, 0)]
        both = np.isfinite(one) & np.isfinite(other)
        if int(both.sum()) < least:
            continue
        one, other = one[both] - one[both].mean(), other[both] - other[both].mean()
        out[place] = one @ other, one @ one, other @ other
    return out


def mean_present(values: FloatArray) -> FloatArray:
    """[T] mean over the raters who said something; NaN where nobody did.

    A rater who drops in or out moves it: gaps must be few, or :func:`~moodreel.labels.gold.fuse_raters` used.
    """
    seen = np.isfinite(values)
    total = np.where(seen, values, 0.0).sum(axis=1)
    count = seen.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
