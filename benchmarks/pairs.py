"""Measures how many votes a ranking takes, by how pairs are chosen.

    python benchmarks/pairs.py [--items 200] [--votes 24] [--seeds 10]

Items of known strength, voters after the model of toon sets (``moodreel.lab.data.toon_raters``: noise of
0.08 to 0.25 on each strength, "neither" where both stay below 0.2 or differ by less than 0.08, 4 % blind),
and live ratings, one vote after another. Two kinds of strengths:

- even: drawn evenly from 0 to 1, so that all places of the ranking are to be found;
- toon: those of one emotion in a toon set, where most clips show little or nothing of it (as in any library).
  Spearman there over the clips that show some, above 0.05.

Ways to choose, on the same strengths and seeds:

- chance: every pair drawn evenly;
- open: the default, ``choose_pair`` with a fifth left to chance;
- open, none by chance: the same without that fifth;
- gain: as the default, but the second item is the one whose vote is expected to lower the summed variance
  most.

Spearman's correlation of rating and strength, mean over the seeds, after so many votes an item (each vote
names two items), with the paired difference from chance and its standard error. Writes DATE-COMMIT-pairs.md
and .json into benchmarks/results. Needs the ``dev`` extra.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import RESULTS, describe_machine, run_benchmark, stamp

from moodreel.emotions import GIFGIF_17
from moodreel.lab.data.toon_clip import draw_acting
from moodreel.lab.data.toon_programmes import score_emotions
from moodreel.labels import pairs
from moodreel.labels.pairs import SHARE, choose_pair
from moodreel.labels.votes_live import LiveRatings
from moodreel.labels.votes_trueskill import PLAIN, TrueSkill
from moodreel.runtime.machine import format_machine
from moodreel.types import FloatArray

PACKAGES = ("moodreel", "numpy")
WAYS = ("chance", "open", "open, none by chance", "gain")
SHOWN = 0.05
GOALS = (0.8, 0.9, 0.95)


def draw_even(items: int, seed: int) -> FloatArray:
    return np.random.default_rng([seed, 1]).uniform(0, 1, items)


def draw_toon(items: int, seed: int) -> FloatArray:
    """Strengths of one emotion, another for each seed, in a toon set."""
    rng = np.random.default_rng([seed, 2])
    emotion = GIFGIF_17[seed % 17]
    kinds = [*GIFGIF_17, "neutral", "any"]
    found = [score_emotions(draw_acting(kinds[k % len(kinds)], rng).strengths)[emotion] for k in range(items)]
    return rng.permutation((np.array(found) + 1) / 2)


STRENGTHS = {"even": draw_even, "toon": draw_toon}


def vote(strengths: FloatArray, left: int, right: int, rng: np.random.Generator) -> int:
    """0 left, 1 right, 2 neither."""
    if rng.random() < 0.04:
        return int(rng.integers(3))
    noise = rng.uniform(0.08, 0.25)
    one, other = strengths[[left, right]] + rng.normal(0, noise, 2)
    return 2 if max(one, other) < 0.2 or abs(one - other) < 0.08 else int(other > one)


def find_gain(
    mu: FloatArray, variance: FloatArray, one: int, others: FloatArray, settings: TrueSkill
) -> FloatArray:
    """Minus the variance that a vote on each pair is expected to take off both items."""
    gains = []
    a = variance[one]
    for b, mean in zip(variance[others].tolist(), mu[others].tolist(), strict=True):
        c = math.sqrt(a + b + 2 * settings.beta**2)
        t, epsilon = (mu[one] - mean) / c, settings.margin / c
        won, lost = (0.5 * math.erfc((epsilon - way * t) / math.sqrt(2)) for way in (1, -1))
        w = won * PLAIN.correct_win(t - epsilon)[1] + lost * PLAIN.correct_win(-t - epsilon)[1]
        w += max(0.0, 1 - won - lost) * PLAIN.correct_draw(t, epsilon)[1]
        gains.append(-(a * a + b * b) / c**2 * w)
    return np.array(gains)


def find_ranks(values: FloatArray) -> FloatArray:
    """Ranks, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[inverse]


def correlate(mu: FloatArray, strengths: FloatArray, kind: str) -> float:
    kept = strengths > SHOWN if kind == "toon" else np.ones(len(mu), np.bool_)
    return float(np.corrcoef(find_ranks(mu[kept]), find_ranks(strengths[kept]))[0, 1])


def run(way: str, kind: str, items: int, votes: int, seed: int) -> list[float]:
    """Spearman after 1, 2 ... votes an item."""
    strengths = STRENGTHS[kind](items, seed)
    rng = np.random.default_rng([seed, 3])
    live, offered, found = LiveRatings(), np.arange(items), []
    share = {"chance": 1.0, "open, none by chance": 0.0}.get(way, SHARE)
    default = pairs.measure_openness
    if way == "gain":
        pairs.measure_openness = find_gain  # type: ignore[assignment]
    try:
        for number in range(items * votes // 2):
            mu, variance, _ = live.get(items)
            pair = choose_pair(mu, variance, offered, rng, share=share)
            assert pair is not None
            live.add(number, pair.left, pair.right, vote(strengths, pair.left, pair.right, rng))
            if (2 * (number + 1)) % items == 0:
                found.append(correlate(live.get(items)[0], strengths, kind))
    finally:
        pairs.measure_openness = default
    return found


def time_choice(items: int) -> float:
    """Milliseconds to choose a pair among so many."""
    live = LiveRatings()
    mu, variance, _ = live.get(items)
    rng = np.random.default_rng(0)
    begin = time.perf_counter()
    for _ in range(50):
        choose_pair(mu, variance, np.arange(items), rng)
    return 1e3 * (time.perf_counter() - begin) / 50


def measure(options: argparse.Namespace) -> dict[str, Any]:
    found = {
        kind: {
            way: [run(way, kind, options.items, options.votes, seed) for seed in range(options.seeds)]
            for way in WAYS
        }
        for kind in STRENGTHS
    }
    return {
        **stamp(),
        "machine": describe_machine(PACKAGES),
        "items": options.items,
        "votes": options.votes,
        "seeds": options.seeds,
        "spearman": found,
        "choice_ms": {str(items): time_choice(items) for items in (200, 6119, 100_000)},
    }


def find_need(curve: FloatArray, goal: float) -> str:
    """Votes an item at which the mean curve first reaches a goal and stays above it."""
    below = np.flatnonzero(curve < goal)
    first = int(below[-1]) + 2 if len(below) else 1
    return str(first) if first <= len(curve) else f"over {len(curve)}"


def format_report(facts: dict[str, Any]) -> str:
    lines = [
        f"# Pairs, {facts['date']}, {facts['commit']}",
        "",
        *format_machine(facts["machine"]),
        f"- {facts['items']} items, {facts['seeds']} seeds; Spearman of rating and strength, mean; in "
        "brackets the difference from chance and its standard error, paired by seed",
        "- Choosing one pair: "
        + ", ".join(f"{value:.1f} ms among {int(items):,}" for items, value in facts["choice_ms"].items()),
    ]
    steps = [k for k in (1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 48, 60) if k <= facts["votes"]]
    for kind, ways in facts["spearman"].items():
        lines += ["", f"## {kind}", "", "| votes an item | " + " | ".join(WAYS) + " |"]
        lines.append("|---" * (len(WAYS) + 1) + "|")
        curves = {way: np.array(found) for way, found in ways.items()}
        for step in steps:
            cells = []
            for way in WAYS:
                values = curves[way][:, step - 1]
                apart = values - curves["chance"][:, step - 1]
                error = apart.std(ddof=1) / math.sqrt(len(apart)) if len(apart) > 1 else math.nan
                told = "" if way == "chance" else f" ({apart.mean():+.3f}, {error:.3f})"
                cells.append(f"{values.mean():.3f}{told}")
            lines.append(f"| {step} | " + " | ".join(cells) + " |")
        lines += ["", "| Spearman of | " + " | ".join(f"votes an item, {way}" for way in WAYS) + " |"]
        lines.append("|---" * (len(WAYS) + 1) + "|")
        for goal in GOALS:
            needs = [find_need(curves[way].mean(0), goal) for way in WAYS]
            lines.append(f"| {goal} | " + " | ".join(needs) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=200, metavar="N")
    parser.add_argument("--votes", type=int, default=24, metavar="N", help="votes an item, at most")
    parser.add_argument("--seeds", type=int, default=10, metavar="N")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER")
    options = parser.parse_args()
    run_benchmark(measure, format_report, options, "pairs")


if __name__ == "__main__":
    main()
