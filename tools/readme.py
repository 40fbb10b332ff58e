"""Writes the numbers of README.md: scores from the bundles, speed from benchmarks/results.

    python tools/readme.py [--check]

The page is written by hand but for what stands between pairs of marks. ``--check`` writes nothing and ends
with 1 where the page is out of date.
"""

from __future__ import annotations

import json
import statistics
import sys
from typing import Any

from pages import ROOT, replace_part, write_pages

from moodreel.runtime.bundle import BUNDLED

PAGE = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"

PREDICT = "2026-11-29-744f139"
VOTES = "2026-11-21-95f269d-votes"
NEWCOMER = "2026-11-21-c3b1dc0-newcomer"
"""Files of results that the page quotes."""

SCORES = (
    ("face", "FER2013 public test", "fer2013", "accuracy, 7 classes", "accuracy"),
    ("face", "FER2013 public test", "fer2013", "macro-F1, classes of 30 or more", "macro_f1"),
    ("face", "stills by person", "stills", "accuracy, 7 classes", "accuracy"),
    ("face", "stills by person", "stills", "macro-F1, classes of 30 or more", "macro_f1"),
    ("kavan", "emoji by code point, {rated} rated", "emoji",
     "mean Spearman over six emotions", "mean_spearman"),
    ("kavan", "stills by person, as moving clips", "stills_clips",
     "accuracy, 7 classes by the strongest emotion", "accuracy"),
    ("kavan", "stills by person, as moving clips", "stills_clips", "quadrant accuracy", "quadrant_accuracy"),
    ("kavan", "stills by person, as moving clips", "stills_clips",
     "attention's peak on the face (by chance {pointing_chance})", "pointing"),
    ("kavan", "stills by person, as they are", "stills",
     "accuracy, 7 classes by the strongest emotion", "accuracy"),
    ("kavan", "stills by person, as they are", "stills", "quadrant accuracy", "quadrant_accuracy"),
    ("kavan", "FER2013 public test", "fer2013", "mean concordance over six emotions", "mean_concordance"),
    ("kavan", "toon by character", "toon", "mean Spearman over 17 emotions", "mean_spearman"),
    ("kavan", "toon by character", "toon",
     "mean nMSE (predicting the training mean: {mean_nmse_of_training_mean})", "mean_nmse"),
    ("kavan", "toon by character", "toon", "quadrant accuracy", "quadrant_accuracy"),
    ("kavan", "toon by character, faces of at most a quarter of the frame", "toon",
     "attention's peak on the face (by chance {pointing_chance_small})", "pointing_small"),
    ("caca-rnn", "stills by person, as moving clips", "stills_clips", "accuracy, 8 classes", "accuracy"),
    ("caca-rnn", "toon with context, by character", "toon_context",
     "mAP, 8 classes (dlib finds few drawn faces)", "map"),
    ("caca-rnn", "toon with context, faces known", "toon_context, faces known", "mAP, 8 classes", "map"),
    ("sta", "toon by character", "toon", "CCC of valence along time (faces found in {face_share})", "ccc"),
    ("sta", "toon by character, faces known", "toon, faces known", "CCC", "ccc"),
    ("sta", "stills by person, neutral face to an expression and back", "stills_traces_test",
     "CCC; the label is weak", "ccc"),
    ("sta", "the same, where it is a smile", "stills_traces_test",
     "valence is higher during the smile (by chance 0.5)", "smile_rises"),
)  # fmt: skip
"""Bundle, test split, its name in the bundle, score, its name in the bundle."""

COUNTS = {"pointing_small": "pointing_clips_small", "smile_rises": "smile_rises_clips"}
"""Where a score is of fewer than all clips: how many."""


def tell_scores() -> list[str]:
    lines = ["| bundle | test split | files | score | value (95 %) |", "|---|---|---|---|---|"]
    for bundle, split, name, what, key in SCORES:
        found = json.loads((BUNDLED / bundle / "bundle.json").read_text("utf-8"))["scores"][name]
        facts = {k: f"{v:.3f}" for k, v in found.items() if isinstance(v, float)}
        if "emotions" in found:
            facts["rated"] = str(min(one["clips"] for one in found["emotions"].values()))
        value = f"{found[key]:.3f}"
        if (interval := found.get(f"{key}_interval")) is not None:
            value += f" ({interval[0]:.3f}-{interval[1]:.3f})"
        count = found[COUNTS.get(key, "clips")]
        lines.append(
            f"| `{bundle}` | {split.format_map(facts)} | {count} | {what.format_map(facts)} | {value} |"
        )
    return lines


def tell_speed() -> list[str]:
    lines = ["| what | measured | on |", "|---|---|---|"]

    def add(what: str, measured: str, facts: dict[str, Any]) -> None:
        machine = facts["machine"]
        lines.append(f"| {what} | {measured} | {machine['cpu']}, {machine['cores']} cores |")

    facts = read_results(PREDICT)
    seconds, count = facts["seconds"], facts["inputs"]["files"]
    ours, plain = (statistics.median(seconds["predict"][way]) for way in ("ours", "plain"))
    side = facts["inputs"]["median_side"]
    add("one GIF from a cold start to its scores", f"{statistics.median(seconds['cold_start']):.2f} s", facts)
    add(f"{count} GIFs of {side:g} px to scores", f"{count / ours:.0f} clips a second", facts)
    gap = facts["score_difference"]["same_frames"]
    add("the same by Pillow and eager PyTorch on the same weights",
        f"{plain / ours:.1f} times as long; scores differ by {gap:.1e} at most", facts)  # fmt: skip
    facts = read_results(VOTES)
    clock = max(statistics.median(found["clock"]["numba"]) for found in facts["sets"].values())
    add(f"{facts['votes'] / 1e6:.1f} million votes to ratings, file to file", f"{clock:.1f} s", facts)
    facts = read_results(NEWCOMER)
    steps = {step["title"]: step for step in facts["steps"]}
    sizes = [step for step in facts["steps"] if "megabytes" in step]
    core, web, lab = sizes
    add("install and tag the examples", f"{core['seconds']:.0f} s, {core['megabytes']:.0f} MB", facts)
    add("the same with search and the web app", f"{web['megabytes']:.0f} MB", facts)
    add("the same with training (torch as PyPI has it, with CUDA)", f"{lab['megabytes']:.0f} MB", facts)
    tuned = next(step for title, step in steps.items() if title.startswith("Fine-tune"))
    add("fine-tune the bundle on 100 clips of one's own, export, compare, use",
        f"{tuned['seconds']:.0f} s", facts)  # fmt: skip
    return lines


def read_results(name: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    return facts


PARTS = {"scores": tell_scores, "speed": tell_speed}


def renew(text: str) -> str:
    """The page with its parts written anew."""
    for name, tell in PARTS.items():
        begin, end = (f"<!-- tools/readme.py, {name}: {which} -->" for which in ("begin", "end"))
        text = replace_part(text, begin, end, "\n".join(tell()))
    return text


if __name__ == "__main__":
    sys.exit(write_pages(__doc__, [PAGE], renew))
