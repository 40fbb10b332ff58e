"""Augmentation: batches of faces with torch, and decoded clips with their keypoints."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from moodreel.faces.points import crop_points, flip_points
from moodreel.lab.data.surroundings import change_light
from moodreel.types import FloatArray, UInt8Array

LARGEST_ZOOM = 1.25
"""How much larger than the network's input a clip is at most read, to be cropped."""


@dataclass(frozen=True)
class FaceAugment:
    """Ranges of the random changes to a face picture; each is drawn evenly from [-range, range]."""

    rotate: float = 15.0
    """Degrees."""
    scale: float = 0.15
    """Relative."""
    shift: float = 0.08
    """Of the side."""
    stretch: float = 0.12
    """Relative change of the aspect."""
    brightness: float = 0.15
    """Of full scale."""
    contrast: float = 0.3
    """Relative."""
    erase: float = 0.4
    """Share of the pictures with one rectangle (up to a third of each side) set to grey."""


def augment_faces(grey: Tensor, size: int, ranges: FaceAugment, generator: torch.Generator) -> Tensor:
    """Random flip, rotation, scale, shift, stretch, light and erasure.

    Args:
        grey: [N, 1, S, S] in [0, 1].
        size: side of the output, pixels.
        ranges: of the changes.
        generator: source of chance.

    Returns:
        [N, 1, size, size], about [0, 1].
    """
    count = len(grey)

    def draw(limit: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * limit

    angle = draw(ranges.rotate) * (math.pi / 180)
    scale = 1 + draw(ranges.scale)
    aspect = 1 + draw(ranges.stretch)
    flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack(
        [
            torch.stack([cos * flip * aspect, -sin, draw(2 * ranges.shift)], 1),
            torch.stack([sin * flip * aspect, cos, draw(2 * ranges.shift)], 1),
        ],
        1,
    )
    grid = functional.affine_grid(theta, [count, 1, size, size], align_corners=False)
    moved = functional.grid_sample(grey, grid, padding_mode="border", align_corners=False)

    mean = moved.mean(dim=(2, 3), keepdim=True)
    contrast = (1 + draw(ranges.contrast)).view(-1, 1, 1, 1)
    lit = (moved - mean) * contrast + mean + draw(ranges.brightness).view(-1, 1, 1, 1)

    place = torch.arange(size).view(1, -1)
    low = torch.rand(2, count, 1, generator=generator) * size
    span = torch.rand(2, count, 1, generator=generator) * size / 3
    rows, columns = ((place >= low[i] - span[i] / 2) & (place < low[i] + span[i] / 2) for i in (0, 1))
    chosen = torch.rand(count, 1, 1, generator=generator) < ranges.erase
    hole = (rows.unsqueeze(2) & columns.unsqueeze(1) & chosen).unsqueeze(1)
    return torch.where(hole, 0.5, lit)


def zoomed_size(size: int, rng: np.random.Generator) -> int:
    """Side at which a clip is read before :func:`augment_clip` crops it: size to LARGEST_ZOOM x size."""
    return int(rng.integers(size, int(size * LARGEST_ZOOM) + 1))


def augment_clip(
    frames: UInt8Array, points: FloatArray, confidence: FloatArray, size: int, rng: np.random.Generator
) -> tuple[UInt8Array, FloatArray, FloatArray]:
    """Crop, mirror and light, the same for all frames of a clip; keypoints move along.

    Args:
        frames: [T, S', S', 3], S' >= size.
        points: [T, 70, 2] (x, y), 0-1 of the frame.
        confidence: [T, 70].
        size: side of the crop, pixels.
        rng: source of chance.

    Returns:
        frames [T, size, size, 3], points, 0-1 of the crop (those cut off lie outside), and confidence.
    """
    wide = frames.shape[1]
    left, top = rng.integers(0, wide - size + 1, 2).tolist()
    frames = frames[:, top : top + size, left : left + size]
    points = crop_points(points, np.array([left, top, left + size, top + size]) / wide)
    if rng.random() < 0.5:
        frames = frames[:, :, ::-1]
        points, confidence = flip_points(points, confidence)
    lit = change_light(frames.transpose(0, 3, 1, 2).astype(np.float32), np.linspace(0, 1, len(frames)), rng)
    pixels = np.rint(np.clip(lit, 0, 255)).astype(np.uint8).transpose(0, 2, 3, 1)
    return pixels, points, confidence
