"""Measures ``moodreel votes score`` on as many votes as KAVAN had.

    python benchmarks/votes.py [--votes 3200000] [--repeats 5]

The whole command, from its start to the written file, as a process of its own, in two ways that take turns:
with numba, and without (the import of numba is made to fail). Two sets of votes, both drawn from a seed:

- wide: 6,119 items and 17 emotions, the numbers of KAVAN Sec. 4.1;
- narrow: 20 items and 17 emotions, so that hardly any two votes could be rated at once.

For each: seconds on the clock and seconds of processor (user and system, all threads), medians of at least
five turns after one that is not counted, the machine's load around them (where others use it, only the
processor's seconds mean much), and how far the two ways' ratings are apart. Beside it the stages in
one process, and the ``trueskill`` package with its scipy backend on the first votes of the same file, with
its largest difference. Writes DATE-COMMIT-votes.md and .json into benchmarks/results. Needs the ``dev``
extra.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import trueskill
from machine import RESULTS, describe_machine, run_benchmark, stamp

from moodreel.emotions import GIFGIF_17
from moodreel.labels.votes import CHOICES, Votes, compile_kernel, number_slots, score_votes
from moodreel.labels.votes_table import read_votes, write_ratings
from moodreel.runtime.machine import format_machine

PACKAGES = ("moodreel", "numpy", "pyarrow", "numba", "trueskill")
SETS = {"wide": 6119, "narrow": 20}
WITHOUT = "import sys; sys.modules['numba'] = None; from moodreel.cli import main; main()"
WITH = "from moodreel.cli import main; main()"
STAGES = ("read", "number", "rate and sort", "write")


def write_votes(path: Path, count: int, items: int) -> None:
    """Votes of noisy people on random pairs: 13 characters an id, as GIFGIF's; about a seventh are draws."""
    rng = np.random.default_rng(0)
    names = np.array([f"{number:x}".rjust(13, "g") for number in rng.permutation(items)])
    emotion = rng.integers(17, size=count)
    left = rng.integers(items, size=count)
    right = (left + rng.integers(1, items, size=count)) % items
    strength = rng.normal(0, 1, (items, 17))
    step = strength[left, emotion] - strength[right, emotion] + rng.normal(0, 1, count)
    choice = np.where(np.abs(step) < 0.3, 2, np.where(step > 0, 0, 1))
    columns = (np.array(GIFGIF_17)[emotion], names[left], names[right], np.array(CHOICES)[choice])
    with path.open("w", encoding="utf-8") as file:
        file.write("emotion,left,right,choice\n")
        rows = zip(*(column.tolist() for column in columns), strict=True)
        file.writelines(",".join(row) + "\n" for row in rows)


def time_command(code: str, votes: Path, out: Path) -> tuple[float, float]:
    """(seconds on the clock, seconds of processor) of the whole command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    command = [sys.executable, "-c", code, "votes", "score", str(votes), "--out", str(out)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    clock = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def read_mu(path: Path) -> dict[tuple[str, str], float]:
    with path.open(newline="", encoding="utf-8") as file:
        return {(row["emotion"], row["item"]): float(row["mu"]) for row in csv.DictReader(file)}


def time_stages(path: Path) -> dict[str, float]:
    """Processor seconds of each stage in this process, without numba."""
    times = [time.process_time()]
    held = read_votes(path)
    times.append(time.process_time())
    number_slots(held.votes)
    times.append(time.process_time())
    ratings = score_votes(held.votes, compiled=False)
    times.append(time.process_time())
    write_ratings(ratings, io.BytesIO())
    times.append(time.process_time())
    spent = dict(zip(STAGES, np.diff(times).tolist(), strict=True))
    spent["rate and sort"] -= spent["number"]  # which it does once more
    return spent


def compare_package(votes: Votes, count: int) -> dict[str, float]:
    """Votes a second of processor of the package, and its largest difference from ours."""
    env = trueskill.TrueSkill(backend="scipy")
    few = Votes(
        votes.emotions, votes.items, votes.emotion[:count], votes.left[:count], votes.right[:count],
        votes.choice[:count],
    )  # fmt: skip
    ratings: dict[tuple[int, int], trueskill.Rating] = {}
    rows = zip(few.emotion.tolist(), few.left.tolist(), few.right.tolist(), few.choice.tolist(), strict=True)
    begin = time.process_time()
    for emotion, left, right, choice in rows:
        one, other = (ratings.setdefault((emotion, item), env.create_rating()) for item in (left, right))
        if choice == 1:
            other, one = trueskill.rate_1vs1(other, one, env=env)
        else:
            one, other = trueskill.rate_1vs1(one, other, choice == 2, env=env)
        ratings[emotion, left], ratings[emotion, right] = one, other
    seconds = time.process_time() - begin
    ours = score_votes(few, compiled=False)
    keys = zip(ours.emotion.tolist(), ours.item.tolist(), strict=True)
    pairs = [(ratings[key], mu, sigma) for key, mu, sigma in zip(keys, ours.mu, ours.sigma, strict=True)]
    gap = max(max(abs(rating.mu - mu), abs(rating.sigma - sigma)) for rating, mu, sigma in pairs)
    return {"votes": len(few), "votes_a_second": len(few) / seconds, "difference": float(gap)}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    if compile_kernel() is None:
        raise SystemExit("numba is not installed: nothing to compare with")
    facts: dict[str, Any] = {
        **stamp(),
        "machine": describe_machine(PACKAGES),
        "votes": options.votes,
        "sets": {},
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, items in SETS.items():
            path = folder / f"{kind}.csv"
            write_votes(path, options.votes, items)
            load = [os.getloadavg()[0]]
            clock: dict[str, list[float]] = {"numba": [], "plain": []}
            processor: dict[str, list[float]] = {"numba": [], "plain": []}
            for turn in range(options.repeats + 1):
                for way, code in (("numba", WITH), ("plain", WITHOUT)):
                    spent = time_command(code, path, folder / f"{way}.csv")
                    if turn:
                        clock[way].append(spent[0])
                        processor[way].append(spent[1])
            load.append(os.getloadavg()[0])
            mu = [read_mu(folder / f"{way}.csv") for way in clock]
            facts["sets"][kind] = {
                "items": items,
                "load": load,
                "megabytes": path.stat().st_size / 1e6,
                "ratings": len(mu[0]),
                "clock": clock,
                "processor": processor,
                "difference": max(abs(mu[0][key] - mu[1][key]) for key in mu[0]),
                "stages": time_stages(path),
                "package": compare_package(read_votes(path).votes, options.package),
            }
    return facts


def format_report(facts: dict[str, Any]) -> str:
    turns = len(facts["sets"]["wide"]["clock"]["numba"])
    lines = [
        f"# votes score, {facts['date']}, {facts['commit']}",
        "",
        *format_machine(facts["machine"]),
        f"- {facts['votes']:,} votes on 17 emotions; the whole command, from its start to the written file",
        f"- Medians of {turns} turns, the two ways interleaved; lowest to highest in brackets",
        "",
        "| set | items | way | seconds on the clock | seconds of processor | load before and after |",
        "|---|---|---|---|---|---|",
    ]
    for kind, found in facts["sets"].items():
        for way, label in (("numba", "with numba"), ("plain", "without")):
            cells = [
                f"{statistics.median(found[name][way]):.2f} ({min(found[name][way]):.2f} to "
                f"{max(found[name][way]):.2f})"
                for name in ("clock", "processor")
            ]
            load = " and ".join(f"{value:.1f}" for value in found["load"])
            lines.append(f"| {kind} | {found['items']} | {label} | {cells[0]} | {cells[1]} | {load} |")
    lines += ["", f"| set | {' | '.join(STAGES)} | megabytes | ratings |", "|---|---|---|---|---|---|---|"]
    for kind, found in facts["sets"].items():
        stages = " | ".join(f"{found['stages'][stage]:.2f}" for stage in STAGES)
        lines.append(f"| {kind} | {stages} | {found['megabytes']:.0f} | {found['ratings']} |")
    lines += ["", "Stages: seconds of processor in one process, once, without numba.", ""]
    for kind, found in facts["sets"].items():
        package = found["package"]
        lines += [
            f"- {kind}: mu with and without numba differs by {found['difference']:.1e} at most (9 decimals "
            f"are written); the package `trueskill` with its scipy backend rates "
            f"{package['votes_a_second']:,.0f} votes a second of processor, and differs from ours by "
            f"{package['difference']:.1e} at most over the first {package['votes']:,} votes",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--votes", type=int, default=3_200_000, metavar="N")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="turns of each way, at least 5")
    parser.add_argument("--package", type=int, default=3000, metavar="N", help="votes for the package")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER")
    options = parser.parse_args()
    if options.repeats < 5:
        parser.error("--repeats: expected at least 5")
    run_benchmark(measure, format_report, options, "votes")


if __name__ == "__main__":
    main()
