"""Manifests, labels, settings, composed clips: what training reads."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moodreel.emotions import EKMAN_7, GIFGIF_17, QUADRANT_OF, QUADRANTS
from moodreel.errors import DataError, SettingsError
from moodreel.faces.openpose import read_keypoints
from moodreel.lab.data.clips import ClipDataset, WeightedSampler, check_readable, draw_weights
from moodreel.lab.data.compose import (
    FRONTAL_FACE,
    Still,
    _boxes,
    _place,
    compose_clip,
    place_keypoints,
    read_still,
    write_clips,
)
from moodreel.lab.data.faces import BatchSampler, FaceDataset
from moodreel.lab.data.labels import category_of, find_supervised, intensities_of, label_arrays
from moodreel.lab.data.manifest import Row, read_manifest, write_manifest
from moodreel.lab.settings import PAPER_KAVAN, KavanSettings, read_recipe, recipe_from_dict
from moodreel.media import read_clip, segment_times, write_gif


def save_still(path, value, size=(40, 50)):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(value)
    Image.fromarray(rng.integers(0, 256, (size[1], size[0]), np.uint8)).save(path)
    return path


def write_text(path, text):
    path.write_text(text, encoding="utf-8")
    return path


class TestManifest:
    def test_round_trip(self, tmp_path):
        rows = (
            Row(tmp_path / "a.gif", "g1", "train", {"anger": -0.25}, {"ekman": "fear"}, tmp_path / "k.json"),
            Row(tmp_path / "sub" / "b.gif", "g2", None, {}, {}, None, tmp_path / "t.csv"),
        )
        write_manifest(tmp_path / "m.csv", rows)
        assert read_manifest(tmp_path / "m.csv").rows == rows

    def test_without_any_split_groups_are_split_by_name(self, tmp_path):
        text = "clip,group\n" + "".join(f"{i}.gif,g{i // 2}\n" for i in range(400))
        rows = read_manifest(write_text(tmp_path / "m.csv", text)).rows
        assert {row.split for row in rows} == {"train", "val", "test"}
        assert all(a.split == b.split for a, b in zip(rows[::2], rows[1::2], strict=True))
        some = read_manifest(write_text(tmp_path / "n.csv", "clip,group,split\na,g,\nb,h,test\n")).rows
        assert [row.split for row in some] == [None, "test"]

    def test_quoted_newlines_stay_in_their_cell(self, tmp_path):
        rows = read_manifest(
            write_text(tmp_path / "m.csv", 'clip,group,note\na.gif,g,"two\nlines"\nb.gif,h,\n')
        ).rows
        assert [row.clip.name for row in rows] == ["a.gif", "b.gif"]

    def test_parquet(self, tmp_path):
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = {"clip": ["a.gif"], "group": ["g"], "score_fear": [0.5], "score_guilt": [None]}
        pq.write_table(pa.table(table), tmp_path / "m.parquet")
        (row,) = read_manifest(tmp_path / "m.parquet").rows
        assert row.split in ("train", "val", "test")
        assert row.scores == {"fear": 0.5}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("clip,split\na,train\n", "column 'group' is missing"),
            ("clip,group,score_joy\na,g,1\n", "none of the 17"),
            ("clip,group,scores_anger\na,g,1\n", "did you mean score_anger"),
            ("clip,group,label_zodiac\na,g,1\n", "vocabulary must be one of"),
            ("clip,group,score_fear\na,g,1.5\n", r":2: score_fear = '1\.5'"),
            ("clip,group,score_fear\na,g,nan\n", ":2: score_fear = 'nan'"),
            ("clip,group,label_ekman\na,g,bored\n", ":2: label_ekman = 'bored'"),
            ("clip,group,split\na,g,holdout\n", ":2: split = 'holdout'"),
            ("clip,group,split\na,g,train\nb,g,test\n", ":3: group 'g' stands in train and test: a leak"),
            ("clip,group\na\n", ":2: 2 cells expected"),
            ("clip,group\n,g\n", "must not be empty"),
            ("clip,group\n", "no rows"),
        ],
    )
    def test_errors_name_file_line_and_column(self, tmp_path, text, message):
        with pytest.raises(DataError, match=message) as caught:
            read_manifest(write_text(tmp_path / "m.csv", text))
        assert "m.csv" in str(caught.value)

    def test_missing_and_not_utf8(self, tmp_path):
        with pytest.raises(DataError, match="cannot read"):
            read_manifest(tmp_path / "none.csv")
        (tmp_path / "m.csv").write_bytes(b"clip,group\n\xff,g\n")
        with pytest.raises(DataError, match="not UTF-8"):
            read_manifest(tmp_path / "m.csv")

    def test_relative_paths_outside_the_manifests_folder_are_written_absolute(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        write_manifest(Path("soft/m.csv"), [Row(Path("a.png"), "g"), Row(Path("soft/b.png"), "g")])
        assert [row.clip for row in read_manifest(tmp_path / "soft" / "m.csv").rows] == [
            tmp_path / "a.png",
            tmp_path / "soft" / "b.png",
        ]
        assert "\nb.png," in (tmp_path / "soft" / "m.csv").read_text()


class TestLabels:
    def test_ekman_says_nothing_of_the_other_eleven(self):
        values, known, category = label_arrays(Row("x", "g", labels={"ekman": "happiness"}))
        named = {e for e, on in zip(GIFGIF_17, known, strict=True) if on}
        assert named == {"anger", "disgust", "fear", "happiness", "sadness", "surprise"}
        assert values[GIFGIF_17.index("happiness")] == 1
        assert values[GIFGIF_17.index("fear")] == -1
        assert QUADRANTS[category] == "pleasure_arousal"

    def test_neutral_has_no_quadrant(self):
        row = Row("x", "g", labels={"ekman": "neutral"})
        assert set(intensities_of(row).values()) == {-1.0}
        assert category_of(row) is None
        assert label_arrays(row)[2] == -1

    def test_scores_rule_over_labels_and_explicit_quadrant_over_scores(self):
        row = Row("x", "g", scores={"relief": 0.2, "anger": 0.1}, labels={"ekman": "anger"})
        assert intensities_of(row) == {"relief": 0.2, "anger": 0.1}
        assert category_of(row) == QUADRANT_OF["relief"] == "pleasure_sleepiness"
        assert (
            category_of(Row("x", "g", scores=row.scores, labels={"quadrant": "misery_arousal"}))
            == "misery_arousal"
        )

    def test_supervised_needs_labels_that_differ(self):
        rows = [
            Row("x", "g", scores={"anger": -1.0, "fear": 0.3}),
            Row("y", "h", scores={"anger": -1.0, "fear": 0.9}),
        ]
        assert find_supervised(rows) == (frozenset({"fear"}), frozenset({"misery_arousal"}))


class TestSettings:
    def test_unknown_key_wrong_type_and_bad_value(self, tmp_path):
        with pytest.raises(SettingsError, match=r"train\.epoch = 3: expected one of epochs"):
            recipe_from_dict({"train": {"epoch": 3}}, "face")
        with pytest.raises(SettingsError, match=r"train\.epochs = '3': expected a value of type int"):
            recipe_from_dict({"train": {"epochs": "3"}}, "face")
        with pytest.raises(SettingsError, match=r"model\.tiers = \(3, 1\): expected sizes that divide 8"):
            recipe_from_dict({"model": {"tiers": [3, 1]}}, "kavan")
        for wrong in ([4.0, 1.0], ["4", 1], [], [4]):
            with pytest.raises(SettingsError, match=r"model\.tiers"):
                recipe_from_dict({"model": {"tiers": wrong}}, "kavan")
        with pytest.raises(SettingsError, match="system = 'face': expected 'kavan'"):
            recipe_from_dict({"system": "face"}, "kavan")
        with pytest.raises(SettingsError, match="readable TOML"):
            read_recipe(write_text(tmp_path / "r.toml", "epochs = = 3"), "face")

    def test_round_trip_through_json_values(self):
        import json

        recipe = recipe_from_dict({"model": {"tiers": [4, 2, 1]}, "train": {"shares": [1, 0.5]}}, "kavan")
        assert recipe_from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
        assert recipe.model.tiers == (4, 2, 1)

    def test_paper_preset(self):
        assert (PAPER_KAVAN.input_size, PAPER_KAVAN.hidden, PAPER_KAVAN.tiers) == (224, 2048, (4, 1))
        assert (PAPER_KAVAN.attention, PAPER_KAVAN.frames) == (32, 8)

    def test_shipped_recipes_are_valid(self, request):
        files = sorted((request.config.rootpath / "recipes").glob("*.toml"))
        recipes = {file.stem: read_recipe(file) for file in files}
        assert {recipe.system for recipe in recipes.values()} == {"face", "kavan", "caca-rnn", "sta"}
        assert recipes["kavan_paper"].model == PAPER_KAVAN


class TestCompose:
    def still(self, seed=0):
        rng = np.random.default_rng(seed)
        pixels = rng.integers(0, 256, (1, 60, 50, 4), dtype=np.uint8)
        pixels[..., 3] = 255
        return Still(pixels, np.zeros(1), 0.0)

    def test_same_seed_same_clip(self):
        times = np.linspace(0.05, 0.95, 8)
        first, second = (
            compose_clip(self.still(), self.still(1), times, 64, np.random.default_rng(5)) for _ in range(2)
        )
        assert (first.frames == second.frames).all()
        assert (first.boxes == second.boxes).all()
        other = compose_clip(self.still(), self.still(1), times, 64, np.random.default_rng(6))
        assert (first.frames != other.frames).any()

    @pytest.mark.parametrize("flip", [False, True])
    @pytest.mark.parametrize("aspect", [1.0, 1.3])
    def test_box_is_where_the_face_is(self, flip, aspect):
        # Opaque only where the face is said to be, off the picture's centre: alpha shows where it lands.
        pixels = np.zeros((100, 80, 4), np.uint8)
        pixels[10:70, 8:48] = 255
        still = Still(pixels[None], np.zeros(1), 0.0, (8 / 80, 10 / 100, 48 / 80, 70 / 100), cut_out=True)
        path = np.array(
            [[0.5, 0.5, 0.5, aspect, 0.0], [0.4, 0.55, 0.3, aspect, 0.0], [0.6, 0.45, 0.6, aspect, 0.0]]
        )
        alpha = _place(still, path, np.array([0.1, 0.5, 0.9]), 200, flip)[:, 3].numpy()
        for plane, (x, y, height, _, _), box in zip(alpha, path, _boxes(still, path), strict=True):
            rows, columns = np.flatnonzero(plane.max(axis=1) > 0.5), np.flatnonzero(plane.max(axis=0) > 0.5)
            found = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / 200
            np.testing.assert_allclose(found, box, atol=0.012)
            assert (found[0] + found[2]) / 2 == pytest.approx(x, abs=0.01)
            assert (found[1] + found[3]) / 2 == pytest.approx(y, abs=0.01)
            assert found[3] - found[1] == pytest.approx(height, abs=0.02)
            assert (found[2] - found[0]) / height == pytest.approx(40 / 60 * aspect, rel=0.06)

    def test_neutral_comes_first(self):
        black, white = (Still(np.full((1, 40, 40, 4), v, np.uint8), np.zeros(1), 0.0) for v in (0, 255))
        black.pixels[..., 3] = 255
        for seed in range(5):
            out = compose_clip(white, black, np.linspace(0, 1, 6), 64, np.random.default_rng(seed))
            centre = [
                f[int(np.clip((b[1] + b[3]) * 32, 0, 63)), int(np.clip((b[0] + b[2]) * 32, 0, 63))].mean()
                for f, b in zip(out.frames, out.boxes, strict=True)
            ]
            assert centre[-1] > centre[0] + 60

    def test_keypoints_lie_in_the_box(self):
        points = place_keypoints(np.array([[0.2, 0.1, 0.6, 0.9]]))[0]
        assert FRONTAL_FACE.shape == (70, 2)
        assert (points >= [0.2, 0.1]).all()
        assert (points <= [0.6, 0.9]).all()
        np.testing.assert_allclose(FRONTAL_FACE[68], FRONTAL_FACE[36:42].mean(axis=0))
        assert (
            FRONTAL_FACE[8, 1] > FRONTAL_FACE[57, 1] > FRONTAL_FACE[51, 1] > FRONTAL_FACE[30, 1]
        )  # chin, lips, nose

    def test_write_clips(self, tmp_path):
        rows = [
            Row(save_still(tmp_path / "a.png", 1), "p1", "test", labels={"ekman": "happiness"}),
            Row(save_still(tmp_path / "b.png", 2), "p1", "test", labels={"ekman": "neutral"}),
            Row(save_still(tmp_path / "c.png", 3), "p2", "train", labels={"ekman": "fear"}),
        ]
        write_manifest(tmp_path / "m.csv", rows)
        written = write_clips(tmp_path / "m.csv", "test", tmp_path / "out", limit=0, seed=0, size=48)
        assert [row.labels["ekman"] for row in written] == ["happiness", "neutral"]
        clip = read_clip(written[0].clip)
        assert clip.frames.shape[1:] == (48, 48, 3)
        assert len(set(clip.durations.tolist())) > 1
        found = read_keypoints(written[0].keypoints)
        assert (found.frames == np.arange(len(clip))).all()
        np.testing.assert_allclose(found.times, clip.starts, atol=1e-9)
        np.testing.assert_allclose(found.points, place_keypoints(found.boxes), atol=3e-4)
        shown = read_manifest(tmp_path / "out" / "shown.csv").rows
        assert [(r.clip, r.group, r.split, r.labels) for r in shown] == [
            (r.clip, r.group, "test", r.labels) for r in rows[:2]
        ]


class TestDatasets:
    def rows(self, tmp_path):
        kinds = ["happiness", "neutral", "fear", "neutral"]
        return [
            Row(save_still(tmp_path / f"{i}.png", i), f"p{i // 2}", "train", labels={"ekman": kind})
            for i, kind in enumerate(kinds)
        ]

    def test_validation_repeats_and_training_varies(self, tmp_path):
        settings = KavanSettings(input_size=64)
        held = ClipDataset(self.rows(tmp_path), settings, 3, train=False)
        assert (held[0]["frames"] == held[0]["frames"]).all()
        drawn = ClipDataset(self.rows(tmp_path), settings, 3, train=True)
        assert (drawn[0, 1]["frames"] != drawn[0, 2]["frames"]).any()
        assert (drawn[0, 1]["frames"] == drawn[0, 1]["frames"]).all()
        item = held[2]
        assert item["frames"].shape == (8, 64, 64, 3)
        assert item["heatmap"].shape == (8, 16)
        np.testing.assert_allclose(item["heatmap"].sum(dim=1), 1, atol=1e-5)
        assert item["supervised"].all()

    def test_stills_are_as_large_as_close_ups_ask_for(self, tmp_path):
        # Stripes of four pixels in a still of 216: at 72 pixels a side they are gone, whatever follows.
        stripes = np.zeros((216, 216, 3), np.uint8)
        stripes[:, np.arange(216) % 4 < 2] = 255
        Image.fromarray(stripes).save(tmp_path / "s.png")
        row = Row(tmp_path / "s.png", "g", "train", labels={"ekman": "happiness"})

        def contrast(settings):
            clips = [ClipDataset([row], settings, 1, train=True)[0, draw]["frames"] for draw in range(6)]
            middles = [clip.numpy()[:, 60:84, 60:84, 1].astype(int) for clip in clips]
            return max(np.abs(np.diff(middle)).mean() for middle in middles)

        assert KavanSettings(input_size=144).longest_still == 216
        assert KavanSettings(input_size=144, still_size=72).longest_still == 72
        sharp = contrast(KavanSettings(input_size=144))
        assert sharp > 2 * contrast(KavanSettings(input_size=144, still_size=72))
        assert sharp == contrast(KavanSettings(input_size=144, still_size=500))
        with pytest.raises(SettingsError, match=r"model\.still_size"):
            KavanSettings(still_size=8)

    def test_whole_stills_are_shown_as_they_are(self, tmp_path):
        # Black left, white right: cropped, mirrored and lit, rows stay alike; anything around would show.
        halves = np.zeros((64, 64, 3), np.uint8)
        halves[:, 32:] = 255
        Image.fromarray(halves).save(tmp_path / "h.png")
        row = Row(tmp_path / "h.png", "g", "train", labels={"ekman": "happiness"})
        for share, alike in ((1.0, 20), (0.0, 0), (0.25, 5)):
            settings = KavanSettings(input_size=64, whole_stills=share)
            data = ClipDataset([row], settings, 4, train=True)
            items = [data[0, draw] for draw in range(20)]
            whole = [np.ptp(item["frames"].numpy().astype(int), axis=1).max() <= 2 for item in items]
            assert abs(sum(whole) - alike) <= (3 if share == 0.25 else 0)
            assert all(item["supervised"].all() for item in items)
        held = ClipDataset([row], KavanSettings(input_size=64, whole_stills=1.0), 4, train=False)[0]
        composed = ClipDataset([row], KavanSettings(input_size=64), 4, train=False)[0]
        assert (held["frames"] == composed["frames"]).all()
        with pytest.raises(SettingsError, match=r"model\.whole_stills"):
            KavanSettings(whole_stills=1.5)

    def test_whole_stills_have_the_points_of_a_frontal_face(self, tmp_path):
        # A cropped still's face lies around x = 0.5, y = 0.53, and nothing but crops and mirroring moves it.
        save_still(tmp_path / "s.png", 1, (64, 64))
        row = Row(tmp_path / "s.png", "g", "train", labels={"ekman": "happiness"})
        data = ClipDataset([row], KavanSettings(input_size=64, whole_stills=1.0), 4, train=True)
        for draw in range(5):
            heat = data[0, draw]["heatmap"].numpy().reshape(8, 4, 4)
            assert (heat == heat[0]).all()
            assert heat[0, 1:3, 1:3].sum() > 2 * (heat[0, 0, [0, 3]].sum() + heat[0, 3, [0, 3]].sum())

    def test_cut_out_figures_have_no_keypoints_and_keep_their_time(self, tmp_path):
        # Red for 0.1 s of 0.8 s, then clear: of eight segments of time only the first shows red.
        frames = [Image.new("RGBA", (30, 30), (255, 0, 0, 255)), Image.new("RGBA", (30, 30), (0, 0, 0, 0))]
        times = {"duration": [100, 700], "lossless": True}
        frames[0].save(tmp_path / "e.webp", save_all=True, append_images=frames[1:], **times)
        row = Row(tmp_path / "e.webp", "emoji:1", "train", {"anger": 1.0})
        still = read_still(row.clip)
        assert still.cut_out
        assert (still.starts.tolist(), still.duration) == ([0.0, 0.1], pytest.approx(0.8))
        for train in (True, False):
            item = ClipDataset([row], KavanSettings(input_size=32), 0, train=train)[0]
            assert not item["supervised"].any()
        seen = item["frames"].numpy()
        assert (seen[0] == [255, 0, 0]).all()
        assert (seen[1:] == 255).all()  # clear, over white
        alpha = _place(still, np.tile([0.5, 0.5, 0.9, 1.0, 0.0], (8, 1)), segment_times(1.0, 8), 32, False)[
            :, 3
        ]
        assert (alpha.amax(dim=(1, 2)) > 0.5).tolist() == [True] + [False] * 7

    def test_whole_figures_are_shown_over_white(self, tmp_path):
        # A figure that is red but for a clear corner: as it is it fills the frame; composed, it lies in one.
        frames = [Image.new("RGBA", (64, 64), (255, 0, blue, 255)) for blue in (0, 1)]
        frames[0].putpixel((0, 0), (0, 0, 0, 0))
        frames[0].save(
            tmp_path / "e.webp", save_all=True, append_images=frames[1:], duration=50, lossless=True
        )
        assert read_still(tmp_path / "e.webp").cut_out
        row = Row(tmp_path / "e.webp", "emoji:1", "train", {"anger": 1.0})
        for share, alike, chance in ((1.0, 20, 0), (0.0, 0, 2), (0.5, 10, 4)):  # a composed one may fill it
            data = ClipDataset([row], KavanSettings(input_size=64, whole_figures=share), 4, train=True)
            items = [data[0, draw] for draw in range(20)]
            inner = [item["frames"].numpy()[:, 3:-3, 3:-3].astype(int) for item in items]
            even = [np.ptp(pixels, axis=(1, 2)).max() <= 2 for pixels in inner]
            assert abs(sum(even) - alike) <= chance
            assert not any(item["supervised"].any() for item in items)
        with pytest.raises(SettingsError, match=r"model\.whole_figures"):
            KavanSettings(whole_figures=-0.1)

    def test_ordinary_animations_are_taken_as_they_are(self, tmp_path):
        write_gif(tmp_path / "a.gif", np.full((3, 20, 30, 3), 90, np.uint8), [0.1, 0.1, 0.1])
        frames = [Image.new("RGB", (30, 30), (v, 0, 0)) for v in (10, 200)]
        frames[0].save(
            tmp_path / "b.webp", save_all=True, append_images=frames[1:], duration=50, lossless=True
        )
        assert read_still(tmp_path / "b.webp") is None
        for name in ("a.gif", "b.webp"):
            row = Row(tmp_path / name, "g", "train", {"anger": 1.0})
            assert ClipDataset([row], KavanSettings(input_size=32), 0, train=True)[0]["frames"].shape == (
                8,
                32,
                32,
                3,
            )

    def test_unreadable_clips_are_named_before_training(self, tmp_path):
        rows = self.rows(tmp_path)
        check_readable(rows)
        for i in range(5):
            (tmp_path / f"bad{i}.png").write_bytes(b"no picture")
            rows.append(Row(tmp_path / f"bad{i}.png", f"b{i}", "train", labels={"ekman": "fear"}))
        with pytest.raises(DataError, match=r"5 clips cannot be read: .*bad0\.png.*and 2 more"):
            check_readable(rows)

    def test_weights(self):
        rows = [Row("x", "g", labels={"ekman": k}) for k in ("fear",) + ("happiness",) * 4] + [Row("y", "h")]
        rows += [Row("z", "i", scores={"anger": 1.0})]
        weights = draw_weights(rows, [0] * 6 + [1], (0.75, 0.25))
        assert weights.sum() == pytest.approx(1)
        assert weights[6] == pytest.approx(0.25)
        assert weights[5] == 0  # nothing to learn from
        assert weights[0] / weights[1] == pytest.approx(2)  # 1 / (1 / sqrt(4))
        only_quadrant = Row("q", "j", labels={"quadrant": "misery_arousal"})
        assert draw_weights([Row("y", "h"), only_quadrant], [0, 0], ()).tolist() == [0, 1]
        with pytest.raises(DataError, match="no row has a label"):
            draw_weights([Row("y", "h")], [0], ())

    def test_samplers_repeat_by_epoch(self):
        batches, drawn = BatchSampler(10, 4, True, seed=1), WeightedSampler(np.full(10, 0.1), 6, seed=1)
        for sampler in (batches, drawn):
            sampler.set_epoch(2)
            first = list(sampler)
            sampler.set_epoch(3)
            assert list(sampler) != first
            sampler.set_epoch(2)
            assert list(sampler) == first
            assert len(first) == len(sampler)
        assert [len(b) for b in BatchSampler(10, 4, False)] == [4, 4, 2]

    def test_faces(self, tmp_path):
        rows = self.rows(tmp_path)
        pixels, labels = FaceDataset(rows, 32)[[2, 0]]
        assert pixels.shape == (2, 3, 32, 32)
        assert labels.tolist() == [EKMAN_7.index("fear"), EKMAN_7.index("happiness")]
        with pytest.raises(DataError, match="no label_ekman"):
            FaceDataset([Row(rows[0].clip, "g")], 32)
