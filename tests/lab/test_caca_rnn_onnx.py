"""CACA-RNN as ONNX against torch, at lengths that no example showed."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from moodreel.lab.models.caca_rnn import build_caca_rnn
from moodreel.lab.onnx_caca_rnn import write_caca_rnn_onnx
from moodreel.lab.settings_caca_rnn import NETWORKS, SUBMITTED_CACA_RNN, CacaRnnSettings

CHOSEN = {name: CacaRnnSettings(network=name) for name in NETWORKS[:-1]} | {"submitted": SUBMITTED_CACA_RNN}
LENGTHS = (1, 2, 7, 33, 300)

each_network = pytest.mark.parametrize("name", CHOSEN)


def make_network(chosen):
    torch.manual_seed(0)
    net = build_caca_rnn(chosen).eval()
    with torch.no_grad():
        for value in net.parameters():
            if value.dim() == 1:
                value += 0.1 * torch.randn_like(value)
    return net


@each_network
def test_any_length_equals_torch(name):
    chosen = CHOSEN[name]
    net = make_network(chosen)
    model = write_caca_rnn_onnx(net, chosen)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    read = [kind for kind in ("face", "context") if getattr(chosen, f"reads_{kind}")]
    assert [i.name for i in session.get_inputs()] == read
    assert [i.type for i in session.get_inputs()] == ["tensor(float)"] * len(read)
    outputs = ["probabilities", "attention"] if chosen.network.startswith("caca") else ["probabilities"]
    assert [o.name for o in session.get_outputs()] == outputs
    for place, faces in enumerate(LENGTHS):
        frames = faces if name == "concatenated" else LENGTHS[(place + 2) % 5]
        streams = {
            "face": torch.randn(faces, chosen.face_features).abs(),
            "context": torch.randn(frames, chosen.context_features).abs(),
        }
        with torch.no_grad():
            lengths = torch.tensor([faces]), torch.tensor([frames])
            expected = net(streams["face"][None], streams["context"][None], *lengths)
        got = session.run(None, {kind: streams[kind].numpy() for kind in read})
        assert got[0].shape == (8,)
        probabilities = torch.softmax(expected.logits[0], dim=0)
        np.testing.assert_allclose(got[0], probabilities, atol=1e-5, rtol=0)
        if expected.attention is not None:
            np.testing.assert_allclose(got[1], expected.attention[0], atol=1e-5, rtol=0)


@each_network
def test_weights_keep_their_names_and_layout(name):
    net = make_network(CHOSEN[name])
    model = write_caca_rnn_onnx(net, CHOSEN[name])
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    onnx.checker.check_model(model, full_check=True)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    floats = {key: value for key, value in stored.items() if value.dtype == np.float32}
    own = {key: value.detach().numpy() for key, value in net.named_parameters()}
    assert floats.keys() == own.keys()
    assert all(np.array_equal(floats[key], own[key]) for key in own)
