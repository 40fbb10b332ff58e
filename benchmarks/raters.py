"""How well lags and gold standards come out, on toon traces, whose lags and truth are known.

    moodreel synth toons_3 --clips 60 --seed 3 && moodreel synth toons_5 --clips 100 --seed 5
    python benchmarks/raters.py toons_3 toons_5

Takes each set's clips one by one and together, by slopes and by levels, and compares the lags (relative to
their mean) with those of ``truth/``, and plain mean and gold standard with the true trace. Clips are "moving"
where the truth has a standard deviation above 0.1, else "still". Writes DATE-COMMIT-raters.md into
benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from machine import RESULTS, stamp, write_report

from moodreel.labels.gold import GoldSettings, make_gold
from moodreel.labels.lags import BASES, Lags, LagSettings, estimate_lags
from moodreel.labels.traces import Traces, read_traces

MOVES = 0.1
SLIDER = 0.04
"""Seconds that toon raters' smoothing (0.12 s) adds to their lags."""


def read_set(folder: Path) -> tuple[list[Traces], np.ndarray]:
    """(traces, [clips, raters] true lags) of a toon set."""
    paths = sorted((folder / "traces").glob("*.csv"))
    lags = [json.loads((folder / "truth" / f"{path.stem}.json").read_text())["lags"] for path in paths]
    return [read_traces(path) for path in paths], np.array(lags)


def list_lags(files: Sequence[Traces], lags: np.ndarray, moving: np.ndarray) -> list[str]:
    rows = []
    relative = lags - lags.mean(axis=1, keepdims=True)
    for basis in BASES:
        settings = LagSettings(basis=basis)
        found = [estimate_lags([traces], settings) for traces in files]
        known = np.array([one.known for one in found])
        errors = np.abs(np.array([one.seconds for one in found]) - relative)
        for name, chosen in (("moving", moving), ("still", ~moving)):
            told = errors[chosen][known[chosen]]
            rows.append(
                f"| {basis} | {name}, one by one | {known[chosen].mean():.0%} | {np.median(told):.3f} "
                f"| {told.mean():.3f} | {(told > 0.1).mean():.0%} |"
            )
        together = estimate_lags(files, settings)
        errors = np.abs(together.seconds - relative.mean(axis=0))
        rows.append(
            f"| {basis} | all together | {np.mean(together.known):.0%} | {np.median(errors):.3f} "
            f"| {errors.mean():.3f} | {(errors > 0.1).mean():.0%} |"
        )
    return rows


def list_errors(files: Sequence[Traces], lags: np.ndarray, moving: np.ndarray) -> list[str]:
    each = [estimate_lags([traces]) for traces in files]
    together = estimate_lags(files)
    delay = round(float(lags.mean(axis=0).min()) + SLIDER, 2)
    ways: dict[str, Callable[[int], tuple[Lags | None, GoldSettings]]] = {
        "plain mean": lambda k: (None, GoldSettings("mean")),
        "ewe, no lags taken off": lambda k: (None, GoldSettings()),
        "ewe, lags of each clip": lambda k: (each[k], GoldSettings()),
        "ewe, lags together": lambda k: (together, GoldSettings()),
        "mean, lags together": lambda k: (together, GoldSettings("mean")),
        f"ewe, lags together, delay {delay}": lambda k: (together, GoldSettings(delay=delay)),
    }
    rows = []
    for name, way in ways.items():
        made = [make_gold(traces, *way(k)) for k, traces in enumerate(files)]
        rmse = np.array([gold.fits["gold"].rmse for gold in made if gold.fits])
        ccc = np.array([gold.fits["gold"].ccc for gold in made if gold.fits])
        rows.append(
            f"| {name} | {rmse[moving].mean():.4f} | {ccc[moving].mean():.3f} | {rmse[~moving].mean():.4f} |"
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", type=Path, metavar="TOONS")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER")
    options = parser.parse_args()
    made = stamp()
    lines = [f"# Lags and gold standards of toon raters, {made['date']}, {made['commit']}"]
    for folder in options.sets:
        files, lags = read_set(folder)
        moving = np.array([float(np.std(traces.truth)) > MOVES for traces in files])
        mark = json.loads((folder / "toon.json").read_text())
        lines += [
            "",
            f"## Seed {mark['seed']}: {len(files)} traces, {moving.sum()} moving",
            "",
            f"True lags, mean over clips: {', '.join(f'{lag:.3f}' for lag in lags.mean(axis=0))} s",
            "",
            "| basis | clips | lags known | median error, s | mean error, s | off by more than 0.1 s |",
            "|---|---|---|---|---|---|",
            *list_lags(files, lags, moving),
            "",
            "| gold standard | RMSE, moving | CCC, moving | RMSE, still |",
            "|---|---|---|---|",
            *list_errors(files, lags, moving),
        ]
    write_report(made, "\n".join(lines) + "\n", "raters", options.out)


if __name__ == "__main__":
    main()
