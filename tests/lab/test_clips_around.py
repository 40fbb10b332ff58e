"""What stands around a composed face, and how a decoded clip and its keypoints move together."""

import json

import numpy as np
import pytest
from PIL import Image

from moodreel.errors import DataError
from moodreel.lab.data.augment import augment_clip, zoomed_size
from moodreel.lab.data.clips import ClipDataset
from moodreel.lab.data.compose import Still, compose_clip, draw_others
from moodreel.lab.data.manifest import Row
from moodreel.lab.data.surroundings import (
    add_caption,
    change_light,
    draw_background,
    place_bystander,
    reduce_palette,
)
from moodreel.lab.settings import KavanSettings
from moodreel.media import write_gif

TIMES = np.linspace(0.05, 0.95, 6)


def flat(value, side=40):
    pixels = np.full((1, side, side, 4), value, np.uint8)
    pixels[..., 3] = 255
    return Still(pixels, np.zeros(1), 0.0)


class TestSurroundings:
    def test_background_is_plain_or_fills_every_frame(self):
        rng = np.random.default_rng(0)
        picture = rng.integers(0, 256, (30, 50, 3), dtype=np.uint8)
        for seed in range(25):
            scene = draw_background(48, TIMES, np.random.default_rng(seed), [picture], plain=False)
            assert scene.shape == (6, 3, 48, 48)
            assert 0 <= scene.min() <= scene.max() <= 255
        plain = draw_background(48, TIMES, rng, [picture], plain=True).numpy()
        assert (plain == plain[:1, :, :1, :1]).all()

    def test_pictures_lie_behind_but_never_upright(self):
        # Left half dark, right half light: upright, every row would brighten from left to right.
        picture = np.zeros((60, 60, 3), np.uint8)
        picture[:, 30:] = 255
        seen = 0
        for seed in range(80):
            scene = draw_background(40, TIMES[:1], np.random.default_rng(seed), [picture], plain=False)[0]
            middle = scene[:, 4:36, 4:36].mean(dim=0)
            if middle.min() < 25 and middle.max() > 230:  # the picture, and not a drawn scene
                seen += 1
                assert not (middle[:, 0] + 100 < middle[:, -1]).all()
        assert seen > 3

    def test_bystanders_are_smaller_and_apart(self):
        path = np.column_stack(
            [np.linspace(0.3, 0.4, 6), np.full(6, 0.5), np.full(6, 0.4), *np.zeros((2, 6))]
        )
        for seed in range(200):
            other = place_bystander(path, np.random.default_rng(seed))
            assert (other[:, 2] <= 0.7 * path[:, 2]).all()
            assert (np.abs(other[:, 0] - path[:, 0]) >= 0.7 * path[:, 2] - 1e-9).all()

    def test_bystanders_stand_behind_the_face(self):
        # A white face among black ones: whatever the light, its middle is among the brightest there is.
        crowded = 0
        for seed in range(60):
            out, alone = (
                compose_clip(flat(255), None, TIMES, 64, np.random.default_rng(seed), others)
                for others in ([flat(0), flat(0)], [])
            )
            crowded += (out.boxes == alone.boxes).all() and bool((out.frames != alone.frames).any())
            for frame, (left, top, right, bottom) in zip(out.frames, out.boxes, strict=True):
                x, y = int((left + right) * 32), int((top + bottom) * 32)
                if 0 <= x < 64 and 0 <= y < 64:
                    assert frame[y, x].mean() >= np.percentile(frame.mean(axis=2), 60) - 40
        assert crowded > 10

    def test_caption_is_the_same_in_all_frames_and_leaves_the_rest(self):
        frames = np.full((3, 3, 96, 96), 90, np.float32)
        out = add_caption(frames, np.random.default_rng(2))
        assert (out == out[:1]).all()
        changed = (out[0] != 90).any(axis=0)
        assert 0.01 < changed.mean() < 0.3
        rows = np.flatnonzero(changed.any(axis=1))
        assert rows.max() < 40 or rows.min() > 56  # at the top or at the bottom
        assert out.dtype == np.float32

    def test_light_is_shared_by_the_frames(self):
        frames = np.tile(
            np.random.default_rng(0).uniform(0, 255, (1, 3, 8, 8)).astype(np.float32), (4, 1, 1, 1)
        )
        out = change_light(frames, np.zeros(4), np.random.default_rng(1))
        assert (out == out[:1]).all()
        assert (out != frames).any()

    def test_palette_is_one_for_the_clip(self):
        frames = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
        colours = {tuple(c) for c in reduce_palette(frames, np.random.default_rng(0)).reshape(-1, 3).tolist()}
        assert len(colours) <= 256

    def test_others_are_of_other_groups(self, tmp_path):
        stills = [(tmp_path / f"{i}.png", f"p{i % 3}") for i in range(30)]
        row = Row(tmp_path / "0.png", "p0")
        drawn = [path for seed in range(40) for path in draw_others(row, stills, np.random.default_rng(seed))]
        assert {int(path.stem) % 3 for path in drawn} == {1, 2}
        assert draw_others(row, [], np.random.default_rng(0)) == []


def test_keypoints_move_with_crop_and_mirror():
    # One white block, its middle as the keypoint: whatever the crop and mirror, the point is on it.
    flips = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        side = zoomed_size(64, rng)
        assert 64 <= side <= 80
        x, y = rng.integers(20, 44, 2).tolist()
        frames = np.zeros((2, side, side, 3), np.uint8)
        frames[:, y : y + 4, x : x + 4] = 255
        points = np.full((2, 70, 2), [(x + 2) / side, (y + 2) / side])
        out, moved, _ = augment_clip(frames, points, np.ones((2, 70)), 64, rng)
        assert out.shape == (2, 64, 64, 3)
        light = out[1].astype(int).sum(axis=2)
        rows, columns = np.nonzero(light > (light.min() + light.max()) / 2)
        assert moved[1, 0] * 64 == pytest.approx([columns.mean() + 0.5, rows.mean() + 0.5], abs=0.01)
        flips += moved[0, 0, 0] * 64 < x - (side - 64) - 1 or moved[0, 0, 0] * 64 > x + 3
    assert flips > 10


@pytest.fixture
def marked(tmp_path):
    """A GIF of four frames of 0.1 to 0.4 s with a white square, and keypoints on it; none in frame 2."""
    places = [(10, 10), (70, 10), (40, 40), (70, 70)]
    frames = np.zeros((4, 96, 96, 3), np.uint8)
    entries = []
    for frame, (x, y), index in zip(frames, places, range(4), strict=True):
        frame[y : y + 16, x : x + 16] = 255
        found = [{"face_keypoints_2d": [x + 8.0, y + 8.0, 1.0] * 70}]
        entries.append({"index": index, "people": [] if index == 2 else found})
    write_gif(tmp_path / "c.gif", frames, [0.1, 0.2, 0.3, 0.4])
    facts = {"version": 1.3, "width": 96, "height": 96}
    (tmp_path / "k.json").write_text(json.dumps({**facts, "frames": entries}))
    (tmp_path / "sparse.json").write_text(json.dumps({**facts, "frames": entries[1:2]}))
    return tmp_path


class TestKeypointsOfClips:
    settings = KavanSettings(input_size=96, frames=10, tiers=(1,))

    def item(self, folder, name, train=False, draw=0):
        row = Row(folder / "c.gif", "g", "train", {"anger": 1.0}, keypoints=folder / name if name else None)
        return ClipDataset([row], self.settings, 0, train=train)[0, draw]

    def test_heatmap_follows_the_frames_that_are_shown(self, marked):
        item = self.item(marked, "k.json")  # ten segments of 0.1 s: frames 0, 1 1, 2 2 2, 3 3 3 3
        cells = item["heatmap"].reshape(10, 6, 6).flatten(1).argmax(dim=1).tolist()
        at = {0: 1 * 6 + 1, 1: 1 * 6 + 4, 3: 4 * 6 + 4}  # cells of 16 pixels; the squares' centres: 18, 78
        assert cells[:3] == [at[0], at[1], at[1]]
        assert cells[6:] == [at[3]] * 4
        assert item["supervised"].tolist() == [True] * 3 + [False] * 3 + [True] * 4

    def test_training_crops_take_them_along(self, marked):
        for draw in range(12):
            item = self.item(marked, "k.json", train=True, draw=draw)
            for frame, heat, on in zip(item["frames"], item["heatmap"], item["supervised"], strict=True):
                light = frame.float().sum(dim=2)
                rows, columns = np.nonzero((light > (light.min() + light.max()) / 2).numpy())
                row, column = divmod(int(heat.argmax()), 6)
                if on and 16 < rows.mean() < 80 and 16 < columns.mean() < 80:
                    assert abs(rows.mean() / 16 - row - 0.5) < 0.8
                    assert abs(columns.mean() / 16 - column - 0.5) < 0.8

    def test_pictures_that_the_file_leaves_out_are_not_supervised(self, marked):
        assert self.item(marked, "sparse.json")["supervised"].tolist() == [False, True, True] + [False] * 7
        assert not self.item(marked, None)["supervised"].any()

    def test_a_broken_file_is_named(self, marked):
        (marked / "bad.json").write_text("{")
        with pytest.raises(DataError, match=r"bad\.json"):
            self.item(marked, "bad.json")


def test_other_stills_are_read_from_the_rows(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for i in range(4):
        Image.fromarray(rng.integers(0, 256, (40, 40), np.uint8)).save(tmp_path / f"{i}.png")
        rows.append(Row(tmp_path / f"{i}.png", f"p{i}", "train", labels={"ekman": "fear"}))
    clips = ClipDataset(rows, KavanSettings(input_size=64), 0, train=True)
    alone = ClipDataset(rows[:1], KavanSettings(input_size=64), 0, train=True)
    assert [path.name for path, _ in clips.stills] == ["0.png", "1.png", "2.png", "3.png"]
    same = [(clips[0, d]["frames"] == alone[0, d]["frames"]).all() for d in range(20)]
    assert not all(same)
