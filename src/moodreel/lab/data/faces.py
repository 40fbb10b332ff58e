"""Labelled stills as training data for the face network: all pictures in memory, batches made by index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from moodreel.emotions import EKMAN_7
from moodreel.errors import DataError
from moodreel.lab.data.augment import FaceAugment, augment_faces
from moodreel.lab.data.manifest import Row
from moodreel.lab.models.face_cnn import LUMA, PIXEL_MEAN, PIXEL_STD
from moodreel.media import open_media, sample_media


class FaceDataset(Dataset[tuple[Tensor, Tensor]]):
    """Faces with an Ekman label, as whole batches: index it with a list.

    Args:
        rows: of a manifest; each needs ``label_ekman``. A clip gives its middle frame.
        size: side of the network's input, pixels.
        augment: ranges of the random changes, or None for the plain picture.
        seed: of the augmentation, which follows from it and the indices of a batch: a resumed run repeats.

    Raises:
        DataError: a row has no label; MediaError: a picture cannot be read.
    """

    def __init__(
        self, rows: Sequence[Row], size: int, augment: FaceAugment | None = None, seed: int = 0
    ) -> None:
        self.size = size
        self.augment = augment
        self.seed = seed
        stored = size if augment is None else size * 7 // 6  # finer than the input, for the resampling
        self.grey = np.empty((len(rows), stored, stored), np.uint8)
        self.labels = np.empty(len(rows), np.int64)
        for i, row in enumerate(rows):
            if "ekman" not in row.labels:
                raise DataError(f"{row.clip}: no label_ekman")
            media = open_media(row.clip)
            picture = sample_media(media, [media.duration / 2], (stored, stored)).frames[0]
            self.grey[i] = np.rint(picture @ np.array(LUMA))
            self.labels[i] = EKMAN_7.index(row.labels["ekman"])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Returns (normalised [N, 3, S, S] float, labels [N] int) of a list of indices."""
        grey = torch.from_numpy(self.grey[list(index)]).unsqueeze(1).float() / 255
        if self.augment is not None:
            drawn = np.random.default_rng([self.seed, *index]).integers(2**62)
            generator = torch.Generator().manual_seed(int(drawn))
            grey = augment_faces(grey, self.size, self.augment, generator)
        pixels = (grey - PIXEL_MEAN[0]) / PIXEL_STD[0]
        rgb = pixels.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        return rgb, torch.from_numpy(self.labels[list(index)])


class BatchSampler(Sampler[list[int]]):
    """Index lists of one size; shuffled anew each epoch from (seed, epoch), so that a resumed run repeats.

    Args:
        length: rows.
        batch: indices a list.
        shuffle: whether to; a shuffled epoch drops the rest that does not fill a batch.
        seed: of the order.
    """

    def __init__(self, length: int, batch: int, shuffle: bool, seed: int = 0) -> None:
        self.length = length
        self.batch = batch
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length // self.batch if self.shuffle else -(-self.length // self.batch)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.arange(self.length)
        if self.shuffle:
            np.random.default_rng([self.seed, self.epoch]).shuffle(order)
        for i in range(len(self)):
            yield order[i * self.batch : (i + 1) * self.batch].tolist()
