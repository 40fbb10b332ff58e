"""Rows of CSV label files, read one by one: which are wrong, where, and why."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from moodreel.errors import DataError

MOST = 1e15
"""Largest number of a label file, either way: squares and sums of such stay finite."""


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be counted.

    Attributes:
        line: of the file, from 1 (the header's); of a row of several lines, the first.
        reason: one line.
    """

    line: int
    reason: str


def parse_number(cell: str) -> float | None:
    """The number in a cell; None where it is none, or beyond :data:`MOST`."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if abs(value) <= MOST and "_" not in cell else None  # NaN is not


def read_bytes(path: Path, what: str) -> bytes:
    """The content of a label file.

    Args:
        path: of the file.
        what: it holds, in words: "votes".

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot read the {what}: {error.strerror or error}") from error


def read_header(path: Path, data: bytes, needed: Sequence[str], once: Sequence[str] = ()) -> list[str]:
    """Names of the columns of a CSV file.

    Args:
        path: for messages.
        data: of the file.
        needed: columns that must be there, once.
        once: columns that may be there, but once.

    Raises:
        DataError: there is no header, or not the right one.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{path}: UTF-16 text, expected UTF-8")
    record = next(Records(data), None)
    if record is None:
        raise DataError(f"{path}: the file is empty")
    line, header = record
    if isinstance(header, str):
        raise DataError(f"{path}:{line}: {header}")
    if not is_utf8(header):
        raise DataError(f"{path}:{line}: the header is not UTF-8")
    for name in (*needed, *once):
        if name in needed and name not in header:
            raise DataError(f"{path}:{line}: column {name!r} is missing (got {', '.join(header)})")
        if header.count(name) > 1:
            raise DataError(f"{path}:{line}: column {name!r} stands there twice")
    return header


class Records(Iterator["tuple[int, list[str] | str]"]):
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


def is_utf8(cells: Sequence[str]) -> bool:
    """Whether cells of :class:`Records` hold no byte that was not UTF-8."""
    for cell in cells:
        if not cell.isascii() and any("\ud800" <= character <= "\udfff" for character in cell):
            return False
    return True


def shorten(cell: str, most: int = 60) -> str:
    """A cell as a message quotes it."""
    return repr(cell if len(cell) <= most else cell[:most] + "...")


FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What begins a cell that a spreadsheet takes for a formula, or cuts to one."""


def mark_text(text: str) -> str:
    """A text as a cell that no spreadsheet computes: an apostrophe in front of what begins as a formula.

    What would look as if it had been marked gets one more, so that :func:`unmark_text` gives back any text.
    """
    return f"'{text}" if text.lstrip("'").startswith(FORMULA) else text


def unmark_text(cell: str) -> str:
    """The text of a cell that :func:`mark_text` made."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(FORMULA) else cell


def format_rows(rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV (RFC 4180), lines ending in a newline.

    Python's writer leaves a carriage return bare where lines end in a newline, and its reader then finds two
    rows in one.
    """
    kept = list(rows)
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows(kept)
    text = stream.getvalue()
    return text if "\r" not in text else "".join(map(_format_row, kept))


def _format_row(row: Sequence[object]) -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\r\n").writerow(row)
    return stream.getvalue()[:-2] + "\n"
