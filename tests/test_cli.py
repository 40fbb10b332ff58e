"""The command line: exit codes, streams, bad input. Most tests run it in this process, through main()."""

import csv
import json
import sys

import pyarrow.parquet as parquet
import pytest

from cli_runs import bundles_fixture, names_in, place_fixture, run_fixture  # noqa: F401 (fixtures)
from moodreel import cli
from moodreel.runtime.table import list_columns
from runtime.tiny import RED, draw_gif


def test_one_file_prints_a_chart(run):
    run("predict", "gifs/red.gif")
    assert (run.code, run.err) == (0, "")
    lines = run.out.splitlines()
    assert lines[0] == "gifs/red.gif"
    assert lines[1] == "  20 x 20, 2 frames, 1.00 s; model tiny-kavan 0.0.1"
    assert lines[3].startswith("  amusement     +1.00  ")
    assert lines[3].endswith("+1.00  " + "█" * 28 + "│" + "█" * 28)
    assert lines[19].rstrip() == "  surprise      -1.00  " + " " * 28 + "│"
    assert "  category pleasure_arousal, confidence 1.00" in lines
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in run.out


def test_what_is_unsupervised_is_one_note(run):
    run("predict", "gifs/red.gif", "--model", "some")
    bars = [line.split()[0] for line in run.out.splitlines() if "│" in line]
    assert sorted(bars) == ["anger", "happiness", "sadness"]
    assert "not scored, no training source had them: amusement, contempt" in run.out


def test_face_prints_a_chart(run):
    run("predict", "gifs/green.gif", "--model", "face")
    assert run.code == 0
    assert "  disgust        1.00  █████" in run.out
    assert "valence" not in run.out


def test_abstain(run):
    run("predict", "gifs/red.gif", "--model", "broken", "--abstain", "1")
    assert "category none, confidence 1.00 (below 1)" in run.out
    run("predict", "gifs/red.gif", "gifs/blue.gif", "--abstain", "0.5", "--json")
    assert [json.loads(line)["category"] for line in run.out.splitlines()] == [
        "pleasure_arousal",
        "misery_sleepiness",
    ]


def test_several_print_a_table(run, place):
    (place / "gifs" / "more").mkdir()
    (place / "gifs" / "more" / "text.gif").write_text("no picture")
    run("predict", "gifs")
    lines = run.out.splitlines()
    assert run.code == 1
    assert lines[0].split() == ["path", "category", "conf", "strongest"]
    assert [line.split()[0] for line in lines[1:]] == [
        "gifs/blue.gif",
        "gifs/green.gif",
        "gifs/more/text.gif",
        "gifs/red.gif",
    ]
    assert lines[3].split()[1] == "error:"
    columns = {
        line.index(word)
        for line, word in [(lines[0], "category"), (lines[1], "misery"), (lines[3], "error:")]
    }
    assert len(columns) == 1
    assert max(map(len, lines[:3])) <= 80


@pytest.mark.parametrize("model", ["kavan", "face"])
@pytest.mark.parametrize("per_frame", [False, True])
def test_json_lines_and_nothing_else(run, model, per_frame):
    run("predict", "gifs", "absent.gif", "--json", "--model", model, *["--per-frame"] * per_frame)
    rows = [json.loads(line) for line in run.out.splitlines()]
    assert run.code == 1
    assert [row["path"] for row in rows] == ["gifs/blue.gif", "gifs/green.gif", "gifs/red.gif", "absent.gif"]
    assert [row["status"] for row in rows] == ["ok", "ok", "ok", "error"]
    names = [column.name for column in list_columns(model, per_frame)]
    assert all(list(row) == names for row in rows)
    assert run.err == ""


def test_json_of_one_file(run):
    run("predict", "gifs/red.gif", "--json")
    assert (run.code, len(run.out.splitlines())) == (0, 1)
    assert json.loads(run.out)["amusement"] == 1.0


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv", ".CSV"])
def test_out(run, place, suffix):
    run("predict", "gifs", "absent.gif", "--out", f"moods{suffix}", "--workers", "2")
    assert (run.code, run.out) == (1, "")
    assert run.err == f"moodreel: 4 rows, 1 failed: moods{suffix} (schema 1)\n"
    path = place / f"moods{suffix}"
    if suffix == ".parquet":
        rows = parquet.read_table(path).to_pylist()
    elif suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    else:
        rows = list(csv.DictReader(path.open(encoding="utf-8", newline="")))
    assert [row["path"] for row in rows] == ["gifs/blue.gif", "gifs/green.gif", "gifs/red.gif", "absent.gif"]
    assert [float(row["contempt"]) for row in rows[:3]] == [1.0, -1.0, -1.0]
    assert rows[3]["error"] == "no such file"
    assert rows[3]["contempt"] in (None, "")


def test_out_and_json_together(run, place):
    run("predict", "gifs/red.gif", "--out", "m.jsonl", "--json")
    assert run.code == 0
    assert run.out == (place / "m.jsonl").read_text("utf-8")


def test_stdin_and_globs(run):
    run("predict", "-", "--json", stdin=b"gifs/red.gif\n\ngifs/blue.gif\n")
    assert [json.loads(line)["path"] for line in run.out.splitlines()] == ["gifs/red.gif", "gifs/blue.gif"]
    run("predict", "gifs/*e*.gif", "--json")
    assert [json.loads(line)["path"] for line in run.out.splitlines()] == [
        "gifs/blue.gif",
        "gifs/green.gif",
        "gifs/red.gif",
    ]


def test_other_files_in_a_folder_are_counted(run, place):
    (place / "gifs" / "notes.txt").touch()
    run("predict", "gifs", "--json")
    assert (run.code, run.err) == (0, "moodreel: 1 files in folders skipped: no known media suffix\n")


def bad_gif(name):
    """Content of one of the issue's bad inputs."""
    screen = b"GIF89a" + b"\x0a\x00\x0a\x00\x00\x00\x00"
    return {
        "empty": b"",
        "text": b"This is a letter, not a picture.\n",
        "zero": b"GIF89a" + bytes(4) + b"\x00\x00\x00" + b";",
        "cut_short": screen + b"\x2c",
        "huge": b"GIF89a\xff\xff\xff\xff\x00\x00\x00\x2c\0\0\0\0\xff\xff\xff\xff\0\x02\x01\x00\x00;",
    }[name]


@pytest.mark.parametrize("name", ["empty", "text", "zero", "cut_short", "huge"])
def test_bad_files(run, place, name):
    """One line that names file and reason; in a batch a row, the rest done."""
    (place / "bad.gif").write_bytes(bad_gif(name))
    run("predict", "bad.gif")
    assert (run.code, run.out, run.err.count("\n")) == (1, "", 1)
    assert run.err.startswith("moodreel: bad.gif: ")
    reason = run.err.removeprefix("moodreel: bad.gif: ").strip()
    run("predict", "bad.gif", "gifs/red.gif", "--json")
    rows = [json.loads(line) for line in run.out.splitlines()]
    assert run.code == 1
    assert (rows[0]["status"], rows[0]["error"], rows[0]["anger"]) == ("error", reason, None)
    assert (rows[1]["status"], rows[1]["error"]) == ("ok", None)


def test_missing_file(run):
    run("predict", "absent.gif")
    assert (run.code, run.out, run.err) == (1, "", "moodreel: absent.gif: no such file\n")


def test_truncated_gif(run, place):
    """Cut in its second frame: a row either way, and no traceback."""
    whole = (place / "gifs" / "red.gif").read_bytes()
    (place / "cut.gif").write_bytes(whole[:-12])
    run("predict", "cut.gif", "gifs/red.gif", "--json")
    rows = [json.loads(line) for line in run.out.splitlines()]
    assert [row["path"] for row in rows] == ["cut.gif", "gifs/red.gif"]
    assert run.code == (1 if rows[0]["status"] == "error" else 0)


def test_one_frame(run, place):
    draw_gif(place / "one.gif", RED)
    run("predict", "one.gif", "--json")
    assert (run.code, json.loads(run.out)["frames"]) == (0, 1)


def test_scores_that_are_not_finite(run, place):
    draw_gif(place / "black.gif", (0, 0, 0))
    run("predict", "black.gif", "--model", "broken")
    assert (run.code, run.err) == (1, "moodreel: black.gif: the model gave scores that are not finite\n")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["predict"], "Missing argument 'PATH'"),
        (["predict", "gifs", "--abstain", "1.5"], "--abstain 1.5: expected a probability from 0 to 1"),
        (["predict", "gifs", "--abstain", "nan"], "--abstain nan"),
        (["predict", "gifs", "--abstain", "much"], "Invalid value for '--abstain'"),
        (["predict", "gifs", "--workers", "0"], "--workers 0: expected at least 1"),
        (
            ["predict", "gifs", "--out", "moods.xlsx"],
            "--out moods.xlsx: expected a name that ends in .parquet, .jsonl",
        ),
        (["predict", "gifs", "--out", "no/moods.csv"], "--out no/moods.csv: no folder no"),
        (["predict", "gifs", "--out", "d.csv"], "--out d.csv: is a folder"),
        (["predict", "d.csv"], "no media in 'd.csv'"),
        (["predict", "*.webm"], "nothing matches '*.webm'"),
        (["predict", "-"], "the list on stdin is empty"),
        (
            ["predict", "gifs", "--model", "sta"],
            "no bundle 'sta' in this version; available: broken, face, kavan, some",
        ),
        (["predict", "gifs", "--model", "caca-rnn"], "no bundle 'caca-rnn' in this version"),
        (["predict", "gifs", "--model", "./gifs"], "gifs: not a bundle: no bundle.json"),
        (["predict", "gifs", "--report", "no/x"], "--report no/x: no folder no"),
        (["predict", "gifs", "--report", "gifs/red.gif"], "--report gifs/red.gif: is no folder"),
        (["predict", "gifs", "--overlay", "no/x"], "--overlay no/x: no folder no"),
        (["predict", "gifs", "--overlay-format", "gif"], "--overlay-format: needs --overlay DIR"),
        (
            ["predict", "gifs", "--overlay", "x", "--overlay-format", "avi"],
            "--overlay-format avi: expected gif, webp, mp4",
        ),
        (["predict", "gifs", "--resume"], "--resume: needs --out DIR"),
        (["paint"], "No such command 'paint'"),
        (["--wrong"], "No such option: --wrong"),
        (["train", "kavan"], "Missing option '--data'"),
        (["evaluate", "kavan", "--data", "m.csv", "--out", "no/s.json"], "--out no/s.json: no folder no"),
    ],
)
def test_wrong_commands(run, place, args, said):
    (place / "d.csv").mkdir()
    run(*args)
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith(f"moodreel: {said}")
    assert run.err.count("\n") == 1
    assert names_in(place) == ["d.csv", "gifs"]


def test_no_verb_prints_the_help(run):
    run()
    assert (run.code, run.out) == (2, "")
    assert "predict" in run.err


def test_models(run):
    run("models")
    assert run.code == 0
    lines = run.out.splitlines()
    assert lines[0].split() == ["name", "system", "version", "size", "labels", "scores"]
    assert lines[4].split()[:3] == ["tiny-kavan", "kavan", "0.0.1"]
    assert "3 of 17 emotions, 2 of 4 categories   accuracy 0.25" in lines[4]
    run("models", "--json")
    facts = json.loads(run.out)
    assert [entry["system"] for entry in facts] == ["kavan", "face", "kavan", "kavan"]
    assert all(entry["size_bytes"] > 0 for entry in facts)


def test_version(run):
    from importlib.metadata import version

    run("--version")
    assert (run.code, run.out) == (0, f"moodreel {version('moodreel')}\n")


def test_a_fault_of_ours_is_one_line_too(run, monkeypatch):
    monkeypatch.setattr("moodreel.runtime.batch.collect_paths", lambda *_: 1 / 0)
    run("predict", "gifs")
    assert run.code == 2
    assert run.err.startswith("moodreel: a fault in moodreel: ZeroDivisionError: division by zero")
    monkeypatch.setenv("MOODREEL_TRACEBACK", "1")
    monkeypatch.setattr(sys, "argv", ["moodreel", "predict", "gifs"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


@pytest.mark.parametrize("verb", ["train", "evaluate", "export"])
def test_the_lab_may_be_absent(run, monkeypatch, verb):
    name = f"moodreel.lab.{verb}"
    monkeypatch.delitem(sys.modules, name, raising=False)

    class NoTorch:
        def find_spec(self, asked, path=None, target=None):
            if asked == name:
                raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(sys, "meta_path", [NoTorch(), *sys.meta_path])
    args = {"train": ["kavan", "--data", "m.csv", "--out", "r"], "evaluate": ["r", "--data", "m.csv"]}
    run(verb, *args.get(verb, ["r", "--out", "b"]))
    assert run.code == 2
    assert (
        run.err == f'moodreel: moodreel {verb} (torch) needs the "lab" extra: pip install "moodreel[lab]"\n'
    )


def test_evaluate_prints_and_writes(run, place, monkeypatch):
    import types

    scores = {"m": {"clips": 12, "failed": 0, "emotions": {"nmse": 0.98765, "spearman": None}}}
    room = types.ModuleType("moodreel.lab.evaluate")
    asked = []
    room.evaluate = lambda *args: asked.append(args) or scores
    monkeypatch.setitem(sys.modules, "moodreel.lab.evaluate", room)
    run("evaluate", "kavan", "--data", "a.csv", "--data", "b.csv", "--split", "val", "--out", "s.json")
    assert run.code == 0
    assert [line.split() for line in run.out.splitlines()] == [
        ["score", "value"],
        ["m.clips", "12"],
        ["m.failed", "0"],
        ["m.emotions.nmse", "0.9877"],
        ["m.emotions.spearman", "-"],
    ]
    assert json.loads((place / "s.json").read_text("utf-8")) == scores
    assert [str(path) for path in asked[0][1]] == ["a.csv", "b.csv"]
    scores["m"]["failed"] = 1  # some clips could not be read: the rest is scored, and the exit code says so
    run("evaluate", "kavan", "--data", "a.csv")
    assert run.code == 1
    assert run.out.startswith("score")


def test_a_network_that_fails_is_the_inputs_failure(run, place, monkeypatch):
    from moodreel.runtime.engine import OnnxEngine

    monkeypatch.setattr(OnnxEngine, "run", lambda *_: 1 / 0)
    run("predict", "gifs/red.gif")
    assert (run.code, run.out) == (1, "")
    assert run.err == "moodreel: gifs/red.gif: ZeroDivisionError: division by zero\n"


def test_an_interrupt_behind_another_error(run, place, monkeypatch):
    """In the midst of an import, Python 3.11 makes a RuntimeError of it."""

    def fail(*_):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise RuntimeError("Error calling __set_name__") from error

    monkeypatch.setattr(cli, "collect", fail)
    run("predict", "gifs")
    assert (run.code, run.err) == (130, "")
