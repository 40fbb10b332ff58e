"""Measures searching in a result table of 100,000 rows.

    python benchmarks/search.py [--rows 100000] [--repeats 30]

A table of ``kavan`` with every column, scores drawn from a seed; one row in fifty is an error. Each operation
is asked with other numbers or words each time, so that no answer is at hand, for a page of 100 rows; "next
page" is the same question further on, which is. Milliseconds on the clock, rows as Python's dicts included:
median, 95th percentile, most. The target is 50 ms a page. Beside it what opening costs, from each format, and
the whole command. Writes DATE-COMMIT-search.md and .json into benchmarks/results. Needs the ``dev`` extra.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from machine import RESULTS, describe_machine, run_benchmark, stamp

from moodreel.emotions import GIFGIF_17, QUADRANTS
from moodreel.runtime.machine import format_machine
from moodreel.runtime.search import Table, open_table
from moodreel.runtime.table import ROWS_PER_GROUP, SCHEMA_VERSION, list_columns
from moodreel.runtime.table import open_table as open_writer

PACKAGES = ("moodreel", "numpy", "pyarrow", "duckdb")
TARGET_MS = 50.0
WORDS = ("cat", "dance", "party", "rain", "wave", "smile", "office", "sunset", "storm", "goal")


def make_table(count: int) -> pa.Table:
    """Rows as ``predict`` writes them: every column of kavan, numbers of six decimals."""
    rng = np.random.default_rng(0)
    is_error = rng.random(count) < 0.02

    def numbers(low: float, high: float) -> pa.Array:
        values = np.round(rng.uniform(low, high, count), 6)
        return pa.array(values, mask=is_error)

    word = np.array(WORDS)[rng.integers(len(WORDS), size=(count, 2))]
    paths = [f"library/{k % 331:03}/{one}-{two}-{k:06x}.gif" for k, (one, two) in enumerate(word.tolist())]
    shares = np.round(rng.dirichlet([1, 1, 1, 1], count), 6)
    category = np.array(QUADRANTS)[shares.argmax(1)]
    columns: dict[str, Any] = {
        "path": paths,
        "status": np.where(is_error, "error", "ok"),
        "error": pa.array(np.where(is_error, "no picture in the file", None)),
        "model": ["kavan"] * count,
        "model_version": ["0.1.0"] * count,
        **{
            name: pa.array(rng.integers(1, 600, count), mask=is_error)
            for name in ("width", "height", "frames")
        },
        "duration_s": numbers(0.1, 20),
        "category": pa.array(category, mask=is_error),
        "confidence": pa.array(shares.max(1), mask=is_error),
        "valence": numbers(-1, 1),
        "arousal": numbers(-1, 1),
        "faces": pa.nulls(count, pa.int64()),
        "attention_x": numbers(0, 1),
        "attention_y": numbers(0, 1),
        **{name: numbers(-1, 1) for name in GIFGIF_17},
        **{f"p_{name}": pa.array(shares[:, k], mask=is_error) for k, name in enumerate(QUADRANTS)},
    }
    names = [column.name for column in list_columns("kavan")]
    assert list(columns) == names
    return pa.table(columns).replace_schema_metadata({"moodreel.schema": str(SCHEMA_VERSION)})


def write_formats(folder: Path, rows: pa.Table) -> list[Path]:
    paths = [folder / "moods.parquet", folder / "moods.csv", folder / "moods.jsonl"]
    pyarrow.parquet.write_table(rows, paths[0], row_group_size=ROWS_PER_GROUP, compression="zstd")
    for path in paths[1:]:
        with open_writer(path, list_columns("kavan")) as writer:
            for batch in rows.to_batches(max_chunksize=2048):
                for row in batch.to_pylist():
                    writer.write(row)
    return paths


def list_operations(table: Table, rng: np.random.Generator) -> dict[str, Callable[[], Any]]:
    """Name -> one question; each call asks another."""

    def draw() -> str:
        return f"{rng.uniform(-0.5, 0.5):.4f}"

    def name() -> str:
        return str(rng.choice(GIFGIF_17))

    def word() -> str:
        return str(rng.choice(WORDS))

    deep = table.count * 9 // 10
    return {
        "all rows, a page deep in them": lambda: table.search(offset=int(rng.integers(deep))),
        "happiness > x and anger < y": lambda: table.search(f"happiness > {draw()} and anger < {draw()}"),
        "the same, sorted": lambda: table.search(
            f"happiness > {draw()} and anger < {draw()}", sort=f"{name()} - {draw()} * {name()}"
        ),
        "arithmetic over six columns": lambda: table.search(
            f"({name()} + {name()} + {name()}) / 3 - ({name()} + {name()} + {name()}) / 3 > {draw()}"
        ),
        "sort alone": lambda: table.search(sort=f"{name()} + {draw()} * {name()}"),
        "quadrant and three sliders": lambda: table.search(
            quadrant=str(rng.choice(QUADRANTS)),
            ranges={name(): (float(draw()) - 0.5, float(draw()) + 0.5) for _ in range(3)},
        ),
        "path contains": lambda: table.search(f"path contains '{word()}-{word()}-0{rng.integers(10)}'"),
        "path like, wildcards inside": lambda: table.search(
            f"path like '*{word()}*-{rng.integers(10)}??{rng.integers(10)}?.gif'"
        ),
        "text not in a list": lambda: table.search(
            f"category not in ('{rng.choice(QUADRANTS)}', '{draw()}')"
        ),
        "more like this": lambda: table.similar(find_scored(table, rng)),
        "more like this, filtered": lambda: table.similar(find_scored(table, rng), query=f"anger < {draw()}"),
        "near a place": lambda: table.near(float(draw()), float(draw())),
        "positions of all that match": lambda: table.positions(f"fear > {draw()}"),
        "one row": lambda: table.get(int(rng.integers(table.count))),
    }


def find_scored(table: Table, rng: np.random.Generator) -> int:
    while True:
        row = int(rng.integers(table.count))
        if table.get(row).values["status"] == "ok":
            return row


def time_calls(act: Callable[[], Any], repeats: int) -> list[float]:
    """Milliseconds of each call, after one that is not counted."""
    act()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        act()
        times.append(1e3 * (time.perf_counter() - begin))
    return times


def time_next_pages(table: Table, repeats: int) -> list[float]:
    query, times = "happiness > 0.1 and anger < 0.1", []
    table.search(query, sort="happiness")
    for page in range(repeats):
        begin = time.perf_counter()
        table.search(query, sort="happiness", offset=100 * (page + 1))
        times.append(1e3 * (time.perf_counter() - begin))
    return times


def measure(options: argparse.Namespace) -> dict[str, Any]:
    facts: dict[str, Any] = {
        **stamp(),
        "machine": describe_machine(PACKAGES),
        "rows": options.rows,
        "repeats": options.repeats,
        "target_ms": TARGET_MS,
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = write_formats(Path(folder), make_table(options.rows))
        facts["open_ms"], facts["megabytes"] = {}, {}
        for path in paths:
            facts["megabytes"][path.suffix] = path.stat().st_size / 1e6
            facts["open_ms"][path.suffix] = time_calls(lambda path=path: open_table(path).close(), 3)
        command = [
            sys.executable,
            "-m",
            "moodreel",
            "search",
            str(paths[0]),
            "happiness > 0.9",
            "--sort",
            "anger",
        ]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True}
        facts["command_ms"] = time_calls(lambda: subprocess.run(command, **quiet), 3)
        table = open_table(paths[0])
        load = [os.getloadavg()[0]]
        rng = np.random.default_rng(1)
        operations = list_operations(table, rng)
        facts["operations"] = {name: time_calls(act, options.repeats) for name, act in operations.items()}
        facts["operations"]["next page"] = time_next_pages(table, options.repeats)
        facts["load"] = [*load, os.getloadavg()[0]]
        facts["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        table.close()
    return facts


def format_report(facts: dict[str, Any]) -> str:
    lines = [
        f"# Search, {facts['date']}, {facts['commit']}",
        "",
        *format_machine(facts["machine"]),
        f"- {facts['rows']:,} rows of 37 columns; pages of 100 rows, {facts['repeats']} of each kind, every "
        "one another question",
        "- Load before and after: " + " and ".join(f"{value:.1f}" for value in facts["load"]),
        "",
        f"| operation | median ms | 95 % ms | most ms | within {facts['target_ms']:g} ms |",
        "|---|---|---|---|---|",
    ]
    for name, times in facts["operations"].items():
        share = statistics.fmean(value <= facts["target_ms"] for value in times)
        high = float(np.percentile(times, 95))
        lines.append(
            f"| {name} | {statistics.median(times):.1f} | {high:.1f} | {max(times):.1f} | {share:.0%} |"
        )
    lines += ["", "| opening | MB | median ms |", "|---|---|---|"]
    for suffix, times in facts["open_ms"].items():
        lines.append(f"| {suffix} | {facts['megabytes'][suffix]:.0f} | {statistics.median(times):.0f} |")
    lines += [
        "",
        f'- `moodreel search moods.parquet "happiness > 0.9" --sort anger`, from start to end: '
        f"{statistics.median(facts['command_ms']):.0f} ms",
        f"- Peak memory of this process, which also made the table: {facts['peak_mb']:.0f} MB",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000, metavar="N")
    parser.add_argument("--repeats", type=int, default=30, metavar="N", help="questions of each kind")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER")
    options = parser.parse_args()
    run_benchmark(measure, format_report, options, "search")


if __name__ == "__main__":
    main()
