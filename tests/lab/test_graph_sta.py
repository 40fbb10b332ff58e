"""The exported graph of STA and its peers: ONNX Runtime against torch, for batches it was not traced with."""

import logging
import warnings

import numpy as np
import onnxruntime
import pytest
import torch

from moodreel.lab.graph_sta import STA_OUTPUTS, StaGraph, example_clips
from moodreel.lab.models.sta_peers import build_trace_network
from moodreel.lab.settings_sta import StaSettings

CASES = [
    *({"network": name} for name in ("sta", "3d-cnn", "2d-cnn-channels", "cnn-rnn-1s", "cnn-lstm")),
    {"head": "clip", "peepholes": "convolution", "attention_from": "current", "output": "tanh"},
]


def build(case):
    torch.manual_seed(0)
    sizes = {"encoder": (4, 4), "decoder": (4, 4), "filters": (4, 6, 6, 8), "hidden": 8, "recurrent": 6}
    settings = StaSettings(input_size=16, **sizes, **case)
    net = build_trace_network(settings)
    with torch.no_grad():
        for parameter in net.parameters():  # peepholes too, which start at 0
            parameter.add_(torch.randn(parameter.shape) * 0.03)
        for name, parameter in net.named_parameters():
            if "last." in name:
                parameter.mul_(0.1)  # so that valence is not cut
    return settings, StaGraph(net).eval()


def save(graph, settings, path):
    example = example_clips(settings)
    names = list(STA_OUTPUTS)[: len(graph(example))]
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph,
            (example,),
            input_names=["frames"],
            output_names=names,
            dynamic_shapes=({0: torch.export.Dim("clips", min=1, max=4096)},),
            opset_version=18,
            dynamo=True,
            verbose=False,
        )
    program.save(str(path))
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case.values()))
def test_onnx_is_torch(case, tmp_path):
    settings, graph = build(case)
    session = save(graph, settings, tmp_path / "model.onnx")
    expected_names = ["valence", "attention"] if settings.network == "sta" else ["valence"]
    assert [o.name for o in session.get_outputs()] == expected_names
    for count in (2, 1, 5):
        frames = example_clips(settings, count)
        with torch.no_grad():
            theirs = graph(frames)
        for ours, expected in zip(session.run(None, {"frames": frames.numpy()}), theirs, strict=True):
            assert ours.dtype == np.float32
            assert ours.shape == expected.shape
            np.testing.assert_allclose(ours, expected.numpy(), rtol=0, atol=1e-4)
        assert theirs[0].shape == (count, 16)
    assert np.ptp(theirs[0].numpy()) > 1e-4  # it says something
    assert theirs[0].abs().max() < 0.999  # and nothing was cut


def test_valence_is_cut_to_its_range():
    settings, graph = build({"network": "3d-cnn"})
    with torch.no_grad():
        graph.net.emotion.head.last.bias.fill_(30.0)
    assert (graph(example_clips(settings))[0] == 1).all()
