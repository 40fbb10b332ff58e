"""Attention as heat over a picture."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from moodreel.types import Float32Array, FloatArray, Result, UInt8Array

_RAMP = np.array(
    # share of the strongest weight: red, green, blue, opacity
    [
        (0.00, 60, 40, 170, 0.00),
        (0.25, 110, 30, 180, 0.30),
        (0.50, 190, 15, 150, 0.46),
        (0.75, 235, 10, 110, 0.56),
        (1.00, 255, 25, 70, 0.64),
    ]
)
"""Heat, from violet to red: to be seen on white, on black, on skin and on yellow faces alike."""


def interpolate_attention(result: Result, times: FloatArray) -> Iterator[Float32Array | None]:
    """The attention at some instants: linear between those of the result, held before and after them.

    Args:
        result: its ``attention`` [t, h, w] and ``attention_times`` [t].
        times: [n] seconds.

    Yields:
        n arrays [h, w] that sum to 1; or None where the result has no attention.
    """
    maps, when = result.attention, result.attention_times
    for time in times.tolist():
        if maps is None:
            yield None
        elif when is None or len(maps) == 1:
            yield maps.mean(axis=0)
        else:
            right = int(np.clip(np.searchsorted(when, time), 1, len(when) - 1))
            span = float(when[right] - when[right - 1])
            share = float(np.clip((time - when[right - 1]) / span, 0, 1)) if span > 0 else 0.0
            yield (1 - share) * maps[right - 1] + share * maps[right]


def scale_attention(weights: Float32Array, strongest: float) -> Float32Array:
    """Attention to heat: 0 where a cell has no more than an even share, 1 where it has ``strongest``.

    Args:
        weights: [h, w], sums to 1.
        strongest: largest weight of the clip. Below twice the even share nothing becomes 1: attention that is
            nearly even must not look like a find.

    Returns:
        [h, w] in [0, 1].
    """
    even = 1.0 / weights.size
    heat: Float32Array = np.clip((weights - even) / max(strongest - even, even), 0, 1).astype(np.float32)
    return heat


def blend_heat(frame: UInt8Array, heat: Float32Array) -> UInt8Array:
    """Lays heat over a picture.

    Args:
        frame: [H, W, 3] uint8.
        heat: [h, w] in [0, 1], of any size; enlarged bilinearly to H x W.

    Returns:
        [H, W, 3] uint8, a new array.
    """
    from PIL import Image

    height, width = frame.shape[:2]
    large = Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR)
    level = (np.asarray(large) * 255 + 0.5).astype(np.uint8)
    tint, opacity = list_heat()
    cover = opacity[level][..., None]
    mixed: UInt8Array = (frame * (256 - cover) + tint[level] * cover >> 8).astype(np.uint8)
    return mixed


@cache
def list_heat() -> tuple[Any, Any]:
    """Colours [256, 3] and opacities [256] (0 to 256) of the ramp, as uint32."""
    at = np.linspace(0, 1, 256)
    columns = [np.interp(at, _RAMP[:, 0], _RAMP[:, k]) for k in range(1, 5)]
    tint = np.stack(columns[:3], axis=1).round().astype(np.uint32)
    return tint, (columns[3] * 256).round().astype(np.uint32)
