"""CACA-RNN's equations and networks in plain float64 numpy, written from the paper alone.

Source: Sun, Hsu, Yang, Chien, "Context-aware Cascade Attention-based RNN for Video Emotion Recognition", ACII
Asia 2018; what it leaves open follows section 6 of the design. One clip at a time, without padding.

T, S moments, F features, d hidden size, C classes. A layer of an LSTM is a dict of its four gates, see
`lstm_moment`; a fully connected layer is a pair (W [out, in], b [out]).
"""

import numpy as np

GATES = ("input", "forget", "candidate", "output")


def logistic(z):
    """1 / (1 + exp(-z)), without overflow."""
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, small) / (1.0 + small)


def split_gates(weight_ih, weight_hh, bias_ih, bias_hh):
    """torch's stacked weights (rows: input, forget, cell, output) -> a layer: gate -> (W_x, W_h, b)."""
    arrays = [np.asarray(a, dtype=np.float64) for a in (weight_ih, weight_hh, bias_ih + bias_hh)]
    d = arrays[1].shape[1]
    return {
        gate: tuple(array[place * d : (place + 1) * d] for array in arrays)
        for place, gate in enumerate(GATES)
    }


def lstm_moment(x, h, c, layer):
    """One moment of one layer (Hochreiter and Schmidhuber, with a forget gate).

    x [F], h [d], c [d]; layer: gate -> (W_x [d, F], W_h [d, d], b [d]) -> h [d], c [d].
    """
    z = {gate: W_x @ x + W_h @ h + b for gate, (W_x, W_h, b) in layer.items()}
    c = logistic(z["forget"]) * c + logistic(z["input"]) * np.tanh(z["candidate"])
    return logistic(z["output"]) * np.tanh(c), c


def read(X, layers):
    """X [T, F] through stacked layers, all from zero -> the top layer's h_1 ... h_T [T, d] and last c [d]."""
    sequence = X
    for layer in layers:
        d = len(layer["input"][2])
        h, c = np.zeros(d), np.zeros(d)
        outputs = []
        for x in sequence:
            h, c = lstm_moment(x, h, c, layer)
            outputs.append(h)
        sequence = np.array(outputs)
    return sequence, c


def alignment(h_d, h_e):
    """Eq. 2, score by the dot product: h_d [d], h_e [T, d] -> a [T], sums to 1."""
    scores = [float(np.dot(h_d, h)) for h in h_e]
    exps = [np.exp(score - max(scores)) for score in scores]
    return np.array(exps) / sum(exps)


def context_vector(a, h_e):
    """Eq. 3: a [T], h_e [T, d] -> c [d]."""
    total = np.zeros(h_e.shape[1])
    for weight, h in zip(a, h_e, strict=True):
        total = total + weight * h
    return total


def encode(X, layer):
    """A fully connected layer, then max(0, .), moment by moment; None leaves X as it is."""
    if layer is None:
        return np.asarray(X, dtype=np.float64)
    W, b = layer
    return np.array([np.maximum(W @ x + b, 0.0) for x in X])


def classify(h, layer):
    """Logits [C] of a state [d]."""
    W, b = layer
    return W @ h + b


def single(X, encoder, layers, classifier):
    """Fig. 3a: the output at the last moment."""
    outputs, _ = read(encode(X, encoder), layers)
    return classify(outputs[-1], classifier)


def parallel(face, context, encoders, layers, classifier):
    """Fig. 3b: encoders and layers are pairs, face then context; their last states are fused."""
    last = [
        read(encode(X, encoder), stack)[0][-1]
        for X, encoder, stack in zip((face, context), encoders, layers, strict=True)
    ]
    return classify(np.concatenate(last), classifier)


def concatenated(face, context, encoders, layers, classifier):
    """Fig. 3c: face and context of a moment joined, face first."""
    streams = encode(face, encoders[0]), encode(context, encoders[1])
    joined = [np.concatenate(pair) for pair in zip(*streams, strict=True)]
    outputs, _ = read(np.array(joined), layers)
    return classify(outputs[-1], classifier)


def cascade(first, second, encoders, first_layers, second_layers, classifier):
    """Sec. III-D, Fig. 2 and 3d: first [T, F], second [S, F] -> logits [C], attention [S, T].

    The second RNN starts, in each of its layers, with the last h and c of the first one's top layer. At
    moment i it attends, by its top layer's h_{i-1}, to the first one's top-layer h_1 ... h_T (Eq. 5), and
    reads [x_i ; c_i].
    """
    h_e, c_e = read(encode(first, encoders[0]), first_layers)
    states = [(h_e[-1], c_e) for _ in second_layers]
    attention = []
    for x in encode(second, encoders[1]):
        a = alignment(states[-1][0], h_e)
        attention.append(a)
        signal = np.concatenate([x, context_vector(a, h_e)])
        for place, layer in enumerate(second_layers):
            states[place] = lstm_moment(signal, *states[place], layer)
            signal = states[place][0]
    return classify(states[-1][0], classifier), np.array(attention)


def convolve(X, W, stride):
    """3D convolution, zeros around: X [T, I, h, w], W [O, I, 3, 3, 3], stride in space -> [T, O, h', w']."""
    T, inputs, height, width = X.shape
    padded = np.zeros((T + 2, inputs, height + 2, width + 2))
    padded[1:-1, :, 1:-1, 1:-1] = X
    rows, columns = range(0, height, stride), range(0, width, stride)
    out = np.zeros((T, len(W), len(rows), len(columns)))
    for t in range(T):
        for r, row in enumerate(rows):
            for q, column in enumerate(columns):
                patch = padded[t : t + 3, :, row : row + 3, column : column + 3]
                out[t, :, r, q] = np.einsum("tihw,oithw->o", patch, W)
    return out


def cnn_2d_3d(maps, blocks, classifier):
    """Fig. 4: maps [T, I, h, w]; blocks: (W, gain [O], shift [O], stride) each -> logits [C].

    After each convolution a layer norm over the channels of a place (epsilon 1e-5), then max(0, .); at the
    end the mean over time and space.
    """
    X = np.asarray(maps, dtype=np.float64)
    for W, gain, shift, stride in blocks:
        X = convolve(X, W, stride)
        centred = X - X.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
        X = np.maximum(scaled * gain[:, None, None] + shift[:, None, None], 0.0)
    return classify(X.mean(axis=(0, 2, 3)), classifier)
