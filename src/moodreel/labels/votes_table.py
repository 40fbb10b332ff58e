"""Vote files and score files: CSV in, CSV out.

A file of votes is read by Arrow, all columns at once. Whenever that leaves a doubt (a row that is wrong, a
cell that spans lines, bytes that are not UTF-8) the file is read again row by row, which takes some seconds
for millions of rows and tells exactly which lines are wrong. What both ways accept, they read alike.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from moodreel.errors import DataError
from moodreel.labels.votes import CHOICES, DECIMALS, Ratings, Votes

NEEDED = ("emotion", "left", "right", "choice")
"""Columns of a vote file that must be there; ``voter`` and ``time`` may be."""

SCORE_COLUMNS = ("item", "emotion", "mu", "sigma", "score", "votes")
"""Columns of a score file."""

LONGEST = 131_072
"""Characters of a cell, at most: what Python's csv module takes."""


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be counted.

    Attributes:
        line: of the file, from 1 (the header's); of a row of several lines, the first.
        reason: one line.
    """

    line: int
    reason: str


@dataclass(frozen=True, eq=False)
class VoteFile:
    """What a file of votes held.

    Attributes:
        votes: of the good rows, in file order.
        bad: the others, in file order.
    """

    votes: Votes
    bad: tuple[BadRow, ...]


def read_votes(path: str | Path, strict: bool = False) -> VoteFile:
    """Reads a CSV file of votes: columns :data:`NEEDED`, optional ``voter``; all others are left alone.

    UTF-8 with or without a byte order mark, lines that end in LF or CRLF, quoting as in RFC 4180. Blank
    lines are no rows. Ids are texts, taken as they stand.

    Args:
        path: of the file.
        strict: whether the first bad row is an error.

    Raises:
        DataError: the file cannot be read, has no or another header, or no rows; with ``strict`` also when
            a row is bad. The message names file and line.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot read the votes: {error.strerror or error}") from error
    header = _read_header(path, data)
    votes = _read_columns(data, header)
    bad: list[BadRow] = []
    if votes is None:
        has_voters = "voter" in header
        votes = Votes.from_rows(_read_rows(path, data, header, bad, strict), has_voters)
    if not len(votes) and not bad:
        raise DataError(f"{path}: no votes, only a header")
    return VoteFile(votes, tuple(bad))


def _read_header(path: Path, data: bytes) -> list[str]:
    """Names of the columns.

    Raises:
        DataError: there are none, or not the right ones.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{path}: UTF-16 text, expected UTF-8")
    record = next(_Records(data), None)
    if record is None:
        raise DataError(f"{path}: the file is empty")
    line, header = record
    if isinstance(header, str):
        raise DataError(f"{path}:{line}: {header}")
    if not _is_utf8(header):
        raise DataError(f"{path}:{line}: the header is not UTF-8")
    for name in (*NEEDED, "voter"):
        if name in NEEDED and name not in header:
            raise DataError(f"{path}:{line}: column {name!r} is missing (got {', '.join(header)})")
        if header.count(name) > 1:
            raise DataError(f"{path}:{line}: column {name!r} stands there twice")
    return header


def _read_columns(data: bytes, header: Sequence[str]) -> Votes | None:
    """The quick way: all rows, or None when any of them needs a closer look."""
    import pyarrow as pa
    import pyarrow.csv as pc

    is_quoted, breaks = b'"' in data, data.count(b"\n")
    returns = data.count(b"\r")
    if b"\0" in data or (returns and returns != data.count(b"\r\n")) or not _decodes(data):
        return None
    names = [*NEEDED, *(["voter"] if "voter" in header else [])]
    text = pa.dictionary(pa.int32(), pa.string())
    try:
        table = pc.read_csv(
            pa.BufferReader(data),
            pc.ReadOptions(block_size=1 << 22),
            pc.ParseOptions(newlines_in_values=is_quoted),
            pc.ConvertOptions(include_columns=names, column_types=dict.fromkeys(names, text)),
        )
    except pa.ArrowException:
        return None
    # Where cells are quoted, a row may take several lines; a quote that is never closed takes all of them.
    if not table.num_rows or (is_quoted and table.num_rows + 1 != breaks + (not data.endswith(b"\n"))):
        return None
    table = table.unify_dictionaries().combine_chunks()
    columns = [_split_column(table[name]) for name in names]
    if any(len(value) > LONGEST for values, _ in columns for value in values):
        return None
    (emotions, emotion), (lefts, left), (rights, right), (choices, choice) = columns[:4]
    items = tuple(dict.fromkeys([*lefts, *rights]))
    if not set(choices) <= set(CHOICES) or not all(name.strip() for name in (*emotions, *items)):
        return None
    place = {name: number for number, name in enumerate(items)}
    left = np.array([place[name] for name in lefts], np.int32)[left]
    right = np.array([place[name] for name in rights], np.int32)[right]
    if (left == right).any():
        return None
    choice = np.array([CHOICES.index(name) for name in choices], np.int32)[choice]
    if len(columns) < 5:
        return Votes(emotions, items, emotion, left, right, choice)
    known = [name for name in columns[4][0] if name]
    number = {name: k for k, name in enumerate(known)}
    voter = np.array([number.get(name, -1) for name in columns[4][0]], np.int32)[columns[4][1]]
    return Votes(emotions, items, emotion, left, right, choice, tuple(known), voter)


def _split_column(column: Any) -> tuple[tuple[str, ...], Any]:
    """(names, [N] their indices) of a dictionary column in one piece."""
    chunk = column.chunk(0)
    indices = chunk.indices
    # The memory itself (texts are never null here): Arrow's own conversion would import pandas where it is.
    values = np.frombuffer(indices.buffers()[1], np.int32, len(indices), 4 * indices.offset)
    return tuple(chunk.dictionary.to_pylist()), values


def _decodes(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class _Records(Iterator["tuple[int, list[str] | str]"]):
    """Records of a CSV file: (line where it starts, cells, or what is wrong as a text).

    A quote that is never closed would swallow the rest of the file: such a record is wrong, and reading goes
    on with the line after its first.
    """

    def __init__(self, data: bytes) -> None:
        # Bytes that are not UTF-8 come through as surrogates, so that they spoil their own row only.
        self._stream: IO[str] = io.TextIOWrapper(
            io.BytesIO(data), encoding="utf-8-sig", errors="surrogateescape", newline=""
        )
        self._again: list[str] = []  # lines to be read once more, the last first
        self._taken: list[str] = []  # lines of the record at hand
        self._line = 0  # lines of the records before it
        self._ended = False
        self._reader = csv.reader(self._feed())

    def _feed(self) -> Iterator[str]:
        while True:
            line = self._again.pop() if self._again else self._stream.readline()
            if not line:
                self._ended = True
                return
            self._taken.append(line)
            yield line

    def __next__(self) -> tuple[int, list[str] | str]:
        while True:
            fault = ""
            try:
                cells = next(self._reader)
                if self._ended:
                    fault = "a quote is opened and never closed"
            except csv.Error as error:
                fault = f"cannot be read: {error}"
            start = self._line + 1
            if fault:
                self._again += reversed(self._taken[1:])
                self._ended = False
                self._reader = csv.reader(self._feed())
                self._line += 1
            else:
                self._line += len(self._taken)
            self._taken = []
            if fault:
                return start, fault
            if cells:
                return start, cells


def _read_rows(
    path: Path, data: bytes, header: Sequence[str], bad: list[BadRow], strict: bool
) -> Iterator[tuple[str, ...]]:
    """The careful way: yields the needed cells (and the voter) of good rows, adds the others to ``bad``."""
    places = [header.index(name) for name in (*NEEDED, *(["voter"] if "voter" in header else []))]
    records = _Records(data)
    next(records)
    for line, cells in records:
        fault = cells if isinstance(cells, str) else _find_fault(cells, header, places)
        if fault is None:
            yield tuple([cells[place] for place in places])
        elif strict:
            raise DataError(f"{path}:{line}: {fault}")
        else:
            bad.append(BadRow(line, fault))


def _find_fault(cells: list[str], header: Sequence[str], places: Sequence[int]) -> str | None:
    """What is wrong with a row; None when nothing is."""
    if len(cells) != len(header):
        return f"{len(header)} cells expected, got {len(cells)}"
    if not _is_utf8(cells):
        return "not UTF-8"
    emotion, left, right, choice = [cells[place] for place in places[:4]]
    for name, cell in (("emotion", emotion), ("left", left), ("right", right)):
        if not cell.strip():
            return f"{name} is empty"
    if left == right:
        return f"left and right are the same ({_shorten(left)})"
    if choice not in CHOICES:
        return f"choice = {_shorten(choice)}: expected {', '.join(CHOICES)}"
    return None


def _is_utf8(cells: list[str]) -> bool:
    for cell in cells:
        if not cell.isascii() and any("\ud800" <= character <= "\udfff" for character in cell):
            return False
    return True


def _shorten(cell: str, most: int = 60) -> str:
    return repr(cell if len(cell) <= most else cell[:most] + "...")


def write_ratings(ratings: Ratings, file: IO[bytes]) -> None:
    """Writes a score file: columns :data:`SCORE_COLUMNS`, in the order of the ratings.

    Numbers have at most :data:`~moodreel.labels.votes.DECIMALS` digits after the point.

    Args:
        ratings: a row each.
        file: open for writing bytes.
    """
    step = 1 << 16  # rows that are text at once
    for start in range(0, max(len(ratings), 1), step):
        part = slice(start, start + step)
        numbers = (ratings.mu, ratings.sigma, ratings.score)
        columns = [(np.round(values[part], DECIMALS) + 0.0).tolist() for values in numbers]  # + 0: no "-0.0"
        items = [ratings.items[item] for item in ratings.item[part].tolist()]
        emotions = [ratings.emotions[emotion] for emotion in ratings.emotion[part].tolist()]
        stream = io.StringIO(newline="")
        writer = csv.writer(stream, lineterminator="\n")
        if not start:
            writer.writerow(SCORE_COLUMNS)
        writer.writerows(zip(items, emotions, *columns, ratings.votes[part].tolist(), strict=True))
        file.write(stream.getvalue().encode())
