"""The ablation of KAVAN: every row of the paper's Tables 1 and 2 on random grouped splits of one data set.

A study lies in a folder: ``study.json`` (what it was started with), ``splits/N/ROW.json`` and ``.npz``
(scores and predictions of a finished row), then the tables. What is finished is never done again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from moodreel.errors import DataError
from moodreel.lab.ablation.cases import pick_cases
from moodreel.lab.ablation.fit import (
    Fitted,
    Labels,
    Prediction,
    base_network,
    fit_cached,
    fit_end_to_end,
    fit_linear,
    predict_mean,
)
from moodreel.lab.ablation.folder import (
    TEST,
    VAL,
    AblationOptions,
    Study,
    check_clips,
    check_study,
    choose_init,
    list_rates,
    model_of,
    read_options_recipe,
    read_study,
)
from moodreel.lab.ablation.rows import BY_KEY, ROWS, WITHHELD, AblationRow, settings_of
from moodreel.lab.ablation.scores import (
    find_hidden,
    score_attention,
    score_labels,
    score_order,
)
from moodreel.lab.data.cached import CachedClips, FeatureCache
from moodreel.lab.data.labels import category_of, intensities_of
from moodreel.lab.data.manifest import Manifest, read_manifest
from moodreel.lab.data.toon_truth import ToonTruth, read_truths
from moodreel.lab.models.baselines import FaceFinder, KeypointFaces, PictureCache
from moodreel.lab.protocols import Split, split_groups
from moodreel.lab.settings import Recipe
from moodreel.lab.train import write_json
from moodreel.lab.weights import hash_tensors
from moodreel.runtime.files import replace_file
from moodreel.types import BoolArray, FloatArray

Report = Callable[[str], None]


def ablate(
    options: AblationOptions,
    finder: FaceFinder | None = None,
    report: Report = lambda line: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Study:
    """Runs what is not finished yet.

    Args:
        options: what to run.
        finder: of faces, for the Face Expression rows; None takes the manifest's keypoints.
        report: called with a line on each finished row.
        progress: called with (done, total) while features are computed.

    Returns:
        all results in the folder, earlier ones included; tables are not written here.

    Raises:
        SettingsError, DataError, BundleError: the command, the data or the start is wrong, or the folder
            holds a study of something else.
    """
    manifest = read_manifest(options.data)
    recipe = read_options_recipe(options)
    labelled = [row for row in manifest.rows if intensities_of(row) or category_of(row)]
    if not labelled:
        raise DataError(f"{options.data}: no row has a label")
    find_hidden(options.withhold, labelled, read_truths(manifest.path, labelled))  # says what is wrong early
    init = choose_init(options.init, recipe, manifest)
    net = base_network(model_of(recipe), init)
    folder = options.cache or options.out / "features"
    finder = finder or KeypointFaces()
    check_study(options, manifest, recipe, init, hash_tensors(net.backbone.state_dict()), finder.name)
    cache = FeatureCache(folder, net, model_of(recipe))
    failures = cache.fill(labelled, lambda done: progress(done, len(labelled)))
    unread = {failure.clip for failure in failures}
    rows = [row for row in labelled if row.clip not in unread]
    if not rows:
        raise DataError(
            f"{options.data}: none of the {len(labelled)} labelled clips could be read: {failures[0].reason}"
        )
    clips = CachedClips(rows, cache)
    check_clips(options.out, clips.keys)
    bench = _Bench(options, recipe, init, manifest, clips, folder, finder)
    bench.run(report, progress)
    cases = pick_cases(options.out, clips, bench.hidden)
    return replace(read_study(options.out), failures=tuple(failures), cases=cases)


class _Bench:
    """All rows and splits of a study, with what they share."""

    def __init__(
        self,
        options: AblationOptions,
        recipe: Recipe,
        init: str | None,
        manifest: Manifest,
        clips: CachedClips,
        folder: Path,
        finder: FaceFinder,
    ) -> None:
        self.options, self.recipe, self.init = options, recipe, init
        self.clips, self.rows = clips, clips.rows
        self.labels = Labels.of(self.rows)
        self.boxes: FloatArray = clips.store.gather(clips.keys, "boxes").astype(float)
        self.truths: list[ToonTruth] | None = read_truths(manifest.path, self.rows)
        self.hidden: BoolArray = find_hidden(options.withhold, self.rows, self.truths)
        self.folder, self.finder = folder, finder
        self.pictures: PictureCache | None = None

    def run(self, report: Report, progress: Callable[[int, int], None]) -> None:
        """Does what is not finished yet, split by split."""
        chosen = self._choose_rows()
        groups = [row.group for row in self.rows]
        for number in range(self.options.splits):
            split = split_groups(groups, number, self.options.seed, VAL, TEST)
            for row in chosen:
                mode = self.options.mode
                name = row.key if mode == "cached" else f"{row.key}.{mode}"
                path = self.options.out / "splits" / str(number) / f"{name}.json"
                if path.is_file():
                    continue
                begin = time.monotonic()
                if row.kind == "linear":
                    self._open_pictures(progress)
                result = self._do(row, mode, split, number, path)
                seconds = time.monotonic() - begin
                write_json(path, result | {"seconds": round(seconds, 1)})
                report(
                    f"split {number + 1} of {self.options.splits}, {name}: accuracy {result['accuracy']:.3f}"
                    + (f", nMSE {result['nmse']:.3f}" if "nmse" in result else "")
                    + f" ({seconds:.0f} s)"
                )

    def _choose_rows(self) -> list[AblationRow]:
        keys = self.options.rows
        if keys:
            chosen = [row for row in BY_KEY.values() if row.key in keys]
        else:
            chosen = [*ROWS, *([WITHHELD] if self.options.withhold else [])]
        if self.options.end_to_end:
            chosen = [row for row in chosen if row.kind == "network"]
        return chosen

    def _open_pictures(self, progress: Callable[[int, int], None]) -> None:
        if self.pictures is None:
            self.pictures = PictureCache(self.folder, self.finder, model_of(self.recipe).frames)
            failures = self.pictures.fill(self.rows, lambda done: progress(done, len(self.rows)))
            if failures:
                raise DataError(f"{failures[0].clip}: was readable a moment ago: {failures[0].reason}")

    def _do(self, row: AblationRow, mode: str, split: Split, number: int, path: Path) -> dict[str, Any]:
        """Fits and scores one row on one split, and keeps its predictions of the test clips."""
        fitted = np.concatenate([split.train, split.val])
        result: dict[str, Any] = {
            "row": row.key,
            "mode": mode,
            "split": number,
            "clips": {part: len(getattr(split, part)) for part in ("train", "val", "test")},
        }
        train_attention: dict[str, Any] = {}
        if row.kind == "constant":
            prediction = predict_mean(self.labels, split)
        elif row.kind == "linear":
            assert self.pictures is not None
            prediction = fit_linear(row.key, self.pictures, self.clips.keys, self.labels, split)
            if row.key != "histogram":
                faces = self.pictures.store.gather(self.clips.keys, "faces")
                result["without_face"] = {
                    "train": int((faces[fitted] == 0).sum()),
                    "test": int((faces[split.test] == 0).sum()),
                }
        else:
            fit, rate = self._choose(row, mode, split, number)
            prediction = fit.predict(split.test.tolist())
            result |= {"epoch": prediction.epoch, "rate": rate}
            hidden = self.hidden[split.train] if row.key == WITHHELD.key else False
            pointed = self.clips.supervised[split.train].numpy().any(axis=1) & ~np.asarray(hidden)
            result["train_with_keypoints"] = int(pointed.sum())
            if self.options.withhold.startswith("groups") and row.attention:
                train_attention = self._look(fit.predict(split.train.tolist()), split.train, "training clips")
        result |= score_labels(prediction, self.labels, fitted, split.test)
        order = score_order(prediction, self.labels, split.test, self.truths)
        if order:
            result["order"] = order
        attention = self._look(prediction, split.test, "test clips") | train_attention
        if attention:
            result["attention"] = attention
        _keep(path.with_suffix(".npz"), prediction, split)
        return result

    def _choose(self, row: AblationRow, mode: str, split: Split, number: int) -> tuple[Fitted, float]:
        """The fit that validates best among the learning rates, and its rate."""
        rates = list_rates(self.options, self.recipe)
        fits = [(self._fit(row, mode, split, number, rate), rate) for rate in rates]
        return max(fits, key=lambda fit: fit[0].score)

    def _fit(self, row: AblationRow, mode: str, split: Split, number: int, rate: float) -> Fitted:
        model = settings_of(row, model_of(self.recipe))
        # One seed a split: rows differ in what they are, not in their luck, as far as that goes.
        seed = self.options.seed * 1000 + number
        recipe = replace(self.recipe, train=replace(self.recipe.train, seed=seed, learning_rate=rate))
        hidden = np.flatnonzero(self.hidden).tolist() if row.key == WITHHELD.key else []
        if mode == "cached":
            return fit_cached(self.clips, split, recipe, model, hidden)
        run = self.options.out / "runs" / f"{row.key}-{number}-{rate:g}"
        return fit_end_to_end(self.rows, split, recipe, model, self.init, run, hidden)

    def _look(self, prediction: Prediction, index: np.ndarray, name: str) -> dict[str, Any]:
        """Attention scores of clips, those of withheld kinds apart."""
        if prediction.attention is None:
            return {}
        hidden = self.hidden[index]
        sets = {name: np.ones(len(index), bool)}
        if self.options.withhold:
            sets = {f"{name}, keypoints shown": ~hidden, f"{name}, keypoints withheld": hidden}
        return score_attention(prediction.attention, self.boxes[index], sets)


def _keep(path: Path, prediction: Prediction, split: Split) -> None:
    """Writes the predictions of the test clips; the row's JSON, written after, makes them count."""
    arrays: dict[str, Any] = {"index": split.test, "category": prediction.category}
    if prediction.intensities is not None:
        arrays["intensities"] = prediction.intensities.astype(np.float32)
    if prediction.attention is not None:
        arrays["attention"] = prediction.attention.astype(np.float16)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as file:
        np.savez_compressed(file, **arrays)
