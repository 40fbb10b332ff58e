"""Files of ratings along time: ARFF and CSV of the AVEC challenges in, ``time_s, ...`` CSV out."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moodreel.errors import DataError
from moodreel.lab.data.imports import read_text
from moodreel.types import FloatArray

DIMENSIONS = ("valence", "arousal", "liking")
"""What is rated: of AVEC 2016 to 2019."""

TIME_COLUMNS = frozenset({"time", "timestamp", "frametime", "time_s"})
NAME_COLUMNS = frozenset({"name", "instance_name"})
GOLD_COLUMN = "goldstandard"
BARE_COLUMNS = ("name", "timestamp", "arousal", "valence", "liking")
"""Columns of AVEC 2017's and 2018's label files, which have no header."""

MISSING = frozenset({"", "?", "nan"})


@dataclass(frozen=True, eq=False)
class Trace:
    """Ratings along time.

    Attributes:
        times: [T] seconds from the clip's start, ascending.
        columns: name -> [T] in [-1, 1], NaN where missing. One column named by what is rated is a gold
            standard; else a column a rater.
    """

    times: FloatArray
    columns: Mapping[str, FloatArray]


def read_recording(path: Path, dimension: str) -> Trace:
    """Reads one recording's ratings.

    Known are the ARFF of AVEC's RECOLA gold standard (``Instance_name, frameTime, GoldStandard``), RECOLA's
    ratings (``time;FM1 ;FM2 ;...``, a column a rater) and AVEC's SEWA labels
    (``name;timestamp;arousal;valence;liking``, also without that header).

    Args:
        path: the file; what ends in ``.arff`` is read as such, all else as CSV with semicolons or commas.
        dimension: column that is taken where columns are named by dimensions.

    Raises:
        DataError: names the file, and the line where there is one.
    """
    read = _read_arff if path.suffix.lower() == ".arff" else _read_csv
    columns, lines = read(path)
    lower = [name.lower() for name in columns]
    at = next((i for i, name in enumerate(lower) if name in TIME_COLUMNS), None)
    if at is None:
        raise DataError(f"{path}: no column of times (got {', '.join(columns)})")
    if not lines:
        raise DataError(f"{path}: no ratings in it")
    named = next((i for i, name in enumerate(lower) if name in NAME_COLUMNS), None)
    if named is not None and len({cells[named] for _, cells in lines}) > 1:
        raise DataError(f"{path}: several recordings in one file: expected a file each")
    chosen = _choose_columns(path, columns, dimension, {at, named})
    times = [parse_cell(f"{path}:{number}", cells[at]) for number, cells in lines]
    values = {
        name: np.array([parse_cell(f"{path}:{number}", cells[i]) for number, cells in lines])
        for name, i in chosen.items()
    }
    for place, ((number, _), time) in enumerate(zip(lines, times, strict=True)):
        if not time >= 0 or (place and not time > times[place - 1]):
            raise DataError(f"{path}:{number}: time {time:g}: expected seconds, ascending from line to line")
    trace = Trace(np.array(times), values)
    check_range(str(path), trace, [number for number, _ in lines])
    return trace


def _choose_columns(
    path: Path, columns: Sequence[str], dimension: str, others: set[int | None]
) -> dict[str, int]:
    values = {name: i for i, name in enumerate(columns) if i not in others}
    lower = {name.lower(): i for name, i in values.items()}
    if dimension in lower:
        return {dimension: lower[dimension]}
    if set(lower) == {GOLD_COLUMN}:
        return {dimension: lower[GOLD_COLUMN]}
    if not values or lower.keys() & set(DIMENSIONS):
        raise DataError(f"{path}: no column {dimension} (got {', '.join(columns)})")
    if len(values) < len(columns) - len(others - {None}) or "time_s" in lower or "" in lower:
        raise DataError(f"{path}: names of raters repeat or are empty (got {', '.join(columns)})")
    return values


def _read_arff(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """(names of the attributes, (line number, cells) of each row); comments and sparse rows are not data."""
    columns: list[str] = []
    lines: list[tuple[int, list[str]]] = []
    data = False
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("%"):
            continue
        if data:
            lines.append((number, _split(path, number, text, ",", len(columns))))
        elif text.lower().startswith("@attribute"):
            parts = text.split()
            if len(parts) < 3:
                raise DataError(f"{path}:{number}: expected @attribute NAME TYPE, got {text[:60]!r}")
            columns.append(parts[1].strip("'\""))
        elif text.lower() == "@data":
            data = True
    if not data:
        raise DataError(f"{path}: no @data: not an ARFF file")
    return columns, lines


def _read_csv(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    lines = [(n, text) for n, text in enumerate(read_text(path).splitlines(), start=1) if text.strip()]
    if not lines:
        raise DataError(f"{path}: no ratings in it")
    first = lines[0][1]
    separator = ";" if ";" in first else ","
    columns = [cell.strip().strip("'\"") for cell in first.split(separator)]
    if _is_value(columns[-1]):
        if len(columns) != len(BARE_COLUMNS):
            raise DataError(f"{path}:1: no header, and not the columns {', '.join(BARE_COLUMNS)}")
        columns = list(BARE_COLUMNS)
    else:
        lines = lines[1:]
    return columns, [(n, _split(path, n, text, separator, len(columns))) for n, text in lines]


def _split(path: Path, number: int, text: str, separator: str, count: int) -> list[str]:
    cells = [cell.strip().strip("'\"") for cell in text.split(separator)]
    if len(cells) != count:
        raise DataError(f"{path}:{number}: {count} values expected, got {len(cells)}")
    return cells


def _is_value(cell: str) -> bool:
    try:
        parse_cell("", cell)
    except DataError:
        return False
    return True


def parse_cell(where: str, cell: str) -> float:
    """A number, or NaN for a missing one (``?``, ``NaN``, nothing).

    Args:
        where: what to name in the message.
        cell: text.

    Raises:
        DataError: neither.
    """
    text = cell.strip()
    if text.lower() in MISSING:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    if not math.isfinite(value):
        raise DataError(f"{where}: {text[:40]!r}: expected a number, or ? where it is missing")
    return value


def check_range(where: str, trace: Trace, lines: Sequence[int] | None = None) -> None:
    """Refuses ratings outside [-1, 1]: the file is of another scale than it was taken for.

    Args:
        where: file to name.
        trace: what was read.
        lines: [T] line numbers; else the message names the time.

    Raises:
        DataError: names the first one.
    """
    for name, values in trace.columns.items():
        off = np.flatnonzero(np.abs(values) > 1)  # NaN compares false
        if len(off):
            place = f"{where}:{lines[off[0]]}" if lines else f"{where}: at {trace.times[off[0]]:g} s"
            raise DataError(f"{place}: {name} {values[off[0]]:g}: expected -1 to 1")


def write_trace(path: Path, trace: Trace) -> None:
    """Writes ``time_s`` in microseconds' precision and the columns; a missing value is an empty cell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["time_s", *trace.columns])
        for row in zip(trace.times, *trace.columns.values(), strict=True):
            writer.writerow(
                ["" if math.isnan(value) else f"{value:.6f}".rstrip("0").rstrip(".") for value in row]
            )
