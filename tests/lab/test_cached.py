"""Features on disk: what they are keyed by, what survives a kill, and that training on them is the same."""

import json
import shutil

import numpy as np
import pytest
import torch

from moodreel.errors import DataError
from moodreel.lab.ablation.fit import base_network
from moodreel.lab.data.cached import ArrayStore, CachedClips, FeatureCache, fill_store, key_of
from moodreel.lab.data.clips import ClipDataset
from moodreel.lab.data.manifest import Row
from moodreel.lab.modules import KavanModule
from moodreel.lab.settings import KavanSettings, TrainSettings
from moodreel.media import write_gif

SMALL = KavanSettings(input_size=32, frames=4, tiers=(2, 1), hidden=8, attention=4)


def draw_clip(path, level):
    frames = np.random.default_rng(level).integers(0, 255, (5, 40, 40, 3)).astype(np.uint8) // 2 + level
    write_gif(path, frames, np.full(5, 0.1))
    return path


def write_points(path, x):
    """A face of nine points in every frame but the last, 16 px wide from x on."""
    flat = [0.0] * 210
    for n in range(9):
        flat[3 * n : 3 * n + 3] = [x + 2.0 * n, 10.0 + n, 0.9]
    people = [[{"face_keypoints_2d": flat}]] * 4 + [[]]
    content = {"version": 1.3, "width": 40, "height": 40, "frames": [{"people": p} for p in people]}
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def rows(tmp_path):
    made = []
    for i in range(6):
        clip = draw_clip(tmp_path / f"{i}.gif", 10 * i)
        points = write_points(tmp_path / f"{i}.json", 4.0 + i) if i < 3 else None
        made.append(Row(clip, f"g{i}", scores={"anger": i / 6, "fear": -i / 6}, keypoints=points))
    return made


def open_cache(folder, seed=0, settings=SMALL):
    torch.manual_seed(seed)
    return FeatureCache(folder, base_network(settings, None), settings)


def test_features_are_those_of_the_backbone(rows, tmp_path):
    cache = open_cache(tmp_path / "store")
    assert cache.fill(rows) == []
    clips = CachedClips(rows, cache)
    batch = clips[[4, 1]]
    for n, i in enumerate((4, 1)):
        item = ClipDataset([rows[i]], SMALL, 0, train=False)[0]
        with torch.no_grad():
            grid = cache.net.backbone(cache.net.normalise(item["frames"]))  # [T, D, h, w]
        expected = grid.flatten(2).transpose(1, 2)
        torch.testing.assert_close(batch["features"][n].float(), expected, rtol=2e-3, atol=1e-3)
        for name in ("scores", "known", "category", "heatmap", "supervised"):
            torch.testing.assert_close(batch[name][n], item[name])
    assert batch["features"].dtype == torch.float16
    assert clips.supervised.tolist() == [[True] * 3 + [False]] * 3 + [[False] * 4] * 3


def test_boxes_are_those_of_the_keypoints(rows, tmp_path):
    cache = open_cache(tmp_path / "store")
    cache.fill(rows)
    boxes = cache.store.gather([key_of(rows[1]), key_of(rows[5])], "boxes")
    # Segments of 0.125 s in 5 frames of 0.1 s: their middles show frames 0, 1, 3 and 4; the last has no face.
    assert boxes[0, :3].tolist() == pytest.approx(np.tile(np.array([5, 10, 21, 18]) / 40, (3, 1)))
    assert boxes[0, 3].tolist() == [0, 0, 0, 0]
    assert not boxes[1].any()


def test_a_training_step_is_the_same_from_stored_features(rows, tmp_path):
    cache = open_cache(tmp_path / "store")
    cache.fill(rows)
    module = KavanModule(
        cache.net, SMALL, TrainSettings(precision="32"), torch.zeros(17), torch.ones(17)
    ).eval()
    stored = CachedClips(rows, cache)[[0, 1, 2]]
    frames = [ClipDataset(rows, SMALL, 0, train=False)[i] for i in range(3)]
    with torch.no_grad():
        a = module.look(stored)
        b = module.look({"frames": torch.stack([item["frames"] for item in frames])})
    torch.testing.assert_close(a.intensities, b.intensities, atol=2e-3, rtol=0)
    torch.testing.assert_close(a.attention, b.attention, atol=2e-3, rtol=0)


def test_keyed_by_content(rows, tmp_path):
    before = [key_of(row) for row in rows]
    copy = shutil.copy(rows[4].clip, tmp_path / "copy.gif")
    assert key_of(Row(copy, "x")) == before[4]
    draw_clip(rows[4].clip, 99)
    write_points(rows[0].keypoints, 20.0)
    after = [key_of(row) for row in rows]
    assert [a != b for a, b in zip(before, after, strict=True)] == [True, False, False, False, True, False]
    with pytest.raises(DataError, match=r"gone\.gif"):
        key_of(Row(tmp_path / "gone.gif", "x"))


def test_changed_file_is_computed_again_and_others_are_not(rows, tmp_path):
    cache = open_cache(tmp_path / "store")
    cache.fill(rows)
    old = cache.store.gather([key_of(rows[4])], "features")
    draw_clip(rows[4].clip, 99)
    again = open_cache(tmp_path / "store")
    read = []
    plain = again._read
    again._read = lambda row: read.append(row.clip.name) or plain(row)
    again.fill(rows)
    assert read == ["4.gif"]
    assert not np.array_equal(again.store.gather([key_of(rows[4])], "features"), old)


def test_other_weights_and_sizes_are_another_store(rows, tmp_path):
    folders = {
        open_cache(tmp_path / "store", seed=seed, settings=settings).store.folder
        for seed, settings in (
            (0, SMALL),
            (1, SMALL),
            (0, KavanSettings(input_size=48, frames=4, tiers=(2, 1), hidden=8)),
            (0, KavanSettings(input_size=32, frames=8, tiers=(2, 1), hidden=8)),
        )
    }
    assert len(folders) == 4
    assert open_cache(tmp_path / "store").store.folder in folders


def fill(store, names, fail=()):
    def read(row):
        if row.clip.name in fail:
            raise DataError(f"{row.clip}: broken")
        return float(row.clip.stem)

    return fill_store(store, names, read, lambda values: {"x": np.array(values), "y": np.array(values) * 2})


def write_files(folder, count):
    made = []
    for i in range(count):
        (folder / f"{i}.gif").write_text(str(i))
        made.append(Row(folder / f"{i}.gif", "g"))
    return made


def test_parts_gather_in_any_order(tmp_path):
    rows = write_files(tmp_path, 300)  # three parts of 128
    store = ArrayStore(tmp_path / "s", {"a": 1})
    assert fill(store, rows) == []
    assert len(list(store.folder.glob("*.x.npy"))) == 3
    order = np.random.default_rng(0).permutation(300)
    keys = [key_of(rows[i]) for i in order]
    assert ArrayStore(tmp_path / "s", {"a": 1}).gather(keys, "y").tolist() == (2.0 * order).tolist()


def test_a_broken_clip_is_named_and_tried_again(tmp_path):
    rows = write_files(tmp_path, 5)
    store = ArrayStore(tmp_path / "s", {})
    failures = fill(store, rows, fail={"2.gif"})
    assert [failure.clip.name for failure in failures] == ["2.gif"]
    assert "broken" in failures[0].reason
    assert len(store) == 4
    assert fill(store, rows) == []
    assert store.gather([key_of(rows[2])], "x").tolist() == [2.0]


def test_a_kill_loses_one_part_at_most(tmp_path):
    rows = write_files(tmp_path, 200)
    store = ArrayStore(tmp_path / "s", {})

    def read(row):
        if row.clip.name == "150.gif":
            raise InterruptedError("as if killed")
        return float(row.clip.stem)

    with pytest.raises(InterruptedError):
        fill_store(store, rows, read, lambda values: {"x": np.array(values), "y": np.array(values) * 2})
    again = ArrayStore(tmp_path / "s", {})
    assert len(again) == 128
    fill(again, rows)
    assert again.gather([key_of(row) for row in rows], "x").tolist() == list(range(200))


def test_a_part_that_was_cut_off_is_computed_again(tmp_path):
    rows = write_files(tmp_path, 200)
    store = ArrayStore(tmp_path / "s", {})
    fill(store, rows)
    part = max(store.folder.glob("*.x.npy"), key=lambda path: path.stat().st_size)  # that of 128
    part.write_bytes(part.read_bytes()[:-8])
    again = ArrayStore(tmp_path / "s", {})
    assert len(again) == 72
    fill(again, rows)
    assert again.gather([key_of(row) for row in rows], "x").tolist() == list(range(200))


def test_an_index_that_is_none_is_refused(tmp_path):
    store = ArrayStore(tmp_path / "s", {})
    (store.folder / "index.json").write_text("[]")
    with pytest.raises(DataError, match="no index of stored arrays"):
        ArrayStore(tmp_path / "s", {})


def test_select_hides_keypoints_of_some(rows, tmp_path):
    cache = open_cache(tmp_path / "store")
    cache.fill(rows)
    part = CachedClips(rows, cache).select([2, 4, 0], withheld=[0])
    assert part.supervised.any(dim=1).tolist() == [True, False, False]
    assert part.scores[:, 1].tolist() == pytest.approx([2 / 6, 4 / 6, 0])
    assert [row.clip.name for row in part.rows] == ["2.gif", "4.gif", "0.gif"]
