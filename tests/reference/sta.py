"""STA's equations in plain float64 numpy, written from the paper alone.

Source: Lee, Kim, Kim, Sohn, "Spatiotemporal attention based deep neural networks for emotion recognition",
ICASSP 2018; what it leaves open follows section 7 of the design. One clip at a time, loops over cleverness.

T frames, H x W cells, C channels. Convolutions are what networks call so (correlations), padded with zeros to
keep the size.
"""

import numpy as np


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-np.asarray(z, float)))


def relu(z):
    return np.maximum(z, 0.0)


def conv2d(x, W, b=None):
    """x [C, H, W], W [O, C, k, k] with k odd, b [O] -> [O, H, W]."""
    out, channels, k, _ = W.shape
    _, height, width = x.shape
    pad = k // 2
    padded = np.zeros((channels, height + 2 * pad, width + 2 * pad))
    padded[:, pad : pad + height, pad : pad + width] = x
    y = np.zeros((out, height, width))
    for row in range(height):
        for column in range(width):
            patch = padded[:, row : row + k, column : column + k]
            for o in range(out):
                y[o, row, column] = (W[o] * patch).sum()
    return y if b is None else y + np.asarray(b)[:, None, None]


def conv3d(x, W, b):
    """x [C, T, H, W], W [O, C, k, k, k] with k odd, b [O] -> [O, T, H, W]: a sum of plane convolutions."""
    _, frames, _, _ = x.shape
    k = W.shape[2]
    y = np.zeros((W.shape[0], *x.shape[1:]))
    for t in range(frames):
        for j in range(k):
            source = t + j - k // 2
            if 0 <= source < frames:
                y[:, t] += conv2d(x[:, source], W[:, :, j])
    return y + np.asarray(b)[:, None, None, None]


def deconv2d(x, W, b):
    """Deconvolution by 2: x [C, H, W], W [C, O, 4, 4], b [O] -> [O, 2 H, 2 W].

    Each input cell paints its 4 x 4 stamp, two cells from the next one's; a border of one cell is cut off.
    """
    channels, height, width = x.shape
    y = np.zeros((W.shape[1], 2 * height + 2, 2 * width + 2))
    for c in range(channels):
        for row in range(height):
            for column in range(width):
                y[:, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4] += x[c, row, column] * W[c]
    return y[:, 1:-1, 1:-1] + np.asarray(b)[:, None, None]


def max_pool(x, sizes):
    """Largest of each block over the last len(sizes) axes; all sizes divide."""
    start = x.ndim - len(sizes)
    shape = list(x.shape[:start])
    for length, size in zip(x.shape[start:], sizes, strict=True):
        shape += [length // size, size]
    blocks = x.reshape(shape)
    return blocks.max(axis=tuple(range(start + 1, blocks.ndim, 2)))


def conv_lstm_step(X, H, c, p, peepholes):
    """One step of Eq. 1 -> (h_t, c_t).

    X [C, H, W], H and c [D, H, W]. p has W_xi, W_xf, W_xc, W_xo [D, C, 3, 3], W_hi ... [D, D, 3, 3], b_i ...
    [D]
    and, by ``peepholes``: "hadamard" W_ci, W_cf, W_co [D, H, W]; "convolution" W_ci, W_cf [D, D, 3, 3] (the
    paper's *), W_co [D, H, W]; "none" nothing.
    """

    def peep(name, state):
        if peepholes == "none":
            return 0.0
        if peepholes == "convolution" and name != "co":
            return conv2d(state, p[f"W_{name}"])
        return p[f"W_{name}"] * state

    i = sigmoid(conv2d(X, p["W_xi"]) + conv2d(H, p["W_hi"], p["b_i"]) + peep("ci", c))
    f = sigmoid(conv2d(X, p["W_xf"]) + conv2d(H, p["W_hf"], p["b_f"]) + peep("cf", c))
    c = f * c + i * np.tanh(conv2d(X, p["W_xc"]) + conv2d(H, p["W_hc"], p["b_c"]))
    o = sigmoid(conv2d(X, p["W_xo"]) + conv2d(H, p["W_ho"], p["b_o"]) + peep("co", c))
    return o * np.tanh(c), c


def conv_lstm(X, p, peepholes):
    """X [T, C, H, W] -> h [T, D, H, W], from h_0 = c_0 = 0."""
    hidden = len(p["b_i"])
    h = c = np.zeros((hidden, *X.shape[2:]))
    states = []
    for x in X:
        h, c = conv_lstm_step(x, h, c, p, peepholes)
        states.append(h)
    return np.stack(states)


def spatial_softmax(H, w):
    """Eq. 2 of one frame: state H [C, H, W], w [C] -> A [H, W]."""
    score = np.einsum("c,chw->hw", w, H)
    e = np.exp(score)
    return e / e.sum()


def attention(frames, p, peepholes, state="previous"):
    """Sec. 2.2: frames [T, 3, H, W] -> A [T, H, W].

    p: ``encoder`` and ``decoder``, lists of stages, and ``w`` [C]. An encoder stage has W, b; a decoder stage
    W, b of its deconvolution and ``lstm``, the parameters of Eq. 1.
    """
    X = []
    for frame in frames:
        x = frame
        for stage in p["encoder"]:
            x = max_pool(relu(conv2d(x, stage["W"], stage["b"])), (2, 2))
        X.append(x)
    states = np.stack(X)
    for stage in p["decoder"]:
        larger = np.stack([deconv2d(x, stage["W"], stage["b"]) for x in states])
        states = np.tanh(conv_lstm(larger, stage["lstm"], peepholes))
    maps = []
    for t in range(len(frames)):
        before = states[t - 1] if t > 0 else np.zeros_like(states[0])  # H_0 = 0
        seen = states[t] if state == "current" else before
        maps.append(spatial_softmax(seen, p["w"]))
    return np.stack(maps)


def emotion(frames, A, p, head):
    """Sec. 2.3: frames [T, 3, H, W], A [T, H, W] or None -> valence [T] ("frame") or [] ("clip").

    p: ``convolutions``, four of W, b; ``first`` and ``last`` fully-connected layers W, b. No dropout.
    """
    x = np.moveaxis(frames, 0, 1)
    for place, stage in enumerate(p["convolutions"]):
        x = relu(conv3d(x, stage["W"], stage["b"]))
        if place == 0 and A is not None:
            x = A * A[0].size * x  # Eq. 3, times H W
        if place < len(p["convolutions"]) - 1:
            x = max_pool(x, (2, 2, 2) if head == "clip" else (1, 2, 2))

    def read(features):
        hidden = relu(p["first"]["W"] @ features + p["first"]["b"])
        return (p["last"]["W"] @ hidden + p["last"]["b"])[0]

    if head == "clip":
        return read(x.ravel())
    return np.array([read(x[:, t].ravel()) for t in range(x.shape[1])])


def ccc(prediction, target):
    """Eq. 4 from its words: correlation, deviations and means one by one; population moments."""
    x, y = np.asarray(prediction, float), np.asarray(target, float)
    n = len(x)
    mx, my = sum(x) / n, sum(y) / n
    sx = (sum((a - mx) ** 2 for a in x) / n) ** 0.5
    sy = (sum((b - my) ** 2 for b in y) / n) ** 0.5
    if sx == 0 or sy == 0:
        return 0.0
    rho = sum((a - mx) / sx * (b - my) / sy for a, b in zip(x, y, strict=True)) / n
    return 2 * rho * sx * sy / (sx**2 + sy**2 + (mx - my) ** 2)
