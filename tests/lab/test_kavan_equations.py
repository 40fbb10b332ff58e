"""KAVAN's layers, losses and heatmaps against the float64 references written from the paper."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moodreel.emotions import CIRCUMPLEX, GIFGIF_17, locate_on_circumplex
from moodreel.errors import SettingsError
from moodreel.faces.heatmap import draw_heatmap
from moodreel.lab.data.labels import category_of
from moodreel.lab.data.manifest import Row
from moodreel.lab.layers.attention import KeypointAttention
from moodreel.lab.layers.hs_lstm import HSLSTM, LSTMNode
from moodreel.lab.losses import (
    category_loss,
    keypoint_loss,
    nmse_loss,
    ranking_errors,
    ranking_loss,
    total_loss,
)
from moodreel.lab.models.kavan import Kavan
from moodreel.lab.settings import KavanSettings
from reference import kavan as reference

TOLERANCE = 1e-5
D, HIDDEN, CELLS, SIZE, T = 6, 5, 9, 4, 8


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def to_numpy(tensor):
    return tensor.detach().numpy()


def node_params(node):
    names = {"W_ih": "weight_ih", "W_hh": "weight_hh", "b_ih": "bias_ih", "b_hh": "bias_hh"}
    return {ours: to_numpy(getattr(node, theirs)) for ours, theirs in names.items()}


def hs_params(module):
    params = {"tiers": [node_params(node) for node in module.nodes]}
    if module.attention is not None:
        attention = module.attention
        params |= {
            "v": to_numpy(attention.v.weight)[0],
            "A_h": to_numpy(attention.A_h.weight),
            "A_c": to_numpy(attention.A_c.weight),
            "b": to_numpy(attention.A_c.bias),
            "w_res": to_numpy(module.w_res).item(),
        }
        if attention.A_H is not None:
            params["A_H"] = to_numpy(attention.A_H.weight)
    return params


def test_node_is_equations_1_to_3():
    node = LSTMNode(D, HIDDEN).double()
    x, h, c = torch.randn(3, D).double(), torch.randn(3, HIDDEN).double(), torch.randn(3, HIDDEN).double()
    ours = node(node.project(x), h, c)
    for i in range(3):
        theirs = reference.lstm_step(x[i].numpy(), h[i].numpy(), c[i].numpy(), **node_params(node))
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(to_numpy(a)[i], b, atol=1e-12)


@pytest.mark.parametrize("segments", [False, True], ids=["Eq. 5", "Eq. 10"])
def test_attention_is_equations_5_6_and_10(segments):
    layer = KeypointAttention(D, HIDDEN, SIZE, segments).double()
    features = torch.randn(2, T, CELLS, D).double()
    h, segment = torch.randn(2, HIDDEN).double(), torch.randn(2, HIDDEN).double() if segments else None
    alpha = to_numpy(layer(layer.project(features)[:, 3], h, segment))
    weights = {
        "v": to_numpy(layer.v.weight)[0],
        "A_h": to_numpy(layer.A_h.weight),
        "A_c": to_numpy(layer.A_c.weight),
        "b": to_numpy(layer.A_c.bias),
    }
    for i in range(2):
        more = {"A_H": to_numpy(layer.A_H.weight), "H_sum": segment[i].numpy()} if segments else {}
        scores = reference.attention_scores(features[i, 3].numpy(), h[i].numpy(), **weights, **more)
        np.testing.assert_allclose(alpha[i], reference.softmax(scores), atol=TOLERANCE)
    np.testing.assert_allclose(alpha.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("tiers", [(1,), (4, 1), (2, 1), (8, 1), (4, 2, 1)])
@pytest.mark.parametrize("attention", [0, SIZE])
def test_hs_lstm_is_the_reference(tiers, attention):
    module = HSLSTM(D, HIDDEN, CELLS, tiers, attention).double()
    features = torch.randn(2, T, CELLS, D).double()
    states, alpha = module(features)
    for i in range(2):
        h, a = reference.hs_lstm(features[i].numpy(), tiers, hs_params(module), use_attention=attention > 0)
        np.testing.assert_allclose(to_numpy(states)[i], h, atol=TOLERANCE)
        if attention:
            np.testing.assert_allclose(to_numpy(alpha)[i], a, atol=TOLERANCE)
        else:
            assert alpha is None


def test_one_tier_without_attention_is_torch_lstm():
    module = HSLSTM(D, HIDDEN, CELLS, (1,), 0)
    theirs = torch.nn.LSTM(D, HIDDEN, batch_first=True)
    node = module.nodes[0]
    theirs.load_state_dict({f"{name}_l0": value for name, value in node.state_dict().items()})
    features = torch.randn(3, T, CELLS, D)
    expected, _ = theirs(features.mean(dim=2))
    torch.testing.assert_close(module(features)[0], expected, atol=1e-6, rtol=0)


def test_attention_residual_starts_as_average_pooling():
    module = HSLSTM(D, HIDDEN, CELLS, (1,), SIZE)
    assert module.w_res.item() == pytest.approx(1 / CELLS)


def test_gradients_of_the_whole_recurrence():
    module = HSLSTM(2, 3, 4, (2, 1), 2).double()
    features = torch.randn(1, 4, 4, 2, dtype=torch.float64, requires_grad=True)

    def run(x, *parameters):
        del parameters  # gradcheck moves them in place
        return module(x)[0]

    # Eq. 6 runs in float32 so that half precision cannot harm it; hence the loose step and tolerance.
    assert torch.autograd.gradcheck(run, (features, *module.parameters()), eps=1e-3, atol=1e-3, rtol=1e-2)


def test_gradients_of_the_losses():
    torch.manual_seed(1)
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    target, mask = torch.randn(3, 5).double(), torch.rand(3, 5) < 0.7
    variance = torch.rand(5).double() + 0.5
    assert torch.autograd.gradcheck(lambda p: nmse_loss(p, target, mask, variance), x)
    assert torch.autograd.gradcheck(lambda p: ranking_loss(p, target, mask, 0.2), x)
    assert torch.autograd.gradcheck(lambda p: category_loss(p, torch.tensor([1, -1, 4])), x)
    heat = torch.rand(3, 2, 5).double()
    a = torch.rand(3, 2, 5, dtype=torch.float64, requires_grad=True)
    frames = torch.tensor([[True, False], [True, True], [False, False]])
    assert torch.autograd.gradcheck(lambda p: keypoint_loss(heat, p, frames), a)


def test_losses_are_the_reference():
    rng = np.random.default_rng(0)
    prediction, target = rng.uniform(-1, 1, (6, 17)), rng.choice([-1.0, -0.5, 0.0, 0.5, 1.0], (6, 17))
    mask = rng.random((6, 17)) < 0.6
    mask[:, 4] = False  # an emotion that nobody labelled
    variance = rng.uniform(0.2, 1, 17)
    p, y, m = torch.tensor(prediction), torch.tensor(target), torch.tensor(mask)
    assert nmse_loss(p, y, m, torch.tensor(variance)).item() == pytest.approx(
        reference.nmse(prediction, target, mask, variance), abs=1e-12
    )
    counts = [reference.rank_count(*row) for row in zip(prediction, target, mask, strict=True)]
    np.testing.assert_allclose(ranking_errors(p, y, m), counts, atol=1e-6)
    assert ranking_errors(p, torch.zeros_like(p), m).isnan().all()  # ties only: no pair
    for margin in (0.0, 0.3):
        costs = [
            reference.rank_surrogate(*row, margin=margin)
            for row in zip(prediction, target, mask, strict=True)
        ]
        assert ranking_loss(p, y, m, margin).item() == pytest.approx(np.mean(costs), abs=1e-9)

    logits, label = rng.normal(size=(6, 4)), np.array([0, 3, -1, 2, 1, -1])
    assert category_loss(torch.tensor(logits), torch.tensor(label)).item() == pytest.approx(
        reference.cross_entropy(logits, label), abs=1e-12
    )

    heat, alpha = rng.dirichlet(np.ones(9), (2, 8)), rng.dirichlet(np.ones(9), (2, 8))
    frames = rng.random((2, 8)) < 0.5
    expected = reference.kp_loss(heat.reshape(16, 9), alpha.reshape(16, 9), frames.reshape(16))
    ours = keypoint_loss(torch.tensor(heat), torch.tensor(alpha), torch.tensor(frames))
    assert ours.item() == pytest.approx(expected, abs=1e-12)


def test_total_loss_is_equations_9_and_12():
    settings = KavanSettings(weight_category=0.7, weight_ranking=0.2, weight_keypoints=3.0)
    values = {"nmse": 1.1, "category": 0.9, "ranking": 0.4, "keypoints": 0.05}
    ours = total_loss({k: torch.tensor(v, dtype=torch.float64) for k, v in values.items()}, settings)
    theirs, _ = reference.total_loss(
        *(values[k] for k in ("nmse", "category", "ranking", "keypoints")), 0.7, 0.2, 3.0
    )
    assert ours.item() == pytest.approx(theirs, abs=1e-12)


def test_losses_without_any_label_are_zero_and_have_finite_gradients():
    x = torch.randn(4, 17, requires_grad=True)
    nothing = torch.zeros(4, 17, dtype=torch.bool)
    total = nmse_loss(x, torch.zeros(4, 17), nothing, torch.ones(17))
    total = total + ranking_loss(x, torch.zeros(4, 17), nothing)
    total = total + category_loss(x[:, :4], torch.full((4,), -1))
    total = total + keypoint_loss(torch.zeros(4, 1, 17), x.unsqueeze(1), torch.zeros(4, 1, dtype=torch.bool))
    total.backward()
    assert total.item() == 0
    assert torch.isfinite(x.grad).all()


@given(st.integers(0, 2**32 - 1), st.sampled_from([(7, 7), (4, 6), (1, 1), (64, 64)]), st.floats(0.2, 3))
def test_heatmap_is_equation_8(seed, grid, temperature):
    rng = np.random.default_rng(seed)
    points, confidence = rng.uniform(-0.2, 1.2, (2, 70, 2)), rng.uniform(0, 1, (2, 70))
    confidence[rng.random((2, 70)) < 0.3] = 0
    points[confidence == 0] = np.nan
    ours = draw_heatmap(points, confidence, grid, temperature=temperature)
    assert ours.shape == (2, *grid)
    for i in range(2):
        theirs = reference.heatmap(points[i], confidence[i], grid, temperature=temperature)
        np.testing.assert_allclose(ours[i], theirs, atol=1e-12)


def test_heatmap_without_points_is_flat():
    np.testing.assert_allclose(draw_heatmap(np.zeros((70, 2)), np.zeros(70)), 1 / 49)


def test_circumplex_and_quadrant_are_the_reference():
    rng = np.random.default_rng(3)
    coordinates = np.array([CIRCUMPLEX[name] for name in GIFGIF_17])
    for _ in range(20):
        scores = rng.uniform(-1, 1, 17)
        scores[rng.random(17) < 0.3] = np.nan
        given = {n: None if np.isnan(s) else float(s) for n, s in zip(GIFGIF_17, scores, strict=True)}
        np.testing.assert_allclose(
            locate_on_circumplex(given), reference.circumplex_mean(scores, coordinates), atol=1e-12
        )
        known = {n: s for n, s in given.items() if s is not None}
        ours = category_of(Row("x", "g", scores={**known, "anger": 0.999}))
        theirs = reference.category_from_scores([{**given, "anger": 0.999}[n] or np.nan for n in GIFGIF_17])
        assert ours == theirs.replace("-", "_")


def test_network_masks_what_nobody_supervised():
    settings = KavanSettings(input_size=32)
    net = Kavan(
        settings, frozenset({"anger", "happiness"}), frozenset({"misery_arousal", "pleasure_arousal"})
    )
    out = net.eval()(net.normalise(torch.randint(0, 256, (2, 8, 32, 32, 3), dtype=torch.uint8)))
    probabilities = torch.softmax(out.logits, dim=2)
    assert (probabilities[..., [2, 3]] == 0).all()
    torch.testing.assert_close(probabilities.sum(dim=2), torch.ones(2, 8))
    assert out.attention.shape == (2, 8, 4)
    assert out.intensities.abs().max() <= 1


def test_feature_dropout_takes_channels_from_whole_clips():
    net = Kavan(KavanSettings(input_size=32, feature_dropout=0.75))
    seen = []
    net.temporal.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    features = 1 + torch.rand(16, 8, 4, 256)
    net.train().read(features)
    kept = (seen[0] != 0).all(dim=(1, 2))
    assert (kept == (seen[0] != 0).any(dim=(1, 2))).all()  # in all frames and cells, or in none
    assert not (kept == kept[0]).all()  # each clip its own
    assert abs(kept.float().mean() - 0.25) < 0.03  # of 4,096
    torch.testing.assert_close(seen[0].permute(0, 3, 1, 2)[kept], 4 * features.permute(0, 3, 1, 2)[kept])
    net.eval().read(features)
    assert seen[1] is features
    with pytest.raises(SettingsError, match=r"model\.feature_dropout"):
        KavanSettings(feature_dropout=1.0)
