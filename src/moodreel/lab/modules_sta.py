"""How STA and its peers are trained: the loss of known frames, validated by CCC over whole sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from moodreel.errors import DataError, SettingsError
from moodreel.lab.data.face_video import (
    FaceCutter,
    FaceVideoDataset,
    ShuffleSampler,
    TraceBatch,
    cut_faces,
)
from moodreel.lab.data.manifest import Row
from moodreel.lab.data.still_windows import JoinedWindows, StillWindows
from moodreel.lab.fit_postprocess import LIVE_MEDIANS, Trace, fit_postprocess
from moodreel.lab.losses_sta import trace_loss
from moodreel.lab.models.sta import TraceNetwork
from moodreel.lab.models.sta_peers import build_trace_network
from moodreel.lab.modules import TrainModule
from moodreel.lab.settings import TrainSettings
from moodreel.lab.settings_sta import StaSettings
from moodreel.lab.trace_metrics import score_traces
from moodreel.runtime.trace import fill_gaps


class StaModule(TrainModule):
    """Trains a :class:`TraceNetwork`.

    Args:
        net: the network.
        settings: of the training.
        target: mean and standard deviation of the training targets, for the record.
    """

    net: TraceNetwork

    def __init__(
        self, net: TraceNetwork, settings: TrainSettings, target: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        super().__init__(net, settings)
        self.target = target
        self._seen: list[dict[str, Tensor]] = []

    def arrange_memory(self) -> None:
        """Channels last, as :class:`TrainModule` has it, in two and in three dimensions."""
        for part in self.net.modules():
            if isinstance(part, nn.Conv3d):
                part.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
            elif isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def training_step(self, batch: TraceBatch, index: int) -> Tensor:
        """Loss of one batch."""
        out = self.net(self.net.normalise(batch["frames"]))
        mask = batch["labelled"] & batch["found"]
        loss = trace_loss(out.valence, batch["target"], mask, self.net.settings)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(mask))
        return loss

    def facts(self) -> dict[str, Any]:
        """Moments of the training targets, and the post-processing fitted on the validation just run.

        ``post`` holds its numbers, ``post_validation`` the CCC there without and with it. For constant
        predictions, which nothing improves, they are those of no change.
        """
        mean, deviation = self.target
        fitted = fit_postprocess(self.validation_traces(), LIVE_MEDIANS)
        return {
            "target_mean": round(mean, 4),
            "target_deviation": round(deviation, 4),
            "post": fitted.post,
            "post_validation": {"ccc_without": fitted.before.ccc, "ccc_with": fitted.after.ccc},
        }

    def on_validation_epoch_start(self) -> None:
        """Forgets the last epoch."""
        self._seen.clear()

    def validation_step(self, batch: TraceBatch, index: int) -> None:
        """Keeps predictions, cut to [-1, 1] as a bundle's are, and targets."""
        out = self.net(self.net.normalise(batch["frames"]))
        kept = {name: batch[name] for name in ("target", "labelled", "found", "inside", "clip", "time")}
        kept["valence"] = out.valence.clamp(-1, 1)
        self._seen.append({name: value.cpu() for name, value in kept.items()})

    def validation_traces(self) -> list[Trace]:
        """Whole sequences of the validation epoch just run, frames without a face interpolated."""
        return join_windows(self._seen)

    def validation_scores(self) -> dict[str, float]:
        """RMSE, CC and CCC over concatenated sequences; "score" is the CCC."""
        traces = self.validation_traces()
        scores = score_traces([t.predicted for t in traces], [t.gold for t in traces])
        return {"score": scores.ccc, "ccc": scores.ccc, "cc": scores.cc, "rmse": scores.rmse}


def join_windows(batches: Sequence[dict[str, Tensor]]) -> list[Trace]:
    """Puts windows together to sequences, one a clip, in the order of the clips.

    Args:
        batches: of :data:`TraceBatch` without its frames, and ``valence`` [N, T]; all windows of a clip that
            has a face.
    """
    whole = {name: torch.cat([batch[name] for batch in batches]).numpy() for name in batches[0]}
    traces = []
    for clip in np.unique(whole["clip"]).tolist():
        mine = np.flatnonzero(whole["clip"] == clip)
        mine = mine[np.argsort(whole["time"][mine, 0], kind="stable")]
        inside = whole["inside"][mine]
        own = {name: whole[name][mine][inside] for name in ("time", "valence", "found", "labelled", "target")}
        values, _ = fill_gaps(own["time"], own["valence"], own["found"])
        traces.append(
            Trace(own["time"], values, np.where(own["labelled"], own["target"].astype(float), np.nan))
        )
    return traces


def build_sta(
    model: StaSettings,
    settings: TrainSettings,
    training: Sequence[Row],
    validation: Sequence[Row],
    folder: Path,
) -> tuple[StaModule, tuple[Any, Any]]:
    """A network at random, and the clips it learns from; cuts the faces that are not cut yet.

    Args:
        model: the network.
        settings: of the training.
        training: rows to learn from.
        validation: rows to choose the best weights by.
        folder: where cut faces are kept.

    Returns:
        the module, and the loaders of training and of validation.

    Raises:
        SettingsError: a batch is larger than an epoch.
        DataError: a clip or a trace cannot be read, or nothing is left to learn from or to choose by.
        MissingExtra: rows without keypoints, and no detector.
    """
    cutter = _cut(folder, model, [row for row in (*training, *validation) if row.trace is not None])
    learnt = FaceVideoDataset(training, cutter, settings.seed, train=True)
    held = FaceVideoDataset(validation, cutter, settings.seed, train=False)
    windows = learnt if not model.still_windows else _join_stills(learnt, training, model, settings, folder)
    loaders = load_windows(windows, held, settings)
    known = learnt.target[learnt.labelled & learnt.found]
    moments = float(known.mean()), float(known.std(correction=0))
    return StaModule(build_trace_network(model), settings, moments), loaders


def _cut(folder: Path, model: StaSettings, rows: Sequence[Row]) -> FaceCutter:
    cutter, failures = cut_faces(folder, model, rows)
    if failures:
        more = f" (and {len(failures) - 3} more)" if len(failures) > 3 else ""
        reasons = "; ".join(failure.reason for failure in failures[:3])
        raise DataError(f"{len(failures)} clips cannot be read: {reasons}{more}")
    return cutter


def _join_stills(
    recorded: FaceVideoDataset, rows: Sequence[Row], model: StaSettings, settings: TrainSettings, folder: Path
) -> JoinedWindows:
    stills = [row for row in rows if row.trace is None and "ekman" in row.labels]
    cutter = _cut(folder, replace(model, frames=1, head="frame"), stills)
    return JoinedWindows(recorded, StillWindows(stills, cutter, model, model.still_windows, settings.seed))


def load_windows(
    learnt: FaceVideoDataset | JoinedWindows, held: FaceVideoDataset, settings: TrainSettings
) -> tuple[DataLoader[TraceBatch], DataLoader[TraceBatch]]:
    """Loaders of training, shuffled and without a last small batch, and of validation.

    Raises:
        SettingsError: a batch is larger than an epoch.
    """
    if len(learnt) < settings.batch:
        raise SettingsError("train.batch", settings.batch, f"at most {len(learnt)}, the windows of an epoch")
    return (
        DataLoader(
            learnt,
            sampler=ShuffleSampler(len(learnt), settings.seed),
            batch_size=settings.batch,
            drop_last=True,
            num_workers=settings.workers,
            persistent_workers=settings.workers > 0,
        ),
        DataLoader(held, batch_size=settings.batch),
    )
