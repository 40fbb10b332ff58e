"""KAVAN's equations in plain float64 numpy, written from the paper alone.

Source: Yang, Zhang, Luo, "Human-Centered Emotion Recognition in Animated GIFs", ICME 2019; what it leaves
open follows section 5 of the design. One clip at a time, loops over cleverness.

T frames, K = H*W cells, D channels, d hidden size, E emotions, J keypoints, N clips. Masks are True where a
label exists; what lies under a False may be NaN and is never read.
"""

import math

import numpy as np

LIP_FIRST, LIP_LAST = 48, 67  # outer and inner lip contour in the 68/70-point order, both ends included

# Alphabetical, the order of the result table's columns.
EMOTIONS = (
    "amusement",
    "anger",
    "contempt",
    "contentment",
    "disgust",
    "embarrassment",
    "excitement",
    "fear",
    "guilt",
    "happiness",
    "pleasure",
    "pride",
    "relief",
    "sadness",
    "satisfaction",
    "shame",
    "surprise",
)

# Typed from the design's table, in the order of its class probabilities.
QUADRANTS = {
    "pleasure-arousal": ("amusement", "excitement", "happiness", "pride", "surprise"),
    "misery-arousal": ("anger", "contempt", "disgust", "fear"),
    "misery-sleepiness": ("embarrassment", "guilt", "sadness", "shame"),
    "pleasure-sleepiness": ("contentment", "pleasure", "relief", "satisfaction"),
}


def _float(a):
    return np.asarray(a, dtype=np.float64)


def sigmoid(z):
    """The logistic function, any shape."""
    return 0.5 * (1.0 + np.tanh(0.5 * _float(z)))


def lstm_step(x, h, c, W_ih, W_hh, b_ih, b_hh):
    """One LSTM step, Eq. 1-3.

    x [D], h [d], c [d], W_ih [4d, D], W_hh [4d, d], b_ih [4d], b_hh [4d] -> h [d], c [d].
    The rows of the weights are stacked input, forget, cell (g), output, as torch.nn.LSTMCell stores them;
    the paper prints i, f, o, g.
    """
    x, h, c = _float(x), _float(h), _float(c)
    d = len(h)
    z = _float(W_ih) @ x + _float(b_ih) + _float(W_hh) @ h + _float(b_hh)  # Eq. 1, [4d]
    i = sigmoid(z[0:d])
    f = sigmoid(z[d : 2 * d])
    g = np.tanh(z[2 * d : 3 * d])
    o = sigmoid(z[3 * d : 4 * d])
    c = f * c + i * g  # Eq. 2
    h = o * np.tanh(c)  # Eq. 3
    return h, c


def attention_scores(C, h, v, A_h, A_c, b, A_H=None, H_sum=None):
    """Attention before the softmax: Eq. 5, or Eq. 10 when A_H and H_sum are given.

    C [K, D], h [d] (the last tier's previous state), v [32], A_h [32, d], A_c [32, D], b [32] (inside the
    tanh), A_H [32, d], H_sum [d] (sum over the earlier tiers of H_l^i) -> [K].
    """
    if (A_H is None) != (H_sum is None):
        raise ValueError("A_H and H_sum come together (Eq. 10) or not at all (Eq. 5)")
    C, v = _float(C), _float(v)
    scores = np.zeros(len(C))
    for k in range(len(C)):
        inside = _float(A_h) @ _float(h) + _float(A_c) @ C[k] + _float(b)  # [32]
        if A_H is not None:
            inside = inside + _float(A_H) @ _float(H_sum)
        scores[k] = v @ np.tanh(inside)
    return scores


def softmax(z):
    """Eq. 6 over the last axis of z [K] (shifted by the maximum, which changes nothing but the range)."""
    z = _float(z)
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def attend(C, alpha, w_res):
    """Eq. 4: sum over cells of (alpha(k) + w_res) C(k). C [K, D], alpha [K], w_res scalar -> [D]."""
    C = _float(C)
    x = np.zeros(C.shape[1])
    for k in range(len(C)):
        x += (alpha[k] + w_res) * C[k]
    return x


def kp_loss(M, alpha, mask):
    """Eq. 7, summed over cells and averaged over supervised frames (the paper sums over frames).

    M [T, K], alpha [T, K], mask [T] bool (True: the frame has keypoints) -> scalar, 0 without any such frame.
    """
    M, alpha = _float(M), _float(alpha)
    total, frames = 0.0, 0
    for t in range(len(M)):
        if not mask[t]:
            continue
        frames += 1
        for k in range(M.shape[1]):
            total += (M[t, k] - alpha[t, k]) ** 2
    return total / frames if frames else 0.0


def gaussian_sum(points, confidence, size=64, sigma=5.0, lip_weight=0.5):
    """Eq. 8 before pooling and softmax: the weighted sum of Gaussians of peak 1.

    points [J, 2] (x, y) in 0-1 of the frame, confidence [J] -> [size, size], indexed [row (y), column (x)].
    Convention of pixel centres: cell n spans [n, n + 1] / size, its centre is (n + 0.5) / size, so a point at
    x lies at x * size - 0.5 in cell-index coordinates. sigma is in cells. A point of confidence 0 is skipped,
    its coordinates unread.
    """
    out = np.zeros((size, size))
    for j in range(len(points)):
        weight = float(confidence[j])
        if weight == 0.0:
            continue
        if LIP_FIRST <= j <= LIP_LAST:
            weight *= lip_weight
        cx = float(points[j][0]) * size - 0.5
        cy = float(points[j][1]) * size - 0.5
        for row in range(size):
            for column in range(size):
                squared = (column - cx) ** 2 + (row - cy) ** 2
                out[row, column] += weight * math.exp(-squared / (2.0 * sigma**2))
    return out


def adaptive_average_pool(image, grid):
    """torch's adaptive pooling: output i averages inputs floor(i n / m) up to (not with) ceil((i + 1) n / m).

    image [n_rows, n_columns], grid (m_rows, m_columns) -> [m_rows, m_columns]. Neighbouring bins share a cell
    where m does not divide n.
    """
    image = _float(image)
    out = np.zeros(grid)
    for r in range(grid[0]):
        top = (r * image.shape[0]) // grid[0]
        bottom = -((-(r + 1) * image.shape[0]) // grid[0])
        for q in range(grid[1]):
            left = (q * image.shape[1]) // grid[1]
            right = -((-(q + 1) * image.shape[1]) // grid[1])
            out[r, q] = image[top:bottom, left:right].mean()
    return out


def heatmap(points, confidence, grid=(7, 7), size=64, sigma=5.0, lip_weight=0.5, temperature=1.0):
    """Eq. 8 whole: Gaussians of peak 1, summed, average-pooled to the grid, softmax over all cells.

    points [J, 2] (x, y) in 0-1 of the frame, confidence [J] -> [grid rows, grid columns], sums to 1.
    A point at x lies at x * size - 0.5 in cell-index coordinates. softmax(z / temperature).
    """
    pooled = adaptive_average_pool(gaussian_sum(points, confidence, size, sigma, lip_weight), grid)
    return softmax(pooled.reshape(-1) / temperature).reshape(grid)


def _sum_of_covering(frame, last_frame, outputs, sizes, d):
    """Sum over the earlier tiers of H_l^i, i the node of tier l whose segment holds frame .. last_frame."""
    total = np.zeros(d)
    for nodes, size in zip(outputs, sizes, strict=True):
        node = frame // size
        if last_frame // size != node:
            raise ValueError(f"no single segment of {size} frames covers frames {frame} to {last_frame}")
        total = total + nodes[node]
    return total


def hs_lstm(C, tiers, params, use_attention=True):
    """The whole HS-LSTM (Sec. 3.2, Fig. 3), attention in the last tier only: Eq. 1-6 and 10.

    C [T, K, D]; tiers: segment sizes in frames, each a divisor of T and of the size before it, the last 1.
    -> hidden states of the last tier [T, d], alpha [T, K] (None with use_attention=False, where x_t is the
    mean over the cells).

    params:
      "tiers": a list of dicts, one a tier: W_ih [4d, in], W_hh [4d, d], b_ih [4d], b_hh [4d]. `in` is size*D
          in the first tier, size*D + d in later ones, D + d in the last (D if it is alone). Columns: the
          segment's frames in order of time, D each, then the d of the earlier tiers' sum.
      "v" [32], "A_h" [32, d], "A_H" [32, d] (absent for a single tier), "A_c" [32, D], "b" [32], "w_res" [].
          None of these is read with use_attention=False.

    A node is one LSTM step; in every tier the state (h, c) runs from node to node and starts at zero. H_l^i
    is the hidden state h after node i of tier l.
    """
    C = _float(C)
    T, K, _ = C.shape
    if tiers[-1] != 1 or any(T % size for size in tiers):
        raise ValueError(f"tiers must divide T={T} and end in 1, got {tiers}")
    pooled = C.mean(axis=1)  # [T, D], the original features, average-pooled
    outputs = []  # per earlier tier: its nodes' H_l^i

    for size, cell in zip(tiers[:-1], params["tiers"][:-1], strict=True):
        d = np.asarray(cell["W_hh"]).shape[1]
        h, c = np.zeros(d), np.zeros(d)
        nodes = []
        for start in range(0, T, size):
            x = pooled[start : start + size].reshape(-1)  # [size*D], frame after frame
            if outputs:
                covering = _sum_of_covering(start, start + size - 1, outputs, tiers[: len(outputs)], d)
                x = np.concatenate([x, covering])
            h, c = lstm_step(x, h, c, **cell)
            nodes.append(h)
        outputs.append(nodes)

    cell = params["tiers"][-1]
    d = np.asarray(cell["W_hh"]).shape[1]
    h, c = np.zeros(d), np.zeros(d)
    hidden, alphas = np.zeros((T, d)), np.zeros((T, K))
    for t in range(T):
        H_sum = _sum_of_covering(t, t, outputs, tiers[:-1], d) if outputs else None
        if use_attention:
            A_H = params["A_H"] if outputs else None
            scores = attention_scores(
                C[t], h, params["v"], params["A_h"], params["A_c"], params["b"], A_H, H_sum
            )  # Eq. 10 (Eq. 5 for a single tier)
            alphas[t] = softmax(scores)  # Eq. 6
            x = attend(C[t], alphas[t], params["w_res"])  # Eq. 4
        else:
            x = pooled[t]
        if H_sum is not None:
            x = np.concatenate([x, H_sum])
        h, c = lstm_step(x, h, c, **cell)  # Eq. 1-3
        hidden[t] = h
    return hidden, (alphas if use_attention else None)


def nmse(prediction, target, mask, variance):
    """L_RG (Sec. 3.3, unnumbered): per emotion MSE / variance, averaged over emotions.

    prediction, target [N, E], mask [N, E] bool, variance [E] (of that emotion's targets in the training split
    for the loss, in the test split for the report) -> scalar. An emotion without an unmasked row is left out
    of the average; 0 where none is left.
    """
    prediction, target = _float(prediction), _float(target)
    per_emotion = []
    for e in range(target.shape[1]):
        squares = [
            (prediction[n, e] - target[n, e]) ** 2 for n in range(target.shape[0]) if mask[n][e]
        ]  # the rows labelled with this emotion
        if not squares:
            continue
        if not variance[e] > 0:
            raise ValueError(f"variance of emotion {e} must be above 0, got {variance[e]}")
        per_emotion.append(sum(squares) / len(squares) / float(variance[e]))
    return sum(per_emotion) / len(per_emotion) if per_emotion else 0.0


def cross_entropy(logits, label):
    """L_C (Sec. 3.3, unnumbered), averaged over labelled rows.

    logits [N, 4], label [N] int in 0-3, -1 where masked -> scalar, 0 without any labelled row.
    """
    logits = _float(logits)
    losses = []
    for n in range(len(logits)):
        if label[n] == -1:
            continue
        log_sum = np.logaddexp.reduce(logits[n])
        losses.append(log_sum - logits[n, label[n]])
    return float(sum(losses) / len(losses)) if losses else 0.0


def rank_pairs(target, mask):
    """The pairs of Eq. 11: target [E], mask [E] -> pairs (k, l), target[k] > target[l], unmasked."""
    target = _float(target)
    labelled = [e for e in range(len(target)) if mask[e]]
    strongest_first = sorted(labelled, key=lambda e: -target[e])
    pairs = []
    for place, k in enumerate(strongest_first):
        for other in strongest_first[place + 1 :]:
            if target[k] > target[other]:  # equal targets have no order to violate
                pairs.append((k, other))
    return pairs


def rank_count(prediction, target, mask):
    """Eq. 11 over the number of pairs: the share of wrongly ordered pairs of one clip.

    prediction, target [E], mask [E] bool -> scalar in 0-1, 0 without any pair. k < l counts places after
    sorting from the strongest target to the weakest. A predicted tie is not counted (the paper's f_k < f_l is
    strict).
    """
    prediction = _float(prediction)
    pairs = rank_pairs(target, mask)
    wrong = sum(1 for k, other in pairs if prediction[k] < prediction[other])
    return wrong / len(pairs) if pairs else 0.0


def rank_surrogate(prediction, target, mask, margin=0.0):
    """What stands in for Eq. 11 in training: mean over its pairs of log(1 + exp(margin - (f_k - f_l))).

    prediction, target [E], mask [E] bool; k has the larger target -> scalar, 0 without any pair.
    """
    prediction = _float(prediction)
    pairs = rank_pairs(target, mask)
    losses = [np.logaddexp(0.0, margin - (prediction[k] - prediction[other])) for k, other in pairs]
    return float(sum(losses) / len(losses)) if losses else 0.0


def total_loss(L_RG, L_C, L_RANK, L_kp, w_C, w_RANK, w_kp):
    """Eq. 12, then Eq. 9; all scalars -> L, L_E."""
    L_E = L_RG + w_C * L_C + w_RANK * L_RANK  # Eq. 12
    return L_E + w_kp * L_kp, L_E  # Eq. 9


def category_from_scores(scores, names=EMOTIONS):
    """The quadrant of the strongest emotion (Sec. 4.2, Fig. 4; the table is the design's).

    scores [E] in the order of names, NaN where there is none -> a key of QUADRANTS, None without any score.
    The first name wins a tie.
    """
    strongest = None
    for e in range(len(names)):
        if math.isnan(scores[e]):
            continue
        if strongest is None or scores[e] > scores[strongest]:
            strongest = e
    if strongest is None:
        return None
    return next(quadrant for quadrant, members in QUADRANTS.items() if names[strongest] in members)


def circumplex_mean(scores, coords):
    """Valence and arousal: the mean of the emotions' coordinates weighted by (score + 1) / 2 (design 3.3).

    scores [E] in [-1, 1], NaN (left out) where there is none; coords [E, 2] (valence, arousal) -> [2].
    Weights that sum to 0 give (0, 0). Scores outside [-1, 1] are refused: the design does not say how they
    weigh.
    """
    coords = _float(coords)
    total, weights = np.zeros(2), 0.0
    for e in range(len(scores)):
        if math.isnan(scores[e]):
            continue
        if not -1.0 <= scores[e] <= 1.0:
            raise ValueError(f"score {e} must lie in [-1, 1], got {scores[e]}")
        weight = (scores[e] + 1.0) / 2.0
        total += weight * coords[e]
        weights += weight
    return total / weights if weights > 0 else np.zeros(2)
