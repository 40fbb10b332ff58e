"""Measures a cold ``moodreel predict ONE``: the whole process, and what of it is spent on imports.

    python benchmarks/cold.py FILE [--repeats 7]

Writes DATE-COMMIT-cold.md into benchmarks/results.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time

from machine import describe_machine, stamp, write_report

from moodreel.runtime.machine import format_machine

SHOWN = (
    "numpy",
    "typer",
    "pydantic",
    "PIL.Image",
    "onnxruntime",
    "moodreel.media",
    "moodreel.runtime.recognizer",
)
"""Modules whose imports are listed, each with what it imports first."""


def run(path: str, *flags: str) -> tuple[float, float, str]:
    """Seconds of the clock and of the processor, and standard error."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    command = [sys.executable, *flags, "-m", "moodreel", "predict", path]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
    wall = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stderr


def read_imports(text: str) -> dict[str, float]:
    """Module -> seconds with what it imports, of ``-X importtime``."""
    found = {}
    for line in text.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if len(parts) == 3 and parts[1].strip().isdigit():
            found[parts[2].strip()] = int(parts[1]) / 1e6
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", metavar="FILE")
    parser.add_argument("--repeats", type=int, default=7, metavar="N")
    options = parser.parse_args()
    run(options.path)
    turns = [run(options.path)[:2] for _ in range(options.repeats)]
    imports = [read_imports(run(options.path, "-X", "importtime")[2]) for _ in range(options.repeats)]
    made = stamp()
    lines = [
        f"# Cold start, {made['date']}, {made['commit']}",
        "",
        *format_machine(describe_machine(("moodreel", "numpy", "typer", "onnxruntime"))),
        f"- `moodreel predict ONE.gif`, medians of {options.repeats} processes",
        "",
        "| what | seconds | lowest to highest |",
        "|---|---|---|",
    ]
    rows = [
        ("whole, by the clock", [w for w, _ in turns]),
        ("whole, of the processor", [c for _, c in turns]),
    ]
    for name in SHOWN:
        seconds = [found[name] for found in imports if name in found]
        if seconds:
            rows.append((f"import {name}, with all below it", seconds))
    for name, seconds in rows:
        middle, spread = statistics.median(seconds), f"{min(seconds):.3f} to {max(seconds):.3f}"
        lines.append(f"| {name} | {middle:.3f} | {spread} |")
    write_report(made, "\n".join(lines) + "\n", "cold")


if __name__ == "__main__":
    main()
