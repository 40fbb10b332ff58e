"""8 bits: what is quantised, what it costs, that the loader takes it; and operations counted by hand."""

import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from lab.stills import write_stills
from moodreel.errors import BundleError, SettingsError
from moodreel.lab.export import export, export_int8
from moodreel.lab.flops import count_flops
from moodreel.lab.onnx_files import save_onnx, trace_onnx
from moodreel.lab.plain import PlainWay, find_common, score_ours, take_turns
from moodreel.lab.quantise import list_nodes
from moodreel.lab.train import train
from moodreel.lab.weights import read_bundle_weights
from moodreel.media import write_gif
from moodreel.runtime.bundle import read_bundle
from moodreel.runtime.recognizer import load
from runtime.tiny import write_bundle


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of one epoch, and its manifest."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "stills").mkdir()
    manifest = write_stills(folder / "stills", ("happiness", "sadness"), 16, 6, 8)
    (folder / "r.toml").write_text(
        '[model]\ninput_size = 32\n[train]\nepochs = 1\nbatch = 4\nprecision = "32"\n'
    )
    train("face", [manifest], folder / "run", folder / "r.toml")
    return folder


def test_a_run_in_8_bits(run, tmp_path):
    export(run / "run", tmp_path / "whole", score=False)
    export_int8(str(run / "run"), tmp_path / "small")
    whole, small = load(tmp_path / "whole", engine="onnx"), load(tmp_path / "small", engine="onnx")
    said = small.info.training["int8"]
    assert said["clips"] == 16
    assert said["of"] == whole.info.sha256["model.onnx"]
    assert said["calibration"][0]["name"] == "stills"
    assert small.info.scores["stills"]["clips"] == 8  # its own, measured in 8 bits
    model = onnx.load(tmp_path / "small" / "model.onnx")
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    dequantised = {
        node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"
    }
    stored = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert convolutions
    for node in convolutions:  # weights stand in the file as 8-bit numbers
        assert stored[dequantised[node.input[1]]] == TensorProto.INT8
    sizes = [(tmp_path / name / "model.onnx").stat().st_size for name in ("small", "whole")]
    assert sizes[0] < 0.65 * sizes[1]
    a, b = (r(str(run / "stills" / "25.png")).probabilities for r in (whole, small))
    gaps = [abs(a[name] - b[name]) for name in a]
    assert 0 < max(gaps) < 0.05
    assert "In 8 bits" in (tmp_path / "small" / "card.md").read_text()
    assert not (tmp_path / "small" / "weights.safetensors").exists()
    with pytest.raises(BundleError, match="in 8 bits, no weights to train on"):
        read_bundle_weights(read_bundle(tmp_path / "small"))
    with pytest.raises(BundleError, match="is in 8 bits already"):
        export_int8(str(tmp_path / "small"), tmp_path / "again", [run / "stills" / "manifest.csv"])
    assert not (tmp_path / "again").exists()
    export_int8(
        str(tmp_path / "whole"), tmp_path / "small", [run / "stills" / "manifest.csv"], score=False
    )  # of a bundle, over it
    assert load(tmp_path / "small").info.scores == {}
    assert (tmp_path / "small" / "model.onnx").read_bytes() == model.SerializeToString()


def test_what_cannot_be_quantised_is_refused(run, tmp_path):
    with pytest.raises(SettingsError, match="data = None: expected manifests to calibrate with"):
        export_int8("face", tmp_path / "b")
    with pytest.raises(SettingsError, match="int8 = 'sta': expected a bundle of kavan or face"):
        export_int8("sta", tmp_path / "b", [run / "stills" / "manifest.csv"])
    (tmp_path / "precious").mkdir()
    with pytest.raises(BundleError, match="is no bundle"):
        export_int8("face", tmp_path / "precious", [run / "stills" / "manifest.csv"])
    assert list(tmp_path.iterdir()) == [tmp_path / "precious"]


def test_only_convolutions_and_what_stands_between_them():
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="first"),
        node("Relu", ["a"], ["b"], name="between"),
        node("Conv", ["b", "w"], ["c"], name="second"),
        node("Add", ["a", "c"], ["d"], name="residual"),
        node("Add", ["d", "x"], ["e"], name="of the input too"),
        node("MatMul", ["d", "w"], ["f"], name="attention"),
        node("Relu", ["f"], ["g"], name="behind it"),
    ]
    graph = helper.make_graph(nodes, "g", [], [])
    assert list_nodes(helper.make_model(graph)) == ["first", "between", "second", "residual"]


def test_halved_only_where_nothing_is_lost(tmp_path):
    values = {"exact": np.full(100, 0.5, np.float32), "fine": np.full(100, 0.1, np.float32)}
    graph = helper.make_graph(
        [helper.make_node("Add", ["exact", "fine"], ["sum"])],
        "g",
        [],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, [100])],
        [onnx.numpy_helper.from_array(array, name) for name, array in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    save_onnx(model, tmp_path / "m.onnx", exactly=True)
    stored = {t.name: t.data_type for t in onnx.load(tmp_path / "m.onnx").graph.initializer}
    assert stored == {"exact.half": TensorProto.FLOAT16, "fine": TensorProto.FLOAT}


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.up = nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1)
        self.linear = nn.Linear(4 * 16 * 16, 5)

    def forward(self, frames):
        x = frames.float().permute(0, 3, 1, 2)
        y = self.up(self.grouped(self.conv(x)))
        z = self.linear(y.flatten(1))
        return z @ torch.ones(5, 7)


def test_operations_are_counted_by_hand(tmp_path):
    example = torch.zeros(2, 16, 16, 3, dtype=torch.uint8)
    save_onnx(trace_onnx(Small().eval(), example, ["out"]), tmp_path / "m.onnx")
    expected = 2 * (
        8 * 8 * 8 * 3 * 9  # conv: 8x8 cells of 8 channels, each of 3 x 3x3
        + 8 * 8 * 8 * 9  # a channel each
        + 8 * 8 * 8 * 4 * 16  # each of 8x8x8 cells spreads over 4 channels of 4x4
        + 4 * 16 * 16 * 5
        + 5 * 7
    )
    assert count_flops((tmp_path / "m.onnx").read_bytes()) == expected


def test_operations_of_an_lstm():
    names = {"w": (1, 4 * 6, 5), "r": (1, 4 * 6, 6)}
    node = helper.make_node
    graph = helper.make_graph(
        [
            node("Cast", ["frames"], ["x"], to=TensorProto.FLOAT),
            node("LSTM", ["x", "w", "r"], ["y"], hidden_size=6),
        ],
        "g",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["n", 3, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in names.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    # X is [steps, rows, in]: one step of three rows here
    assert count_flops(model.SerializeToString()) == 2 * 3 * 24 * (5 + 6)


def test_bundles_state_their_operations(run, tmp_path):
    export(run / "run", tmp_path / "b", score=False)
    stated = json.loads((tmp_path / "b" / "bundle.json").read_text())["flops"]
    assert stated == {"model.onnx": count_flops((tmp_path / "b" / "model.onnx").read_bytes())}


def test_wrong_counts_are_refused(tmp_path):
    with pytest.raises(BundleError, match=r"flops\.face\.onnx = 3: expected a graph of the bundle"):
        read_bundle(write_bundle(tmp_path / "a", flops={"face.onnx": 3}))
    with pytest.raises(BundleError, match=r"flops\.model\.onnx = 0: expected"):
        read_bundle(write_bundle(tmp_path / "b", flops={"model.onnx": 0}))


def test_the_plain_way_gives_the_same_scores(tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for k in range(2):
        frames = np.repeat(np.repeat(rng.integers(0, 255, (5, 8, 8, 3)), 20, 1), 20, 2).astype(np.uint8)
        write_gif(tmp_path / f"{k}.gif", frames, [0.2] * 5)
        paths.append(str(tmp_path / f"{k}.gif"))
    (tmp_path / "bad.gif").write_bytes(b"GIF89a")
    bundle = read_bundle("kavan")
    way = PlainWay(bundle)
    assert find_common([*paths, str(tmp_path / "bad.gif"), str(tmp_path / "a.mp4")], bundle.info) == paths
    ours = score_ours(load("kavan", engine="onnx", threads=1), paths, 1)
    np.testing.assert_allclose(ours, np.array([way.score(path) for path in paths]), atol=1e-4)


def test_the_plain_way_is_of_kavan():
    with pytest.raises(SettingsError, match="model = 'face': expected a kavan bundle"):
        PlainWay(read_bundle("face"))


def test_turns_are_taken_and_the_first_not_counted():
    order, now = [], iter(range(100))
    seconds = take_turns(lambda: order.append("a"), lambda: order.append("b"), 2, lambda: next(now))
    assert order == list("ababab")
    assert seconds == {"ours": [1, 1], "plain": [1, 1]}
