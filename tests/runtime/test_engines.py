"""Engines beside each other: the same scores, chosen by rule, and a clear word where one is missing."""

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import onnxruntime
import pytest

import moodreel
from moodreel.errors import BundleError, MissingExtra, SettingsError
from moodreel.runtime import engine as engines
from moodreel.runtime.bundle import read_bundle
from moodreel.runtime.engine import EngineSettings, OnnxEngine, choose_engine
from moodreel.runtime.schema import SYSTEMS
from runtime.tiny import BLUE, RED, SIZE, make_model, make_sta, paint, write_bundle

needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="the extra fast is not installed")

TOLERANCE = 1e-4
"""What is stated for float32, whatever runs it."""


def open_both(model, system):
    return [
        OnnxEngine(model, SYSTEMS[system], settings=EngineSettings(name, "cpu", 1))
        for name in ("onnx", "openvino")
    ]


@needs_openvino
@pytest.mark.parametrize("system", ["kavan", "face"])
def test_openvino_gives_the_worked_out_outputs(system):
    frames = paint(RED, BLUE, size=SIZE)
    ours, theirs = open_both(make_model(system), system)
    batch = np.stack([frames, frames[::-1]]) if system == "kavan" else frames
    expected, found = ours.run(batch), theirs.run(batch)
    assert theirs.graph.engine == "openvino"
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], array, atol=1e-6)
    powers = np.exp([10.0, 0, 0, 0] if system == "kavan" else [10.0, 0, 0, 0, 0, 0, 0])
    row = found["frame_probabilities"][0, 0] if system == "kavan" else found["probabilities"][0]
    np.testing.assert_allclose(row, powers / powers.sum(), atol=1e-6)


@needs_openvino
@pytest.mark.parametrize("name", ["kavan", "face"])
def test_bundles_score_alike_in_both(name):
    bundle = read_bundle(name)
    spec, count = bundle.info.input, bundle.info.sampling.count
    shape = (2, *([count] if count else []), spec.height, spec.width, 3)
    ours, theirs = open_both(bundle.read_model(), bundle.info.system)
    for rows in (2, 1):  # another batch is another shape to OpenVINO
        frames = np.random.default_rng(rows).integers(0, 256, shape, np.uint8)[:rows]
        expected, found = ours.run(frames), theirs.run(frames)
        for output, array in expected.items():
            np.testing.assert_allclose(found[output], array, atol=TOLERANCE, err_msg=output)


@needs_openvino
def test_an_output_goes_by_the_name_the_system_gives_it():
    frames = np.random.default_rng(0).integers(0, 256, (1, 16, SIZE, SIZE, 3), np.uint8)
    ours, theirs = open_both(make_sta(), "sta")
    np.testing.assert_allclose(theirs.run(frames)["valence"], ours.run(frames)["valence"], atol=1e-6)


@needs_openvino
def test_results_are_not_overwritten_by_the_next_run():
    engine = open_both(make_model("face"), "face")[1]
    first = engine.run(paint(RED, size=SIZE))["probabilities"]
    kept = first.copy()
    engine.run(paint(BLUE, size=SIZE))
    np.testing.assert_array_equal(first, kept)


@needs_openvino
@pytest.mark.parametrize(
    ("model", "system", "said"),
    [
        (lambda: b"text", "kavan", "model.onnx cannot be run by OpenVINO"),
        (lambda: make_model("face"), "kavan", "frames has 4 axes; expected NTHWC"),
        (lambda: make_model("kavan", drop_output="intensities"), "kavan", "no output 'intensities'"),
    ],
)
def test_openvino_refuses_another_network(model, system, said):
    with pytest.raises(BundleError, match=said) as caught:
        OnnxEngine(model(), SYSTEMS[system], settings=EngineSettings("openvino"))
    assert "\n" not in str(caught.value)


@needs_openvino
def test_openvino_says_in_one_line_what_failed():
    engine = open_both(make_model("face"), "face")[1]
    with pytest.raises(BundleError, match=r"the network failed on \[1, 3, 3, 3\]") as caught:
        engine.run(np.zeros((1, 3, 3, 3), np.uint8))
    assert "\n" not in str(caught.value)


@needs_openvino
def test_openvino_reports_to_nobody():
    code = (
        "import sys; from moodreel.runtime.openvino import import_openvino; import_openvino(); "
        "print(sys.modules['openvino_telemetry'] is None, "
        "any(name.startswith('openvino_telemetry.') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_a_missing_openvino_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtra, match=r'engine openvino needs .* pip install "moodreel\[fast\]"'):
        OnnxEngine(make_model("face"), SYSTEMS["face"], settings=EngineSettings("openvino"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"engine": "tpu"}, "engine = 'tpu': expected one of auto, onnx, openvino"),
        ({"device": "gpu"}, "device = 'gpu': expected one of auto, cpu, cuda"),
        ({"threads": 0}, "threads = 0: expected at least 1"),
        ({"engine": "openvino", "device": "cuda"}, "device = 'cuda': expected cpu or auto with engine"),
    ],
)
def test_settings_name_what_is_wrong(fields, said):
    with pytest.raises(SettingsError, match=said):
        EngineSettings(**fields)


def fake_providers(monkeypatch, *names):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(names))


def test_cuda_without_its_build_is_refused(tmp_path, monkeypatch):
    fake_providers(monkeypatch, "CPUExecutionProvider")
    folder = write_bundle(tmp_path / "tiny")
    with pytest.raises(SettingsError, match="device = 'cuda': expected ONNX Runtime's GPU build"):
        moodreel.load(folder, device="cuda")


def providers_asked(providers):
    return any(isinstance(provider, tuple) and provider[0] == engines.CUDA for provider in providers)


def fake_session(monkeypatch, works):
    """ONNX Runtime falls back to the CPU without an exception where CUDA does not start."""
    real, asked = onnxruntime.InferenceSession, []

    class Session(real):
        def __init__(self, content, options, providers, enable_fallback):
            asked.append(providers)
            super().__init__(content, options, providers=["CPUExecutionProvider"])

        def get_providers(self):
            got = [engines.CUDA] if works and providers_asked(asked[-1]) else []
            return [*got, "CPUExecutionProvider"]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    return asked


def test_cuda_that_does_not_start_is_refused_or_left(tmp_path, monkeypatch):
    fake_providers(monkeypatch, engines.CUDA, "CPUExecutionProvider")
    fake_session(monkeypatch, works=False)
    folder = write_bundle(tmp_path / "tiny")
    with pytest.raises(SettingsError, match="device = 'cuda': expected a CUDA device"):
        moodreel.load(folder, device="cuda")
    assert moodreel.load(folder).engine.graph.device == "cpu"


def test_cuda_is_taken_where_there_is_one(tmp_path, monkeypatch):
    fake_providers(monkeypatch, engines.CUDA, "CPUExecutionProvider")
    asked = fake_session(monkeypatch, works=True)
    assert moodreel.load(write_bundle(tmp_path / "tiny")).engine.graph.device == "cuda"
    (name, options), last = asked[0]
    assert (name, last) == (engines.CUDA, "CPUExecutionProvider")
    assert options["use_tf32"] == "0"
    assert moodreel.load(tmp_path / "tiny", engine="onnx", device="cpu").engine.graph.device == "cpu"
    assert asked[1] == ["CPUExecutionProvider"]


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize("is_intel", [True, False])
@pytest.mark.parametrize("system", ["kavan", "face", "sta", "caca-rnn", None])
def test_auto_goes_by_a_rule(monkeypatch, system, is_intel, installed):
    fake_providers(monkeypatch, "CPUExecutionProvider")
    monkeypatch.setattr(engines, "find_spec", lambda name: object() if installed else None)
    monkeypatch.setattr(engines, "_is_intel_avx512", lambda: is_intel)
    expected = "openvino" if system in ("kavan", "face") and is_intel and installed else "onnx"
    assert choose_engine(EngineSettings(), system) == expected
    assert choose_engine(EngineSettings("openvino"), system) == "openvino"
    assert choose_engine(EngineSettings("onnx"), system) == "onnx"
    fake_providers(monkeypatch, engines.CUDA)
    assert choose_engine(EngineSettings(), system) == "onnx"
    assert choose_engine(EngineSettings(device="cpu"), system) == expected


def test_few_inputs_stay_with_the_engine_that_starts_sooner():
    from moodreel.cli.console import FEW, settle_engine

    assert [settle_engine("auto", n) for n in (1, FEW - 1, FEW)] == ["onnx", "onnx", "auto"]
    assert settle_engine("openvino", 1) == "openvino"
