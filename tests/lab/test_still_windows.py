"""Windows drawn from labelled stills: what is shown at a tick is what its target says."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lab.test_face_video import SMALL, make_row, write_points
from moodreel.errors import DataError, SettingsError
from moodreel.lab.data.compose_traces import class_valence
from moodreel.lab.data.face_video import FaceCutter
from moodreel.lab.data.manifest import Row, write_manifest
from moodreel.lab.data.still_windows import StillWindows, move_faces
from moodreel.lab.export import export
from moodreel.lab.modules_sta import build_sta
from moodreel.lab.settings import TrainSettings
from moodreel.lab.train import train
from moodreel.runtime.bundle import read_bundle

CLASSES = ("happiness", "neutral", "sadness", "disgust")


def grey_of(valence):
    return 128 + 100 * np.asarray(valence)


def make_still(folder, name, label, person=None, missing=False, split="train"):
    """A picture of one grey, which is the valence of its class."""
    grey = int(np.rint(grey_of(class_valence(label))))
    Image.fromarray(np.full((40, 40, 3), grey, np.uint8)).save(folder / f"{name}.png")
    points = write_points(folder / f"{name}.json", range(45) if missing else ())
    content = json.loads(points.read_text())
    points.write_text(json.dumps({**content, "frames": content["frames"][:1]}))
    return Row(folder / f"{name}.png", person or name, split, labels={"ekman": label}, keypoints=points)


def open_windows(folder, rows, settings=SMALL, count=50, seed=0):
    cutter = FaceCutter(folder / "store", replace(settings, frames=1))
    assert cutter.fill(rows) == []
    return StillWindows(rows, cutter, settings, count, seed)


@pytest.fixture
def stills(tmp_path):
    """Two persons with a neutral picture, two without."""
    given = [("a", "neutral"), ("a", "happiness"), ("b", "neutral"), ("b", "sadness"), ("c", "disgust")]
    return [make_still(tmp_path, f"{n}", label, person) for n, (person, label) in enumerate(given)]


def test_every_tick_shows_what_its_target_says(stills, tmp_path):
    windows = open_windows(tmp_path, stills)
    assert len(windows) == 50
    seen = []
    for n in range(50):
        item = windows[n, 0]
        assert item["frames"].shape == (16, 8, 8, 3)
        assert all(item[name].all() for name in ("labelled", "found", "inside"))
        mean = item["frames"].float().mean(dim=(1, 2, 3)).numpy()
        np.testing.assert_allclose(mean, grey_of(item["target"].numpy()), atol=1.0)
        seen.append(item["target"].numpy())
    moves = [np.ptp(target) for target in seen]
    assert max(moves) > 0.9  # neutral to happiness, or a cut
    assert min(moves) == 0.0  # one picture throughout
    heights = np.concatenate(seen)
    assert heights.max() == pytest.approx(class_valence("happiness"), abs=1e-6)
    assert heights.min() == pytest.approx(class_valence("sadness"), abs=1e-6)


def test_an_expression_comes_from_the_same_person(stills, tmp_path, monkeypatch):
    monkeypatch.setattr("moodreel.lab.data.still_windows.CUT", 0.0)
    windows = open_windows(tmp_path, stills)
    targets = np.stack([windows[n, 0]["target"].numpy() for n in range(60)]).astype(float)
    still = np.ptp(targets, axis=1) == 0
    assert set(targets[still].round(3).ravel()) == {0.0, round(class_valence("disgust"), 3)}
    moving = targets[~still]  # from neutral: never through another person's expression
    assert ((moving.max(axis=1) <= 0) | (moving.min(axis=1) >= 0)).all()
    assert moving.max() > 0.9
    assert moving.min() < -0.8


def test_draws_differ_and_repeat(stills, tmp_path):
    def draw(epoch, seed=0):
        windows = open_windows(tmp_path, stills, seed=seed)
        return np.stack([windows[n, epoch]["target"].numpy() for n in range(20)])

    first = draw(0)
    np.testing.assert_array_equal(draw(0), first)
    assert not np.array_equal(draw(1), first)
    assert not np.array_equal(draw(0, seed=1), first)
    assert len(np.unique(first, axis=0)) > 10


def test_rare_classes_are_drawn_more_often_than_they_are(tmp_path):
    rows = [make_still(tmp_path, f"h{n}", "happiness") for n in range(9)]
    rows += [make_still(tmp_path, "d", "disgust")]
    windows = open_windows(tmp_path, rows, count=400)
    first = np.array([windows[n, 0]["target"][0].item() for n in range(400)])
    # 9 x 9^-0.5 = 3 against 1
    assert (first < 0).mean() == pytest.approx(0.25, abs=0.06)


def test_stills_without_a_face_are_left_out(tmp_path):
    nobody = make_still(tmp_path, "n", "sadness", missing=True)
    windows = open_windows(tmp_path, [nobody, make_still(tmp_path, "a", "happiness")])
    assert [row.clip.stem for row in windows.rows] == ["a"]
    with pytest.raises(DataError, match="none of 1 stills has a face that was found"):
        open_windows(tmp_path, [nobody])


def test_a_face_stays_where_it_is_but_for_a_little():
    picture = np.zeros((1, 48, 48, 3), np.uint8)
    picture[:, 20:28, 20:28] = 255
    moved = move_faces(picture, np.ones((1, 16)), np.random.default_rng(0)).astype(float)[..., 0]
    y, x = np.mgrid[:48, :48] + 0.5
    centre = np.stack([(moved * axis).sum((1, 2)) / moved.sum((1, 2)) for axis in (x, y)], axis=1)
    assert (abs(centre - 24) < 4).all()
    assert centre.std(axis=0).min() > 0.05  # and it does not stand still
    assert moved.sum((1, 2)) / 255 == pytest.approx(64, rel=0.25)


class TestTraining:
    def test_stills_join_the_clips(self, stills, tmp_path):
        row = make_row(tmp_path, "clip")
        model = replace(SMALL, still_windows=6)
        settings = TrainSettings(batch=4, precision="32")
        module, (learnt, held) = build_sta(model, settings, [row, *stills], [row], tmp_path / "faces")
        assert len(learnt.dataset) == 2 + 6
        assert len(held.dataset) == 2
        batch = next(iter(learnt))
        assert batch["frames"].shape == (4, 16, 8, 8, 3)
        module.log = lambda *args, **kwargs: None
        assert module.training_step(batch, 0).item() > 0
        clips = {int(i["clip"]) for i in (learnt.dataset[n, 0] for n in range(8))}
        assert clips == {0, -1}
        _, (plain, _) = build_sta(SMALL, TrainSettings(batch=2), [row, *stills], [row], tmp_path / "faces")
        assert len(plain.dataset) == 2

    def test_bad_stills_are_named(self, stills, tmp_path):
        (tmp_path / "0.png").write_bytes(b"no picture")
        model = replace(SMALL, still_windows=6)
        row = make_row(tmp_path, "clip")
        with pytest.raises(DataError, match=r"1 clips cannot be read: .*0\.png"):
            build_sta(model, TrainSettings(batch=4), [row, *stills], [row], tmp_path / "faces")

    def test_a_count_below_0_is_refused(self):
        with pytest.raises(SettingsError, match=r"model\.still_windows = -1: expected at least 0"):
            replace(SMALL, still_windows=-1)

    def test_a_bundle_says_so_and_is_scored_on_traces_alone(self, tmp_path):
        clips, faces = tmp_path / "clips", tmp_path / "faces"
        clips.mkdir()
        faces.mkdir()
        traced = [
            replace(make_row(clips, split), split=split, labels={"ekman": "happiness"})
            for split in ("train", "val", "test")
        ]
        write_manifest(clips / "manifest.csv", traced)
        rows = [make_still(faces, f"{n}", CLASSES[n % 4]) for n in range(8)]
        rows += [make_still(faces, "held", "happiness", split="test")]
        write_manifest(faces / "manifest.csv", rows)
        (tmp_path / "r.toml").write_text(
            'system = "sta"\n[model]\ninput_size = 16\nencoder = [4]\ndecoder = [4]\nfilters = [4, 4]\n'
            "hidden = 4\nstill_windows = 6\n[train]\nepochs = 1\nbatch = 4\n"
        )
        manifests = [folder / "manifest.csv" for folder in (clips, faces)]
        train("sta", manifests, tmp_path / "run", tmp_path / "r.toml")
        export(tmp_path / "run", tmp_path / "bundle")
        scores = read_bundle(tmp_path / "bundle").info.scores
        assert {name for name in scores if name != "headline"} == {"clips", "clips, faces known"}
        card = (tmp_path / "bundle" / "card.md").read_text()
        assert "6 windows an epoch are drawn from labelled stills" in card
