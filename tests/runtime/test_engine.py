"""The engine on networks whose outputs can be worked out by hand."""

import os
import subprocess
import sys

import numpy as np
import pytest

from moodreel.errors import BundleError, SettingsError
from moodreel.runtime.engine import OnnxEngine, count_cores
from moodreel.runtime.schema import SYSTEMS
from runtime.tiny import BLUE, RED, SIZE, make_model, paint


def softmax(logits):
    powers = np.exp(np.asarray(logits, float))
    return powers / powers.sum()


def test_kavan_outputs():
    engine = OnnxEngine(make_model("kavan"), SYSTEMS["kavan"], threads=1)
    frames = np.stack([paint(RED, BLUE, size=SIZE), paint(BLUE, RED, size=SIZE)])
    outputs = engine.run(frames)
    assert {name: array.shape for name, array in outputs.items()} == {
        "intensities": (2, 17),
        "probabilities": (2, 4),
        "attention": (2, 2, 7, 7),
        "frame_intensities": (2, 2, 17),
        "frame_probabilities": (2, 2, 4),
    }
    blue = [1.0 if k % 3 == 2 else -1.0 for k in range(17)]
    np.testing.assert_allclose(outputs["intensities"][0], blue, atol=1e-6)
    np.testing.assert_allclose(outputs["probabilities"][0], softmax([0, 0, 10, 0]), atol=1e-6)
    np.testing.assert_allclose(outputs["frame_probabilities"][0, 0], softmax([10, 0, 0, 0]), atol=1e-6)
    np.testing.assert_allclose(outputs["attention"].sum(axis=(2, 3)), 1, atol=1e-5)
    assert all(array.dtype == np.float32 for array in outputs.values())


def test_face_outputs():
    outputs = OnnxEngine(make_model("face"), SYSTEMS["face"]).run(paint(RED, BLUE, RED, size=SIZE))
    np.testing.assert_allclose(outputs["probabilities"][1], softmax([0, 0, 10, 0, 0, 0, 0]), atol=1e-6)
    assert outputs["probabilities"].shape == (3, 7)


@pytest.mark.parametrize(
    ("model", "system", "said"),
    [
        (lambda: b"text", "kavan", "cannot be run"),
        (lambda: make_model("face"), "kavan", "frames has 4 axes; expected NTHWC"),
        (lambda: make_model("kavan", drop_output="intensities"), "kavan", "no output 'intensities'"),
    ],
)
def test_a_network_of_another_kind_is_refused(model, system, said):
    with pytest.raises(BundleError, match=said) as caught:
        OnnxEngine(model(), SYSTEMS[system], source="here")
    assert str(caught.value).startswith("here: model.onnx")
    assert "\n" not in str(caught.value)


def test_output_of_another_size_is_refused():
    system = SYSTEMS["face"].__class__(axes="NHWC", outputs={"probabilities": 8})
    with pytest.raises(BundleError, match="probabilities ends in 7; expected 8"):
        OnnxEngine(make_model("face"), system)


def test_a_failing_run_is_one_line(capfd):
    engine = OnnxEngine(make_model("face"), SYSTEMS["face"])
    with pytest.raises(BundleError, match=r"model\.onnx: the network failed on \[1, 3, 3, 3\]") as caught:
        engine.run(np.zeros((1, 3, 3, 3), np.uint8))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_threads():
    assert count_cores() >= 1
    with pytest.raises(SettingsError, match="threads = 0"):
        OnnxEngine(b"", SYSTEMS["face"], threads=0)


@pytest.mark.parametrize("wish", [None, "0"])
def test_the_library_reports_nothing_to_its_maker(tmp_path, wish):
    """It leaves a file of its session where it would; a person's own wish is heeded."""
    code = (
        "import os; from moodreel.runtime.engine import import_onnxruntime; import_onnxruntime();"
        "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    environment |= {"TMPDIR": str(tmp_path)} | ({} if wish is None else {"ORT_DISABLE_TELEMETRY": wish})
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{wish or 1}\n"
    if wish is None:
        assert list(tmp_path.iterdir()) == []
