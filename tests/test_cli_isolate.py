"""``predict`` over files that crash their decoder: a row each, nothing else lost, no process left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import moodreel
from cli_runs import bundles_fixture, place_fixture, run_fixture  # noqa: F401 (fixtures)
from fragile import BROKEN
from moodreel.media import Limits, pool
from runtime.tiny import BLUE, GREEN, RED, draw_gif, write_bundle, write_sta

CRASHES = {
    "abort": "the decoder crashed: signal SIGABRT",
    "killed": "the decoder crashed: signal SIGKILL (killed, as when memory runs out)",
    "late": "the decoder crashed: signal SIGSEGV",
    "segfault": "the decoder crashed: signal SIGSEGV",
}


@pytest.fixture
def fragile(monkeypatch):
    monkeypatch.setattr(pool, "START", BROKEN)


def draw_all(folder):
    """Eight good files and four that crash, between them."""
    for k in range(8):
        draw_gif(folder / f"{'bdhmrtxz'[k]}.gif", (RED, GREEN, BLUE)[k % 3], BLUE)
    for name in CRASHES:
        draw_gif(folder / f"{name}.gif", RED, BLUE)
    return sorted(path.name for path in folder.iterdir())


def test_a_crash_costs_one_row(run, place, fragile):
    names = draw_all(place / "lib")
    run("predict", "lib", "--no-isolate", "--json")
    whole = [json.loads(line) for line in run.out.splitlines()]
    assert run.code == 0
    run("predict", "lib", "--json", "--workers", "2")
    rows = [json.loads(line) for line in run.out.splitlines()]
    assert run.code == 1
    assert [row["path"] for row in rows] == [f"lib/{name}" for name in names]
    for row, expected in zip(rows, whole, strict=True):
        reason = CRASHES.get(Path(row["path"]).stem)
        assert row["error"] == reason
        if reason is None:
            assert row == expected
    run("predict", "lib", "--out", "moods")
    assert run.code == 1
    assert "12 inputs, 12 read, 0 unchanged, 4 failed" in run.err
    run("predict", "lib/segfault.gif", "--no-isolate")
    assert run.code == 0  # the fault is the test's, in the process that is not there


def test_what_is_drawn_is_decoded_apart_too(run, place, fragile):
    """A decoder that crashes only where pictures are wanted as they are."""
    for name in ("drawn", "good"):
        draw_gif(place / f"{name}.gif", RED, BLUE)
    run("predict", "drawn.gif", "good.gif", "--overlay", "pictures", "--report", "page")
    assert run.code == 1
    assert "drawn.gif: no picture: the decoder crashed: signal SIGSEGV" in run.err
    assert "drawn.gif: no overlay: the decoder crashed: signal SIGSEGV" in run.err
    assert [path.name.partition("-")[0] for path in (place / "pictures").iterdir()] == ["good"]
    assert "good.gif" in (place / "page" / "index.html").read_text("utf-8")


@pytest.mark.parametrize("system", ["caca-rnn", "sta"])
def test_systems_that_look_for_faces_are_isolated_too(tmp_path, fragile, system):
    names = ["a", "segfault", "b"]
    paths = [draw_gif(tmp_path / f"{name}.gif", RED, BLUE, GREEN) for name in names]
    bundle = write_sta(tmp_path / "tiny") if system == "sta" else system
    mood = moodreel.load(bundle, detector=None)
    apart, here = list(mood.map(paths, isolate=True)), list(mood.map(paths))
    assert [result.error for result in apart] == [None, CRASHES["segfault"], None]
    for k in (0, 2):
        assert apart[k].valence == here[k].valence
        assert apart[k].probabilities == here[k].probabilities
        assert apart[k].source == str(paths[k])


def test_order_and_bounds_hold_with_many(tmp_path, fragile):
    mood = moodreel.load(write_bundle(tmp_path / "tiny"))
    good, bad = draw_gif(tmp_path / "g.gif", BLUE, RED), draw_gif(tmp_path / "segfault.gif", BLUE)
    sources = [bad if k % 20 == 7 else good if k % 2 else np.zeros((1, 4, 4, 3), np.uint8) for k in range(60)]
    taken = 0

    def feed():
        nonlocal taken
        for source in sources:
            taken += 1
            yield source

    for done, result in enumerate(mood.map(feed(), workers=3, batch=2, isolate=True), 1):
        assert taken <= done + 2 * 2 + 3
        source = sources[done - 1]
        assert result.ok == (source is not bad)
        assert result.source == ("<array>" if isinstance(source, np.ndarray) else str(source))
    assert done == 60


def test_limits_are_settings_of_the_command(run, place):
    gifs = [f"gifs/{name}.gif" for name in ("blue", "red")]
    for extra in ([], ["--no-isolate"]):
        run("predict", *gifs, "--limit", "canvas_pixels=399", "--json", *extra)
        assert run.code == 1
        assert [json.loads(line)["error"] for line in run.out.splitlines()] == [
            "20 x 20 pixels, more than the limit of 399 (canvas_pixels)"
        ] * 2
    run("predict", gifs[0], "--limit", "frames=1", "--limit", "seconds=9.5")
    assert (run.code, run.err) == (1, "moodreel: gifs/blue.gif: more than 1 frames (frames)\n")
    run("predict", "gifs", "--out", "moods", "--limit", "file_bytes=5")
    assert "3 inputs, 3 read, 0 unchanged, 3 failed" in run.err
    for text, said in [
        ("pixels=9", "limit = 'pixels=9': expected NAME=VALUE with NAME one of file_bytes, canvas_pixels,"),
        ("frames=many", "limit = 'frames=many': expected frames= and a whole number"),
        ("seconds=", "limit = 'seconds=': expected seconds= and a number of seconds"),
        ("seconds=nan", "Limits.seconds = nan: expected seconds, above 0"),
        ("frames=0", "Limits.frames = 0: expected a whole number of at least 1"),
    ]:
        run("predict", "gifs", "--limit", text)
        assert (run.code, run.out) == (2, "")
        assert run.err.startswith(f"moodreel: {said}")
    run("predict", "gifs", "--limit", "frames=5", "--limit", "frames=6")
    assert run.code == 2


def children(pid):
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_there(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(("end", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_an_interrupt_leaves_no_process(tmp_path, end, code):
    """A Ctrl-C goes to all processes of a terminal."""
    draw_gif(tmp_path / "a.gif", RED)
    write_bundle(tmp_path / "tiny")
    command = [sys.executable, "-m", "moodreel", "predict", "-", "--model", "./tiny", "--json"]
    paths = [tmp_path / f"{k}.gif" for k in range(600)]
    for path in paths:
        path.hardlink_to(tmp_path / "a.gif")
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
        start_new_session=True, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job ignores it
    ) as process:  # fmt: skip
        process.stdin.write("\n".join(map(str, paths)))
        process.stdin.close()
        process.stdout.readline()
        pids = children(process.pid)
        assert pids
        if end == signal.SIGINT:
            os.killpg(process.pid, end)
        else:
            process.kill()
        process.stdout.read()
        said = process.stderr.read()
    assert process.returncode == code
    assert "Traceback" not in said
    for _ in range(200):
        if not any(map(is_there, pids)):
            break
        time.sleep(0.05)
    assert not any(map(is_there, pids))


def test_limits_of_a_recognizer(tmp_path):
    write_bundle(tmp_path / "tiny")
    mood = moodreel.load(tmp_path / "tiny", limits=Limits(frames=1))
    with pytest.raises(moodreel.LimitExceeded):
        mood(draw_gif(tmp_path / "a.gif", RED, BLUE))
