"""ratings agreement and ratings gold: files in and out, bad rows, exit codes, what is imported."""

import csv
import json

import numpy as np
import pytest

from cli_runs import Run, names_in
from test_cli_votes import list_modules

RATINGS = """clip,condition,rater,emotion,intensity
a,face,x,joy,1
a,face,y,joy,3
a,scene,x,joy,2
a,scene,y,joy,2
b,face,x,joy,0
b,face,y,joy,2
b,scene,x,joy,1
b,scene,y,joy,2
"""

LATE = (0.1, 0.5, 0.3)


def draw_traces(seed=0, truth=True):
    times = np.arange(150) * 0.1
    rng = np.random.default_rng(seed)

    def say(t):
        return np.tanh(4 * (t - 3)) - np.tanh(3 * (t - 7)) + 0.5 * np.tanh(5 * (t - 10))

    columns = [say(times - late) + rng.normal(0, 0.02, 150) for late in LATE]
    names = ["ann", "bob", "eve"]
    if truth:
        columns.append(say(times))
        names.append("truth")
    rows = "\n".join(",".join(f"{v:.4f}" for v in row) for row in np.stack([times, *columns], axis=1))
    return f"time_s,{','.join(names)}\n{rows}\n"


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    return Run(capfd, monkeypatch)


@pytest.fixture
def place(tmp_path):
    (tmp_path / "r.csv").write_text(RATINGS, "utf-8")
    (tmp_path / "t.csv").write_text(draw_traces(), "utf-8")
    return tmp_path


def read(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


class TestAgreement:
    def test_a_file(self, run, place):
        run("ratings", "agreement", "r.csv", "--out", "o.csv", "--plot", "p.png", "--rounds", "50")
        assert (run.code, run.err) == (0, "")
        lines = [line.split() for line in run.out.splitlines()]
        assert lines[1][:5] == ["emotion", "condition", "clips", "raters", "disagreement"]
        assert lines[2][:5] == ["joy", "face", "2", "2.00", "2.0000"]
        assert lines[4][:5] == ["joy", "scene", "2", "2.00", "0.2500"]
        assert ["joy", "face", "scene", "2", "+1.7500", "+1.5000", "to", "+2.0000"] in lines
        rows = read(place / "o.csv")
        assert [row["disagreement"] for row in rows] == ["2", "2", "0.25", "0.25", "1.75", "1.75"]
        assert (place / "p.png").read_bytes()[:4] == b"\x89PNG"

    def test_bad_rows(self, run, place):
        (place / "r.csv").write_text(RATINGS + "a,face,x,joy,4\nc,face,x,joy,\n")
        run("ratings", "agreement", "r.csv")
        assert run.code == 1
        assert run.err.splitlines() == [
            "moodreel: r.csv:10: the rater's second rating of this clip and emotion in this condition "
            "(first: line 2)",
            "moodreel: r.csv:11: intensity = '': expected a number from -1e+15 to 1e+15",
            "moodreel: 8 rows counted, 2 bad rows left out: r.csv",
        ]
        assert "2.0000" in run.out

    def test_counts_and_single_raters(self, run, place):
        (place / "c.csv").write_text("clip,joy,fear,x\na,2,2,?\nb,1,0,?\n")
        run("ratings", "agreement", "c.csv", "--counts", "joy, fear")
        assert run.code == 0
        assert run.out.splitlines()[2].split() == ["joy", "all", "1", "4.00", "0.3333", "-"]
        assert run.err == "moodreel: 2 cells of clip, condition and emotion have one rater: no variance\n"

    @pytest.mark.parametrize(
        ("args", "said"),
        [
            (["none.csv"], "none.csv: cannot read the ratings: No such file"),
            (["t.csv"], "t.csv:1: column 'clip' is missing"),
            (["r.csv", "--counts", ","], "--counts: expected names of columns"),
            (["r.csv", "--counts", "joy"], "r.csv:1: column 'joy' is missing"),
            (["r.csv", "--rounds", "0"], "rounds = 0: expected a number"),
            (["r.csv", "--by-group"], "grouped = True: expected a file that names the groups"),
            (["r.csv", "--level", "1"], "level = 1.0: expected a share"),
            (["r.csv", "--out", "o.txt"], "--out o.txt: expected a name that ends in .csv"),
            (["r.csv", "--out", "./r.csv"], "--out r.csv: is an input itself"),
            (["r.csv", "--plot", "no/p.png"], "--plot no/p.png: no folder no"),
            (["r.csv", "--plot", "p.gif"], "--plot p.gif: expected a name that ends in .png or .svg or .pdf"),
        ],
    )
    def test_wrong_commands(self, run, place, args, said):
        before = names_in(place)
        run("ratings", "agreement", *args)
        assert (run.code, run.out, run.err.count("\n")) == (2, "", 1)
        assert run.err.startswith(f"moodreel: {said}")
        assert names_in(place) == before


class TestGold:
    def test_a_file(self, run, place):
        run("ratings", "gold", "t.csv", "--out", "g.csv", "--plot", "g.svg")
        assert (run.code, run.err) == (0, "")
        lines = [line.split() for line in run.out.splitlines()]
        assert lines[0] == ["3", "raters,", "150", "instants,", "every", "0.1", "s"]
        assert [line[0] for line in lines[2:5]] == ["ann", "bob", "eve"]
        assert [float(line[2]) for line in lines[2:5]] == pytest.approx([0, 0.4, 0.2], abs=0.03)
        fits = {line[0]: float(line[-3]) for line in lines[-2:]}
        assert fits["gold"] < 0.5 * fits["plain"]
        rows = read(place / "g.csv")
        assert (len(rows), list(rows[0])) == (150, ["time_s", "gold"])
        assert (place / "g.svg").read_bytes().startswith(b"<?xml")

    def test_json(self, run, place):
        run("ratings", "gold", "t.csv", "--json", "--method", "mean", "--lags", "none")
        assert (run.code, run.err) == (0, "")
        facts = json.loads(run.out)
        assert list(facts) == ["file", "instants", "step_s", "raters", "before", "after", "truth"]
        assert [rater["weight"] for rater in facts["raters"]] == pytest.approx([1 / 3] * 3, abs=1e-6)
        assert facts["before"] == facts["after"]
        assert facts["truth"]["gold"] == facts["truth"]["plain_mean"]

    def test_options(self, run, place):
        run("ratings", "gold", "t.csv", "--json", "--min-peak", "0.999")
        assert [rater["lag_known"] for rater in json.loads(run.out)["raters"]] == [False] * 3
        run("ratings", "gold", "t.csv", "--json", "--lag-basis", "level", "--max-lag", "1", "--delay", "0.1")
        late = [rater["late_s"] for rater in json.loads(run.out)["raters"]]
        assert late == pytest.approx([0.1, 0.5, 0.3], abs=0.04)
        run("ratings", "gold", "t.csv", "--out", "g.csv", "--step", "0.5", "--aligned")
        rows = read(place / "g.csv")
        assert list(rows[0]) == ["time_s", "gold", "ann", "bob", "eve"]
        assert [row["time_s"] for row in rows[:3]] == ["0.0", "0.5", "1.0"]

    def test_a_folder(self, run, place):
        (place / "in").mkdir()
        for k in range(3):
            (place / "in" / f"{k}.csv").write_text(draw_traces(k, truth=k != 1))
        (place / "in" / "bad.csv").write_text("time_s,x\n")
        (place / "in" / "rows.csv").write_text(draw_traces(4) + "0.3,1,1,1,1\n")
        run("ratings", "gold", "in", "--out", "out", "--plot", "plots", "--lags", "together")
        assert run.code == 1
        assert run.err.splitlines() == [
            "moodreel: in/bad.csv: no rows under the header",
            "moodreel: in/rows.csv:152: time = 0.3: not after the row before it, 14.9",
        ]
        assert names_in(place / "out") == ["0.csv", "1.csv", "2.csv", "rows.csv"]
        assert names_in(place / "plots") == ["0.png", "1.png", "2.png", "rows.png"]
        lines = run.out.splitlines()
        assert len(lines) == 5
        assert [line.split()[0] for line in lines[1:]] == [
            f"in/{name}.csv" for name in ("0", "1", "2", "rows")
        ]
        run("ratings", "gold", "in/0.csv", "in/1.csv", "--json")
        assert [json.loads(line)["file"] for line in run.out.splitlines()] == ["in/0.csv", "in/1.csv"]

    def test_one_of_several_cannot_be_made(self, run, place):
        (place / "g.csv").write_text("time_s,gold\n0,1\n1,1\n")
        (place / "e.csv").write_text("time_s,x\n0,\n1,\n")
        run("ratings", "gold", "g.csv", "e.csv", "t.csv", "--json")
        assert run.code == 1
        assert run.err.splitlines() == ["moodreel: g.csv: no raters", "moodreel: e.csv: no values"]
        assert json.loads(run.out)["file"] == "t.csv"

    def test_bad_rows(self, run, place):
        (place / "t.csv").write_text(draw_traces() + "20,1\n")
        run("ratings", "gold", "t.csv")
        assert (run.code, run.err) == (1, "moodreel: t.csv:152: 5 cells expected, got 2\n")
        assert run.out.startswith("3 raters, 150 instants")

    def test_notes(self, run, place):
        (place / "t.csv").write_text("time_s,a,b,c\n" + "".join(f"{k},{k % 3},{k % 2},1\n" for k in range(9)))
        run("ratings", "gold", "t.csv")
        notes = [line.partition("   ")[2].split(maxsplit=4)[4:] for line in run.out.splitlines()[2:5]]
        assert notes == [["lag not known: no clear peak"]] * 2 + [["constant"]]
        (place / "t.csv").write_text("time_s,a\n0,1\n1,2\n2,1\n")
        run("ratings", "gold", "t.csv", "--lags", "together")
        assert run.out.splitlines()[2:] == ["a      0.0%     0.000     0.000    1.000"]

    @pytest.mark.parametrize(
        ("args", "said"),
        [
            (["none.csv"], "none.csv: cannot read the traces: No such file"),
            (["r.csv"], "r.csv: no column of times, expected one of time_s, timestamp"),
            (["empty"], "empty: no .csv files in the folder"),
            (["t.csv", "--lags", "all"], "--lags all: expected each, together or none"),
            (["t.csv", "--method", "median"], "method = 'median': expected ewe or mean"),
            (["t.csv", "--step", "0"], "step = 0.0: expected a number of seconds above 0"),
            (["t.csv", "--max-lag", "-1"], "longest = -1.0: expected a number of seconds"),
            (["t.csv", "--min-peak", "1"], "least = 1.0: expected a correlation"),
            (["t.csv", "--lag-basis", "x"], "basis = 'x': expected slope or level"),
            (["t.csv", "--delay", "nan"], "delay = nan: expected seconds from 0 to 60"),
            (["t.csv", "--out", "t.csv"], "--out t.csv: is an input itself"),
            (["t.csv", "--out", "empty"], "--out empty: expected a name that ends in .csv"),
            (
                ["t.csv", "r.csv", "--out", "r.csv"],
                "--out r.csv: is a file; several trace files need a folder",
            ),
            (["t.csv", "r.csv", "--out", "."], "--out .: is the folder of the trace files itself"),
            (["t.csv", "in/t.csv", "--out", "o"], "--out o: two trace files are called t"),
        ],
    )
    def test_wrong_commands(self, run, place, args, said):
        (place / "empty").mkdir()
        before = names_in(place)
        run("ratings", "gold", *args)
        assert (run.code, run.out, run.err.count("\n")) == (2, "", 1)
        assert run.err.startswith(f"moodreel: {said}")
        assert names_in(place) == before


def test_no_verb_prints_the_help(run):
    run("ratings")
    assert (run.code, run.out) == (2, "")
    assert "agreement" in run.err


@pytest.mark.parametrize(
    "args", [["ratings", "--help"], ["ratings", "gold", "-h"], ["ratings", "agreement", "-h"]]
)
def test_help_imports_nothing_heavy(args):
    loaded, printed = list_modules(*args)
    assert printed.startswith("Usage: moodreel ratings")
    assert loaded & {"numpy", "rich", "matplotlib", "pyarrow", "moodreel.labels.gold", "onnxruntime"} == set()


def test_no_more_is_imported_than_needed(place):
    for args in (["agreement", "r.csv", "--out", "o.csv"], ["gold", "t.csv", "--out", "g.csv"]):
        loaded, _ = list_modules("ratings", *args, cwd=place)
        assert "numpy" in loaded
        assert (
            loaded & {"scipy", "pandas", "onnxruntime", "av", "PIL", "torch", "matplotlib", "pyarrow"}
            == set()
        )
