"""Sharpness-aware minimisation, against steps computed by hand (Foret et al., ICLR 2021, Eq. 2 and 3)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from moodreel.lab.sharpness import SharpnessAwareAdamW

RATE = 0.1


class Bowl(nn.Module):
    """L(a, b) = (3 a^2 + b^2) / 2 at (1, 2), its parts in two groups."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor([[1.0]]))
        self.b = nn.Parameter(torch.tensor([2.0]))
        self.unused = nn.Parameter(torch.tensor([5.0]))

    def groups(self):
        return [
            {"params": [self.a], "lr": RATE, "weight_decay": 0.5},
            {"params": [self.b, self.unused], "lr": RATE, "weight_decay": 0.0},
        ]

    def loss(self):
        return (3 * self.a**2 + self.b**2).sum() / 2


def close(net, optimizer, loss):
    """A closure as Lightning's: the loss first, then the gradients."""

    def closure():
        value = loss()
        optimizer.zero_grad()
        value.backward()
        return value

    return closure


def test_the_gradient_is_that_of_the_weights_moved_along_the_gradient():
    net = Bowl()
    optimizer = SharpnessAwareAdamW(net.groups(), 0.5, net)
    loss = optimizer.step(close(net, optimizer, net.loss))
    # gradient (3, 2), of norm sqrt(13); the loss there is 3.5
    a, b = 1 + 0.5 * 3 / math.sqrt(13), 2 + 0.5 * 2 / math.sqrt(13)
    assert loss.item() == pytest.approx(3.5)
    assert net.a.grad.item() == pytest.approx(3 * a)
    assert net.b.grad.item() == pytest.approx(b)
    # AdamW's first step is the rate, whatever the gradient; from (1, 2), with a's decay before it
    assert net.a.item() == pytest.approx(1 - RATE * 0.5 - RATE)
    assert net.b.item() == pytest.approx(2 - RATE)
    assert net.unused.item() == 5


def test_the_step_goes_where_the_neighbours_are_better():
    w = nn.Parameter(torch.tensor([-0.1]))
    net = nn.Module()
    net.w = w
    optimizer = SharpnessAwareAdamW([{"params": [w], "lr": RATE, "weight_decay": 0.0}], 0.3, net)
    # L = -w^2 / 2: the gradient at -0.1 is 0.1; at -0.1 + 0.3 it is -0.2
    optimizer.step(close(net, optimizer, lambda: (-(w**2) / 2).sum()))
    assert w.grad.item() == pytest.approx(-0.2)
    assert w.item() == pytest.approx(0.0, abs=1e-6)


def test_where_there_is_no_gradient_the_weights_stay():
    net = Bowl()
    optimizer = SharpnessAwareAdamW(net.groups(), 0.5, net)
    optimizer.step(close(net, optimizer, lambda: (net.b * 0).sum()))
    assert net.b.item() == 2


def test_both_gradients_see_one_dropout_and_batch_norms_count_once():
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    optimizer = SharpnessAwareAdamW([{"params": list(net.parameters()), "lr": RATE}], 10.0, net)
    pixels = torch.randn(8, 3)
    kept = []

    def look():
        out = net(pixels)
        kept.append(out != 0)
        return (out**2).mean()

    with torch.no_grad():
        expected = 0.1 * net[0](pixels).mean(0)
    optimizer.step(close(net, optimizer, look))
    assert len(kept) == 2
    assert torch.equal(*kept)
    torch.testing.assert_close(net[1].running_mean, expected)
    assert net[1].momentum == 0.1
    optimizer.step(close(net, optimizer, look))
    assert not torch.equal(kept[1], kept[2])  # the next step draws anew


def test_norms_are_released_when_the_second_look_fails():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = SharpnessAwareAdamW([{"params": list(net.parameters()), "lr": RATE}], 0.1, net)
    pixels, looks = torch.randn(8, 3), []

    def look():
        looks.append(1)
        if len(looks) == 2:
            raise InterruptedError("as if killed")
        return (net(pixels) ** 2).mean()

    with pytest.raises(InterruptedError):
        optimizer.step(close(net, optimizer, look))
    assert net[1].momentum == 0.1
