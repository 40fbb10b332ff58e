"""CACA-RNN in the runtime: what its networks are given, and what becomes of their outputs."""

import json

import numpy as np
import pytest

import moodreel
from moodreel.emotions import MEC_8
from moodreel.errors import BundleError, SettingsError
from moodreel.faces.detect import DetectorSettings
from moodreel.faces.openpose import format_faces
from moodreel.runtime.recognizer import Recognizer
from moodreel.runtime.scene_reader import NO_FACE
from moodreel.runtime.schema import BundleInfo
from moodreel.runtime.table import list_columns, make_row
from moodreel.types import ClipFaces, Face, FaceTrack
from runtime import tiny


class FakeNetworks:
    """Features are mean colours, so that a test can read off which frames came."""

    def __init__(self, attends=True):
        self.attends = attends
        self.streams = []
        self.scenes = []
        self.runs = []

    def read_faces(self, pixels):
        self.runs.append(("face", len(pixels)))
        return pixels.mean(axis=(1, 2)).astype(np.float32)

    def read_context(self, pixels):
        self.runs.append(("context", len(pixels)))
        return pixels.mean(axis=(1, 2)).astype(np.float32)

    def read_streams(self, face, context):
        self.streams.append((face, context))
        probabilities = np.full(8, 0.02, np.float32)
        probabilities[0] = 0.86
        out = {"probabilities": probabilities}
        if self.attends:
            weights = np.arange(1, len(context) + 1, dtype=np.float32)
            out["attention"] = np.tile(weights / weights.sum(), (len(face), 1))
        return out

    def read_scene(self, context):
        self.scenes.append(context)
        return {"probabilities": np.eye(8, dtype=np.float32)[3]}


def make_info(sampling=None, **changes):
    digests = dict.fromkeys(("model.onnx", "fallback.onnx", "face.onnx", "context.onnx"), "0" * 64)
    content = {
        "name": "scene", "system": "caca-rnn", "version": "0.0.1",
        "labels": {"categories": list(MEC_8)}, "supervised": {"categories": list(MEC_8)},
        "input": {"height": 32, "width": 32, "resize": "centre", "face": 16, "pairing": "paired"},
        "sampling": sampling or {"method": "rate", "fps": 5.0, "limit": 20}, "sha256": digests,
    }  # fmt: skip
    content["input"] = {k: v for k, v in {**content["input"], **changes}.items() if v is not None}
    return BundleInfo.from_json(json.dumps({"format": 1, **content}))


FRAMES = np.stack([np.full((40, 60, 3), 20 * k, np.uint8) for k in range(6)])


@pytest.fixture
def clip(tmp_path):
    """Six pictures of 0.2 s; one face in pictures 1, 2 and 4, a smaller one in 2."""
    path = tmp_path / "clip.gif"
    moodreel.media.write_gif(path, FRAMES, np.full(6, 0.2))
    return path


def write_faces(folder, seen, name="clip.gif", others=()):
    def faces(box, count):
        points = np.tile([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], (70, 1))
        return tuple(Face(np.array(box, float), points, np.ones(70)) for _ in range(count))

    tracks = []
    for number, (box, pictures) in enumerate([([10, 10, 30, 30], seen), *others]):
        if pictures:
            when = np.array(pictures) * 0.2
            tracks.append(FaceTrack(number, np.array(pictures), when, faces(box, len(pictures))))
    found = ClipFaces(name, "told", 60, 40, np.arange(6), np.arange(6) * 0.2, tuple(tracks))
    folder.mkdir(exist_ok=True)
    (folder / "clip.json").write_bytes(format_faces(found))
    return DetectorSettings("openpose", files=folder)


def colours(features):
    return np.rint(features[:, 0]).astype(int).tolist()


def test_a_face_is_paired_with_the_scene_at_its_moments(clip, tmp_path):
    detector = write_faces(tmp_path / "k", [1, 2, 4])
    networks = FakeNetworks()
    result = Recognizer(make_info(), networks, detector=detector)(clip)
    ((face, context),) = networks.streams
    assert colours(face) == colours(context) == [20, 40, 80]
    assert networks.scenes == []
    assert (result.category, result.faces) == ("happy", 1)
    assert result.confidence == pytest.approx(0.86)
    assert sum(result.probabilities.values()) == pytest.approx(1)
    scene = result.scene
    assert (scene.face, scene.share, scene.reason) == (0, 0.5, None)
    np.testing.assert_allclose(scene.times, [0.2, 0.4, 0.8])
    np.testing.assert_allclose(scene.boxes, [[10 / 60, 0.25, 0.5, 0.75]] * 3)
    np.testing.assert_allclose(scene.moments, [1 / 6, 2 / 6, 3 / 6], rtol=1e-6)
    np.testing.assert_allclose(scene.moment_times, scene.times)


def test_all_keeps_every_moment_of_the_scene(clip, tmp_path):
    detector = write_faces(tmp_path / "k", [1, 2, 4])
    networks = FakeNetworks()
    result = Recognizer(make_info(pairing="all"), networks, detector=detector)(clip)
    ((face, context),) = networks.streams
    assert (colours(face), colours(context)) == ([20, 40, 80], [0, 20, 40, 60, 80, 100])
    np.testing.assert_allclose(result.scene.moment_times, np.arange(6) / 5)


def test_without_a_face_the_scene_speaks_and_says_so(clip, tmp_path):
    detector = write_faces(tmp_path / "k", [])
    networks = FakeNetworks()
    result = Recognizer(make_info(), networks, detector=detector)(clip)
    assert [colours(context) for context in networks.scenes] == [[0, 20, 40, 60, 80, 100]]
    assert (result.category, result.faces, result.scene.face) == ("surprise", 0, None)
    assert (result.scene.share, result.scene.reason, result.scene.moments) == (0.0, NO_FACE, None)
    row = make_row(result, list_columns("caca-rnn"))
    assert (row["status"], row["fallback"], row["face_id"], row["face_share"]) == ("ok", NO_FACE, None, 0.0)


def test_a_face_in_one_picture_only_is_enough(clip, tmp_path):
    networks = FakeNetworks()
    result = Recognizer(make_info(), networks, detector=write_faces(tmp_path / "k", [5]))(clip)
    assert result.scene.share == pytest.approx(1 / 6)
    assert colours(networks.streams[0][0]) == [100]


def test_every_face_has_a_row_the_main_one_first(clip, tmp_path):
    detector = write_faces(tmp_path / "k", [1, 2, 4], others=[([40, 10, 48, 18], [2])])
    mood = Recognizer(make_info(), FakeNetworks(), detector=detector, every_face=True)
    results = list(mood.map([clip, "absent.gif", clip]))
    assert [r.ok for r in results] == [True, True, False, True, True]
    assert [r.scene.face for r in results if r.ok] == [0, 1, 0, 1]
    assert [r.faces for r in results if r.ok] == [2, 2, 2, 2]
    main = Recognizer(make_info(), FakeNetworks(), detector=detector)
    assert [r.scene.face for r in main.map([clip])] == [0]


def test_two_hundred_faces_are_read_one_by_one_and_held_in_parts(tmp_path, clip):
    boxes = [([x * 3, y * 4, x * 3 + 2, y * 4 + 3], [2, 3]) for x in range(20) for y in range(10)]
    networks = FakeNetworks()
    detector = write_faces(tmp_path / "k", [], others=boxes)
    results = list(Recognizer(make_info(), networks, detector=detector, every_face=True).map([clip]))
    assert [r.scene.face for r in results] == list(range(200))
    assert {(r.faces, r.scene.share, r.error) for r in results} == {(200, 1 / 3, None)}
    assert sum(count for kind, count in networks.runs if kind == "face") == 400
    assert max(count for kind, count in networks.runs if kind == "face") <= 128
    # a picture of many faces goes alone: 32 of them would be a third of a gigabyte
    assert [count for kind, count in networks.runs if kind == "context"] == [2, 1, 1, 2]


def test_a_face_without_an_area_is_none(clip, tmp_path):
    detector = write_faces(tmp_path / "k", [], others=[([12, 9, 12, 9], [0, 1, 2])])
    result = Recognizer(make_info(), FakeNetworks(), detector=detector)(clip)
    assert (result.faces, result.scene.reason) == (0, NO_FACE)


def test_a_clip_shorter_than_a_tick_is_one_moment(tmp_path):
    path = tmp_path / "clip.gif"
    moodreel.media.write_gif(path, FRAMES[1:3], [0.05, 0.03])
    networks = FakeNetworks()
    result = Recognizer(make_info(), networks, detector=None)(path)
    assert colours(networks.streams[0][1]) == [20]
    assert (result.category, result.scene.share, result.scene.times.tolist()) == ("happy", 1.0, [0.0])


def test_an_hour_is_1024_moments_from_end_to_end_and_little_waits(tmp_path):
    path = tmp_path / "hour.gif"
    frames = np.stack([np.full((4, 4, 3), k % 250, np.uint8) for k in range(3600)])
    moodreel.media.write_gif(path, frames, np.full(3600, 1.0))
    info = make_info(sampling={"method": "rate", "fps": 5.0})  # no limit of its own
    networks = FakeNetworks()
    mood = Recognizer(info, networks, detector=None)
    result = mood(path)
    ((face, context),) = networks.streams
    assert len(face) == len(context) == 1024
    assert max(count for _, count in networks.runs) <= 128
    np.testing.assert_allclose(result.scene.times[[0, -1]], [3600 / 2048, 3600 - 3600 / 2048])
    assert result.duration == 3600
    # what waits for its row is no features and no map of 1024 x 1024
    (waiting,) = mood._reader.sample(path, mood.limits)
    assert {name: array.shape for name, array in waiting.outputs.items()} == {
        "probabilities": (8,),
        "attention": (1024,),
    }


def test_clips_are_read_at_once_and_stay_apart(tmp_path):
    paths = []
    for k in range(12):
        paths.append(tmp_path / f"{k}.gif")
        moodreel.media.write_gif(paths[-1], np.full((2, 8, 8, 3), 20 * k, np.uint8), [0.2, 0.2])

    class Telling(FakeNetworks):
        def read_streams(self, face, context):
            share = context.mean() / 255
            return {"probabilities": np.array([share, 1 - share, 0, 0, 0, 0, 0, 0], np.float32)}

    mood = Recognizer(make_info(), Telling(), detector=None)
    results = list(mood.map(paths, workers=4, batch=2))
    assert [r.source for r in results] == [str(path) for path in paths]
    told = [r.probabilities["happy"] for r in results]
    np.testing.assert_allclose(told, np.arange(12) * 20 / 255, rtol=1e-6)


def test_a_network_that_fails_fails_its_clip_alone(clip, tmp_path):
    dark = tmp_path / "dark.gif"
    moodreel.media.write_gif(dark, FRAMES[:1], [0.2])
    networks = FakeNetworks()
    read = networks.read_streams

    def refuse(face, context):
        if len(face) == 1:
            raise BundleError("model.onnx: the network failed on [1, 3]")
        return read(face, context)

    networks.read_streams = refuse
    results = list(Recognizer(make_info(), networks, detector=None).map([clip, dark, clip]))
    assert [r.error for r in results] == [None, "model.onnx: the network failed on [1, 3]", None]


def test_the_whole_frame_as_the_face(clip):
    networks = FakeNetworks()
    result = Recognizer(make_info(), networks, detector=None)(clip)
    assert (result.faces, result.scene.share) == (None, 1.0)
    assert len(networks.streams[0][0]) == 6


def test_a_still_is_one_moment(tmp_path):
    networks = FakeNetworks(attends=False)
    result = Recognizer(make_info(), networks, detector=None)(FRAMES[2])
    assert colours(networks.streams[0][1]) == [40]
    assert result.scene.moments is None


def test_a_long_clip_keeps_to_the_limit(tmp_path):
    path = tmp_path / "long.gif"
    frames = np.stack([np.full((8, 8, 3), k, np.uint8) for k in range(200)])
    moodreel.media.write_gif(path, frames, np.full(200, 1.0))
    networks = FakeNetworks()
    Recognizer(make_info(), networks, detector=None)(path)
    ((face, context),) = networks.streams
    assert len(face) == len(context) == 20
    assert colours(context) == [5 + 10 * k for k in range(20)]


def test_scores_that_are_not_finite_are_an_error(clip):
    networks = FakeNetworks()
    networks.read_streams = lambda face, context: {"probabilities": np.full(8, np.nan, np.float32)}
    (result,) = Recognizer(make_info(), networks, detector=None).map([clip])
    assert result.error == "the model gave scores that are not finite"


def test_columns_follow_the_facts():
    names = [column.name for column in list_columns("caca-rnn")]
    assert names[16:] == ["face_id", "face_share", "fallback", *(f"p_{name}" for name in MEC_8)]


def test_no_other_system_reads_every_face():
    info = BundleInfo.from_json(json.dumps(tiny.make_info("kavan")))
    with pytest.raises(SettingsError, match="every_face = True: expected False: kavan reads no single faces"):
        Recognizer(info, FakeNetworks(), every_face=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"face": None, "pairing": None}, "input.face = None: expected pixels"),
        ({"face": 0}, "input.face = 0: expected a whole number"),
        ({"pairing": "some"}, "input.pairing = 'some': expected 'paired' or 'all'"),
        ({"resize": "crop"}, "input.resize = 'crop': expected 'stretch' or 'centre'"),
        ({"resize": "stretch"}, "input.resize = 'stretch': expected 'centre' for caca-rnn"),
        ({"width": 48}, "input.width = 48: expected 32, the height"),
        ({"sampling": {"method": "segments", "count": 4}}, "sampling.method = 'segments': expected 'rate'"),
    ],
)
def test_what_a_bundle_must_say(changes, said):
    with pytest.raises(BundleError, match=said):
        make_info(**changes)


def test_another_system_cuts_no_faces():
    content = tiny.make_info("kavan")
    content["input"] |= {"face": 64, "pairing": "all"}
    with pytest.raises(BundleError, match=r"input\.face = 64: expected nothing for kavan"):
        BundleInfo.from_json(json.dumps(content))
    content["input"] = {"height": 64, "width": 64, "resize": "centre"}
    with pytest.raises(BundleError, match=r"input\.resize = 'centre': expected 'stretch' for kavan"):
        BundleInfo.from_json(json.dumps(content))
