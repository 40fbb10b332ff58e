"""The columns of a table in DuckDB: which rows a condition is true of, and by what numbers rows are ordered.

The database is in memory and this process's own. Once the columns are in it, it is shut off from files and
the network, loads no extension, writes nothing to disk, and its settings are locked; the SQL that it gets has
no word of a query in it (:mod:`moodreel.runtime.query_sql`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from moodreel.errors import DataError, MissingExtra
from moodreel.runtime.query import Condition, Name, Value
from moodreel.runtime.query_sql import Sql, compile_query
from moodreel.runtime.search_load import Loaded
from moodreel.types import FloatArray

if TYPE_CHECKING:
    pass

IndexArray: TypeAlias = npt.NDArray[np.int64]

KEPT = 8
"""Answers that are kept, so that the next page of one is quick."""

FEW = 8
"""Up to one row in so many is found without sorting the others."""

Answer = TypeVar("Answer")


class Recent(Generic[Answer]):
    """The last few answers; several threads may ask."""

    def __init__(self) -> None:
        self._held: OrderedDict[Hashable, Answer] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable) -> Answer | None:
        """The answer, where it is held."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def put(self, key: Hashable, answer: Answer) -> Answer:
        """Holds an answer, and lets go of the one that was longest not asked for. Returns the answer."""
        with self._lock:
            self._held[key] = answer
            while len(self._held) > KEPT:
                self._held.popitem(last=False)
        return answer


class Ranking:
    """Rows in the order of a number: the first of them at once, all of them only when asked for.

    Args:
        rows: [M] numbers of rows, ascending.
        keys: [M] lowest first, NaN last; rows with equal ones stay in their order. None: as they stand.
        total: how many of the rows count, of those in order; None: all.
    """

    def __init__(self, rows: IndexArray, keys: FloatArray | None = None, total: int | None = None) -> None:
        self.rows, self.keys = rows, keys
        self.total = len(rows) if total is None else total
        self._order: IndexArray | None = None

    def cut(self, start: int, stop: int) -> IndexArray:
        """Places (in ``rows``) of the rows from ``start`` to before ``stop``, in order."""
        stop = min(stop, self.total)
        if self.keys is None or start >= stop:
            return np.arange(start, max(start, stop))
        if self._order is None and stop * FEW < len(self.rows):
            bound = np.partition(self.keys, stop - 1)[stop - 1]
            if not np.isnan(bound):
                first = np.flatnonzero(self.keys <= bound)
                return first[np.argsort(self.keys[first], kind="stable")][start:stop]
        if self._order is None:
            self._order = np.argsort(self.keys, kind="stable")
        return self._order[start:stop]


class Index:
    """The columns of a table, to be asked by several threads.

    Args:
        path: of the table, for messages.
        loaded: the table.
        memory_mb: megabytes that DuckDB may take.

    Raises:
        DataError: that is not enough.
        MissingExtra: DuckDB is not installed.
    """

    def __init__(self, path: Path, loaded: Loaded, memory_mb: int) -> None:
        try:
            import duckdb
        except ModuleNotFoundError as error:
            raise MissingExtra("web", "searching a table (duckdb)") from error
        self._path, self._columns = path, loaded.columns
        self._count: int = loaded.rows.num_rows
        self._rows = loaded.rows
        self._kept: Recent[IndexArray] = Recent()
        self._measured: Recent[FloatArray] = Recent()
        self._database = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": f"{memory_mb}MB",
                "threads": 1,  # a page takes milliseconds; several people are served side by side
                "temp_directory": "",
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )
        try:
            self._database.register("loaded", _name_columns(loaded))
            self._database.execute("CREATE TABLE t AS SELECT * FROM loaded")
            self._database.unregister("loaded")
            self._database.execute("SET enable_external_access = false")
            self._database.execute("SET lock_configuration = true")
        except duckdb.Error as error:
            self._database.close()
            raise self._explain(error) from None

    def close(self) -> None:
        """Frees what DuckDB holds."""
        self._database.close()

    def match(self, condition: Condition | None) -> IndexArray:
        """[M] rows of which a condition is true, ascending; all where there is none."""
        if condition is None:
            return np.arange(self._count)
        held = self._kept.get(condition)
        if held is not None:
            return held
        sql = compile_query(condition, self._columns)
        found = self._execute(Sql(f"SELECT i FROM t WHERE {sql.text}", sql.parameters))
        return self._kept.put(condition, np.sort(found["i"]))

    def measure(self, value: Value) -> FloatArray:
        """[N] numbers by which rows are ordered, NaN where there is no value; of texts, their ranks."""
        held = self._measured.get(value)
        if held is not None:
            return held
        if isinstance(value, Name) and value.column.kind == "text":
            return self._measured.put(value, _rank_texts(self._rows[value.column.name]))
        sql = compile_query(value, self._columns)
        found = self._execute(Sql(f"SELECT i, {sql.text} AS k FROM t", sql.parameters))
        keys = np.full(self._count, np.nan)
        keys[found["i"]] = np.ma.filled(found["k"], np.nan)
        return self._measured.put(value, keys)

    def _execute(self, sql: Sql) -> Any:
        """Column -> [M] numbers, masked where they are null."""
        import duckdb

        try:
            with self._database.cursor() as cursor:
                return cursor.execute(sql.text, list(sql.parameters)).fetchnumpy()
        except duckdb.Error as error:
            raise self._explain(error) from None

    def _explain(self, error: Exception) -> DataError:
        return DataError(f"{self._path}: DuckDB: {' '.join(str(error).split())[:200]}")


def _name_columns(loaded: Loaded) -> Any:
    """The columns under the names that :mod:`moodreel.runtime.query_sql` gives them."""
    import pyarrow

    named: dict[str, Any] = {"i": pyarrow.array(np.arange(loaded.rows.num_rows))}
    for place, column in enumerate(loaded.columns):
        values = loaded.rows[column.name]
        if column.kind == "text":
            named[f"c{place}"] = values
            named[f"l{place}"] = _fold(values)
        else:
            named[f"c{place}"] = values.cast(pyarrow.float64(), safe=False)
    return pyarrow.table(named)


def _rank_texts(values: Any) -> FloatArray:
    """Place of each text among the different ones, by code points; NaN for null."""
    import pyarrow.compute as compute

    ranks = compute.rank(values, tiebreaker="dense")
    keys: FloatArray = ranks.to_numpy().astype(np.float64)
    keys[compute.is_null(values).to_numpy()] = np.nan
    return keys


def _fold(values: Any) -> Any:
    """The texts of a column in lower case."""
    import pyarrow

    coded = values.combine_chunks().dictionary_encode()
    folded = [text.casefold() for text in coded.dictionary.to_pylist()]
    lower = pyarrow.array(folded, pyarrow.string())
    return pyarrow.DictionaryArray.from_arrays(coded.indices, lower).cast(pyarrow.string())
