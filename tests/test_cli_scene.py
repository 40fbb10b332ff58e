"""predict with systems that look for faces: a row a face, detectors, what is counted; squares for faces."""

import csv
import io
import json
from contextlib import nullcontext

import numpy as np
import pytest

from cli_runs import bundles_fixture, names_in, place_fixture, run_fixture  # noqa: F401 (fixtures)
from faces.fakes import Squares, draw
from moodreel.emotions import MEC_8
from moodreel.media import write_gif
from moodreel.report import name_overlay, terminal
from moodreel.runtime import recognizer, scene_reader, trace_reader
from moodreel.runtime.schema import SYSTEMS
from runtime.tiny import write_bundle, write_sta

PERSON = [(8, 8, 16, (200, 10)), (40, 8, 16, (10, 200))]


class Networks:
    """A face's class follows its colour: red is happy, green is sad; the scene alone is neutral."""

    def read_faces(self, pixels):
        return pixels.mean(axis=(1, 2)).astype(np.float32)

    read_context = read_faces

    def read_streams(self, face, context):
        attention = np.full((len(face), len(context)), 1 / len(context), np.float32)
        return {"probabilities": self._choose(0 if face[0, 0] > face[0, 1] else 1), "attention": attention}

    def read_scene(self, context):
        return {"probabilities": self._choose(7)}

    @staticmethod
    def _choose(best):
        return np.where(np.arange(8) == best, 0.65, 0.05).astype(np.float32)


@pytest.fixture
def rooms(place, monkeypatch):
    """The working folder with two models that look for faces, and clips of two, one and no faces."""
    used = []

    def open_detector(settings):
        used.append(settings)
        return nullcontext(Squares())

    for room in (scene_reader, trace_reader):
        monkeypatch.setattr(room, "choose_detector", lambda settings: settings)
        monkeypatch.setattr(room, "open_detector", open_detector)
    monkeypatch.setattr(recognizer, "OnnxSceneEngine", lambda *_: Networks())
    labels = {"emotions": [], "categories": list(MEC_8)}
    write_bundle(
        place / "scene", "caca-rnn", b"none", labels=labels, supervised=labels,
        input={"height": 16, "width": 16, "resize": "centre", "face": 8, "pairing": "all"},
        sampling={"method": "rate", "fps": 5.0, "limit": 50},
        sha256=dict.fromkeys(SYSTEMS["caca-rnn"].files, "0" * 64),
    )  # fmt: skip
    for name in SYSTEMS["caca-rnn"].files:
        (place / "scene" / name).write_bytes(b"none")
    write_sta(place / "sta")
    (place / "clips").mkdir()
    for name, people in [("both", PERSON), ("none", []), ("one", PERSON[1:])]:
        frames = [draw((32, 64), *people), draw((32, 64), *people)]
        write_gif(place / "clips" / f"{name}.gif", frames, [0.2, 0.2])
    return used


def test_one_clip_says_which_face(run, rooms):
    run("predict", "clips/both.gif", "--model", "scene")
    assert run.code == 0, run.err
    lines = run.out.splitlines()
    assert lines[0] == "clips/both.gif, face 0"
    assert lines[3].startswith("  happy          0.65  ███")
    assert lines[-2:] == [
        "  2 faces found; read: face 0, in 100 % of the sampled instants",
        "  moments attended to: most at 0.00 s: 50 % (even share 50 %)",
    ]
    run("predict", "clips/none.gif", "--model", "scene")
    assert run.out.splitlines()[-1] == "  no face was found: read from the scene alone"


def test_every_face_of_one_clip_is_a_chart(run, rooms, place):
    run("predict", "clips/both.gif", "--model", "scene", "--every-face", "--overlay", "o", "--report", "r")
    assert run.code == 0, run.err
    charts = run.out.split("\n\nclips/")
    assert len(charts) == 2
    assert run.out.startswith("clips/both.gif, face 0\n")
    assert charts[1].startswith("both.gif, face 1\n")
    assert "category happy" in charts[0]
    assert "category sad" in charts[1]
    names = {name_overlay("clips/both.gif", "gif", face) for face in (0, 1)}
    assert set(names_in(place / "o")) == names
    assert (place / "r" / "index.html").read_text("utf-8").count("<article") == 2


def test_every_face_is_a_row_and_inputs_are_counted(run, rooms, place, monkeypatch):
    seen = []
    monkeypatch.setattr(terminal.Progress, "update", lambda self, done, failed: seen.append((done, failed)))
    run("predict", "clips", "absent.gif", "--model", "scene", "--every-face", "--out", "m.csv")
    assert run.code == 1
    assert run.err == "moodreel: 5 rows of 4 inputs, 1 failed: m.csv (schema 1)\n"
    assert seen == [(1, 0), (1, 0), (2, 0), (3, 0), (4, 1)]
    rows = list(csv.DictReader(io.StringIO((place / "m.csv").read_text("utf-8"))))
    kept = [(row["path"], row["category"], row["faces"], row["face_id"], row["face_share"]) for row in rows]
    assert kept == [
        ("clips/both.gif", "happy", "2", "0", "1.0"),
        ("clips/both.gif", "sad", "2", "1", "1.0"),
        ("clips/none.gif", "neutral", "0", "", "0.0"),
        ("clips/one.gif", "sad", "1", "0", "1.0"),
        ("absent.gif", "", "", "", ""),
    ]
    assert [row["fallback"] for row in rows] == ["", "", scene_reader.NO_FACE, "", ""]
    run("predict", "clips", "--model", "scene", "--out", "m.csv")
    assert (run.code, run.err) == (0, "moodreel: 3 rows: m.csv (schema 1)\n")


def test_the_table_tells_faces_apart(run, rooms):
    run("predict", "clips", "--model", "scene", "--every-face")
    assert [line.split()[:4] for line in run.out.splitlines()] == [
        ["path", "face", "category", "conf"],
        ["clips/both.gif", "0", "happy", "0.65"],
        ["clips/both.gif", "1", "sad", "0.65"],
        ["clips/none.gif", "-", "neutral", "0.65"],
        ["clips/one.gif", "0", "sad", "0.65"],
    ]
    run("predict", "clips", "--model", "scene")
    assert run.out.splitlines()[0].split() == ["path", "category", "conf", "strongest"]


@pytest.mark.parametrize("model", ["scene", "sta"])
@pytest.mark.parametrize(("option", "kind"), [(None, "auto"), ("auto", "auto"), ("dlib", "dlib")])
def test_the_detector_is_the_one_that_was_named(run, rooms, model, option, kind):
    run("predict", "clips/one.gif", "--model", model, *(["--detector", option] if option else []))
    assert (run.code, [settings.kind for settings in rooms]) == (0, [kind])


@pytest.mark.parametrize("model", ["scene", "sta"])
def test_the_whole_frame_needs_no_detector(run, rooms, model):
    run("predict", "clips/one.gif", "--model", model, "--detector", "frame", "--json")
    assert (run.code, rooms) == (0, [])
    assert json.loads(run.out)["faces"] is None
    run("predict", "clips/one.gif", "--model", "scene", "--detector", "frame")
    assert "  the whole frame was taken as the face\n" in run.out


def test_keypoint_files_as_a_detector(run, rooms, place):
    (place / "points").mkdir()
    run("predict", "clips/one.gif", "--model", "scene", "--detector", "keypoints:points", "--json")
    assert (run.code, [(s.kind, str(s.files)) for s in rooms]) == (0, [("openpose", "points")])
    run("predict", "clips/one.gif", "--model", "scene", "--detector", "keypoints:gone")
    assert (run.code, run.err) == (2, "moodreel: --detector keypoints:gone: no such file or folder\n")


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--model", "kavan", "--detector", "dlib"],
         "--detector dlib: kavan is of the system kavan, which looks for no faces"),
        (["--model", "face", "--detector", "frame"],
         "--detector frame: face is of the system face, which looks for no faces"),
        (["--model", "sta", "--every-face"],
         "--every-face: only with a model of the system caca-rnn; sta is of sta"),
        (["--every-face"], "--every-face: only with a model of the system caca-rnn; kavan is of kavan"),
        (["--model", "scene", "--detector", "eyes"],
         "detector = 'eyes': expected auto, dlib, mediapipe, keypoints:PATH or frame"),
    ],
)  # fmt: skip
def test_a_wrong_command_is_one_line(run, rooms, args, line):
    run("predict", "clips/one.gif", *args)
    assert (run.code, run.out, run.err) == (2, "", f"moodreel: {line}\n")


def test_a_trace_is_drawn_without_being_asked_for(run, rooms, place):
    run("predict", "clips/one.gif", "--model", "sta", "--report", "r")
    assert run.code == 0, run.err
    assert "  along time " in run.out
    run("predict", "clips", "--model", "sta", "--report", "r", "--json")
    assert "frame_valence" not in run.out
    assert (place / "r" / "index.html").read_text("utf-8").count("<polyline") == 2
