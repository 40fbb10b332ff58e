"""The result table: its columns, stated once, and its writers.

One row an input, the same in Parquet, JSON lines and CSV:

- numbers are rounded to six decimals in all three, so that they agree to the digit;
- nothing (a score that no source supervised, a fact that is not known) is null; in CSV an empty cell;
- lists (``--per-frame``) are Parquet lists and JSON arrays; in CSV the text of a JSON array;
- in CSV, text that a spreadsheet would take for a formula has an apostrophe in front;
- text is UTF-8; a byte of a file name that is no UTF-8 stands as ``\\xNN``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from moodreel.errors import SettingsError
from moodreel.labels.rows import format_rows, mark_text
from moodreel.runtime.files import replace_file
from moodreel.runtime.schema import SYSTEMS
from moodreel.types import Result

SCHEMA_VERSION = 1
"""Version of the columns below; in Parquet, the file's metadata ``moodreel.schema`` says it."""

SUFFIXES = (".parquet", ".jsonl", ".csv")
"""Formats of ``--out``."""

DECIMALS = 6
"""Decimals of every number in a table."""

ROWS_PER_GROUP = 2048
"""Rows of a Parquet row group: what is held before it is written."""

Row = dict[str, Any]
"""Column name -> str, int, float, list of floats, or None."""


@dataclass(frozen=True)
class Column:
    """One column: its name and kind (``text``, ``integer``, ``number`` or ``numbers``, a list).

    ``bytes`` is for the files between a run and its table (:mod:`moodreel.runtime.parts`), Parquet alone.
    """

    name: str
    kind: str


FACTS = (
    Column("path", "text"),
    Column("status", "text"),
    Column("error", "text"),
    Column("model", "text"),
    Column("model_version", "text"),
    Column("width", "integer"),
    Column("height", "integer"),
    Column("frames", "integer"),
    Column("duration_s", "number"),
    Column("category", "text"),
    Column("confidence", "number"),
    Column("valence", "number"),
    Column("arousal", "number"),
    Column("faces", "integer"),
    Column("attention_x", "number"),
    Column("attention_y", "number"),
)
"""The columns that every system has; its scores follow."""


SCENE_FACTS = (
    Column("face_id", "integer"),
    Column("face_share", "number"),
    Column("fallback", "text"),
)
"""What caca-rnn says beside: which face was read, at what share of the instants it is seen, and why the scene
alone was read."""


def list_columns(system: str, per_frame: bool = False) -> tuple[Column, ...]:
    """Columns of a system's table, in order.

    Args:
        system: a key of :data:`moodreel.runtime.schema.SYSTEMS`.
        per_frame: whether ``frame_times`` (seconds) and a list ``frame_<score>`` a score follow.
    """
    scores = [*SYSTEMS[system].emotions, *(f"p_{name}" for name in SYSTEMS[system].categories)]
    facts = [*FACTS, *(SCENE_FACTS if system == "caca-rnn" else ())]
    columns = [*facts, *(Column(name, "number") for name in scores)]
    if per_frame:
        scores += ["valence"] if system == "sta" else []  # no score of its own, but what it has along time
        columns.append(Column("frame_times", "numbers"))
        columns.extend(Column(f"frame_{name}", "numbers") for name in scores)
    return tuple(columns)


def make_row(result: Result, columns: tuple[Column, ...]) -> Row:
    """One row: every column of the table, in order."""
    peak = result.attention_peak or (None, None)
    scene = result.scene
    values: dict[str, Any] = {
        "path": result.source,
        "status": "ok" if result.ok else "error",
        "error": result.error,
        "model": result.model,
        "model_version": result.model_version,
        "width": result.width,
        "height": result.height,
        "frames": result.frames,
        "duration_s": result.duration,
        "category": result.category,
        "confidence": result.confidence,
        "valence": result.valence,
        "arousal": result.arousal,
        "faces": result.faces,
        "attention_x": peak[0],
        "attention_y": peak[1],
        **({} if scene is None else {"face_id": scene.face, "face_share": scene.share}),
        "fallback": None if scene is None else scene.reason,
        **result.emotions,
        **{f"p_{name}": value for name, value in result.probabilities.items()},
        "frame_times": result.per_frame.get("time_s"),
        **{f"frame_{name}": trace for name, trace in result.per_frame.items() if name != "time_s"},
    }
    return {column.name: _CLEAN[column.kind](values.get(column.name)) for column in columns}


def _clean_text(value: Any) -> str | None:
    return None if value is None else os.fsencode(value).decode("utf-8", "backslashreplace")


def _clean_integer(value: Any) -> int | None:
    return None if value is None else int(value)


def _clean_number(value: Any) -> float | None:
    return None if value is None else round(float(value), DECIMALS) + 0.0  # no minus zero


def _clean_numbers(values: Any) -> list[float] | None:
    return None if values is None else [round(float(value), DECIMALS) + 0.0 for value in values]


_CLEAN = {
    "text": _clean_text,
    "integer": _clean_integer,
    "number": _clean_number,
    "numbers": _clean_numbers,
}


def format_json(row: Row) -> str:
    """A row as one line of JSON, without the newline."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


class TableWriter(Protocol):
    """Takes rows; memory is flat in their number."""

    def write(self, row: Row) -> None:
        """Adds one row, as :func:`make_row` makes it."""
        ...

    def close(self) -> None:
        """Writes what is held. The file itself stays open."""
        ...


def check_suffix(path: Path) -> str:
    """The format of a table's file.

    Raises:
        SettingsError: the name ends in none of :data:`SUFFIXES`.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise SettingsError("out", str(path), "a name that ends in " + ", ".join(SUFFIXES))
    return suffix


@contextmanager
def open_table(
    path: Path, columns: tuple[Column, ...], metadata: Mapping[str, str] | None = None
) -> Iterator[TableWriter]:
    """A writer for a table; the file takes its name when the block ends well, and never before.

    Args:
        path: the format is that of its suffix.
        columns: of the table.
        metadata: further facts for a Parquet file.

    Raises:
        SettingsError: an unknown suffix.
        OSError: the folder is missing or cannot be written.
    """
    suffix = check_suffix(path)
    with replace_file(path) as file:
        writer: TableWriter
        if suffix == ".parquet":
            writer = ParquetWriter(file, columns, metadata or {})
        elif suffix == ".jsonl":
            writer = JsonWriter(file)
        else:
            writer = CsvWriter(file, columns)
        try:
            yield writer
        except BaseException:
            with suppress(Exception):  # the file goes away; let its writer go quietly
                writer.close()
            raise
        writer.close()


class JsonWriter:
    """JSON lines."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, row: Row) -> None:
        """Adds one row."""
        self._file.write(format_json(row).encode() + b"\n")

    def close(self) -> None:
        """Nothing is held."""


class CsvWriter:
    """CSV as in RFC 4180, with a header, lines ending in a newline."""

    def __init__(self, file: IO[bytes], columns: tuple[Column, ...]) -> None:
        self._file = file
        self._file.write(format_rows([[column.name for column in columns]]).encode())

    def write(self, row: Row) -> None:
        """Adds one row."""
        self._file.write(format_rows([[_make_cell(value) for value in row.values()]]).encode())

    def close(self) -> None:
        """Nothing is held."""


def _make_cell(value: Any) -> Any:
    if isinstance(value, str):
        return mark_text(value)
    return json.dumps(value) if isinstance(value, list) else value


class ParquetWriter:
    """Parquet, a row group at a time."""

    def __init__(self, file: IO[bytes], columns: tuple[Column, ...], metadata: Mapping[str, str]) -> None:
        import pyarrow
        import pyarrow.parquet

        kinds = {
            "text": pyarrow.string(),
            "integer": pyarrow.int64(),
            "number": pyarrow.float64(),
            "numbers": pyarrow.list_(pyarrow.float64()),
            "bytes": pyarrow.binary(),
        }
        facts = {"moodreel.schema": str(SCHEMA_VERSION), **metadata}
        fields = [(column.name, kinds[column.kind]) for column in columns]
        self._schema = pyarrow.schema(fields, metadata=facts)
        self._writer = pyarrow.parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._make_batch = pyarrow.RecordBatch.from_pylist
        self._rows: list[Row] = []

    def write(self, row: Row) -> None:
        """Adds one row."""
        self._rows.append(row)
        if len(self._rows) >= ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_batch(self._make_batch(self._rows, schema=self._schema))
            self._rows = []

    def close(self) -> None:
        """Writes the last row group and the footer."""
        try:
            self._flush()
            self._writer.close()
        finally:  # after a failure its __del__ would write again, into a file that is gone
            self._writer.is_open = False
