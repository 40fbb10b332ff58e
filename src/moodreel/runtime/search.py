"""Searching in a result table: filters and free queries, order, "more like this", what lies near a mood.

The table is read into memory once and never written to. Conditions are answered by DuckDB, in a database of
its own in memory, without access to files or the network and with its settings locked; sorting, distances
and rows by Arrow and numpy. See docs/search.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from moodreel.emotions import QUADRANTS
from moodreel.errors import DataError, SettingsError, require
from moodreel.runtime.query import (
    And,
    Between,
    Compare,
    Condition,
    Name,
    Number,
    Text,
    find_kind,
    list_names,
)
from moodreel.runtime.query_parser import parse_query, parse_value, tell_near
from moodreel.runtime.schema import SYSTEMS
from moodreel.runtime.search_index import Index, IndexArray, Ranking, Recent
from moodreel.runtime.search_load import Loaded, load_table
from moodreel.runtime.table import Row
from moodreel.types import FloatArray

MEMORY_MB = 2048
"""Memory that a table may take, and DuckDB as much again."""


@dataclass(frozen=True)
class Hit:
    """A row that was found.

    Attributes:
        row: its number in the table, from 0.
        values: column -> text, int, float or None, in the order of the table's columns.
        distance: from what was asked for, of :meth:`Table.similar` and :meth:`Table.near`; else None.
    """

    row: int
    values: Row
    distance: float | None = None


@dataclass(frozen=True)
class Page:
    """Some of the rows that were found.

    Attributes:
        rows: at most as many as asked for.
        total: how many were found in all.
        offset: how many of them come before.
    """

    rows: tuple[Hit, ...]
    total: int
    offset: int = 0


@dataclass(frozen=True, eq=False)
class Positions:
    """Rows on the circumplex.

    Attributes:
        row: [M] numbers of rows, ascending.
        valence, arousal: [M] in [-1, 1].
    """

    row: IndexArray
    valence: FloatArray
    arousal: FloatArray


def open_table(path: str | Path, *, memory_mb: int = MEMORY_MB) -> Table:
    """Opens a result table for searching.

    Args:
        path: ``.parquet``, ``.jsonl``, ``.csv``, or the folder of a run (``predict --out DIR``), finished or
            not. Read now; later changes of the file are not seen.
        memory_mb: megabytes that its rows may take, and DuckDB beside them.

    Raises:
        DataError: the file is no result table, of another version, lacks a column, or is too large.
        MissingExtra: DuckDB is not installed.
    """
    require(memory_mb >= 64, "memory_mb", memory_mb, "at least 64")
    path = Path(path)
    return Table(path, load_table(path, memory_mb << 20), memory_mb)


class Table:
    """A result table to search in; several threads may.

    Attributes:
        path: as it was opened.
        columns: texts, integers and numbers, in the order of the file; lists are left out.
        count: rows.
        scores: columns of the emotion vector that :meth:`similar` compares: intensities where the table has
            them, else probabilities, else valence; those with a value in some row.
        is_complete: False for a run that has not come to its end.
    """

    def __init__(self, path: Path, loaded: Loaded, memory_mb: int) -> None:
        self.path = path
        self.columns = loaded.columns
        self.count: int = loaded.rows.num_rows
        self.is_complete = loaded.is_complete
        self._rows = loaded.rows
        self._named = {column.name: column for column in loaded.columns}
        self.scores = self._choose_scores()
        self._numbers: dict[str, FloatArray] = {}
        self._kept: Recent[Ranking] = Recent()
        self._index = Index(path, loaded, memory_mb)

    def __enter__(self) -> Table:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Frees what DuckDB holds."""
        self._index.close()

    @property
    def has_quadrants(self) -> bool:
        """Whether categories are quadrants of the circumplex: the tables of ``kavan``."""
        return all(f"p_{name}" in self._named for name in QUADRANTS)

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest value of each column of numbers that has any."""
        found = {}
        for column in self.columns:
            if column.kind != "text":
                values = self._column(column.name)
                if not np.isnan(values).all():
                    found[column.name] = (float(np.nanmin(values)), float(np.nanmax(values)))
        return found

    def search(
        self,
        query: str | None = None,
        *,
        sort: str | None = None,
        descending: bool | None = None,
        quadrant: str | None = None,
        ranges: Mapping[str, tuple[float, float]] = {},
        offset: int = 0,
        limit: int = 100,
    ) -> Page:
        """Rows of which all conditions are true.

        Args:
            query: in the language of :mod:`moodreel.runtime.query_parser`; None or blank: all rows.
            sort: a column, or a sum of columns; None: the order of the table. Missing values come last,
                equal ones stay in the order of the table.
            descending: highest first; None: numbers are, texts are not. Without ``sort``: the last row first.
            quadrant: only rows of this category, one of :data:`moodreel.emotions.QUADRANTS`.
            ranges: column -> (lowest, highest), both included; rows without a value are left out.
            offset: how many of the rows found to pass over.
            limit: how many to return at most.

        Raises:
            QueryError: of ``query`` or ``sort``.
            SettingsError: of another argument.
        """
        return self._page(self._find(query, sort, descending, quadrant, ranges), offset, limit)

    def similar(
        self,
        row: int,
        limit: int = 100,
        *,
        query: str | None = None,
        quadrant: str | None = None,
        ranges: Mapping[str, tuple[float, float]] = {},
        offset: int = 0,
    ) -> Page:
        """ "More like this": the rows whose emotion vector is nearest to that of one, itself left out.

        The distance of two rows is the root of the mean squared difference of their scores, over the columns
        of :attr:`scores` in which the row asked for has a value: 0 for the same, in the scores' own unit (of
        intensities at most 2). Nothing is rescaled: an emotion that varies more among the clips counts more.
        A row that lacks one of these scores, as one that could not be read does, has no distance and is left
        out. Equally near rows come in the order of the table.

        Args:
            row: its number, :attr:`Hit.row`.
            limit, query, quadrant, ranges, offset: as of :meth:`search`.

        Raises:
            DataError: the row has no scores.
            QueryError, SettingsError: of an argument.
        """
        require(0 <= row < self.count, "row", row, f"a row of the table, 0 to {self.count - 1}")
        here = {name: float(self._column(name)[row]) for name in self.scores}
        known = {name: value for name, value in here.items() if not math.isnan(value)}
        if not known:
            values = self.get(row).values
            why = f" ({values['error']})" if values["error"] else ""
            raise DataError(f"{self.path}: row {row}, {values['path']}: has no scores to compare{why}")
        found = self._near(known, self._ask(query, quadrant, ranges), row)
        return self._page(found, offset, limit, 1.0)

    def near(
        self,
        valence: float,
        arousal: float,
        limit: int = 100,
        *,
        query: str | None = None,
        quadrant: str | None = None,
        ranges: Mapping[str, tuple[float, float]] = {},
        offset: int = 0,
    ) -> Page:
        """The rows nearest to a place on the circumplex.

        Args:
            valence, arousal: the place, each in [-1, 1]; distances are straight lines.
            limit, query, quadrant, ranges, offset: as of :meth:`search`. Rows without valence or arousal have
                no place and are left out.

        Raises:
            QueryError, SettingsError: of an argument.
        """
        place = {"valence": valence, "arousal": arousal}
        for name, value in place.items():
            require(-1 <= value <= 1, name, value, "a number from -1 to 1")
        found = self._near(place, self._ask(query, quadrant, ranges), None)
        # The mean square over two axes is half the square of the distance.
        return self._page(found, offset, limit, math.sqrt(2))

    def positions(
        self,
        query: str | None = None,
        *,
        quadrant: str | None = None,
        ranges: Mapping[str, tuple[float, float]] = {},
    ) -> Positions:
        """Where the rows that :meth:`search` finds lie on the circumplex; those with valence and arousal."""
        rows = self._index.match(self._ask(query, quadrant, ranges))
        valence, arousal = self._column("valence")[rows], self._column("arousal")[rows]
        there = ~(np.isnan(valence) | np.isnan(arousal))
        return Positions(rows[there], valence[there], arousal[there])

    def get(self, row: int) -> Hit:
        """One row.

        Raises:
            SettingsError: there is no such row.
        """
        require(0 <= row < self.count, "row", row, f"a row of the table, 0 to {self.count - 1}")
        return Hit(row, self._rows.slice(row, 1).to_pylist()[0])

    def find(self, path: str) -> int | None:
        """The first row of a path, or of the only path that ends in ``/`` and it; None where there is none.

        Raises:
            DataError: several paths end in it.
        """
        paths: list[str | None] = self._rows["path"].to_pylist()
        if path in paths:
            return paths.index(path)
        ends = [row for row, each in enumerate(paths) if each is not None and each.endswith("/" + path)]
        if len({paths[row] for row in ends}) > 1:
            raise DataError(f"{self.path}: {len(ends)} rows end in {path!r}, the first is {paths[ends[0]]!r}")
        return ends[0] if ends else None

    def parse(self, query: str | None) -> Condition | None:
        """The tree of a query; None of a blank one.

        Raises:
            QueryError: it cannot be understood.
        """
        return parse_query(query, self.columns) if query and query.strip() else None

    def list_columns(self, query: str | None) -> list[str]:
        """The columns that a query names, in the order in which it does."""
        tree = self.parse(query)
        return [] if tree is None else list(dict.fromkeys(list_names(tree)))

    def _choose_scores(self) -> tuple[str, ...]:
        def has_values(name: str) -> bool:
            return name in self._named and self._rows[name].null_count < self.count

        kinds = [
            *(system.emotions for system in SYSTEMS.values()),
            *(tuple(f"p_{name}" for name in system.categories) for system in SYSTEMS.values()),
            ("valence", "arousal"),
        ]
        chosen = (tuple(filter(has_values, names)) for names in kinds)
        return next((names for names in chosen if names), ())

    def _column(self, name: str) -> FloatArray:
        """[N] numbers of a column, NaN for null."""
        held = self._numbers.get(name)
        if held is None:
            held = self._rows[name].cast("float64", safe=False).to_numpy()
            self._numbers[name] = held
        return held

    def _ask(
        self, query: str | None, quadrant: str | None, ranges: Mapping[str, tuple[float, float]]
    ) -> Condition | None:
        """All conditions as one; None where there is none."""
        tree = self.parse(query)
        parts = [] if tree is None else [tree]
        if quadrant is not None:
            require(quadrant in QUADRANTS, "quadrant", quadrant, "one of " + ", ".join(QUADRANTS))
            require(self.has_quadrants, "quadrant", quadrant, "a table with quadrants, as kavan makes it")
            parts.append(Compare("=", Name(self._named["category"]), Text(quadrant)))
        for name, (low, high) in ranges.items():
            if name not in self._named:
                raise SettingsError("ranges", name, f"a column; {tell_near(name, self.columns)}")
            require(self._named[name].kind != "text", "ranges", name, "a column of numbers")
            require(not (math.isnan(low) or math.isnan(high)), f"ranges.{name}", (low, high), "two numbers")
            parts.append(Between(Name(self._named[name]), Number(low), Number(high)))
        return And(tuple(parts)) if len(parts) > 1 else parts[0] if parts else None

    def _find(
        self,
        query: str | None,
        sort: str | None,
        descending: bool | None,
        quadrant: str | None,
        ranges: Mapping[str, tuple[float, float]],
    ) -> Ranking:
        asked = self._ask(query, quadrant, ranges)
        if sort is None:
            rows = self._index.match(asked)
            return Ranking(rows[::-1] if descending else rows)
        value = Name(self._named[sort]) if sort in self._named else parse_value(sort, self.columns)
        if descending is None:
            descending = find_kind(value) != "text"
        key = (asked, value, descending)
        held = self._kept.get(key)
        if held is not None:
            return held
        rows, keys = self._index.match(asked), self._index.measure(value)
        if len(rows) < self.count:
            keys = keys[rows]
        return self._kept.put(key, Ranking(rows, -keys if descending else keys))

    def _near(self, place: Mapping[str, float], asked: Condition | None, without: int | None) -> Ranking:
        """Rows by the root mean squared difference from a place, nearest first."""
        key = (tuple(place.items()), asked, without)
        held = self._kept.get(key)
        if held is not None:
            return held
        rows = self._index.match(asked)
        if without is not None:
            rows = rows[rows != without]
        total = np.zeros(len(rows))
        for name, value in place.items():
            column = self._column(name)
            difference = (column if len(rows) == self.count else column[rows]) - value
            difference *= difference
            total += difference
        distances = np.sqrt(total / len(place))
        known = int(np.count_nonzero(~np.isnan(distances)))
        return self._kept.put(key, Ranking(rows, distances, known))

    def _page(self, found: Ranking, offset: int, limit: int, scale: float | None = None) -> Page:
        """Some rows, with their keys, scaled, as distances where there is a scale."""
        require(offset >= 0, "offset", offset, "0 or more")
        require(limit >= 0, "limit", limit, "0 or more")
        places = found.cut(offset, offset + limit)
        distances: list[float | None] = [None] * len(places)
        if scale is not None and found.keys is not None:
            distances = (found.keys[places] * scale).tolist()
        rows = found.rows[places]
        values = self._rows.take(rows).to_pylist()
        return Page(tuple(map(Hit, rows.tolist(), values, distances)), found.total, offset)
