"""The post-processing of AVEC, for traces whose ticks without a face are filled in.

The chain of the AVEC baselines (Ringeval et al., AVEC 2015; Valstar et al., AVEC 2016): a median filter,
centring, scaling, a shift in time. STA (Sec. 3.1) uses all but the shift. The numbers come from development
data (:mod:`moodreel.lab.fit_postprocess`).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moodreel.errors import SettingsError, require
from moodreel.types import FloatArray

_CLOSE = 1e-9
"""Seconds: a value exactly half a width away belongs to a median, whatever rounding says."""


@dataclass(frozen=True)
class PostProcess:
    """What is done to a trace. The defaults leave it as it is.

    The steps in order: the median, then ``scale * v + centre``, then the shift, then the bounds. AVEC's
    centring alone is ``scale`` 1; its centring and scaling together is ``scale`` s and ``centre``
    mean of the gold standard - s * mean of the predictions.
    """

    median_s: float = 0.0
    """Width of the median filter, seconds: a value is replaced by the median of all those at most half of
    this away. 0 turns it off."""
    centre: float = 0.0
    """Added to the scaled values."""
    scale: float = 1.0
    """Factor on the values."""
    shift_s: float = 0.0
    """By how much the trace is moved later, seconds; a reaction that comes early has a positive one."""

    def __post_init__(self) -> None:
        finite = math.isfinite(self.median_s) and self.median_s >= 0
        require(finite, "postprocess.median_s", self.median_s, "seconds, finite and >= 0")
        require(math.isfinite(self.centre), "postprocess.centre", self.centre, "a finite number")
        require(
            math.isfinite(self.scale) and self.scale > 0,
            "postprocess.scale",
            self.scale,
            "finite and above 0",
        )
        require(math.isfinite(self.shift_s), "postprocess.shift_s", self.shift_s, "seconds, finite")

    def apply(self, times: npt.ArrayLike, values: npt.ArrayLike) -> FloatArray:
        """Post-processes one trace.

        Args:
            times: [n] seconds, ascending.
            values: [n] valence; all NaN (nobody was seen) stays so.

        Returns:
            [n] in [-1, 1]. What the shift needs from before the start or after the end is held.

        Raises:
            SettingsError: lengths do not agree, times do not ascend, or some values are not finite.
        """
        when, trace = _check(times, values)
        if not len(trace) or np.isnan(trace).all():
            return trace.copy()
        require(bool(np.isfinite(trace).all()), "values", "NaN among numbers", "interpolated values")
        out = self.scale * smooth_median(when, trace, self.median_s) + self.centre
        if self.shift_s:
            out = np.interp(when - self.shift_s, when, out)
        return np.clip(out, -1.0, 1.0)


class PostStream:
    """A chain over values that come one after another, the same numbers as :meth:`PostProcess.apply`.

    A value is known when everything within half the median's width after it is, so it waits for that long and
    no longer. What is held does not grow.

    Args:
        chain: without a shift, which would need what comes later.

    Raises:
        SettingsError: the chain has a shift.
    """

    def __init__(self, chain: PostProcess) -> None:
        require(chain.shift_s == 0, "postprocess.shift_s", chain.shift_s, "0: a stream cannot be shifted")
        self._chain = chain
        self._half = chain.median_s / 2 + _CLOSE
        self._held: deque[tuple[float, float]] = deque()  # times and values that a median still needs
        self._next = 0  # place in them of the next value to give

    def push(self, time: float, value: float) -> list[float]:
        """Takes the next value, at a time after the last one's; gives those that are known now, in order."""
        self._held.append((time, value))
        return self._give(time)

    def finish(self) -> list[float]:
        """Says that none follows; gives those that are left."""
        return self._give(math.inf)

    def _give(self, now: float) -> list[float]:
        out = []
        while self._next < len(self._held):
            at = self._held[self._next][0]
            if self._chain.median_s > 0 and now <= at + self._half:
                break
            while self._held[0][0] < at - self._half:
                self._held.popleft()
                self._next -= 1
            near = [value for time, value in self._held if time <= at + self._half]
            median = float(np.median(near)) if self._chain.median_s > 0 else self._held[self._next][1]
            done = self._chain.scale * median + self._chain.centre
            out.append(min(max(done, -1.0), 1.0))
            self._next += 1
        return out


def smooth_median(times: npt.ArrayLike, values: npt.ArrayLike, width: float) -> FloatArray:
    """Median filter over true seconds: at the ends of a trace, of what there is.

    Args:
        times: [n] seconds, ascending.
        values: [n].
        width: seconds; 0 gives the values back.

    Returns:
        [n] medians; of an even number of values, the mean of the middle two.

    Raises:
        SettingsError: lengths do not agree, or times do not ascend.
    """
    when, trace = _check(times, values)
    if width <= 0:
        return trace.copy()
    half = width / 2 + _CLOSE
    first = np.searchsorted(when, when - half, side="left")
    last = np.searchsorted(when, when + half, side="right")
    return np.array([np.median(trace[a:b]) for a, b in zip(first, last, strict=True)])


def _check(times: npt.ArrayLike, values: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    when, trace = np.asarray(times, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if when.ndim != 1 or trace.shape != when.shape:
        raise SettingsError("values", list(trace.shape), f"one for each of {len(np.atleast_1d(when))} times")
    if not (np.isfinite(when).all() and (np.diff(when) > 0).all()):
        raise SettingsError("times", when.tolist()[:8], "finite seconds that ascend")
    return when, trace
