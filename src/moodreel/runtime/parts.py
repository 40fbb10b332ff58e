"""The rows of a large run, as Parquet files that appear whole or not at all.

A run is a folder of parts and nothing else: there is no journal that could disagree with them. A part holds
some hundred rows of inputs, in the order of the inputs, each with its input's key
(:class:`moodreel.runtime.batch.Key`) and the size and time of change that the file had before it was read.
A part is never changed. What holds of an input is what the newest part says that names it: its rows, or that
it is gone. So a kill at any moment leaves a folder that is right, if not complete; rows that were not yet
written are read again, and rows that were written twice count once. The part that ends a pass over all
inputs says so, in the same file as its rows.
"""

from __future__ import annotations

import heapq
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from moodreel.errors import DataError
from moodreel.runtime.batch import Key
from moodreel.runtime.files import replace_file
from moodreel.runtime.table import SCHEMA_VERSION, Column, ParquetWriter, Row, list_columns, open_table

if TYPE_CHECKING:
    from moodreel.runtime.stores import StorePath

Folder: TypeAlias = "Path | StorePath"
"""Of a run, or in it: on this machine, or on a store."""

PART_NAME = re.compile(r"part-(\d{8})-[0-9a-f]{8}\.parquet")
"""Name of a part: its number, and what keeps two of the same number apart."""

SHARD_NAME = re.compile(r"shard-(\d+)-of-(\d+)")
"""Name of the folder of a shard's parts."""

INPUT_COLUMNS = (
    Column("input_position", "integer"),
    Column("input_root", "bytes"),
    Column("input_inside", "bytes"),
    Column("input_size", "integer"),
    Column("input_mtime_ns", "integer"),
    Column("input_gone", "integer"),
)
"""What a part says of a row's input, after the columns of the table."""


@dataclass(frozen=True)
class RunSettings:
    """What all rows of a run have in common. A run goes on with the same, or not at all.

    Attributes:
        system, model, model_version: of the bundle.
        bundle: sha256 of its ``bundle.json``, which has those of its networks.
        per_frame, abstain, every_face: as the options of ``predict``.
        detector: who finds faces; None where nobody looks.
        paths: the PATH arguments.
        list_sha256: of the list on standard input; None where there is none.
        shard: which one, counted from 1.
        shards: how many.
    """

    system: str
    model: str
    model_version: str
    bundle: str
    per_frame: bool = False
    abstain: float | None = None
    every_face: bool = False
    detector: str | None = None
    paths: tuple[str, ...] = ()
    list_sha256: str | None = None
    shard: int = 1
    shards: int = 1

    def find_difference(self, other: RunSettings, ignore: Sequence[str] = ()) -> str | None:
        """The first field that differs, with both values, in words; None when none does."""
        for field in fields(self):
            ours, theirs = getattr(self, field.name), getattr(other, field.name)
            if field.name not in ignore and ours != theirs:
                return f"{field.name} = {_tell(theirs)}, here {_tell(ours)}"
        return None

    def columns(self) -> tuple[Column, ...]:
        """Columns of the run's table."""
        return list_columns(self.system, self.per_frame)


def _tell(value: Any) -> str:
    return json.dumps(value)


@dataclass(frozen=True)
class Stamp:
    """What tells whether a file is still the one that was read; None where there was none."""

    size: int | None
    mtime_ns: int | None


@dataclass(frozen=True)
class Entry:
    """What one part says of one input.

    Attributes:
        key: of the input.
        stamp: of its file, taken before it was read.
        rows: of the table, one or more; none when the input is gone.
    """

    key: Key
    stamp: Stamp
    rows: Sequence[Row]

    @property
    def is_gone(self) -> bool:
        """Whether the input was no longer there."""
        return not self.rows

    @property
    def failed(self) -> bool:
        """Whether one of the rows is an error."""
        return any(row["status"] != "ok" for row in self.rows)


@dataclass(frozen=True)
class Part:
    """A part's file, as its footer describes it.

    Attributes:
        path: of the file.
        number: the larger, the newer.
        first: key of its first row; None where it has no row.
        completes: whether all inputs had been passed when it was written.
        settings: of its run.
    """

    path: Folder
    number: int
    first: Key | None
    completes: bool
    settings: RunSettings


def write_part(
    folder: Folder,
    number: int,
    entries: Sequence[Entry],
    settings: RunSettings,
    completes: bool,
    mark: str | None = None,
) -> str:
    """Writes one part; when this returns it is on the disk.

    Args:
        folder: of the run.
        number: above that of every part there.
        entries: keys ascending.
        settings: of the run.
        completes: whether all inputs have been passed.
        mark: eight hex digits that keep its name apart from another of this number; None draws them.

    Returns:
        its name.

    Raises:
        OSError: the disk is full, or the folder cannot be written; DataError: the store cannot.
    """
    facts = {
        "moodreel.model": settings.model,
        "moodreel.model_version": settings.model_version,
        "moodreel.run": json.dumps(vars(settings)),
        "moodreel.first": json.dumps(entries[0].key if entries else None),
        "moodreel.completes": json.dumps(completes),
    }
    columns = settings.columns()
    empty = dict.fromkeys(column.name for column in columns)
    path = folder / name_part(number, mark or secrets.token_hex(4))
    with replace_file(path) if isinstance(path, Path) else path.replace() as file:
        writer = ParquetWriter(file, (*columns, *INPUT_COLUMNS), facts)
        try:
            for entry in entries:
                place = {
                    "input_position": entry.key.position,
                    "input_root": os.fsencode(entry.key.root),
                    "input_inside": os.fsencode(entry.key.inside),
                    "input_size": entry.stamp.size,
                    "input_mtime_ns": entry.stamp.mtime_ns,
                    "input_gone": int(entry.is_gone),
                }
                for row in entry.rows or (empty,):
                    writer.write({**row, **place})
        finally:
            writer.close()
    return path.name


def name_part(number: int, mark: str) -> str:
    """Name of a part: its number, and eight hex digits."""
    return f"part-{number:08}-{mark}.parquet"


def list_parts(folder: Folder) -> list[Part]:
    """The parts in a folder, oldest first; other files are left alone.

    Raises:
        DataError: a part cannot be read, is of another version, or the parts are of different runs.
        OSError: the folder cannot be listed.
    """
    names = sorted(path.name for path in folder.iterdir() if PART_NAME.fullmatch(path.name))
    parts = [_open_part(folder / name) for name in names]
    for part in parts[1:]:
        if difference := parts[0].settings.find_difference(part.settings):
            raise DataError(f"{part.path}: of another run than {parts[0].path.name}: {difference}")
    return parts


def _open_part(path: Folder) -> Part:
    """Reads a part's footer."""
    import pyarrow
    import pyarrow.parquet

    try:
        with path.open("rb") as file:
            schema = pyarrow.parquet.read_schema(file)
    except (OSError, pyarrow.ArrowException) as error:
        why = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read ({why}); delete it, and its inputs are read again") from None
    facts = {name.decode(): value.decode() for name, value in (schema.metadata or {}).items()}
    version = facts.get("moodreel.schema")
    if version != str(SCHEMA_VERSION):
        raise DataError(
            f"{path}: schema {version}, this version of moodreel writes {SCHEMA_VERSION}: begin a new folder"
        )
    try:
        settings = json.loads(facts["moodreel.run"])
        settings["paths"] = tuple(settings["paths"])
        first = json.loads(facts["moodreel.first"])
        part = Part(
            path,
            int(path.name[5:13]),
            None if first is None else Key(*first),
            json.loads(facts["moodreel.completes"]),
            RunSettings(**settings),
        )
        expected = [column.name for column in (*part.settings.columns(), *INPUT_COLUMNS)]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: no part of a run that this version wrote ({error})") from None
    if schema.names != expected:
        raise DataError(f"{path}: other columns than this version writes: begin a new folder")
    return part


def read_entries(parts: Sequence[Part], columns: Sequence[str] | None = None) -> Iterator[Entry]:
    """What holds of each input, in the order of the inputs: the newest entry of each key.

    A part is read when the stream comes to its first key, so that the parts of one pass, which follow one
    another, are held one at a time; those of several passes (or shards) lie side by side, one of each.

    Args:
        parts: of one run, or of shards that share no input.
        columns: names of the table's columns to read; None reads all. ``status`` is always read.

    Raises:
        DataError: a part cannot be read.
    """
    waiting = sorted((part for part in parts if part.first is not None), key=_begin, reverse=True)
    heads: list[tuple[Key, int, int, Entry, Iterator[Entry]]] = []
    opened = 0
    last: Key | None = None
    while waiting or heads:
        while waiting and (not heads or _begin(waiting[-1]) <= heads[0][0]):
            part = waiting.pop()
            entries = _read_part(part, columns)
            entry = next(entries)
            opened += 1  # before the entries in the tuple: they have no order
            heapq.heappush(heads, (entry.key, -part.number, opened, entry, entries))
        key, newness, order, entry, entries = heads[0]
        following = next(entries, None)
        if following is None:
            heapq.heappop(heads)
        else:
            heapq.heapreplace(heads, (following.key, newness, order, following, entries))
        if key != last:
            yield entry
        last = key


def _begin(part: Part) -> Key:
    assert part.first is not None
    return part.first


def _read_part(part: Part, columns: Sequence[str] | None) -> Iterator[Entry]:
    """The entries of one part, which is read whole: it has few rows."""
    import pyarrow
    import pyarrow.parquet

    table_names = [column.name for column in part.settings.columns()]
    if columns is not None:
        table_names = [name for name in table_names if name == "status" or name in columns]
    names = [*table_names, *(column.name for column in INPUT_COLUMNS)]
    try:
        with part.path.open("rb") as stream, pyarrow.parquet.ParquetFile(stream) as file:
            table = file.read(columns=names, use_threads=False)
    except (OSError, pyarrow.ArrowException) as error:
        why = " ".join(str(error).split())
        raise DataError(
            f"{part.path}: cannot be read ({why}); delete it, and its inputs are read again"
        ) from None
    key: Key | None = None
    stamp = Stamp(None, None)
    rows: list[Row] = []
    for batch in table.to_batches(max_chunksize=256):
        for row in batch.to_pylist():
            root, inside = os.fsdecode(row["input_root"]), os.fsdecode(row["input_inside"])
            following = Key(row["input_position"], root, inside)
            if key is not None and following != key:
                yield Entry(key, stamp, rows)
                rows = []
            key, stamp = following, Stamp(row["input_size"], row["input_mtime_ns"])
            if not row["input_gone"]:
                rows.append({name: row[name] for name in table_names})
    if key is not None:
        yield Entry(key, stamp, rows)


@dataclass(frozen=True)
class Merged:
    """What :func:`merge_runs` wrote: rows, inputs, and how many of these failed."""

    rows: int
    inputs: int
    failed: int


def find_runs(folder: Folder) -> list[Folder]:
    """The folders with parts: this one, or its shards.

    Raises:
        DataError: there is none, or both.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    entries: list[Folder] = sorted(folder.iterdir(), key=str)
    shards = [path for path in entries if SHARD_NAME.fullmatch(path.name) and path.is_dir()]
    has_parts = any(PART_NAME.fullmatch(path.name) for path in entries)
    if bool(shards) == has_parts:
        what = "parts of a run, and shards beside them" if shards else "no parts of a run"
        raise DataError(f"{folder}: {what}")
    return shards or [folder]


def merge_runs(folders: Sequence[Folder], out: Path, partial: bool = False) -> Merged:
    """Writes the table of a run, or of all shards of one: a row an input, in the order of the inputs.

    Args:
        folders: of runs, or with the folders of shards in them.
        out: the table; the format is that of its suffix.
        partial: takes runs that have not come to their end, and some of the shards.

    Raises:
        DataError: runs of different settings, a shard twice, or one that is missing or unfinished.
        SettingsError: an unknown suffix.
        OSError: a file cannot be written.
    """
    runs = [run for folder in folders for run in find_runs(folder)]
    all_parts = [list_parts(run) for run in runs]
    held = {run: parts for run, parts in zip(runs, all_parts, strict=True) if parts}
    if not held:
        raise DataError(f"{runs[0]}: no part is written yet")
    settings = _check_runs(held)
    if not partial:
        unfinished = [run for run in runs if run not in held or not held[run][-1].completes]
        if unfinished:
            raise DataError(f"{unfinished[0]}: not finished: go on with predict --resume, or merge --partial")
        missing = set(range(1, settings.shards + 1)) - {parts[0].settings.shard for parts in held.values()}
        if missing:
            raise DataError(f"shard {min(missing)}/{settings.shards} is missing (--partial merges without)")
    facts = {"moodreel.model": settings.model, "moodreel.model_version": settings.model_version}
    rows = inputs = failed = 0
    with open_table(out, settings.columns(), facts) as writer:
        for entry in read_entries([part for parts in held.values() for part in parts]):
            for row in entry.rows:
                writer.write(row)
            rows += len(entry.rows)
            inputs += not entry.is_gone
            failed += entry.failed
    return Merged(rows, inputs, failed)


def _check_runs(held: Mapping[Folder, Sequence[Part]]) -> RunSettings:
    """The settings that all runs share, up to the shard."""
    seen: dict[int, Folder] = {}
    (first, parts), *_ = held.items()
    settings = parts[0].settings
    for run, parts in held.items():
        other = parts[0].settings
        if difference := settings.find_difference(other, ignore=["shard"]):
            raise DataError(f"{run}: of another run than {first}: {difference}")
        if other.shard in seen:
            what = f"shard {other.shard}/{other.shards}" if other.shards > 1 else "one run"
            raise DataError(f"{run}: {what} again, after {seen[other.shard]}")
        seen[other.shard] = run
    return settings
