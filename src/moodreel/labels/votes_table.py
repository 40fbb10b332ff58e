"""Vote files and score files: CSV in, CSV out.

A file of votes is read by Arrow, all columns at once. Whenever that leaves a doubt (a row that is wrong, a
cell that spans lines, bytes that are not UTF-8) the file is read again row by row, which takes some seconds
for millions of rows and tells exactly which lines are wrong. What both ways accept, they read alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from moodreel.errors import DataError
from moodreel.labels.rows import (
    BadRow,
    Records,
    format_rows,
    is_utf8,
    mark_text,
    read_bytes,
    read_header,
    shorten,
)
from moodreel.labels.votes import CHOICES, DECIMALS, Ratings, Votes

NEEDED = ("emotion", "left", "right", "choice")
"""Columns of a vote file that must be there; ``voter`` and ``time`` may be."""

SCORE_COLUMNS = ("item", "emotion", "mu", "sigma", "score", "votes")
"""Columns of a score file."""

LONGEST = 131_072
"""Characters of a cell, at most: what Python's csv module takes."""


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
    data = read_bytes(path, "votes")
    header = read_header(path, data, NEEDED, ("voter",))
    votes = _read_columns(data, header)
    bad: list[BadRow] = []
    if votes is None:
        has_voters = "voter" in header
        votes = Votes.from_rows(_read_rows(path, data, header, bad, strict), has_voters)
    if not len(votes) and not bad:
        raise DataError(f"{path}: no votes, only a header")
    return VoteFile(votes, tuple(bad))


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


def _read_rows(
    path: Path, data: bytes, header: Sequence[str], bad: list[BadRow], strict: bool
) -> Iterator[tuple[str, ...]]:
    """The careful way: yields the needed cells (and the voter) of good rows, adds the others to ``bad``."""
    places = [header.index(name) for name in (*NEEDED, *(["voter"] if "voter" in header else []))]
    records = Records(data)
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
    if not is_utf8(cells):
        return "not UTF-8"
    emotion, left, right, choice = [cells[place] for place in places[:4]]
    for name, cell in (("emotion", emotion), ("left", left), ("right", right)):
        if not cell.strip():
            return f"{name} is empty"
    if left == right:
        return f"left and right are the same ({shorten(left)})"
    if choice not in CHOICES:
        return f"choice = {shorten(choice)}: expected {', '.join(CHOICES)}"
    return None


def write_ratings(ratings: Ratings, file: IO[bytes]) -> None:
    """Writes a score file: columns :data:`SCORE_COLUMNS`, in the order of the ratings.

    Numbers have at most :data:`~moodreel.labels.votes.DECIMALS` digits after the point.

    Args:
        ratings: a row each.
        file: open for writing bytes.
    """
    step = 1 << 16  # rows that are text at once
    names, kinds = list(map(mark_text, ratings.items)), list(map(mark_text, ratings.emotions))
    for start in range(0, max(len(ratings), 1), step):
        part = slice(start, start + step)
        numbers = (ratings.mu, ratings.sigma, ratings.score)
        columns = [(np.round(values[part], DECIMALS) + 0.0).tolist() for values in numbers]  # + 0: no "-0.0"
        items = [names[item] for item in ratings.item[part].tolist()]
        emotions = [kinds[emotion] for emotion in ratings.emotion[part].tolist()]
        if not start:
            file.write(format_rows([SCORE_COLUMNS]).encode())
        rows = zip(items, emotions, *columns, ratings.votes[part].tolist(), strict=True)
        file.write(format_rows(rows).encode())
