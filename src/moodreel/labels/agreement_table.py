"""Files of ratings in, files of disagreement out: CSV.

Three kinds of files are told apart by their header: one rating a row (a column ``intensity``); vote counts of
CREMA-D (``fileName`` and A, D, F, H, N, S); vote counts of anything else, where the caller names the columns.
"""

from __future__ import annotations

import array
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from moodreel.errors import DataError, require
from moodreel.labels.agreement import Agreement, RaterSpread, find_variance
from moodreel.labels.rows import (
    MOST,
    BadRow,
    Records,
    format_rows,
    is_utf8,
    mark_text,
    parse_number,
    read_bytes,
    read_header,
    shorten,
)
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
        path: CSV, UTF-8. Ratings: :data:`NEEDED`. CREMA-D's votes: as they are. Other counts: a row a clip,
            ``clip`` and the columns ``counts``, an emotion each. Optional ``condition``, and ``group``: clips
            that belong together, such as those of one person.
        counts: names of columns with vote counts; empty for the other two kinds.

    Raises:
        DataError: the file cannot be read, has another header, or no good rows.
        SettingsError: a column of ``counts`` is named twice.
    """
    path = Path(path)
    require(len({*counts}) == len(counts), "counts", ",".join(counts), "each column once")
    data = read_bytes(path, "ratings")
    header = read_header(path, data, ())
    is_crema = not counts and "intensity" not in header and {"fileName", *CREMA_D} <= {*header}
    if is_crema:
        read_header(path, data, (header[0], "fileName", *CREMA_D), ("numResponses",))
        return _read_counts(path, data, header, _CremaRows(header), CREMA_D)
    needed = ("clip", *counts) if counts else NEEDED
    read_header(path, data, needed, ("condition", "group"))
    if counts:
        return _read_counts(path, data, header, _Rows(header), {name: name for name in counts})
    return _read_ratings(path, data, header)


class _Rows:
    """Which clip a row is of: its names are numbered, and its group is kept.

    Args:
        header: of the file.
    """

    def __init__(self, header: Sequence[str]) -> None:
        self.clips, self.conditions = _Names(), _Names()
        self._group_of: list[str] = []
        self._places = [
            (name, header.index(name)) for name in ("clip", "condition", "group") if name in header
        ]
        self._names = {"clip": "", "condition": ONLY, "group": ""}

    @property
    def grouped(self) -> bool:
        """Whether the file says which clips belong together."""
        return any(name == "group" for name, _ in self._places)

    def place(self, cells: Sequence[str]) -> tuple[int, int] | str:
        """(clip, condition) of a row, or what is wrong with it."""
        names = self._names
        for name, place in self._places:
            names[name] = cells[place].strip()
            if not names[name]:
                return f"{name} is empty"
        return self._number(names["clip"], names["condition"], names["group"])

    def _number(self, clip: str, condition: str, group: str) -> tuple[int, int] | str:
        number = self.clips.number(clip)
        if number == len(self._group_of):
            self._group_of.append(group)
        elif self._group_of[number] != group:
            return f"group = {shorten(group)}, but the clip's was {shorten(self._group_of[number])} before"
        return number, self.conditions.number(condition)

    def make_spread(self, emotions: Sequence[str], variance: FloatArray, raters: IntArray) -> RaterSpread:
        """The spread, with these [N, C, E]."""
        groups = _Names()
        group = np.array([groups.number(name) for name in self._group_of]) if self.grouped else None
        return RaterSpread(self.clips.all(), self.conditions.all(), tuple(emotions), variance, raters, group)


class _CremaRows(_Rows):
    """The same for CREMA-D: condition by the row's number, clip by its file, group by its actor."""

    def __init__(self, header: Sequence[str]) -> None:
        super().__init__(())
        self._file_at = header.index("fileName")

    @property
    def grouped(self) -> bool:
        return True

    def place(self, cells: Sequence[str]) -> tuple[int, int] | str:
        clip = cells[self._file_at].strip()
        condition = CREMA_D_CONDITIONS.get(cells[0].strip()[:1])
        if condition is None:
            return f"row number {shorten(cells[0])}: expected one that begins with 1, 2 or 3"
        if not clip:
            return "fileName is empty"
        return self._number(clip, condition, clip.partition("_")[0])


def _read_ratings(path: Path, data: bytes, header: list[str]) -> RatingFile:
    """One rating a row."""
    rater_at, emotion_at, intensity_at = (header.index(name) for name in NEEDED[1:])
    rows, raters, emotions = _Rows(header), _Names(), _Names()
    codes, values = array.array("q"), array.array("d")
    bad: list[BadRow] = []
    for line, cells in _list_rows(data, len(header), bad):
        rater, emotion, value = (
            cells[rater_at].strip(),
            cells[emotion_at].strip(),
            parse_number(cells[intensity_at]),
        )
        if not rater or not emotion:
            bad.append(BadRow(line, f"{'emotion' if rater else 'rater'} is empty"))
            continue
        if value is None:
            got = shorten(cells[intensity_at])
            bad.append(BadRow(line, f"intensity = {got}: expected a number from {-MOST:g} to {MOST:g}"))
            continue
        placed = rows.place(cells)
        if isinstance(placed, str):
            bad.append(BadRow(line, placed))
            continue
        codes.extend((*placed, emotions.number(emotion), raters.number(rater), line))
        values.append(value)
    table = np.array(codes, np.int64).reshape(-1, 5)
    shape = (len(rows.clips), len(rows.conditions), len(emotions))
    rating = np.array(values, np.float64)
    cell = (table[:, 0] * shape[1] + table[:, 1]) * shape[2] + table[:, 2]
    rated_by = cell * max(1, len(raters)) + table[:, 3]
    _, first, which = np.unique(rated_by, return_index=True, return_inverse=True)
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
    spread = rows.make_spread(emotions.all(), variance.reshape(shape), count.reshape(shape))
    return RatingFile(spread, len(cell), tuple(bad))


def _read_counts(
    path: Path, data: bytes, header: list[str], rows: _Rows, named: Mapping[str, str]
) -> RatingFile:
    """A row a clip and condition: how many raters chose each emotion (columns ``named`` -> emotions)."""
    counted: dict[tuple[int, int], tuple[int, list[int]]] = {}
    bad: list[BadRow] = []
    for line, cells in _list_rows(data, len(header), bad):
        votes = _count_votes(header, cells, named)
        placed = votes if isinstance(votes, str) else rows.place(cells)
        if isinstance(placed, str) or isinstance(votes, str):
            bad.append(BadRow(line, str(placed)))
        elif placed in counted:
            told = f"the clip's second row in this condition (first: line {counted[placed][0]})"
            bad.append(BadRow(line, told))
        else:
            counted[placed] = line, votes
    bad.sort(key=lambda entry: entry.line)
    if not counted:
        raise DataError(f"{path}: no {'good ' if bad else ''}rows under the header")
    chosen: IntArray = np.zeros((len(rows.clips), len(rows.conditions), len(named)), np.int64)
    for (row, column), (_, votes) in counted.items():
        chosen[row, column] = votes
    raters = np.broadcast_to(chosen.sum(axis=2, keepdims=True), chosen.shape).copy()
    # A vote is 1 for its emotion, 0 for the others; squared distances add up to n p (1 - p), and so the
    # variance is n / (n - 1) p (1 - p).
    variance = find_variance(chosen * (1 - chosen / np.maximum(raters, 1)), raters)
    return RatingFile(rows.make_spread([*named.values()], variance, raters), len(counted), tuple(bad))


def _count_votes(header: Sequence[str], cells: Sequence[str], named: Iterable[str]) -> list[int] | str:
    """Votes of a row, in the order of ``named``, or what is wrong with them."""
    votes = []
    for name in named:
        cell = cells[header.index(name)]
        count = _parse_count(cell)
        if count is None:
            return f"{name} = {shorten(cell)}: expected a count of votes"
        votes.append(count)
    if "numResponses" in header and named is CREMA_D:
        told = cells[header.index("numResponses")]
        if _parse_count(told) != sum(votes):
            return f"numResponses = {shorten(told)}, but the votes add up to {sum(votes)}"
    return votes


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


def _parse_count(cell: str) -> int | None:
    value = parse_number(cell)
    return int(value) if value is not None and value.is_integer() and 0 <= value < 1e9 else None


def write_agreement(found: Agreement, file: IO[bytes]) -> None:
    """Writes :data:`COLUMNS`: a row a mean, then a row a difference (``condition`` minus ``minus``).

    Numbers have 6 decimals; what is unknown is an empty cell.

    Args:
        found: what to write.
        file: open for writing bytes.
    """
    rows: list[Sequence[object]] = [COLUMNS]
    for entry in (*found.means, *found.differences):
        numbers = (entry.raters, entry.value, entry.low, entry.high)
        cells = ["" if math.isnan(number) else f"{round(number, 6) + 0.0:.6g}" for number in numbers]
        emotion = MEAN if entry.emotion is None else entry.emotion
        texts = map(mark_text, (emotion, entry.condition, entry.other or ""))
        rows.append((*texts, entry.clips, *cells))
    file.write(format_rows(rows).encode())
