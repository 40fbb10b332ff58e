"""KAVAN's score on a small rated set by cross-validation: no clip is predicted by weights that saw its group.

    python -m moodreel.lab.out_of_fold data/emoji/manifest.csv --init runs/kavan_blind \\
        --recipe recipes/kavan_fold.toml --with data/emoji_words/manifest.csv \\
        --with data/stills/manifest.csv --with data/toon/manifest.csv --folds 5 --out runs/out_of_fold

A split of its own would leave a score to a handful of clips. Here each fold is trained from the same start,
which must not have seen the set, and the predictions of all folds are pooled before they are scored. A fold
that was interrupted goes on where it was, a finished one is kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from moodreel.emotions import EKMAN_TO_GIFGIF
from moodreel.errors import DataError, MoodreelError, require
from moodreel.lab import metrics
from moodreel.lab.data.manifest import Manifest, Row, read_manifest, write_manifest
from moodreel.lab.evaluate import open_target, predict_rows
from moodreel.lab.networks import read_run_data
from moodreel.lab.train import train, write_json
from moodreel.runtime.bundle import read_bundle

ROUNDS = 1000
"""Resamplings of groups behind an interval."""

EMOTIONS = tuple(EKMAN_TO_GIFGIF.values())
"""The six that EmoTag rates, by GIFGIF's names."""


@dataclass(frozen=True)
class Plan:
    """One cross-validation.

    Attributes:
        target: the set that is predicted; its own splits are not used.
        others: sets that train beside it as they are, but for the groups that a fold tests.
        init: run or bundle whose weights every fold starts from.
        recipe: TOML file; ``shares`` stand in the order target, others.
        folds: how many, from 2.
        seed: of the folds.
        out: folder.
    """

    target: Path
    others: tuple[Path, ...]
    init: str
    recipe: Path
    folds: int
    seed: int
    out: Path

    def __post_init__(self) -> None:
        require(self.folds >= 2, "folds", self.folds, "at least 2")


def assign_folds(rows: Sequence[Row], folds: int, seed: int) -> dict[str, int]:
    """Group -> fold; groups with scores are dealt out evenly, and so are the others.

    Args:
        rows: of the set.
        folds: how many.
        seed: of the order in which groups are dealt.

    Raises:
        DataError: fewer groups with scores than folds.
    """
    scored = {row.group for row in rows if row.scores}
    if len(scored) < folds:
        raise DataError(f"{len(scored)} groups with scores cannot fill {folds} folds")
    rng = np.random.default_rng(seed)
    dealt: dict[str, int] = {}
    for names in (sorted(scored), sorted({row.group for row in rows} - scored)):
        dealt |= {names[k]: place % folds for place, k in enumerate(rng.permutation(len(names)))}
    return dealt


def split_fold(
    target: Manifest, others: Sequence[Manifest], dealt: dict[str, int], fold: int
) -> list[list[Row]]:
    """Rows of each manifest as a fold sees them: the target's, then the others'.

    The groups of the fold are the target's test rows, and stand in no other manifest; all its other rows are
    trained on. What validates is the others' validation split.

    Raises:
        DataError: the others have no validation rows.
    """
    tested = {group for group, place in dealt.items() if place == fold}
    rows = [[replace(r, split="test" if r.group in tested else "train") for r in target.rows]]
    for manifest in others:
        kept = [row for row in manifest.rows if row.group not in tested]
        rows.append([replace(r, split="train") if r.group in dealt else r for r in kept])
    if not any(row.split == "val" for part in rows[1:] for row in part):
        raise DataError("--with: none of these manifests has validation rows to choose the best weights by")
    return rows


def check_start(init: str, target: Manifest) -> None:
    """Refuses weights that have seen the set: no fold of it would be held out.

    Raises:
        DataError: they have, as far as their records tell.
    """
    if (Path(init) / "recipe.json").is_file():
        sources: Sequence[dict[str, Any]] = read_run_data(Path(init))
    else:
        sources = read_bundle(init).info.training.get("data", [])
    for source in sources:
        if source["sha256"] == target.digest or source["name"] == target.name:
            raise DataError(f"{init}: was trained on {source['name']}; no fold of it would be held out")


def predict_fold(
    plan: Plan, target: Manifest, others: Sequence[Manifest], fold: int
) -> dict[str, list[float]]:
    """Trains a fold, or goes on with it, and predicts its clips.

    Returns:
        clip's name -> intensities of :data:`EMOTIONS`.
    """
    folder = plan.out / f"fold-{fold}"
    done = folder / "predictions.json"
    if done.is_file():
        kept: dict[str, list[float]] = json.loads(done.read_text("utf-8"))
        return kept
    dealt = assign_folds(target.rows, plan.folds, plan.seed)
    parts = split_fold(target, others, dealt, fold)
    paths = []
    for place, rows in enumerate(parts):
        paths.append(folder / f"{place}-{(target, *others)[place].name}.csv")
        write_manifest(paths[-1], [_resolve(row) for row in rows])
    run = folder / "run"
    resume = (run / "last.ckpt").is_file()
    train("kavan", paths, run, None if resume else plan.recipe, None if resume else plan.init, resume)
    tested = [row for row in parts[0] if row.split == "test" and row.scores]
    pairs = predict_rows(open_target(str(run)), tested)
    found = {row.clip.name: [float(r.emotions[e] or 0.0) for e in EMOTIONS] for row, r in pairs}
    write_json(done, found)
    return found


def _resolve(row: Row) -> Row:
    """The row with absolute paths: its manifest may stand anywhere."""
    files = {name: getattr(row, name) for name in ("clip", "keypoints", "trace")}
    return replace(row, **{name: path.resolve() for name, path in files.items() if path is not None})


def score_pooled(rows: Sequence[Row], found: dict[str, list[float]]) -> dict[str, Any]:
    """Spearman over the pooled predictions, per emotion and on average, with bootstrap intervals over groups.

    Args:
        rows: of the set; those with scores and a prediction count.
        found: clip's name -> intensities of :data:`EMOTIONS`.
    """
    rows = [row for row in rows if row.scores and row.clip.name in found]
    predicted = np.array([found[row.clip.name] for row in rows])
    target = np.array([[row.scores.get(e, np.nan) for e in EMOTIONS] for row in rows])
    groups = [row.group for row in rows]

    def rate(e: int, some: Any) -> float:
        known = some[~np.isnan(target[some, e])]
        if len(known) < 2 or np.ptp(target[known, e]) == 0:
            return float("nan")
        return metrics.spearman(predicted[known, e], target[known, e])

    def mean(some: Any) -> float:
        return float(np.nanmean([rate(e, some) for e in range(len(EMOTIONS))]))

    every = np.arange(len(rows))
    statistics = {name: lambda some, e=e: rate(e, some) for e, name in enumerate(EMOTIONS)} | {"mean": mean}
    return {
        "clips": len(rows),
        "groups": len(set(groups)),
        "spearman": {
            name: {
                "value": statistic(every),
                "interval": metrics.bootstrap_interval(statistic, groups, rounds=ROUNDS),
            }
            for name, statistic in statistics.items()
        },
    }


def cross_validate(plan: Plan) -> dict[str, Any]:
    """Runs all folds and pools them; the scores are also written to ``scores.json``.

    Raises:
        DataError, SettingsError, BundleError: the plan does not work; ``init`` saw the set.
    """
    target, others = read_manifest(plan.target), [read_manifest(path) for path in plan.others]
    check_start(plan.init, target)
    found: dict[str, list[float]] = {}
    for fold in range(plan.folds):
        found |= predict_fold(plan, target, others, fold)
    scores = score_pooled(target.rows, found) | {"folds": plan.folds, "seed": plan.seed}
    write_json(plan.out / "scores.json", scores)
    return scores


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m moodreel.lab.out_of_fold", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("target", type=Path, help="manifest of the rated set")
    parser.add_argument(
        "--with", dest="others", type=Path, action="append", default=[], help="train beside it"
    )
    parser.add_argument("--init", required=True, help="run or bundle that has not seen the set")
    parser.add_argument("--recipe", type=Path, required=True, help="of the training of each fold")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the folds")
    parser.add_argument("--out", type=Path, required=True, help="folder of the folds")
    given = parser.parse_args(arguments)
    try:
        plan = Plan(
            given.target, tuple(given.others), given.init, given.recipe, given.folds, given.seed, given.out
        )
        scores = cross_validate(plan)
    except MoodreelError as error:
        print(f"moodreel: {error}", file=sys.stderr)
        return 2
    print(f"{scores['clips']} clips of {scores['groups']} groups, {plan.folds} folds pooled")
    for name, row in scores["spearman"].items():
        low, high = row["interval"]
        print(f"{name:10} {row['value']:6.3f}  (95 %: {low:.3f} to {high:.3f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
