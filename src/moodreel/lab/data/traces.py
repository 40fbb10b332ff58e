"""Gold standards along time: the CSV files that a manifest's column ``trace`` names."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from moodreel.errors import DataError
from moodreel.types import FloatArray

RATER = "rater_"
"""How the columns of single raters begin."""

GOLD = ("gold", "valence")
"""Columns that are taken for the gold standard, in this order."""


@dataclass(frozen=True, eq=False)
class GoldTrace:
    """A gold standard along time.

    Attributes:
        times: [n] seconds, ascending, n >= 1.
        values: [n] in [-1, 1]; NaN where there is none.
    """

    times: FloatArray
    values: FloatArray

    def at(self, ticks: npt.ArrayLike, reach: float) -> FloatArray:
        """Values at other instants, along straight lines between the stated ones.

        Args:
            ticks: [m] seconds.
            reach: seconds before the first and after the last stated value over which it is held; between two
                stated values farther apart than twice this, nothing is known.

        Returns:
            [m]; NaN where nothing is known.
        """
        when = np.asarray(ticks, dtype=np.float64)
        stated = ~np.isnan(self.values)
        if not stated.any():
            return np.full(when.shape, np.nan)
        times, values = self.times[stated], self.values[stated]
        after = np.searchsorted(times, when, side="left")
        before = np.searchsorted(times, when, side="right") - 1
        last = len(times) - 1
        gap = times[np.minimum(after, last)] - times[np.maximum(before, 0)]
        outside = np.maximum(times[0] - when, when - times[-1])
        known = np.where(outside > 0, outside <= reach + 1e-9, gap <= 2 * reach + 1e-9)
        return np.where(known, np.interp(when, times, values), np.nan)


def read_trace(path: Path, target: str = "auto") -> GoldTrace:
    """Reads the gold standard of a trace file.

    Args:
        path: CSV with a column ``time_s`` and further columns in [-1, 1]; an empty cell is a missing value.
        target: "mean" takes the mean of the columns ``rater_*`` that are stated at a time; another name takes
            that column; "auto" the first of :data:`GOLD` that is there, else the mean.

    Raises:
        DataError: names file and line of the first thing that is wrong.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot read the trace: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from error
    reader = csv.reader(io.StringIO(text, newline=""))
    header = next(reader, [])
    if "time_s" not in header:
        raise DataError(f"{path}: column 'time_s' is missing (got {', '.join(header) or 'none'})")
    columns = _choose_columns(path, header, target)
    clock = header.index("time_s")
    times: list[float] = []
    values: list[float] = []
    for cells in reader:
        where = f"{path}:{reader.line_num}"
        if not cells:
            continue
        if len(cells) != len(header):
            raise DataError(f"{where}: {len(cells)} cells, expected {len(header)}")
        time = _number(cells[clock])
        if not (math.isfinite(time) and time >= 0) or (times and time <= times[-1]):
            raise DataError(f"{where}: time_s = {cells[clock]!r}: expected seconds that ascend")
        stated = []
        for column in columns:
            if cells[column] == "":
                continue
            value = _number(cells[column])
            if not -1 <= value <= 1:
                raise DataError(
                    f"{where}: {header[column]} = {cells[column]!r}: expected a number in [-1, 1], or empty"
                )
            stated.append(value)
        times.append(time)
        values.append(sum(stated) / len(stated) if stated else math.nan)
    if not times:
        raise DataError(f"{path}: the trace has no rows")
    return GoldTrace(np.array(times), np.array(values))


def _choose_columns(path: Path, header: list[str], target: str) -> list[int]:
    if target == "auto":
        target = next((name for name in GOLD if name in header), "mean")
    if target == "mean":
        chosen = [place for place, name in enumerate(header) if name.startswith(RATER)]
        if not chosen:
            raise DataError(f"{path}: no column {RATER}* (got {', '.join(header)})")
        return chosen
    if target not in header:
        raise DataError(f"{path}: column {target!r} is missing (got {', '.join(header)})")
    return [header.index(target)]


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan
