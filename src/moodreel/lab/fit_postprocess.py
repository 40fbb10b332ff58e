"""The post-processing of AVEC fitted on development data: a step is kept only if it improves the CCC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from moodreel.errors import DataError
from moodreel.lab.trace_metrics import TraceScores, join_traces, score_traces
from moodreel.runtime.postprocess import PostProcess
from moodreel.runtime.schema import LONGEST_MEDIAN
from moodreel.types import FloatArray

MEDIANS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 20.0)
"""Widths that are tried, seconds: those of AVEC 2015 reach from 0.4 to 20 s."""

LIVE_MEDIANS = tuple(width for width in MEDIANS if width <= LONGEST_MEDIAN)
"""Those of a bundle, whose live traces wait for half of it."""

SHIFTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
"""Shifts that are tried where a shift is asked for, seconds."""


@dataclass(frozen=True, eq=False)
class Trace:
    """One sequence of the development set.

    Attributes:
        times: [n] seconds, ascending.
        predicted: [n] the network's values, frames without a face interpolated.
        gold: [n] the gold standard; NaN where there is none.
    """

    times: FloatArray
    predicted: FloatArray
    gold: FloatArray


@dataclass(frozen=True)
class FittedPostProcess:
    """What was chosen, and what it does on the data it was chosen on.

    Attributes:
        chain: to apply.
        before, after: scores of the development set without and with it.
    """

    chain: PostProcess
    before: TraceScores
    after: TraceScores

    @property
    def post(self) -> dict[str, float]:
        """The chain as ``bundle.json`` states it, :class:`moodreel.runtime.schema.Post`; without a shift."""
        return {"median_s": self.chain.median_s, "centre": self.chain.centre, "scale": self.chain.scale}


def fit_postprocess(
    traces: Sequence[Trace],
    medians: Sequence[float] = MEDIANS,
    shifts: Sequence[float] = (0.0,),
) -> FittedPostProcess:
    """Chooses median, centring, scaling and shift, in this order, each given the ones before.

    Centring makes the means of prediction and gold standard agree, scaling their standard deviations (about
    the mean that is there). Traces on which nobody was seen (all predictions NaN) are left out.

    Args:
        traces: of the development set.
        medians: widths to try, seconds.
        shifts: to try, seconds; the default tries none, as STA has none. :data:`SHIFTS` are AVEC's.

    Raises:
        DataError: no value with a gold standard.
    """
    seen = [trace for trace in traces if not np.isnan(trace.predicted).all()]
    best, before = PostProcess(), _score(PostProcess(), seen)
    if not before.count:
        raise DataError("no frame of the development set has a face and a gold standard: nothing to fit on")
    after = before

    def attempt(chain: PostProcess) -> None:
        nonlocal best, after
        scores = _score(chain, seen)
        if scores.ccc > after.ccc:
            best, after = chain, scores

    for width in medians:
        attempt(PostProcess(median_s=width))
    x, y = _values(best, seen)
    attempt(replace(best, centre=float(y.mean() - x.mean())))
    if x.std() > 0 and y.std() > 0:
        factor = float(y.std() / x.std())
        mean = float(x.mean()) + best.centre  # of what is there, which scaling leaves
        attempt(replace(best, scale=factor, centre=mean - factor * float(x.mean())))
    chosen = best
    for shift in shifts:
        attempt(replace(chosen, shift_s=shift))
    return FittedPostProcess(best, before, after)


def _values(chain: PostProcess, traces: Sequence[Trace]) -> tuple[FloatArray, FloatArray]:
    """What counts in the moments: (post-processed, gold)."""
    done: list[npt.ArrayLike] = [chain.apply(trace.times, trace.predicted) for trace in traces]
    return join_traces(done, [trace.gold for trace in traces])


def _score(chain: PostProcess, traces: Sequence[Trace]) -> TraceScores:
    done = [chain.apply(trace.times, trace.predicted) for trace in traces]
    return score_traces(done, [trace.gold for trace in traces])
