"""The recogniser, mostly over a fake engine: order, bounds, failures, nulls."""

import threading
import time

import numpy as np
import pytest
from PIL import Image

import moodreel
from moodreel.emotions import CIRCUMPLEX, EKMAN_7, GIFGIF_17, QUADRANTS
from moodreel.errors import MediaError, SettingsError
from moodreel.runtime import frame_reader
from moodreel.runtime.recognizer import Recognizer
from moodreel.runtime.schema import BundleInfo
from moodreel.types import Clip
from runtime.tiny import BLACK, BLUE, GREEN, RED, SIZE, draw_gif, make_info, make_model, paint, write_bundle


class FakeEngine:
    """Scores are the frames' mean red; remembers what it was given."""

    def __init__(self, system="kavan"):
        self.system = system
        self.shapes = []
        self.broken_at = None

    def run(self, frames):
        self.shapes.append(frames.shape)
        assert frames.dtype == np.uint8
        red = frames[..., 0].mean(axis=(-1, -2), dtype=np.float64).astype(np.float32) / 255
        if self.broken_at is not None and (red == self.broken_at).any():
            raise RuntimeError("no luck\nwith this one")
        if self.system == "face":
            rest = (1 - red)[..., None] * np.eye(6, dtype=np.float32)[0]
            return {"probabilities": np.concatenate([red[..., None], rest], axis=-1)}
        steps = np.repeat(red[..., None], 17, axis=-1)
        chances = np.stack([red, 1 - red, 0 * red, 0 * red], axis=-1)
        return {
            "intensities": steps[:, -1],
            "probabilities": chances[:, -1],
            "attention": np.full((*red.shape, 2, 2), 0.25, np.float32),
            "frame_intensities": steps,
            "frame_probabilities": chances,
        }


def build(system="kavan", engine=None, **changes):
    import json

    info = BundleInfo.from_json(json.dumps(make_info(system, **changes)))
    return Recognizer(info, engine or FakeEngine(system))


def shade(red):
    return (red, 0, 0)


@pytest.fixture
def gifs(tmp_path):
    """20 stills of growing redness, in files that sort in their order."""
    return [draw_gif(tmp_path / f"{k:02}.gif", shade(10 * k)) for k in range(20)]


def test_every_kind_of_input_gives_the_same_scores(tmp_path):
    mood = build()
    frames = paint(RED, BLACK)
    path = draw_gif(tmp_path / "a.gif", RED, BLACK)
    times = np.array([0.0, 0.5])
    lengths = np.array([0.5, 0.5])
    with Image.open(path) as image:
        inputs = [path, str(path), path.read_bytes(), image, Clip(frames, times, lengths, lengths)]
        results = [mood(source) for source in inputs]
    for result in results:
        assert (result.width, result.height, result.frames, result.duration) == (20, 20, 2, 1.0)
        assert result.emotions["fear"] == 0.0  # the last step is black
        assert result.category == "misery_arousal"
    assert results[0].source == results[1].source == str(path)
    assert mood(frames).frames == 2
    assert mood(frames[0]).frames == 1


def test_samples_the_middle_of_equal_segments(tmp_path):
    engine = FakeEngine()
    result = build(engine=engine)(draw_gif(tmp_path / "a.gif", RED, BLACK), per_frame=True)
    assert engine.shapes == [(1, 4, SIZE, SIZE, 3)]
    np.testing.assert_allclose(result.per_frame["time_s"], [0.125, 0.375, 0.625, 0.875])
    np.testing.assert_allclose(result.per_frame["anger"], [1, 1, 0, 0])
    np.testing.assert_allclose(result.attention_times, [0.125, 0.375, 0.625, 0.875])
    assert result.attention.shape == (4, 2, 2)


@pytest.mark.parametrize(
    ("count", "times"),
    [
        (1, [0.0]),
        (3, [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]),  # 1.5 s at 4 a second: the limit of 6
        (6, [0.25, 0.75, 1.25, 1.75, 2.25, 2.75]),  # 3 s: six segments, the end is not cut off
    ],
)
def test_rate_sampling_covers_the_whole_clip(tmp_path, count, times):
    path = draw_gif(tmp_path / "a.gif", *[shade(40 * k) for k in range(count)])
    if count == 1:  # a GIF of one image still has a duration; a still has none
        path = tmp_path / "a.png"
        Image.fromarray(paint(RED)[0]).save(path)
    result = build("face")(path, per_frame=True)
    np.testing.assert_allclose(result.per_frame["time_s"], times)


def test_kavan_fields():
    result = build()(paint(RED))
    assert list(result.emotions) == list(GIFGIF_17)
    assert list(result.probabilities) == list(QUADRANTS)
    assert (result.category, result.confidence) == ("pleasure_arousal", 1.0)
    np.testing.assert_allclose(
        result.valence, np.mean([CIRCUMPLEX[name][0] for name in GIFGIF_17]), rtol=1e-6
    )
    np.testing.assert_allclose(
        result.arousal, np.mean([CIRCUMPLEX[name][1] for name in GIFGIF_17]), rtol=1e-6
    )
    assert result.faces is None
    assert result.per_frame == {}
    assert (result.model, result.model_version, result.error) == ("tiny-kavan", "0.0.1", None)


def test_face_averages_its_frames(tmp_path):
    result = build("face")(draw_gif(tmp_path / "a.gif", shade(255), shade(0), shade(0)), per_frame=True)
    np.testing.assert_allclose(result.probabilities["anger"], 1 / 3, atol=1e-6)
    np.testing.assert_allclose(result.probabilities["disgust"], 2 / 3, atol=1e-6)
    assert (result.category, result.emotions) == ("disgust", {})
    assert (result.valence, result.arousal, result.faces, result.attention) == (None,) * 4
    np.testing.assert_allclose(result.per_frame["p_anger"], [1, 1, 0, 0, 0, 0])
    assert set(result.per_frame) == {"time_s", *(f"p_{name}" for name in EKMAN_7)}


def test_what_no_source_supervised_is_none_everywhere():
    some = {"emotions": ["fear", "pride"], "categories": ["misery_arousal", "misery_sleepiness"]}
    result = build(supervised=some)(paint(shade(204)), per_frame=True)  # 0.8 and 0.2, the 0.8 unsupervised
    assert [name for name, score in result.emotions.items() if score is not None] == ["fear", "pride"]
    assert result.probabilities == {
        "pleasure_arousal": None,
        "misery_arousal": 1.0,
        "misery_sleepiness": 0.0,
        "pleasure_sleepiness": None,
    }
    assert (result.category, result.confidence) == ("misery_arousal", 1.0)
    assert set(result.per_frame) == {"time_s", "fear", "pride", "p_misery_arousal", "p_misery_sleepiness"}
    np.testing.assert_allclose(
        result.valence, (CIRCUMPLEX["fear"][0] + CIRCUMPLEX["pride"][0]) / 2, rtol=1e-6
    )


def test_nothing_supervised():
    result = build(supervised={})(paint(RED))
    assert set(result.emotions.values()) == set(result.probabilities.values()) == {None}
    assert (result.category, result.confidence, result.valence, result.arousal) == (None,) * 4
    assert result.ok


def test_abstains_below_the_threshold_only():
    mood = build("face")
    picture = paint(shade(153))  # 0.6 anger
    assert mood(picture, abstain=0.59).category == "anger"
    quiet = mood(picture, abstain=0.61)
    assert quiet.category is None
    np.testing.assert_allclose(quiet.confidence, 0.6, atol=1e-6)
    np.testing.assert_allclose(quiet.probabilities["anger"], 0.6, atol=1e-6)
    assert [r.category for r in mood.map([picture], abstain=0.61)] == [None]


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_abstain_is_a_probability(bad):
    with pytest.raises(SettingsError, match="abstain"):
        build()(paint(RED), abstain=bad)
    with pytest.raises(SettingsError, match="abstain"):
        build().map([], abstain=bad)


@pytest.mark.parametrize("option", ["workers", "batch"])
def test_map_options_are_checked_at_once(option):
    with pytest.raises(SettingsError, match=f"{option} = 0"):
        build().map([], **{option: 0})


def test_a_direct_call_raises(tmp_path):
    with pytest.raises(MediaError, match="no such file"):
        build()(tmp_path / "absent.gif")


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch", [1, 3, 50])
def test_map_keeps_the_order(gifs, workers, batch):
    engine = FakeEngine()
    results = list(build(engine=engine).map(gifs, workers=workers, batch=batch))
    assert [r.source for r in results] == [str(path) for path in gifs]
    np.testing.assert_allclose(
        [r.emotions["fear"] for r in results], [10 * k / 255 for k in range(20)], atol=1e-6
    )
    assert [shape[0] for shape in engine.shapes] == [min(batch, 20 - k) for k in range(0, 20, batch)]


def test_failures_are_results_in_their_place(gifs, tmp_path):
    text = tmp_path / "text.gif"
    text.write_text("this is no GIF")
    absent = tmp_path / "absent.gif"
    sources = [absent, gifs[3], text, gifs[4], 17, gifs[5]]
    results = list(build().map(sources, batch=4))
    assert [r.ok for r in results] == [False, True, False, True, False, True]
    assert results[0].error == "no such file"
    assert results[0].source == str(absent)
    assert results[2].source == str(text)
    assert all("\n" not in r.error for r in results if not r.ok)
    assert results[0].emotions == {}
    assert (results[0].width, results[0].category) == (None, None)
    np.testing.assert_allclose(
        [results[k].emotions["fear"] for k in (1, 3, 5)], np.array([30, 40, 50]) / 255, atol=1e-6
    )


def test_an_unforeseen_failure_is_a_result_too(gifs, monkeypatch):
    real = frame_reader.open_media

    def fragile(source, limits):
        if source == gifs[2]:
            raise ZeroDivisionError("deep\ninside")
        return real(source, limits)

    monkeypatch.setattr(frame_reader, "open_media", fragile)
    results = list(build().map(gifs[:4]))
    assert [r.error for r in results] == [None, None, "ZeroDivisionError: deep inside", None]


def test_a_clip_that_breaks_the_network_takes_no_other_with_it(gifs):
    engine = FakeEngine()
    engine.broken_at = np.float32(20) / np.float32(255)
    results = list(build(engine=engine).map(gifs[:5]))
    assert [r.error for r in results] == [None, None, "RuntimeError: no luck with this one", None, None]
    assert [r.source for r in results] == [str(path) for path in gifs[:5]]


def test_memory_is_bounded_by_the_window(gifs, monkeypatch):
    """Counts inputs that were decoded, or are being, and not handed out."""
    mood, batch, workers = build(), 2, 2
    lock = threading.Lock()
    held = most = 0
    real = mood._try_sample

    def counted(source, decoders):
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        return real(source, decoders)

    monkeypatch.setattr(mood, "_try_sample", counted)
    taken = 0

    def feed():
        nonlocal taken
        for path in gifs * 5:
            taken += 1
            yield path

    for done, _ in enumerate(mood.map(feed(), workers=workers, batch=batch), start=1):
        time.sleep(0.001)  # a slow reader: decoders could run ahead
        assert taken <= done + 2 * batch + workers
        with lock:
            held -= 1
    assert done == 100
    assert batch < most <= 2 * batch + workers


def test_map_streams(gifs):
    """The first result comes before the input ends, and closing it ends the threads."""

    def endless():
        while True:
            yield gifs[1]

    before = threading.active_count()
    results = build().map(endless())
    assert next(results).ok
    results.close()
    assert threading.active_count() == before


def test_mixed_lengths_go_through_in_groups():
    """A kavan bundle that samples at a rate: clips of one length share a run."""
    engine = FakeEngine()
    mood = build(engine=engine, sampling={"method": "rate", "fps": 10.0, "limit": 8})
    clips = [paint(RED), paint(RED, RED), paint(GREEN), paint(*[RED] * 20)]  # arrays play at 10 a second
    results = list(mood.map(clips))
    assert sorted(engine.shapes) == [(1, 2, SIZE, SIZE, 3), (1, 8, SIZE, SIZE, 3), (2, 1, SIZE, SIZE, 3)]
    assert [r.emotions["fear"] for r in results] == [1.0, 1.0, 0.0, 1.0]
    assert [r.frames for r in results] == [1, 2, 1, 20]


def test_frames_of_face_go_through_in_bounded_runs(monkeypatch):
    monkeypatch.setattr(frame_reader, "FRAMES_PER_RUN", 4)
    engine = FakeEngine("face")
    results = list(build("face", engine).map([paint(shade(51 * k)) for k in range(6)]))
    assert [shape[0] for shape in engine.shapes] == [4, 2]
    np.testing.assert_allclose([r.probabilities["anger"] for r in results], np.arange(6) / 5, atol=1e-6)


def test_scores_that_are_not_finite_are_an_error(tmp_path):
    folder = write_bundle(tmp_path / "b", model=make_model(broken=True))
    mood = moodreel.load(folder)
    results = list(mood.map([paint(RED), paint(BLACK), paint(BLUE)]))
    assert [r.error for r in results] == [None, "the model gave scores that are not finite", None]
    assert (results[1].emotions, results[1].category, results[1].attention) == ({}, None, None)
    assert mood(paint(BLACK)).error == results[1].error


@pytest.mark.parametrize("system", ["kavan", "face"])
def test_a_bundle_end_to_end(tmp_path, system):
    mood = moodreel.load(write_bundle(tmp_path / "b", system), threads=1)
    result = mood(draw_gif(tmp_path / "a.gif", RED, BLUE, BLUE))
    name = {"kavan": "misery_sleepiness", "face": "fear"}[system]
    assert result.category == name
    if system == "kavan":
        assert result.emotions["amusement"] == -1.0
        assert result.emotions["contempt"] == 1.0
        np.testing.assert_allclose(result.attention.sum(axis=(1, 2)), 1, atol=1e-5)
    assert repr(mood) == f"Recognizer('tiny-{system}', system='{system}', version='0.0.1')"
