"""Measures how the page Library of ``moodreel serve`` scrolls.

    python benchmarks/library.py [--rows 100000] [--chromium PATH]

A table of as many rows, drawn from those of the examples with noise on their scores, in a server of its own;
headless Chromium. Told are: seconds until the first rows are there, milliseconds from frame to frame while
400 pixels a frame are scrolled, from a jump to a random place until its rows are there, and from a query to
its answer. Writes DATE-COMMIT-library.md and .json into benchmarks/results. Needs the ``dev`` extra.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import RESULTS, ROOT, describe_machine, run_benchmark, stamp
from playwright.sync_api import Page, sync_playwright

import moodreel
from moodreel.emotions import GIFGIF_17
from moodreel.runtime.machine import format_machine
from moodreel.runtime.table import list_columns, make_row, open_table

PACKAGES = ("moodreel", "duckdb", "pyarrow", "fastapi", "uvicorn", "playwright")
SCROLL = """async () => { const spent = []; let before = performance.now();
    for (let k = 1; k <= 300; k++) { scrollTo(0, 400 * k); await new Promise(requestAnimationFrame);
        const now = performance.now(); spent.push(now - before); before = now }
    return spent }"""
JUMP = """async () => { const spent = [];
    const isThere = () => [...document.querySelectorAll(".cell")].some((cell) => {
        const box = cell.getBoundingClientRect(); return box.top < 600 && box.bottom > 100 });
    for (let k = 0; k < 50; k++) { const begin = performance.now();
        scrollTo(0, Math.random() * (document.body.scrollHeight - 1000));
        do await new Promise(requestAnimationFrame); while (!isThere() && performance.now() - begin < 10000);
        spent.push(performance.now() - begin) }
    return spent }"""


def write_table(path: Path, rows: int) -> None:
    mood = moodreel.load("kavan")
    columns = list_columns("kavan")
    clips = sorted((ROOT / "examples").glob("*.gif"))
    known = [make_row(result, columns) for result in mood.map(clips, workers=1)]
    rng = np.random.default_rng(0)
    names = (*GIFGIF_17, "valence", "arousal")
    with open_table(path, columns) as table:
        for pick, noise in zip(
            rng.integers(len(known), size=rows), rng.normal(0, 0.25, (rows, 19)), strict=True
        ):
            row = known[pick]
            moved = {
                name: float(np.clip(row[name] + step, -1, 1)) for name, step in zip(names, noise, strict=True)
            }
            table.write({**row, **moved})


def look(page: Page, address: str) -> dict[str, Any]:
    begin = time.perf_counter()
    page.goto(f"{address}library")
    page.locator(".cell").first.wait_for()
    first = time.perf_counter() - begin
    facts = {"first_rows_s": first, "scroll_ms": page.evaluate(SCROLL), "jump_ms": page.evaluate(JUMP)}
    spent = []
    for bound in np.linspace(0, 0.5, 10).tolist():
        text = f"happiness > {bound:.3f} and anger < 0"
        with page.expect_response(lambda answer: "/api/library/rows?query" in answer.url):
            begin = time.perf_counter()
            page.fill("#query", text)
            page.keyboard.press("Enter")
        spent.append(1000 * (time.perf_counter() - begin))
    return {
        **facts,
        "query_ms": spent,
        "elements": page.evaluate("() => document.querySelectorAll('*').length"),
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    facts: dict[str, Any] = {
        **stamp(),
        "machine": describe_machine(PACKAGES),
        "rows": options.rows,
    }
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "moods.parquet"
        write_table(table, options.rows)
        command = [sys.executable, "-m", "moodreel", "serve", "--port", "0", "--model", "kavan"]
        command += ["--table", str(table), "--media", str(ROOT / "examples")]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            assert server.stderr is not None
            found = re.search(r"http://\S+/", server.stderr.readline())
            if found is None:
                raise SystemExit("the server did not start")
            with sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
                facts["chromium"] = browser.version
                facts |= look(browser.new_page(viewport={"width": 1240, "height": 860}), found[0])
                browser.close()
        finally:
            server.terminate()
            server.wait()
    return facts


def format_report(facts: dict[str, Any]) -> str:
    lines = [
        f"# library, {facts['date']}, {facts['commit']}",
        "",
        *format_machine(facts["machine"]),
        f"- Chromium {facts['chromium']}, no graphics card",
        f"- {facts['rows']:,} rows; the first are there after {facts['first_rows_s']:.2f} s; "
        f"{facts['elements']} elements in the page",
        "",
        "| what | times | median ms | 95 % ms | most ms |",
        "|---|---|---|---|---|",
    ]
    for key, label in (
        ("scroll_ms", "frame to frame while scrolling"),
        ("jump_ms", "a jump to a random place, until rows are there"),
        ("query_ms", "a query typed, until its answer is there"),
    ):
        values = sorted(facts[key])
        high = values[round(0.95 * (len(values) - 1))]
        lines.append(
            f"| {label} | {len(values)} | {statistics.median(values):.1f} | {high:.1f} | {values[-1]:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000, metavar="N")
    parser.add_argument("--chromium", default=shutil.which("chromium"), metavar="PATH")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER")
    options = parser.parse_args()
    run_benchmark(measure, format_report, options, "library")


if __name__ == "__main__":
    main()
