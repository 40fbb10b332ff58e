"""Training and evaluation data as a table: one row a clip.

Columns: ``clip`` (path, relative to the manifest), ``group`` (person, show, emoji: what must not cross a
split), optional ``split`` (train | val | test; where no row states one, groups are split by their names),
then any of ``score_<emotion>`` in [-1, 1], ``label_<vocabulary>``, ``keypoints`` (path), ``trace`` (path). An
empty cell is a missing label; other columns are left alone.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from moodreel.emotions import GIFGIF_17, VOCABULARIES
from moodreel.errors import DataError
from moodreel.runtime.files import replace_file

SPLITS = ("train", "val", "test")

UNSTATED_SHARES = (0.1, 0.2)
"""Shares of validation and test where a manifest states no split at all; by group, see split_by_group."""


@dataclass(frozen=True)
class Row:
    """One clip of a manifest.

    Attributes:
        clip: path of the media file.
        group: what must not cross a split.
        split: "train", "val", "test", or None.
        scores: GIFGIF emotion -> [-1, 1]; emotions without a label are absent.
        labels: vocabulary -> class name; absent where unlabelled.
        keypoints, trace: path of the file with them, or None.
    """

    clip: Path
    group: str
    split: str | None = None
    scores: dict[str, float] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    keypoints: Path | None = None
    trace: Path | None = None


@dataclass(frozen=True)
class Manifest:
    """Rows of one data set, with where they came from.

    Attributes:
        path: file the rows were read from.
        rows: in file order.
        digest: sha256 of the manifest file (hex).
    """

    path: Path
    rows: tuple[Row, ...]
    digest: str

    @property
    def name(self) -> str:
        """Short name for logs and cards: the manifest's folder, or its stem."""
        path = self.path.resolve()
        return path.parent.name if path.stem == "manifest" else path.stem

    def count_rows(self) -> dict[str, int]:
        """Rows of each split; those without one are not counted."""
        return {split: sum(row.split == split for row in self.rows) for split in SPLITS}

    def select(self, split: str) -> list[Row]:
        """Rows of one split.

        Raises:
            DataError: there is none.
        """
        rows = [row for row in self.rows if row.split == split]
        if not rows:
            raise DataError(f"{self.path}: no row with split = {split!r}")
        return rows


def read_manifest(path: str | Path) -> Manifest:
    """Reads and checks a manifest (.csv or .parquet).

    Raises:
        DataError: names file, line and column of the first thing that is wrong; a group that stands in
            two splits is a leak and is refused too.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot read the manifest: {error.strerror}") from error
    table = _parquet_records(path) if path.suffix == ".parquet" else _csv_records(path, content)
    rows: list[Row] = []
    splits: dict[str, str] = {}
    lines: dict[str, int] = {}  # of each clip
    for line, record in table:
        row = _parse_row(path, line, record)
        clip = os.path.normpath(row.clip)
        if lines.setdefault(clip, line) != line:
            raise DataError(f"{path}:{line}: clip {record['clip']!r} stands in line {lines[clip]} already")
        if row.split is not None and splits.setdefault(row.group, row.split) != row.split:
            raise DataError(
                f"{path}:{line}: group {row.group!r} stands in {splits[row.group]} and {row.split}: a leak"
            )
        rows.append(row)
    if not rows:
        raise DataError(f"{path}: the manifest has no rows")
    if not splits:
        rows = [replace(row, split=split_by_group(row.group, *UNSTATED_SHARES)) for row in rows]
    return Manifest(path, tuple(rows), hashlib.sha256(content).hexdigest())


def split_by_group(group: str, val: float, test: float) -> str:
    """Split of a group, from a hash of its name: stable when other groups come or go.

    Args:
        group: name of the group.
        val, test: shares in [0, 1].
    """
    digest = hashlib.sha256(f"moodreel split\0{group}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < test:
        return "test"
    return "val" if place < test + val else "train"


def _csv_records(path: Path, content: bytes) -> Iterable[tuple[int, dict[str, str]]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        _check_columns(path, reader.fieldnames or [])
        for record in reader:
            if None in record or None in record.values():
                raise DataError(f"{path}:{reader.line_num}: {len(reader.fieldnames or [])} cells expected")
            yield reader.line_num, record
    except csv.Error as error:  # a cell without an end, say
        raise DataError(f"{path}:{reader.line_num}: cannot be read: {error}") from error


def _parquet_records(path: Path) -> Iterable[tuple[int, dict[str, str]]]:
    import pyarrow.lib
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pyarrow.lib.ArrowException) as error:
        raise DataError(f"{path}: cannot read the manifest: {error}") from error
    _check_columns(path, table.column_names)
    for number, record in enumerate(table.to_pylist(), start=1):
        yield number, {k: "" if v is None else str(v) for k, v in record.items()}


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    missing = [name for name in ("clip", "group") if name not in columns]
    if missing:
        raise DataError(f"{path}: column {missing[0]!r} is missing (got {', '.join(columns) or 'none'})")
    for name in columns:
        if columns.count(name) > 1:
            raise DataError(f"{path}: column {name!r} stands there twice")
        kind, _, rest = name.partition("_")
        if kind in ("scores", "labels"):
            raise DataError(f"{path}: column {name!r}: did you mean {kind[:-1]}_{rest}?")
        if kind == "score" and rest not in GIFGIF_17:
            raise DataError(f"{path}: column {name!r}: {rest!r} is none of the 17 GIFGIF emotions")
        if kind == "label" and rest not in VOCABULARIES:
            raise DataError(f"{path}: column {name!r}: vocabulary must be one of {', '.join(VOCABULARIES)}")


def _parse_row(path: Path, line: int, record: dict[str, str]) -> Row:
    where = f"{path}:{line}"
    if not record["clip"] or not record["group"]:
        raise DataError(f"{where}: clip and group must not be empty")
    split = record.get("split") or None
    if split is not None and split not in SPLITS:
        raise DataError(f"{where}: split = {split!r}: expected one of {', '.join(SPLITS)}, or empty")
    scores: dict[str, float] = {}
    labels: dict[str, str] = {}
    for name, cell in record.items():
        kind, _, rest = name.partition("_")
        if cell == "":
            continue
        if kind == "score":
            try:
                value = float(cell)
            except ValueError:
                value = math.nan
            if not -1 <= value <= 1:
                raise DataError(f"{where}: {name} = {cell!r}: expected a number in [-1, 1], or empty")
            scores[rest] = value
        elif kind == "label":
            if cell not in VOCABULARIES[rest]:
                raise DataError(f"{where}: {name} = {cell!r}: not in the vocabulary {rest!r}")
            labels[rest] = cell
    base = path.parent
    return Row(
        clip=base / record["clip"],
        group=record["group"],
        split=split,
        scores=scores,
        labels=labels,
        keypoints=base / record["keypoints"] if record.get("keypoints") else None,
        trace=base / record["trace"] if record.get("trace") else None,
    )


def write_manifest(
    path: Path, rows: Iterable[Row], extra: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> None:
    """Writes rows as CSV; columns that nobody uses are left out.

    Paths are relative to the manifest's folder where they lie in it, and absolute elsewhere.

    Args:
        path: file.
        rows: in the order in which they are written.
        extra: further columns, name -> a cell a row; no reader of manifests minds them.
    """
    rows = list(rows)
    scores = [e for e in GIFGIF_17 if any(e in row.scores for row in rows)]
    labels = [v for v in VOCABULARIES if any(v in row.labels for row in rows)]
    files = [name for name in ("keypoints", "trace") if any(getattr(row, name) for row in rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as file:
        stream = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(stream)
        header = ["clip", "group", "split", *(f"score_{e}" for e in scores), *(f"label_{v}" for v in labels)]
        writer.writerow([*header, *extra, *files])
        for row, *further in zip(rows, *extra.values(), strict=True):
            cells = [_write_path(row.clip, path), row.group, row.split or ""]
            cells += [f"{row.scores[e]:g}" if e in row.scores else "" for e in scores]
            cells += [row.labels.get(v, "") for v in labels]
            cells += further
            cells += [_write_path(getattr(row, f), path) if getattr(row, f) else "" for f in files]
            writer.writerow(cells)
        stream.detach()


def _write_path(file: Path, manifest: Path) -> str:
    if file.is_relative_to(manifest.parent):
        return file.relative_to(manifest.parent).as_posix()
    return str(file.absolute())
