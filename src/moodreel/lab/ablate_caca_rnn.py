"""``moodreel ablate caca-rnn``: Table I and Table II's shape on any manifest, five seeds a network.

Sun et al. 2018, Sec. V-D: every network is trained five times with other seeds, and the median is reported.
All networks read the same stored features of the same fixed extractors. A clip in which no face was found is
read by the Context-RNN of the same seed, whatever the row; how many those are stands in the report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from moodreel.errors import DataError, SettingsError
from moodreel.lab import metrics
from moodreel.lab.ablation.facts import list_facts
from moodreel.lab.ablation.memory import tell_rates, train_at_rates
from moodreel.lab.ablation.seed_report import Outline
from moodreel.lab.ablation.seed_scores import (
    HeldOut,
    Metric,
    Ordering,
    SeedScores,
    on_rows,
    rate_accuracy,
)
from moodreel.lab.data.labels import class_of
from moodreel.lab.data.manifest import Manifest, Row, read_manifest
from moodreel.lab.data.streams import StreamCache, StreamClips
from moodreel.lab.data.toon_truth import read_truths
from moodreel.lab.ensemble import fit_ensemble
from moodreel.lab.models.caca_rnn import build_caca_rnn
from moodreel.lab.models.caca_rnn_system import Extractors, start_extractors
from moodreel.lab.models.cnn_2d_3d import Cnn2d3d
from moodreel.lab.modules_caca_rnn import CacaRnnModule, Net, predict_batch, score_classes
from moodreel.lab.seed_study import (
    Outcome,
    SeedStudy,
    StudyOptions,
    StudyRow,
    read_seed_study,
    run_seed_study,
)
from moodreel.lab.settings import Recipe, choose_recipe
from moodreel.lab.settings_caca_rnn import CacaRnnSettings
from moodreel.lab.train_caca_rnn import fill_streams, load_streams, open_finder
from moodreel.lab.weights import hash_tensors
from moodreel.types import FloatArray

PAPER_SET = "CHEAVD 2.0"

TABLE_1: Mapping[str, tuple[str, float, float]] = {
    "face": ("Face-RNN", 38.87, 52.72),
    "context": ("Context-RNN", 28.74, 37.68),
    "parallel": ("Parallel-RNN", 40.44, 54.30),
    "concatenated": ("Concatenated-RNN", 39.78, 54.15),
    "caca-a": ("CACA-RNN A", 40.73, 53.01),
    "caca-b": ("CACA-RNN B", 39.91, 54.44),
}
"""Table I: network -> name, mAP and accuracy in percent on the validation set of MEC 2017."""

TABLE_2 = ("2d-3d", "ensemble")
"""What Table II adds: the 2D-3D-CNN, which the paper does not score alone, and CACA-RNN A joined with it."""

PAPER_NOTE = (
    "The paper's Table I is of the validation set of MEC 2017. Its Table II is of the submitted networks, "
    "trained on more data than those of Table I: CACA-RNN has 41.53 % mAP and 51.34 % accuracy on "
    "validation, 45.51 and 47.30 on the testing set; joined with the 2D-3D-CNN 52.16 and 56.58, 44.74 and "
    "52.99; the challenge's baseline 34.1 and 36.5, 21.7 and 35.3."
)
"""Stands in the report: Table II's numbers belong to no row of ours."""

ENSEMBLE_OF = ("caca-a", "2d-3d")

ORDERINGS = (
    Ordering("face", "context", "map", "Table I"),
    Ordering("parallel", "face", "map", "Table I"),
    Ordering("concatenated", "face", "map", "Table I"),
    Ordering("caca-a", "face", "map", "Table I"),
    Ordering("parallel", "concatenated", "map", "Table I"),
    Ordering("caca-a", "concatenated", "map", "Table I"),
    Ordering("caca-a", "parallel", "map", "Table I"),
    Ordering("caca-a", "caca-b", "map", "Table I"),
    Ordering("parallel", "face", "accuracy", "Table I"),
    Ordering("caca-b", "caca-a", "accuracy", "Table I"),
    Ordering("caca-b", "concatenated", "accuracy", "Table I"),
    Ordering("ensemble", "caca-a", "accuracy", "Table II"),
)
"""What the paper says is better than what."""

DECIDING = (
    Ordering("face", "context", "accuracy", "by construction", "face decides"),
    Ordering("context", "face", "accuracy", "by construction", "scene decides"),
    Ordering("caca-a", "face", "accuracy", "by construction", "scene decides"),
    Ordering("caca-a", "context", "accuracy", "by construction", "face decides"),
)
"""What must hold on toon clips in which it is known whether face or scene decides, if context is read."""

METRICS = (
    Metric("map", "mAP", True, statistic=on_rows(metrics.mean_average_precision, "probabilities", "labels")),
    Metric("accuracy", "accuracy", True, statistic=on_rows(rate_accuracy, "probabilities", "labels")),
    Metric("uar", "UAR", True),
    Metric("validation_map", "mAP, validation", True),
    Metric("validation_accuracy", "accuracy, validation", True),
)


@dataclass(frozen=True, eq=False)
class _Predicted:
    """What a network says of the validation and the test clips, as probabilities [n, K]."""

    validation: FloatArray
    test: FloatArray
    facts: Mapping[str, Any]


def ablate_caca_rnn(
    options: StudyOptions,
    report: Callable[[str], None] = lambda line: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[SeedScores, Outline]:
    """Runs what is not finished yet, and returns everything the tables are made of.

    Args:
        options: see there.
        report: called with a line on each finished run.
        progress: called with (done, total) while features are computed.

    Raises:
        SettingsError, DataError, BundleError: the command, the data or an extractor's bundle is wrong.
        MissingExtra: rows without keypoints, and no detector.
    """
    recipe = choose_recipe(options.recipe, "caca-rnn")
    model = recipe.model
    assert isinstance(model, CacaRnnSettings)
    rows = choose_rows(options.rows, model)
    manifest = read_manifest(options.data)
    parts = {split: _labelled(manifest, split, model) for split in ("train", "val", "test")}
    everything = [row for part in parts.values() for row in part]
    extractors = Extractors(model)
    start_extractors(extractors, model)
    with open_finder(model, everything) as finder:
        with_maps = any(row.key in TABLE_2 for row in rows)
        store = StreamCache(options.cache or options.out / "features", extractors, model, finder, with_maps)
        rates = options.rates or (recipe.train.learning_rate,)
        facts = {
            **list_facts(manifest, options.data, recipe, rates),
            "extractors": hash_tensors(extractors.state_dict()),
            "faces": finder.name,
        }
        options.out.mkdir(exist_ok=True)
        fill_streams(store, everything, lambda done: progress(done, len(everything)))
    clips = {
        split: StreamClips(part, store, model, train=split == "train", seed=0)
        for split, part in parts.items()
    }
    fitter = _Fitter(recipe, model, clips, rates, options.out)
    order = sorted(rows, key=lambda row: (row.key != "context", row.key == "ensemble"))
    run_seed_study(options.out, facts, order, range(options.seeds), fitter.fit, report)
    study = read_seed_study(options.out, rows)
    held_out = _hold_out(manifest, clips["test"], model)
    return SeedScores(study, METRICS, held_out), _outline(study, clips, held_out, model)


def choose_rows(keys: Sequence[str], model: CacaRnnSettings) -> list[StudyRow]:
    """Rows of the study, in the paper's order.

    Raises:
        SettingsError: an unknown key, or an ensemble without its members.
    """
    known = [*TABLE_1, *TABLE_2]
    for key in keys:
        if key not in known:
            raise SettingsError("rows", key, f"some of {', '.join(known)}")
    chosen = [key for key in known if not keys or key in keys]
    if "ensemble" in chosen and not set(ENSEMBLE_OF) <= set(chosen):
        raise SettingsError("rows", "ensemble", f"with {' and '.join(ENSEMBLE_OF)}, which it joins")
    rows = []
    for key in chosen:
        if key in TABLE_1:
            name, mean_ap, accuracy = TABLE_1[key]
            rows.append(
                StudyRow(key, name, count_parameters(key, model), {"map": mean_ap, "accuracy": accuracy})
            )
        elif key == "2d-3d":
            rows.append(StudyRow(key, "2D-3D-CNN", count_parameters(key, model)))
        else:
            rows.append(StudyRow(key, "CACA-RNN A + 2D-3D-CNN"))
    return rows


def build_row(key: str, model: CacaRnnSettings) -> Net:
    """The network of a row, at random."""
    if key == "2d-3d":
        return Cnn2d3d(classes=len(model.classes), dropout=model.dropout)
    return build_caca_rnn(settings_of(key, model))


def settings_of(key: str, model: CacaRnnSettings) -> CacaRnnSettings:
    """The settings of a recurrent row: another network, everything else the same."""
    context = "paired" if key == "concatenated" else model.context
    return replace(model, network=key, preset="table", context=context)


def count_parameters(key: str, model: CacaRnnSettings) -> int:
    """Trained weights of a row's network, extractors left out as in Table I."""
    return sum(parameter.numel() for parameter in build_row(key, model).parameters())


class _Fitter:
    """Trains rows. Predictions of finished ones are read from the study's folder."""

    def __init__(
        self,
        recipe: Recipe,
        model: CacaRnnSettings,
        clips: Mapping[str, StreamClips],
        rates: Sequence[float],
        out: Path,
    ) -> None:
        self.recipe, self.model, self.clips, self.rates, self.out = recipe, model, clips, rates, out
        self._known: dict[tuple[str, int], _Predicted] = {}

    def fit(self, row: StudyRow, seed: int) -> Outcome:
        """See :data:`moodreel.lab.seed_study.Fit`."""
        said = self._join(seed) if row.key == "ensemble" else self._predict(row.key, seed)
        labels = {split: self.clips[split].labels.numpy() for split in ("val", "test")}
        held = score_classes(said.validation, labels["val"])
        return Outcome(
            {
                **score_classes(said.test, labels["test"]),
                "validation_map": held["map"],
                "validation_accuracy": held["accuracy"],
            },
            {"probabilities": said.test, "labels": labels["test"]},
            {**said.facts, "validation": said.validation.round(6).tolist()},
        )

    def _predict(self, key: str, seed: int) -> _Predicted:
        if (key, seed) not in self._known:
            self._known[key, seed] = self._recall(key, seed) or self._train(key, seed)
        return self._known[key, seed]

    def _recall(self, key: str, seed: int) -> _Predicted | None:
        """What a finished run predicted."""
        rows = choose_rows([key], self.model)
        for run in read_seed_study(self.out, rows).runs:
            if run.seed == seed:
                validation = np.array(run.facts["validation"], float)
                return _Predicted(validation, run.arrays["probabilities"], run.facts)
        return None

    def _train(self, key: str, seed: int) -> _Predicted:
        net, facts = train_at_rates(
            lambda settings: CacaRnnModule(build_row(key, self.model), settings),
            lambda settings: load_streams(self.clips["train"], self.clips["val"], settings),
            replace(self.recipe.train, seed=seed),
            self.rates,
        )
        said = {split: self._ask(key, net, seed, split) for split in ("val", "test")}
        return _Predicted(said["val"], said["test"], facts)

    def _ask(self, key: str, net: nn.Module, seed: int, split: str) -> FloatArray:
        """[n, K]; clips that a network cannot read are Context-RNN's."""
        clips, parts = self.clips[split], []
        with torch.no_grad():
            for start in range(0, len(clips), 64):
                batch = clips[range(start, min(start + 64, len(clips)))]
                parts.append(predict_batch([net], batch).numpy())
        said: FloatArray = np.concatenate(parts).astype(np.float64)
        unread = said.sum(axis=1) == 0
        if unread.any():
            other = self._predict("context", seed)
            said[unread] = (other.validation if split == "val" else other.test)[unread]
        return said

    def _join(self, seed: int) -> _Predicted:
        """The ensemble of Table II: linear weights that are best on validation."""
        members = [self._predict(key, seed) for key in ENSEMBLE_OF]
        labels = self.clips["val"].labels.numpy()
        weights = fit_ensemble([member.validation for member in members], labels)
        facts = {"weights": dict(zip(ENSEMBLE_OF, weights.tolist(), strict=True))}
        validation = sum(w * member.validation for w, member in zip(weights, members, strict=True))
        test = sum(w * member.test for w, member in zip(weights, members, strict=True))
        return _Predicted(np.asarray(validation), np.asarray(test), facts)


def _labelled(manifest: Manifest, split: str, model: CacaRnnSettings) -> list[Row]:
    rows = [row for row in manifest.select(split) if class_of(row, model.vocabulary) >= 0]
    if not rows:
        raise DataError(f"{manifest.path}: no row of split {split!r} has label_{model.vocabulary}")
    return rows


def _hold_out(manifest: Manifest, test: StreamClips, model: CacaRnnSettings) -> HeldOut:
    return HeldOut([row.group for row in test.rows], _find_parts(manifest, test), model.classes)


def _find_parts(manifest: Manifest, test: StreamClips) -> dict[str, Any]:
    """Parts of the test clips: who decides, in a toon set that knows; with and without a face."""
    parts = {}
    truths = read_truths(manifest.path, test.rows)
    for who in ("face", "scene", "both"):
        mask = np.array([truth.decides == who for truth in truths or ()])
        if mask.any():
            parts[f"{who} decides" if who != "both" else "both decide"] = mask
    with_face = test.has_face.numpy()
    if not with_face.all():
        parts["no face found"] = ~with_face
    return parts


def _outline(
    study: SeedStudy, clips: Mapping[str, StreamClips], held_out: HeldOut, model: CacaRnnSettings
) -> Outline:
    rows = {row.key for row in study.rows}
    counts = {split: len(part) for split, part in clips.items()}
    without = int((~clips["test"].has_face).sum())
    extractor = "SqueezeNet 1.1"
    if model.extractor == "compact":
        extractor = f"the backbone of `{model.context_bundle}`"
    notes = (
        f"Data: {study.facts['name']}, manifest sha256 {study.facts['sha256'][:12]}; {counts['train']} clips "
        f"to train on, {counts['val']} to validate, {counts['test']} to test.",
        f"Features of fixed extractors, computed once: faces of {model.face_size} px by the bundle "
        f"`{model.face_bundle}`, the frame's middle square of {model.context_size} px by {extractor}; "
        f"{model.fps:g} frames a second. Faces: {study.facts['faces']}.",
        f"Learning rate: {tell_rates(study.facts['rates'])}; the epoch with the best mean of mAP and "
        "accuracy on validation is kept; the test clips choose nothing.",
        f"No face was found in {without} test clips: there every row says what Context-RNN of its seed says.",
        PAPER_NOTE,
    )
    orderings = [
        order
        for order in (*ORDERINGS, *DECIDING)
        if {order.better, order.worse} <= rows and (not order.part or order.part in held_out.parts)
    ]
    return Outline("CACA-RNN and its rivals", PAPER_SET, tuple(orderings), notes=notes)
