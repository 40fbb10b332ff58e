"""Temperature scaling: a classifier's confidence made to mean what it says (Guo et al. 2017, Sec. 4.2).

One number T for all classes and inputs divides the logits, so no prediction changes. It is fitted on the
validation split with the weights that are kept, and folded into the last layer when a bundle is written.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

REACH = 10.0
"""Temperatures from 1 / REACH to REACH are tried; validation that asks for more says little."""


def fit_temperature(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> float:
    """The temperature with the least cross entropy.

    Args:
        logits: [N, K]; may be -inf for a class that no label has.
        labels: [N] class indices, all known.
        weights: [N] of the rows, above 0; None: all alike.

    Returns:
        T, in [1 / REACH, REACH]; 1 where there is no row.
    """
    if not len(labels):
        return 1.0
    from scipy.optimize import minimize_scalar

    logits, labels = logits.double(), labels.long()
    share = torch.ones(len(labels)).double() if weights is None else weights.double()
    share = share / share.sum()

    def cost(log_temperature: float) -> float:
        each = functional.cross_entropy(logits / math.exp(log_temperature), labels, reduction="none")
        return float((share * each).sum())

    # convex in 1 / T (a logistic model with one weight), so one minimum
    found = minimize_scalar(cost, bounds=(-math.log(REACH), math.log(REACH)), method="bounded")
    return float(math.exp(found.x))


def fold_temperature(layer: nn.Linear, temperature: float) -> None:
    """Divides the logits of a layer by a temperature, in place."""
    with torch.no_grad():
        layer.weight.div_(temperature)
        layer.bias.div_(temperature)
