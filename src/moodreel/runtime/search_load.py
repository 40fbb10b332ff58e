"""Reading a result table to search in it: a file of any of the formats, or the folder of a run.

What is wrong with a file is said with its name: no table, another version, a column missing or of another
kind. Lists (``--per-frame``) are left out, and so are columns that are neither text nor number; further
columns of text or numbers stay.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moodreel.errors import DataError
from moodreel.runtime.parts import INPUT_COLUMNS, Part, find_runs, list_parts
from moodreel.runtime.schema import SYSTEMS
from moodreel.runtime.table import FACTS, SCHEMA_VERSION, SUFFIXES, Column, list_columns

KNOWN = {
    column.name: column for system in SYSTEMS for column in list_columns(system) if column.kind != "numbers"
}
"""Columns of any system's table."""

LISTS = re.compile(r"frame_.*")
"""Names of the lists of ``--per-frame``."""

TEXT_BYTES = 48
"""Memory of a text, roughly."""


@dataclass(frozen=True)
class Loaded:
    """A table in memory.

    Attributes:
        columns: texts, integers and numbers, in the order of the file.
        rows: a ``pyarrow.Table`` of these columns.
        is_complete: False for a run that has not come to its end, or lacks a shard.
    """

    columns: tuple[Column, ...]
    rows: Any
    is_complete: bool = True


def load_table(path: Path, limit: int) -> Loaded:
    """Reads a table.

    Args:
        path: ``.parquet``, ``.jsonl`` or ``.csv`` as ``predict`` and ``merge`` write them, or the folder of
            a run or of its shards: the newest rows of each input, in the order of the inputs.
        limit: bytes that the rows may take, roughly; checked before they are read where that can be told.

    Raises:
        DataError: it is no such table, of another version, lacks a column, or is too large.
    """
    import pyarrow

    is_complete = True
    try:
        if path.is_dir():
            rows, is_complete = _read_runs(path, limit)
        elif not path.exists():
            raise DataError(f"{path}: no such file")
        elif path.suffix.lower() not in SUFFIXES:
            raise DataError(f"{path}: no table: expected {', '.join(SUFFIXES)} or the folder of a run")
        elif path.suffix.lower() == ".parquet":
            rows = _read_parquet(path, limit)
        else:
            if path.stat().st_size > limit:
                raise DataError(f"{path}: too large to search in memory ({limit >> 20} MB); use .parquet")
            rows = _read_csv(path) if path.suffix.lower() == ".csv" else _read_json(path)
        columns, rows = _clean(path, rows)
        rows.validate(full=True)  # also that texts are UTF-8, which readers do not look at
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: cannot be read as a table ({' '.join(str(error).split())})") from None
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or ' '.join(str(error).split())})"
        ) from None
    return Loaded(columns, rows, is_complete)


def _is_searched(name: str, kind: Any) -> bool:
    """Whether a column can be searched, by its Arrow type."""
    import pyarrow.types as types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return any(
        check(kind)
        for check in (
            types.is_string,
            types.is_large_string,
            types.is_integer,
            types.is_floating,
            types.is_null,
        )
    )


def _clean(path: Path, rows: Any) -> tuple[tuple[Column, ...], Any]:
    """The columns to search, each of one of three types; checks that it is a result table."""
    import pyarrow
    import pyarrow.compute as compute
    import pyarrow.types as types

    names: list[str] = rows.column_names
    for fact in FACTS:
        if fact.name not in names:
            raise DataError(f"{path}: no result table: column {fact.name!r} is missing")
    columns, values = [], []
    for name, column in zip(names, rows.columns, strict=True):
        known = KNOWN.get(name)
        if names.count(name) > 1:
            raise DataError(f"{path}: column {name!r} stands there twice")
        if not name or not _is_searched(name, column.type):
            if known is not None:
                raise DataError(f"{path}: column {name!r}: expected {known.kind}, got {column.type}")
            continue
        if types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if known is None:
            is_text = types.is_string(column.type) or types.is_large_string(column.type)
            if types.is_null(column.type):
                continue
            known = Column(
                name, "text" if is_text else "integer" if types.is_integer(column.type) else "number"
            )
        kind = {"text": pyarrow.string(), "integer": pyarrow.int64(), "number": pyarrow.float64()}[known.kind]
        try:
            column = column.cast(kind)
        except pyarrow.ArrowException:
            raise DataError(f"{path}: column {name!r}: expected {known.kind}, got {column.type}") from None
        if known.kind == "number":
            column = compute.if_else(compute.is_finite(column), column, None)
        columns.append(known)
        values.append(column)
    return tuple(columns), pyarrow.table(values, names=[column.name for column in columns])


def _check_size(path: Path, schema: Any, rows: int, limit: int) -> list[str]:
    """Names of the columns to read. Raises DataError where they would take too much memory."""
    import pyarrow.types as types

    names = [field.name for field in schema if _is_searched(field.name, field.type)]
    sizes = [8 if not types.is_string(schema.field(name).type) else TEXT_BYTES for name in set(names)
             if names.count(name) == 1]  # fmt: skip
    if rows * sum(sizes) > limit:
        raise DataError(f"{path}: {rows:,} rows are too many to search in memory ({limit >> 20} MB)")
    return names


def _read_parquet(path: Path, limit: int) -> Any:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        facts = file.schema_arrow.metadata or {}
        if b"moodreel.run" in facts:
            raise DataError(f"{path}: a part of a run: name its folder")
        version = facts.get(b"moodreel.schema")
        if version is not None and version != str(SCHEMA_VERSION).encode():
            told = version.decode("utf-8", "replace")
            raise DataError(f"{path}: schema {told}, this version of moodreel reads {SCHEMA_VERSION}")
        _check_size(path, file.schema_arrow, file.metadata.num_rows, limit)
        known = [name for name in file.schema_arrow.names if name in KNOWN]
        names = [field.name for field in file.schema_arrow if _is_searched(field.name, field.type)]
        return file.read(columns=list(dict.fromkeys([*names, *known])))


def _read_csv(path: Path) -> Any:
    import pyarrow
    import pyarrow.csv

    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        header = next(csv.reader(file), None)
    if header is None:
        raise DataError(f"{path}: the file is empty")
    kinds = _list_types()
    for name in header:
        if header.count(name) > 1:
            raise DataError(f"{path}: column {name!r} stands there twice")
    convert = pyarrow.csv.ConvertOptions(
        column_types=kinds,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
        include_columns=[name for name in header if name in KNOWN or not LISTS.fullmatch(name)],
    )
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    return pyarrow.csv.read_csv(path, parse_options=parse, convert_options=convert)


def _list_types() -> dict[str, Any]:
    import pyarrow

    kinds = {"text": pyarrow.string(), "integer": pyarrow.int64(), "number": pyarrow.float64()}
    return {name: kinds[column.kind] for name, column in KNOWN.items()}


def _read_json(path: Path) -> Any:
    import pyarrow
    import pyarrow.json

    with path.open("rb") as file:
        first = file.readline()
    if not first.strip():
        raise DataError(f"{path}: the file is empty")
    # The first row has all columns, in their order; a typed one that it lacks would be added.
    probe = pyarrow.json.read_json(pyarrow.BufferReader(first))
    types = {name: kind for name, kind in _list_types().items() if name in probe.column_names}
    return pyarrow.json.read_json(
        path,
        pyarrow.json.ReadOptions(block_size=max(1 << 22, 2 * len(first))),
        pyarrow.json.ParseOptions(explicit_schema=pyarrow.schema(types.items())),
    ).select(probe.column_names)


def _read_runs(folder: Path, limit: int) -> tuple[Any, bool]:
    """The rows of a run, or of all shards of one, and whether it is at its end."""
    import pyarrow
    import pyarrow.parquet

    runs = [list_parts(run) for run in find_runs(folder)]
    held = [parts for parts in runs if parts]
    if not held:
        raise DataError(f"{folder}: no part is written yet")
    settings = held[0][0].settings
    for parts in held:
        if difference := settings.find_difference(parts[0].settings, ignore=["shard"]):
            raise DataError(f"{parts[0].path}: of another run than {held[0][0].path}: {difference}")
    names = [column.name for column in settings.columns() if column.kind != "numbers"]
    names += [column.name for column in INPUT_COLUMNS]
    tables, room = [], limit
    for part in (part for parts in held for part in parts):
        table = _read_part(part, names)
        room -= table.nbytes
        if room < 0:
            raise DataError(f"{folder}: too many rows to search in memory ({limit >> 20} MB)")
        number = pyarrow.array(np.full(table.num_rows, part.number))
        tables.append(table.append_column("number", number))
    is_complete = len(held) == settings.shards and all(parts[-1].completes for parts in held)
    return _keep_newest(pyarrow.concat_tables(tables)), is_complete


def _read_part(part: Part, names: Sequence[str]) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(part.path) as file:
            return file.read(columns=names)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{part.path}: cannot be read ({' '.join(str(error).split())})") from None


def _keep_newest(rows: Any) -> Any:
    """Of each input the rows of the newest part that names it, none where that says it is gone."""
    import pyarrow
    import pyarrow.compute as compute

    key = ["input_position", "input_root", "input_inside"]
    rows = rows.append_column("place", pyarrow.array(np.arange(rows.num_rows)))
    order = compute.sort_indices(rows, [(name, "ascending") for name in (*key, "number", "place")])
    rows = rows.take(order).combine_chunks()
    count = rows.num_rows
    begins = np.zeros(count, np.bool_)
    begins[:1] = True
    for name in key:
        column = rows[name]
        begins[1:] |= compute.not_equal(column.slice(1), column.slice(0, max(count - 1, 0))).to_numpy()
    starts = np.flatnonzero(begins)
    sizes = np.diff(np.append(starts, count))
    numbers = rows["number"].to_numpy()
    newest = np.repeat(numbers[starts + sizes - 1], sizes)
    is_there = rows["input_gone"].to_numpy() == 0
    kept = rows.filter(pyarrow.array((numbers == newest) & is_there))
    return kept.drop_columns(["number", "place", *(column.name for column in INPUT_COLUMNS)])
