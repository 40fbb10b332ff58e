"""No number that is none leaves the recogniser: whatever a network says, and whatever a clip is."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

import moodreel
from media.media_gif_builder import Gif, Picture, fill
from moodreel.emotions import GIFGIF_17
from moodreel.errors import BundleError
from moodreel.media import open_media
from moodreel.runtime.bundle import read_bundle
from moodreel.runtime.engine import EngineSettings, OnnxEngine
from moodreel.runtime.recognizer import Recognizer
from moodreel.runtime.scene_reader import OnnxSceneEngine
from moodreel.runtime.schema import SYSTEMS, BundleInfo
from moodreel.runtime.table import format_json, list_columns, make_row
from moodreel.types import Result
from runtime.test_scene_reader import FakeNetworks
from runtime.test_scene_reader import make_info as make_scene_info
from runtime.tiny import RED, make_info, make_model, make_sta, paint, write_sta

BAD = (math.nan, math.inf, -math.inf)


class Network:
    """Gives ones, and one number that is none in one of its outputs."""

    def __init__(self, system, name, value):
        self.system, self.name, self.value = system, name, value

    def run(self, frames):
        count, steps = len(frames), frames.shape[1]
        shapes = {
            "kavan": {
                "intensities": (count, 17), "probabilities": (count, 4), "attention": (count, steps, 2, 2),
                "frame_intensities": (count, steps, 17), "frame_probabilities": (count, steps, 4),
            },
            "face": {"probabilities": (count, 7)},
            "sta": {"valence": (count, steps), "attention": (count, steps, 4, 4)},
        }[self.system]  # fmt: skip
        outputs = {name: np.full(shape, 0.5, np.float32) for name, shape in shapes.items()}
        if self.name is not None:
            outputs[self.name].flat[-1] = self.value
        return outputs


def assert_finite(result):
    """Every number of a result, its row, and that row as JSON without NaN."""
    for field in ("confidence", "valence", "arousal", "duration"):
        value = getattr(result, field)
        assert value is None or math.isfinite(value), field
    for scores in (result.emotions, result.probabilities):
        assert all(value is None or math.isfinite(value) for value in scores.values())
    for array in (result.attention, result.attention_times, *result.per_frame.values()):
        assert array is None or np.isfinite(array).all()
    if result.scene is not None:
        for array in (result.scene.times, result.scene.boxes, result.scene.moments):
            assert array is None or np.isfinite(array).all()
    system = {17: "kavan", 7: "face", 8: "caca-rnn"}.get(
        len(result.emotions) or len(result.probabilities), "sta"
    )
    json.loads(format_json(make_row(result, list_columns(system, per_frame=True))))


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("system", ["kavan", "face", "sta"])
def test_networks_that_say_what_is_no_number(system, value):
    changes = {}
    if system == "sta":
        changes = {"labels": {}, "supervised": {}, "sampling": {"method": "rate", "fps": 4.0, "limit": 16}}
    info = BundleInfo.from_json(json.dumps(make_info(system, **changes)))
    for name in (None, *SYSTEMS[system].outputs):
        mood = Recognizer(info, Network(system, name, value), detector=None)
        (result,) = mood.map([paint(RED, RED)], per_frame=True)
        assert_finite(result)
        if name is None:
            assert result.ok
        else:
            assert "the model gave scores that are not finite" in result.error
            assert (result.emotions, result.valence, result.attention, result.per_frame) == (
                {},
                None,
                None,
                {},
            )


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("name", ["probabilities", "attention", "scene"])
def test_a_scene_network_that_says_what_is_no_number(value, name):
    networks = FakeNetworks()
    streams, scene = networks.read_streams, networks.read_scene

    def read_streams(face, context):
        outputs = dict(streams(face, context))
        if name in outputs:
            outputs[name] = outputs[name].copy()
            outputs[name].flat[0] = value
        return outputs

    def read_scene(context):
        outputs = scene(context)
        outputs["probabilities"][2] = value
        return outputs

    networks.read_streams, networks.read_scene = read_streams, read_scene
    mood = Recognizer(make_scene_info(), networks, detector=None)
    if name == "scene":
        mood._reader._find = lambda media, ticks: ()  # nobody in the picture
    (result,) = mood.map([paint(RED, RED)], per_frame=True)
    assert result.error == "the model gave scores that are not finite"
    assert_finite(result)


@pytest.mark.parametrize("system", ["kavan", "face", "sta"])
def test_networks_that_give_other_shapes(system):
    """A graph need not state the shapes of its outputs, or keep to what it states."""
    engine = OnnxEngine(make_sta() if system == "sta" else make_model(system), SYSTEMS[system])
    frames = np.zeros((2, 16, 14, 14, 3) if system == "sta" else (2, 4, 14, 14, 3), np.uint8)
    frames = frames[:, 0] if system == "face" else frames
    good = engine.run(frames)
    for name, array in good.items():
        for bad in (array[:1], array[:0], array[0], array[..., None], array[..., :0], array[..., :-1]):
            if name == "attention" and bad.shape == (*array.shape[:-1], array.shape[-1] - 1):
                continue  # as fine a map as any
            engine.graph = SimpleNamespace(run=lambda inputs, n=name, b=bad: {**good, n: b})
            with pytest.raises(BundleError, match=rf"output {name} came as \[.*\]; expected \[2") as caught:
                engine.run(frames)
            assert str(list(bad.shape)) in str(caught.value)


@pytest.mark.parametrize(
    ("graph", "name", "change", "said"),
    [
        ("_face", "features", lambda a: a[:0], r"face.onnx: output features came as \[0, .*expected \[3, F"),
        ("_context", "features", lambda a: a[0], r"context.onnx: output features came as \[\d+\]; expected"),
        (
            "_main",
            "probabilities",
            lambda a: a[:7],
            r"model.onnx: .* probabilities came as \[7\]; .*\[8\]",
        ),
        ("_main", "attention", lambda a: a[0], r"output attention came as \[\d\]; expected \[Q, K\]"),
        ("_main", "attention", lambda a: a[:, :1], r"over 1 moments of 3 of the face, 2 of the scene"),
        (
            "_fallback",
            "probabilities",
            lambda a: a[None],
            r"fallback.onnx: output probabilities came as \[1, 8",
        ),
    ],
)
def test_scene_networks_that_give_other_shapes(graph, name, change, said):
    engine = OnnxSceneEngine(read_bundle("caca-rnn"), EngineSettings("onnx", threads=1))
    spec = read_bundle("caca-rnn").info.input
    real = getattr(engine, graph).run

    def run(inputs):
        return {key: change(array) if key == name else array for key, array in real(inputs).items()}

    setattr(engine, graph, SimpleNamespace(run=run))
    others = OnnxSceneEngine(read_bundle("caca-rnn"), EngineSettings("onnx", threads=1))

    def read(networks):
        face = networks.read_faces(np.zeros((3, spec.face, spec.face, 3), np.uint8))
        context = networks.read_context(np.zeros((2, spec.height, spec.width, 3), np.uint8))
        networks.read_streams(face, context)
        networks.read_scene(context)

    read(others)
    with pytest.raises(BundleError, match=said):
        read(engine)


@pytest.fixture(scope="module")
def moods(tmp_path_factory):
    """The bundles that ship, without a detector (it would need an extra), and a tiny sta for what is long."""
    folder = tmp_path_factory.mktemp("tiny")
    found = {name: moodreel.load(name, detector=None) for name in ("kavan", "face", "caca-rnn", "sta")}
    return {**found, "tiny-sta": moodreel.load(write_sta(folder / "sta"), detector=None)}


def write_long(path, count, delay):
    """A GIF of ``count`` pictures of 2 x 2, ``delay`` hundredths each."""
    gif = Gif(2, 2, [Picture(fill(k % 8, 2, 2), delay=delay) for k in range(count)])
    path.write_bytes(gif.to_bytes())
    return path


def make_noise():
    return np.random.default_rng(0).integers(0, 256, (3, 40, 30, 3), dtype=np.uint8)


PICTURES = {
    "black": lambda: np.zeros((4, 48, 64, 3), np.uint8),
    "white": lambda: np.full((4, 48, 64, 3), 255, np.uint8),
    "one colour": lambda: np.full((4, 48, 64, 3), (7, 200, 90), np.uint8),
    "1 x 1": lambda: np.full((1, 1, 3), 9, np.uint8),
    "1 x 4000": lambda: np.full((2, 1, 4000, 3), 9, np.uint8),
    "noise": make_noise,
}


@pytest.mark.parametrize("name", ["kavan", "face", "caca-rnn", "sta"])
def test_plain_and_tiny_pictures(moods, name):
    for what, make in PICTURES.items():
        for result in moods[name].map([make()], per_frame=name != "caca-rnn"):
            assert result.error is None, what
            assert_finite(result)


@pytest.mark.parametrize("name", ["kavan", "face", "caca-rnn", "tiny-sta"])
def test_many_frames_and_long_clips(moods, name, tmp_path):
    many = write_long(tmp_path / "many.gif", 10_000, 4)
    long = write_long(tmp_path / "long.gif", 22, 65_535)
    assert (len(open_media(many)), open_media(long).duration > 4 * 3600) == (10_000, True)
    paths = (
        [long] if name == "caca-rnn" else [many, long]
    )  # it looks at a thousand pictures, with two networks
    for result in moods[name].map(paths, per_frame=True):
        assert result.error is None
        assert_finite(result)
    assert result.duration == pytest.approx(22 * 655.35)


@pytest.mark.parametrize("name", ["kavan", "face", "caca-rnn", "sta"])
def test_the_same_file_gives_the_same_row(moods, name, request):
    """To the last bit, in another run of the same engine; and whatever decodes it."""
    folder = request.config.rootpath / "examples"
    paths = sorted(folder.glob("*.gif"))[:3]
    columns = list_columns(moods[name].info.system, per_frame=name != "caca-rnn")

    def read(mood, **options):
        return [make_row(r, columns) for r in mood.map(paths, per_frame=True, **options)]

    first = read(moods[name])
    assert first == read(moods[name], workers=3)
    assert first == read(moodreel.load(name, detector=None))
    assert first == read(moods[name], isolate=True)
    assert all(row["status"] == "ok" for row in first)


def test_a_row_holds_no_nan():
    """Should one get there all the same, it is not written."""
    columns = list_columns("kavan")
    for value in BAD:
        row = make_row(Result("a", "m", "1", valence=value, emotions={GIFGIF_17[0]: value}), columns)
        with pytest.raises(ValueError, match="not JSON compliant"):
            format_json(row)
