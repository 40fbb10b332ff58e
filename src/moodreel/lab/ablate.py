"""The ablation of KAVAN: every row of the paper's Tables 1 and 2 on random grouped splits of one data set.

A study lies in a folder: ``study.json`` (what it was started with), ``splits/N/ROW.json`` and ``.npz``
(scores and predictions of a finished row), then the tables. What is finished is never done again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from moodreel import __version__
from moodreel.errors import BundleError, DataError, SettingsError
from moodreel.lab.ablation.fit import (
    Labels,
    Prediction,
    Predictor,
    base_network,
    fit_cached,
    fit_end_to_end,
    fit_linear,
    predict_mean,
)
from moodreel.lab.ablation.rows import BY_KEY, ROWS, WITHHELD, AblationRow, settings_of
from moodreel.lab.ablation.scores import (
    ToonTruth,
    find_hidden,
    read_truths,
    score_attention,
    score_labels,
    score_order,
)
from moodreel.lab.data.cached import CachedClips, Failure, FeatureCache, hash_weights
from moodreel.lab.data.labels import category_of, intensities_of
from moodreel.lab.data.manifest import Manifest, Row, read_manifest
from moodreel.lab.models.baselines import FaceFinder, KeypointFaces, PictureCache
from moodreel.lab.protocols import Split, split_groups
from moodreel.lab.settings import KavanSettings, Recipe, read_recipe, recipe_from_dict
from moodreel.lab.train import write_json
from moodreel.runtime.bundle import read_bundle
from moodreel.runtime.files import replace_file
from moodreel.types import BoolArray, FloatArray

DEFAULT_RECIPES: dict[str, dict[str, Any]] = {
    "cached": {"train": {"epochs": 40, "batch": 32, "precision": "32", "keep_by": "nmse"}},
    "end-to-end": {"model": {"backbone_rate": 0.5}, "train": {"epochs": 10, "batch": 32, "keep_by": "nmse"}},
}
"""Recipe of each mode where none is given; the network is KAVAN's preset ``compact``."""

STARTS = ("kavan", "face")
"""Bundles whose backbone the rows may start from: the first that has not seen the data."""

VAL, TEST = 0.1, 0.2
"""Shares of the clips; validation chooses the epoch, the rest trains."""

Report = Callable[[str], None]


@dataclass(frozen=True)
class AblationOptions:
    """What to run.

    Attributes:
        data: manifest.
        out: folder of the study; a study there goes on.
        recipe: TOML file, or None for that of :data:`DEFAULT_RECIPES`.
        init: bundle or run whose backbone all rows start from; None chooses one that has not seen the data.
        splits: random splits.
        seed: of splits and training.
        end_to_end: train the backbones too, instead of reading stored features.
        rows: keys of the rows to run; empty for all.
        withhold: clips whose keypoints one more row may not see; see :func:`find_hidden`.
        cache: folder of stored features; None for ``features`` in the study.
    """

    data: Path
    out: Path
    recipe: Path | None = None
    init: str | None = None
    splits: int = 5
    seed: int = 0
    end_to_end: bool = False
    rows: tuple[str, ...] = ()
    withhold: str = ""
    cache: Path | None = None

    @property
    def mode(self) -> str:
        """How network rows are trained: "cached" or "end-to-end"."""
        return "end-to-end" if self.end_to_end else "cached"

    def __post_init__(self) -> None:
        if self.splits < 1:
            raise SettingsError("--splits", self.splits, "at least 1")
        if self.seed < 0:
            raise SettingsError("--seed", self.seed, "0 or more")
        for key in self.rows:
            if key not in BY_KEY:
                raise SettingsError("--rows", key, f"of {', '.join(BY_KEY)}")


@dataclass(frozen=True, eq=False)
class Study:
    """Everything that the tables are made of.

    Attributes:
        facts: content of ``study.json``.
        results: one dict a finished row and split: ``row``, ``mode``, ``split``, then scores.
        failures: clips that could not be read; they are in no split.
        rows: the clips.
        out: folder.
    """

    facts: dict[str, Any]
    results: tuple[dict[str, Any], ...]
    failures: tuple[Failure, ...]
    rows: tuple[Row, ...] = field(repr=False)
    out: Path


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
    recipe = _read_recipe(options)
    labelled = [row for row in manifest.rows if intensities_of(row) or category_of(row)]
    if not labelled:
        raise DataError(f"{options.data}: no row has a label")
    init = choose_init(options.init, recipe, manifest)
    net = base_network(_model(recipe), init)
    folder = options.cache or options.out / "features"
    finder = finder or KeypointFaces()
    _check_study(options, manifest, recipe, init, hash_weights(net.backbone), finder.name)
    cache = FeatureCache(folder, net, _model(recipe))
    failures = cache.fill(labelled, lambda done: progress(done, len(labelled)))
    unread = {failure.clip for failure in failures}
    rows = [row for row in labelled if row.clip not in unread]
    bench = _Bench(options, recipe, init, manifest, rows, CachedClips(rows, cache), folder, finder)
    bench.run(report, progress)
    return read_study(options.out, tuple(rows), tuple(failures))


def read_study(out: Path, rows: tuple[Row, ...] = (), failures: tuple[Failure, ...] = ()) -> Study:
    """Reads what is finished in a study's folder.

    Raises:
        DataError: the folder holds no study, or a broken one.
    """
    facts = _read_json(out / "study.json")
    results = [_read_json(path) for path in sorted((out / "splits").glob("*/*.json"))]
    results.sort(key=lambda result: (result["mode"], list(BY_KEY).index(result["row"]), result["split"]))
    return Study(facts, tuple(results), failures, rows, out)


class _Bench:
    """All rows and splits of a study, with what they share."""

    def __init__(
        self,
        options: AblationOptions,
        recipe: Recipe,
        init: str | None,
        manifest: Manifest,
        rows: list[Row],
        clips: CachedClips,
        folder: Path,
        finder: FaceFinder,
    ) -> None:
        self.options, self.recipe, self.init, self.rows = options, recipe, init, rows
        self.clips = clips
        self.labels = Labels.of(rows)
        self.boxes: FloatArray = clips.store.gather(clips.keys, "boxes").astype(float)
        self.truths: list[ToonTruth] | None = read_truths(manifest.path, rows)
        self.hidden: BoolArray = find_hidden(options.withhold, rows, self.truths)
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
        if WITHHELD in chosen and not self.options.withhold:
            raise SettingsError("--rows", WITHHELD.key, "beside --withhold, which says what is withheld")
        if self.options.end_to_end:
            chosen = [row for row in chosen if row.kind == "network"]
        return chosen

    def _open_pictures(self, progress: Callable[[int, int], None]) -> None:
        if self.pictures is None:
            self.pictures = PictureCache(self.folder, self.finder, _model(self.recipe).frames)
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
            predict = self._fit(row, mode, split, number)
            prediction = predict(split.test.tolist())
            result["epoch"] = prediction.epoch
            if self.options.withhold.startswith("groups") and row.attention:
                train_attention = self._look(predict(split.train.tolist()), split.train, "training clips")
        result |= score_labels(prediction, self.labels, fitted, split.test)
        order = score_order(prediction, self.labels, split.test, self.truths)
        if order:
            result["order"] = order
        attention = self._look(prediction, split.test, "test clips") | train_attention
        if attention:
            result["attention"] = attention
        _keep(path.with_suffix(".npz"), prediction, split)
        return result

    def _fit(self, row: AblationRow, mode: str, split: Split, number: int) -> Predictor:
        model = settings_of(row, _model(self.recipe))
        # One seed a split: rows differ in what they are, not in their luck, as far as that goes.
        train = replace(self.recipe.train, seed=self.options.seed * 1000 + number)
        recipe = replace(self.recipe, train=train)
        hidden = np.flatnonzero(self.hidden).tolist() if row.key == WITHHELD.key else []
        if mode == "cached":
            return fit_cached(self.clips, split, recipe, model, hidden)
        run = self.options.out / "runs" / f"{row.key}-{number}"
        return fit_end_to_end(self.rows, split, recipe, model, self.init, run, hidden)

    def _look(self, prediction: Prediction, index: np.ndarray, name: str) -> dict[str, Any]:
        """Attention scores of clips, those of withheld kinds apart."""
        if prediction.attention is None:
            return {}
        hidden = self.hidden[index]
        sets = {name: np.ones(len(index), bool)}
        if hidden.any():
            sets = {f"{name}, keypoints shown": ~hidden, f"{name}, keypoints withheld": hidden}
        return score_attention(prediction.attention, self.boxes[index], sets)


def choose_init(init: str | None, recipe: Recipe, manifest: Manifest) -> str | None:
    """The bundle whose backbone the rows start from.

    Args:
        init: what was asked for; taken as it is.
        recipe: preset ``paper`` without ``init`` keeps its own ``backbone_weights``.
        manifest: the data. A bundle that was trained on it, or on one of its name, would know test clips.

    Raises:
        SettingsError: every bundle that ships has seen the data.
    """
    if init is not None or _model(recipe).preset == "paper":
        return init
    for name in STARTS:
        if not has_seen(name, manifest):
            return name
    raise SettingsError(
        "--init", None, f"a bundle that has not seen {manifest.name}; {', '.join(STARTS)} have"
    )


def has_seen(bundle: str, manifest: Manifest) -> bool:
    """Whether a bundle's training names this manifest, by its sha256 or its name; toon sets count as one."""
    try:
        sources = read_bundle(bundle).info.training.get("data", [])
    except BundleError:
        return False  # a run folder, or no bundle at all, which is said elsewhere
    names = {manifest.name}
    mine = {"toon"} if (manifest.path.resolve().parent / "toon.json").is_file() else set()
    for source in sources:
        if source.get("sha256") == manifest.digest or source.get("name") in names:
            return True
        if mine and str(source.get("name", "")).startswith("toon"):
            return True
    return False


def _read_recipe(options: AblationOptions) -> Recipe:
    if options.recipe is not None:
        recipe = read_recipe(options.recipe, "kavan")
    else:
        recipe = recipe_from_dict(DEFAULT_RECIPES[options.mode], "kavan")
    settings_of(BY_KEY["mtl"], _model(recipe))  # says now what would be wrong later
    return recipe


def _model(recipe: Recipe) -> KavanSettings:
    assert isinstance(recipe.model, KavanSettings)
    return recipe.model


def _check_study(
    options: AblationOptions, manifest: Manifest, recipe: Recipe, init: str | None, backbone: str, finder: str
) -> None:
    """Writes ``study.json``, or compares with the one that is there.

    Raises:
        DataError: the folder holds a study of something else, or something that is no study.
    """
    out = options.out
    facts: dict[str, Any] = {
        "moodreel": __version__,
        "system": "kavan",
        "manifest": str(manifest.path.resolve()),
        "name": manifest.name,
        "sha256": manifest.digest,
        "seed": options.seed,
        "shares": {"val": VAL, "test": TEST},
        "init": init,
        "backbone": backbone,
        "init_has_seen_data": init is not None and has_seen(init, manifest),
        "faces": finder,
        "withhold": options.withhold,
        "recipes": {options.mode: recipe.to_dict()},
    }
    facts = json.loads(json.dumps(facts))  # tuples become lists, as in the file
    path = out / "study.json"
    if path.is_file():
        stored = _read_json(path)
        facts["recipes"] = {**stored.get("recipes", {}), **facts["recipes"]}
        known = {**stored, "recipes": {**facts["recipes"], **stored.get("recipes", {})}}
        for name, value in facts.items():
            if name != "manifest" and known.get(name) != value:
                raise DataError(
                    f"{out}: holds a study with another {name} ({_short(known.get(name))}; "
                    f"now {_short(value)}); choose another folder"
                )
    elif out.is_dir() and any(entry.name != "features" for entry in out.iterdir()):
        raise DataError(f"{out}: is not empty and holds no study")
    out.mkdir(parents=True, exist_ok=True)
    write_json(path, facts)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


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


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable: {error}") from error
    return content
