"""CACA-RNN from a manifest to a bundle: stored streams, training, export, evaluation, the study."""

import json

import numpy as np
import pytest
import torch

import moodreel
from moodreel.emotions import MEC_8
from moodreel.errors import BundleError, DataError, SettingsError
from moodreel.faces.crop import crop_centre, crop_face
from moodreel.faces.detect import DetectorSettings
from moodreel.faces.openpose import format_faces
from moodreel.lab.ablate_caca_rnn import ablate_caca_rnn, choose_rows, count_parameters
from moodreel.lab.ablation.seed_report import write_seed_report
from moodreel.lab.data.labels import class_of
from moodreel.lab.data.manifest import Row, read_manifest, write_manifest
from moodreel.lab.data.streams import StreamCache, StreamClips, TrackedFaces, pad_clips
from moodreel.lab.evaluate import evaluate
from moodreel.lab.export import export
from moodreel.lab.models.caca_rnn_system import CacaRnnSystem, Extractors, start_extractors
from moodreel.lab.modules_caca_rnn import predict_batch, read_batch
from moodreel.lab.networks import load_bundle, load_run
from moodreel.lab.seed_study import StudyOptions
from moodreel.lab.settings_caca_rnn import CacaRnnSettings
from moodreel.lab.train import train
from moodreel.media import open_media, write_gif
from moodreel.runtime.bundle import read_bundle
from moodreel.types import ClipFaces, Face, FaceTrack

SMALL = CacaRnnSettings(face_size=32, context_size=48, phases=2)
BOX = np.array([8.0, 8.0, 24.0, 24.0])
DURATIONS = np.full(6, 0.1)
"""Six pictures of 0.1 s: ticks at 0, 0.2 and 0.4 s, from the second first frame at 0.1, 0.3 and 0.5 s."""


def draw_clip(folder, number, colour, seen, face=200):
    """A clip of one colour, a grey face in the pictures ``seen``; picture k is k steps lighter."""
    frames = np.stack([np.full((32, 48, 3), colour, np.uint8) + np.uint8(4 * k) for k in range(6)])
    frames[:, 8:24, 8:24] = face
    clip, keypoints = folder / "clips" / f"{number:03d}.gif", folder / "keypoints" / f"{number:03d}.json"
    for path in (clip, keypoints):
        path.parent.mkdir(exist_ok=True)
    write_gif(clip, frames, DURATIONS)
    points = np.tile([16.0, 16.0], (70, 1))
    faces = tuple(Face(BOX, points, np.ones(70)) for _ in seen)
    track = FaceTrack(0, np.array(seen, int), np.array(seen) * 0.1, faces)
    found = ClipFaces(clip.name, "told", 48, 32, np.arange(6), np.arange(6) * 0.1, (track,) if seen else ())
    keypoints.write_bytes(format_faces(found))
    return clip, keypoints


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Dark scenes are sad, light ones happy; every sixth clip shows no face."""
    folder = tmp_path_factory.mktemp("scenes")
    rows = []
    for n in range(36):
        happy = n % 2 == 0
        seen = [] if n % 6 == 5 else [0, 1, 2, 4, 5]
        clip, keypoints = draw_clip(folder, n, 190 if happy else 30, seen, face=100 + n)
        split = "train" if n < 20 else "val" if n < 28 else "test"
        label = {"mec": "happy" if happy else "sad"}
        rows.append(Row(clip, f"g{n}", split, labels=label, keypoints=keypoints))
    write_manifest(folder / "manifest.csv", rows)
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def extractors():
    net = Extractors(SMALL)
    start_extractors(net, SMALL)
    return net.eval()


@pytest.fixture(scope="module")
def store(manifest, extractors, tmp_path_factory):
    cache = StreamCache(tmp_path_factory.mktemp("cache"), extractors, SMALL, TrackedFaces(), with_maps=True)
    assert cache.fill(read_manifest(manifest).rows) == []
    return cache


class TestStreams:
    def test_stored_features_are_those_of_the_pictures(self, manifest, store, extractors):
        row = read_manifest(manifest).rows[0]
        streams = StreamClips([row], store, SMALL, train=False).read(0)
        frames = dict(open_media(row.clip).read([0, 2, 4]))
        with torch.no_grad():
            context = extractors.read_context(
                torch.from_numpy(np.stack([crop_centre(frames[k], 48) for k in (0, 2, 4)]))
            )
            crops = [crop_face(frames[k], BOX / [48, 32, 48, 32], 32) for k in (0, 2, 4)]
            face = extractors.read_faces(torch.from_numpy(np.stack(crops)))
            maps = extractors.read_maps(torch.from_numpy(np.stack(crops)))
        assert streams.shown.tolist() == [0, 1, 2]
        for stored, expected in ((streams.context, context), (streams.face, face), (streams.maps, maps)):
            np.testing.assert_allclose(stored, expected.numpy(), atol=2e-3, rtol=2e-3)

    def test_another_first_frame_shows_other_pictures(self, manifest, store):
        row = read_manifest(manifest).rows[0]
        clips = StreamClips([row], store, SMALL, train=True)
        first, second = clips.read(0, 0), clips.read(0, 1)
        assert len(first.face) == 3
        assert second.shown.tolist() == [0, 2]  # pictures 1, 3 and 5; 3 shows no face
        assert np.abs(first.context[0] - second.context[0]).max() > 0

    def test_pairing(self, manifest, store):
        rows = read_manifest(manifest).rows
        index = [0, 5]  # the second shows no face
        for pairing, lengths in (("paired", [3, 3]), ("all", [3, 3])):
            settings = CacaRnnSettings(face_size=32, context_size=32, phases=2, context=pairing)
            batch = StreamClips(rows, store, settings, train=False)[index]
            assert batch["face_lengths"].tolist() == [3, 0]
            assert batch["context_lengths"].tolist() == lengths
            assert batch["has_face"].tolist() == [True, False]
        clips = StreamClips(rows, store, SMALL, train=True, seed=3)
        drawn = [tuple(clips[[n, n + 6]]["context_lengths"].tolist()) for n in range(0, 12, 2)]
        assert {2, 3} == {length for pair in drawn for length in pair}  # paired: 3, or 2 of the other start
        again = [tuple(clips[[n, n + 6]]["context_lengths"].tolist()) for n in range(0, 12, 2)]
        assert drawn == again

    def test_padding_is_zero(self):
        padded, lengths = pad_clips([np.ones((2, 3), np.float16), np.zeros((0, 3), np.float16)])
        assert (padded.tolist(), lengths.tolist()) == (
            [[[1, 1, 1], [1, 1, 1]], [[0, 0, 0], [0, 0, 0]]],
            [2, 0],
        )

    def test_kept_once_and_again_for_a_changed_clip(self, manifest, extractors, tmp_path):
        folder = tmp_path / "own"
        folder.mkdir()
        clip, keypoints = draw_clip(folder, 0, 60, [0, 1])
        row = Row(clip, "g", "train", labels={"mec": "sad"}, keypoints=keypoints)
        for count in (1, 1):
            cache = StreamCache(tmp_path / "c", extractors, SMALL, TrackedFaces())
            cache.fill([row])
            assert len(cache.store) == count
        draw_clip(folder, 0, 70, [0, 1])
        cache.fill([row])
        assert len(cache.store) == 2

    def test_a_broken_clip_is_a_failure_and_the_rest_is_done(self, extractors, manifest, tmp_path):
        bad = tmp_path / "bad.gif"
        bad.write_bytes(b"GIF89a")
        good = read_manifest(manifest).rows[0]
        cache = StreamCache(tmp_path / "c", extractors, SMALL, TrackedFaces())
        (failure,) = cache.fill([Row(bad, "b", "train"), good])
        assert failure.clip == bad
        assert len(cache.store) == 1


class TestLabels:
    @pytest.mark.parametrize(
        ("labels", "name"),
        [
            ({"mec": "worried"}, "worried"),
            ({"ekman": "anger"}, "angry"),
            ({"mec": "sad", "ekman": "anger"}, "sad"),
        ],
    )
    def test_class(self, labels, name):
        assert class_of(Row("c.gif", "g", labels=labels), "mec") == MEC_8.index(name)

    def test_fear_has_no_class(self):
        assert class_of(Row("c.gif", "g", labels={"ekman": "fear"}), "mec") == -1
        assert class_of(Row("c.gif", "g", labels={"ekman": "fear"}), "ekman") == 2


def write_recipe(path, **model):
    lines = ['system = "caca-rnn"', "[model]", "face_size = 32", "context_size = 48", "phases = 2"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in model.items()]
    lines += ["[train]", "epochs = 12", "batch = 5", "learning_rate = 3e-3", 'precision = "32"']
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def run(manifest, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    train("caca-rnn", [manifest], out / "run", write_recipe(out / "r.toml"))
    return out / "run"


@pytest.fixture(scope="module")
def bundle(run):
    export(run, run.parent / "scenes")
    return run.parent / "scenes"


class TestSystem:
    def test_extractors_stay_as_their_bundles_have_them(self, run):
        _, net = load_run(run)
        assert isinstance(net, CacaRnnSystem)
        _, face = load_bundle(read_bundle("face"))
        _, kavan = load_bundle(read_bundle("kavan"))
        for name, value in net.extractors.face.state_dict().items():
            torch.testing.assert_close(value, face.state_dict()[name], rtol=0, atol=0, msg=name)
        for name, value in net.extractors.context.backbone.state_dict().items():
            torch.testing.assert_close(value, kavan.backbone.state_dict()[name], rtol=0, atol=0, msg=name)

    def test_it_learns_what_the_scene_says(self, bundle, manifest):
        scores = evaluate(str(bundle), [manifest])
        known = scores[f"{manifest.parent.name}, faces known"]
        assert known["accuracy"] == 1.0
        assert known["map"] == pytest.approx(1.0)
        assert known["clips"] == 8
        assert known["clips_with_a_face"] == sum(n % 6 != 5 for n in range(28, 36))
        plain = scores[manifest.parent.name]  # dlib finds no grey squares: the scene alone, and right
        assert (plain["clips_with_a_face"], plain["face_share"]) == (0, 0.0)
        assert plain["accuracy"] == 1.0

    def test_the_runtime_says_what_torch_says(self, run, bundle, manifest, store):
        _, net = load_bundle(read_bundle(str(bundle)))
        rows = read_manifest(manifest).select("test")
        clips = StreamClips(rows, store, SMALL, train=False)
        with torch.no_grad():
            expected = predict_batch([net.rnn, net.fallback], clips[range(len(rows))]).numpy()
        detector = DetectorSettings("openpose", files=manifest.parent / "keypoints")
        mood = moodreel.load(str(bundle), detector=detector)
        known = [MEC_8.index("happy"), MEC_8.index("sad")]
        for row, told in zip(rows, expected, strict=True):
            result = mood(row.clip)
            ours = [result.probabilities[MEC_8[k]] for k in known]
            np.testing.assert_allclose(ours, told[known] / told[known].sum(), atol=2e-3)  # stored as halves
            assert result.probabilities["worried"] is None

    def test_card_and_facts(self, bundle):
        opened = read_bundle(str(bundle))
        assert opened.info.supervised.categories == ("happy", "sad")
        card = opened.read_card()
        assert "No source supervised worried" in card
        assert "No clip of MEC" not in card  # who knows what the manifest of another is
        assert "faces known" in card
        assert set(opened.info.sha256) >= {"model.onnx", "fallback.onnx", "face.onnx", "context.onnx"}

    def test_an_altered_part_is_refused(self, bundle, tmp_path):
        import shutil

        copy = tmp_path / "copy"
        shutil.copytree(bundle, copy)
        content = bytearray((copy / "fallback.onnx").read_bytes())
        content[200] ^= 1
        (copy / "fallback.onnx").write_bytes(bytes(content))
        with pytest.raises(BundleError, match=r"fallback\.onnx was altered"):
            moodreel.load(str(copy), detector=None)

    def test_context_alone_reads_clips_without_a_face(self, store, manifest):
        clips = StreamClips(read_manifest(manifest).rows, store, SMALL, train=False)
        net = CacaRnnSystem(SMALL).eval()
        batch = clips[[0, 5]]
        with torch.no_grad():
            said = predict_batch([net.rnn, net.fallback], batch)
            alone = torch.softmax(read_batch(net.fallback, batch, every=True), dim=1)
        torch.testing.assert_close(said[1], alone[1])
        assert (said[0] - alone[0]).abs().max() > 1e-4

    @pytest.mark.parametrize(
        ("model", "error", "said"),
        [
            ({"network": "2d-3d"}, SettingsError, "model.network"),
            ({"face_bundle": "kavan"}, BundleError, "no weight"),
            ({"vocabulary": "ekman"}, DataError, "label_ekman"),
        ],
    )
    def test_what_cannot_be_trained(self, manifest, tmp_path, model, error, said):
        with pytest.raises(error, match=said):
            train("caca-rnn", [manifest], tmp_path / "run", write_recipe(tmp_path / "r.toml", **model))


class TestStudy:
    def test_parameters_of_table_1(self):
        expected = {"face": 1_579_528, "context": 1_185_928, "parallel": 858_376, "concatenated": 1_382_664,
                    "caca-a": 790_792, "caca-b": 790_792}  # fmt: skip
        assert {key: count_parameters(key, CacaRnnSettings()) for key in expected} == expected

    def test_rows(self):
        keys = [row.key for row in choose_rows((), CacaRnnSettings())]
        assert keys == [
            "face",
            "context",
            "parallel",
            "concatenated",
            "caca-a",
            "caca-b",
            "2d-3d",
            "ensemble",
        ]
        with pytest.raises(SettingsError, match="which it joins"):
            choose_rows(("ensemble", "caca-a"), CacaRnnSettings())
        with pytest.raises(SettingsError, match="some of"):
            choose_rows(("lstm",), CacaRnnSettings())

    def test_a_study_goes_on_where_it_was_cut_off(self, manifest, tmp_path):
        recipe = write_recipe(tmp_path / "r.toml")
        recipe.write_text(recipe.read_text().replace("epochs = 12", "epochs = 2"))

        def study(out, rows, seeds=2):
            lines = []
            options = StudyOptions(manifest, out, recipe, seeds, rows=rows, cache=tmp_path / "features")
            scores, outline = ablate_caca_rnn(options, lines.append)
            return scores, outline, lines

        rows = ("face", "context", "caca-a", "2d-3d", "ensemble")
        whole, outline, lines = study(tmp_path / "whole", rows)
        assert len(lines) == 10
        study(tmp_path / "cut", ("context", "caca-a"), seeds=1)
        cut, _, lines = study(tmp_path / "cut", rows)
        assert len(lines) == 8
        for one, other in zip(whole.study.runs, cut.study.runs, strict=True):
            assert (one.row, one.seed, one.scores) == (other.row, other.seed, other.scores)
            for name, array in one.arrays.items():
                np.testing.assert_array_equal(array, other.arrays[name])
        assert {"no face found"} == set(whole.held_out.parts)
        # a row that reads faces says of clips without one what Context-RNN of its seed says
        unseen = whole.held_out.parts["no face found"]
        by_row = {(run.row, run.seed): run.arrays["probabilities"] for run in whole.study.runs}
        np.testing.assert_allclose(by_row["caca-a", 1][unseen], by_row["context", 1][unseen])
        assert np.abs(by_row["caca-a", 1][~unseen] - by_row["context", 1][~unseen]).max() > 1e-6
        weights = next(run.facts["weights"] for run in whole.study.runs if run.row == "ensemble")
        assert sum(weights.values()) == pytest.approx(1)
        write_seed_report(whole, outline)
        report = (tmp_path / "whole" / "report.md").read_text()
        assert "CHEAVD 2.0 (another data set)" in report
        assert "1,579,528" in report
        assert "52.72" in report
