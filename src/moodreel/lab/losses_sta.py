"""Losses of traces (STA, Sec. 2.3; Table 2), masked where the gold standard or the face is missing."""

from __future__ import annotations

import torch
from torch import Tensor

from moodreel.lab.settings_sta import StaSettings


def trace_loss(prediction: Tensor, target: Tensor, mask: Tensor, settings: StaSettings) -> Tensor:
    """The loss that the settings name.

    Args:
        prediction, target: [N, T] valence.
        mask: [N, T] bool, True where a face was found and the target is known.
        settings: ``loss`` and ``epsilon``.

    Returns:
        scalar; 0 when nothing is known.
    """
    if settings.loss == "ccc":
        return ccc_loss(prediction, target, mask)
    if settings.loss == "epsilon":
        return epsilon_loss(prediction, target, mask, settings.epsilon)
    return mse_loss(prediction, target, mask)


def mse_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over the known frames (Sec. 2.3); 0 without any. Shapes as :func:`trace_loss`."""
    gap = torch.where(mask, prediction - target, 0.0)  # inside: a gradient of 0 times NaN would be NaN
    return (gap**2).sum() / mask.sum().clamp(min=1)


def epsilon_loss(prediction: Tensor, target: Tensor, mask: Tensor, epsilon: float) -> Tensor:
    """Epsilon-insensitive: mean of max(0, |error| - epsilon) over the known frames (Chao et al., AVEC 2015).

    0 without any. Shapes as :func:`trace_loss`.
    """
    gap = torch.where(mask, prediction - target, 0.0)
    return (gap.abs() - epsilon).clamp(min=0).sum() / mask.sum().clamp(min=1)


def ccc_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """1 - CCC (Eq. 4) over all known frames of the batch together, with population moments.

    0 without a known frame; 1 where the CCC is not defined (prediction and target both constant and equal).
    Shapes as :func:`trace_loss`.
    """
    count = mask.sum().clamp(min=1)

    def mean(values: Tensor) -> Tensor:
        return torch.where(mask, values, 0.0).sum() / count

    gap_x = torch.where(mask, prediction - mean(prediction), 0.0)
    gap_y = torch.where(mask, target - mean(target), 0.0)
    covariance = mean(gap_x * gap_y)  # rho sigma_x sigma_y
    spread = mean(gap_x**2) + mean(gap_y**2) + (mean(prediction) - mean(target)) ** 2
    # Eq. 4
    ccc = torch.where(spread > 0, 2 * covariance / torch.where(spread > 0, spread, 1.0), 0.0)
    return torch.where(mask.any(), 1 - ccc, 0.0)
