"""MediaPipe's mesh to 70 points, and how its model is fetched. Most of it runs with a fake in its place."""

import hashlib
import http.server
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from moodreel.errors import BundleError
from moodreel.faces import mediapipe
from moodreel.faces.detect import DetectorSettings, open_detector
from moodreel.faces.mediapipe import INDICES, MediaPipe, cache_folder, fetch_model
from moodreel.faces.points import TWINS
from moodreel.faces.track import find_faces
from moodreel.media import open_media

MESH = 478  # points: 468 of the face, 5 of each iris
CONTENT = b"a model" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def test_the_mesh_becomes_seventy_points():
    """Point k of the fake mesh lies at (k / 1000, k / 2000): what comes out names what was taken."""
    mesh = np.stack([np.arange(MESH) / 1000, np.arange(MESH) / 2000], axis=1)
    media = open_media(np.zeros((2, 100, 1000, 3), np.uint8))
    first, second = MediaPipe(lambda frame: [mesh]).detect(media, [0, 1])
    (face,), _ = first, second
    taken = face.points[:, 0].round().astype(int)
    # Places in the mesh that its makers name: chin, corners of the eyes and of the lips, tip of the nose, bow
    # of the upper lip, centres of the irises (the right one first: that on the picture's left).
    named = {
        8: 152,
        36: 33,
        39: 133,
        42: 362,
        45: 263,
        48: 61,
        54: 291,
        60: 78,
        64: 308,
        30: 4,
        51: 0,
        68: 468,
    }
    assert {point: int(taken[point]) for point in named} == named
    assert taken[69] == 473
    np.testing.assert_allclose(face.points[:, 1], taken / 20)
    assert len(set(taken.tolist())) == 70
    assert face.box.tolist() == [taken.min(), taken.min() / 20, taken.max(), taken.max() / 20]
    assert (face.confidence == 1).all()
    assert face.score is None


def test_points_outside_the_frame_are_missing_and_a_face_of_those_is_none():
    mesh = np.full((MESH, 2), 0.5)
    mesh[33] = [-0.01, 0.5]
    media = open_media(np.zeros((1, 40, 80, 3), np.uint8))
    (faces,) = MediaPipe(lambda frame: [mesh, mesh + 2]).detect(media, [0])
    assert len(faces) == 1
    assert np.flatnonzero(faces[0].confidence == 0).tolist() == [36]


def test_the_mapping_is_the_same_on_both_sides():
    """Pairs of the mesh: right and left of the face, of its contours."""
    pairs = {
        127: 356, 234: 454, 93: 323, 132: 361, 58: 288, 136: 365, 150: 379, 176: 400, 70: 300, 63: 293,
        105: 334, 66: 296, 107: 336, 240: 460, 97: 326, 33: 263, 160: 387, 158: 385, 133: 362, 153: 380,
        144: 373, 61: 291, 39: 269, 37: 267, 84: 314, 181: 405, 78: 308, 82: 312, 87: 317, 468: 473,
    }  # fmt: skip
    for one, other in enumerate(TWINS.tolist()):
        a, b = int(INDICES[one]), int(INDICES[other])
        assert pairs.get(a) == b or pairs.get(b) == a or (a == b and one == other)


@pytest.fixture
def server():
    """A server on this machine that has one file, and counts how often it is asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if self.path == "/cut.task":
                self.send_response(200)
                self.send_header("Content-Length", str(len(CONTENT) + 9))
                self.end_headers()
                self.wfile.write(CONTENT)
            elif self.path == "/model.task":
                self.send_response(200)
                self.end_headers()
                self.wfile.write(CONTENT)
            else:
                self.send_error(404)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as service:
        thread = threading.Thread(target=service.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{service.server_address[1]}", asked
        service.shutdown()


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_model_is_fetched_once(server, tmp_path):
    url, asked = server
    folder = tmp_path / "cache" / "deep"
    path = fetch_model(f"{url}/model.task", DIGEST, folder)
    assert path.read_bytes() == CONTENT
    assert names_in(folder) == [f"{DIGEST[:12]}-model.task"]
    assert fetch_model(f"{url}/model.task", DIGEST, folder) == path
    assert asked == ["/model.task"]
    path.write_bytes(CONTENT[:-1])  # what is broken is fetched anew
    assert fetch_model(f"{url}/model.task", DIGEST, folder).read_bytes() == CONTENT
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("file", "digest", "message"),
    [
        ("none.task", DIGEST, "could not be fetched .*Not Found.*--model-file"),
        ("cut.task", DIGEST, "could not be fetched .*--model-file|sha256"),
        ("model.task", "0" * 64, f"sha256 {DIGEST}, expected 0000"),
    ],
)
def test_what_is_wrong_is_not_kept(server, tmp_path, file, digest, message):
    with pytest.raises(BundleError, match=message):
        fetch_model(f"{server[0]}/{file}", digest, tmp_path)
    assert names_in(tmp_path) == []


def test_offline_says_what_to_do(tmp_path):
    with pytest.raises(BundleError, match="--model-file") as caught:
        fetch_model("http://127.0.0.1:9/model.task", DIGEST, tmp_path)
    assert "http://127.0.0.1:9/model.task" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_written_is_named(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match=r"file.*cannot be kept"):
        fetch_model(f"{server[0]}/model.task", DIGEST, tmp_path / "file")


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("MOODREEL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache_folder() == Path.home() / ".cache" / "moodreel"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "moodreel"
    monkeypatch.setenv("MOODREEL_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


# With MediaPipe itself, and the model that nobody ships.


@pytest.fixture(scope="module")
def landmarker():
    pytest.importorskip("mediapipe", reason="mediapipe is not installed (the extra mediapipe)")
    path = os.environ.get("MOODREEL_FACE_LANDMARKER")
    if not path:
        pytest.skip("no Face Landmarker bundle (set MOODREEL_FACE_LANDMARKER to the .task file)")
    with open_detector(DetectorSettings("mediapipe", model=Path(path))) as detector:
        yield detector


def test_what_is_no_bundle(tmp_path, capfd):
    pytest.importorskip("mediapipe", reason="mediapipe is not installed (the extra mediapipe)")
    path = tmp_path / "x.task"
    path.write_bytes(b"no such thing")
    refused = pytest.raises(BundleError, match="not a Face Landmarker bundle")
    with refused, mediapipe.open_landmarker(path):
        pass
    assert capfd.readouterr().err == ""


def test_mediapipe_agrees_with_dlib(landmarker, data, capfd):
    """Each of the 70 points within a quarter of the eyes' distance on average, all of them within a tenth."""
    pytest.importorskip("dlib", reason="dlib is not installed (the extra faces)")
    capfd.readouterr()
    with open_detector(DetectorSettings("dlib")) as other:
        pass
    differences = []
    for name in ("asl_again.mkv", "asl_student.mkv", "face_noface.mov"):
        media = open_media(data("clips") / name)
        for one, two in zip(landmarker.detect(media, [0, 40]), other.detect(media, [0, 40]), strict=True):
            assert len(one) == len(two) == 1
            apart = np.linalg.norm(one[0].points - two[0].points, axis=1)
            differences.append(apart / np.linalg.norm(two[0].points[68] - two[0].points[69]))
    assert np.mean(differences, axis=0).max() < 0.25
    assert np.mean(differences) < 0.1
    assert capfd.readouterr().err == ""


def test_mediapipe_finds_nobody_where_nobody_is(landmarker, data):
    clip = find_faces(open_media(data("clips/no_face.mp4")), landmarker, fps=2)
    assert clip.found == 0
