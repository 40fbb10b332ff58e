"""Losses of KAVAN (Sec. 3.1 and 3.3), each masked where a label is missing."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from moodreel.lab.settings import KavanSettings


def nmse_loss(prediction: Tensor, target: Tensor, mask: Tensor, variance: Tensor) -> Tensor:
    """L_RG: per emotion the mean squared error over the target's variance, averaged over emotions.

    KAVAN Sec. 3.3. Emotions without a label in the batch are left out of the average.

    Args:
        prediction, target: [N, E] intensities.
        mask: [N, E] bool, True where the target is known.
        variance: [E] of the training split's targets.

    Returns:
        scalar; 0 when nothing is known.
    """
    known = mask.sum(dim=0)
    squared = torch.where(mask, (prediction - target) ** 2, 0.0).sum(dim=0)
    each = squared / known.clamp(min=1) / variance
    used = known > 0
    return torch.where(used, each, 0.0).sum() / used.sum().clamp(min=1)


def category_loss(logits: Tensor, label: Tensor) -> Tensor:
    """L_C: cross entropy over the quadrants, averaged over labelled rows.

    Args:
        logits: [N, 4]; an unsupervised class may be -inf.
        label: [N] int, -1 where missing.

    Returns:
        scalar; 0 when nothing is labelled.
    """
    known = label >= 0
    total = functional.cross_entropy(logits, label, ignore_index=-1, reduction="sum") if known.any() else 0.0
    return torch.as_tensor(total, dtype=logits.dtype) / known.sum().clamp(min=1)


def _ordered_pairs(target: Tensor, mask: Tensor) -> Tensor:
    """[N, E, E] bool: True at (k, l) where target k is above target l and both are known."""
    known = mask.unsqueeze(2) & mask.unsqueeze(1)
    return known & (target.unsqueeze(2) > target.unsqueeze(1))


def ranking_loss(prediction: Tensor, target: Tensor, mask: Tensor, margin: float = 0.0) -> Tensor:
    """Pairwise logistic surrogate of L_RANK (Eq. 11 counts wrong pairs and has no gradient).

    Args:
        prediction, target: [N, E].
        mask: [N, E] bool.
        margin: by how much a pair should be apart.

    Returns:
        scalar: mean over clips with at least one ordered pair of the mean of
        log(1 + exp(margin - (f_k - f_l))) over their pairs.
    """
    pairs = _ordered_pairs(target, mask)
    gap = prediction.unsqueeze(2) - prediction.unsqueeze(1)
    cost = torch.where(pairs, functional.softplus(margin - gap), 0.0).sum(dim=(1, 2))  # for Eq. 11
    count = pairs.sum(dim=(1, 2))
    used = count > 0
    return (cost / count.clamp(min=1)).sum() / used.sum().clamp(min=1)


def ranking_errors(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Eq. 11: share of wrongly ordered pairs of each clip; ties and missing labels left out.

    Args:
        prediction, target: [N, E].
        mask: [N, E] bool.

    Returns:
        [N] in [0, 1]; NaN for a clip without an ordered pair.
    """
    pairs = _ordered_pairs(target, mask)
    wrong = pairs & (prediction.unsqueeze(2) < prediction.unsqueeze(1))  # Eq. 11
    return wrong.sum(dim=(1, 2)) / pairs.sum(dim=(1, 2))  # 0 / 0 is NaN


def keypoint_loss(heatmap: Tensor, attention: Tensor, mask: Tensor) -> Tensor:
    """L_kp, Eq. 7: squared distance of attention and heatmap, summed over cells.

    Averaged over the frames that have keypoints (Eq. 7 sums over t: a factor of T).

    Args:
        heatmap, attention: [N, T, K], each frame sums to 1.
        mask: [N, T] bool, True where the frame has keypoints.

    Returns:
        scalar; 0 when no frame has any.
    """
    each = ((heatmap - attention) ** 2).sum(dim=2)  # Eq. 7
    return torch.where(mask, each, 0.0).sum() / mask.sum().clamp(min=1)


def total_loss(parts: Mapping[str, Tensor], settings: KavanSettings) -> Tensor:
    """Eq. 12 and 9: L = L_RG + w_C L_C + w_RANK L_RANK + w_kp L_kp.

    Args:
        parts: ``nmse``, and those of ``category``, ``ranking`` and ``keypoints`` that are used; scalars.
        settings: the weights.

    Returns:
        scalar.
    """
    weights = {
        "nmse": 1.0,
        "category": settings.weight_category,
        "ranking": settings.weight_ranking,
        "keypoints": settings.weight_keypoints,
    }
    return torch.stack([weights[name] * value for name, value in parts.items()]).sum()  # Eq. 9, 12
