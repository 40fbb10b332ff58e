"""Whether attention lies on faces, and whether order is understood: what KAVAN's figures show, in numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from moodreel.emotions import GIFGIF_17
from moodreel.types import FloatArray

Bools = NDArray[np.bool_]


def point_at(attention: npt.ArrayLike, boxes: npt.ArrayLike) -> Bools:
    """Pointing game (Zhang et al., ECCV 2016): whether the centre of the strongest cell is in the face's box.

    Args:
        attention: [..., h, w]; of equal cells the first in reading order counts.
        boxes: [..., 4] left, top, right, bottom, 0-1 of the frame.

    Returns:
        [...] bool; False for a box without area.
    """
    maps = np.asarray(attention, float)
    height, width = maps.shape[-2:]
    peak = maps.reshape(*maps.shape[:-2], -1).argmax(axis=-1)
    x, y = (peak % width + 0.5) / width, (peak // width + 0.5) / height
    left, top, right, bottom = np.moveaxis(np.asarray(boxes, float), -1, 0)
    hit: Bools = (left < x) & (x < right) & (top < y) & (y < bottom)
    return hit


def weigh_inside(attention: npt.ArrayLike, boxes: npt.ArrayLike) -> FloatArray:
    """Share of the attention that lies inside a box; a cell that it cuts counts by the area inside.

    Args:
        attention: [..., h, w], each frame sums to 1.
        boxes: [..., 4], as :func:`point_at` takes; parts beyond the frame do not count.

    Returns:
        [...] in [0, 1].
    """
    maps, box = np.asarray(attention, float), np.asarray(boxes, float)
    rows = _cover(maps.shape[-2], box[..., 1], box[..., 3])
    columns = _cover(maps.shape[-1], box[..., 0], box[..., 2])
    inside: FloatArray = np.einsum("...hw,...h,...w->...", maps, rows, columns)
    return inside


def chance_levels(boxes: npt.ArrayLike, grid: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """What attention that knows nothing would score on boxes.

    Args:
        boxes: [..., 4].
        grid: (rows, columns) of the attention.

    Returns:
        hit rate of a cell chosen at random (share of the centres inside the box), and attention inside when
        it is uniform (the box's share of the frame's area); [...] each.
    """
    box = np.asarray(boxes, float)
    x, y = ((np.arange(n) + 0.5) / n for n in reversed(grid))
    across = ((box[..., 0, None] < x) & (x < box[..., 2, None])).mean(axis=-1)
    down = ((box[..., 1, None] < y) & (y < box[..., 3, None])).mean(axis=-1)
    hits: FloatArray = across * down
    uniform = np.full((*box.shape[:-1], *grid), 1 / (grid[0] * grid[1]))
    return hits, weigh_inside(uniform, box)


def _cover(cells: int, low: FloatArray, high: FloatArray) -> FloatArray:
    """[..., cells] share of each of the equal cells of [0, 1] between low and high."""
    edge = np.arange(cells + 1) / cells
    inner = np.clip(edge, low[..., None], np.maximum(low, high)[..., None])
    share: FloatArray = np.diff(inner, axis=-1) * cells
    return share


def tell_apart(
    predicted: npt.ArrayLike, target: npt.ArrayLike, known: npt.ArrayLike, pairs: Sequence[tuple[str, str]]
) -> list[tuple[int, bool]]:
    """Which member of a pair of emotions a clip shows: the one with the higher prediction.

    Args:
        predicted, target: [N, 17] intensities.
        known: [N, 17] bool.
        pairs: of emotions that, say, only the order of the frames tells apart; each in one pair at most.

    Returns:
        (row, whether rightly told) of every clip whose strongest known emotion belongs to a pair, in order.
        Two equal predictions tell nothing apart: wrong.
    """
    partner = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    predicted, target = np.asarray(predicted, float), np.asarray(target, float)
    strengths = np.where(np.asarray(known, bool), target, -np.inf)
    told = []
    for row in range(len(target)):
        if not np.isfinite(strengths[row]).any():
            continue
        shown = int(strengths[row].argmax())
        other = partner.get(GIFGIF_17[shown])
        if other is not None:
            told.append((row, bool(predicted[row, shown] > predicted[row, GIFGIF_17.index(other)])))
    return told
