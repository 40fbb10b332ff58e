"""Files of traces: the CSV that ``moodreel trace`` writes, and what people said, to lay beside it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moodreel.errors import DataError
from moodreel.runtime.files import replace_file
from moodreel.runtime.trace import TracePoint
from moodreel.types import FloatArray

HEADER = ("time_s", "valence", "face", "status")
"""Columns of a trace."""

DECIMALS = 6
"""Decimals of its numbers."""

TIMES = ("time_s", "time", "timestamp")
"""Names of a column of seconds, in files that are read."""

GOLD = ("gold", "valence", "truth")
"""Names of a column with the gold standard; every other column is a rater."""


def format_row(point: TracePoint) -> tuple[str, str, str, str]:
    """A point as cells: numbers to six decimals, an empty cell for no value."""
    valence = "" if point.valence is None else _format_number(point.valence)
    return _format_number(point.time), valence, str(point.face), point.status


def _format_number(value: float) -> str:
    return f"{round(value, DECIMALS) + 0.0:.{DECIMALS}f}".rstrip("0").rstrip(".")


@contextmanager
def open_trace(path: Path) -> Iterator[Callable[[TracePoint], None]]:
    """A function that writes a row to a trace's CSV; the file takes its name when the block ends well.

    Args:
        path: of the file; its folder must exist.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    with replace_file(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(HEADER)
        try:
            yield lambda point: writer.writerow(format_row(point))
        finally:
            text.detach()


@dataclass(frozen=True, eq=False)
class Ratings:
    """What people said of a clip along time.

    Attributes:
        times: [n] seconds, ascending.
        gold: [n], NaN where missing; None without a column of that kind.
        raters: name -> [n], NaN where missing.
    """

    times: FloatArray
    gold: FloatArray | None
    raters: dict[str, FloatArray]


def read_ratings(path: str | Path) -> Ratings:
    """Reads a CSV of a gold standard, of raters, or both.

    The first row names the columns: one of :data:`TIMES`; the first of :data:`GOLD` that is there is the gold
    standard, any other column a rater. An empty cell is a missing value. Columns of a trace that ``moodreel
    trace`` wrote are known (``face`` and ``status`` are passed over).

    Raises:
        DataError: the file cannot be read, or a cell is wrong; with file, line and column.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not CSV in UTF-8: {error}") from None
    header = [name.strip() for name in rows[0]] if rows else []
    clock = next((header.index(name) for name in TIMES if name in header), None)
    if clock is None:
        raise DataError(f"{path}: line 1: no column of times; expected one of {', '.join(TIMES)}")
    if len(set(header)) < len(header):
        raise DataError(f"{path}: line 1: two columns of one name")
    wanted = [k for k, name in enumerate(header) if k != clock and name not in HEADER[2:]]
    if not wanted:
        raise DataError(f"{path}: line 1: no column beside the times")
    numbered = [(line, row) for line, row in enumerate(rows[1:], 2) if any(cell.strip() for cell in row)]
    if not numbered:
        raise DataError(f"{path}: no row below the names")
    table = np.full((len(numbered), len(header)), math.nan)
    for place, (line, row) in enumerate(numbered):
        if len(row) != len(header):
            raise DataError(f"{path}: line {line}: {len(row)} cells, the first line has {len(header)}")
        for k in (clock, *wanted):
            table[place, k] = _parse(row[k], f"{path}: line {line}: {header[k]}", k == clock)
    times = table[:, clock]
    if (np.diff(times) <= 0).any():
        line = numbered[int(np.flatnonzero(np.diff(times) <= 0)[0]) + 1][0]
        raise DataError(f"{path}: line {line}: the time is not above the one before")
    gold = next((header.index(name) for name in GOLD if name in header), None)
    raters = {header[k]: table[:, k] for k in wanted if k != gold}
    return Ratings(times, None if gold is None else table[:, gold], raters)


def _parse(cell: str, where: str, is_time: bool) -> float:
    if not cell.strip() and not is_time:
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: {cell!r} is no number")
    return value
