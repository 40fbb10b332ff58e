"""Losses and scores of traces, and the fit of their post-processing."""

import numpy as np
import pytest
import torch
from scipy import stats

from moodreel.errors import DataError
from moodreel.lab.fit_postprocess import Trace, fit_postprocess
from moodreel.lab.losses_sta import ccc_loss, epsilon_loss, mse_loss, trace_loss
from moodreel.lab.settings_sta import StaSettings
from moodreel.lab.trace_metrics import score_traces
from moodreel.runtime.postprocess import PostProcess
from reference import sta as reference

NAN = float("nan")


def test_scores_are_the_reference():
    rng = np.random.default_rng(0)
    x = [rng.uniform(-1, 1, n) for n in (5, 1, 17)]
    y = [0.4 * a + rng.normal(0, 0.3, len(a)) + 0.2 for a in x]
    all_x, all_y = np.concatenate(x), np.concatenate(y)
    scores = score_traces(x, y)
    assert scores.rmse == pytest.approx(np.linalg.norm(all_x - all_y) / 23**0.5, abs=1e-9)
    assert scores.cc == pytest.approx(stats.pearsonr(all_x, all_y).statistic, abs=1e-9)
    assert scores.ccc == pytest.approx(reference.ccc(all_x, all_y), abs=1e-9)
    assert (scores.count, scores.constant) == (23, False)


def test_scores_of_four_values_by_hand():
    # Means 1 and 2, variances 1/2 and 1/2, covariance 1/2: CC 1, CCC 2 * 0.5 / (1 + 1) = 0.5.
    scores = score_traces([[0, 1], [1, 2]], [[1, 2], [2, 3]])
    assert (scores.rmse, scores.cc, scores.ccc) == pytest.approx((1.0, 1.0, 0.5))


def test_what_does_not_count_is_not_read():
    scores = score_traces([[0, 1, NAN], [1, 2]], [[1, 2, NAN], [2, 3]])
    assert (scores.count, scores.ccc) == (4, pytest.approx(0.5))
    masked = score_traces([[0, 9, 1, 1, 2]], [[1, -9, 2, 2, 3]], [[True, False, True, True, True]])
    assert (masked.count, masked.ccc) == (4, pytest.approx(0.5))


@pytest.mark.parametrize(("x", "y"), [([0.1] * 3, [0, 1, 2]), ([0, 1, 2], [0.1] * 3), ([0.1] * 3, [0.1] * 3)])
def test_a_constant_scores_nothing_and_is_flagged(x, y):
    scores = score_traces([x], [y])
    assert (scores.cc, scores.ccc, scores.constant) == (0.0, 0.0, True)
    assert scores.rmse == pytest.approx(np.sqrt(np.mean((np.array(x) - y) ** 2)))


def test_no_values_are_no_scores():
    scores = score_traces([[0.2]], [[NAN]])
    assert np.isnan(scores.rmse)
    assert (scores.ccc, scores.count, scores.constant) == (0.0, 0, True)


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        ([[1, 2]], [[1]], "trace 0: 2 predicted values, 1 targets"),
        ([[1], [NAN]], [[1], [1]], "trace 1: a value that counts is not finite"),
        ([[1]], [[1], [2]], "1 predicted traces, 2 targets"),
    ],
)
def test_wrong_traces_are_refused(x, y, reason):
    with pytest.raises(DataError, match=reason):
        score_traces(x, y)


def make_batch():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    mask = torch.rand(3, 5, generator=generator) < 0.6
    return x, torch.where(mask, y, NAN), mask


def test_losses_are_the_reference():
    x, y, mask = make_batch()
    a, b = x.detach()[mask].numpy(), y[mask].numpy()
    errors = [abs(p - t) for p, t in zip(a.tolist(), b.tolist(), strict=True)]
    expected = {
        "mse": sum(e**2 for e in errors) / len(errors),
        "epsilon": sum(max(0.0, e - 0.3) for e in errors) / len(errors),
        "ccc": 1 - reference.ccc(a, b),
    }
    for name, value in expected.items():
        ours = trace_loss(x, y, mask, StaSettings(loss=name, epsilon=0.3)).item()
        assert ours == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("loss", [mse_loss, ccc_loss, lambda x, y, mask: epsilon_loss(x, y, mask, 0.3)])
def test_gradients_of_the_losses(loss):
    x, y, mask = make_batch()
    assert torch.autograd.gradcheck(lambda p: loss(p, y, mask), x)  # a missing target, NaN, moves nothing
    nothing = loss(x, y, torch.zeros_like(mask))
    nothing.backward()
    assert nothing.item() == 0
    assert not x.grad.any()


def test_ccc_loss_of_constants():
    flat = torch.full((1, 4), 0.5, requires_grad=True)
    everything = torch.ones(1, 4, dtype=torch.bool)
    loss = ccc_loss(flat, torch.full((1, 4), 0.5), everything)
    loss.backward()
    assert loss.item() == 1
    assert torch.isfinite(flat.grad).all()


def draw_trace(seed, distort=lambda v: v):
    rng = np.random.default_rng(seed)
    times = np.arange(80) * 0.25
    gold = 0.5 * np.sin(times + rng.uniform(0, 6))
    return Trace(times, distort(gold), gold)


def test_a_perfect_trace_is_left_alone():
    fitted = fit_postprocess([draw_trace(0), draw_trace(1)], shifts=(0.0, 0.5))
    assert fitted.chain == PostProcess()
    assert fitted.before == fitted.after
    assert fitted.after.ccc == pytest.approx(1.0)


def test_centre_and_scale_undo_an_affine_distortion():
    traces = [draw_trace(n, lambda v: 0.25 * v - 0.3) for n in range(3)]
    fitted = fit_postprocess(traces, medians=(0.0,))
    # v = 0.25 g - 0.3, so g = 4 v + 1.2.
    assert fitted.chain.scale == pytest.approx(4.0)
    assert fitted.chain.centre == pytest.approx(1.2)
    assert fitted.before.ccc < 0.3
    assert fitted.after.ccc == pytest.approx(1.0)


def test_median_takes_out_spikes():
    def add_spikes(values):
        spiked = values.copy()
        spiked[::9] = 1.0
        return spiked

    fitted = fit_postprocess([draw_trace(n, add_spikes) for n in range(3)])
    assert 0 < fitted.chain.median_s <= 1.0
    assert fitted.after.ccc > fitted.before.ccc


def test_shift_is_found_where_it_is_asked_for():
    early = [draw_trace(n, lambda v: np.append(v[3:], [v[-1]] * 3)) for n in range(3)]
    assert fit_postprocess(early, medians=(0.0,)).chain.shift_s == 0
    assert fit_postprocess(early, medians=(0.0,), shifts=(0.0, 0.5, 0.75, 1.0)).chain.shift_s == 0.75


def test_nobody_and_no_gold_are_left_out():
    good = draw_trace(0, lambda v: 0.5 * v)
    nobody = Trace(good.times, np.full(80, NAN), good.gold)
    fitted = fit_postprocess([nobody, good], medians=(0.0,))
    assert fitted.chain.scale == pytest.approx(2.0)
    with pytest.raises(DataError, match="nothing to fit on"):
        fit_postprocess([nobody, Trace(good.times, good.predicted, np.full(80, NAN))])
