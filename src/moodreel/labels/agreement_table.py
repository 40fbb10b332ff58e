"""Files of ratings in, files of disagreement out: CSV.

Three kinds of files are told apart by their header: one rating a row (a column ``intensity``); vote counts of
CREMA-D (``fileName`` and A, D, F, H, N, S); vote counts of anything else, where the caller names the columns.
"""

from __future__ import annotations

import array
import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from moodreel.errors import DataError, require
from moodreel.labels.agreement import Agreement, RaterSpread, find_variance
from moodreel.labels.rows import BadRow, Records, is_utf8, read_bytes, read_header, shorten
from moodreel.types import FloatArray, IntArray

NEEDED = ("clip", "rater", "emotion", "intensity")
"""Columns of a file of ratings that must be there; ``condition`` may be."""

CREMA_D = {
    "A": "anger",
    "D": "disgust",
    "F": "fear",
    "H": "happiness",
    "N": "neutral",
    "S": "sadness",
}
"""Columns of CREMA-D's tabulated votes."""

CREMA_D_CONDITIONS = {"1": "voice", "2": "face", "3": "face and voice"}
"""First digit of CREMA-D's row number -> what the raters were given."""

ONLY = "all"
"""The condition of a file without any."""

COLUMNS = ("emotion", "condition", "minus", "clips", "raters", "disagreement", "low", "high")
"""Columns of what :func:`write_agreement` writes."""

MEAN = "(mean)"
"""Stands for the emotion in the rows of the mean over emotions."""


@dataclass(frozen=True, eq=False)
class RatingFile:
    """What a file of ratings held.

    Attributes:
        spread: of the good rows.
        rows: how many those are.
        bad: the others, by line.
    """

    spread: RaterSpread
    rows: int
    bad: tuple[BadRow, ...]


@dataclass(eq=False)
class _Names:
    """Numbers for names, in the order in which they appear."""

    places: dict[str, int] = field(default_factory=dict)

    def number(self, name: str) -> int:
        return self.places.setdefault(name, len(self.places))

    def __len__(self) -> int:
        return len(self.places)

    def all(self) -> tuple[str, ...]:
        return tuple(self.places)


def read_ratings(path: str | Path, counts: Sequence[str] = ()) -> RatingFile:
    """Reads a file of ratings or of vote counts.

    Args:
        path: CSV, UTF-8. Ratings: :data:`NEEDED`, and ``condition`` where there are several. CREMA-D's votes:
            as they are. Other counts: a row a clip, ``clip``, ``condition`` where there are several, and the
            columns ``counts``, an emotion each.
        counts: names of columns with vote counts; empty for the other two kinds.

    Raises:
        DataError: the file cannot be read, has another header, or no good rows.
        SettingsError: a column of ``counts`` is named twice.
    """
    path = Path(path)
    require(len({*counts}) == len(counts), "counts", ",".join(counts), "each column once")
    data = read_bytes(path, "ratings")
    header = read_header(path, data, ())
    if counts:
        read_header(path, data, ("clip", *counts), ("condition",))
        return _read_counts(path, data, header, dict.fromkeys(counts, "") | {name: name for name in counts})
    if "fileName" in header and "intensity" not in header and {*CREMA_D} <= {*header}:
        read_header(path, data, (header[0], "fileName", *CREMA_D), ("numResponses",))
        return _read_counts(path, data, header, CREMA_D)
    read_header(path, data, NEEDED, ("condition",))
    return _read_ratings(path, data, header)


def _read_ratings(path: Path, data: bytes, header: list[str]) -> RatingFile:
    """One rating a row."""
    places = [header.index(name) for name in NEEDED]
    condition_at = header.index("condition") if "condition" in header else None
    clips, raters, emotions, conditions = _Names(), _Names(), _Names(), _Names()
    codes, values = array.array("q"), array.array("d")
    bad: list[BadRow] = []
    for line, cells in _list_rows(data, len(header), bad):
        clip, rater, emotion, intensity = (cells[place].strip() for place in places)
        condition = ONLY if condition_at is None else cells[condition_at].strip()
        named = {"clip": clip, "condition": condition, "rater": rater, "emotion": emotion}
        empty = [name for name, cell in named.items() if not cell]
        value = _parse(intensity)
        if empty:
            bad.append(BadRow(line, f"{empty[0]} is empty"))
        elif value is None:
            bad.append(BadRow(line, f"intensity = {shorten(intensity)}: expected a number"))
        else:
            codes.extend((clips.number(clip), conditions.number(condition), emotions.number(emotion),
                          raters.number(rater), line))  # fmt: skip
            values.append(value)
    table = np.array(codes, np.int64).reshape(-1, 5)
    shape = (len(clips), len(conditions), len(emotions))
    rating = np.array(values, np.float64)
    cell = (table[:, 0] * shape[1] + table[:, 1]) * shape[2] + table[:, 2]
    _, first, which = np.unique(
        cell * max(1, len(raters)) + table[:, 3], return_index=True, return_inverse=True
    )
    again = first[which] != np.arange(len(cell))
    for row in np.flatnonzero(again).tolist():
        line = int(table[first[which[row]], 4])
        told = f"the rater's second rating of this clip and emotion in this condition (first: line {line})"
        bad.append(BadRow(int(table[row, 4]), told))
    bad.sort(key=lambda entry: entry.line)
    cell, rating = cell[~again], rating[~again]
    if not len(cell):
        raise DataError(f"{path}: no {'good ' if bad else ''}ratings under the header")
    size = math.prod(shape)
    count: IntArray = np.bincount(cell, minlength=size).astype(np.int64)
    mean = np.bincount(cell, rating, size) / np.maximum(count, 1)
    squares: FloatArray = np.bincount(cell, (rating - mean[cell]) ** 2, size).astype(np.float64)
    variance = find_variance(squares, count)
    spread = RaterSpread(
        clips.all(), conditions.all(), emotions.all(), variance.reshape(shape), count.reshape(shape)
    )
    return RatingFile(spread, len(cell), tuple(bad))


def _read_counts(path: Path, data: bytes, header: list[str], named: dict[str, str]) -> RatingFile:
    """A row a clip and condition: how many raters chose each emotion."""
    places = [header.index(name) for name in named]
    is_crema = named is CREMA_D
    clip_at = header.index("fileName" if is_crema else "clip")
    clips, conditions = _Names(), _Names()
    rows: dict[tuple[int, int], tuple[int, list[int]]] = {}
    bad: list[BadRow] = []
    for line, cells in _list_rows(data, len(header), bad):
        clip = cells[clip_at].strip()
        votes = [_parse_count(cells[place]) for place in places]
        if is_crema:
            condition = CREMA_D_CONDITIONS.get(cells[0].strip()[:1], "")
        else:
            condition = cells[header.index("condition")].strip() if "condition" in header else ONLY
        counted = [count for count in votes if count is not None]
        fault = None
        if not clip:
            fault = f"{header[clip_at]} is empty"
        elif not condition:
            fault = "condition is empty"
            if is_crema:
                fault = f"row number {shorten(cells[0])}: expected one that begins with 1, 2 or 3"
        elif len(counted) < len(votes):
            place = places[votes.index(None)]
            fault = f"{header[place]} = {shorten(cells[place])}: expected a count of votes"
        elif is_crema and "numResponses" in header:
            told = cells[header.index("numResponses")].strip()
            if _parse_count(told) != sum(counted):
                fault = f"numResponses = {shorten(told)}, but the votes add up to {sum(counted)}"
        if fault is None:
            key = clips.number(clip), conditions.number(condition)
            if key in rows:
                fault = f"the clip's second row in this condition (first: line {rows[key][0]})"
            else:
                rows[key] = line, counted
        if fault is not None:
            bad.append(BadRow(line, fault))
    bad.sort(key=lambda entry: entry.line)
    if not rows:
        raise DataError(f"{path}: no {'good ' if bad else ''}rows under the header")
    votes_of: IntArray = np.zeros((len(clips), len(conditions), len(named)), np.int64)
    for (row, column), (_, counted) in rows.items():
        votes_of[row, column] = counted
    raters = np.broadcast_to(votes_of.sum(axis=2, keepdims=True), votes_of.shape).copy()
    # A vote is 1 for its emotion, 0 for the others; squared distances add up to n p (1 - p), and so the
    # variance is n / (n - 1) p (1 - p).
    variance = find_variance(votes_of * (1 - votes_of / np.maximum(raters, 1)), raters)
    spread = RaterSpread(clips.all(), conditions.all(), tuple(named.values()), variance, raters)
    return RatingFile(spread, len(rows), tuple(bad))


def _list_rows(data: bytes, width: int, bad: list[BadRow]) -> Iterator[tuple[int, list[str]]]:
    """Yields (line, cells) of the rows under the header; those that are no rows go to ``bad``."""
    records = Records(data)
    next(records)
    for line, cells in records:
        if isinstance(cells, str):
            bad.append(BadRow(line, cells))
        elif len(cells) != width:
            bad.append(BadRow(line, f"{width} cells expected, got {len(cells)}"))
        elif not is_utf8(cells):
            bad.append(BadRow(line, "not UTF-8"))
        else:
            yield line, cells


def _parse(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in cell else None


def _parse_count(cell: str) -> int | None:
    value = _parse(cell)
    return int(value) if value is not None and value.is_integer() and 0 <= value < 1e9 else None


def write_agreement(found: Agreement, file: IO[bytes]) -> None:
    """Writes :data:`COLUMNS`: a row a mean, then a row a difference (``condition`` minus ``minus``).

    Numbers have 6 decimals; what is unknown is an empty cell.

    Args:
        found: what to write.
        file: open for writing bytes.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in (*found.means, *found.differences):
        numbers = (entry.raters, entry.value, entry.low, entry.high)
        cells = ["" if math.isnan(number) else f"{round(number, 6) + 0.0:.6g}" for number in numbers]
        emotion = MEAN if entry.emotion is None else entry.emotion
        writer.writerow((emotion, entry.condition, entry.other or "", entry.clips, *cells))
    file.write(stream.getvalue().encode())
