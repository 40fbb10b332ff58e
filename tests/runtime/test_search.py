"""Result tables that are searched: opened from every format, filtered, ordered, compared; what is refused."""

import math
import random
import threading
from pathlib import Path

import duckdb
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest

from moodreel.emotions import QUADRANTS
from moodreel.errors import DataError, QueryError, SettingsError
from moodreel.runtime import search_load
from moodreel.runtime.batch import Key
from moodreel.runtime.parts import Entry, RunSettings, Stamp, merge_runs, write_part
from moodreel.runtime.search import open_table
from moodreel.runtime.table import list_columns
from moodreel.runtime.table import open_table as open_writer

FORMATS = (".parquet", ".jsonl", ".csv")
COUNT = 60
SCORED = ("anger", "fear", "happiness", "sadness")


def make_row(number, system="kavan", **values):
    """A row of the table of a system, null but for what every row has."""
    row = {column.name: None for column in list_columns(system, per_frame=True)}
    row |= {"path": f"lib/{number:03}.gif", "status": "ok", "model": "tiny", "model_version": "1"}
    return row | values


def make_rows(count=COUNT, seed=3):
    """Rows of kavan: four emotions scored, the others never; every tenth row an error; ties."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        if number % 10 == 7:
            rows.append(make_row(number, status="error", error='no picture, "really"\nnone'))
            continue
        scores = {name: round(rng.uniform(-1, 1), 1) for name in SCORED}
        place = {"valence": round(rng.uniform(-1, 1), 3), "arousal": round(rng.uniform(-1, 1), 3)}
        category = rng.choice([*QUADRANTS, None])
        shares = {f"p_{name}": 0.25 for name in QUADRANTS}
        facts = {"width": 10 * number, "height": 7, "frames": 3, "duration_s": 0.25, "confidence": 0.5}
        per_frame = {"frame_times": [0.5, 1.5], "frame_anger": [0.1, 0.2]}
        rows.append(make_row(number, category=category, **facts, **place, **scores, **shares, **per_frame))
    return rows


ROWS = make_rows()


def write_table(path, rows=ROWS, system="kavan", per_frame=False, metadata=None):
    columns = list_columns(system, per_frame)
    with open_writer(path, columns, metadata) as writer:
        for row in rows:
            writer.write({column.name: row[column.name] for column in columns})
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    with open_table(write_table(tmp_path_factory.mktemp("search") / "t.parquet")) as opened:
        yield opened


def numbers(page):
    return [hit.row for hit in page.rows]


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


SETTINGS = RunSettings("kavan", "tiny", "1", "0" * 64, per_frame=True, paths=("lib",))


def make_entry(position, inside, *rows, root=""):
    names = [column.name for column in SETTINGS.columns()]
    made = [{name: row.get(name) for name in names} for row in rows]
    return Entry(Key(position, root, inside), Stamp(10, 20), made)


def write_run(folder, settings=SETTINGS):
    """A run of three passes: rows changed, gone, come back, and a clip of several rows."""
    folder.mkdir(parents=True)
    first = [make_entry(0, f"{n:02}.gif", make_row(n, anger=0.1)) for n in range(6)]
    write_part(folder, 1, first, settings, False)
    several = make_entry(0, "03.gif", make_row(3, anger=0.2), make_row(3, anger=0.3), make_row(3, anger=0.25))
    second = [
        make_entry(0, "01.gif"),
        make_entry(0, "02.gif", make_row(2, anger=0.9)),
        several,
        make_entry(0, "05.gif"),
    ]
    write_part(folder, 2, second, settings, True)
    inside = make_entry(0, "00\0a.gif", make_row(77, anger=-1.0))
    again = make_entry(0, "05.gif", make_row(5, anger=0.5))
    third = [inside, again, make_entry(1, "", make_row(88), root="x")]
    write_part(folder, 3, third, settings, True)


class TestRuns:
    def test_the_newest_rows_in_order(self, tmp_path):
        write_run(tmp_path / "run")
        merge_runs([tmp_path / "run"], tmp_path / "merged.parquet")
        with open_table(tmp_path / "run") as run, open_table(tmp_path / "merged.parquet") as merged:
            assert run.columns == merged.columns
            assert run.is_complete
            rows = [hit.values for hit in run.search().rows]
            assert rows == [hit.values for hit in merged.search().rows]
            paths = ["077", "000", "002", "003", "003", "003", "004", "005", "088"]
            assert [row["path"] for row in rows] == [f"lib/{name}.gif" for name in paths]
            assert [row["anger"] for row in rows] == [-1.0, 0.1, 0.9, 0.2, 0.3, 0.25, 0.1, 0.5, None]

    def test_unfinished_and_shards(self, tmp_path):
        run = tmp_path / "run"
        run.mkdir()
        write_part(run, 1, [make_entry(0, "a.gif", make_row(0))], SETTINGS, False)
        with open_table(run) as table:
            assert not table.is_complete
        for shard in (1, 2):
            settings = RunSettings(**{**vars(SETTINGS), "shard": shard, "shards": 2})
            write_run(tmp_path / "both" / f"shard-{shard}-of-2", settings)
            with open_table(tmp_path / "both") as table:
                assert table.is_complete == (shard == 2)

    def test_what_is_no_run(self, tmp_path):
        with pytest.raises(DataError, match=f"^{tmp_path}: no parts of a run"):
            open_table(tmp_path)
        write_run(tmp_path / "run")
        part = next((tmp_path / "run").iterdir())
        with pytest.raises(DataError, match="a part of a run: name its folder"):
            open_table(part)
        other = RunSettings(**{**vars(SETTINGS), "model": "other", "shard": 2, "shards": 2})
        first = RunSettings(**{**vars(SETTINGS), "shards": 2})
        write_run(tmp_path / "mixed" / "shard-1-of-2", first)
        write_run(tmp_path / "mixed" / "shard-2-of-2", other)
        with pytest.raises(DataError, match=r"of another run than .*model"):
            open_table(tmp_path / "mixed")
        part.write_bytes(part.read_bytes()[:-50])
        with pytest.raises(DataError, match=f"^{part}: cannot be read"):
            open_table(tmp_path / "run")


class TestRefused:
    def check(self, path, told):
        with pytest.raises(DataError) as caught:
            open_table(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert told in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_no_table(self, tmp_path):
        self.check(tmp_path / "absent.parquet", "no such file")
        for name, content, told in [
            ("a.txt", b"x", "no table: expected .parquet, .jsonl, .csv or the folder of a run"),
            ("a.parquet", b"", "cannot be read as a table"),
            ("b.parquet", b"PAR1 not really PAR1", "cannot be read as a table"),
            ("a.csv", b"", "the file is empty"),
            ("b.csv", b"a,b\n1,2\n", "no result table: column 'path' is missing"),
            ("c.csv", b"a,a\n1,2\n", "column 'a' stands there twice"),
            ("d.csv", b"\xff\xfe\x00", "cannot be read as a table"),
            ("a.jsonl", b"", "the file is empty"),
            ("b.jsonl", b"[1, 2]\n", "cannot be read as a table"),
            ("c.jsonl", b'{"path": ', "cannot be read as a table"),
            ("d.jsonl", b'{"path": "a"}\n', "column 'status' is missing"),
        ]:
            (tmp_path / name).write_bytes(content)
            self.check(tmp_path / name, told)

    def test_broken_rows(self, tmp_path):
        path = write_table(tmp_path / "t.csv", ROWS[:2])
        text = path.read_text("utf-8")
        path.write_text(text + "only,three,cells\n", "utf-8")
        self.check(path, "cannot be read as a table")
        path.write_text(text.replace(",7,3,", ",high,3,"), "utf-8")
        self.check(path, "cannot be read as a table")
        path = write_table(tmp_path / "t.jsonl", ROWS[:2])
        path.write_text(path.read_text("utf-8").replace('"height": 7', '"height": "high"'), "utf-8")
        self.check(path, "cannot be read as a table")
        path = write_table(tmp_path / "t.parquet")
        path.write_bytes(path.read_bytes()[:300] + b"\0" * 300 + path.read_bytes()[600:])
        self.check(path, "cannot be read")

    @pytest.mark.parametrize("name", ["path", "status", "attention_y"])
    @pytest.mark.parametrize("suffix", FORMATS)
    def test_a_column_is_missing(self, tmp_path, name, suffix):
        path = write_table(tmp_path / f"t{suffix}")
        if suffix == ".parquet":
            pyarrow.parquet.write_table(pyarrow.parquet.read_table(path).drop_columns([name]), path)
        elif suffix == ".csv":
            pyarrow.csv.write_csv(
                pyarrow.csv.read_csv(
                    path, parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True)
                ).drop_columns([name]),
                path,
            )
        else:
            path.write_text(path.read_text("utf-8").replace(f'"{name}":', f'"{name}x":'), "utf-8")
        self.check(path, f"no result table: column '{name}' is missing")

    def test_a_column_of_another_kind(self, tmp_path):
        path = write_table(tmp_path / "t.parquet")
        rows = pyarrow.parquet.read_table(path)
        place = rows.column_names.index("anger")
        texts = pyarrow.array(["high"] * COUNT)
        lists = pyarrow.array([[1.0]] * COUNT)
        for column, told in ((texts, "got string"), (lists, "got list<")):
            pyarrow.parquet.write_table(rows.set_column(place, "anger", column), path)
            self.check(path, f"column 'anger': expected number, {told}")

    def test_another_version(self, tmp_path):
        path = write_table(tmp_path / "t.parquet")
        rows = pyarrow.parquet.read_table(path)
        for version in (b"0", b"2"):
            pyarrow.parquet.write_table(rows.replace_schema_metadata({b"moodreel.schema": version}), path)
            self.check(path, f"schema {version.decode()}, this version of moodreel reads 1")

    def test_text_that_is_not_utf8(self, tmp_path):
        path = write_table(tmp_path / "t.parquet")
        rows = pyarrow.parquet.read_table(path)
        raw = pyarrow.array([b"\xff\xfe"] * COUNT).view(pyarrow.string())
        pyarrow.parquet.write_table(rows.set_column(0, "path", raw), path)
        self.check(path, "cannot be read as a table")

    def test_too_large(self, tmp_path, monkeypatch):
        paths = [write_table(tmp_path / f"t{suffix}") for suffix in FORMATS]
        write_run(tmp_path / "run")
        for path in [*paths, tmp_path / "run"]:
            with pytest.raises(DataError, match=f"^{path}: .*(too many|too large).* in memory"):
                search_load.load_table(path, 1000)
        with pytest.raises(SettingsError, match="memory_mb"):
            open_table(paths[0], memory_mb=1)


class TestForeign:
    """Tables that went through other tools."""

    def test_further_columns_and_other_types(self, tmp_path):
        path = write_table(tmp_path / "t.parquet", ROWS[:5])
        rows = pyarrow.parquet.read_table(path).replace_schema_metadata(None)
        rows = rows.set_column(0, "path", rows["path"].dictionary_encode())
        rows = rows.append_column("my tag", pyarrow.array(["a", "b", None, "a", "b"]))
        rows = rows.append_column("likes", pyarrow.array([1, 2, 3, None, 5], pyarrow.int32()))
        rows = rows.append_column("when", pyarrow.array([0] * 5, pyarrow.timestamp("s")))
        place = rows.column_names.index("fear")
        odd = pyarrow.array([math.nan, math.inf, 0.5, -math.inf, None], pyarrow.float32())
        pyarrow.parquet.write_table(rows.set_column(place, "fear", odd), path)
        with open_table(path) as table:
            assert [column.name for column in table.columns][-2:] == ["my tag", "likes"]
            assert numbers(table.search("\"my tag\" = 'b' and likes >= 2")) == [1, 4]
            assert numbers(table.search("fear is not null")) == [2]  # what is not finite is nothing
            assert table.get(0).values["fear"] is None
            assert table.bounds["fear"] == (0.5, 0.5)

    def test_no_rows(self, tmp_path):
        for suffix in (".parquet", ".csv"):
            with open_table(write_table(tmp_path / f"t{suffix}", [])) as table:
                assert (table.count, table.search("anger > 0", sort="path").rows) == (0, ())
                assert table.near(0, 0).rows == ()
                assert len(table.positions().row) == 0
                assert table.bounds == {}

    def test_text_columns_that_pandas_wrote(self, tmp_path):
        path = write_table(tmp_path / "t.parquet", ROWS[:3])
        rows = pyarrow.parquet.read_table(path)
        large = rows["path"].cast(pyarrow.large_string())
        nothing = pyarrow.nulls(3)  # a column without values has no type of its own
        rows = rows.set_column(0, "path", large).set_column(
            rows.column_names.index("faces"), "faces", nothing
        )
        pyarrow.parquet.write_table(rows, path)
        with open_table(path) as table:
            assert numbers(table.search("path like '*1.GIF' and faces is null")) == [1]


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
