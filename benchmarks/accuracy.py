"""Writes docs/accuracy.md: the bundles that ship against their targets, and what was tried to reach them.

    python benchmarks/accuracy.py [--log RUN ...] [--out-of-fold FILE] [--ratings FILE]
        [--evaluated BUNDLE FILE ...]

Scores are those in the bundles (measured by ``moodreel export`` on held-out data); what was tried stands in
benchmarks/tried.toml. What needs more than that is kept in benchmarks/training once it was given:

- ``--log``: run folders, whose validation scores are kept epoch by epoch (NAME.csv) and drawn (STAGES);
- ``--out-of-fold``: ``scores.json`` of ``python -m moodreel.lab.out_of_fold`` (out_of_fold.json);
- ``--ratings``: the emoji's ``ratings.csv``, for what a perfect reader would score (ceiling.json);
- ``--evaluated``: scores on sets that no run names (``moodreel evaluate BUNDLE --out FILE``; evaluated.json).
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moodreel.lab.metrics import spearman
from moodreel.runtime.bundle import BUNDLED, list_bundles, read_bundle

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "benchmarks" / "training"
PAGE = ROOT / "docs" / "accuracy.md"
FIGURE = PAGE.with_suffix(".png")

STAGES = {
    "face": ("face_long", "face_settle", "face_more", "face_cool", "face_taught"),
    "kavan": (
        "kavan_blind",
        "kavan_large",
        "kavan_settle",
        "kavan_sharp",
        "kavan_long",
        "kavan_soft",
        "kavan_swift",
        "kavan_swift_more",
        "kavan_settle8",
    ),
    "caca-rnn": ("caca",),
    "sta": ("sta", "sta_settle", "sta_stills", "sta_more", "sta_long", "sta_longer"),
}
"""Bundle -> the runs that it comes from, in order; each has its log in benchmarks/training."""

RATED = ("anger", "disgust", "fear", "joy", "sadness", "surprise")
RATERS = 9
"""Of each emoji of EmoTag: its means are multiples of 1/36, nine people on a scale of 0 to 4."""
ROUNDS = 2000

Scores = Mapping[str, Mapping[str, Any]]
"""Bundle -> its scores, by manifest."""


@dataclass(frozen=True)
class Target:
    """A line of the first table.

    Attributes:
        bundle, what: whose, and what is asked.
        asked: of the bundles' scores, what it should be.
        found: of the bundles' scores, the value, and the key of its interval or None.
        at_most: whether less is better.
    """

    bundle: str
    what: str
    asked: Callable[[Scores], float]
    found: Callable[[Scores], tuple[float, Any]]
    at_most: bool = False


def reads(bundle: str, data: str, key: str) -> Callable[[Scores], tuple[float, Any]]:
    def find(scores: Scores) -> tuple[float, Any]:
        row = scores[bundle][data]
        return row[key], row.get(f"{key}_interval")

    return find


def calibration(bundle: str, data: str) -> Target:
    return Target(
        bundle,
        f"{data}: calibration error of the categories",
        lambda _: 0.05,
        reads(bundle, data, "calibration_error"),
        at_most=True,
    )


def size_of_bundles(scores: Scores) -> tuple[float, Any]:
    return sum(path.stat().st_size for path in BUNDLED.rglob("*") if path.is_file()) / 1e6, None


TARGETS = (
    Target("face", "FER2013 public test: accuracy", lambda _: 0.70, reads("face", "fer2013", "accuracy")),
    Target("face", "stills by person: accuracy", lambda _: 0.90, reads("face", "stills", "accuracy")),
    Target(
        "face",
        "stills by person: macro-F1, classes of 30 or more",
        lambda _: 0.60,
        reads("face", "stills", "macro_f1"),
    ),
    Target(
        "kavan",
        "stills shown as clips: accuracy, 7 classes (asked: `face` on the same pictures less 0.05)",
        lambda scores: scores["face"]["shown"]["accuracy"] - 0.05,
        reads("kavan", "stills_clips", "accuracy"),
    ),
    Target(
        "kavan",
        "toon: attention's peak on faces of at most a quarter of the frame",
        lambda _: 0.90,
        reads("kavan", "toon", "pointing_small"),
    ),
    Target(
        "kavan",
        "emoji over scenes, attention never supervised: its peak on faces of at most a quarter of the frame",
        lambda _: 0.80,
        reads("kavan", "emoji_clips", "pointing_small"),
    ),
    Target(
        "sta",
        "stills blended from neutral to a smile: valence rises",
        lambda _: 1.0,
        reads("sta", "stills_traces_test", "smile_rises"),
    ),
    Target("all", "size of the bundles, MB", lambda _: 40.0, size_of_bundles, at_most=True),
    calibration("face", "fer2013"),
    calibration("face", "stills"),
    calibration("kavan", "stills"),
    calibration("kavan", "stills_clips"),
    calibration("kavan", "emoji"),
    calibration("kavan", "toon"),
    calibration("caca-rnn", "stills_clips"),
    calibration("caca-rnn", "toon_context"),
)


def tell_targets(scores: Scores) -> list[str]:
    lines = ["| bundle | what | asked | measured (95 %) | met |", "|---|---|---|---|---|"]
    for target in TARGETS:
        asked, (value, interval) = target.asked(scores), target.found(scores)
        met = value <= asked if target.at_most else value >= asked
        digits = 4 if round(value, 3) == asked != value else 3  # what decides must be seen
        text = f"{value:.{digits}f}" + (f" ({interval[0]:.3f}-{interval[1]:.3f})" if interval else "")
        sign = "at most" if target.at_most else "at least"
        lines.append(
            f"| {target.bundle} | {target.what} | {sign} {asked:.3g} | {text} | {'yes' if met else 'no'} |"
        )
    return lines


def find_ceiling(ratings: Path) -> dict[str, float]:
    """Spearman that the true means would reach with the means of as many raters, drawn from their spreads."""
    with ratings.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["joy"]]
    rng = np.random.default_rng(0)
    out = {}
    for name in RATED:
        mean = np.array([float(row[name]) for row in rows])
        error = np.array([float(row[f"{name}_std"]) for row in rows]) / np.sqrt(RATERS)
        # the means that we have are one such draw round the true ones; a second draw stands for theirs
        drawn = [spearman(mean, rng.normal(mean, error).clip(0, 1)) for _ in range(ROUNDS)]
        out[name] = float(np.mean(drawn))
    return {"emoji": len(rows), **out, "mean": float(np.mean(list(out.values())))}


def tell_emoji(folds: Path, ceiling: Path) -> list[str]:
    if not folds.is_file():
        return ["Not measured yet by cross-validation."]
    given = json.loads(folds.read_text("utf-8"))
    limit = json.loads(ceiling.read_text("utf-8")) if ceiling.is_file() else {}
    lines = [
        f"{given['clips']} rated animations of {given['groups']} groups, {given['folds']} folds pooled. The",
        "folds are KAVAN fitted to emoji (`recipes/kavan_fold.toml`, whose settings were chosen on these",
        "folds), not the bundle that ships, which reads all kinds of clips; its score on the test emoji is",
        "in its card.",
        "",
        "| emotion | Spearman (95 %) | asked | a perfect reader |",
        "|---|---|---|---|",
    ]
    for name, row in given["spearman"].items():
        low, high = row["interval"]
        asked = {"mean": "0.55", "happiness": "0.70"}.get(name, "")
        best = limit.get("joy" if name == "happiness" else name)
        top = "" if best is None else f"{best:.2f}"
        lines.append(f"| {name} | {row['value']:.3f} ({low:.3f}-{high:.3f}) | {asked} | {top} |")
    if limit:
        lines += [
            "",
            f"A perfect reader knows what all people would say; the ratings are the mean of {RATERS}.",
            "From their spread: how far such means, drawn anew, agree with those that were measured.",
        ]
    return lines


def keep_log(run: Path) -> None:
    """Validation scores of a run, one row an epoch."""
    rows: list[dict[str, str]] = []
    for log in sorted(run.glob("logs/version_*/metrics.csv"), key=lambda p: int(p.parent.name[8:])):
        with log.open(newline="", encoding="utf-8") as stream:
            rows += [row for row in csv.DictReader(stream) if row.get("val/score")]
    columns = ["epoch", *(c for c in rows[0] if c.startswith("val/"))]
    KEPT.mkdir(exist_ok=True)
    with (KEPT / f"{run.name}.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        for row in {row["epoch"]: row for row in rows}.values():  # an epoch that was resumed counts once
            writer.writerow([row["epoch"], *(f"{float(row[c]):.4f}" if row[c] else "" for c in columns[1:])])


def keep_evaluated(name: str, scores: Path, kept: Path) -> None:
    """Scores of a bundle on sets of their own, without slices, beside the digest of what was measured."""
    notes = json.loads(kept.read_text("utf-8")) if kept.is_file() else {}
    plain = {
        data: {key: value for key, value in row.items() if isinstance(value, int | float | list)}
        for data, row in json.loads(scores.read_text("utf-8")).items()
    }
    notes[name] = {"sha256": read_bundle(name).info.sha256["model.onnx"], "scores": plain}
    kept.write_text(json.dumps(notes, indent=1) + "\n", "utf-8")


def read_scores(kept: Path) -> dict[str, dict[str, Any]]:
    """Scores of the bundles that ship: those they hold, and those that were kept of them."""
    notes = json.loads(kept.read_text("utf-8")) if kept.is_file() else {}
    scores = {}
    for name in list_bundles():
        info = read_bundle(name).info
        scores[name] = dict(info.scores)
        if name in notes:
            if notes[name]["sha256"] != info.sha256["model.onnx"]:
                raise SystemExit(f"{kept}: another {name} was measured; give --evaluated {name} FILE")
            scores[name] |= notes[name]["scores"]
    return scores


def draw_curves(stages: Mapping[str, Sequence[Path]]) -> None:
    """A panel a bundle: its stages one after the other, epochs counted through."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.4), dpi=110, layout="constrained")
    for axes, (bundle, logs) in zip(figure.subplots(2, 2).flat, stages.items(), strict=True):
        first = 1
        for log in logs:
            with log.open(newline="", encoding="utf-8") as stream:
                scores = [float(row["val/score"]) for row in csv.DictReader(stream)]
            axes.plot(range(first, first + len(scores)), scores, marker=".", label=log.stem)
            first += len(scores)
        axes.set_title(bundle)
        axes.set_xlabel("epoch")
        axes.set_ylabel("validation score")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, ncols=2, fontsize="small", loc="lower right")
    figure.savefig(FIGURE, metadata={"Software": None})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--log", type=Path, action="append", default=[], help="run folder")
    parser.add_argument("--out-of-fold", type=Path, help="scores.json")
    parser.add_argument("--ratings", type=Path, help="ratings.csv of the emoji")
    parser.add_argument("--evaluated", nargs=2, action="append", default=[], metavar=("BUNDLE", "FILE"))
    options = parser.parse_args()
    folds, ceiling, evaluated = (KEPT / f"{name}.json" for name in ("out_of_fold", "ceiling", "evaluated"))
    KEPT.mkdir(exist_ok=True)
    for run in options.log:
        keep_log(run)
    if options.out_of_fold:
        folds.write_bytes(options.out_of_fold.read_bytes())
    if options.ratings:
        ceiling.write_text(json.dumps(find_ceiling(options.ratings), indent=1) + "\n", "utf-8")
    for name, file in options.evaluated:
        keep_evaluated(name, Path(file), evaluated)
    scores = read_scores(evaluated)
    with (ROOT / "benchmarks" / "tried.toml").open("rb") as file:
        tried = tomllib.load(file)["tried"]
    lines = [
        "# Accuracy: what was asked, what was reached, what was tried",
        "",
        "Written by `benchmarks/accuracy.py`. Scores are those of the bundles that ship, on the test split",
        "of each set, which no training has seen. Weights and settings are chosen on validation, but test",
        "scores of the trials below were read on the way, and spoke for what was tried next and shipped; so",
        "they flatter a little. More of them, class by class and by size and style, in the bundles' cards.",
        "",
        *tell_targets(scores),
        "",
        "Calibration error is the mean gap between confidence and accuracy over ten bins. On few files it",
        "is large by chance alone: the cards say how large.",
        "",
        "## KAVAN on rated emoji, by cross-validation",
        "",
        *tell_emoji(folds, ceiling),
        "",
        "## Validation along the trainings",
        "",
    ]
    draw_curves({bundle: [KEPT / f"{name}.csv" for name in stages] for bundle, stages in STAGES.items()})
    lines += [
        "Each bundle's stages, named as their runs, in the order of [training](training.md); the first of",
        "`face` kept no log. Scores are each system's own, and stages that validate on other sets begin",
        "anew.",
        "",
        f"![Validation score by epoch, a panel a bundle]({FIGURE.name})",
        "",
    ]
    lines += ["## What was tried", "", "| bundle | what | result | kept |", "|---|---|---|---|"]
    lines += [f"| {t['bundle']} | {t['what']} | {t['result']} | {t['kept']} |" for t in tried]
    PAGE.write_text("\n".join(lines) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
