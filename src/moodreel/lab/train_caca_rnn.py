"""What a training of CACA-RNN starts from: features of both streams, and the networks that read them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from moodreel.errors import DataError, SettingsError
from moodreel.faces.detect import DetectorSettings, open_detector
from moodreel.lab.data.faces import BatchSampler
from moodreel.lab.data.labels import class_of
from moodreel.lab.data.manifest import Row
from moodreel.lab.data.streams import StreamCache, StreamClips, TrackedFaces
from moodreel.lab.models.baselines import FaceFinder, WholeFrames
from moodreel.lab.models.caca_rnn_system import CacaRnnSystem, start_extractors
from moodreel.lab.modules_caca_rnn import CacaRnnModule
from moodreel.lab.settings import Recipe, TrainSettings
from moodreel.lab.settings_caca_rnn import CacaRnnSettings

Loaders = tuple[Any, Any]


def build_training(
    recipe: Recipe, model: CacaRnnSettings, training: Sequence[Row], validation: Sequence[Row], cache: Path
) -> tuple[CacaRnnModule, Loaders]:
    """The system at random on extractors from their bundles, and its clips as features.

    Args:
        recipe: of the run.
        model: its settings.
        training, validation: rows; those without a label are left out.
        cache: where features are kept.

    Raises:
        SettingsError: a network that no bundle can hold, or a batch larger than an epoch.
        DataError: nothing to learn, or clips that cannot be read.
        BundleError: an extractor's bundle is missing.
        MissingExtra: rows without keypoints, and no detector.
    """
    if model.network == "2d-3d":
        raise SettingsError("model.network", model.network, "a recurrent one (ablate fits 2d-3d)")
    parts = [[row for row in rows if class_of(row, model.vocabulary) >= 0] for rows in (training, validation)]
    for name, rows in zip(("train", "val"), parts, strict=True):
        if not rows:
            raise DataError(f"no {name} row has label_{model.vocabulary}: nothing to learn")
    if len(parts[0]) < recipe.train.batch:
        raise SettingsError("train.batch", recipe.train.batch, f"at most {len(parts[0])}, the training clips")
    system = CacaRnnSystem(model)
    start_extractors(system.extractors, model)
    with open_finder(model, [row for rows in parts for row in rows]) as finder:
        store = StreamCache(cache, system.extractors, model, finder)
        fill_streams(store, [row for rows in parts for row in rows])
    seed = recipe.train.seed
    clips = [StreamClips(rows, store, model, train=i == 0, seed=seed) for i, rows in enumerate(parts)]
    if model.reads_face and not clips[0].has_face.any():
        raise DataError("no training clip shows a face: only network 'context' can learn from them")
    return CacaRnnModule(system, recipe.train), load_streams(clips[0], clips[1], recipe.train)


def load_streams(training: StreamClips, validation: StreamClips, settings: TrainSettings) -> Loaders:
    """Loaders of whole batches: shuffled anew each epoch, and in order."""
    return tuple(
        DataLoader(
            clips,
            sampler=BatchSampler(len(clips), settings.batch, shuffle=clips is training, seed=settings.seed),
            batch_size=None,
        )
        for clips in (training, validation)
    )  # type: ignore[return-value]


@contextmanager
def open_finder(model: CacaRnnSettings, rows: Sequence[Row]) -> Iterator[FaceFinder]:
    """Who says where faces are, as the settings want it; a detector is opened only where one is needed.

    Raises:
        MissingExtra: it is needed and not installed.
    """
    if model.faces == "frame":
        yield WholeFrames()
        return
    needed = model.faces == "auto" and any(row.keypoints is None for row in rows)
    with open_detector(DetectorSettings()) if needed else nullcontext() as detector:
        yield TrackedFaces(detector)


def fill_streams(
    store: StreamCache, rows: Sequence[Row], progress: Callable[[int], None] = lambda done: None
) -> None:
    """Computes the features that are not kept yet.

    Raises:
        DataError: how many clips cannot be read, and why the first three.
    """
    failures = store.fill(rows, progress)
    if failures:
        more = f" (and {len(failures) - 3} more)" if len(failures) > 3 else ""
        told = "; ".join(failure.reason for failure in failures[:3])
        raise DataError(f"{len(failures)} clips cannot be read: {told}{more}")
    logging.getLogger(__name__).info("features of %d clips", len(rows))
