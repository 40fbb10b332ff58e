"""STA's layers and networks against the float64 reference written from the paper."""

import numpy as np
import pytest
import torch

from moodreel.errors import SettingsError
from moodreel.lab.layers.conv_lstm import ConvLSTM
from moodreel.lab.models.sta import Sta
from moodreel.lab.models.sta_peers import RNNNetwork, build_trace_network
from moodreel.lab.settings_sta import NETWORKS, StaSettings
from reference import sta as reference

TIGHT = 1e-9
PEEPHOLES = ("hadamard", "convolution", "none")
SMALL = StaSettings(
    frames=8, input_size=8, encoder=(2, 3), decoder=(3, 2), filters=(3, 4, 2, 5), hidden=4, recurrent=3
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def vary(**changes):
    return StaSettings(**{**{n: getattr(SMALL, n) for n in SMALL.__dataclass_fields__}, **changes})


def shake(net):
    """Makes every parameter random, so that none hides behind its 0."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.5)
    return net.double().eval()


def arrays(part):
    return {"W": part.weight.detach().numpy(), "b": part.bias.detach().numpy()}


def lstm_params(layer):
    params = {}
    for kind, weight in (("x", layer.weight_x), ("h", layer.weight_h)):
        for gate, value in zip(
            "ifco", weight.detach().numpy().reshape(4, layer.hidden, *weight.shape[1:]), strict=True
        ):
            params[f"W_{kind}{gate}"] = value
    for gate, value in zip("ifco", layer.bias.detach().numpy().reshape(4, layer.hidden), strict=True):
        params[f"b_{gate}"] = value
    if layer.peepholes == "hadamard":
        params["W_ci"], params["W_cf"] = layer.peep_i.detach().numpy(), layer.peep_f.detach().numpy()
    elif layer.peepholes == "convolution":
        params["W_ci"], params["W_cf"] = np.split(layer.peep.detach().numpy(), 2)
    if layer.peepholes != "none":
        params["W_co"] = layer.peep_o.detach().numpy()
    return params


def attention_params(net):
    return {
        "encoder": [arrays(layer) for layer in net.encoder],
        "decoder": [{**arrays(stage.enlarge), "lstm": lstm_params(stage.recur)} for stage in net.decoder],
        "w": net.locate.weight.detach().numpy()[0, :, 0, 0],
    }


def emotion_params(net):
    return {
        "convolutions": [arrays(layer) for layer in net.convolutions],
        "first": arrays(net.head.first),
        "last": arrays(net.head.last),
    }


@pytest.mark.parametrize("peepholes", PEEPHOLES)
def test_conv_lstm_is_equation_1(peepholes):
    layer = shake(ConvLSTM(2, 3, (4, 5), peepholes))
    x = torch.randn(2, 4, 2, 4, 5).double()
    ours = layer(x).detach().numpy()
    for n in range(2):
        theirs = reference.conv_lstm(x[n].numpy(), lstm_params(layer), peepholes)
        np.testing.assert_allclose(ours[n], theirs, rtol=0, atol=TIGHT)


@pytest.mark.parametrize("peepholes", PEEPHOLES)
def test_gradients_of_conv_lstm(peepholes):
    layer = shake(ConvLSTM(1, 2, (2, 3), peepholes))
    x = torch.randn(1, 3, 1, 2, 3, dtype=torch.float64, requires_grad=True)

    def run(x, *parameters):
        del parameters  # gradcheck moves them in place
        return layer(x)

    assert torch.autograd.gradcheck(run, (x, *layer.parameters()))


@pytest.mark.parametrize("peepholes", PEEPHOLES)
@pytest.mark.parametrize("state", ["previous", "current"])
def test_attention_is_equation_2(state, peepholes):
    settings = vary(attention_from=state, peepholes=peepholes)
    net = shake(Sta(settings)).attention
    frames = torch.randn(2, 3, 3, 8, 8).double()  # any number of frames
    ours = net(frames).detach().numpy()
    assert ours.shape == (2, 3, 8, 8)
    for n in range(2):
        theirs = reference.attention(frames[n].numpy(), attention_params(net), peepholes, state)
        np.testing.assert_allclose(ours[n], theirs, rtol=0, atol=TIGHT)
    np.testing.assert_allclose(ours.sum(axis=(2, 3)), 1, atol=1e-6)
    assert (np.ptp(ours[:, 0]) < 1e-9) == (state == "previous")  # H_0 = 0: uniform at t = 1
    assert np.ptp(ours[:, 1]) > 1e-3


@pytest.mark.parametrize("head", ["frame", "clip"])
@pytest.mark.parametrize("attended", [True, False])
def test_emotion_network_is_equation_3(attended, head):
    net = shake(Sta(vary(head=head))).emotion
    frames = torch.randn(2, 8, 3, 8, 8).double()
    weights = torch.softmax(torch.randn(2, 8, 64).double(), dim=2).reshape(2, 8, 8, 8) if attended else None
    ours = net(frames, weights).detach().numpy()
    for n in range(2):
        A = weights[n].numpy() if attended else None
        theirs = reference.emotion(frames[n].numpy(), A, emotion_params(net), head)
        np.testing.assert_allclose(ours[n], np.broadcast_to(theirs, 8), rtol=0, atol=TIGHT)


@pytest.mark.parametrize(("network", "head"), [("sta", "frame"), ("sta", "clip"), ("3d-cnn", "frame")])
def test_whole_network_is_the_reference(network, head):
    net = shake(Sta(vary(network=network, head=head)))
    frames = torch.randn(2, 8, 3, 8, 8).double()
    out = net(frames)
    for n in range(2):
        A = None
        if network == "sta":
            A = reference.attention(frames[n].numpy(), attention_params(net.attention), "hadamard")
            np.testing.assert_allclose(out.attention[n].detach().numpy(), A, rtol=0, atol=TIGHT)
        theirs = reference.emotion(frames[n].numpy(), A, emotion_params(net.emotion), head)
        expected = np.broadcast_to(theirs, 8)
        np.testing.assert_allclose(out.valence[n].detach().numpy(), expected, rtol=0, atol=TIGHT)
    assert (out.attention is None) == (network == "3d-cnn")


def test_uniform_attention_leaves_features_as_they_are():
    net = shake(Sta(vary())).emotion
    frames = torch.randn(1, 8, 3, 8, 8).double()
    uniform = torch.full((1, 8, 8, 8), 1 / 64).double()
    torch.testing.assert_close(net(frames, uniform), net(frames, None))


def test_weights_start_as_glorot_says():
    net = Sta(StaSettings())
    for layer in (net.emotion.convolutions[1], net.attention.encoder[1], net.emotion.head.first):
        weight = layer.weight
        cells = weight[0, 0].numel()
        limit = (6 / ((weight.shape[0] + weight.shape[1]) * cells)) ** 0.5
        assert weight.abs().max() <= limit
        assert weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.02)
        assert not layer.bias.any()
    recur = net.attention.decoder[-1].recur
    assert recur.bias.reshape(4, -1).mean(1).tolist() == [0, 1, 0, 0]
    limit = (6 / (9 * (8 + 8))) ** 0.5  # each gate is a layer of its own
    assert recur.weight_h.abs().max() <= limit


def test_sizes_are_the_papers():
    net = Sta(StaSettings())
    assert [c.weight.shape[0] for c in net.emotion.convolutions] == [32, 64, 128, 256]
    assert all(c.weight.shape[2:] == (3, 3, 3) for c in net.emotion.convolutions)
    assert net.emotion.pools == 3
    assert net.emotion.head.dropout.p == 0.5
    assert net.emotion.head.last.out_features == 1
    assert StaSettings().frames / StaSettings().fps == 4.0


@pytest.mark.parametrize("output", ["linear", "tanh"])
@pytest.mark.parametrize("network", NETWORKS)
def test_output_is_bounded_where_asked(network, output):
    net = build_trace_network(vary(network=network, output=output)).eval()
    with torch.no_grad():
        (net.emotion.head if hasattr(net, "emotion") else getattr(net, "head", net)).last.bias.fill_(3.0)
    value = net(torch.zeros(2, 8, 3, 8, 8)).valence
    assert value.shape == (2, 8)
    assert value.dtype == torch.float32
    assert bool((value > 1).all()) == (output == "linear")


@pytest.mark.parametrize("network", NETWORKS)
def test_what_each_network_can_see(network):
    """Which frames move the value of frame 5."""
    net = shake(build_trace_network(vary(network=network, fps=2.0, filters=(6, 6, 6, 6), hidden=32)))
    frames = torch.randn(1, 8, 3, 8, 8).double()
    moved = frames.repeat(8, 1, 1, 1, 1)
    moved[range(8), range(8)] += 1.0
    change = (net(moved).valence - net(frames).valence)[:, 5].abs()
    seen = torch.nonzero(change > 1e-12).flatten().tolist()
    expected = {
        "sta": [0, 1, 2, 3, 4, 5, 6, 7],  # attention sees all that came before
        "3d-cnn": [1, 2, 3, 4, 5, 6, 7],  # four convolutions, four frames on each side
        "2d-cnn": [5],
        "2d-cnn-channels": [0, 1, 2, 3, 4, 5, 6, 7],
        "cnn-rnn-1s": [4, 5],  # two frames a second
        "cnn-rnn-4s": [0, 1, 2, 3, 4, 5],
        "cnn-lstm": [0, 1, 2, 3, 4, 5],
    }
    assert seen == expected[network]


def test_a_long_window_is_a_plain_rnn():
    net = shake(RNNNetwork(vary(network="cnn-rnn-4s"), 4.0))
    frames = torch.randn(2, 8, 3, 8, 8).double()
    theirs = torch.nn.RNN(4, 3, batch_first=True).double()
    theirs.load_state_dict(
        {
            "weight_ih_l0": net.read.weight,
            "bias_ih_l0": net.read.bias,
            "weight_hh_l0": net.recur.weight,
            "bias_hh_l0": torch.zeros(3),
        }
    )
    features = torch.relu(net.first(net.cnn(frames.flatten(0, 1)))).unflatten(0, (2, 8))
    expected = net.last(theirs(features)[0]).squeeze(2)
    torch.testing.assert_close(net(frames).valence, expected)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"network": "4d-cnn"}, "model.network"),
        ({"frames": 0}, "model.frames"),
        ({"head": "clip", "frames": 12}, "model.frames"),
        ({"fps": 0.0}, "model.fps"),
        ({"input_size": 12}, "model.input_size"),
        ({"encoder": ()}, "model.encoder"),
        ({"decoder": (2,)}, "model.decoder"),
        ({"filters": (1, 0)}, "model.filters"),
        ({"head": "both"}, "model.head"),
        ({"head": "clip", "network": "2d-cnn"}, "model.head"),
        ({"output": "sigmoid"}, "model.output"),
        ({"loss": "mae"}, "model.loss"),
        ({"epsilon": -0.1}, "model.epsilon"),
        ({"attention_from": "next"}, "model.attention_from"),
        ({"peepholes": "some"}, "model.peepholes"),
        ({"hidden": 0}, "model.hidden"),
        ({"recurrent": 0}, "model.recurrent"),
        ({"dropout": 1.0}, "model.dropout"),
        ({"target": ""}, "model.target"),
    ],
)
def test_settings_name_what_is_wrong(changes, field):
    with pytest.raises(SettingsError, match=f"^{field} = "):
        StaSettings(**changes)
