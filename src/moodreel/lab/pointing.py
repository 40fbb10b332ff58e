"""Does attention look at the face? The pointing game and the mass inside the box, each beside its chance.

The pointing game (Zhang et al., ECCV 2016) asks whether the peak lies on the object; mass inside says how
much of the map does. KAVAN shows its maps (Fig. 6) and does not measure them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from moodreel.errors import SettingsError
from moodreel.types import BoolArray, FloatArray


@dataclass(frozen=True, eq=False)
class Pointing:
    """One value a frame.

    Attributes:
        hits: [T] bool, the centre of the strongest cell lies inside the box.
        hit_chance: [T] share of the cells whose centres do: what a random cell would score.
        mass: [T] attention inside the box; a cell counts by the share of it that is inside.
        mass_chance: [T] area of the box inside the frame: the mass of even attention.
    """

    hits: BoolArray
    hit_chance: FloatArray
    mass: FloatArray
    mass_chance: FloatArray


def score_pointing(attention: ArrayLike, boxes: ArrayLike) -> Pointing:
    """Compares attention maps with face boxes.

    Args:
        attention: [T, h, w], each frame sums to 1. Of equal peaks the first counts.
        boxes: [T, 4] left, top, right, bottom, 0-1 of the frame; may reach beyond it.

    Raises:
        SettingsError: shapes do not agree.
    """
    maps, corners = np.asarray(attention, float), np.asarray(boxes, float)
    if maps.ndim != 3 or corners.shape != (len(maps), 4):
        raise SettingsError("boxes", list(corners.shape), f"[T, 4] beside attention {list(maps.shape)}")
    count, rows, columns = maps.shape
    across, down = (
        _overlap(corners[:, 0], corners[:, 2], columns),
        _overlap(corners[:, 1], corners[:, 3], rows),
    )
    x, y = (np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows
    inside_x = (corners[:, :1] <= x) & (x < corners[:, 2:3])
    inside_y = (corners[:, 1:2] <= y) & (y < corners[:, 3:])
    inside = inside_y[:, :, None] & inside_x[:, None, :]
    peak = maps.reshape(count, -1).argmax(axis=1)
    return Pointing(
        hits=inside.reshape(count, -1)[np.arange(count), peak],
        hit_chance=inside.mean(axis=(1, 2)),
        mass=np.einsum("tyx,ty,tx->t", maps, down, across),
        mass_chance=np.asarray(across.mean(axis=1) * down.mean(axis=1)),
    )


def _overlap(low: FloatArray, high: FloatArray, cells: int) -> FloatArray:
    """[T, cells] share of each of ``cells`` equal parts of [0, 1] that lies in [low, high]."""
    edges = np.arange(cells + 1) / cells
    shared = np.minimum(high[:, None], edges[1:]) - np.maximum(low[:, None], edges[:-1])
    return np.asarray(np.clip(shared * cells, 0, 1))
