"""What stands around a composed face: background, bystanders, a caption, light and the palette of GIFs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch.nn import functional

from moodreel.lab.data.toon_scene import BACKGROUNDS, CAPTIONS, draw_caption, paint_scene
from moodreel.types import Float32Array, FloatArray, UInt8Array

_SCENES = tuple(kind for kind in BACKGROUNDS if kind not in ("plain", "sticker", "noise"))


def draw_background(
    size: int, times: FloatArray, rng: np.random.Generator, pictures: Sequence[UInt8Array], plain: bool
) -> torch.Tensor:
    """A background for each frame, still or panned over.

    Args:
        size: side of the frames, pixels.
        times: [T] instants in [0, 1].
        rng: source of chance.
        pictures: [H, W, 3] images that may lie behind, turned on their sides and cropped so that what they
            show is not read; otherwise scenes, or soft noise with shapes, are drawn.
        plain: one colour, mostly white.

    Returns:
        [T, 3, S, S] float in 0-255.
    """
    if plain:
        colour = np.full(3, 255.0) if rng.random() < 0.7 else rng.uniform(0, 255, 3)
        return torch.from_numpy(np.tile(colour[None, :, None, None], (len(times), 1, size, size))).float()
    wide = size * 5 // 4
    kind = rng.random()
    if pictures and kind < 0.35:
        scene = _turn_picture(pictures[int(rng.integers(len(pictures)))], wide, rng)
    elif kind < 0.65:
        scene = _to_tensor(paint_scene(str(rng.choice(_SCENES)), wide, wide, rng))
    else:
        scene = _draw_noise(wide, rng)
    if rng.random() < 0.3:
        scene = scene.mean(dim=0, keepdim=True).expand(3, -1, -1)
    drift = rng.uniform(0, wide - size, (2, 2))
    still = rng.random() < 0.5
    corners = [(drift[0] if still else drift[0] + (drift[1] - drift[0]) * t).astype(int) for t in times]
    return torch.stack([scene[:, b : b + size, a : a + size] for a, b in corners]).clamp(0, 255)


def _turn_picture(picture: UInt8Array, wide: int, rng: np.random.Generator) -> torch.Tensor:
    """A part of a picture on its side or head, often out of focus: [3, wide, wide]."""
    turned = Image.fromarray(np.rot90(picture, int(rng.integers(1, 4))))
    share = rng.uniform(0.4, 1.0)
    width, height = share * turned.width, share * turned.height
    left, top = rng.uniform(0, turned.width - width), rng.uniform(0, turned.height - height)
    box = (left, top, left + width, top + height)
    scene = turned.resize((wide, wide), Image.Resampling.BILINEAR, box=box)
    if rng.random() < 0.6:
        scene = scene.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.01, 0.06)) * wide))
    return _to_tensor(scene)


def _to_tensor(picture: Image.Image) -> torch.Tensor:
    pixels = np.asarray(picture.convert("RGB"), np.float32)
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def _draw_noise(wide: int, rng: np.random.Generator) -> torch.Tensor:
    """Soft noise with a few ellipses and boxes: [3, wide, wide]."""
    coarse = int(rng.integers(2, 12))
    noise = torch.from_numpy(rng.uniform(0, 255, (1, 3, coarse, coarse))).float()
    scene = functional.interpolate(noise, (wide, wide), mode="bicubic", align_corners=False)[0]
    scene = scene * rng.uniform(0.2, 1.0) + float(rng.uniform(0, 120))
    place = torch.arange(wide)
    for _ in range(int(rng.integers(0, 7))):
        paint = torch.from_numpy(rng.uniform(0, 255, (3, 1, 1))).float()
        cx, cy, rx, ry = rng.uniform(0, 1, 4) * wide * np.array([1, 1, 0.3, 0.3]) + 2
        dx, dy = ((place - cx) / rx).view(1, -1), ((place - cy) / ry).view(-1, 1)
        shape = (dx**2 + dy**2 < 1) if rng.random() < 0.5 else (dx.abs() < 1) & (dy.abs() < 1)
        scene = torch.where(shape, paint, scene)
    return scene


def place_bystander(path: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Where another, smaller face stands or drifts, to one side of the main one.

    Args:
        path: [T, 5] of the main face: centre x, centre y, height (0-1), aspect change, turn in radians.
        rng: source of chance.

    Returns:
        [T, 5] likewise: at most 0.7 of the main face's height, centres at least 0.7 of it apart along x,
        perhaps partly outside the frame.
    """
    x, y, height = path[:, 0], path[:, 1], path[:, 2]
    small = rng.uniform(0.35, 0.7) * height
    side = 1.0 if x.mean() < 0.5 else -1.0  # where there is more room
    if rng.random() < 0.25:
        side = -side
    away = side * (0.7 + rng.uniform(0, 0.5)) * height.max()
    drift = rng.uniform(-0.05, 0.05, 2) * np.linspace(0, 1, len(path))[:, None]
    return np.column_stack(
        [
            x + away + side * np.abs(drift[:, 0]),
            y + rng.uniform(-0.3, 0.3) * height + drift[:, 1],
            small,
            np.full(len(path), np.exp(rng.uniform(-0.2, 0.2))),
            np.full(len(path), np.radians(rng.uniform(-8, 8))),
        ]
    )


def add_caption(frames: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Writes one caption over all frames: [T, 3, S, S] in 0-255. It says nothing of the emotion."""
    size = frames.shape[-1]
    layer = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    draw_caption(layer, str(rng.choice(CAPTIONS)), bool(rng.random() < 0.5))
    text = np.asarray(layer, np.float32).transpose(2, 0, 1)
    alpha = text[3:] / np.float32(255)
    written: Float32Array = (frames * (1 - alpha) + text[:3] * alpha).astype(np.float32, copy=False)
    return written


def change_light(frames: Float32Array, times: FloatArray, rng: np.random.Generator) -> Float32Array:
    """Brightness, contrast, tint and loss of colour, the same in all frames but for a slow drift.

    Args:
        frames: [T, 3, S, S] in 0-255; the result may leave that range.
        times: [T] instants in [0, 1].
        rng: source of chance.
    """
    if rng.random() < 0.15:
        frames = np.broadcast_to(frames.mean(axis=1, keepdims=True), frames.shape)
    gain = np.exp(rng.uniform(-0.3, 0.3) + rng.uniform(-0.1, 0.1) * times).reshape(-1, 1, 1, 1)
    tint = np.exp(rng.normal(0, 0.08, 3)).reshape(1, 3, 1, 1)
    contrast = np.exp(rng.uniform(-0.25, 0.15))
    offset = 128 * (1 - contrast) + rng.uniform(-20, 20)
    factor = (gain * tint).astype(np.float32)
    lit: Float32Array = (frames * np.float32(contrast) + np.float32(offset)) * factor
    return lit


def reduce_palette(frames: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """[T, S, S, 3] to at most 256 colours for the whole clip, dithered or not, as GIF encoders do."""
    colours = int(rng.choice([32, 64, 128, 256]))
    dither = Image.Dither.FLOYDSTEINBERG if rng.random() < 0.6 else Image.Dither.NONE
    palette = Image.fromarray(frames[len(frames) // 2]).quantize(colours, method=Image.Quantize.MEDIANCUT)
    return np.stack(
        [
            np.asarray(Image.fromarray(f).quantize(palette=palette, dither=dither).convert("RGB"))
            for f in frames
        ]
    )
