"""Keypoints against the frames they belong to: what is done to both gives the same picture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from moodreel.errors import SettingsError
from moodreel.faces.heatmap import LIPS, draw_heatmap
from moodreel.faces.points import TWINS, crop_points, flip_points
from moodreel.lab.data.compose import FRONTAL_FACE
from moodreel.media.base import resize

seeds = st.integers(0, 2**32 - 1)


def draw_points(seed, count=2):
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0, 1, (count, 70)) * (rng.random((count, 70)) < 0.8)
    return rng.uniform(-0.1, 1.1, (count, 70, 2)), confidence


def log_of(heatmap):
    """The sums of Gaussians that a softmax came from, up to a number a frame."""
    sums = np.log(heatmap)
    return sums - sums.mean(axis=(-2, -1), keepdims=True)


@given(seeds, st.sampled_from([(7, 7), (4, 6), (64, 64)]))
def test_flipping_then_drawing_is_drawing_then_flipping(seed, grid):
    points, confidence = draw_points(seed)
    flipped = draw_heatmap(*flip_points(points, confidence), grid)
    np.testing.assert_allclose(flipped, draw_heatmap(points, confidence, grid)[..., ::-1], atol=1e-12)


@given(seeds, st.integers(8, 60), st.data())
def test_cropping_then_drawing_is_drawing_then_cropping(seed, size, data):
    """On whole cells of the first grid of 64, before pooling, the Gaussians keeping their size in cells."""
    points, confidence = draw_points(seed)
    left, top = (data.draw(st.integers(0, 64 - size)) for _ in "xy")
    window = np.array([left, top, left + size, top + size]) / 64
    whole = draw_heatmap(points, confidence, (64, 64), size=64, temperature=20)
    part = draw_heatmap(crop_points(points, window), confidence, (size, size), size=size, temperature=20)
    cells = whole[:, top : top + size, left : left + size]
    np.testing.assert_allclose(log_of(part), log_of(cells), atol=1e-9)


def test_each_frame_has_its_own_window():
    points = np.full((2, 70, 2), [0.5, 0.4])
    cropped = crop_points(points, [[0, 0, 1, 1], [0.4, 0.2, 0.8, 0.7]])
    np.testing.assert_allclose(cropped[0], points[0])
    np.testing.assert_allclose(cropped[1], np.full((70, 2), [0.25, 0.4]))
    np.testing.assert_allclose(crop_points([0.5, 0.5], [-0.5, 0, 1.5, 2]), [0.5, 0.25])


@pytest.mark.parametrize("window", [[0, 0, 0, 1], [0, 1, 1, 0], [0, 0, 1]])
def test_a_window_without_area_is_refused(window):
    with pytest.raises(SettingsError, match="window"):
        crop_points(np.zeros((70, 2)), window)


def find_blob(picture):
    """Where the brightness lies, 0-1 of the picture."""
    weight = picture[..., 0].astype(float)
    rows, columns = np.indices(weight.shape) + 0.5
    return np.array(
        [(weight * columns).sum() / picture.shape[1], (weight * rows).sum() / picture.shape[0]]
    ) / (weight.sum())


@pytest.mark.parametrize(("x", "y"), [(30, 20), (61, 37), (44, 22)])
def test_points_go_where_their_pixels_go(x, y):
    frame = np.zeros((50, 90, 3), np.uint8)
    frame[y : y + 4, x : x + 4] = 255
    point = np.array([(x + 2) / 90, (y + 2) / 50])
    np.testing.assert_allclose(find_blob(frame), point)
    points, confidence = np.tile(point, (70, 1)), np.ones(70)
    np.testing.assert_allclose(find_blob(frame[:, ::-1]), flip_points(points, confidence)[0][0])
    window = np.array([12, 5, 75, 46])
    cropped = frame[window[1] : window[3], window[0] : window[2]]
    np.testing.assert_allclose(find_blob(cropped), crop_points(point, window / [90, 50, 90, 50]))
    stretched = resize(Image.fromarray(frame), (33, 60))
    np.testing.assert_allclose(find_blob(stretched), point, atol=0.003)


def test_twins_are_those_of_a_face():
    pairs = {
        0: 16, 1: 15, 7: 9, 8: 8, 17: 26, 19: 24, 21: 22, 27: 27, 30: 30, 31: 35, 32: 34, 33: 33, 36: 45,
        37: 44, 38: 43, 39: 42, 40: 47, 41: 46, 48: 54, 49: 53, 50: 52, 51: 51, 59: 55, 58: 56, 57: 57,
        60: 64, 61: 63, 62: 62, 67: 65, 66: 66, 68: 69,
    }  # fmt: skip
    for one, other in pairs.items():
        assert (TWINS[one], TWINS[other]) == (other, one)
    assert (TWINS[TWINS] == np.arange(70)).all()
    assert set(TWINS[LIPS].tolist()) == set(range(48, 68))
    mirrored, _ = flip_points(FRONTAL_FACE, np.ones(70))
    np.testing.assert_allclose(mirrored, FRONTAL_FACE, atol=1e-12)


@given(seeds)
def test_flipping_twice_changes_nothing(seed):
    points, confidence = draw_points(seed)
    again, sure = flip_points(*flip_points(points, confidence))
    np.testing.assert_allclose(again, points, atol=1e-12)
    np.testing.assert_array_equal(sure, confidence)
