"""The columns of a table in DuckDB: which rows a condition is true of, and in what order rows come.

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
from moodreel.runtime.query import Condition, Value
from moodreel.runtime.query_sql import Sql, compile_query
from moodreel.runtime.search_load import Loaded

if TYPE_CHECKING:
    pass

IndexArray: TypeAlias = npt.NDArray[np.int64]

KEPT = 8
"""Answers that are kept, so that the next page of one is quick."""

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
        self._kept: Recent[IndexArray] = Recent()
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
        rows = self._select(Sql(f"SELECT i FROM t WHERE {sql.text}", sql.parameters))
        return self._kept.put(condition, np.sort(rows))

    def order(self, value: Value, descending: bool) -> IndexArray:
        """[N] all rows by a value; those without one last, equal ones as in the table."""
        key = (value, descending)
        held = self._kept.get(key)
        if held is not None:
            return held
        sql = compile_query(value, self._columns)
        way = "DESC" if descending else "ASC"
        text = f"SELECT i FROM t ORDER BY {sql.text} {way} NULLS LAST, i"
        return self._kept.put(key, self._select(Sql(text, sql.parameters)))

    def _select(self, sql: Sql) -> IndexArray:
        import duckdb

        try:
            with self._database.cursor() as cursor:
                return cursor.execute(sql.text, list(sql.parameters)).fetchnumpy()["i"].astype(np.int64)
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


def _fold(values: Any) -> Any:
    """The texts of a column in lower case."""
    import pyarrow

    coded = values.combine_chunks().dictionary_encode()
    folded = [text.casefold() for text in coded.dictionary.to_pylist()]
    lower = pyarrow.array(folded, pyarrow.string())
    return pyarrow.DictionaryArray.from_arrays(coded.indices, lower).cast(pyarrow.string())
