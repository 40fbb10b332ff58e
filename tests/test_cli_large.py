"""``predict --out DIR`` and ``merge`` on the command line; killed, interrupted, on several shards."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from cli_runs import bundles_fixture, command, interrupt, names_in, place_fixture, run_fixture  # noqa: F401 (fixtures)
from runtime.tiny import BLUE, GREEN, RED, draw_gif

KILL = Path(__file__).parent / "runtime" / "kill.py"


def test_a_folder_gets_a_run_and_merge_its_table(run, place):
    (place / "gifs" / "bad.gif").write_text("no picture")
    (place / "gifs" / "notes.txt").touch()
    run("predict", "gifs", "--out", "moods/")
    assert (run.code, run.out) == (1, "")
    assert run.err.splitlines() == [
        "moodreel: 1 files in folders skipped: no known media suffix",
        "moodreel: 4 inputs, 4 read, 0 unchanged, 1 failed: moods (moodreel merge makes one table of it)",
    ]
    run("predict", "gifs", "--out", "moods", "--resume")
    assert run.code == 1  # as a run from the start would say
    assert "4 inputs, 0 read, 4 unchanged, 1 failed: moods" in run.err
    assert run.err.splitlines()[-1] == (
        "moodreel: 1 had failed before and have not changed: --retry-failed reads them"
    )
    run("predict", "gifs", "--out", "moods", "--resume", "--retry-failed")
    assert "4 inputs, 1 read, 3 unchanged, 1 failed: moods" in run.err
    draw_gif(place / "gifs" / "bad.gif", BLUE)
    (place / "gifs" / "red.gif").unlink()
    run("predict", "gifs", "--out", "moods", "--resume")
    assert run.code == 0
    assert "3 inputs, 1 read, 2 unchanged, 1 gone: moods" in run.err
    for suffix in (".csv", ".jsonl", ".parquet"):
        run("merge", "moods", "--out", f"merged{suffix}")
        assert (run.code, run.out) == (0, "")
        assert run.err == f"moodreel: 3 rows: merged{suffix} (schema 1)\n"
        run("predict", "gifs", "--out", f"fresh{suffix}")
    for suffix in (".csv", ".jsonl"):
        assert (place / f"merged{suffix}").read_bytes() == (place / f"fresh{suffix}").read_bytes()
    merged, fresh = (parquet.read_table(place / f"{name}.parquet") for name in ("merged", "fresh"))
    assert merged.equals(fresh, check_metadata=True)


def test_shards_together_are_the_whole(run, place):
    for k in range(9):
        draw_gif(place / "gifs" / "more" / f"{k}.gif", (RED, GREEN, BLUE)[k % 3])
    for i in (1, 2, 3):
        run("predict", "gifs", "--out", "moods", "--shard", f"{i}/3", "--per-frame")
        assert run.code == 0
    assert names_in(place / "moods") == ["shard-1-of-3", "shard-2-of-3", "shard-3-of-3"]
    run("merge", "moods", "--out", "merged.jsonl")
    run("predict", "gifs", "--out", "fresh.jsonl", "--per-frame")
    assert (place / "merged.jsonl").read_bytes() == (place / "fresh.jsonl").read_bytes()
    (next((place / "moods" / "shard-2-of-3").iterdir())).unlink()
    run("merge", "moods", "--out", "merged.jsonl")
    assert run.code == 2
    assert run.err.startswith("moodreel: moods/shard-2-of-3: ")


def test_a_list_on_stdin_has_a_run_of_its_own(run, place):
    names = b"gifs/red.gif\ngifs/absent.gif\ngifs/blue.gif\n"
    run("predict", "-", "--out", "moods", stdin=names)
    assert run.code == 1
    run("predict", "-", "--out", "moods", "--resume", stdin=names)
    assert "3 inputs, 0 read, 3 unchanged, 1 failed" in run.err
    draw_gif(place / "gifs" / "absent.gif", RED)
    run("predict", "-", "--out", "moods", "--resume", stdin=names)
    assert "3 inputs, 1 read, 2 unchanged: moods" in run.err
    run("predict", "-", "--out", "moods", "--resume", stdin=names[14:])
    assert run.code == 2
    assert "moods: begun with list_sha256 = " in run.err
    run("merge", "moods", "--out", "m.jsonl")
    rows = [json.loads(line) for line in (place / "m.jsonl").read_text("utf-8").splitlines()]
    assert [row["path"] for row in rows] == ["gifs/red.gif", "gifs/absent.gif", "gifs/blue.gif"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--resume"], "--resume: needs --out DIR"),
        (["--out", "m.csv", "--resume"], "--resume: needs --out DIR"),
        (["--out", "m.csv", "--shard", "1/2"], "--shard 1/2: needs --out DIR"),
        (["--retry-failed"], "--retry-failed: needs --out DIR"),
        (["--out", "moods", "--retry-failed"], "--retry-failed: needs --resume"),
        (["--out", "moods", "--shard", "3/2"], "shard = '3/2': expected i/n with i from 1 to n"),
        (["--out", "moods", "--json"], "--json: not with --out DIR"),
        (["--out", "moods", "--report", "r"], "--report, --overlay: not with --out DIR"),
        (["--out", "no/moods"], "--out no/moods: no folder no"),
        (["--out", "file"], "--out file: is no folder"),
        (["--out", "m.xlsx"], "--out m.xlsx: expected a name that ends in .parquet, .jsonl, .csv; or"),
        (["--out", "done", "--resume", "--abstain", "0.5"], "done: begun with abstain = null, here 0.5"),
        (["--out", "done", "--resume", "--model", "face"], 'done: begun with system = "kavan", here "face"'),
        (["--out", "done", "--resume", "--model", "some"], "done: begun with bundle = "),
        (["--out", "done", "--resume", "--per-frame"], "done: begun with per_frame = false, here true"),
        (["--out", "done", "--resume", "--shard", "1/2"], "done: begun with shards = 1, here 2"),
        (["gifs", "--out", "done", "--resume"], 'done: begun with paths = ["gifs"], here ["gifs", "gifs"]'),
        (["--out", "done"], "done: has a run already: --resume goes on with it"),
    ],
)  # fmt: skip
def test_wrong_runs(run, place, args, said):
    run("predict", "gifs", "--out", "done")
    (place / "file").touch()
    before = names_in(place), names_in(place / "done")
    run("predict", "gifs", *args)
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith(f"moodreel: {said}")
    assert run.err.count("\n") == 1
    assert (names_in(place), names_in(place / "done")) == before


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["gifs", "--out", "m.csv"], "gifs: no parts of a run"),
        (["nowhere", "--out", "m.csv"], "nowhere: no such folder"),
        (["done"], "Missing option '--out'"),
        (["done", "--out", "m.txt"], "--out m.txt: expected a name that ends in .parquet, .jsonl, .csv\n"),
        (["done", "--out", "gifs"], "--out gifs: expected a name"),
    ],
)
def test_wrong_merges(run, place, args, said):
    run("predict", "gifs", "--out", "done")
    run("merge", *args)
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith(f"moodreel: {said}")
    assert names_in(place) == ["done", "gifs"]


def test_no_media_leaves_nothing(run, place):
    (place / "empty").mkdir()
    run("predict", "empty", "--out", "moods", "--resume")
    assert run.code == 2
    assert run.err.startswith("moodreel: no media in 'empty'")
    assert names_in(place) == ["empty", "gifs"]


def test_progress_says_rate_and_time_left(run, place, monkeypatch):
    from moodreel.report import terminal

    clock = iter(range(0, 10**6, 3))
    real = terminal.Progress
    monkeypatch.setattr(terminal, "Progress", lambda *args: real(*args, clock=lambda: next(clock)))
    for k in range(12):
        draw_gif(place / "many" / f"{k}.gif", RED)
    run("predict", "many", "--out", "moods")
    lines = run.err.splitlines()[:-1]
    assert len(lines) >= 4
    assert any(re.fullmatch(r"moodreel: \d+ of 12, 0\.[1-3] a second, \d+ s left", line) for line in lines)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_keeps_what_is_finished(place, bundles, sent, code):
    for k in range(6):
        draw_gif(place / "many" / f"{k}.gif", RED, size=30)
    slow = (
        "import sys, time\n"
        "from moodreel.runtime import frame_reader, recognizer\n"
        "real, seen = frame_reader.open_media, []\n"
        "def slow(*args):\n"
        "    seen.append(1)\n"
        "    if len(seen) == 5:\n        print('reading', flush=True)\n        time.sleep(1)\n"
        "    return real(*args)\n"
        "frame_reader.open_media = slow\n"
        "stream = recognizer.Recognizer._stream\n"
        "recognizer.Recognizer._stream = lambda self, s, w, b, *rest: stream(self, s, w, 1, *rest)\n"
        "from moodreel.cli import main\n"
        "main()\n"
    )
    args = ["predict", "many", "--out", "m", "--workers", "1", "--model", bundles / "kavan"]
    returned, err = interrupt(slow, args, sent, 0.3)
    assert returned == code
    assert err == "moodreel: m: not finished: the same command with --resume goes on\n"
    [part] = names_in(place / "m")
    assert 1 <= parquet.read_metadata(place / "m" / part).num_rows <= 4
    again = command("predict", "many", "--out", "m", "--resume", "--model", bundles / "kavan")
    assert again.returncode == 0
    assert "6 inputs, " in again.stderr
    assert "0 unchanged" not in again.stderr
    assert command("merge", "m", "--out", "m.csv").returncode == 0
    assert len((place / "m.csv").read_text("utf-8").splitlines()) == 7


def test_a_full_disk_is_one_line(place, bundles):
    told = command(
        "predict", "gifs", "--out", "m", "--model", bundles / "kavan",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
    )  # fmt: skip
    assert told.returncode == 2
    assert told.stderr.startswith("moodreel: ")
    assert told.stderr.count("\n") == 1
    assert names_in(place) == ["gifs"]


def test_killed_at_random_moments(tmp_path):
    """20 times SIGKILL; what is checked after each is said in kill.py."""
    told = subprocess.run(
        [sys.executable, KILL, tmp_path, "20", "5"],
        capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    counts = json.loads(told.stdout)
    assert counts["kills"] == 20
    assert counts["with_parts"] >= 3  # some kills came when there was something to lose
    assert counts["ended"] >= 1
