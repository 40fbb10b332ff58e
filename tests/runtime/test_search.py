"""Result tables that are searched: opened from every format, filtered, ordered, compared; what is refused."""

import math
import random
import threading
from pathlib import Path

import duckdb
import pytest

from moodreel.emotions import QUADRANTS
from moodreel.errors import DataError, QueryError, SettingsError
from moodreel.runtime.search import open_table
from moodreel.runtime.table import list_columns
from runtime.search_rows import COUNT, FORMATS, ROWS, SCORED, make_row, numbers, table_fixture, write_table  # noqa: F401 (fixtures)


@pytest.mark.parametrize("per_frame", [False, True])
@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_holds_the_same(tmp_path, suffix, per_frame):
    path = write_table(tmp_path / f"t{suffix}", per_frame=per_frame)
    with open_table(path) as table:
        assert table.columns == list_columns("kavan")  # without lists
        assert (table.count, table.is_complete, table.has_quadrants) == (COUNT, True, True)
        assert table.scores == SCORED
        names = [column.name for column in table.columns]
        assert [hit.values for hit in table.search(limit=COUNT).rows] == [
            {name: row[name] for name in names} for row in ROWS
        ]
        assert {type(hit.values["width"]) for hit in table.search("width > 0").rows} == {int}


class TestSearch:
    def test_pages(self, table):
        page = table.search("happiness > 0 or status = 'error'", offset=5, limit=4)
        wanted = [n for n, row in enumerate(ROWS) if row["error"] or row["happiness"] > 0]
        assert (numbers(page), page.total, page.offset) == (wanted[5:9], len(wanted), 5)
        assert table.search(limit=0).rows == ()
        assert (table.search(offset=COUNT + 5).rows, table.search(offset=COUNT + 5).total) == ((), COUNT)
        assert table.search("  ").total == table.search(None).total == COUNT

    @pytest.mark.parametrize("descending", [True, False, None])
    @pytest.mark.parametrize("query", [None, "fear < 0.5"])
    @pytest.mark.parametrize("sort", ["anger", "category", "width", "path"])
    def test_order(self, table, sort, query, descending):
        down = descending if descending is not None else sort in ("anger", "width")
        chosen = [n for n, row in enumerate(ROWS) if query is None or (row["fear"] or 0) < 0.5]
        chosen = [n for n in chosen if query is None or ROWS[n]["fear"] is not None]
        known = [n for n in chosen if ROWS[n][sort] is not None]
        known.sort(key=lambda n: ROWS[n][sort], reverse=False)
        if down:  # ties stay in the order of the table
            keys = sorted({ROWS[n][sort] for n in known}, reverse=True)
            known = [n for key in keys for n in known if ROWS[n][sort] == key]
        wanted = known + [n for n in chosen if ROWS[n][sort] is None]
        page = table.search(query, sort=sort, descending=descending, limit=COUNT)
        assert numbers(page) == wanted

    def test_without_a_sort(self, table):
        assert numbers(table.search(descending=True, limit=2)) == [COUNT - 1, COUNT - 2]
        assert numbers(table.search(descending=False, limit=2)) == [0, 1]

    def test_quadrant_and_ranges(self, table):
        for quadrant in QUADRANTS:
            wanted = [n for n, row in enumerate(ROWS) if row["category"] == quadrant]
            assert numbers(table.search(quadrant=quadrant)) == wanted
            assert wanted
        low, high = -0.3, 0.4  # both are values of rows
        wanted = [n for n, row in enumerate(ROWS) if row["fear"] is not None and low <= row["fear"] <= high]
        assert {ROWS[n]["fear"] for n in wanted} >= {low, high}
        assert numbers(table.search(ranges={"fear": (low, high)}, limit=COUNT)) == wanted
        both = table.search("anger > 0", quadrant="misery_arousal", ranges={"fear": (low, math.inf)})
        wanted = [
            n for n, row in enumerate(ROWS)
            if row["category"] == "misery_arousal" and row["anger"] > 0 and row["fear"] >= low
        ]  # fmt: skip
        assert numbers(both) == wanted

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ({"quadrant": "joy"}, "quadrant = 'joy': expected one of pleasure_arousal"),
            ({"ranges": {"hapiness": (0, 1)}}, "did you mean happiness"),
            ({"ranges": {"path": (0, 1)}}, "ranges = 'path': expected a column of numbers"),
            ({"ranges": {"fear": (0, math.nan)}}, "expected two numbers"),
            ({"offset": -1}, "offset = -1"),
            ({"limit": -1}, "limit = -1"),
        ],
    )
    def test_wrong_arguments(self, table, arguments, told):
        with pytest.raises(SettingsError, match=told):
            table.search(**arguments)

    def test_wrong_sort(self, table):
        with pytest.raises(QueryError, match=r"^sort, character 1, at 'nope'"):
            table.search(sort="nope")

    def test_quadrants_are_kavans(self, tmp_path):
        rows = [make_row(0, "face", category="anger", p_anger=1.0)]
        with open_table(write_table(tmp_path / "t.csv", rows, "face")) as table:
            assert not table.has_quadrants
            with pytest.raises(SettingsError, match="a table with quadrants"):
                table.search(quadrant="misery_arousal")


def distance(one, other, names):
    return math.sqrt(sum((one[name] - other[name]) ** 2 for name in names) / len(names))


class TestLikeness:
    @pytest.mark.parametrize("query", [None, "width > 200"])
    def test_similar(self, table, query):
        here = ROWS[3]
        others = [
            (distance(here, row, SCORED), n) for n, row in enumerate(ROWS)
            if n != 3 and row["error"] is None and (query is None or row["width"] > 200)
        ]  # fmt: skip
        page = table.similar(3, COUNT, query=query)
        assert page.total == len(others)
        assert numbers(page) == [n for _, n in sorted(others)]
        assert [hit.distance for hit in page.rows] == pytest.approx([d for d, _ in sorted(others)], abs=1e-12)
        assert numbers(table.similar(3, 4, query=query, offset=2)) == numbers(page)[2:6]

    def test_a_row_without_some_scores(self, tmp_path):
        scores = [(0.5, 0.5), (0.5, None), (0.1, None), (None, 0.5), (0.6, 0.1)]
        rows = [make_row(n, anger=anger, fear=fear) for n, (anger, fear) in enumerate(scores)]
        with open_table(write_table(tmp_path / "t.parquet", rows)) as table:
            assert numbers(table.similar(0)) == [4]  # the others lack one of its two
            page = table.similar(1)  # by anger alone
            assert numbers(page) == [0, 4, 2]
            assert [hit.distance for hit in page.rows] == pytest.approx([0, 0.1, 0.4])

    def test_an_error_is_like_nothing(self, table):
        with pytest.raises(DataError, match=r"t\.parquet: row 7, lib/007\.gif: has no scores .*no picture"):
            table.similar(7)
        for row in (-1, COUNT):
            with pytest.raises(SettingsError, match="a row of the table, 0 to 59"):
                table.similar(row)

    @pytest.mark.parametrize(
        ("system", "rows", "scores"),
        [
            ("face", [{"p_anger": 0.5, "p_fear": 0.5}], ("p_anger", "p_fear")),
            ("caca-rnn", [{"p_happy": 1.0, "p_sad": 0.0}], ("p_happy", "p_sad")),
            ("sta", [{"valence": 0.5}], ("valence",)),
            ("kavan", [{"p_misery_arousal": 1.0}], ("p_misery_arousal",)),
            ("kavan", [{}], ()),
        ],
    )
    def test_what_is_compared(self, tmp_path, system, rows, scores):
        made = [make_row(n, system, **row) for n, row in enumerate(rows)]
        with open_table(write_table(tmp_path / "t.parquet", made, system)) as table:
            assert table.scores == scores
            if not scores:
                with pytest.raises(DataError, match="has no scores"):
                    table.similar(0)

    def test_near(self, table):
        placed = [(math.hypot(row["valence"] - 0.3, row["arousal"] + 0.2), n)
                  for n, row in enumerate(ROWS) if row["valence"] is not None]  # fmt: skip
        page = table.near(0.3, -0.2, 9)
        assert numbers(page) == [n for _, n in sorted(placed)][:9]
        assert [hit.distance for hit in page.rows] == pytest.approx([d for d, _ in sorted(placed)][:9])
        assert page.total == len(placed)
        quadrant = table.near(0.3, -0.2, quadrant="misery_arousal", ranges={"fear": (0, 1)})
        assert {ROWS[n]["category"] for n in numbers(quadrant)} == {"misery_arousal"}
        for place in ((1.5, 0), (0, math.nan)):
            with pytest.raises(SettingsError, match="a number from -1 to 1"):
                table.near(*place)

    def test_positions(self, table):
        found = table.positions("fear > 0")
        wanted = [n for n, row in enumerate(ROWS) if row["fear"] is not None and row["fear"] > 0]
        assert found.row.tolist() == wanted
        assert found.valence.tolist() == [ROWS[n]["valence"] for n in wanted]
        assert found.arousal.tolist() == [ROWS[n]["arousal"] for n in wanted]


def test_single_rows_and_bounds(table, tmp_path):
    assert table.get(4).values["path"] == "lib/004.gif"
    with pytest.raises(SettingsError, match="row = 60"):
        table.get(COUNT)
    assert table.find("lib/004.gif") == table.find("004.gif") == 4
    assert table.find("04.gif") is None
    fears = [row["fear"] for row in ROWS if row["fear"] is not None]
    assert table.bounds["fear"] == (min(fears), max(fears))
    assert "amusement" not in table.bounds
    rows = [make_row(0, path="a/x.gif"), make_row(1, path="b/x.gif"), make_row(2, path="x.gif")]
    with open_table(write_table(tmp_path / "t.csv", rows)) as twins:
        assert twins.find("x.gif") == 2
        with pytest.raises(DataError, match=r"2 rows end in '/x\.gif'|2 rows end in 'x\.gif'"):
            open_table(write_table(tmp_path / "u.csv", rows[:2])).find("x.gif")


def test_list_columns(table):
    assert table.list_columns("fear > 0 and anger < FEAR") == ["fear", "anger"]
    assert table.list_columns(None) == []


def test_several_threads_ask_at_once(table):
    wanted = {k: numbers(table.search(f"fear > {k / 10}", sort="anger", limit=COUNT)) for k in range(-9, 9)}
    wrong = []

    def ask(seed):
        rng = random.Random(seed)
        for _ in range(60):
            k = rng.randrange(-9, 9)
            if numbers(table.search(f"fear > {k / 10}", sort="anger", limit=COUNT)) != wanted[k]:
                wrong.append(k)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


class TestDatabase:
    """DuckDB has the table and nothing else."""

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT * FROM read_csv('{file}')",
            "SELECT * FROM read_text('{file}')",
            "SELECT * FROM '{file}'",
            "COPY t TO '{file}.out'",
            "ATTACH '{file}.db' AS other",
            "INSTALL httpfs",
            "LOAD httpfs",
            "SET enable_external_access = true",
            "SET memory_limit = '64GB'",
            "SET threads = 8",
            "SET lock_configuration = false",
        ],
    )
    def test_it_is_shut_off(self, table, tmp_path, sql):
        file = tmp_path / "f.csv"
        file.write_text("a\n1\n")
        with pytest.raises(duckdb.Error):
            table._index._database.cursor().execute(sql.format(file=file))
        assert [path.name for path in tmp_path.iterdir()] == ["f.csv"]

    def test_settings(self, table):
        ask = table._index._database.cursor().execute
        asked = {
            name: ask("SELECT current_setting(?)", [name]).fetchone()[0]
            for name in ("enable_external_access", "lock_configuration", "threads", "temp_directory")
        }
        assert asked == {
            "enable_external_access": False, "lock_configuration": True, "threads": 1, "temp_directory": "",
        }  # fmt: skip


def test_the_extra_is_named(monkeypatch, tmp_path):
    import sys

    from moodreel.errors import MissingExtra

    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(MissingExtra, match=r'pip install "moodreel\[web\]"'):
        open_table(write_table(tmp_path / "t.csv"))


def test_examples_of_the_page(table):
    """The queries that docs/search.md shows all mean something."""
    page = (Path(__file__).parents[2] / "docs" / "search.md").read_text("utf-8")
    page = page.partition("## The language")[2].partition("\n## ")[0]
    shown = [line.split("|")[1].strip().strip("`") for line in page.splitlines() if line.startswith("| `")]
    queries = [text.replace("\\|", "|") for text in shown if " " in text]
    assert len(queries) >= 8
    for query in queries:
        table.search(query)
