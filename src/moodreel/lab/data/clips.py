"""Clips as training data for KAVAN: frames sampled by time, labels masked where missing, heatmaps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from moodreel.errors import DataError, MediaError
from moodreel.faces.heatmap import draw_heatmap
from moodreel.faces.openpose import read_keypoints
from moodreel.lab.data.augment import augment_clip, zoomed_size
from moodreel.lab.data.compose import compose_clip, draw_others, place_keypoints, read_still
from moodreel.lab.data.labels import category_of, intensities_of, label_arrays
from moodreel.lab.data.manifest import Row
from moodreel.lab.settings import KavanSettings
from moodreel.media import frames_showing, open_media, sample_media, segment_times
from moodreel.types import POINTS, FloatArray, UInt8Array

COMPOSED_SUFFIXES = (".jpg", ".jpeg", ".png", ".apng", ".bmp", ".webp")
"""Files that may be stills or cut-out figures, from which clips are composed."""

Batch = dict[str, Tensor]
"""frames [N, T, S, S, 3] uint8, scores [N, 17], known [N, 17] bool, category [N] (-1 unknown),
heatmap [N, T, K], supervised [N, T] bool (frames with keypoints)."""


class ClipDataset(Dataset[dict[str, Tensor]]):
    """Clips of manifest rows.

    Stills, which are taken to be cropped around a face, and cut-out figures (PNG or WebP animations with
    clear pixels) are composed into clips, with stills of other groups around them; everything else, and when
    training ``whole_stills`` of the stills and ``whole_figures`` of the figures, is decoded as it is and,
    when training, cropped, mirrored and lit anew. A still has keypoints (a frontal face in its known box),
    any other clip those its row names; attention is not supervised in frames without any.

    Args:
        rows: of one or more manifests.
        settings: frames, sizes of input and stills, grid temperature.
        seed: of sampling and composing.
        train: True makes the clip that belongs to a key (index, draw); False gives the same clip for the same
            index, and shows cut-out figures as they are, over white.
    """

    def __init__(self, rows: Sequence[Row], settings: KavanSettings, seed: int, train: bool) -> None:
        self.rows = rows
        self.settings = settings
        self.seed = seed
        self.train = train
        self.grid = settings.grid
        self.labels = [label_arrays(row) for row in rows]
        self.neutral: dict[str, list[Row]] = {}
        for row in rows:
            if row.labels.get("ekman") == "neutral":
                self.neutral.setdefault(row.group, []).append(row)
        self.stills = [(r.clip, r.group) for r in rows if r.clip.suffix.lower() in COMPOSED_SUFFIXES]
        self._read = lru_cache(maxsize=50_000)(partial(read_still, longest=settings.longest_still))
        self._keypoints = lru_cache(maxsize=50_000)(read_keypoints)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Tensor]:
        """One clip, without the batch axis of :data:`Batch`; ``key`` is an index, or (index, draw)."""
        index, draw = key if isinstance(key, tuple) else (key, 0)
        rng = np.random.default_rng([self.seed, index, draw])
        row = self.rows[index]
        scores, known, category = self.labels[index]
        frames, points, confidence = self._draw(row, rng)
        heatmap = draw_heatmap(
            points, confidence, (self.grid, self.grid), temperature=self.settings.heatmap_temperature
        )
        return {
            "frames": torch.from_numpy(np.ascontiguousarray(frames)),
            "scores": torch.from_numpy(scores),
            "known": torch.from_numpy(known),
            "category": torch.tensor(category),
            "heatmap": torch.from_numpy(heatmap.reshape(len(heatmap), -1).astype(np.float32)),
            "supervised": torch.from_numpy((confidence > 0).any(axis=1)),
        }

    def _draw(self, row: Row, rng: np.random.Generator) -> tuple[UInt8Array, FloatArray, FloatArray]:
        """(frames [T, S, S, 3], keypoints [T, 70, 2] 0-1 of the frame, confidence [T, 70], 0 without)."""
        still = self._read(row.clip) if row.clip.suffix.lower() in COMPOSED_SUFFIXES else None
        if still is None or (still.cut_out and not self.train):
            return self._decode(row, rng)
        whole = self.settings.whole_figures if still.cut_out else self.settings.whole_stills
        if whole and self.train and rng.random() < whole:  # none: nothing is drawn
            return self._decode(row, rng, None if still.cut_out else still.face)
        first = None
        others = self.neutral.get(row.group, [])
        if others and row.labels.get("ekman") not in (None, "neutral") and rng.random() < 0.7:
            first = self._read(others[int(rng.integers(len(others)))].clip)  # None, an animation, is no start
        around = [self._read(path) for path in draw_others(row, self.stills, rng)]
        composed = compose_clip(
            still,
            first,
            segment_times(1.0, self.settings.frames, rng),
            self.settings.input_size,
            rng,
            [other for other in around if other is not None and not other.cut_out],
        )
        confidence = np.full((self.settings.frames, POINTS), 0.0 if still.cut_out else 1.0)
        return composed.frames, place_keypoints(composed.boxes), confidence

    def _decode(
        self, row: Row, rng: np.random.Generator, face: tuple[float, float, float, float] | None = None
    ) -> tuple[UInt8Array, FloatArray, FloatArray]:
        """As :meth:`_draw`, from the file as it is, with the keypoints its row names or a frontal face's, in
        ``face`` (left, top, right, bottom, 0-1)."""
        count, size = self.settings.frames, self.settings.input_size
        media = open_media(row.clip)
        times = segment_times(media.duration, count, rng if self.train else None)
        side = zoomed_size(size, rng) if self.train else size
        sample = sample_media(media, times, (side, side))
        points, confidence = np.zeros((count, POINTS, 2)), np.zeros((count, POINTS))
        if row.keypoints is not None:
            shown = frames_showing(media.timeline.starts, times)
            found = self._keypoints(row.keypoints).at(shown)
            points, confidence = found.points, found.confidence
        elif face is not None:
            points, confidence = place_keypoints(np.tile(face, (count, 1))), np.ones_like(confidence)
        if not self.train:
            return sample.frames, points, confidence
        return augment_clip(sample.frames, points, confidence, size, rng)


def check_readable(rows: Iterable[Row]) -> None:
    """Decodes the first frame of every clip, so that a bad file is known before a training starts.

    Raises:
        DataError: how many clips cannot be read, and why the first three.
    """
    bad = []
    for row in rows:
        try:
            next(iter(open_media(row.clip).read([0])))
        except MediaError as error:
            bad.append(str(error))
    if bad:
        more = f" (and {len(bad) - 3} more)" if len(bad) > 3 else ""
        raise DataError(f"{len(bad)} clips cannot be read: {'; '.join(bad[:3])}{more}")


def draw_weights(rows: Sequence[Row], sources: Sequence[int], shares: Sequence[float]) -> FloatArray:
    """How often each row is drawn in training.

    Sources get their shares; inside a source, clips of a strongest emotion (or else quadrant) with n clips
    weigh n^-0.5 each, and rows without any label are not drawn.

    Args:
        rows: of all sources.
        sources: number of each row's source.
        shares: of each source, relative; empty: by their number of rows.

    Returns:
        [N], sums to 1.

    Raises:
        DataError: no row has a label.
    """
    weights = np.zeros(len(rows))
    place = np.asarray(sources)
    for source in range(int(place.max()) + 1):
        kinds: dict[str | None, list[int]] = {}  # None: labelled, but expressing nothing much
        for i in np.flatnonzero(place == source).tolist():
            scores, category = intensities_of(rows[i]), category_of(rows[i])
            if scores or category:
                strongest = max(scores, key=lambda e: scores[e]) if scores else category
                kinds.setdefault(strongest if category else None, []).append(i)
        for members in kinds.values():
            weights[members] = len(members) ** -0.5
        total = weights[place == source].sum()
        if total > 0:
            share = shares[source] if shares else float((place == source).sum())
            weights[place == source] *= share / total
    if weights.sum() == 0:
        raise DataError("no row has a label that this system can learn from")
    normalised: FloatArray = weights / weights.sum()
    return normalised


class WeightedSampler(Sampler[tuple[int, int]]):
    """(index, draw) drawn with weights, anew each epoch from (seed, epoch); no draw comes twice.

    Args:
        weights: [N], sums to 1.
        count: indices an epoch.
        seed: of the draw.
    """

    def __init__(self, weights: FloatArray, count: int, seed: int) -> None:
        self.weights = weights
        self.count = count
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        chosen = rng.choice(len(self.weights), self.count, p=self.weights).tolist()
        yield from ((index, self.epoch * self.count + n) for n, index in enumerate(chosen))


def calm_worker(worker: int) -> None:
    """Keeps a worker process to one thread: the training wants the others."""
    torch.set_num_threads(1)
