"""Training runs: a recipe and manifests in, a run folder out.

A run folder holds ``recipe.json`` (every setting), ``data.json`` (manifests and their digests),
``start.json`` (the weights it started from, if any), ``best.safetensors`` with ``best.json`` (weights that
validated best, and their scores), ``last.ckpt`` (everything needed to resume) and ``logs/`` (CSV and
TensorBoard).
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from numpy.typing import ArrayLike
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils.data import DataLoader

from moodreel.emotions import GIFGIF_17
from moodreel.errors import DataError, SettingsError
from moodreel.lab.data.augment import FaceAugment
from moodreel.lab.data.clips import ClipDataset, WeightedSampler, calm_worker, check_readable, draw_weights
from moodreel.lab.data.faces import BatchSampler, FaceDataset
from moodreel.lab.data.labels import category_of, class_of, find_supervised, intensities_of
from moodreel.lab.data.manifest import Manifest, Row, read_manifest
from moodreel.lab.devices import check_devices, is_first_process, split_loader
from moodreel.lab.distill import Teachers, choose_teachers
from moodreel.lab.models.face_cnn import FaceCNN
from moodreel.lab.models.kavan import Kavan
from moodreel.lab.modules import FaceModule, KavanModule, TrainModule
from moodreel.lab.modules_sta import build_sta
from moodreel.lab.networks import read_run_data, read_run_recipe
from moodreel.lab.settings import (
    FaceSettings,
    KavanSettings,
    Recipe,
    TrainSettings,
    choose_recipe,
    read_recipe,
)
from moodreel.lab.settings_caca_rnn import CacaRnnSettings
from moodreel.lab.settings_sta import StaSettings
from moodreel.lab.weights import check_checkpoint, describe_weights, start_from
from moodreel.runtime.files import replace_file
from moodreel.types import FloatArray

Loaders = tuple[Any, Any]
"""Of training and of validation."""


class KeepBest(Callback):
    """Writes the weights that validate best, or the last ones where the settings say so.

    Must stand before the weight averaging in the list of callbacks, so that it sees the averaged weights.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.best = float("-inf")

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Scores the epoch, logs it and keeps the weights if they are the best so far."""
        if trainer.sanity_checking:
            return
        assert isinstance(pl_module, TrainModule)
        pl_module.gather_seen()
        scores = pl_module.validation_scores()
        pl_module.log_dict({f"val/{k}": v for k, v in scores.items()}, prog_bar=True)
        if scores["score"] > self.best or pl_module.settings.keep_by == "last":
            self.best = scores["score"]
            if not trainer.is_global_zero:
                return
            _write_weights(self.run / "best.safetensors", pl_module.net)
            write_json(
                self.run / "best.json",
                {"epoch": trainer.current_epoch, "validation": scores, **pl_module.facts()},
            )

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up where a stopped run was."""
        self.best = state_dict["best"]


def train(
    system: str,
    data: Sequence[Path],
    out: Path,
    recipe: Path | None = None,
    init: str | None = None,
    resume: bool = False,
    cache: Path | None = None,
    devices: int | None = None,
    teachers: Sequence[str] = (),
) -> None:
    """Trains one system. With several devices, Lightning runs this process's own command again for each.

    Args:
        system: "face", "kavan", "caca-rnn" or "sta".
        data: manifests; their rows train together, missing labels masked.
        out: run folder.
        recipe: TOML file; the defaults of the settings without one.
        init: bundle or run whose weights to start from; what does not fit is left at random and logged.
        resume: go on from ``last.ckpt`` in the run folder, with the recipe stored there.
        cache: caca-rnn and sta: where features or aligned faces are kept; None is ``features`` in the run
            folder.
        devices: in place of the recipe's.
        teachers: face: runs or bundles whose probabilities it learns beside the labels.

    Raises:
        SettingsError, DataError, BundleError: the recipe, the data, the start or a teacher is wrong.
    """
    chosen = _choose_recipe(system, recipe, out, resume, devices)
    told_by = choose_teachers(chosen.model, teachers, out if resume else None)
    manifests = [read_manifest(path) for path in data]
    _check_leaks(manifests)
    check_devices(system, chosen.train.devices, chosen.train.batch, len(_rows(manifests, "val")))
    pl.seed_everything(chosen.train.seed, verbose=False)
    out.mkdir(parents=True, exist_ok=True)
    if is_first_process():
        write_json(out / "recipe.json", chosen.to_dict())
    facts = [_describe_source(m, chosen) for m in manifests]
    if resume and [e["sha256"] for e in read_run_data(out)] != [m.digest for m in manifests]:
        raise DataError(f"{out}: the manifests are not those the run was started with (see data.json)")
    if is_first_process():
        write_json(out / "data.json", facts)
    module, loaders = _build(chosen, manifests, cache or out / "features", told_by)
    if init is not None:
        start_from(module.net, init)
        if is_first_process():
            write_json(out / "start.json", describe_weights(init))
    if chosen.train.devices > 1:
        learnt, held = loaders
        loaders = (
            split_loader(learnt, chosen.train.devices, train=True),
            split_loader(held, chosen.train.devices, train=False),
        )
    fit(module, loaders, chosen, out, resume, chosen.train.devices)


def fit(
    module: TrainModule, loaders: Loaders, recipe: Recipe, out: Path, resume: bool, devices: int = 1
) -> None:
    """Runs the epochs and keeps what a run folder holds beside its recipe and its data.

    Args:
        module: built for the loaders' batches.
        loaders: of training and of validation.
        recipe: of the run.
        out: run folder; must exist.
        resume: go on from ``last.ckpt``.
        devices: that train together; the loaders are then those of one share.

    Raises:
        DataError: that cannot be read.
    """
    if resume:
        check_checkpoint(out / "last.ckpt")
    module.arrange_memory()
    _trainer(recipe, out, devices).fit(
        module,
        *loaders,
        ckpt_path=str(out / "last.ckpt") if resume else None,
        weights_only=True,  # a checkpoint is data: nothing in it may run
    )


def _describe_source(manifest: Manifest, recipe: Recipe) -> dict[str, Any]:
    """What the run's folder, and then the bundle, says of one manifest."""
    facts: dict[str, Any] = {
        "manifest": str(manifest.path.resolve()),
        "name": manifest.name,
        "sha256": manifest.digest,
        "rows": manifest.count_rows(),
    }
    learnt = [row for row in manifest.rows if row.split == "train"]
    if isinstance(recipe.model, CacaRnnSettings):
        names, classes = recipe.model.classes, [class_of(row, recipe.model.vocabulary) for row in learnt]
        facts["supervises"] = [name for place, name in enumerate(names) if place in classes]
    elif recipe.system == "kavan":
        emotions, _ = find_supervised(learnt)
        facts["supervises"] = [emotion for emotion in GIFGIF_17 if emotion in emotions]
    return facts


def _choose_recipe(system: str, recipe: Path | None, out: Path, resume: bool, devices: int | None) -> Recipe:
    if resume:
        if not (out / "last.ckpt").is_file():
            raise DataError(f"{out}: nothing to resume (no last.ckpt)")
        stored = read_run_recipe(out)
        if stored.system != system:
            raise SettingsError("system", system, f"{stored.system!r}, as the run in {out} has")
        if recipe is not None and read_recipe(recipe, system) != stored:
            raise SettingsError("recipe", str(recipe), f"the settings the run in {out} was started with")
        if devices not in (None, stored.train.devices):
            raise SettingsError("train.devices", devices, f"{stored.train.devices}, as the run in {out} has")
        return stored
    if (out / "last.ckpt").exists():
        raise DataError(f"{out}: holds a run already; --resume goes on with it, or choose another folder")
    chosen = choose_recipe(recipe, system)
    return chosen if devices is None else replace(chosen, train=replace(chosen.train, devices=devices))


def _check_leaks(manifests: Sequence[Manifest]) -> None:
    splits: dict[str, tuple[str, Path]] = {}
    clips: dict[str, tuple[str, Path]] = {}
    for manifest in manifests:
        for row in manifest.rows:
            if row.split is None:
                continue
            clip = os.path.abspath(row.clip)  # noqa: PTH100 (links stay)
            split, path = clips.setdefault(clip, (row.split, manifest.path))
            if split != row.split:
                raise DataError(
                    f"clip {row.clip} is {split} in {path} and {row.split} in {manifest.path}: a leak"
                )
            split, path = splits.setdefault(row.group, (row.split, manifest.path))
            if split != row.split:
                raise DataError(
                    f"group {row.group!r} is {split} in {path} and {row.split} in {manifest.path}: a leak"
                )


def _rows(manifests: Sequence[Manifest], split: str) -> list[Row]:
    rows = [row for m in manifests for row in m.rows if row.split == split]
    if not rows:
        raise DataError(f"no row with split = {split!r} in {', '.join(str(m.path) for m in manifests)}")
    return rows


def _build(
    recipe: Recipe, manifests: Sequence[Manifest], cache: Path, teachers: Teachers | None
) -> tuple[TrainModule, Loaders]:
    settings = recipe.train
    training, validation = _rows(manifests, "train"), _rows(manifests, "val")
    if isinstance(recipe.model, CacaRnnSettings):
        from moodreel.lab.train_caca_rnn import build_training  # it needs the detector, and that its extra

        return build_training(recipe, recipe.model, training, validation, cache)
    if isinstance(recipe.model, StaSettings):
        return build_sta(recipe.model, settings, training, validation, cache)
    if isinstance(recipe.model, FaceSettings):
        _check_count(len(training), settings)
        size = recipe.model.input_size
        pictures = FaceDataset(training, size, FaceAugment(), settings.seed), FaceDataset(validation, size)
        loaders = tuple(
            DataLoader(
                pictures[i],
                sampler=BatchSampler(len(pictures[i]), settings.batch, shuffle=i == 0, seed=settings.seed),
                batch_size=None,
                num_workers=settings.workers if i == 0 else 0,
            )
            for i in (0, 1)
        )
        module = FaceModule(FaceCNN(recipe.model), recipe.model, settings, teachers)
        return module, (loaders[0], loaders[1])
    return _build_kavan(recipe, recipe.model, manifests)


def _build_kavan(
    recipe: Recipe, model: KavanSettings, manifests: Sequence[Manifest]
) -> tuple[KavanModule, Loaders]:
    settings = recipe.train
    training, validation = _rows(manifests, "train"), _rows(manifests, "val")
    if settings.shares and len(settings.shares) != len(manifests):
        raise SettingsError("train.shares", settings.shares, f"{len(manifests)} numbers, one a manifest")
    sources = [n for n, m in enumerate(manifests) for row in m.rows if row.split == "train"]
    weights = draw_weights(training, sources, settings.shares)
    labelled = [row for row in validation if intensities_of(row) or category_of(row)]
    if not labelled:
        raise DataError("no validation row has a label: nothing to choose the best weights by")
    few = settings.validation_clips
    if 0 < few < len(labelled):
        labelled = [labelled[i * len(labelled) // few] for i in range(few)]
    check_readable([row for row, weight in zip(training, weights, strict=True) if weight > 0] + labelled)
    return build_kavan(recipe, model, training, labelled, weights)


def build_kavan(
    recipe: Recipe, model: KavanSettings, training: list[Row], validation: list[Row], weights: FloatArray
) -> tuple[KavanModule, Loaders]:
    """KAVAN at random, and the clips it learns from.

    Args:
        recipe: of the run.
        model: its network.
        training: rows to learn from.
        validation: labelled rows to choose the best weights by.
        weights: [N], how often each training row is drawn; sums to 1.

    Raises:
        SettingsError: a batch is larger than an epoch.
        DataError: nothing to learn.
    """
    settings = recipe.train
    _check_count(settings.epoch_clips or len(training), settings)
    emotions, categories = find_supervised([r for r, w in zip(training, weights, strict=True) if w > 0])
    if not emotions:
        raise DataError("no emotion has training labels that differ: nothing to learn")
    clips = ClipDataset(training, model, settings.seed, train=True)
    held = ClipDataset(validation, model, settings.seed, train=False)
    loaders = (
        DataLoader(
            clips,
            sampler=WeightedSampler(weights, settings.epoch_clips or len(training), settings.seed),
            batch_size=settings.batch,
            drop_last=True,
            num_workers=settings.workers,
            worker_init_fn=calm_worker,
            persistent_workers=settings.workers > 0,
        ),
        DataLoader(held, batch_size=settings.batch, num_workers=settings.workers, worker_init_fn=calm_worker),
    )
    net = Kavan(model, emotions, categories)
    scores = np.stack([scores for scores, _, _ in clips.labels])
    known = np.stack([known for _, known, _ in clips.labels])
    return KavanModule(net, model, settings, *target_moments(scores, known, weights)), loaders


def _check_count(clips: int, settings: TrainSettings) -> None:
    if clips < settings.batch:
        raise SettingsError("train.batch", settings.batch, f"at most {clips}, the clips of an epoch")


def target_moments(scores: ArrayLike, known: ArrayLike, weights: ArrayLike) -> tuple[Tensor, Tensor]:
    """[17] mean and variance of the targets as training draws them; variance 1 where there is no spread.

    Args:
        scores: [N, 17].
        known: [N, 17] bool.
        weights: [N], how often each row is drawn.
    """
    values = np.asarray(scores, float)
    weight = np.asarray(known) * np.asarray(weights)[:, None]
    total = np.maximum(weight.sum(axis=0), 1e-12)
    mean = (weight * values).sum(axis=0) / total
    variance = (weight * (values - mean) ** 2).sum(axis=0) / total
    variance = np.where(variance > 1e-6, variance, 1.0)
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(variance, dtype=torch.float32)


def _trainer(recipe: Recipe, out: Path, devices: int) -> pl.Trainer:
    # What Lightning warns about here is meant: few workers on few cores, one process.
    for known in (
        "does not have many workers",
        "is not empty",
        "smaller than the logging interval",
        "in eval mode",
        "LeafSpec",
        "find_unused_parameters=True was specified",
        "barrier\\(\\)",
    ):
        warnings.filterwarnings("ignore", message=f".*{known}.*")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    version = len(list((out / "logs").glob("version_*")))  # a resumed run logs beside what is there
    callbacks: list[Callback] = [KeepBest(out)]
    if recipe.train.ema:
        callbacks.append(EMAWeightAveraging(decay=recipe.train.ema))
    callbacks += [
        ModelCheckpoint(dirpath=out, filename="last", save_top_k=1, enable_version_counter=False),
        TQDMProgressBar(refresh_rate=20),
    ]
    return pl.Trainer(
        accelerator="auto",
        devices=devices,
        # a head without labels in a batch has no gradient
        strategy="ddp_find_unused_parameters_true" if devices > 1 else "auto",
        sync_batchnorm=devices > 1 and torch.cuda.is_available(),
        use_distributed_sampler=False,  # the loaders are split already: moodreel.lab.devices
        max_epochs=recipe.train.epochs,
        precision="bf16-mixed" if recipe.train.precision == "bf16" else "32-true",
        callbacks=callbacks,
        logger=[CSVLogger(out, "logs", version), TensorBoardLogger(out, "logs", version)],
        gradient_clip_val=5.0,
        num_sanity_val_steps=0,
        log_every_n_steps=20,
        enable_model_summary=False,
        default_root_dir=out,
    )


def _write_weights(path: Path, net: nn.Module) -> None:
    with replace_file(path) as file:
        file.write(save({k: v.detach().cpu().contiguous() for k, v in net.state_dict().items()}))


def write_json(path: Path, value: Any) -> None:
    """Writes a value as indented JSON, whole or not at all."""
    with replace_file(path) as file:
        file.write((json.dumps(value, indent=2) + "\n").encode())
