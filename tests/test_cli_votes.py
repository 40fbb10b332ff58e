"""votes score and votes check: files in and out, bad rows, exit codes, what is imported."""

import csv
import json
import os
import resource
import subprocess
import sys
from statistics import NormalDist

import pytest

from cli_runs import Run, command, names_in

GOOD = """emotion,left,right,choice,voter,time
joy,a,b,left,ann,1
joy,b,c,neither,bob,2
fear,c,a,right,ann,3
"""

BAD = """emotion,left,right,choice
joy,a,b,left
joy,a,a,left
joy,b,c
joy,"x
y",c,right
joy,c,,right
joy,c,d,perhaps
fear,a,c,neither
"""

BAD_LINES = [
    "moodreel: v.csv:3: left and right are the same ('a')",
    "moodreel: v.csv:4: 4 cells expected, got 3",
    "moodreel: v.csv:7: right is empty",
    "moodreel: v.csv:8: choice = 'perhaps': expected left, right, neither",
]


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    return Run(capfd, monkeypatch)


@pytest.fixture
def place(tmp_path):
    (tmp_path / "good.csv").write_text(GOOD, "utf-8")
    (tmp_path / "v.csv").write_text(BAD, "utf-8")
    return tmp_path


def read_scores(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


class TestScore:
    def test_a_file(self, run, place):
        run("votes", "score", "good.csv", "--out", "s.csv")
        assert (run.code, run.out) == (0, "")
        assert run.err.splitlines() == [
            "moodreel: sigma is still above 4.167 (half of what it starts with) "
            "for items of: fear 2 of 2, joy 3 of 3",
            "moodreel: 5 ratings of 2 emotions from 3 votes: s.csv",
        ]
        content = (place / "s.csv").read_bytes()
        assert content.startswith(
            b"item,emotion,mu,sigma,score,votes\na,fear,29.395831693,7.171475807,0.1758"
        )
        assert b"\r" not in content
        rows = read_scores(place / "s.csv")
        assert [(row["emotion"], row["item"], row["votes"]) for row in rows] == [
            ("fear", "a", "1"), ("fear", "c", "1"), ("joy", "a", "1"), ("joy", "c", "1"), ("joy", "b", "2"),
        ]  # fmt: skip
        for row in rows:
            assert float(row["score"]) == pytest.approx(float(row["mu"]) / 25 - 1, abs=2e-9)

    def test_bad_rows_are_skipped_and_named(self, run, place):
        run("votes", "score", "v.csv", "--out", "s.csv")
        assert run.code == 1
        lines = run.err.splitlines()
        assert lines[:4] == BAD_LINES
        assert lines[-1] == "moodreel: 6 ratings of 2 emotions from 3 votes, 4 bad rows skipped: s.csv"
        assert {row["item"] for row in read_scores(place / "s.csv")} == {"a", "b", "c", "x\ny"}

    def test_strict_writes_nothing(self, run, place):
        (place / "s.csv").write_text("old")
        run("votes", "score", "v.csv", "--out", "s.csv", "--strict")
        assert (run.code, run.out, run.err) == (2, "", BAD_LINES[0] + "\n")
        assert (place / "s.csv").read_text() == "old"
        assert names_in(place) == ["good.csv", "s.csv", "v.csv"]

    def test_strict_and_nothing_wrong(self, run, place):
        run("votes", "score", "good.csv", "--out", "a.csv", "--strict")
        assert run.code == 0
        run("votes", "score", "good.csv", "--out", "b.csv")
        assert (place / "a.csv").read_bytes() == (place / "b.csv").read_bytes()

    def test_only_bad_rows(self, run, place):
        (place / "v.csv").write_text("emotion,left,right,choice\njoy,a,a,left\n")
        run("votes", "score", "v.csv", "--out", "s.csv")
        assert run.code == 1
        assert run.err.splitlines()[-1] == (
            "moodreel: 0 ratings of 0 emotions from 0 votes, 1 bad row skipped: s.csv"
        )
        assert (place / "s.csv").read_text() == "item,emotion,mu,sigma,score,votes\n"

    def test_settings(self, run, place):
        chosen = {"mu": "10", "sigma": "2", "beta": "1.5", "tau": "0", "draw-probability": "0.5"}
        options = [text for name, value in chosen.items() for text in (f"--{name}", value)]
        run("votes", "score", "good.csv", "--out", "s.csv", *options)
        assert run.code == 0
        assert run.err.splitlines()[0] == (
            "moodreel: --mu 10: the score stays clip(mu, 0, 50) / 25 - 1, made for a mu of 25"
        )
        normal, c = NormalDist(), (2 * 1.5**2 + 2 * 2**2) ** 0.5
        x = -normal.inv_cdf(0.75) * 2**0.5 * 1.5 / c  # equals: t = 0
        mu = 10 + 4 / c * normal.pdf(x) / normal.cdf(x)
        row = next(row for row in read_scores(place / "s.csv") if row["emotion"] == "fear")
        assert row["item"] == "a"
        assert float(row["mu"]) == pytest.approx(mu, abs=2e-9)
        assert float(row["score"]) == pytest.approx(float(row["mu"]) / 25 - 1)

    def test_what_is_printed_may_have_been_anything(self, run, place):
        (place / "v.csv").write_bytes(b"emotion,left,right,choice\njoy,a,b,\x1b[31m\xc2\x9b\xe2\x80\xae\n")
        run("votes", "score", "v.csv", "--out", "s.csv")
        assert run.code == 1
        assert run.err.isprintable() or run.err.replace("\n", "").isprintable()

    @pytest.mark.parametrize(
        ("args", "said"),
        [
            (["good.csv"], "Missing option '--out'"),
            (["--out", "s.csv"], "Missing argument 'VOTES.csv'"),
            (["good.csv", "--out", "s.parquet"], "--out s.parquet: expected a name that ends in .csv"),
            (["good.csv", "--out", "no/s.csv"], "--out no/s.csv: no folder no"),
            (["good.csv", "--out", "d.csv"], "--out d.csv: is a folder"),
            (["good.csv", "--out", "./good.csv"], "--out good.csv: is the file of votes itself"),
            (["good.csv", "--out", "s.csv", "--sigma", "0"], "sigma = 0.0: expected a number from 1e-09 to"),
            (["good.csv", "--out", "s.csv", "--draw-probability", "1"], "draw_probability = 1.0: expected a"),
            (["good.csv", "--out", "s.csv", "--beta", "nan"], "beta = nan: expected a number"),
            (["good.csv", "--out", "s.csv", "--tau", "much"], "Invalid value for '--tau'"),
            (["absent.csv", "--out", "s.csv"], "absent.csv: cannot read the votes: No such file"),
            (["d.csv", "--out", "s.csv"], "d.csv: cannot read the votes: Is a directory"),
            (["empty.csv", "--out", "s.csv"], "empty.csv: the file is empty"),
            (["header.csv", "--out", "s.csv"], "header.csv: no votes, only a header"),
            (["other.csv", "--out", "s.csv"], "other.csv:1: column 'choice' is missing (got emotion, left"),
        ],
    )
    def test_wrong_commands(self, run, place, args, said):
        (place / "d.csv").mkdir()
        (place / "empty.csv").touch()
        (place / "header.csv").write_text("emotion,left,right,choice\n")
        (place / "other.csv").write_text("emotion,left,right\njoy,a,b\n")
        before = names_in(place)
        run("votes", "score", *args)
        assert (run.code, run.out, run.err.count("\n")) == (2, "", 1)
        assert run.err.startswith(f"moodreel: {said}")
        assert names_in(place) == before

    def test_a_full_disk_leaves_the_old_file(self, place):
        (place / "s.csv").write_text("old")
        done = command(
            "votes", "score", "good.csv", "--out", "s.csv",
            cwd=place,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20)),
        )  # fmt: skip
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith("moodreel: ")
        assert (place / "s.csv").read_text() == "old"
        assert names_in(place) == ["good.csv", "s.csv", "v.csv"]


class TestCheck:
    def test_tables(self, run, place):
        run("votes", "check", "good.csv")
        assert (run.code, run.err) == (0, "")
        lines = run.out.splitlines()
        assert lines[0] == "Coverage: votes an item"
        assert lines[1].split() == [
            "emotion", "votes", "neither", "items", "min", "median", "max", "below", "6", "parts", "largest",
        ]  # fmt: skip
        assert lines[2].split() == ["fear", "1", "0%", "2", "1", "1", "1", "2", "1", "2"]
        assert lines[3].split() == ["joy", "2", "50%", "3", "1", "1", "2", "3", "1", "3"]
        assert "3 different pairs, 0 decided more than once, 0 of these both ways; 0 by one and the same" in (
            run.out
        )
        assert (
            "2 voters: 0 against the others, 0 no better than guessing, 0 ok, 2 with fewer than 20" in run.out
        )
        assert "Items of different parts" not in run.out

    def test_bad_rows(self, run, place):
        run("votes", "check", "v.csv")
        assert run.code == 1
        assert run.err.splitlines() == [
            *BAD_LINES,
            "moodreel: 2 emotions, 3 votes, 4 bad rows skipped: v.csv",
        ]
        assert "Items of different parts cannot be compared" in run.out
        assert run.out.endswith("Voters: not checked, there is no column voter.\n")

    def test_json(self, run, place):
        run("votes", "check", "v.csv", "--json")
        assert (run.code, run.err.splitlines()) == (1, BAD_LINES)
        facts = json.loads(run.out)
        assert list(facts) == ["file", "bad_rows", "votes", "coverage", "contradictions", "voters"]
        assert [row["line"] for row in facts["bad_rows"]] == [3, 4, 7, 8]
        assert (facts["votes"], facts["voters"]) == (3, None)
        assert [entry["parts"] for entry in facts["coverage"]] == [1, 2]
        run("votes", "check", "good.csv", "--json")
        assert run.code == 0
        assert [voter["voter"] for voter in json.loads(run.out)["voters"]] == ["ann", "bob"]

    def test_long_lists_are_cut(self, run, place):
        rows = [f"joy,a{k},b{k},{choice},u{k}\n" for k in range(30) for choice in ("left", "right")]
        (place / "v.csv").write_text("emotion,left,right,choice,voter\n" + "".join(rows))
        run("votes", "check", "v.csv")
        assert run.code == 0
        assert "and 10 more pairs (--json)" in run.out
        assert "and 10 more voters (--json)" in run.out
        assert "60 votes" not in run.out
        assert "30 of these both ways; 30 by one and the same voter" in run.out

    def test_no_file(self, run, place):
        run("votes", "check", "absent.csv")
        assert (run.code, run.out) == (2, "")
        assert run.err == "moodreel: absent.csv: cannot read the votes: No such file or directory\n"


def test_no_verb_prints_the_help(run):
    run("votes")
    assert (run.code, run.out) == (2, "")
    assert "score" in run.err
    run("votes", "count")
    assert run.err == "moodreel: No such command 'count'. (see 'moodreel votes --help')\n"


def list_modules(*args, cwd=None):
    """Modules that a run of the command line has imported, and what it printed."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "moodreel", *args],
        capture_output=True, text=True, check=True, cwd=cwd, env=env,
    )  # fmt: skip
    return {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if "|" in line}, done.stdout


@pytest.mark.parametrize("args", [["votes", "--help"], ["votes", "score", "-h"], ["votes", "check", "-h"]])
def test_help_imports_nothing_heavy(args):
    loaded, printed = list_modules(*args)
    assert printed.startswith("Usage: moodreel votes")
    assert "typer" in loaded
    assert loaded & {"numpy", "numba", "pyarrow", "rich", "moodreel.labels.votes", "onnxruntime"} == set()


def test_scoring_imports_no_more_than_it_needs(place):
    loaded, _ = list_modules("votes", "score", "good.csv", "--out", "s.csv", cwd=place)
    assert {"numpy", "pyarrow.csv", "moodreel.labels.votes"} <= {
        name.replace("_csv", "csv") for name in loaded
    }
    assert loaded & {"numba", "scipy", "pandas", "onnxruntime", "av", "PIL", "torch", "matplotlib"} == set()
