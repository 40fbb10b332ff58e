"""The bundles that ship: whole, honest, equal to their torch networks, and unchanged unless meant."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import moodreel
from moodreel.lab.networks import OUTPUTS, build_graph, load_bundle
from moodreel.media import open_media, rate_times, sample_media, segment_times
from moodreel.runtime.bundle import BUNDLED, list_bundles, read_bundle

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
GOLDEN = Path(__file__).parent / "golden"


def test_what_ships():
    assert list_bundles() == ["face", "kavan"]
    assert sum(f.stat().st_size for f in BUNDLED.rglob("*") if f.is_file()) < 40e6


@pytest.fixture(params=["face", "kavan"])
def bundle(request):
    return read_bundle(request.param)


def test_card_and_scores_are_measured(bundle):
    card = bundle.read_card()
    assert bundle.info.name in card
    headline = bundle.info.scores["headline"]
    assert headline
    for name, score in headline.items():
        assert 0 < score < 1, name
        manifest, _, key = name.rpartition(" ")
        assert bundle.info.scores[manifest][key] == score
        assert f"{score:.3f}" in card
    assert bundle.info.training["recipe"]["train"]["seed"] == 0


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


def test_golden_scores(bundle):
    """A bundle that changed shows here: write_golden.py writes them anew."""
    stored = json.loads((GOLDEN / f"{bundle.info.name}.json").read_text(encoding="utf-8"))
    mood = moodreel.load(bundle.info.name)
    for name, scores in stored.items():
        result = mood(EXAMPLES / name)
        given = {**result.emotions, **result.probabilities}
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
    assert result.attention.shape == (8, 7, 7)
    np.testing.assert_allclose(result.attention.sum(axis=(1, 2)), 1, atol=1e-4)


def test_rated_emoji_stand_in_sensible_order(data):
    """The 512 px GIFs: a grin is happier and less angry than a huff."""
    mood = moodreel.load("kavan")
    grin, huff = (mood(data(f"emoji/gif/{name}.gif")).emotions for name in ("1f604", "1f624"))
    assert grin["happiness"] > huff["happiness"]
    assert grin["anger"] < huff["anger"]
