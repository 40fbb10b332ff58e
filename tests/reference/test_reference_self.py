"""The KAVAN references against values worked out by hand."""

import math

import numpy as np
import pytest

from reference import kavan as ref

NAN = float("nan")
TIGHT = {"rel": 1e-12, "abs": 1e-12}
OPEN, SHUT = 100.0, -100.0  # gate biases: the sigmoid is 1 or 0 to 1e-43


def gated_cell(g_weights, forget=SHUT, recurrent=0.0):
    """An LSTM of d = 1, i = o = 1, f = 0 (or 1): c' = f c + tanh(g_weights . x + recurrent h), h' =
    tanh(c')."""
    W_ih = np.zeros((4, len(g_weights)))
    W_ih[2] = g_weights
    W_hh = np.zeros((4, 1))
    W_hh[2] = recurrent
    return {"W_ih": W_ih, "W_hh": W_hh, "b_ih": np.array([OPEN, forget, 0.0, OPEN]), "b_hh": np.zeros(4)}


def tt(z):
    """What such a cell of f = 0 puts out."""
    return math.tanh(math.tanh(z))


# --- Eq. 1-3


def test_lstm_step_of_zero_weights_halves_the_memory():
    # z = 0: i = f = o = 1/2, g = 0, so c' = c/2 and h' = tanh(c/2)/2
    h, c = ref.lstm_step(
        [7.0], [3.0, 5.0], [2.0, -4.0], np.zeros((8, 1)), np.zeros((8, 2)), np.zeros(8), np.zeros(8)
    )
    assert c == pytest.approx([1.0, -2.0], **TIGHT)
    assert h == pytest.approx([math.tanh(1.0) / 2, -math.tanh(2.0) / 2], **TIGHT)


def test_lstm_step_gate_order_is_input_forget_cell_output():
    # Each gate its own value, sigmoid(log(p / (1 - p))) = p: i = 0.2, f = 0.5, g = tanh(1), o = 0.8.
    # x = 2 and h = 3 reach every gate only through weights chosen to give those logits in two halves.
    z = np.array([math.log(0.25), 0.0, 1.0, math.log(4.0)])
    W_ih, W_hh = (z / 4 / 2)[:, None], (z / 4 / 3)[:, None]
    h, c = ref.lstm_step([2.0], [3.0], [10.0], W_ih, W_hh, z / 4, z / 4)
    expected_c = 0.5 * 10.0 + 0.2 * math.tanh(1.0)
    assert c == pytest.approx([expected_c], **TIGHT)
    assert h == pytest.approx([0.8 * math.tanh(expected_c)], **TIGHT)


# --- Eq. 4-6, 10


def test_softmax_by_hand():
    # exp(ln 1), exp(ln 2), exp(ln 5) = 1, 2, 5 over 8; a common shift changes nothing, also a huge one
    z = np.log([1.0, 2.0, 5.0])
    assert ref.softmax(z) == pytest.approx([0.125, 0.25, 0.625], **TIGHT)
    assert ref.softmax(z + 5000.0) == pytest.approx([0.125, 0.25, 0.625], rel=1e-9)


def test_attention_scores_by_hand():
    # Two rows of attention, D = d = 1, C = (1, -1), h = 2.
    # row 0: tanh(0.5*2 + 1*C + 0) = tanh(2), tanh(0)
    # row 1: tanh(0*2 + 3*C + 1) = tanh(4), tanh(-2); v = (1, 10)
    common = ([[1.0], [-1.0]], [2.0], [1.0, 10.0], [[0.5], [0.0]], [[1.0], [3.0]], [0.0, 1.0])
    by_hand = [math.tanh(2) + 10 * math.tanh(4), 10 * math.tanh(-2)]
    assert ref.attention_scores(*common) == pytest.approx(by_hand, **TIGHT)
    # Eq. 10: A_H = (1, 0), H = -1 takes 1 from row 0: tanh(1), tanh(-1)
    with_H = [math.tanh(1) + 10 * math.tanh(4), math.tanh(-1) + 10 * math.tanh(-2)]
    assert ref.attention_scores(*common, [[1.0], [0.0]], [-1.0]) == pytest.approx(with_H, **TIGHT)


def test_attend_by_hand():
    # (0.75 + 0.5) (1, 2) + (0.25 + 0.5) (4, 0) = (1.25 + 3, 2.5)
    assert ref.attend([[1.0, 2.0], [4.0, 0.0]], [0.75, 0.25], 0.5) == pytest.approx([4.25, 2.5], **TIGHT)


# --- Eq. 7


def test_kp_loss_by_hand():
    # frame 0: 0.5^2 + 0.5^2 = 0.5; frame 1 has no keypoints; frame 2: 0.1^2 + 0.1^2 = 0.02; mean 0.26
    M = [[1.0, 0.0], [NAN, NAN], [0.4, 0.6]]
    alpha = [[0.5, 0.5], [0.9, 0.1], [0.5, 0.5]]
    assert ref.kp_loss(M, alpha, [True, False, True]) == pytest.approx(0.26, **TIGHT)
    assert ref.kp_loss(M, alpha, [False, False, False]) == 0.0


# --- Eq. 8


def test_gaussian_peaks_at_its_cell_with_its_confidence():
    # x = 10.5/64 is the centre of column 10, y = 20.5/64 of row 20; 5 cells off is one sigma: exp(-1/2)
    image = ref.gaussian_sum([[10.5 / 64, 20.5 / 64]], [0.8])
    assert np.unravel_index(image.argmax(), image.shape) == (20, 10)
    assert image[20, 10] == pytest.approx(0.8, **TIGHT)
    assert image[20, 15] == pytest.approx(0.8 * math.exp(-0.5), **TIGHT)
    assert image[25, 15] == pytest.approx(0.8 * math.exp(-1.0), **TIGHT)


def test_gaussians_are_summed_and_lips_halved():
    # Seventy points on one cell centre, confidence 1: 50 count whole, the 20 lip points (48-67) half = 60
    assert ref.gaussian_sum(np.full((70, 2), 8.5 / 64), np.ones(70))[8, 8] == pytest.approx(60.0, **TIGHT)
    for j, weight in ((47, 1.0), (48, 0.5), (67, 0.5), (68, 1.0)):
        confidence = np.zeros(70)
        confidence[j] = 1.0
        assert ref.gaussian_sum(np.full((70, 2), 8.5 / 64), confidence)[8, 8] == pytest.approx(weight)


def test_adaptive_average_pool_bins_overlap_where_they_must():
    # 5 to 2: floor(0) .. ceil(2.5) = 0 1 2, floor(2.5) .. 5 = 2 3 4; 64 to 7 begins 0-9, 9-18, ends 54-63
    row = np.array([[0.0, 1.0, 2.0, 30.0, 40.0]])
    assert ref.adaptive_average_pool(row, (1, 2)) == pytest.approx(np.array([[1.0, 24.0]]), **TIGHT)
    pooled = ref.adaptive_average_pool(np.arange(64.0)[None], (1, 7))[0]
    assert pooled[[0, 1, 6]] == pytest.approx([4.5, 13.5, 58.5], **TIGHT)


def test_heatmap_by_hand():
    # size 2, grid 2 x 2 (no pooling), a point on cell (row 0, column 1), confidence 2, 2 sigma^2 = 1 / ln 2:
    # values 2 * 2^-(distance^2) = [[1, 2], [1/2, 1]]; temperature 1 / ln 4 makes exp(z / temperature) = 4^z
    image = ref.heatmap(
        [[0.75, 0.25]],
        [2.0],
        grid=(2, 2),
        size=2,
        sigma=math.sqrt(0.5 / math.log(2)),
        temperature=1 / math.log(4),
    )
    assert image == pytest.approx(np.array([[4.0, 16.0], [2.0, 4.0]]) / 26.0, **TIGHT)


def test_heatmap_without_confidence_is_uniform_and_reads_no_coordinate():
    assert ref.heatmap([[NAN, NAN]], [0.0]) == pytest.approx(np.full((7, 7), 1 / 49), **TIGHT)


# --- HS-LSTM


def test_hs_lstm_single_tier_is_the_plain_lstm_with_eq_5():
    # d = D = 1, K = 2. v = 1, A_c = 1, A_h = 1, b = 0, w_res = 0; the cell puts out tt(x + h).
    # t = 0: h = 0, C = (0, 1): scores (0, tanh 1), x = alpha(1) * 1
    # t = 1: C = (2, 0): scores (tanh(h + 2), tanh(h)), x = 2 alpha(0)
    params = {
        "tiers": [gated_cell([1.0], recurrent=1.0)],
        "v": [1.0],
        "A_h": [[1.0]],
        "A_c": [[1.0]],
        "b": [0.0],
        "w_res": 0.0,
    }
    a0 = math.exp(math.tanh(1)) / (1 + math.exp(math.tanh(1)))
    h0 = tt(a0)
    p, q = math.exp(math.tanh(h0 + 2)), math.exp(math.tanh(h0))
    h1 = tt(2 * p / (p + q) + h0)
    hidden, alpha = ref.hs_lstm([[[0.0], [1.0]], [[2.0], [0.0]]], (1,), params)
    assert hidden[:, 0] == pytest.approx([h0, h1], **TIGHT)
    assert alpha == pytest.approx(np.array([[1 - a0, a0], [p / (p + q), q / (p + q)]]), **TIGHT)


def test_hs_lstm_three_tiers_by_hand():
    # K = 2, D = d = 1, T = 4, f = 0 and no recurrence, so each node stands alone. Cell means m = .1 to .4.
    # Tier 0 (4): weights 1, 2, 3, 4 in order of time: .1 + .4 + .9 + 1.6 = 3
    # Tier 1 (2): weights 1, -1 on its frames, 1 on tier 0's node
    # Tier 2 (1): weight 1 on x_t, 1 on the SUM of both earlier nodes; v = 0, so alpha = 1/2; with w_res = 1/2
    # x_t is the sum of the two cells, m + 1 and m - 1, so 2 m; the earlier tiers read their mean, m.
    mean = np.array([0.1, 0.2, 0.3, 0.4])
    C = np.stack([mean + 1, mean - 1], axis=1)[:, :, None]
    params = {
        "tiers": [gated_cell([1.0, 2.0, 3.0, 4.0]), gated_cell([1.0, -1.0, 1.0]), gated_cell([1.0, 1.0])],
        "v": [0.0],
        "A_h": [[1.0]],
        "A_H": [[1.0]],
        "A_c": [[1.0]],
        "b": [0.0],
        "w_res": 0.5,
    }
    H0 = tt(3.0)
    H1 = [tt(0.1 - 0.2 + H0), tt(0.3 - 0.4 + H0)]
    expected = [tt(2 * mean[t] + H0 + H1[t // 2]) for t in range(4)]
    hidden, alpha = ref.hs_lstm(C, (4, 2, 1), params)
    assert hidden[:, 0] == pytest.approx(expected, **TIGHT)
    assert alpha == pytest.approx(np.full((4, 2), 0.5), **TIGHT)
    # without attention x_t is the mean itself, and no attention weight is needed
    plain, no_alpha = ref.hs_lstm(C, (4, 2, 1), {"tiers": params["tiers"]}, use_attention=False)
    assert plain[:, 0] == pytest.approx([tt(mean[t] + H0 + H1[t // 2]) for t in range(4)], **TIGHT)
    assert no_alpha is None


def test_hs_lstm_state_runs_between_segments_and_attention_reads_the_covering_node():
    # T = 2 of size-1 segments in tier 0 with f = 1: c adds up. m = .3, .5:
    # H = tanh(tanh .3), tanh(tanh .3 + tanh .5)
    # Last tier: v = 1, A_H = 1, A_c = 1, A_h = 0, so scores are tanh(H_t + C_t(k)).
    C = np.array([[[0.6], [0.0]], [[0.0], [1.0]]])
    params = {
        "tiers": [gated_cell([1.0], forget=OPEN), gated_cell([1.0, 1.0])],
        "v": [1.0],
        "A_h": [[0.0]],
        "A_H": [[1.0]],
        "A_c": [[1.0]],
        "b": [0.0],
        "w_res": 0.0,
    }
    H = [math.tanh(math.tanh(0.3)), math.tanh(math.tanh(0.3) + math.tanh(0.5))]
    a0 = math.exp(math.tanh(H[0] + 0.6)) / (math.exp(math.tanh(H[0] + 0.6)) + math.exp(math.tanh(H[0])))
    a1 = math.exp(math.tanh(H[1] + 1.0)) / (math.exp(math.tanh(H[1] + 1.0)) + math.exp(math.tanh(H[1])))
    hidden, alpha = ref.hs_lstm(C, (1, 1), params)
    assert alpha == pytest.approx(np.array([[a0, 1 - a0], [1 - a1, a1]]), **TIGHT)
    assert hidden[:, 0] == pytest.approx([tt(0.6 * a0 + H[0]), tt(a1 + H[1])], **TIGHT)


@pytest.mark.parametrize("tiers", [(3, 1), (4, 2), (3, 2, 1)])
def test_hs_lstm_refuses_tiers_that_do_not_fit(tiers):
    cells = [gated_cell(np.ones(size + (place > 0))) for place, size in enumerate(tiers)]
    frames = 6 if tiers == (3, 2, 1) else 4  # frames 2-3 straddle the segments of three
    with pytest.raises(ValueError, match=r"tiers must divide|no single segment"):
        ref.hs_lstm(np.ones((frames, 1, 1)), tiers, {"tiers": cells}, use_attention=False)


# --- Eq. 9, 11, 12 and the losses they join


def test_nmse_of_the_mean_over_its_own_variance_is_one():
    target = np.array([[1.0, 0.2, NAN], [3.0, 0.4, NAN], [8.0, NAN, NAN]])
    mask = ~np.isnan(target)
    # emotion 0: mean 4, squares 9 + 1 + 16, variance 26/3; emotion 1: mean .3, variance .01; none in 2
    prediction = np.tile([4.0, 0.3, 0.0], (3, 1))
    assert ref.nmse(prediction, target, mask, [26 / 3, 0.01, NAN]) == pytest.approx(1.0, **TIGHT)
    # twice the error on emotion 0 alone: (4 + 1) / 2
    prediction[:, 0] = target[:, 0] + 2 * (4.0 - target[:, 0])
    assert ref.nmse(prediction, target, mask, [26 / 3, 0.01, NAN]) == pytest.approx(2.5, **TIGHT)
    assert ref.nmse(prediction, target, np.zeros((3, 3), bool), [1.0, 1.0, 1.0]) == 0.0


def test_cross_entropy_by_hand():
    # uniform logits: ln 4; logits ln(1, 2, 5, 8) with label 3: -ln(8/16) = ln 2; the masked row is left out
    logits = [[0.0] * 4, [NAN] * 4, np.log([1.0, 2.0, 5.0, 8.0])]
    expected = (math.log(4) + math.log(2)) / 2
    assert ref.cross_entropy(logits, [2, -1, 3]) == pytest.approx(expected, **TIGHT)
    assert ref.cross_entropy(logits, [-1, -1, -1]) == 0.0


@pytest.mark.parametrize(
    ("prediction", "target", "mask", "expected"),
    [
        # target order: emotion 1 (.9), 0 (.1), 2 (-.5); pairs 1>0, 1>2, 0>2
        ([0.0, 1.0, -1.0], [0.1, 0.9, -0.5], [True, True, True], 0.0),
        ([-1.0, 1.0, 0.0], [0.1, 0.9, -0.5], [True, True, True], 1 / 3),  # only 0>2 is wrong
        ([0.0, -1.0, 1.0], [0.1, 0.9, -0.5], [True, True, True], 1.0),
        ([0.0, 0.0, 0.0], [0.1, 0.9, -0.5], [True, True, True], 0.0),  # a predicted tie is not wrong
        ([-1.0, 1.0, 0.0], [0.1, 0.9, 0.1], [True, True, True], 0.0),  # tied targets: 0 against 2 left out
        ([-1.0, 1.0, 0.0], [0.1, NAN, -0.5], [True, False, True], 1.0),  # one pair left, and it is wrong
        ([-1.0, 1.0, 0.0], [0.1, NAN, NAN], [True, False, False], 0.0),  # no pair
    ],
)
def test_rank_count_on_three_emotions(prediction, target, mask, expected):
    assert ref.rank_count(prediction, target, mask) == pytest.approx(expected, **TIGHT)


def test_rank_surrogate_by_hand():
    # pairs 1>0, 1>2, 0>2 with differences ln 3, 0, -ln 3: log(1 + 1/3), log 2, log(1 + 3); product 32/3
    f = [-math.log(3), 0.0, 0.0]
    value = ref.rank_surrogate(f, [0.1, 0.9, -0.5], [True, True, True])
    assert value == pytest.approx(math.log(32 / 3) / 3, **TIGHT)
    # a margin of ln 2 doubles each exponential: (1 + 2/3)(1 + 2)(1 + 6) = 35
    value = ref.rank_surrogate(f, [0.1, 0.9, -0.5], [True, True, True], margin=math.log(2))
    assert value == pytest.approx(math.log(35) / 3, **TIGHT)
    assert ref.rank_surrogate(f, [0.1, 0.1, 0.1], [True, True, True]) == 0.0


def test_total_loss_by_hand():
    # Eq. 12: 1 + 0.5*2 + 0.25*4 = 3; Eq. 9: 3 + 10*0.7 = 10
    loss, main = ref.total_loss(L_RG=1.0, L_C=2.0, L_RANK=4.0, L_kp=0.7, w_C=0.5, w_RANK=0.25, w_kp=10.0)
    assert main == pytest.approx(3.0, **TIGHT)
    assert loss == pytest.approx(10.0, **TIGHT)


# --- quadrants and circumplex


def test_quadrants_part_the_seventeen_emotions():
    members = [name for quadrant in ref.QUADRANTS.values() for name in quadrant]
    assert sorted(members) == list(ref.EMOTIONS)
    assert len(ref.EMOTIONS) == 17


def test_category_is_the_quadrant_of_the_strongest_emotion():
    scores = np.full(17, -0.5)
    scores[ref.EMOTIONS.index("relief")] = -0.1  # the strongest, though below zero
    assert ref.category_from_scores(scores) == "pleasure-sleepiness"
    scores[ref.EMOTIONS.index("guilt")] = NAN
    scores[ref.EMOTIONS.index("fear")] = 0.3
    assert ref.category_from_scores(scores) == "misery-arousal"
    assert ref.category_from_scores([NAN] * 17) is None


def test_circumplex_mean_by_hand():
    # weights (1, 1/2, 0) after (score + 1)/2; the NaN is left out: ((1, 0) + (0, 1)/2) / 1.5 = (2/3, 1/3)
    coords = [[1.0, 0.0], [0.0, 1.0], [-9.0, -9.0], [5.0, 5.0]]
    assert ref.circumplex_mean([1.0, 0.0, -1.0, NAN], coords) == pytest.approx([2 / 3, 1 / 3], **TIGHT)
    assert ref.circumplex_mean([-1.0, -1.0, -1.0, -1.0], coords) == pytest.approx([0.0, 0.0])
