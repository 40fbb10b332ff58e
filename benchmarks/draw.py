"""Measures how fast training clips are made: toon clips, and stills composed into clips.

    python benchmarks/draw.py STILL ... [--clips 16] [--repeats 5]

On one core, in seconds of the processor; medians. Writes DATE-COMMIT-draw.md into benchmarks/results.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe_machine, stamp, write_report

from moodreel.lab.data.compose import compose_clip, read_still
from moodreel.lab.data.toon import write_toon
from moodreel.runtime.machine import format_machine

SIDE, FRAMES = 112, 8
"""Of the clips that the bundle kavan is trained on."""


def time_it(run: Callable[[], Any], repeats: int) -> list[float]:
    seconds = []
    for turn in range(repeats + 1):
        begin = time.process_time()
        run()
        if turn:
            seconds.append(time.process_time() - begin)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stills", nargs="+", metavar="STILL", type=Path)
    parser.add_argument("--clips", type=int, default=16, metavar="N")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    options = parser.parse_args()
    torch.set_num_threads(1)
    stills = [still for still in map(read_still, options.stills) if still is not None]
    times = np.linspace(0, 1, FRAMES)

    def toon() -> None:
        with tempfile.TemporaryDirectory() as folder:
            write_toon(Path(folder) / "toon", options.clips, 0, 1)

    def compose() -> None:
        for number in range(options.clips):
            compose_clip(stills[number % len(stills)], None, times, SIDE, np.random.default_rng(number))

    made = stamp()
    lines = [
        f"# Making training clips, {made['date']}, {made['commit']}",
        "",
        *format_machine(describe_machine(("moodreel", "numpy", "pillow"))),
        f"- {options.clips} clips, medians of {options.repeats}, seconds of one processor",
        "",
        "| clips | a second | lowest to highest |",
        "|---|---|---|",
    ]
    for name, run in (("toon, drawn and written as GIF", toon), ("a still composed into a clip", compose)):
        rates = sorted(options.clips / seconds for seconds in time_it(run, options.repeats))
        spread = f"{rates[0]:.1f} to {rates[-1]:.1f}"
        lines.append(f"| {name} | {statistics.median(rates):.1f} | {spread} |")
    write_report(made, "\n".join(lines) + "\n", "draw")


if __name__ == "__main__":
    main()
