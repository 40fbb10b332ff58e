"""A study's folder: what it was started with, what is finished in it, and where its rows start from."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moodreel import __version__
from moodreel.errors import BundleError, DataError, SettingsError
from moodreel.lab.ablation.facts import read_json, refuse_change, refuse_others
from moodreel.lab.ablation.rows import BY_KEY, WITHHELD, settings_of
from moodreel.lab.data.cached import Failure
from moodreel.lab.data.manifest import Manifest
from moodreel.lab.data.toon import is_toon
from moodreel.lab.settings import KavanSettings, Recipe, read_recipe, recipe_from_dict
from moodreel.lab.train import write_json
from moodreel.runtime.bundle import read_bundle
from moodreel.types import StudyCase

DEFAULT_RECIPES: dict[str, dict[str, Any]] = {
    "cached": {"train": {"epochs": 40, "batch": 32, "precision": "32", "keep_by": "nmse"}},
    "end-to-end": {"model": {"backbone_rate": 0.5}, "train": {"epochs": 10, "batch": 32, "keep_by": "nmse"}},
}
"""Recipe of each mode where none is given; the network is KAVAN's preset ``compact``."""

DEFAULT_RATES = {"cached": (1e-3, 5e-3), "end-to-end": (1e-3,)}
"""Learning rates that validation chooses from, row by row and split by split, where no recipe is given: rows
with and without attention want different ones, and a fixed one would favour some."""

STARTS = ("face", "kavan")
"""Bundles whose backbone the rows may start from: the first that has not seen the data."""

VAL, TEST = 0.1, 0.2
"""Shares of the clips; validation chooses the epoch, the rest trains."""


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
        rates: learning rates that validation chooses from for each network row and split; empty for the
            recipe's, or without a recipe for :data:`DEFAULT_RATES`.
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
    rates: tuple[float, ...] = ()
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
        if not all(math.isfinite(rate) and rate > 0 for rate in self.rates):
            raise SettingsError("--rates", self.rates, "numbers above 0")
        for key in self.rows:
            if key not in BY_KEY:
                raise SettingsError("--rows", key, f"of {', '.join(BY_KEY)}")
        if WITHHELD.key in self.rows and not self.withhold:
            raise SettingsError("--rows", WITHHELD.key, "beside --withhold, which says what is withheld")


@dataclass(frozen=True, eq=False)
class Cases:
    """Clips to show; none of them is chosen by its score.

    Attributes:
        labels: for Fig. 1, one clip or none.
        predictions: for Fig. 5, with labels and predictions.
        supervised, attended: for Fig. 6, with keypoint heatmaps and with predicted attention.
        row: key of the row that predicted.
    """

    labels: tuple[StudyCase, ...] = ()
    predictions: tuple[StudyCase, ...] = ()
    supervised: tuple[StudyCase, ...] = ()
    attended: tuple[StudyCase, ...] = ()
    row: str = ""


@dataclass(frozen=True, eq=False)
class Study:
    """Everything that the tables are made of.

    Attributes:
        facts: content of ``study.json``.
        results: one dict a finished row and split: ``row``, ``mode``, ``split``, then scores.
        out: folder.
        failures: clips that could not be read; they are in no split.
        cases: for the pictures; see :class:`Cases`.
    """

    facts: dict[str, Any]
    results: tuple[dict[str, Any], ...]
    out: Path
    failures: tuple[Failure, ...] = ()
    cases: Cases = Cases()


def read_study(out: Path) -> Study:
    """Reads what is finished in a study's folder.

    Raises:
        DataError: the folder holds no study, or a broken one.
    """
    facts = read_json(out / "study.json")
    results = [read_json(path) for path in sorted((out / "splits").glob("*/*.json"))]
    results.sort(key=lambda result: (result["mode"], list(BY_KEY).index(result["row"]), result["split"]))
    return Study(facts, tuple(results), out)


def choose_init(init: str | None, recipe: Recipe, manifest: Manifest) -> str | None:
    """The bundle whose backbone the rows start from.

    Args:
        init: what was asked for; taken as it is.
        recipe: preset ``paper`` without ``init`` keeps its own ``backbone_weights``.
        manifest: the data. A bundle that was trained on it, or on one of its name, would know test clips.

    Raises:
        SettingsError: every bundle that ships has seen the data.
    """
    if init is not None or model_of(recipe).preset == "paper":
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
    mine = {"toon"} if is_toon(manifest.path.resolve().parent) else set()
    for source in sources:
        if source.get("sha256") == manifest.digest or source.get("name") in names:
            return True
        if mine and str(source.get("name", "")).startswith("toon"):
            return True
    return False


def read_options_recipe(options: AblationOptions) -> Recipe:
    """The recipe that was asked for, or that of the mode.

    Raises:
        SettingsError: it is wrong, or lacks what the rows compare.
    """
    if options.recipe is not None:
        recipe = read_recipe(options.recipe, "kavan")
    else:
        recipe = recipe_from_dict(DEFAULT_RECIPES[options.mode], "kavan")
    settings_of(BY_KEY["mtl"], model_of(recipe))  # says now what would be wrong later
    return recipe


def list_rates(options: AblationOptions, recipe: Recipe) -> tuple[float, ...]:
    """Learning rates to choose from."""
    if options.rates:
        return options.rates
    return DEFAULT_RATES[options.mode] if options.recipe is None else (recipe.train.learning_rate,)


def model_of(recipe: Recipe) -> KavanSettings:
    """The network of a recipe of ``kavan``."""
    assert isinstance(recipe.model, KavanSettings)
    return recipe.model


def check_study(
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
        "training": {options.mode: {"recipe": recipe.to_dict(), "rates": list_rates(options, recipe)}},
    }
    facts = json.loads(json.dumps(facts))  # tuples become lists, as in the file
    path = out / "study.json"
    if path.is_file():
        stored = read_json(path)
        training = {**facts["training"], **stored.get("training", {})}
        known = {**stored, "training": {options.mode: training[options.mode]}}
        refuse_change(out, known, facts, free=("manifest", "clips"))  # a path; and what check_clips adds
        facts = {**stored, **facts, "training": training}
    else:
        refuse_others(out)
    out.mkdir(parents=True, exist_ok=True)
    write_json(path, facts)


def check_clips(out: Path, keys: Sequence[str]) -> None:
    """Writes into ``study.json`` what the readable clips are, or compares.

    Args:
        out: folder of the study.
        keys: hash of each clip, in the order of the manifest.

    Raises:
        DataError: a clip was changed, lost or repaired since the study began: its splits would move.
    """
    facts = read_json(out / "study.json")
    digest = hashlib.sha256("\n".join(keys).encode()).hexdigest()
    if facts.setdefault("clips", digest) != digest:
        raise DataError(f"{out}: the clips are not those the study was started with; choose another folder")
    write_json(out / "study.json", facts)
