"""Keypoints to the heatmap that supervises KAVAN's attention (Sec. 3.1 and 4.1, Eq. 8)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from moodreel.errors import SettingsError
from moodreel.types import FloatArray

LIPS = slice(48, 68)
"""The lips in the 68- and 70-point order; they lie denser than the rest."""


def draw_heatmap(
    points: npt.ArrayLike,
    confidence: npt.ArrayLike,
    grid: tuple[int, int] = (7, 7),
    size: int = 64,
    sigma: float = 5.0,
    lip_weight: float = 0.5,
    temperature: float = 1.0,
) -> FloatArray:
    """M_t of Eq. 8: Gaussians of peak 1 times confidence, summed, pooled to the grid, then a softmax.

    Peak 1 rather than unit area: with unit area the softmax is flat. Nothing of size x size is built: a
    Gaussian and the pooling are separable, so each point is pooled along each axis first.

    Args:
        points: [..., J, 2] (x, y), 0-1 of the frame; may lie outside it.
        confidence: [..., J] in [0, 1]; 0 leaves a point out (its place may be NaN).
        grid: (rows, columns) of the result.
        size: cells a side of the paper's first heatmap; sigma is in these cells.
        sigma: of the Gaussians.
        lip_weight: factor on the lip points.
        temperature: of the softmax.

    Returns:
        [..., rows, columns], each frame sums to 1.

    Raises:
        SettingsError: shapes do not agree.
    """
    points, weight = np.asarray(points, float), np.array(confidence, float)
    if points.shape[-1:] != (2,) or points.shape[:-1] != weight.shape:
        raise SettingsError("points", list(points.shape), f"{[*weight.shape, 2]}, as confidence says")
    points = np.where(weight[..., None] > 0, points, 0.0)
    weight[..., LIPS] *= lip_weight
    cell = np.arange(size)
    along = [
        np.exp(-(((points[..., axis, None] * size - 0.5) - cell) ** 2) / (2 * sigma**2)) @ _pooling(size, n).T
        for axis, n in ((1, grid[0]), (0, grid[1]))
    ]
    # Eq. 8, pooled
    pooled = np.einsum("...j,...jr,...jc->...rc", weight, along[0], along[1])
    flat = pooled.reshape(*pooled.shape[:-2], -1) / temperature
    raised = np.exp(flat - flat.max(axis=-1, keepdims=True))
    heatmap: FloatArray = raised / raised.sum(axis=-1, keepdims=True)
    return heatmap.reshape(pooled.shape)


def _pooling(size: int, cells: int) -> FloatArray:
    """[cells, size] matrix of adaptive average pooling: cell i averages floor(i s/n) to ceil((i+1) s/n)."""
    matrix = np.zeros((cells, size))
    for i in range(cells):
        low, high = i * size // cells, -(-(i + 1) * size // cells)
        matrix[i, low:high] = 1 / (high - low)
    return matrix
