"""Windows of aligned faces with their gold standards, and the training on them."""

import csv
import json
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from faces.fakes import Squares, draw
from moodreel.errors import DataError, SettingsError
from moodreel.faces.align import ANCHORS
from moodreel.lab.data.face_video import (
    FaceCutter,
    FaceVideoDataset,
    ShuffleSampler,
    augment_window,
    cut_faces,
)
from moodreel.lab.data.manifest import Row
from moodreel.lab.data.traces import read_trace
from moodreel.lab.modules_sta import StaModule, build_sta, join_windows
from moodreel.lab.settings import Recipe, TrainSettings
from moodreel.lab.settings_sta import StaSettings
from moodreel.lab.train import fit
from moodreel.media import write_gif

SMALL = StaSettings(
    network="3d-cnn", frames=16, input_size=8, filters=(4, 4, 4, 8), hidden=8, dropout=0.0, light=False
)
PICTURES, STEP = 45, 0.1  # 4.5 s: 18 ticks at 4 fps


def make_frames(shade):
    """[45, 40, 40, 3]: red says where in x, green is the shade, blue says which picture."""
    frames = np.zeros((PICTURES, 40, 40, 3), np.uint8)
    frames[..., 0] = 6 * np.arange(40)
    frames[..., 1] = np.asarray(shade).reshape(-1, 1, 1)
    frames[..., 2] = 5 * np.arange(PICTURES).reshape(-1, 1, 1)
    return frames


def write_points(path, missing=()):
    """A frontal face whose cut-out is the square of 32 pixels at (4, 4)."""
    flat = np.zeros((70, 3))
    left, right, nose = ANCHORS * 32 + 4
    for part, place in ((slice(36, 42), left), (slice(42, 48), right), (slice(30, 36), nose)):
        flat[part] = [*place, 0.9]
    face = [{"face_keypoints_2d": flat.ravel().tolist()}]
    frames = [{"people": [] if n in missing else face} for n in range(PICTURES)]
    path.write_text(json.dumps({"version": 1.3, "width": 40, "height": 40, "frames": frames}))
    return path


def write_trace(path, columns):
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["time_s", *columns])
        for n in range(PICTURES):
            writer.writerow([f"{n * STEP:.2f}", *(values[n] for values in columns.values())])
    return path


def make_row(folder, name, shade=100, missing=(), gold=None, group=None):
    write_gif(folder / f"{name}.gif", make_frames(shade), np.full(PICTURES, STEP), palette="frame")
    values = np.round(np.arange(PICTURES) * STEP / 10, 3) if gold is None else gold
    return Row(
        folder / f"{name}.gif",
        group or name,
        keypoints=write_points(folder / f"{name}.json", missing),
        trace=write_trace(folder / f"{name}.csv", {"gold": values}),
    )


def open_cutter(folder, rows, settings=SMALL):
    cutter = FaceCutter(folder / "store", settings)
    assert cutter.fill(rows) == []
    return cutter


def test_windows_are_cut_at_the_ticks(tmp_path):
    # Pictures 0 to 9 have no face: ticks 0 to 3 (0 to 0.75 s); nor has 37, which tick 15 (3.75 s) takes.
    row = make_row(tmp_path, "a", missing=[*range(10), 37])
    cutter = open_cutter(tmp_path, [row])
    keys = cutter.list_windows(row)
    assert len(keys) == 2
    faces, found, inside = (cutter.store.gather(keys, name) for name in ("faces", "found", "inside"))
    assert faces.shape == (2, 16, 8, 8, 3)
    assert found.tolist() == [[False] * 4 + [True] * 11 + [False], [True] * 2 + [False] * 14]
    assert inside.tolist() == [[True] * 16, [True] * 2 + [False] * 14]
    # Which picture is shown: the nearest, of two equally near the earlier; without a face, the neighbour's.
    shown = [10] * 5 + [12, 15, 17, 20, 22, 25, 27, 30, 32, 35, 35] + [40, 42] + [42] * 14
    assert (faces[..., 0, 0, 2].ravel() / 5).tolist() == shown
    # Each of the 8 columns is the mean of four pixels, the first of which is pixel 4.
    assert faces[0, 5, 3, :, 0].tolist() == pytest.approx([6 * (5.5 + 4 * n) for n in range(8)], abs=1)


def test_targets_are_those_of_the_ticks(tmp_path):
    row = make_row(tmp_path, "a", missing=[*range(10), 37])
    clips = FaceVideoDataset([row], open_cutter(tmp_path, [row]), 0, train=False)
    assert len(clips) == 2
    expected = np.arange(18) / 40  # k / 4 seconds, a tenth of it
    labelled = torch.stack([clips[n]["labelled"] for n in (0, 1)])
    assert labelled.sum().item() == 18
    target = torch.stack([clips[n]["target"] for n in (0, 1)])
    np.testing.assert_allclose(target[labelled].numpy(), expected, atol=1e-6)
    assert not target[~labelled].any()
    assert clips[1]["time"][:2].tolist() == [4.0, 4.25]
    assert clips[0]["found"].tolist() == [False] * 4 + [True] * 11 + [False]


def test_stored_faces_are_not_cut_again(tmp_path, monkeypatch):
    row = make_row(tmp_path, "a")
    open_cutter(tmp_path, [row])
    monkeypatch.setattr("moodreel.lab.data.face_video.open_media", lambda path: pytest.fail("read again"))
    again = open_cutter(tmp_path, [row])
    assert len(again.list_windows(row)) == 2
    other = StaSettings(input_size=16)
    assert FaceCutter(tmp_path / "store", other).list_windows(row) == []


def test_what_cannot_be_used_is_left_out(tmp_path):
    good = make_row(tmp_path, "good", missing=range(40, 45))  # no face in the second window
    nobody = make_row(tmp_path, "nobody", missing=range(PICTURES))
    untraced = Row(good.clip, "untraced", keypoints=good.keypoints)
    unrated = make_row(tmp_path, "unrated", gold=[""] * PICTURES)
    rows = [nobody, untraced, good, unrated]
    cutter = open_cutter(tmp_path, rows)
    training, held = (FaceVideoDataset(rows, cutter, 0, train) for train in (True, False))
    assert training.clip.tolist() == [2]
    assert held.clip.tolist() == [2, 2]
    with pytest.raises(DataError, match="none of 2 clips has a frame with both a face and a gold standard"):
        FaceVideoDataset([nobody, unrated], cutter, 0, train=True)


def test_unreadable_clips_are_failures(tmp_path):
    good, absent = make_row(tmp_path, "good"), make_row(tmp_path, "absent")
    absent.clip.unlink()
    broken = make_row(tmp_path, "broken", shade=90)
    broken.clip.write_bytes(b"GIF89a")
    blind = Row(make_row(tmp_path, "blind", shade=80).clip, "blind", trace=good.trace)
    longer = make_row(tmp_path, "longer", shade=70)
    write_gif(longer.clip, make_frames(70)[:20], np.full(20, STEP))
    cutter = FaceCutter(tmp_path / "store", SMALL)
    failures = cutter.fill([absent, broken, good, blind, longer])
    assert [failure.clip.stem for failure in failures] == ["absent", "broken", "blind", "longer"]
    assert "names no keypoints" in failures[2].reason
    assert "longer.json: 45 frames, the clip has 20" in failures[3].reason
    assert len(cutter.list_windows(good)) == 2


def test_rows_without_keypoints_are_read_by_a_detector(tmp_path, monkeypatch):
    monkeypatch.setattr("moodreel.lab.data.face_video.open_detector", lambda settings: nullcontext(Squares()))
    frames = [draw((40, 60), (4 + k, 4, 32, (200, 7))) for k in range(9)]
    write_gif(tmp_path / "a.gif", np.stack(frames), np.full(9, 0.25), palette="frame")
    trace = write_trace(tmp_path / "a.csv", {"gold": np.zeros(PICTURES)})
    rows = [Row(tmp_path / "a.gif", "a", trace=trace), make_row(tmp_path, "b")]
    cutter, failures = cut_faces(tmp_path / "store", SMALL, rows)
    assert failures == []
    (key,) = cutter.list_windows(rows[0])
    found, faces = (cutter.store.gather([key], name)[0] for name in ("found", "faces"))
    assert found[:9].all()
    np.testing.assert_allclose(faces[:9, 1:-1, 1:-1], np.broadcast_to([200, 7, 255], (9, 6, 6, 3)), atol=2)
    assert len(cutter.list_windows(rows[1])) == 2  # by its keypoints, which show no square
    only = replace(SMALL, faces="keypoints")
    _, failures = cut_faces(tmp_path / "other", only, rows)
    assert "names no keypoints" in failures[0].reason
    assert len(failures) == 1


def test_augmentation_is_the_same_in_all_frames(tmp_path):
    face = np.random.default_rng(0).integers(60, 180, (1, 8, 8, 3)).astype(np.uint8)
    still = np.repeat(face, 6, axis=0)
    mirrored = changed = 0
    for seed in range(20):
        out = augment_window(still, np.random.default_rng(seed), mirror=True, light=True)
        assert out.shape == still.shape
        assert (out == out[0]).all()
        changed += bool((out != still).any())
        only = augment_window(still, np.random.default_rng(seed), mirror=True, light=False)
        assert (only == still).all() or (only == still[:, :, ::-1]).all()
        mirrored += bool((only != still).any())
    assert changed == 20
    assert 4 <= mirrored <= 16
    assert augment_window(still, np.random.default_rng(0), mirror=False, light=False) is still


def test_draws_differ_and_repeat(tmp_path):
    rows = [make_row(tmp_path, "a")]
    settings = StaSettings(network="3d-cnn", input_size=8, filters=(4, 4, 4, 8))
    clips = FaceVideoDataset(rows, open_cutter(tmp_path, rows, settings), 0, train=True)
    a, b = clips[0, 0]["frames"], clips[0, 1]["frames"]
    assert (a != b).any()
    assert (clips[0, 1]["frames"] == b).all()


def test_every_window_comes_once_an_epoch():
    sampler = ShuffleSampler(7, seed=0)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert [sorted(index for index, _ in draws) for draws in (first, second)] == [list(range(7))] * 2
    assert [index for index, _ in first] != [index for index, _ in second]
    assert {draw for _, draw in second} == {1}


class TestTraces:
    def read(self, tmp_path, text, target="auto"):
        (tmp_path / "t.csv").write_text(text)
        return read_trace(tmp_path / "t.csv", target)

    def test_columns(self, tmp_path):
        text = "time_s,rater_1,rater_2,truth\n0,0.2,0.4,0.9\n1,,0.5,0.8\n2,,,0.7\n"

        def at(text, target="auto"):
            return self.read(tmp_path, text, target).at([0, 1, 2], 0.5)

        np.testing.assert_allclose(at(text), [0.3, 0.5, np.nan])
        np.testing.assert_allclose(at(text, "mean"), [0.3, 0.5, np.nan])
        assert at(text, "truth").tolist() == [0.9, 0.8, 0.7]
        assert at(text, "rater_2")[:2].tolist() == [0.4, 0.5]
        assert at("time_s,valence,rater_1,gold\n0,0.1,0.2,0.3\n")[0] == 0.3
        assert at("time_s,valence,rater_1\n0,0.1,0.2\n")[0] == 0.1

    def test_between_and_beyond(self, tmp_path):
        trace = self.read(tmp_path, "time_s,gold\n1,0.0\n1.2,0.2\n3,0.4\n3.1,\n")
        # Held for 0.125 s on each side; between 1.2 and 3 nothing is known but the ends themselves.
        values = trace.at([0.8, 0.9, 1.0, 1.05, 1.2, 2.0, 3.0, 3.1, 3.2], 0.125)
        nan = np.nan
        expected = [nan, 0.0, 0.0, 0.05, 0.2, nan, 0.4, 0.4, nan]
        np.testing.assert_allclose(values, expected, atol=1e-12)

    def test_raters_at_different_instants(self, tmp_path):
        trace = self.read(tmp_path, "time_s,a,b\n0,0.0,\n0.1,,0.5\n0.2,0.4,\n0.3,,0.7\n")
        # At 0.1 s rater a is at 0.2, b at 0.5; at 0.2 s a at 0.4, b at 0.6.
        assert trace.at([[0.1], [0.2]], 0.125).tolist() == [[pytest.approx(0.35)], [pytest.approx(0.5)]]

    @pytest.mark.parametrize(
        ("text", "target", "reason"),
        [
            ("time_s,gold\n", "auto", "no rows"),
            ("time_s,truth\n0,0\n", "auto", r"t.csv: no raters"),
            ("time_s,gold\n0,0\n", "truth", "column 'truth' is missing"),
            ("time_s,gold\n0,0\n0,0\n", "auto", "t.csv:3: time = 0"),
            (
                "time_s,gold\n0,0\n1,1.5\n",
                "auto",
                r"t.csv: gold = 1.5 at 1 s: expected a number in \[-1, 1\]",
            ),
            ("time_s,gold\n0\n", "auto", "t.csv:2: 2 cells expected, got 1"),
        ],
    )
    def test_wrong_files_are_named(self, tmp_path, text, target, reason):
        with pytest.raises(DataError, match=reason):
            self.read(tmp_path, text, target)

    def test_absent_file(self, tmp_path):
        with pytest.raises(DataError, match=r"none\.csv"):
            read_trace(tmp_path / "none.csv")


def test_windows_join_to_sequences():
    def window(clip, start, valence, found, labelled, ticks=3):
        return {
            "clip": torch.tensor([clip]),
            "time": torch.arange(3.0)[None] + start,
            "valence": torch.tensor([valence]),
            "found": torch.tensor([found]),
            "labelled": torch.tensor([labelled]),
            "target": torch.tensor([[0.5, 0.6, 0.7]]),
            "inside": torch.arange(3)[None] < ticks,
        }

    batches = [
        window(7, 3.0, [9.0, 0.9, 0.3], [False, True, True], [True, True, False]),
        window(2, 0.0, [0.1, 0.1, 0.1], [True] * 3, [True] * 3, ticks=2),
        window(7, 0.0, [0.2, 0.5, 9.0], [True, True, False], [True] * 3),
    ]
    two, seven = join_windows(batches)
    assert two.times.tolist() == [0, 1]  # the third is padding
    assert seven.times.tolist() == [0, 1, 2, 3, 4, 5]
    # Between 0.5 at 1 s and 0.9 at 4 s there was no face.
    assert seven.predicted.tolist() == pytest.approx([0.2, 0.5, 0.5 + 0.4 / 3, 0.5 + 0.8 / 3, 0.9, 0.3])
    np.testing.assert_allclose(seven.gold, [0.5, 0.6, 0.7, 0.5, 0.6, np.nan], atol=1e-6)


def make_task(folder, count, start):
    """Clips whose valence is how green they are."""
    rows = []
    for n in range(start, start + count):
        phase = np.random.default_rng(n).uniform(0, 6)
        gold = 0.8 * np.sin(np.arange(PICTURES) * 0.15 + phase)
        rows.append(make_row(folder, f"c{n}", np.rint(128 + 120 * gold).astype(int), gold=np.round(gold, 3)))
    return rows


@pytest.mark.parametrize("loss", ["mse", "ccc"])
def test_a_visible_valence_is_learnt(tmp_path, loss):
    torch.manual_seed(0)
    model = StaSettings(**{**{n: getattr(SMALL, n) for n in SMALL.__dataclass_fields__}, "loss": loss})
    settings = TrainSettings(
        epochs=30, batch=4, learning_rate=1e-2, weight_decay=0.0, warmup=0.0, precision="32"
    )
    module, loaders = build_sta(
        model, settings, make_task(tmp_path, 6, 0), make_task(tmp_path, 2, 50), tmp_path / "faces"
    )
    (tmp_path / "run").mkdir()
    fit(module, loaders, Recipe("sta", model, settings), tmp_path / "run", resume=False)
    best = json.loads((tmp_path / "run" / "best.json").read_text())
    assert best["validation"]["ccc"] > 0.9
    assert best["validation"]["score"] == best["validation"]["ccc"]
    assert -0.5 < best["target_mean"] < 0.5
    assert 0.3 < best["target_deviation"] < 0.8


def test_frames_without_a_face_teach_nothing(tmp_path):
    row = make_row(tmp_path, "a", missing=[*range(10), 37])
    cutter = open_cutter(tmp_path, [row])
    batch = next(iter(torch.utils.data.DataLoader(FaceVideoDataset([row], cutter, 0, False), 2)))

    def loss_of(change):
        torch.manual_seed(0)
        module, _ = build_sta(SMALL, TrainSettings(batch=2), [row], [row], tmp_path / "store")
        module.log = lambda *args, **kwargs: None
        return module.eval().training_step({**batch, "target": batch["target"] + change}, 0).item()

    usable = batch["labelled"] & batch["found"]
    assert loss_of(torch.where(usable, 0.0, 5.0)) == loss_of(0.0)
    assert loss_of(torch.where(usable, 5.0, 0.0)) != loss_of(0.0)


def test_too_few_windows_or_bad_clips_are_refused(tmp_path):
    row = make_row(tmp_path, "a")
    with pytest.raises(SettingsError, match=r"train.batch = 16: expected at most 2, the windows of an epoch"):
        build_sta(SMALL, TrainSettings(batch=16), [row], [row], tmp_path / "store")
    bad = Row(tmp_path / "none.gif", "b", keypoints=row.keypoints, trace=row.trace)
    with pytest.raises(DataError, match=r"1 clips cannot be read: .*none\.gif"):
        build_sta(SMALL, TrainSettings(batch=2), [row, bad], [row], tmp_path / "store")


def test_optimiser_is_adam():
    settings = TrainSettings(batch=16, learning_rate=1e-4, weight_decay=0.0, warmup=0.0)
    net, other = torch.nn.Linear(3, 1), torch.nn.Linear(3, 1)
    other.load_state_dict(net.state_dict())
    module = StaModule(net, settings)
    module._trainer = type("Trainer", (), {"estimated_stepping_batches": 100})()
    ours = module.configure_optimizers()["optimizer"]
    theirs = torch.optim.Adam(other.parameters(), 1e-4)
    for n in range(3):
        for optimiser, model in ((ours, net), (theirs, other)):
            optimiser.zero_grad()
            model(torch.full((1, 3), n + 1.0)).square().sum().backward()
            optimiser.step()
    torch.testing.assert_close(net.weight, other.weight)
