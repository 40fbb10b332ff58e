"""Windows of faces drawn from labelled stills, anew each epoch: what STA learns from beside recorded clips.

The label is weak, as that of :mod:`moodreel.lab.data.compose_traces`: the valence of the name of a still's
class on the circumplex, along a blend of two photographs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from moodreel.errors import DataError
from moodreel.lab.data.clips import draw_weights
from moodreel.lab.data.compose_traces import class_valence, draw_weight
from moodreel.lab.data.face_video import FaceCutter, FaceVideoDataset, TraceBatch, augment_window
from moodreel.lab.data.manifest import Row
from moodreel.lab.settings_sta import StaSettings
from moodreel.types import Float32Array, FloatArray, UInt8Array

CUT = 0.25
"""Share of the windows in which another person's picture takes over at some tick, as a GIF cuts."""

STREAM = 1
"""Keeps the chance of these windows apart from that of recorded ones with the same (index, epoch)."""


class StillWindows(Dataset[TraceBatch]):
    """Windows that show stills: a person's neutral picture, the expression and the neutral one again, or one
    picture throughout where the person has no neutral one; all of it slightly turned, zoomed and shifted.

    Stills are drawn so that a class of n has the weight n^-0.5, each source by its number of stills.

    Args:
        rows: stills with ``label_ekman``; those without a face that was found are left out.
        cutter: filled with them, of windows of a single tick; its faces have the size of a window's.
        settings: frames, rate and augmentation.
        count: windows an epoch.
        seed: of what is drawn.

    Raises:
        DataError: in none of the stills a face was found.
    """

    def __init__(
        self, rows: Sequence[Row], cutter: FaceCutter, settings: StaSettings, count: int, seed: int
    ) -> None:
        self.settings, self.count, self.seed = settings, count, seed
        self.rows: list[Row] = []
        faces: list[UInt8Array] = []
        for row in rows:
            first = cutter.list_windows(row)[:1]
            if first and cutter.store.gather(first, "found").any():
                self.rows.append(row)
                faces.append(cutter.store.gather(first, "faces")[0, 0])
        if not faces:
            raise DataError(f"none of {len(rows)} stills has a face that was found")
        self.faces = np.stack(faces)
        names = [row.labels["ekman"] for row in self.rows]
        self.valence = np.array([class_valence(name) for name in names], np.float32)
        self.neutral: dict[str, list[int]] = {}
        for i, row in enumerate(self.rows):
            if names[i] == "neutral":
                self.neutral.setdefault(row.group, []).append(i)
        sources = {folder: n for n, folder in enumerate(dict.fromkeys(row.clip.parent for row in self.rows))}
        weights = draw_weights(self.rows, [sources[row.clip.parent] for row in self.rows], ())
        self.cumulative = np.cumsum(weights)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: tuple[int, int]) -> TraceBatch:
        """One window, without the batch axis; ``key`` is (index, epoch)."""
        rng = np.random.default_rng([self.seed, STREAM, *key])
        frames, target = self._draw(rng)
        if rng.random() < CUT:
            later, height = self._draw(rng)
            from_here = int(rng.integers(1, len(frames)))
            frames[from_here:], target[from_here:] = later[from_here:], height[from_here:]
        frames = augment_window(frames, rng, self.settings.mirror, self.settings.light)
        everywhere = torch.ones(len(frames), dtype=torch.bool)
        return {
            "frames": torch.from_numpy(np.ascontiguousarray(frames)),
            "target": torch.from_numpy(target),
            "labelled": everywhere,
            "found": everywhere,
            "inside": everywhere,
            "clip": torch.tensor(-1),
            "time": torch.from_numpy(np.arange(len(frames)) / self.settings.fps),
        }

    def _draw(self, rng: np.random.Generator) -> tuple[UInt8Array, Float32Array]:
        """(frames [T, S, S, 3], valence [T]) of one person."""
        place = min(int(np.searchsorted(self.cumulative, rng.random())), len(self.rows) - 1)
        times = np.arange(self.settings.frames) / self.settings.fps
        others = self.neutral.get(self.rows[place].group, [])
        if self.rows[place].labels["ekman"] == "neutral" or not others:
            shown, weight = self.faces[[place]], np.ones((1, len(times)))
        else:
            start = others[int(rng.integers(len(others)))]
            share = draw_weight(times + rng.uniform(-0.5, 1.5), rng)  # some windows begin in the expression
            shown, weight = self.faces[[place, start]], np.stack([share, 1 - share])
        frames = move_faces(shown, weight, rng)
        return frames, (weight[0] * self.valence[place]).astype(np.float32)


def move_faces(pictures: UInt8Array, weight: FloatArray, rng: np.random.Generator) -> UInt8Array:
    """Aligned pictures of one person, blended, with the turn, zoom and shift that alignment leaves.

    Args:
        pictures: [P, S, S, 3].
        weight: [P, T], how much of each is shown at each tick; columns sum to 1.
        rng: source of chance.

    Returns:
        [T, S, S, 3].
    """
    ticks = weight.shape[1]
    limit = np.array([np.radians(7), 0.09, 0.09, 0.1, 0.1])  # turn, width, height, shifts in half sides
    drift = np.linspace(-1, 1, ticks)[:, None] * rng.uniform(-0.2, 0.2, 5)
    common = rng.uniform(-1, 1, 5) * 0.8 + drift + rng.normal(0, 0.04, (ticks, 5))
    mixed: Tensor | None = None
    for picture, share in zip(pictures, weight, strict=True):
        turn, wide, tall, x, y = ((common + rng.uniform(-0.25, 0.25, 5)) * limit).T
        theta = np.empty((ticks, 2, 3))
        theta[:, 0] = np.column_stack([np.cos(turn) * (1 + wide), -np.sin(turn), x])
        theta[:, 1] = np.column_stack([np.sin(turn), np.cos(turn) * (1 + tall), y])
        layer = torch.from_numpy(picture).permute(2, 0, 1).float().expand(ticks, -1, -1, -1)
        grid = functional.affine_grid(torch.from_numpy(theta).float(), list(layer.shape), align_corners=False)
        moved = functional.grid_sample(layer, grid, padding_mode="border", align_corners=False)
        moved = moved * torch.from_numpy(share).float().view(-1, 1, 1, 1)
        mixed = moved if mixed is None else mixed + moved
    assert mixed is not None
    pixels: UInt8Array = mixed.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return pixels


class JoinedWindows(Dataset[TraceBatch]):
    """Recorded windows, then drawn ones; ``key`` is (index, epoch).

    Args:
        recorded: of clips.
        drawn: of stills.
    """

    def __init__(self, recorded: FaceVideoDataset, drawn: StillWindows) -> None:
        self.recorded, self.drawn = recorded, drawn

    def __len__(self) -> int:
        return len(self.recorded) + len(self.drawn)

    def __getitem__(self, key: tuple[int, int]) -> TraceBatch:
        """One window of either, without the batch axis."""
        index, epoch = key
        if index < len(self.recorded):
            return self.recorded[key]
        return self.drawn[index - len(self.recorded), epoch]
