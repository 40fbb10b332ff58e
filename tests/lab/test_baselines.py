"""Histograms, least squares, the SVM and face features, against hand-made numbers and other solvers."""

import json

import numpy as np
import pytest
from scipy import optimize

from moodreel.errors import BundleError
from moodreel.faces.crop import crop_faces
from moodreel.lab.data.cached import key_of
from moodreel.lab.data.manifest import Row
from moodreel.lab.models.baselines import (
    DetectedFaces,
    KeypointFaces,
    PictureCache,
    WholeFrames,
    colour_histogram,
    fit_ols,
    fit_svm,
    load_face,
    predict_with_faces,
)
from moodreel.media import open_media, write_gif
from moodreel.types import Face


def test_histogram_of_a_known_picture():
    # Two frames of 2 x 2: three pixels of (0, 64, 128), one white, and four of (255, 0, 63).
    frames = np.zeros((2, 2, 2, 3), np.uint8)
    frames[0] = (0, 64, 128)
    frames[0, 1, 1] = 255
    frames[1] = (255, 0, 63)
    histogram = colour_histogram(frames, bins=4)
    expected = np.zeros(64)
    expected[0 * 16 + 1 * 4 + 2] = 3 / 8
    expected[63] = 1 / 8
    expected[3 * 16 + 0 * 4 + 0] = 4 / 8
    assert histogram.tolist() == expected.tolist()


def test_ols_is_numpy_lstsq():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 5)), rng.normal(size=(40, 3))
    mask = rng.random((40, 3)) < 0.7
    model = fit_ols(x, y, mask)
    for e in range(3):
        rows = mask[:, e]
        design = np.column_stack([x[rows], np.ones(rows.sum())])
        expected = np.linalg.lstsq(design, y[rows, e], rcond=None)[0]
        assert model.weights[:, e] == pytest.approx(expected[:-1])
        assert model.bias[e] == pytest.approx(expected[-1])
    new = rng.normal(size=(2, 5))
    assert model.predict(new) == pytest.approx(new @ model.weights + model.bias)


def test_ols_of_features_that_sum_to_one():
    x = np.array([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]])
    model = fit_ols(x, 3 * x[:, :1] - 1, np.ones((3, 1), bool))
    assert model.predict(x)[:, 0] == pytest.approx(3 * x[:, 0] - 1)
    assert model.weights[:, 0] == pytest.approx([1.5, -1.5])  # the smallest of many


def test_ols_of_an_emotion_that_nobody_knows_is_zero():
    model = fit_ols(np.ones((3, 2)), np.ones((3, 1)), np.zeros((3, 1), bool))
    assert model.predict([[5.0, 6.0]]).tolist() == [[0.0]]


def test_svm_is_the_minimum_of_its_loss():
    rng = np.random.default_rng(1)
    x, label = rng.normal(size=(60, 3)), rng.integers(0, 3, 60)
    x[label == 1] += 1.0
    model = fit_svm(x, label, classes=4, cost=0.3)
    for k in range(3):
        sign = np.where(label == k, 1.0, -1.0)

        def loss(theta, sign=sign):
            short = np.maximum(0, 1 - sign * (x @ theta[:3] + theta[3]))
            return theta[:3] @ theta[:3] / 2 + 0.3 * (short**2).sum()

        found = optimize.minimize(loss, np.zeros(4), method="Powell", options={"xtol": 1e-8, "ftol": 1e-12})
        mine = loss(np.append(model.weights[:, k], model.bias[k]))
        assert mine == pytest.approx(found.fun, rel=1e-4)
    assert 3 not in model.predict(x).argmax(axis=1)  # a class without a row


def test_svm_by_hand():
    # Points -1 and 1: b = 0 by symmetry, and w^2 / 2 + 2 C (1 - w)^2 is least at w = 4 C / (1 + 4 C).
    model = fit_svm([[-1.0], [1.0]], [0, 1], classes=2, cost=0.5)
    assert model.weights[0].tolist() == pytest.approx([-2 / 3, 2 / 3], abs=1e-5)
    assert model.bias.tolist() == pytest.approx([0, 0], abs=1e-5)


def test_clips_without_a_face_get_the_training_mean():
    x = np.array([[1.0], [2.0], [0.0], [3.0]])
    found = np.array([True, True, False, True])
    y = np.array([[10.0, 1.0], [20.0, 0.0], [2.0, 5.0], [30.0, 0.0]])
    mask = np.array([[True, True], [True, False], [True, True], [True, False]])
    predicted = predict_with_faces(x, found, y, mask, np.array([[4.0], [9.0]]), np.array([True, False]))
    assert predicted[0] == pytest.approx([40.0, 1.0])  # the line through the three faces; one known value
    assert predicted[1] == pytest.approx([(10 + 20 + 2 + 30) / 4, 3.0])  # the mean of all, faceless too


def test_crop_is_a_square_around_the_box():
    frames = np.zeros((1, 100, 200, 3), np.uint8)
    frames[0, 40:60, 100:120] = 200
    crop = crop_faces(frames, np.array([[0.5, 0.4, 0.6, 0.6]]), 26)[0]  # 20 px, 3 more on each side
    assert crop.shape == (26, 26, 3)
    assert (crop[4:22, 4:22] == 200).all()
    assert (crop[:2] == 0).all()
    assert (crop[:, :2] == 0).all()


def test_crop_shrinks_large_faces_and_is_black_beyond_the_edge():
    frames = np.full((1, 100, 100, 3), 90, np.uint8)
    crop = crop_faces(frames, np.array([[-0.5, 0.0, 0.5, 1.0]]), 13)[0]
    assert (crop[:, :5] == 0).all()
    assert (crop[3:10, 8:] == 90).all()


@pytest.fixture
def rows(tmp_path):
    rng = np.random.default_rng(0)
    made = []
    for i in range(3):
        clip = tmp_path / f"{i}.gif"
        write_gif(clip, rng.integers(0, 255, (3, 60, 80, 3)).astype(np.uint8), np.full(3, 0.1))
        made.append(Row(clip, f"g{i}", scores={"anger": 0.5}))
    flat = [v for n in range(70) for v in (20.0 + n % 30, 10.0 + n % 40, 0.9 if n % 2 else 0.6)]
    frames = [{"people": [{"face_keypoints_2d": flat}]}, {"people": []}, {"people": []}]
    path = tmp_path / "0.json"
    path.write_text(json.dumps({"version": 1.3, "width": 80, "height": 60, "frames": frames}))
    made[0] = Row(made[0].clip, "g0", scores={"anger": 0.5}, keypoints=path)
    return made


def test_pictures_are_counted_and_averaged(rows, tmp_path):
    cache = PictureCache(tmp_path / "s", KeypointFaces(), frames=3)
    assert cache.fill(rows) == []
    keys = [key_of(row) for row in rows]
    assert cache.store.gather(keys, "faces").tolist() == [1, 0, 0]
    assert cache.store.gather(keys, "histogram").sum(axis=1) == pytest.approx([1, 1, 1])
    face = cache.store.gather(keys, "face")
    assert face[0].any()
    assert not face[1:].any()


def test_face_features_are_those_of_the_bundle(rows, tmp_path):
    """The whole frame as the face, against the bundle's own graph in ONNX Runtime."""
    import onnxruntime

    from moodreel.media import sample_media, segment_times
    from moodreel.runtime.bundle import read_bundle

    cache = PictureCache(tmp_path / "s", WholeFrames(), frames=3)
    cache.fill(rows[:1])
    media = open_media(rows[0].clip)
    frames = sample_media(media, segment_times(media.duration, 3)).frames
    crops = crop_faces(frames, np.tile([0.0, 0.0, 1.0, 1.0], (3, 1)), 96)
    session = onnxruntime.InferenceSession(read_bundle("face").read_model())
    probabilities, features = session.run(["probabilities", "features"], {"frames": crops})
    keys = [key_of(rows[0])]
    assert cache.store.gather(keys, "face")[0] == pytest.approx(features.mean(axis=0), abs=1e-3)
    expected = np.log(probabilities).mean(axis=0)
    assert cache.store.gather(keys, "classes")[0] == pytest.approx(expected, abs=2e-3)


class FakeDetector:
    name = "fake"

    def detect(self, media, indices):
        for index in indices:
            small = Face(np.array([0.0, 0.0, 8.0, 6.0]), np.zeros((70, 2)), np.zeros(70))
            large = Face(np.array([8.0, 6.0, 40.0, 30.0 + index]), np.zeros((70, 2)), np.zeros(70))
            weak = Face(np.array([0.0, 0.0, 48.0, 48.0]), np.zeros((70, 2)), np.zeros(70), is_weak=True)
            yield [weak] if index == 1 else [small, weak, large]


def test_detected_faces_are_the_largest(rows):
    media = open_media(rows[0].clip)
    finder = DetectedFaces(FakeDetector())
    boxes = finder.find(rows[0], media, np.array([0, 1, 2, 2]))
    assert boxes[0] == pytest.approx([0.1, 0.1, 0.5, 0.5])
    assert boxes[1].tolist() == [0, 0, 0, 0]
    assert boxes[2] == pytest.approx([0.1, 0.1, 0.5, 32 / 60])
    assert boxes[3] == pytest.approx(boxes[2])
    assert finder.name == "fake"


def test_another_bundle_is_refused():
    with pytest.raises(BundleError, match="a bundle of kavan; expected one of face"):
        load_face("kavan")
