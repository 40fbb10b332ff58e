"""The verb search: tables in, rows out; exit codes and messages."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli_runs import Run, command
from moodreel.runtime.search import open_table
from moodreel.runtime.table import list_columns
from runtime.search_rows import ROWS, make_row, write_run, write_table


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    write_table(tmp_path / "t.parquet")
    return Run(capfd, monkeypatch)


def test_a_query(run):
    rows = [
        make_row(0, path="a.gif", category="misery_arousal", anger=0.75, fear=0.25, happiness=-0.5),
        make_row(1, path="b.gif", anger=0.5, fear=-1.0, happiness=0.125),
        make_row(2, path="c.gif", status="error", error="no picture"),
    ]
    write_table(Path.cwd() / "s.csv", rows)
    run("search", "s.csv", "fear < 0.5 and anger > 0 or status = 'error'", "--sort", "happiness")
    assert run.code == 0
    assert run.out.splitlines() == [
        "path   category        fear    anger  status  happiness  strongest",
        "b.gif  -               -1.000  0.500  ok      0.125      anger 0.50, happiness 0.12, fear -1.00",
        "a.gif  misery_arousal  0.250   0.750  ok      -0.500     anger 0.75, fear 0.25, happiness -0.50",
        "c.gif  -               -       -      error   -          error: no picture",
    ]
    assert run.err == "moodreel: 3 of 3 rows: s.csv\n"
    run("search", "s.csv", "--limit", "1", "--sort", "anger - fear", "--ascending")
    assert run.out.splitlines()[1:] == ["a.gif  misery_arousal  anger 0.75, fear 0.25, happiness -0.50"]
    assert run.err == "moodreel: 3 of 3 rows, the first 1 shown (--limit): s.csv\n"


def test_nothing_found(run):
    for more in ([], ["--json"], ["--out", "o.csv"]):
        run("search", "t.parquet", "anger > 5", *more)
        assert (run.code, run.out) == (0, "")
        assert run.err.splitlines()[0] == "moodreel: nothing found among 60 rows: t.parquet"
    assert run.err.splitlines()[1:] == ["moodreel: 0 of 60 rows: o.csv"]
    assert (Path.cwd() / "o.csv").read_text("utf-8").startswith("path,status,")


def test_twenty_are_shown_and_all_are_written(run):
    run("search", "t.parquet")
    assert len(run.out.splitlines()) == 21
    assert run.err == "moodreel: 60 of 60 rows, the first 20 shown (--limit): t.parquet\n"
    run("search", "t.parquet", "--json")
    names = [column.name for column in list_columns("kavan")]
    assert [json.loads(line) for line in run.out.splitlines()] == [
        {name: row[name] for name in names} for row in ROWS
    ]
    assert run.err == ""
    run("search", "t.parquet", "--json", "--limit", "3", "--sort", "path", "--descending")
    assert [json.loads(line)["path"] for line in run.out.splitlines()] == [
        f"lib/0{n}.gif" for n in (59, 58, 57)
    ]


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_what_is_written_can_be_searched_again(run, suffix):
    out = Path.cwd() / f"o{suffix}"
    run("search", "t.parquet", "fear > 0 or status = 'error'", "--sort", "fear", "--out", out)
    assert (run.code, run.out) == (0, "")
    with open_table("t.parquet") as table, open_table(out) as written:
        page = table.search("fear > 0 or status = 'error'", sort="fear")
        assert run.err == f"moodreel: {page.total} of 60 rows: {out}\n"
        assert [hit.values for hit in written.search().rows] == [hit.values for hit in page.rows]
    if suffix == ".csv":
        with out.open(newline="", encoding="utf-8") as file:
            (broken, *_) = [row for row in csv.DictReader(file) if row["error"]]
        assert broken["error"] == 'no picture, "really"\nnone'


def test_likeness(run):
    with open_table("t.parquet") as table:
        wanted = [hit.values["path"] for hit in table.similar(3, 4, query="width > 100").rows]
        near = [hit.values["path"] for hit in table.near(-0.5, 0.25, 3).rows]
    for path in ("lib/003.gif", "003.gif"):
        run("search", "t.parquet", "width > 100", "--like", path, "--limit", "4")
        lines = run.out.splitlines()
        assert lines[0].split() == ["path", "category", "distance", "width", "strongest"]
        assert [line.split()[0] for line in lines[1:]] == wanted
    run("search", "t.parquet", "--like", "lib/003.gif", "--json", "--limit", "1")
    assert json.loads(run.out)["distance"] > 0
    run("search", "t.parquet", "--near", "-0.5,0.25", "--limit", "3")
    assert [line.split()[0] for line in run.out.splitlines()[1:]] == near


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["hapiness > 1"], "query, character 1, at 'hapiness': no such column; did you mean happiness"),
        (["anger > 0", "--sort", "nope"], "sort, character 1, at 'nope': no such column"),
        (["--like", "zz.gif"], "--like zz.gif: no row of t.parquet has that path"),
        (["--like", "lib/007.gif"], "t.parquet: row 7, lib/007.gif: has no scores to compare (no picture"),
        (["--like", "a", "--near", "0,0"], "--like, --near: one of the two"),
        (["--near", "0.5"], "--near 0.5: expected two numbers"),
        (["--near", "2,0"], "valence = 2.0: expected a number from -1 to 1"),
        (
            ["--near", "0,0", "--sort", "anger"],
            "--sort, --ascending, --descending: not with --like or --near",
        ),
        (["--ascending"], "--ascending, --descending: need --sort"),
        (["--limit", "0"], "--limit 0: expected at least 1"),
        (["--out", "t.parquet"], "--out t.parquet: is the table itself"),
        (["--out", "x.txt"], "--out x.txt: expected a name that ends in .parquet"),
        (["--out", "absent/x.csv"], "--out absent/x.csv: no folder absent"),
    ],
)
def test_wrong_commands(run, arguments, told):
    before = (Path.cwd() / "t.parquet").read_bytes()
    run("search", "t.parquet", *arguments)
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith(f"moodreel: {told}")
    assert len(run.err.splitlines()) == 1
    assert (Path.cwd() / "t.parquet").read_bytes() == before


def test_wrong_tables(run):
    (Path.cwd() / "x.csv").write_text("a,b\n1,2\n")
    for table, told in (
        ("absent.csv", "no such file"),
        ("x.csv", "no result table: column 'path' is missing"),
    ):
        run("search", table, "anger > 0")
        assert (run.code, run.out) == (2, "")
        assert run.err == f"moodreel: {table}: {told}\n"


def test_a_fault_in_the_query_leaves_an_older_file(run):
    (Path.cwd() / "o.csv").write_text("old")
    run("search", "t.parquet", "nope > 0", "--out", "o.csv")
    assert run.code == 2
    assert (Path.cwd() / "o.csv").read_text() == "old"


def test_a_run_that_is_not_finished(run):
    from runtime.search_rows import SETTINGS, make_entry, write_part

    write_run(Path.cwd() / "done")
    run("search", "done", "anger >= 0.5")
    assert [line.split()[0] for line in run.out.splitlines()[1:]] == ["lib/002.gif", "lib/005.gif"]
    assert run.err == "moodreel: 2 of 9 rows: done\n"
    (Path.cwd() / "begun").mkdir()
    write_part(Path.cwd() / "begun", 1, [make_entry(0, "a.gif", make_row(0))], SETTINGS, False)
    run("search", "begun")
    assert run.code == 0
    assert run.err.splitlines()[0] == "moodreel: begun: not finished: what is there is searched"


def start(code, folder, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def test_what_is_not_imported(tmp_path):
    """A search needs no decoder and no network of any kind."""
    write_table(tmp_path / "t.parquet")
    code = (
        "import sys; from moodreel.cli import main\n"
        "try: main()\n"
        "finally: print(*sys.modules, file=sys.stderr)\n"
    )
    done = start(code, tmp_path, "search", "t.parquet", "anger > 0")
    assert done.returncode == 0
    heavy = {"onnxruntime", "av", "torch", "PIL", "sqlalchemy", "fastapi"}
    assert heavy & set(done.stderr.split()) == set()


def test_the_extra_is_named(tmp_path):
    write_table(tmp_path / "t.csv")
    code = "import sys; sys.modules['duckdb'] = None; from moodreel.cli import main; main()"
    done = start(code, tmp_path, "search", "t.csv")
    assert (done.returncode, done.stdout) == (2, "")
    install = 'needs the "web" extra: pip install "moodreel[web]"'
    assert done.stderr == f"moodreel: searching a table (duckdb) {install}\n"


def test_the_command_itself(tmp_path):
    write_table(tmp_path / "t.csv")
    done = command("search", "t.csv", "path like '*/00?.gif'", "--json", cwd=tmp_path)
    assert len(done.stdout.splitlines()) == 10
