"""The CACA-RNN references against values worked out by hand."""

import math

import numpy as np
import pytest

from reference import caca_rnn as ref

TIGHT = {"rel": 1e-12, "abs": 1e-12}
OPEN, SHUT = np.array([100.0]), np.array([-100.0])  # gate biases: the sigmoid is 1 or 0 to 1e-43


def gated(weights, forget=SHUT):
    """A layer of d = 1 with i = o = 1 and f = 0 (or 1): c' = f c + tanh(weights . x), h' = tanh(c')."""
    silent, still = np.zeros((1, len(weights))), np.zeros((1, 1))
    return {
        "input": (silent, still, OPEN),
        "forget": (silent, still, forget),
        "candidate": (np.array([weights], float), still, np.zeros(1)),
        "output": (silent, still, OPEN),
    }


PLAIN = (np.eye(1), np.zeros(1))


def test_gates_lie_as_torch_stacks_them():
    W_x, W_h = np.arange(8.0).reshape(8, 1), np.arange(16.0).reshape(8, 2)
    layer = ref.split_gates(W_x, W_h, np.arange(8.0), np.full(8, 10.0))
    assert [layer[gate][0].ravel().tolist() for gate in ref.GATES] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert layer["candidate"][1].tolist() == [[8, 9], [10, 11]]
    assert layer["output"][2].tolist() == [16, 17]


def test_moment():
    h, c = ref.lstm_moment(np.array([2.0]), np.zeros(1), np.array([0.5]), gated([1.0], forget=OPEN))
    assert c[0] == pytest.approx(0.5 + math.tanh(2), **TIGHT)
    assert h[0] == pytest.approx(math.tanh(0.5 + math.tanh(2)), **TIGHT)


def test_alignment_and_context_vector():
    h_e = np.array([[1.0, 0.0], [0.0, 1.0]])
    a = ref.alignment(np.array([math.log(3), 0.0]), h_e)  # scores log 3 and 0
    assert a.tolist() == pytest.approx([0.75, 0.25], **TIGHT)
    assert ref.context_vector(a, 4 * h_e).tolist() == pytest.approx([3, 1], **TIGHT)


def test_cascade_of_two_moments():
    # First: outputs tanh(tanh(1)), tanh(tanh(3)); encoders give max(0, x). Second reads only c_i.
    h1, h2 = math.tanh(math.tanh(1)), math.tanh(math.tanh(3))
    first, second = np.array([[1.0], [3.0]]), np.array([[5.0], [-7.0]])
    logits, attention = ref.cascade(
        first, second, (PLAIN, PLAIN), [gated([1.0])], [gated([0.0, 1.0])], (np.array([[2.0]]), np.ones(1))
    )
    h = h2  # the second starts with the first one's last h
    for i in range(2):
        weight = 1 / (1 + math.exp(h * (h1 - h2)))  # of the later moment
        assert attention[i].tolist() == pytest.approx([1 - weight, weight], **TIGHT)
        h = math.tanh(math.tanh((1 - weight) * h1 + weight * h2))
    assert logits[0] == pytest.approx(2 * h + 1, **TIGHT)


def test_cascade_starts_with_the_last_c_and_reads_what_it_sees():
    # The second keeps its c (f = 1) and adds tanh(max(0, x)) of what it sees; its c starts as tanh(3).
    second = np.array([[0.5], [-7.0]])
    logits, _ = ref.cascade(
        np.array([[1.0], [3.0]]), second, (None, PLAIN), [gated([1.0])], [gated([1.0, 0.0], OPEN)], PLAIN
    )
    assert logits[0] == pytest.approx(math.tanh(math.tanh(3) + math.tanh(0.5)), **TIGHT)


def test_single_parallel_and_concatenated():
    face, context = np.array([[9.0], [1.0]]), np.array([[9.0], [9.0], [2.0]])
    one, two = math.tanh(math.tanh(1)), math.tanh(math.tanh(2))
    layers = [gated([1.0])]
    assert ref.single(face, PLAIN, layers, PLAIN)[0] == pytest.approx(one, **TIGHT)
    joined = ref.parallel(face, context, (PLAIN, PLAIN), (layers, layers), (np.eye(2), np.zeros(2)))
    assert joined.tolist() == pytest.approx([one, two], **TIGHT)
    both = ref.concatenated(face, context[1:], (PLAIN, PLAIN), [gated([0.25, 0.5])], PLAIN)
    assert both[0] == pytest.approx(math.tanh(math.tanh(0.25 + 1)), **TIGHT)


def test_convolution_of_an_impulse():
    X = np.zeros((3, 1, 3, 3))
    X[1, 0, 1, 1] = 1
    W = np.arange(27.0).reshape(1, 1, 3, 3, 3)
    out = ref.convolve(X, W, 1)
    np.testing.assert_array_equal(out[:, 0], W[0, 0, ::-1, ::-1, ::-1])
    np.testing.assert_array_equal(ref.convolve(X, W, 2), out[:, :, ::2, ::2])


def test_2d_3d_cnn_by_hand():
    # A 1x1 map whose channels become (1, 3): centred (-1, 1), variance 1.
    W = np.zeros((2, 1, 3, 3, 3))
    W[:, 0, 1, 1, 1] = [1.0, 3.0]
    maps = np.ones((2, 1, 1, 1))
    blocks = [(W, np.array([1.0, 2.0]), np.array([0.0, 0.5]), 1)]
    out = ref.cnn_2d_3d(maps, blocks, (np.eye(2), np.zeros(2)))
    assert out.tolist() == pytest.approx([0, 2 / math.sqrt(1 + 1e-5) + 0.5], **TIGHT)
