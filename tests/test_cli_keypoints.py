"""The verb keypoints: files, rows, exit codes. A fake stands for the detector, or faces come from files."""

import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from cli_runs import Run
from fragile import BROKEN
from moodreel.errors import MissingExtra
from moodreel.faces.openpose import read_keypoints, read_people
from moodreel.media import pool, write_gif
from moodreel.runtime import keypoints
from moodreel.runtime.keypoints import KeypointRow, name_files
from moodreel.types import Face


def make_face(x, y, side):
    points = np.random.default_rng(int(x * 7 + y)).uniform([x, y], [x + side, y + side], (70, 2)).round(2)
    return Face(np.array([x, y, x + side, y + side], float), points, np.full(70, 0.75), 1.25)


class Bright:
    """Finds a face of 10 x 10 pixels wherever a frame has a bright corner; chokes on a blue frame."""

    name = "fake"

    def detect(self, media, indices):
        for _, frame in media.read(indices):
            if frame[0, 0, 2] > 200 and frame[0, 0, 0] < 50:
                raise RuntimeError("blue\nis too much")
            found = [make_face(2, 3, 10)] if frame[0, 0, 0] > 128 else []
            yield found + ([make_face(20.5, 4, 9)] if frame[0, -1, 0] > 128 else [])


def draw(path, frames, durations):
    """A GIF of 40 x 20 pixels; of each frame, the levels of its left and right half."""
    path.parent.mkdir(exist_ok=True)
    pictures = np.zeros((len(frames), 20, 40, 3), np.uint8)
    for picture, (left, right) in zip(pictures, frames, strict=True):
        picture[:, :20], picture[:, 20:] = left, right
    write_gif(path, pictures, durations)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    draw(tmp_path / "gifs/one.gif", [(255, 0), (255, 0), (0, 0)], [0.1, 0.3, 0.2])
    draw(tmp_path / "gifs/two.gif", [(255, 255), (0, 255)], [0.1, 0.5])
    draw(tmp_path / "gifs/none.gif", [(0, 0), (9, 9)], [0.1, 0.1])
    return tmp_path


@pytest.fixture
def run(place, capfd, monkeypatch):
    open_real = keypoints.open_detector
    monkeypatch.setattr(keypoints, "choose_detector", lambda settings: settings)
    monkeypatch.setattr(
        keypoints, "open_detector", lambda s: open_real(s) if s.files else nullcontext(Bright())
    )

    def call(*args, stdin=b""):
        done = Run(capfd, monkeypatch)("keypoints", *args, stdin=stdin)
        return done.code, done.out, done.err

    return call


def names_in(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def test_a_file_a_clip_and_a_row_an_input(run, place):
    code, out, err = run("gifs", "--out", "found", "--workers", 1)
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [
        ["path", "frames", "with", "faces", "faces"],
        ["gifs/none.gif", "2", "0", "0"],
        ["gifs/one.gif", "3", "2", "1"],
        ["gifs/two.gif", "2", "2", "2"],
    ]
    assert err == "moodreel: 3 clips, 2 with faces, 3 faces: found\n"
    assert names_in("found") == ["none.json", "one.json", "two.json"]
    content = json.loads(Path("found/one.json").read_bytes())
    assert [(f["index"], f["time"], len(f["people"])) for f in content["frames"]] == [
        (0, 0.0, 1), (1, 0.1, 1), (2, 0.4, 0)
    ]  # fmt: skip
    assert (content["source"], content["detector"], content["width"], content["height"]) == (
        "one.gif", "fake", 40, 20
    )  # fmt: skip
    (person,) = content["frames"][0]["people"]
    assert (person["track"], person["box"], person["score"]) == (0, [2, 3, 12, 13], 1.25)
    expected = np.column_stack([make_face(2, 3, 10).points, np.full(70, 0.75)])
    assert person["face_keypoints_2d"] == expected.ravel().tolist()
    read = read_keypoints("found/one.json")
    assert read.found.tolist() == [True, True, False]
    np.testing.assert_allclose(read.times, [0, 0.1, 0.4])
    assert not json.loads(Path("found/none.json").read_bytes())["frames"][0]["people"]


def test_what_cannot_be_read_is_a_row_and_the_rest_is_done(run, place):
    (place / "gifs/broken.gif").write_bytes(b"GIF89a but no more")
    draw(place / "gifs/blue.gif", [(255, 0), ((0, 0, 255), 0)], [0.1, 0.1])
    code, out, err = run("gifs", "gone.gif", "--out", "found", "--workers", 1)
    assert code == 1
    rows = {line.split()[0]: line for line in out.splitlines()[1:]}
    assert list(rows) == [
        "gifs/blue.gif", "gifs/broken.gif", "gifs/none.gif", "gifs/one.gif", "gifs/two.gif", "gone.gif"
    ]  # fmt: skip
    assert rows["gone.gif"].endswith("  error: no such file")
    assert rows["gifs/blue.gif"].endswith("  error: RuntimeError: blue is too much")
    assert "  error: " in rows["gifs/broken.gif"]
    assert err == "moodreel: 6 clips, 2 with faces, 3 faces, 3 failed: found\n"
    assert names_in("found") == ["none.json", "one.json", "two.json"]


def test_a_decoder_that_crashes_costs_its_clip(run, place, monkeypatch):
    for name in ("abort", "late", "segfault"):
        draw(place / f"gifs/{name}.gif", [(255, 0), (255, 0), (0, 0)], [0.1, 0.3, 0.2])
    assert run("gifs", "--out", "found", "--no-isolate", "--workers", 1)[0] == 0
    whole = {path.name: path.read_bytes() for path in Path("found").iterdir()}
    monkeypatch.setattr(pool, "START", BROKEN)
    code, out, err = run("gifs", "--out", "again", "--workers", 1)
    assert code == 1
    assert [line.split(maxsplit=1) for line in out.splitlines()[1:]] == [
        ["gifs/abort.gif", "error: the decoder crashed: signal SIGABRT"],
        ["gifs/late.gif", "error: the decoder crashed: signal SIGSEGV"],
        ["gifs/none.gif", "2           0      0"],
        ["gifs/one.gif", "3           2      1"],
        ["gifs/segfault.gif", "error: the decoder crashed: signal SIGSEGV"],
        ["gifs/two.gif", "2           2      2"],
    ]
    assert err.endswith("moodreel: 6 clips, 2 with faces, 3 faces, 3 failed: again\n")
    assert {path.name: path.read_bytes() for path in Path("again").iterdir()} == {
        name: whole[name] for name in ("none.json", "one.json", "two.json")
    }


def end_or_write(job):
    """What a worker does with a clip: the names say which end it."""
    source, file = job
    if "deadly" in source:
        os.kill(os.getpid(), signal.SIGSEGV)
    return KeypointRow(source, None, file, os.getpid())


def test_a_detector_that_crashes_costs_its_clip():
    names = [f"{k}-deadly" if k in (0, 5, 11) else f"{k}" for k in range(12)]
    rows = list(keypoints._share([(name, Path(name)) for name in names], end_or_write, 2))
    assert [row.source for row in rows] == names
    assert [k for k, row in enumerate(rows) if row.error] == [0, 5, 11]
    assert rows[5] == KeypointRow("5-deadly", "looking for faces in it crashed the process that did")
    assert os.getpid() not in {row.frames for row in rows}


def test_frames_at_a_rate_keep_their_own_times(run):
    code, out, _ = run("gifs/one.gif", "--out", "found", "--fps", 2)  # ticks 0 and 0.5 s; starts 0, 0.1, 0.4
    assert (code, out.splitlines()[1].split()[1:]) == (0, ["2", "1", "1"])
    _, _, frames = read_people("found/one.json")
    assert [(frame.index, frame.time) for frame in frames] == [(0, 0.0), (2, 0.4)]


def test_the_gap_decides_who_is_who(run, place):
    draw(place / "gifs/gap.gif", [(255, 0), (0, 0), (255, 0)], [0.1, 0.5, 0.1])
    assert run("gifs/gap.gif", "--out", "a")[1].splitlines()[1].split()[1:] == ["3", "2", "2"]
    assert run("gifs/gap.gif", "--out", "a", "--gap", "0.7")[1].splitlines()[1].split()[1:] == ["3", "2", "1"]


def test_files_are_imported_in_several_processes(run, place, monkeypatch):
    """What was written is imported by two workers, and comes out as it was but for the detector's name."""
    assert run("gifs", "--out", "found", "--workers", 1)[0] == 0
    monkeypatch.undo()
    command = [
        sys.executable, "-m", "moodreel", "keypoints", "gifs", "gone.gif", "--openpose", "found",
        "--out", "again", "--workers", "2",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.endswith("moodreel: 4 clips, 2 with faces, 3 faces, 1 failed: again\n")
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == [
        "gifs/none.gif", "gifs/one.gif", "gifs/two.gif", "gone.gif"
    ]  # fmt: skip
    for name in ("none", "one", "two"):
        first, second = (place / folder / f"{name}.json" for folder in ("found", "again"))
        assert second.read_text() == first.read_text().replace('"detector":"fake"', '"detector":"openpose"')


def test_toon_keypoints_are_imported(run, place):
    """The layout that synth writes: no index, no time."""
    people = {
        "face_keypoints_2d": np.column_stack([make_face(5, 5, 12).points, np.ones(70)]).ravel().tolist()
    }
    content = {"version": 1.3, "width": 40, "height": 20, "frames": [{"people": [people]}] * 3}
    (place / "keypoints").mkdir()
    (place / "keypoints/one.json").write_text(json.dumps(content))
    code, out, _ = run("gifs/one.gif", "--openpose", "keypoints", "--out", "found")
    assert (code, out.splitlines()[1].split()[1:]) == (0, ["3", "3", "1"])
    code, out, _ = run("gifs/two.gif", "--openpose", "keypoints", "--out", "found")
    assert code == 1
    assert "error: keypoints: no two.json and no two_000000000000_keypoints.json" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["gifs", "--out", "gifs/one.gif"], "--out gifs/one.gif: is no folder"),
        (["gifs", "--out", "a/b"], "--out a/b: no folder a"),
        (["gifs"], "Missing option '--out'"),
        (["nowhere*", "--out", "a"], "nothing matches"),
        (["gifs", "--out", "a", "--workers", "0"], "--workers 0"),
        (["gifs", "--out", "a", "--fps", "0"], "fps"),
        (["gifs", "--out", "a", "--fps", "nan"], "fps"),
        (["gifs", "--out", "a", "--gap", "-1"], "gap"),
        (["gifs", "--out", "a", "--detector", "haar"], "detector = 'haar': expected one of auto"),
        (["gifs", "--out", "a", "--detector", "openpose"], "--detector openpose: needs --openpose DIR"),
        (["gifs", "--out", "a", "--detector", "dlib", "--openpose", "gifs"], "not with --detector dlib"),
        (["gifs", "--out", "a", "--openpose", "gone"], "--openpose gone: no such file or folder"),
        (["gifs", "--out", "a", "--openpose", "gifs", "--model-file", "x"], "not with --openpose"),
        (["gifs", "--out", "a", "--upsample", "9"], "upsample"),
    ],
)
def test_wrong_commands(run, place, args, message):
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("moodreel: ")
    assert err.count("\n") == 1
    assert not (place / "a").exists()


def test_a_missing_extra_is_the_line_that_installs_it(run, monkeypatch, place):
    def refuse(settings):
        raise MissingExtra("faces", "finding faces with dlib")

    monkeypatch.setattr(keypoints, "choose_detector", refuse)
    code, out, err = run("gifs", "--out", "found")
    assert (code, out) == (2, "")
    assert 'pip install "moodreel[faces]"' in err
    assert not (place / "found").exists()


def test_a_file_appears_whole_or_not_at_all(run, place, monkeypatch):
    (place / "found").mkdir()
    (place / "found/one.json").write_text("older")
    monkeypatch.setattr(keypoints, "format_faces", lambda clip: 1 / 0)
    code, out, _ = run("gifs/one.gif", "--out", "found")
    assert code == 1
    assert "ZeroDivisionError" in out
    assert names_in("found") == ["one.json"]
    assert (place / "found/one.json").read_text() == "older"


def test_names_of_files_do_not_collide():
    names = name_files(["a/x.gif", "b/x.mp4", "b/X.gif", "c/y.tar.gif", "z"])
    assert names[3:] == ["y.tar.json", "z.json"]
    assert len({name.casefold() for name in names}) == 5
    assert all(name.endswith(".json") and name[:2].casefold() == "x-" for name in names[:3])
    assert name_files(["b/x.mp4", "a/x.gif"]) == [names[1], names[0]]
