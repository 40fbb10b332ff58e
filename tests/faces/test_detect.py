"""Detectors: the choice among them, and dlib, in coordinates worked out by hand and on real faces."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from moodreel.errors import BundleError, MissingExtra, SettingsError
from moodreel.faces import detect, mediapipe
from moodreel.faces.detect import (
    SLACK,
    DetectorSettings,
    Dlib,
    choose_detector,
    fill_pupils,
    make_face,
    open_detector,
)
from moodreel.faces.openpose import OpenPoseFiles
from moodreel.faces.track import find_faces
from moodreel.media import open_media


class Box:
    def __init__(self, left, top, right, bottom):
        self._edges = left, top, right, bottom

    left, top, right, bottom = (lambda self, k=k: self._edges[k] for k in range(4))


class Shape:
    num_parts = 68

    def __init__(self, x, y):
        self._parts = [types.SimpleNamespace(x=x + k, y=y + 2 * k) for k in range(68)]

    def parts(self):
        return self._parts


@pytest.fixture
def fake(monkeypatch):
    """A dlib that finds the same boxes in whatever it is given, from look ``first`` on, and remembers it.

    With ``looks``, it finds those of each look instead.
    """
    seen = types.SimpleNamespace(
        shapes=[], boxes=[], looks=None, first=1, threshold=None, parts=68, broken=False
    )

    class Search:
        def run(self, frame, upsample, threshold):
            assert upsample == 0
            assert frame.flags["C_CONTIGUOUS"]
            seen.threshold = threshold
            seen.shapes.append(frame.shape)
            boxes = seen.boxes if len(seen.shapes) >= seen.first else []
            if seen.looks is not None:
                boxes = seen.boxes = seen.looks[len(seen.shapes) - 1]
            return [box for box, _, _ in boxes], [margin for _, margin, _ in boxes], []

    def predictor(path):
        if seen.broken:
            raise RuntimeError("Unexpected\nversion found")

        def predict(frame, box):
            for one, _, shape in seen.boxes:
                if one is box:
                    return shape
            return types.SimpleNamespace(num_parts=seen.parts)

        return predict

    module = types.SimpleNamespace(
        rectangle=Box, get_frontal_face_detector=Search, shape_predictor=predictor, __spec__=True
    )
    monkeypatch.setitem(sys.modules, "dlib", module)
    return seen


def test_places_are_pixels_of_the_full_frame(fake):
    """A frame of 100 x 60 doubled; a box of 40 x 40 pixels there is one of 20 x 20 here."""
    fake.boxes = [(Box(20, 10, 59, 49), 0.6, Shape(30, 4))]
    (face,) = Dlib(Path("x.dat"), upsample=1).find(np.zeros((60, 100, 3), np.uint8))
    assert fake.shapes == [(120, 200, 3)]
    assert face.box.tolist() == [10, 5, 30, 25]
    # Pixel 30 of the doubled frame covers 15 to 15.5 here: its middle is 15.25.
    assert face.points[0].tolist() == [15.25, 2.25]
    assert face.points[40].tolist() == [35.25, 42.25]
    np.testing.assert_allclose(face.points[68], face.points[36:42].mean(axis=0))
    np.testing.assert_allclose(face.points[69], face.points[42:48].mean(axis=0))
    assert face.score == 0.6
    # Points 58 and on lie below the frame: (4 + 116 + 0.5) / 2 = 60.25.
    assert face.confidence[:58].tolist() == [0.8] * 58
    assert not face.confidence[58:68].any()
    assert not face.points[58:68].any()


@pytest.mark.parametrize(
    ("upsample", "largest", "size", "expected"),
    [
        (1, 1280, (60, 100), (120, 200)),
        (0, 1280, (60, 100), (60, 100)),
        (1, 150, (60, 100), (90, 150)),
        (1, 1280, (3000, 5000), (768, 1280)),
        (0, 1280, (5000, 7), (1280, 2)),
    ],
)
def test_small_frames_are_doubled_and_large_ones_shrunk(fake, upsample, largest, size, expected):
    detector = Dlib(Path("x.dat"), upsample, largest, threshold=0.25)
    assert detector.find(np.zeros((*size, 3), np.uint8)) == []
    assert fake.shapes[0] == (*expected, 3)
    assert fake.threshold == pytest.approx(0.25 - SLACK)
    height, width = size
    fake.boxes = [(Box(0, 0, expected[1] - 1, expected[0] - 1), 3.0, Shape(0, 0))]
    (face,) = detector.find(np.zeros((*size, 3), np.uint8))
    np.testing.assert_allclose(face.box, [0, 0, width, height], atol=0.01)
    assert face.confidence[0] == 1


@pytest.mark.parametrize(
    ("size", "upsample", "box", "point"),
    [
        # A border of 30 pixels, all doubled: (100 / 2 - 30, 80 / 2 - 30, ...); middle of pixel 130, 100.
        ((60, 100), 1, [20, 10, 60, 50], [35.25, 20.25]),
        # A border of 300 pixels, 1600 x 1200 shrunk to a fifth: 100 x 5 - 300 is 200.
        ((600, 1000), 1, [200, 100, 600, 500], [352.5, 202.5]),
        # Not doubled: 200 x 120 as it is, with a border of 60 pixels.
        ((120, 200), 0, [40, 20, 120, 100], [70.5, 40.5]),
    ],
)
def test_close_ups_are_looked_for_inside_a_border(fake, size, upsample, box, point):
    fake.boxes, fake.first = [(Box(100, 80, 179, 159), 0.6, Shape(130, 100))], 2
    frame = np.full((*size, 3), 255, np.uint8)
    (face,) = Dlib(Path("x.dat"), upsample).find(frame)
    assert fake.shapes[1:] == [(240, 320, 3)]  # 100 x 60 to 200 x 120, and 0.3 of 200 around it
    np.testing.assert_allclose(face.box, box)
    np.testing.assert_allclose(face.points[0], point)
    assert frame.min() == 255


def test_largest_bounds_both_looks(fake):
    assert Dlib(Path("x.dat"), largest=100).find(np.zeros((300, 500, 3), np.uint8)) == []
    assert fake.shapes == [(60, 100, 3), (120, 160, 3)]


def test_below_the_threshold_a_face_is_weak(fake):
    margins = [0.5, 0.25, 0.2499, 0.25 - SLACK]
    fake.boxes = [(Box(30 * k, 0, 30 * k + 9, 9), m, Shape(30 * k, 1)) for k, m in enumerate(margins)]
    faces = Dlib(Path("x.dat"), threshold=0.25).find(np.zeros((200, 200, 3), np.uint8))
    assert [face.score for face in faces] == pytest.approx(margins, abs=1e-4)
    assert [face.is_weak for face in faces] == [False, False, True, True]
    assert len(fake.shapes) == 1


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([[-0.1], [0.3, -0.2]], [0.3, -0.2]),
        ([[-0.2], [-0.1]], [-0.2]),
        ([[], [-0.1]], [-0.1]),
        ([[-0.2], []], [-0.2]),
        ([[0.1, -0.2]], [0.1, -0.2]),
        ([[], []], []),
    ],
)
def test_a_closer_look_counts_where_it_is_surer(fake, looks, expected):
    """The margins of each look, and those of the faces that are given."""
    fake.looks = [
        [(Box(40 * k, 0, 40 * k + 30, 30), m, Shape(40, 40)) for k, m in enumerate(ms)] for ms in looks
    ]
    faces = Dlib(Path("x.dat")).find(np.zeros((100, 100, 3), np.uint8))
    assert [face.score for face in faces] == expected
    assert len(fake.shapes) == len(looks)


@pytest.mark.parametrize(("margin", "sure"), [(0, 0.5), (1, 1), (2.5, 1), (-0.5, 0.25), (-3, 0.001)])
def test_confidence_follows_the_margin(fake, margin, sure):
    fake.boxes = [(Box(0, 0, 9, 9), margin, Shape(1, 1))]
    (face,) = Dlib(Path("x.dat"), threshold=-4).find(np.zeros((200, 200, 3), np.uint8))
    assert face.confidence[0] == pytest.approx(sure)
    assert face.score == margin


def test_a_face_without_a_point_in_the_frame_is_none(fake):
    fake.boxes = [(Box(0, 0, 9, 9), 1, Shape(-500, -500))]
    assert Dlib(Path("x.dat")).find(np.zeros((50, 50, 3), np.uint8)) == []


def test_wrong_predictors_are_refused(fake):
    fake.parts = 5
    with pytest.raises(BundleError, match=r"x\.dat: a shape predictor of 5 points, expected 68"):
        Dlib(Path("x.dat"))
    fake.broken = True
    with pytest.raises(BundleError, match=r"x\.dat: not a shape predictor of dlib: Unexpected version found"):
        Dlib(Path("x.dat"))


def test_pupils_are_the_means_of_the_eyes():
    points = np.arange(136.0).reshape(68, 2)
    filled = fill_pupils(points)
    np.testing.assert_array_equal(filled[:68], points)
    assert filled[68:].tolist() == [[77, 78], [89, 90]]


def test_a_face_is_rounded_to_hundredths():
    points = np.full((70, 2), 1 / 3)
    points[3] = [10.004, 2]
    face = make_face(np.full(4, 2 / 3), points, 1 / 3, (10, 10), None)
    assert face.box.tolist() == [0.67] * 4
    assert face.points[0].tolist() == [0.33, 0.33]
    assert (face.confidence[0], face.confidence[3]) == (0.3333, 0)


def install(monkeypatch, *modules):
    monkeypatch.setattr(detect, "_is_installed", lambda module: module in modules)


def test_auto_is_dlib_then_mediapipe(monkeypatch, tmp_path):
    model = tmp_path / "some"
    model.touch()
    settings = DetectorSettings(model=model)
    install(monkeypatch, "dlib", "mediapipe")
    assert choose_detector(settings).kind == "dlib"
    install(monkeypatch, "mediapipe")
    assert choose_detector(settings).kind == "mediapipe"
    install(monkeypatch)
    with pytest.raises(MissingExtra, match=r'pip install "moodreel\[faces\]"'):
        choose_detector(settings)


def test_only_who_asks_for_mediapipe_has_its_model_fetched(monkeypatch, tmp_path):
    asked = []

    def answer(url, timeout):
        asked.append(url)
        raise OSError("no network")

    monkeypatch.setenv("MOODREEL_CACHE", str(tmp_path))
    monkeypatch.setattr(mediapipe.urllib.request, "urlopen", answer)
    install(monkeypatch, "mediapipe")
    with pytest.raises(BundleError, match=r"not in the cache: --detector mediapipe fetches it"):
        choose_detector(DetectorSettings("auto"))
    assert asked == []
    with pytest.raises(BundleError, match="could not be fetched"):
        choose_detector(DetectorSettings("mediapipe"))
    assert asked == [mediapipe.MODEL_URL]
    monkeypatch.setattr(mediapipe, "find_model", lambda: tmp_path / "kept")
    assert choose_detector(DetectorSettings("auto")).model == tmp_path / "kept"


@pytest.mark.parametrize(("kind", "extra"), [("dlib", "faces"), ("mediapipe", "mediapipe")])
def test_a_missing_extra_is_named(monkeypatch, kind, extra):
    install(monkeypatch)
    refused = pytest.raises(MissingExtra, match=rf'finding faces with {kind} .*"moodreel\[{extra}\]"')
    with refused, open_detector(DetectorSettings(kind)):
        pass


def test_a_missing_predictor_is_a_missing_extra(monkeypatch):
    install(monkeypatch, "dlib")
    monkeypatch.setattr(detect.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="predictor of 68 points"):
        choose_detector(DetectorSettings("dlib"))


def test_a_missing_model_file_is_named(monkeypatch, tmp_path):
    install(monkeypatch, "dlib")
    with pytest.raises(BundleError, match=r"none\.dat: no such file"):
        choose_detector(DetectorSettings("dlib", model=tmp_path / "none.dat"))


def test_the_import_needs_no_extra(monkeypatch, tmp_path):
    install(monkeypatch)
    with open_detector(DetectorSettings("openpose", files=tmp_path)) as detector:
        assert isinstance(detector, OpenPoseFiles)


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "haar"}, {"kind": "openpose"}, {"kind": "dlib", "files": Path()}, {"upsample": -1},
        {"upsample": 5}, {"largest": 10}, {"threshold": np.nan}, {"kind": "mediapipe", "threshold": 2},
        {"kind": "openpose", "files": Path(), "model": Path()},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_settings(settings):
    with pytest.raises(SettingsError):
        DetectorSettings(**settings)


# With dlib itself.


@pytest.fixture(scope="module")
def dlib_detector():
    pytest.importorskip("dlib", reason="dlib is not installed (the extra faces)")
    try:
        with open_detector(DetectorSettings("dlib")) as detector:
            return detector
    except MissingExtra:
        pytest.skip("face-recognition-models is not installed (the extra faces)")


def test_what_is_no_predictor(tmp_path):
    pytest.importorskip("dlib", reason="dlib is not installed (the extra faces)")
    path = tmp_path / "x.dat"
    path.write_bytes(b"no such thing")
    with pytest.raises(BundleError, match="not a shape predictor"):
        Dlib(path)


def test_dlib_finds_nothing_in_noise(dlib_detector):
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    assert dlib_detector.find(noise) == []
    assert dlib_detector.find(np.zeros((1, 1, 3), np.uint8)) == []


def test_dlib_follows_a_real_face(dlib_detector, data):
    clip = find_faces(open_media(data("clips/asl_again.mkv")), dlib_detector, fps=2)
    (one,) = clip.tracks
    assert clip.found == len(clip.frames) == 6
    for face in one.faces:
        left, top, right, bottom = face.box
        eyes, nose, mouth = face.points[36:48].mean(axis=0), face.points[30], face.points[48:68].mean(axis=0)
        assert face.points[36, 0] < face.points[45, 0]
        assert eyes[1] < nose[1] < mouth[1]
        assert left < nose[0] < right
        assert top < nose[1] < bottom
        assert face.confidence.min() > 0.5


def test_dlib_follows_a_face_behind_a_hand(dlib_detector, data):
    """He signs "bird": for two of thirteen frames a hand hides the mouth, and the face is weak."""
    clip = find_faces(open_media(data("clips/asl_bird.mkv")), dlib_detector, fps=6)
    (one,) = clip.tracks
    assert clip.found == len(clip.frames) == 13
    hidden = [face for face in one.faces if face.is_weak]
    assert len(hidden) == 2
    assert all(-SLACK <= face.score < 0 for face in hidden)
    middles = [(face.box[:2] + face.box[2:]) / 2 for face in one.faces]
    assert np.ptp(middles, axis=0).max() < 0.5 * (one.faces[0].box[2] - one.faces[0].box[0])


def test_dlib_gives_back_the_same_place_at_any_size(dlib_detector, data):
    """The same face in its frame, in one padded to twice the width, and in one of half the size."""
    frame = next(open_media(data("clips/asl_again.mkv")).read([0]))[1]
    (face,) = dlib_detector.find(frame)
    eye_distance = np.linalg.norm(face.points[68] - face.points[69])
    padded = np.zeros((480, 1280, 3), np.uint8)
    padded[:, 640:] = frame
    (moved,) = dlib_detector.find(padded)
    assert abs(moved.points - [640, 0] - face.points).mean() < 0.05 * eye_distance
    with open_detector(DetectorSettings("dlib", upsample=2)) as detector:
        (small,) = detector.find(np.ascontiguousarray(frame[::2, ::2]))
    assert abs(small.points * 2 - face.points).mean() < 0.08 * eye_distance


def test_dlib_finds_a_face_that_the_frame_cuts(dlib_detector, data):
    """Cut above the brows, at the chin and at a cheek: the first look finds nothing there."""
    frame = next(open_media(data("clips/asl_again.mkv")).read([0]))[1]
    (face,) = dlib_detector.find(frame)
    left, top, right, bottom = face.box.astype(int)
    top, right, bottom = top + 14, right - 10, bottom - 8
    cut = np.ascontiguousarray(frame[top:bottom, left:right])
    (found,) = dlib_detector.find(cut)
    seen = found.confidence > 0
    assert 50 < seen.sum() < 70
    height, width = cut.shape[:2]
    assert ((found.points[seen] >= 0) & (found.points[seen] <= (width, height))).all()
    eye_distance = np.linalg.norm(face.points[68] - face.points[69])
    assert abs(found.points + np.array([left, top]) - face.points)[seen].mean() < 0.05 * eye_distance


def test_dlib_finds_nobody_where_nobody_is(dlib_detector, data):
    clip = find_faces(open_media(data("clips/no_face.mp4")), dlib_detector, fps=1)
    assert (clip.tracks, clip.found, len(clip.frames)) == ((), 0, 5)
