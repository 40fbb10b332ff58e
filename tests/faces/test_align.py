"""Cut-out faces: eyes and nose at their places, along time."""

import numpy as np
import pytest

from moodreel.errors import SettingsError
from moodreel.faces.align import ANCHORS, align_faces, cut_face, find_anchors
from moodreel.types import Face

EYES = [range(36, 42), range(42, 48)]
NOSE = range(30, 36)


def place_face(anchors, confidence=(1, 1, 1)):
    """A face whose eyes and nose have these centres, in pixels."""
    points, sure = np.zeros((70, 2)), np.zeros(70)
    ring = np.array([[-4, 0], [-2, 2], [2, 2], [4, 0], [2, -2], [-2, -2]], float)
    for part, centre, value in zip([*EYES, NOSE], anchors, confidence, strict=True):
        points[part], sure[part] = centre + ring, value
    points[sure == 0] = 0
    return Face(np.array([0.0, 0, 1, 1]), points, sure)


def turn(side, degrees, centre):
    """Where the anchors lie of a cut-out so long, so turned (clockwise on the screen), with that centre."""
    angle = np.radians(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (ANCHORS - 0.5) @ rotation.T * side + centre


@pytest.mark.parametrize(
    ("side", "degrees", "centre"), [(64, 0, (40, 50)), (31, 30, (100, 20)), (200, -75, (5, -9))]
)
def test_a_turned_face_is_found_exactly(side, degrees, centre):
    face = place_face(turn(side, degrees, centre))
    found = align_faces([face], [0])
    assert found.found.tolist() == [True]
    np.testing.assert_allclose(found.centres, [centre], atol=1e-9)
    expected = side * np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    np.testing.assert_allclose(found.sides[0], expected, atol=1e-9)
    np.testing.assert_allclose(found.place(0, find_anchors(face)[0]), ANCHORS, atol=1e-12)


def test_another_face_gets_the_least_squares():
    """Against a linear system: x = a u - b v + e, y = b u + a v + f, rows weighted by confidence."""
    rng = np.random.default_rng(4)
    for _ in range(20):
        anchors = turn(60, 20, (80, 70)) + rng.normal(0, 6, (3, 2))
        weight = rng.uniform(0.1, 1, 3)
        found = align_faces([place_face(anchors, weight)], [0])
        u, v = (ANCHORS - 0.5).T
        one, zero = np.ones(3), np.zeros(3)
        system = np.concatenate([np.stack([u, -v, one, zero], 1), np.stack([v, u, zero, one], 1)])
        root = np.tile(np.sqrt(weight), 2)
        a, b, e, f = np.linalg.lstsq(system * root[:, None], anchors.T.ravel() * root, rcond=None)[0]
        np.testing.assert_allclose([*found.sides[0], *found.centres[0]], [a, b, e, f], atol=1e-8)


def test_two_anchors_are_enough_and_one_is_not():
    anchors = turn(50, 10, (60, 60))
    found = align_faces([place_face(anchors, c) for c in [(1, 0, 0.4), (0, 1, 0), (0, 0, 0)]], [0, 1, 2], 0)
    assert found.found.tolist() == [True, False, False]
    np.testing.assert_allclose(found.place(0, anchors), ANCHORS, atol=1e-12)
    with pytest.raises(SettingsError, match="cut-out"):
        cut_face(np.zeros((9, 9, 3), np.uint8), found, 1)


def test_smoothing_is_a_gaussian_over_seconds():
    faces = [place_face(turn(60, 0, (50, 50))), place_face(turn(80, 0, (70, 50)))]
    found = align_faces(faces, [0, 0.1], smooth=0.1)
    share = np.exp(-0.5) / (1 + np.exp(-0.5))
    np.testing.assert_allclose(found.centres[:, 0], [50 + 20 * share, 70 - 20 * share])
    np.testing.assert_allclose(found.sides[:, 0], [60 + 20 * share, 80 - 20 * share])
    apart = align_faces(faces, [0, 10], smooth=0.1)
    np.testing.assert_allclose(apart.centres[:, 0], [50, 70])
    rough = align_faces(faces, [0, 0.1], smooth=0)
    np.testing.assert_allclose(rough.centres[:, 0], [50, 70])


def test_smoothing_weighs_confidence_and_passes_over_what_is_missing():
    anchors = turn(60, 0, (50, 50))
    faces = [
        place_face(anchors, (0.5, 0.5, 0.5)),
        place_face(anchors + 900, (1, 0, 0)),
        place_face(anchors + np.array([30, 0])),
    ]
    found = align_faces(faces, [0, 0.05, 0.1], smooth=0.1)
    near = np.exp(-0.5)
    np.testing.assert_allclose(found.centres[0, 0], (0.5 * 50 + near * 80) / (0.5 + near))
    assert found.found.tolist() == [True, False, True]


@pytest.mark.parametrize(("side", "degrees"), [(64, 0), (40, 25), (64, 90), (150, -20), (400, 10)])
def test_the_picture_is_cut_where_the_points_are(side, degrees):
    """A bright spot at each anchor of the frame is found at the anchor of the cut-out."""
    centre, radius = (300.0, 280.0), side / 20
    anchors = turn(side, degrees, centre)
    found = align_faces([place_face(anchors)], [0])
    rows, columns = np.indices((600, 640)) + 0.5
    for anchor, target in zip(anchors, ANCHORS, strict=True):
        spot = np.exp(-((columns - anchor[0]) ** 2 + (rows - anchor[1]) ** 2) / (2 * radius**2))
        frame = np.repeat((255 * spot)[..., None], 3, axis=2).astype(np.uint8)
        cut = cut_face(frame, found, 0, 64)
        assert cut.shape == (64, 64, 3)
        assert cut.dtype == np.uint8
        weight = cut[..., 0].astype(float)
        y, x = np.indices((64, 64)) + 0.5
        where = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum() / 64
        np.testing.assert_allclose(where, target, atol=0.15 / 64)
        spread = np.sqrt((weight * (x - where[0] * 64) ** 2).sum() / weight.sum())
        assert spread == pytest.approx(64 / 20, abs=0.35)


@pytest.mark.parametrize("side", [64, 300])
def test_beyond_the_frame_is_black(side):
    frame = np.full((100, 120, 3), 200, np.uint8)
    found = align_faces([place_face(turn(side, 0, (0, 50)))], [0])
    cut = cut_face(frame, found, 0, 64)
    assert (cut[24:40, 34:56] == 200).all()
    assert (cut[:, :30] == 0).all()
    away = align_faces([place_face(turn(side, 0, (900, 900)))], [0])
    assert not cut_face(frame, away, 0, 64).any()


def test_fine_stripes_do_not_alias():
    """Of a face four times too large each pixel is the mean of what it covers: stripes turn grey."""
    frame = np.zeros((400, 400, 3), np.uint8)
    frame[:, ::2] = 255
    found = align_faces([place_face(turn(260, 0, (200, 200)))], [0])
    cut = cut_face(frame, found, 0, 64).astype(int)
    assert abs(cut - 127).max() <= 2


def test_wrong_arguments():
    face = place_face(ANCHORS * 50)
    with pytest.raises(SettingsError, match="times"):
        align_faces([face], [0, 1])
    for smooth in (-1, np.nan):
        with pytest.raises(SettingsError, match="smooth"):
            align_faces([face], [0], smooth)
    with pytest.raises(SettingsError, match="size"):
        cut_face(np.zeros((9, 9, 3), np.uint8), align_faces([face], [0]), 0, 0)
    none = align_faces([], [])
    assert none.centres.shape == (0, 2)
