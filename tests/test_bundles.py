"""The bundles that ship: whole, honest, equal to their torch networks, and unchanged unless meant."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

import moodreel
from moodreel.lab.data.streams import pad_clips
from moodreel.lab.modules_caca_rnn import predict_batch
from moodreel.lab.networks import OUTPUTS, build_graph, load_bundle
from moodreel.lab.settings import read_recipe, recipe_from_dict
from moodreel.media import open_media, rate_times, sample_media, segment_times
from moodreel.runtime.bundle import BUNDLED, list_bundles, read_bundle
from moodreel.runtime.engine import OnnxEngine
from moodreel.runtime.recognizer import DEFAULT_DETECTOR
from moodreel.runtime.scene_reader import OnnxSceneEngine
from moodreel.runtime.schema import SYSTEMS
from moodreel.runtime.trace import trace_media
from moodreel.runtime.trace_reader import open_trace_reader

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
GOLDEN = Path(__file__).parent / "golden"
RECIPES = Path(__file__).resolve().parents[1] / "recipes"


def test_what_ships():
    assert list_bundles() == ["caca-rnn", "face", "kavan", "sta"]
    for name in list_bundles():
        assert read_bundle(name).info.name == name  # of the folder that it was exported to
    assert sum(f.stat().st_size for f in BUNDLED.rglob("*") if f.is_file()) < 40e6


@pytest.fixture(params=["caca-rnn", "face", "kavan", "sta"])
def every_bundle(request):
    return read_bundle(request.param)


@pytest.fixture(params=["face", "kavan"])
def bundle(request):
    return read_bundle(request.param)


def test_card_and_scores_are_measured(every_bundle):
    bundle = every_bundle
    card = bundle.read_card()
    assert bundle.info.name in card
    headline = bundle.info.scores["headline"]
    assert headline
    for name, score in headline.items():
        assert 0 < score < 1, name
        manifest, _, key = name.rpartition(" ")
        assert bundle.info.scores[manifest][key] == score
        assert f"{score:.3f}" in card


def test_the_training_has_a_recipe(every_bundle):
    recipe, system = recipe_from_dict(every_bundle.info.training["recipe"]), every_bundle.info.system
    of_system = [p for p in RECIPES.glob("*.toml") if tomllib.loads(p.read_text("utf-8"))["system"] == system]
    same = [p for p in of_system if read_recipe(p, system) == recipe]
    assert len(same) == 1, of_system


def load_torch(bundle):
    return build_graph(load_bundle(bundle)[1]).eval()


def sample(info, path):
    media = open_media(path)
    if info.sampling.count is not None:
        times = segment_times(media.duration, info.sampling.count)
    else:
        times = rate_times(media.duration, info.sampling.fps)[: info.sampling.limit]
    return sample_media(media, times, (info.input.height, info.input.width)).frames


def assert_equal_to_torch(bundle, paths):
    graph = load_torch(bundle)
    engine = moodreel.load(bundle.info.name).engine
    for path in paths:
        frames = sample(bundle.info, path)
        if bundle.info.system == "kavan":
            frames = frames[None]
        with torch.no_grad():
            expected = graph(torch.from_numpy(frames))
        outputs = engine.run(frames)
        for name, theirs in zip(OUTPUTS[bundle.info.system], expected, strict=True):
            if name not in outputs:
                continue  # the runtime does not read the face's features
            np.testing.assert_allclose(
                outputs[name], theirs.numpy(), atol=1e-4, err_msg=f"{path.name} {name}"
            )


def test_equal_to_torch_on_the_examples(bundle):
    assert_equal_to_torch(bundle, sorted(EXAMPLES.glob("*.gif")))


def test_equal_to_torch_on_real_clips(bundle, data):
    clips = sorted(data("clips").glob("*.gif")) + sorted(data("emoji/gif").glob("*.gif"))[:4]
    assert len(clips) > 4
    assert_equal_to_torch(bundle, clips)


@pytest.mark.parametrize("length", [1, 3, 40])
def test_caca_rnn_is_equal_to_torch_at_any_length(length):
    bundle = read_bundle("caca-rnn")
    net, engine = load_bundle(bundle)[1].eval(), OnnxSceneEngine(bundle)
    rng = np.random.default_rng(length)
    sizes = {"face": bundle.info.input.face, "context": bundle.info.input.height}
    pixels = {
        kind: rng.integers(0, 256, (length, size, size, 3)).astype(np.uint8) for kind, size in sizes.items()
    }
    with torch.no_grad():
        face = net.extractors.read_faces(torch.from_numpy(pixels["face"])).numpy()
        context = net.extractors.read_context(torch.from_numpy(pixels["context"])).numpy()
        batch = {"has_face": torch.ones(1, dtype=torch.bool), "label": torch.zeros(1, dtype=torch.int64)}
        for kind, features in (("face", face), ("context", context)):
            batch[kind], batch[f"{kind}_lengths"] = pad_clips([features])
        expected = predict_batch([net.rnn], batch)[0].numpy()
        alone = predict_batch([net.fallback], batch)[0].numpy()
    np.testing.assert_allclose(engine.read_faces(pixels["face"]), face, atol=1e-4)
    np.testing.assert_allclose(engine.read_context(pixels["context"]), context, atol=1e-4)
    said = engine.read_streams(face, context)
    np.testing.assert_allclose(said["probabilities"], expected, atol=1e-4)
    assert said["attention"].shape == (length, length)
    np.testing.assert_allclose(engine.read_scene(context)["probabilities"], alone, atol=1e-4)


def test_caca_rnn_says_what_it_read(data, tmp_path):
    mood = moodreel.load("caca-rnn")
    comes_and_goes, nobody = (mood(data(f"clips/{name}")) for name in ("face_noface.mov", "no_face.mp4"))
    assert (comes_and_goes.faces, comes_and_goes.scene.face, comes_and_goes.scene.reason) == (1, 0, None)
    assert 0.3 < comes_and_goes.scene.share < 0.45
    assert (nobody.faces, nobody.scene.share) == (0, 0.0)
    assert nobody.scene.reason == "no face was found: read from the scene alone"


def test_sta_is_equal_to_torch():
    bundle = read_bundle("sta")
    recipe, net = load_bundle(bundle)
    assert bundle.size < 4e6
    engine = OnnxEngine(bundle.read_model(), SYSTEMS["sta"])
    rng = np.random.default_rng(0)
    size = recipe.model.input_size
    for count in (1, 3):
        frames = rng.integers(0, 256, (count, 16, size, size, 3)).astype(np.uint8)
        with torch.no_grad():
            out = net.eval()(net.normalise(torch.from_numpy(frames)))
        said = engine.run(frames)
        np.testing.assert_allclose(said["valence"], out.valence.clamp(-1, 1), atol=1e-4)
        np.testing.assert_allclose(said["attention"], out.attention, atol=1e-4)


def test_sta_sees_a_real_smile_come(data):
    """A man looks earnest for a second, then smiles broadly; later nobody is there."""
    path = data("clips/face_noface.mov")
    media, reader = open_media(path), open_trace_reader("sta", DEFAULT_DETECTOR)
    points = list(trace_media(media, reader.make_tracer(media)))
    assert [p.time for p in points] == [k / 4 for k in range(26)]
    assert "".join(p.status[0] for p in points) == "o" * 10 + "i" * 16
    values = [p.valence for p in points]
    assert np.mean(values[6:10]) > np.mean(values[0:4]) + 0.1
    assert moodreel.load("sta")(path).valence == pytest.approx(np.mean(values), abs=1e-6)


def test_golden_scores(every_bundle):
    """A bundle that changed shows here: write_golden.py writes them anew."""
    bundle = every_bundle
    stored = json.loads((GOLDEN / f"{bundle.info.name}.json").read_text(encoding="utf-8"))
    mood = moodreel.load(bundle.info.name)
    for name, scores in stored.items():
        result = mood(EXAMPLES / name)
        given = {**result.emotions, **result.probabilities} or {"valence": result.valence}
        assert given.keys() == scores.keys()
        for label, score in scores.items():
            if score is None:
                assert given[label] is None
            else:
                assert given[label] == pytest.approx(score, abs=1e-3), (name, label)


def test_unsupervised_scores_are_null():
    info = read_bundle("kavan").info
    result = moodreel.load("kavan")(EXAMPLES / "contentment.gif")
    assert {e for e, v in result.emotions.items() if v is not None} == set(info.supervised.emotions)
    assert {c for c, v in result.probabilities.items() if v is not None} == set(info.supervised.categories)
    assert result.attention.shape == (8, info.input.height // 16, info.input.width // 16)
    np.testing.assert_allclose(result.attention.sum(axis=(1, 2)), 1, atol=1e-4)


def test_rated_emoji_stand_in_sensible_order(data):
    """The 512 px GIFs: a grin is happier and less angry than a huff."""
    mood = moodreel.load("kavan")
    grin, huff = (mood(data(f"emoji/gif/{name}.gif")).emotions for name in ("1f604", "1f624"))
    assert grin["happiness"] > huff["happiness"]
    assert grin["anger"] < huff["anger"]
