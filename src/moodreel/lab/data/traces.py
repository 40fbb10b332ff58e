"""Gold standards along time, from the files that a manifest's column ``trace`` names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from moodreel.errors import DataError
from moodreel.labels.traces import KNOWN, read_traces, sample_series
from moodreel.types import FloatArray

GOLD = ("gold", "valence")
"""Columns that are taken for the gold standard, in this order."""


@dataclass(frozen=True, eq=False)
class GoldTrace:
    """A gold standard along time: what one column says, or the mean of several raters.

    Attributes:
        times: [n] seconds, ascending, n >= 1.
        values: [n, R] in [-1, 1]; NaN where a column says nothing.
    """

    times: FloatArray
    values: FloatArray

    def at(self, ticks: npt.ArrayLike, reach: float) -> FloatArray:
        """Values at other instants: of each column along straight lines, then their mean.

        Args:
            ticks: [...] seconds.
            reach: seconds before a column's first value and after its last over which it is held; between two
                values farther apart than twice this, it says nothing.

        Returns:
            [...]; NaN where nobody says anything.
        """
        when = np.asarray(ticks, dtype=np.float64)
        flat = when.ravel()
        total, count = np.zeros(len(flat)), np.zeros(len(flat))
        for column in self.values.T:
            stated = ~np.isnan(column)
            if not stated.any():
                continue
            times = self.times[stated]
            held = np.clip(flat, times[0], times[-1])
            series = sample_series(times, column[stated], held, 2 * reach)
            known = ~np.isnan(series) & (np.abs(flat - held) <= reach + 1e-9)
            total[known] += series[known]
            count[known] += 1
        out = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return out.reshape(when.shape)


def read_trace(path: Path, target: str = "auto") -> GoldTrace:
    """Reads the gold standard of a trace file.

    Args:
        path: as :func:`moodreel.labels.traces.read_traces` takes it.
        target: "mean" takes the mean of the raters; another name takes that column, a rater's, ``gold`` or
            ``truth``; "auto" the first of :data:`GOLD` that is there, else the mean.

    Raises:
        DataError: the file is wrong, lacks the column, or states a value outside [-1, 1].
    """
    traces = read_traces(path)
    columns = {name: traces.values[:, k] for k, name in enumerate(traces.raters)}
    if target == "mean" or (target == "auto" and traces.gold is None and GOLD[1] not in columns):
        if not columns:
            raise DataError(f"{path}: no raters")
        chosen = columns
    else:
        known = {name: column for name in KNOWN if (column := getattr(traces, name)) is not None}
        everything = {**columns, **known}
        name = next((n for n in GOLD if n in everything), target) if target == "auto" else target
        if name not in everything:
            raise DataError(f"{path}: column {name!r} is missing (got {', '.join(everything)})")
        chosen = {name: everything[name]}
    for name, column in chosen.items():
        beyond = np.flatnonzero(np.abs(column) > 1)
        if len(beyond):
            time, value = traces.times[beyond[0]], column[beyond[0]]
            raise DataError(f"{path}: {name} = {value:g} at {time:g} s: expected a number in [-1, 1]")
    return GoldTrace(traces.times, np.stack(list(chosen.values()), axis=1))
