"""Traces: what several raters said along time. The reader of trace files, and sampling on a common clock.

A file is a CSV table with one column of times and one column a rater. Raters may have been sampled at
different instants: a rater's cell is then empty in the rows of the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from moodreel.errors import DataError, require
from moodreel.labels.rows import (
    MOST,
    BadRow,
    Records,
    is_utf8,
    parse_number,
    read_bytes,
    read_header,
    shorten,
)
from moodreel.types import BoolArray, FloatArray

TIMES = ("time_s", "timestamp")
"""Names of the column of times, seconds; a file has one of them."""

KNOWN = ("truth", "gold")
"""Columns that are no raters."""

GAP = 4.0
"""Steps of a rater without a value that are still bridged, where no gap is given."""

EVEN = 0.25
"""Share of a step by which instants of an evenly sampled file may be off."""


@dataclass(frozen=True, eq=False)
class Traces:
    """What raters said along one clip.

    Attributes:
        source: the file, or a name.
        times: [T] seconds, ascending.
        raters: R names.
        values: [T, R], NaN where a rater said nothing.
        truth: [T], NaN where missing: of synthetic traces, what the raters followed; None where unknown.
        gold: [T] likewise: a gold standard that was made before.

    Raises:
        SettingsError: the parts do not fit each other, or times do not ascend.
    """

    source: str
    times: FloatArray
    raters: tuple[str, ...]
    values: FloatArray
    truth: FloatArray | None = None
    gold: FloatArray | None = None

    def __post_init__(self) -> None:
        count, shape = len(self.times), self.values.shape
        require(shape == (count, len(self.raters)), "Traces.values", list(shape), "[times, raters]")
        for name in KNOWN:
            column = getattr(self, name)
            fits = column is None or column.shape == (count,)
            require(fits, f"Traces.{name}", None if fits else list(column.shape), f"[{count}], one a time")
        ascends = bool(np.isfinite(self.times).all() and (np.diff(self.times) > 0).all())
        require(ascends, "Traces.times", "not ascending", "finite seconds, each later than the one before")

    def __len__(self) -> int:
        return len(self.times)

    @property
    def duration(self) -> float:
        """Seconds from the first instant to the last."""
        return float(self.times[-1] - self.times[0]) if len(self) else 0.0


@dataclass(frozen=True)
class Clock:
    """On which instants traces are compared.

    Attributes:
        step: seconds between two instants; None: that of the file where it is even, else the shortest median
            step of a rater.
        max_gap: seconds without a value that are bridged by a straight line; longer ones are missing. None:
            :data:`GAP` median steps of the rater.

    Raises:
        SettingsError: a value is not above 0.
    """

    step: float | None = None
    max_gap: float | None = None

    def __post_init__(self) -> None:
        for name in ("step", "max_gap"):
            value = getattr(self, name)
            ok = value is None or (math.isfinite(value) and value > 0)
            require(ok, name, value, "a number of seconds above 0")


@dataclass(eq=False)
class _Columns:
    """Where a file's columns stand, and what has been read of them."""

    time: int
    places: list[int]
    names: list[str]
    width: int
    times: list[float] = field(default_factory=list)
    rows: list[list[float]] = field(default_factory=list)


def read_traces(path: str | Path, bad: list[BadRow] | None = None) -> Traces:
    """Reads a trace file: CSV, UTF-8, a column ``time_s`` or ``timestamp`` in seconds, the others numbers.

    A column ``truth`` or ``gold`` is no rater; every other column is one, named by its header. An empty cell
    (also ``nan`` and ``NA``) is a missing value. Blank lines are no rows.

    Args:
        path: of the file.
        bad: takes the rows that are wrong, which are left out then; None: the first one is an error.

    Raises:
        DataError: the file cannot be read, has another header, no good rows, or (without ``bad``) a wrong
            row. The message names the file and, where there is one, the line.
    """
    path = Path(path)
    data = read_bytes(path, "traces")
    columns = _find_columns(path, read_header(path, data, ()))
    records = Records(data)
    next(records)
    for line, cells in records:
        fault = cells if isinstance(cells, str) else _add_row(cells, columns)
        if fault is None:
            continue
        if bad is None:
            raise DataError(f"{path}:{line}: {fault}")
        bad.append(BadRow(line, fault))
    if not columns.rows:
        raise DataError(f"{path}: no {'good ' if bad else ''}rows under the header")
    values = np.array(columns.rows, np.float64).reshape(len(columns.rows), len(columns.names))
    known = {name: values[:, columns.names.index(name)] for name in KNOWN if name in columns.names}
    rated = [k for k, name in enumerate(columns.names) if name not in KNOWN]
    raters = tuple(columns.names[k] for k in rated)
    return Traces(str(path), np.array(columns.times), raters, values[:, rated], **known)


def _find_columns(path: Path, header: Sequence[str]) -> _Columns:
    """Where the columns stand.

    Raises:
        DataError: there is no column of times or more than one, no other column, or a name is empty or
            stands there twice.
    """
    names = [name.strip() for name in header]
    found = [place for place, name in enumerate(names) if name in TIMES]
    if len(found) != 1:
        told = "no column of times" if not found else "two columns of times"
        raise DataError(f"{path}: {told}, expected one of {', '.join(TIMES)} (got {', '.join(names)})")
    for place, name in enumerate(names):
        if not name:
            raise DataError(f"{path}: column {place + 1} has no name")
        if names.count(name) > 1:
            raise DataError(f"{path}: column {name!r} stands there twice")
    places = [place for place in range(len(names)) if place != found[0]]
    if not places:
        raise DataError(f"{path}: no raters, only the column {names[found[0]]}")
    return _Columns(found[0], places, [names[place] for place in places], len(names))


def _add_row(cells: list[str], columns: _Columns) -> str | None:
    """Takes a row in; what is wrong with it otherwise."""
    if len(cells) != columns.width:
        return f"{columns.width} cells expected, got {len(cells)}"
    if not is_utf8(cells):
        return "not UTF-8"
    time = _parse(cells[columns.time])
    if time is None or math.isnan(time):
        return f"time = {shorten(cells[columns.time])}: expected seconds, at most {MOST:g}"
    if columns.times and time <= columns.times[-1]:
        return f"time = {time:g}: not after the row before it, {columns.times[-1]:g}"
    row = []
    for place, name in zip(columns.places, columns.names, strict=True):
        value = _parse(cells[place])
        if value is None:
            told = f"a number from {-MOST:g} to {MOST:g}, or nothing"
            return f"{shorten(name)} = {shorten(cells[place])}: expected {told}"
        row.append(value)
    columns.times.append(time)
    columns.rows.append(row)
    return None


def _parse(cell: str) -> float | None:
    """The number in a cell, NaN where it is empty, None where it is anything else."""
    cell = cell.strip()
    if cell.lower() in ("", "nan", "na"):
        return math.nan
    return parse_number(cell)


def make_clock(traces: Traces, clock: Clock = Clock()) -> FloatArray:
    """[T] instants on which to compare a file's raters: even steps over its time.

    The file's own instants where they are even to :data:`EVEN` of a step; else, or where a step is given, a
    grid from the first instant on.

    Raises:
        SettingsError: so small a step would make more than ten million instants.
    """
    times, step = traces.times, clock.step
    if len(times) < 2:
        return times
    if step is None:
        even = np.linspace(times[0], times[-1], len(times))
        if np.abs(times - even).max() <= EVEN * (even[1] - even[0]):
            return times
        steps = [_find_step(times[seen]) for seen in _list_seen(traces)]
        step = min((s for s in steps if s is not None), default=float(np.median(np.diff(times))))
    count = math.floor(traces.duration / step + 1e-6) + 1
    require(count <= 10_000_000, "step", step, "at most ten million instants a file")
    return np.asarray(times[0] + step * np.arange(count))


def sample_traces(
    traces: Traces,
    instants: FloatArray,
    late: FloatArray | None = None,
    clock: Clock = Clock(),
) -> FloatArray:
    """[N, R] values of the raters at other instants, by straight lines between a rater's own values.

    Args:
        traces: of R raters.
        instants: [N] seconds.
        late: [R] seconds; a rater is read so much later than the instant. None: at the instant.
        clock: its ``max_gap`` says what is bridged.

    Returns:
        NaN before a rater's first value, after the last, and in gaps that are too long.
    """
    columns = []
    for k, seen in enumerate(_list_seen(traces)):
        times, values = traces.times[seen], traces.values[seen, k]
        shift = 0.0 if late is None else float(late[k])
        columns.append(sample_series(times, values, instants + shift, clock.max_gap))
    return np.stack(columns, axis=1) if columns else np.empty((len(instants), 0))


def sample_series(
    times: FloatArray, values: FloatArray, instants: FloatArray, max_gap: float | None = None
) -> FloatArray:
    """[N] one series at other instants; NaN outside it and in gaps above ``max_gap`` seconds.

    Args:
        times: [T] seconds, ascending.
        values: [T] finite.
        instants: [N] seconds.
        max_gap: None: :data:`GAP` median steps of the series.
    """
    out = np.full(len(instants), np.nan)
    step = _find_step(times)
    if step is None:  # one value or none
        for time, value in zip(times.tolist(), values.tolist(), strict=True):
            out[np.abs(instants - time) <= 1e-9] = value
        return out
    bridged = (GAP * step if max_gap is None else max_gap) + 1e-9
    slack = 1e-6 * step  # instants that rounding has put beside a value are at the value
    after = np.searchsorted(times, instants - slack).clip(0, len(times) - 1)
    before = np.where(np.abs(times[after] - instants) <= slack, after, after - 1).clip(0)
    inside = (instants >= times[0] - slack) & (instants <= times[-1] + slack)
    short = times[after] - times[before] <= bridged
    out[inside & short] = np.interp(instants[inside & short], times, values)
    return out


def _list_seen(traces: Traces) -> list[BoolArray]:
    """Of each rater, [T] where there is a value."""
    return [np.isfinite(traces.values[:, k]) for k in range(len(traces.raters))]


def _find_step(times: FloatArray) -> float | None:
    """Median step, seconds; None for fewer than two instants."""
    return float(np.median(np.diff(times))) if len(times) > 1 else None
