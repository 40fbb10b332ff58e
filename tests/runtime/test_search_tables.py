"""Tables that a search reads: of runs, of others, and what is refused."""

import math

import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest

from moodreel.errors import DataError, SettingsError
from moodreel.runtime import search_load
from moodreel.runtime.parts import RunSettings, merge_runs, write_part
from moodreel.runtime.search import open_table
from runtime.search_rows import (
    COUNT,
    FORMATS,
    ROWS,
    SETTINGS,
    make_entry,
    make_row,
    numbers,
    write_run,
    write_table,
)


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
