"""Fits one row of the ablation on one split and predicts its test clips."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader

from moodreel.emotions import GIFGIF_17, QUADRANT_OF, QUADRANTS
from moodreel.errors import DataError
from moodreel.lab import metrics
from moodreel.lab.ablation.memory import quiet_lightning, train_in_memory
from moodreel.lab.data.cached import CachedClips
from moodreel.lab.data.clips import ClipDataset
from moodreel.lab.data.faces import BatchSampler
from moodreel.lab.data.labels import find_supervised, label_arrays
from moodreel.lab.data.manifest import Row
from moodreel.lab.models.baselines import PictureCache, fit_ols, fit_svm, predict_with_faces
from moodreel.lab.models.kavan import Kavan, KavanOutput
from moodreel.lab.modules import KavanModule
from moodreel.lab.networks import load_run, read_run_best
from moodreel.lab.protocols import Indices, Split
from moodreel.lab.settings import KavanSettings, Recipe
from moodreel.lab.train import build_kavan, fit, target_moments, write_json
from moodreel.lab.weights import start_from
from moodreel.types import BoolArray, Float32Array, FloatArray, IntArray

COSTS = (1e-4, 1e-3, 1e-2, 1e-1)
"""Costs that validation chooses the SVM's from."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a row says of some clips.

    Attributes:
        intensities: [n, 17]; None for a row that only classifies.
        category: [n] predicted quadrant.
        attention: [n, T, h, w]; None without attention.
        epoch: whose weights were kept, from 0; None where there are no epochs.
    """

    intensities: FloatArray | None
    category: IntArray
    attention: Float32Array | None = None
    epoch: int | None = None


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained network row.

    Attributes:
        predict: indices of clips of the study -> what it says of them.
        score: of its weights on validation, larger is better.
    """

    predict: Callable[[Sequence[int]], Prediction]
    score: float


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of all clips of a study.

    Attributes:
        scores: [N, 17].
        known: [N, 17] bool.
        category: [N], -1 where unknown.
    """

    scores: FloatArray
    known: BoolArray
    category: IntArray

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Labels:
        """Reads them from rows."""
        parts = [label_arrays(row) for row in rows]
        return cls(
            np.stack([scores for scores, _, _ in parts]).astype(float),
            np.stack([known for _, known, _ in parts]),
            np.array([category for _, _, category in parts]),
        )


def strongest_quadrant(intensities: FloatArray, known: BoolArray) -> IntArray:
    """Quadrant of the strongest intensity: what a row without a class head says of the category.

    Args:
        intensities: [n, 17].
        known: [17] bool, emotions that may be named; at least one.
    """
    quadrant = np.array([QUADRANTS.index(QUADRANT_OF[e]) for e in GIFGIF_17])
    chosen: IntArray = quadrant[np.where(known, intensities, -np.inf).argmax(axis=1)]
    return chosen


def predict_mean(labels: Labels, split: Split) -> Prediction:
    """The mean of each target, and the most frequent quadrant, of what is not test."""
    rows = np.concatenate([split.train, split.val])
    known = labels.known[rows]
    mean = np.where(known, labels.scores[rows], 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    categories = labels.category[rows]
    most = int(np.bincount(categories[categories >= 0], minlength=len(QUADRANTS)).argmax())
    count = len(split.test)
    return Prediction(np.tile(mean, (count, 1)), np.full(count, most))


def fit_linear(
    key: str, pictures: PictureCache, keys: Sequence[str], labels: Labels, split: Split
) -> Prediction:
    """The linear rows; they have nothing to choose by validation (but the SVM's cost) and train on it too.

    Intensities are clipped to their range, which the networks' tanh keeps by itself: with fewer clips than
    features, least squares would leave it by orders of magnitude.

    Args:
        key: of the row.
        pictures: filled.
        keys: [N] of the clips in it.
        labels: of the clips.
        split: of them.
    """
    rows = np.concatenate([split.train, split.val])
    y, mask = labels.scores[rows], labels.known[rows]
    name = {"histogram": "histogram", "face-classes": "classes"}.get(key, "face")
    x = pictures.store.gather(keys, name).astype(float)
    if key == "histogram":
        predicted = fit_ols(x[rows], y, mask).predict(x[split.test]).clip(-1, 1)
        return Prediction(predicted, strongest_quadrant(predicted, mask.any(axis=0)))
    found = pictures.store.gather(keys, "faces") > 0
    if key == "face-svm":
        return Prediction(None, _fit_classes(x, found, labels.category, split))
    predicted = predict_with_faces(x[rows], found[rows], y, mask, x[split.test], found[split.test]).clip(
        -1, 1
    )
    return Prediction(predicted, strongest_quadrant(predicted, mask.any(axis=0)))


def _fit_classes(x: FloatArray, found: BoolArray, category: IntArray, split: Split) -> IntArray:
    """[n] quadrants by a linear SVM on standardised features; the most frequent one without a face."""
    labelled = found & (category >= 0)
    train, val = (rows[labelled[rows]] for rows in (split.train, split.val))
    both = np.concatenate([train, val])
    known = category[np.concatenate([split.train, split.val])]
    classes = len(QUADRANTS)
    most = int(np.bincount(known[known >= 0], minlength=classes).argmax())
    predicted = np.full(len(split.test), most)
    if len(train) and len(val):

        def ask(cost: float, rows: Indices, asked: Indices) -> IntArray:
            centre, spread = x[rows].mean(axis=0), x[rows].std(axis=0)
            z = (x - centre) / np.where(spread > 0, spread, 1.0)
            values = fit_svm(z[rows], category[rows], classes, cost).predict(z[asked])
            chosen: IntArray = values.argmax(axis=1)
            return chosen

        best = max(COSTS, key=lambda cost: metrics.accuracy(ask(cost, train, val), category[val]))
        seen = found[split.test]
        predicted[seen] = ask(best, both, split.test[seen])
    return predicted


def base_network(model: KavanSettings, init: str | None) -> Kavan:
    """A network with the backbone that all rows start from; what follows the backbone is at random.

    Args:
        model: of the recipe.
        init: run or bundle whose backbone is taken; None keeps what ``model.backbone_weights`` says.

    Raises:
        BundleError: the weights are missing or do not fit.
    """
    net = Kavan(model)
    if init is not None:
        start_from(net, init, "backbone.")
    return net.eval()


def fit_cached(
    clips: CachedClips, split: Split, recipe: Recipe, model: KavanSettings, hidden: Sequence[int] = ()
) -> Fitted:
    """Trains a network row on stored features: its backbone stays as it is.

    Args:
        clips: all clips of the study.
        split: of them.
        recipe: how to train.
        model: of this row.
        hidden: clips whose keypoints are not shown.

    Raises:
        DataError: nothing to learn.
    """
    train, val = clips.select(split.train.tolist(), hidden), clips.select(split.val.tolist(), hidden)
    emotions, categories = find_supervised(train.rows)
    if not emotions:
        raise DataError("no emotion has training labels that differ: nothing to learn")
    settings = replace(recipe.train, batch=min(recipe.train.batch, len(train)))
    pl.seed_everything(settings.seed, verbose=False)
    model = replace(model, backbone_weights="none", backbone_rate=0.0)
    even = np.full(len(train), 1 / len(train))
    module = KavanModule(
        Kavan(model, emotions, categories),
        model,
        settings,
        *target_moments(train.scores.numpy(), train.known.numpy(), even),
    )
    loaders = [
        DataLoader(
            part,
            sampler=BatchSampler(len(part), settings.batch, shuffle=part is train, seed=settings.seed),
            batch_size=None,
        )
        for part in (train, val)
    ]
    keep = train_in_memory(module, loaders[0], loaders[1], frozen="backbone.")
    net = module.net

    def predict(index: Sequence[int]) -> Prediction:
        def see(places: Sequence[int]) -> KavanOutput:
            return net.read(clips[places]["features"].float())

        return _predict(see, list(index), net, model, keep.epoch)

    return Fitted(predict, keep.best)


def fit_end_to_end(
    rows: Sequence[Row],
    split: Split,
    recipe: Recipe,
    model: KavanSettings,
    init: str | None,
    run: Path,
    hidden: Sequence[int] = (),
) -> Fitted:
    """Trains a network row as ``moodreel train`` does, its backbone too, from frames sampled anew each epoch.

    A run that was cut off goes on from its last epoch.

    Args:
        rows: all clips of the study.
        split: of them.
        recipe: how to train.
        model: of this row.
        init: run or bundle whose backbone it starts from.
        run: run folder.
        hidden: clips whose keypoints are not shown.
    """
    unseen = set(hidden)
    shown = [replace(row, keypoints=None) if i in unseen else row for i, row in enumerate(rows)]
    training, validation = [shown[i] for i in split.train], [shown[i] for i in split.val]
    settings = replace(recipe.train, batch=min(recipe.train.batch, len(training)))
    recipe = replace(recipe, model=model, train=settings)
    pl.seed_everything(settings.seed, verbose=False)
    even = np.full(len(training), 1 / len(training))
    module, loaders = build_kavan(recipe, model, training, validation, even)
    if init is not None:
        start_from(module.net, init, "backbone.")
    run.mkdir(parents=True, exist_ok=True)
    write_json(run / "recipe.json", recipe.to_dict())
    quiet_lightning()
    with contextlib.redirect_stdout(sys.stderr):  # where progress belongs
        fit(module, loaders, recipe, run, resume=(run / "last.ckpt").is_file())
    net = load_run(run)[1]
    assert isinstance(net, Kavan)
    best = read_run_best(run)
    epoch = int(best["epoch"])

    def predict(index: Sequence[int]) -> Prediction:
        clips = ClipDataset([rows[i] for i in index], model, settings.seed, train=False)

        def see(places: Sequence[int]) -> KavanOutput:
            frames = torch.stack([clips[place]["frames"] for place in places])
            out: KavanOutput = net(net.normalise(frames))
            return out

        return _predict(see, list(range(len(index))), net, model, epoch)

    return Fitted(predict, float(best["validation"]["score"]))


def _predict(
    see: Callable[[Sequence[int]], KavanOutput],
    places: list[int],
    net: Kavan,
    model: KavanSettings,
    epoch: int,
) -> Prediction:
    intensities, logits, attention = [], [], []
    with torch.no_grad():
        for start in range(0, len(places), 64):
            out = see(places[start : start + 64])
            intensities.append(out.intensities[:, -1].numpy())
            logits.append(out.logits[:, -1].numpy())
            if out.attention is not None:
                attention.append(out.attention.numpy())
    scores = np.concatenate(intensities).astype(float)
    if model.weight_category:
        category = np.concatenate(logits).argmax(axis=1)
    else:
        category = strongest_quadrant(scores, net.supervised_emotions.numpy())
    if not attention:
        return Prediction(scores, category, None, epoch)
    maps = np.concatenate(attention)
    return Prediction(scores, category, maps.reshape(*maps.shape[:2], net.grid, net.grid), epoch)
